//! Wake-up calls: `NOTIFY wa_outbox_due`, sent by an INSERT to an owner that has said it sleeps; `NOTIFY wa_outbox_lease`, sent to
//! a worker that a sender was handed to; `NOTIFY wa_campaign`, sent to the owner of a campaign that was started, stopped or set;
//! `NOTIFY wa_outbox_tail`, sent to all by somebody who begins to watch.
//!
//! A connection on which nothing is heard may have nothing to say or be dead; so a quiet one is asked from time to time.
//!
//! Only hints to look sooner. One that is lost costs a poll interval and never a message. A pooler in transaction mode passes
//! none on, and could pass ours to somebody who does not expect it: there nothing listens.

use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::connections::no_answer;
use super::error::Doing;
use super::lease::WorkerId;
use super::pooler::Pooling;
use super::{Store, StoreError};

const NEW_MESSAGES: &str = "wa_outbox_due";
const LEASES: &str = "wa_outbox_lease";
const CAMPAIGNS: &str = "wa_campaign";
const TAILERS: &str = "wa_outbox_tail";
const DOING: &str = "listen for calls";

/// A connection on which nothing was heard for so long is asked whether it lives.
const QUIET: Duration = Duration::from_secs(5);

/// A connection that listens for this worker.
pub struct WakeListener {
    /// None where no call can come.
    line: Option<Line>,
    worker: String,
}

/// A connection that listens, beside those that are lent, and the place among them that it counts for.
struct Line {
    listener: PgListener,
    answer_within: Duration,
    _place: OwnedSemaphorePermit,
}

/// What there may be to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// New messages.
    NewMessages,
    /// A sender that was handed to this worker.
    Leases,
    /// A campaign that was started, paused, resumed, cancelled or set.
    Campaigns,
    /// Somebody who begins to watch.
    Tailers,
    /// Anything: the connection was lost, and calls may have been lost with it.
    Anything,
}

impl Store {
    /// Starts listening for a worker.
    pub async fn listen_for(&self, worker: WorkerId) -> Result<WakeListener, StoreError> {
        let line = match self.pooling {
            Pooling::Transaction => None,
            Pooling::Direct | Pooling::Session => Some(self.line().await?),
        };
        Ok(WakeListener {
            line,
            worker: worker.0.to_string(),
        })
    }

    async fn line(&self) -> Result<Line, StoreError> {
        let place = self.pool.place().await.doing(DOING)?;
        let terms = self.pool.terms();
        // Of its own, for what listens cannot be closed by force: a dead one stays with this pool until TCP gives it up.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(terms.lent_within)
            .test_before_acquire(false)
            .connect_lazy_with(terms.options.clone());
        let listening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            // The next call of `woken` says that it was lost, and whoever listens starts anew.
            listener.eager_reconnect(false);
            listener
                .listen_all([NEW_MESSAGES, LEASES, CAMPAIGNS, TAILERS])
                .await?;
            Ok(listener)
        };
        Ok(Line {
            listener: bounded(terms.answer_within, listening).await?,
            answer_within: terms.answer_within,
            _place: place,
        })
    }
}

impl Line {
    /// Waits for the next call. `None`: the connection was lost.
    async fn heard(&mut self) -> Result<Option<PgNotification>, StoreError> {
        loop {
            match timeout(QUIET, self.listener.try_recv()).await {
                Ok(heard) => return heard.doing(DOING),
                Err(_) => {
                    // What is heard meanwhile is kept for the next turn.
                    let question = self.listener.execute("select 1");
                    bounded(self.answer_within, question).await?;
                }
            }
        }
    }
}

async fn bounded<T>(
    within: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    let done = timeout(within, work).await;
    done.unwrap_or_else(|_| Err(no_answer())).doing(DOING)
}

impl WakeListener {
    /// Whether any call can come.
    pub fn hears(&self) -> bool {
        self.line.is_some()
    }

    /// Waits until there may be something to do: a notification for this worker, or a lost connection.
    ///
    /// # Errors
    /// When the connection is silent; then it is of no use any more.
    pub async fn woken(&mut self) -> Result<Call, StoreError> {
        let Some(line) = &mut self.line else {
            return std::future::pending().await;
        };
        loop {
            match line.heard().await? {
                Some(call) if call.channel() == TAILERS => return Ok(Call::Tailers),
                Some(call) if call.payload() != self.worker => {}
                Some(call) if call.channel() == LEASES => return Ok(Call::Leases),
                Some(call) if call.channel() == CAMPAIGNS => return Ok(Call::Campaigns),
                Some(_) => return Ok(Call::NewMessages),
                None => return Ok(Call::Anything),
            }
        }
    }
}
