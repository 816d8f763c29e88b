//! Finds what earlier holders of a sender had begun, and makes uncertain what nobody can record any more.
//!
//! In two steps, so that neither grows with what waits: a search reads the sender's queue once, slice by slice; what it finds
//! is remembered by the caller and looked up by its key from then on. Nothing is missed, because a message that an earlier
//! holder had begun keeps its place until it is recorded or swept, and the fence lets none be added after the takeover.

use time::OffsetDateTime;

use super::error::Doing;
use super::{Store, StoreError};
use crate::domain::id::{AttemptNumber, Epoch, MessageId, SenderId};

/// A place in the order of a sender's queue: lane, priority, due time, id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place(i64, i16, OffsetDateTime, i64);

impl Place {
    /// Before every message there is.
    pub const FRONT: Self = Self(-1, -1, OffsetDateTime::UNIX_EPOCH, 0);
}

/// A request that was begun and of which nothing more is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BegunBefore {
    /// The message.
    pub id: MessageId,
    /// From this sender.
    pub sender: SenderId,
    /// Its how-manieth request.
    pub attempt: AttemptNumber,
}

/// What one slice of a search found.
#[derive(Clone, Debug)]
pub struct Slice {
    /// So many messages were read.
    pub read: i64,
    /// Begun and not ended.
    pub begun: Vec<BegunBefore>,
    /// Where to go on; none at the end of the queue.
    pub next: Option<Place>,
}

/// What a sweep did.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// Their answers were lost with their worker: uncertain now.
    pub uncertain: Vec<BegunBefore>,
    /// Still within their deadline; to be looked at again.
    pub remaining: Vec<BegunBefore>,
}

impl Store {
    /// Reads a slice of a sender's queue for what stands in `sending`, begun under `up_to` or an earlier epoch.
    pub async fn find_begun(
        &self,
        sender: &SenderId,
        up_to: Epoch,
        after: Place,
        limit: i64,
    ) -> Result<Slice, StoreError> {
        let row = sqlx::query_file!(
            "src/store/sql/find_begun.sql",
            sender.as_str(),
            up_to.0,
            after.0,
            after.1,
            after.2,
            after.3,
            limit
        )
        .fetch_one(&self.pool)
        .await
        .doing("look for what an earlier holder had begun")?;
        let begun = row
            .ids
            .into_iter()
            .zip(row.attempts)
            .map(|(id, attempt)| BegunBefore {
                id: MessageId(id),
                sender: sender.clone(),
                attempt: AttemptNumber(attempt),
            })
            .collect();
        let next = match (
            row.last_campaign,
            row.last_priority,
            row.last_due_at,
            row.last_id,
        ) {
            (Some(campaign), Some(priority), Some(due_at), Some(id)) if row.read >= limit => {
                Some(Place(campaign, priority, due_at, id))
            }
            _ => None,
        };
        let read = row.read;
        Ok(Slice { read, begun, next })
    }

    /// Makes uncertain whichever of these still stand as they were found and are past their deadline: they may have been sent.
    pub async fn sweep(
        &self,
        begun: impl IntoIterator<Item = &BegunBefore>,
    ) -> Result<Swept, StoreError> {
        let (mut ids, mut senders, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
        for one in begun {
            ids.push(one.id.0);
            senders.push(one.sender.as_str());
            attempts.push(one.attempt.0);
        }
        let rows = sqlx::query_file!(
            "src/store/sql/sweep.sql",
            &ids,
            &senders as &[&str],
            &attempts
        )
        .fetch_all(&self.pool)
        .await
        .doing("sweep what an earlier holder had begun")?;
        let mut swept = Swept::default();
        for row in rows {
            let one = BegunBefore {
                id: MessageId(row.id),
                sender: SenderId::from(row.sender),
                attempt: AttemptNumber(row.attempt),
            };
            if row.is_lost {
                swept.uncertain.push(one);
            } else {
                swept.remaining.push(one);
            }
        }
        Ok(swept)
    }
}
