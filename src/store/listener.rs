//! The wake-up call: `NOTIFY wa_outbox_due`, sent by an INSERT to an owner that has said it sleeps.
//!
//! Only a hint to look sooner. One that is lost costs a poll interval and never a message. A pooler in transaction mode
//! passes none on, and could pass ours to somebody who does not expect it: there nothing listens.

use sqlx::postgres::PgListener;

use super::error::Doing;
use super::lease::WorkerId;
use super::pooler::Pooling;
use super::{Store, StoreError};

/// A connection that listens for this worker.
pub struct WakeListener {
    /// None where no call can come.
    listener: Option<PgListener>,
    worker: String,
}

impl Store {
    /// Starts listening for a worker.
    pub async fn listen_for(&self, worker: WorkerId) -> Result<WakeListener, StoreError> {
        let doing = "listen for new messages";
        if self.pooling == Pooling::Transaction {
            return Ok(WakeListener {
                listener: None,
                worker: worker.0.to_string(),
            });
        }
        let mut listener = PgListener::connect_with(&self.pool).await.doing(doing)?;
        listener.ignore_pool_close_event(false);
        listener.listen("wa_outbox_due").await.doing(doing)?;
        Ok(WakeListener {
            listener: Some(listener),
            worker: worker.0.to_string(),
        })
    }
}

impl WakeListener {
    /// Waits until there may be something to do: a notification for this worker, or a lost connection (a notification may
    /// have been lost with it; the next call reconnects).
    pub async fn woken(&mut self) -> Result<(), StoreError> {
        let Some(listener) = &mut self.listener else {
            return std::future::pending().await;
        };
        loop {
            match listener.try_recv().await.doing("listen for new messages")? {
                Some(notification) if notification.payload() != self.worker => {}
                Some(_) | None => return Ok(()),
            }
        }
    }
}
