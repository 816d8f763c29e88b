//! Wake-up calls: `NOTIFY wa_outbox_due`, sent by an INSERT to an owner that has said it sleeps, and `NOTIFY wa_outbox_lease`,
//! sent to a worker that a sender was handed to.
//!
//! Only hints to look sooner. One that is lost costs a poll interval and never a message. A pooler in transaction mode passes
//! none on, and could pass ours to somebody who does not expect it: there nothing listens.

use sqlx::postgres::PgListener;

use super::error::Doing;
use super::lease::WorkerId;
use super::pooler::Pooling;
use super::{Store, StoreError};

const NEW_MESSAGES: &str = "wa_outbox_due";
const LEASES: &str = "wa_outbox_lease";

/// A connection that listens for this worker.
pub struct WakeListener {
    /// None where no call can come.
    listener: Option<PgListener>,
    worker: String,
}

/// What there may be to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// New messages.
    NewMessages,
    /// A sender that was handed to this worker.
    Leases,
    /// Anything: the connection was lost, and calls may have been lost with it.
    Anything,
}

impl Store {
    /// Starts listening for a worker.
    pub async fn listen_for(&self, worker: WorkerId) -> Result<WakeListener, StoreError> {
        let doing = "listen for calls";
        if self.pooling == Pooling::Transaction {
            return Ok(WakeListener {
                listener: None,
                worker: worker.0.to_string(),
            });
        }
        let mut listener = PgListener::connect_with(&self.pool).await.doing(doing)?;
        listener.ignore_pool_close_event(false);
        listener
            .listen_all([NEW_MESSAGES, LEASES])
            .await
            .doing(doing)?;
        Ok(WakeListener {
            listener: Some(listener),
            worker: worker.0.to_string(),
        })
    }
}

impl WakeListener {
    /// Waits until there may be something to do: a notification for this worker, or a lost connection (the next call
    /// reconnects).
    pub async fn woken(&mut self) -> Result<Call, StoreError> {
        let Some(listener) = &mut self.listener else {
            return std::future::pending().await;
        };
        loop {
            let heard = listener.try_recv().await.doing("listen for calls")?;
            match heard {
                Some(notification) if notification.payload() != self.worker => {}
                Some(notification) if notification.channel() == LEASES => return Ok(Call::Leases),
                Some(_) => return Ok(Call::NewMessages),
                None => return Ok(Call::Anything),
            }
        }
    }
}
