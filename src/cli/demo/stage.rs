//! What plays on the database: a WhatsApp of our own, and the service that talks to it.
//!
//! The waits of the service are shorter than they would be against the real WhatsApp, so that what takes minutes there can
//! be watched here. What it does is the same.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{Config, Environment};
use crate::domain::id::SenderId;
use crate::service::{Role, Service};
use crate::simulator::{PairLimit, Settings, Simulator, StatusRule, Statuses};
use crate::store::sender::SenderChange;
use crate::store::{ConnectSettings, Store};

/// The made-up number that the demo sends from.
pub(super) const SENDER: &str = "106540352242922";
/// Requests a second: slow enough to watch.
pub(super) const RATE: f64 = 12.0;
/// After this long an answer counts as lost.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Silence that counts, once no answer can come any more.
const RECONCILE_WINDOW_S: i32 = 4;
/// How long the simulator takes to answer: so long, and up to so much more.
const LATENCY: Duration = Duration::from_millis(80);
const JITTER: Duration = Duration::from_millis(120);
/// Where the made-up access token is kept, because a sender names a place and never a token.
const TOKEN_FILE: &str = "practice-token";

/// The simulator and the service, running.
pub(super) struct Stage {
    pub(super) simulator: Simulator,
    service: Service,
}

impl Stage {
    /// Starts both; the sender is made and waits for its first message. `url` is the way to the database, `folder` a
    /// place for the token.
    pub(super) async fn open(store: &Store, url: &str, folder: &Path) -> anyhow::Result<Self> {
        let simulator = Simulator::start(whatsapp()).await?;
        make_sender(store, &simulator.base_url(), &folder.join(TOKEN_FILE)).await?;

        let config = settings();
        let app_secret = format!("practice-{:016x}", fastrand::u64(..));
        let env = Environment::from([("WHATSAPP_APP_SECRET".to_owned(), app_secret.clone())]);
        let of_service = Store::connect(&ConnectSettings {
            max_connections: config.database.max_connections,
            by_key: true,
            ..ConnectSettings::new(url)
        })
        .await?;
        let roles = BTreeSet::from([Role::Worker, Role::Webhook, Role::Admin]);
        let service = Service::start(of_service, &config, &env, &roles).await?;
        let webhooks = service
            .webhook_address
            .context("the service receives no webhooks")?;
        simulator.set_webhook(format!("http://{webhooks}/webhook"), app_secret);
        Ok(Self { simulator, service })
    }

    /// Where the service receives webhooks.
    pub(super) fn webhooks(&self) -> Option<SocketAddr> {
        self.service.webhook_address
    }

    /// Where it answers operators.
    pub(super) fn admin(&self) -> Option<SocketAddr> {
        self.service.admin_address
    }

    /// Whether no message is on its way and no news of one is to come.
    pub(super) async fn is_quiet(&self, store: &Store) -> anyhow::Result<bool> {
        Ok(self.simulator.webhooks().pending == 0
            && store.inbox_summary().await?.pending == 0
            && store.open_messages().await? == 0)
    }

    /// Stops both in order: every request that is out gets its answer, and every answer is written.
    pub(super) async fn close(self) {
        self.service.stop().await;
        self.simulator.stop().await;
    }
}

/// Deletes what was put into the folder beside the server's own files.
pub(super) fn remove_token(folder: &Path) {
    // It may never have been made.
    let _ = std::fs::remove_file(folder.join(TOKEN_FILE));
}

async fn make_sender(store: &Store, base_url: &str, token: &Path) -> anyhow::Result<()> {
    std::fs::write(token, "practice\n")
        .with_context(|| format!("could not write {}", token.display()))?;
    let sender = SenderId::from(SENDER);
    let credential = format!("file:{}", token.display());
    let settings = SenderChange {
        base_url: Some(base_url.to_owned()),
        rate_per_second: Some(RATE),
        reconcile_window_s: Some(RECONCILE_WINDOW_S),
        is_default: Some(true),
        ..SenderChange::default()
    };
    store.add_sender(&sender, &credential, &settings).await?;
    Ok(())
}

fn settings() -> Config {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = Config::default();
    config.database.max_connections = 6;
    config.http.connect_timeout = Duration::from_secs(1);
    config.http.response_timeout = RESPONSE_TIMEOUT;
    config.worker.name = Some("demo".to_owned());
    config.retry.max_delay = Duration::from_secs(2);
    config.webhook.listen = any_port;
    config.admin.listen = any_port;
    config
}

/// A WhatsApp on an ordinary day; what goes wrong is asked for message by message.
fn whatsapp() -> Settings {
    let after = |ms| Some(StatusRule::after(Duration::from_millis(ms)));
    Settings {
        latency: LATENCY,
        jitter: JITTER,
        rate_per_second: Some(80),
        pair_limit: Some(PairLimit::META),
        statuses: Statuses {
            sent: after(150),
            delivered: after(350),
            // Not everybody reads what they are sent.
            read: Some(StatusRule {
                delay: Duration::from_millis(900),
                probability: 0.75,
            }),
            played: None,
        },
        ..Settings::default()
    }
}
