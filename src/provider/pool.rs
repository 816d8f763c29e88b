//! The connections to providers, kept for the next request.
//!
//! Senders whose servers are vouched for in the same way share one HTTP client. Who names certificates of their own trusts those
//! alone, and only for that sender: nothing here ever accepts a server that nobody vouches for.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Client, redirect, retry};
use tracing::{error, warn};

use super::address::Authority;
use super::client::HttpSettings;
use crate::domain::text::chain;

/// The kept connections of all senders.
#[derive(Debug)]
pub(super) struct Pools {
    settings: HttpSettings,
    pools: RwLock<HashMap<Option<Authority>, Pool>>,
}

/// Connections to servers that the same certificates vouch for.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) client: Client,
    /// How often the pool was dropped, so that many who find the same pool spoilt drop it once.
    generation: u64,
}

impl Pools {
    /// Sets up HTTPS with the machine's certificates; opens no connection yet.
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, reqwest::Error> {
        let pool = Pool {
            client: client(settings, None)?,
            generation: 0,
        };
        Ok(Self {
            settings: settings.clone(),
            pools: RwLock::new(HashMap::from([(None, pool)])),
        })
    }

    /// The connections to servers that `authority` vouches for, or the machine's certificates.
    pub(super) fn of(&self, authority: Option<&Authority>) -> Result<Pool, reqwest::Error> {
        let known = self.pools.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = known.get(&authority.cloned()) {
            return Ok(pool.clone());
        }
        drop(known);
        let client = client(&self.settings, authority)?;
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.entry(authority.cloned()).or_insert(Pool {
            client,
            generation: 0,
        });
        Ok(pool.clone())
    }

    /// Forgets the kept connections of this pool. Requests in flight keep theirs until they end.
    pub(super) fn drop_connections(&self, authority: Option<&Authority>, spoilt: &Pool) {
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        let Some(pool) = pools.get_mut(&authority.cloned()) else {
            return;
        };
        if pool.generation != spoilt.generation {
            return;
        }
        match client(&self.settings, authority) {
            Ok(client) => {
                warn!("An answer belonged to another request; all connections were dropped");
                pool.client = client;
                pool.generation += 1;
            }
            Err(error) => error!(
                error = chain(&error.without_url()),
                "An answer belonged to another request, and its connections could not be replaced"
            ),
        }
    }
}

fn client(
    settings: &HttpSettings,
    authority: Option<&Authority>,
) -> Result<Client, reqwest::Error> {
    let mut builder = Client::builder()
        // One connection, one request: where HTTP/2 loses a connection, all that is in flight on it is in doubt.
        // Said aloud because another crate's features could switch HTTP/2 on.
        .http1_only()
        // The library's own retries sent a whole POST three times (over HTTP/2), and its redirects eleven times.
        .retry(retry::never())
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(settings.pool_idle_timeout)
        .pool_max_idle_per_host(settings.max_idle_per_host)
        .tcp_keepalive(Duration::from_secs(30))
        .user_agent(settings.user_agent.as_str());
    if let Some(authority) = authority {
        builder = builder.tls_certs_only(authority.certificates()?);
    }
    if !settings.proxy_from_environment {
        builder = builder.no_proxy();
    }
    builder.build()
}
