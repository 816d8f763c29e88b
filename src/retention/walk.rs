//! One walk through everything that may be too old.

use std::collections::VecDeque;
use std::time::Duration;

use time::OffsetDateTime;

use crate::domain::retention::Retention;
use crate::store::prune::{Part, PrunedSlice};
use crate::store::{Store, StoreError};

/// Rows that one transaction looks at.
const SLICE: i32 = 500;
/// A dry run holds no locks, so it may look at more.
const DRY_SLICE: i32 = 5_000;
/// So often a slice is tried again that somebody was in the way of.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// What was deleted, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Messages, with all that belonged to them.
    pub messages: i64,
    /// Webhook deliveries.
    pub deliveries: i64,
    /// Statuses that belonged to no message.
    pub statuses: i64,
    /// Events of sequences.
    pub history: i64,
}

impl Pruned {
    /// Of this part.
    pub fn of(&mut self, part: Part) -> &mut i64 {
        match part {
            Part::Messages => &mut self.messages,
            Part::History => &mut self.history,
            Part::Deliveries => &mut self.deliveries,
            Part::Statuses => &mut self.statuses,
        }
    }

    /// Everything together.
    pub fn all(self) -> i64 {
        self.messages + self.deliveries + self.statuses + self.history
    }
}

/// What is older than this may go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages, and what happened in sequences.
    pub messages: Option<OffsetDateTime>,
    /// Deliveries, and statuses that belong to no message.
    pub webhooks: Option<OffsetDateTime>,
}

impl Limits {
    /// As they are at this moment, by the database's clock.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn now(store: &Store, retention: Retention) -> Result<Self, StoreError> {
        Ok(Self {
            messages: ago(store, retention.messages).await?,
            webhooks: ago(store, retention.webhooks).await?,
        })
    }

    fn of(self, part: Part) -> Option<OffsetDateTime> {
        match part {
            Part::Messages | Part::History => self.messages,
            Part::Deliveries | Part::Statuses => self.webhooks,
        }
    }
}

async fn ago(store: &Store, span: Option<Duration>) -> Result<Option<OffsetDateTime>, StoreError> {
    match span {
        Some(span) => store.time_ago(span).await.map(Some),
        None => Ok(None),
    }
}

/// What a slice did.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What it walked through.
    pub part: Part,
    /// What it did there.
    pub slice: PrunedSlice,
    /// How many rows of this part were looked at so far.
    pub looked: i64,
}

/// A walk on its way.
pub struct Walk<'a> {
    store: &'a Store,
    limits: Limits,
    /// Nothing is deleted, only counted.
    dry: bool,
    /// Parts that are not done; the first one is under way.
    parts: VecDeque<Part>,
    place: i64,
    looked: i64,
    pruned: Pruned,
    /// Why some slices were left as they are.
    kept: Option<StoreError>,
}

impl<'a> Walk<'a> {
    /// From the front. Where `dry`, nothing is deleted.
    pub fn new(store: &'a Store, limits: Limits, dry: bool) -> Self {
        let parts = [
            Part::Messages,
            Part::History,
            Part::Deliveries,
            Part::Statuses,
        ];
        Self {
            store,
            limits,
            dry,
            parts: parts
                .into_iter()
                .filter(|part| limits.of(*part).is_some())
                .collect(),
            place: 0,
            looked: 0,
            pruned: Pruned::default(),
            kept: None,
        }
    }

    /// What it has done so far.
    pub fn pruned(&self) -> Pruned {
        self.pruned
    }

    /// Why slices were left as they are, if some were: a foreign key of somebody's own names a message in them.
    pub fn kept(&self) -> Option<&StoreError> {
        self.kept.as_ref()
    }

    /// Takes the next slice. None: it is at its end.
    ///
    /// # Errors
    /// When the database refuses, or somebody stays in the way.
    pub async fn step(&mut self) -> Result<Option<Step>, StoreError> {
        let Some(part) = self.parts.front().copied() else {
            return Ok(None);
        };
        let Some(before) = self.limits.of(part) else {
            return Ok(None);
        };
        let slice = match self.patiently(part, before, self.dry).await {
            Err(error) if error.is_still_referred_to() => {
                self.kept.get_or_insert(error);
                let looked_at = self.patiently(part, before, true).await?;
                PrunedSlice {
                    pruned: 0,
                    ..looked_at
                }
            }
            slice => slice?,
        };
        *self.pruned.of(part) += slice.pruned;
        self.looked += slice.looked;
        let looked = self.looked;
        match slice.reached {
            Some(reached) => self.place = reached,
            None => self.leave_part(),
        }
        Ok(Some(Step {
            part,
            slice,
            looked,
        }))
    }

    /// Goes on with the next part.
    pub fn leave_part(&mut self) {
        self.parts.pop_front();
        (self.place, self.looked) = (0, 0);
    }

    /// A slice that somebody was in the way of is tried again.
    async fn patiently(
        &self,
        part: Part,
        before: OffsetDateTime,
        dry: bool,
    ) -> Result<PrunedSlice, StoreError> {
        let at_most = if self.dry { DRY_SLICE } else { SLICE };
        let mut tries = 0;
        loop {
            let slice = self
                .store
                .prune_slice(part, before, self.place, at_most, dry)
                .await;
            match slice {
                Err(error) if error.may_be_tried_again() && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                done => return done,
            }
        }
    }
}
