//! Failures in groups: by code and sender, and what a person decides about a whole group.
//!
//! Everything walks partial indexes that only failures are in. A look goes past the newest [`FAILURES_LOOKED_AT`] of them. A decision goes
//! through its whole group, a slice a transaction, so it holds no lock for long; broken off, it is simply made again: nothing is done
//! twice. What was decided, by whom and why is written down before the first slice (`wa.group_decisions`), and each slice adds to it how
//! many it was done to.
//!
//! To send again is to write a new message with the content of the old one. The old one stays as it is, and no request for it starts
//! ever again. The new one has the dedup key `again:` and the old id, so there is never a second one.

use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::record::storable;
use super::{Store, StoreError};

/// A look at failures goes past so many of them.
pub const FAILURES_LOOKED_AT: i64 = 10_000;

/// So many messages are decided about in one transaction.
const SLICE: i64 = 500;

/// Which failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureFilter {
    /// Of this sender.
    pub sender: Option<String>,
    /// Failed since then.
    pub since: Option<OffsetDateTime>,
}

/// The failures of one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// WhatsApp's code. None: those that failed without one, by a rule of ours or an operator's word.
    pub code: Option<i64>,
    /// Which of them.
    pub filter: FailureFilter,
}

/// The failures of one sender with one code, as far as was looked.
#[derive(Clone, Debug)]
pub struct FailureCount {
    /// Their sender.
    pub sender: String,
    /// Their code. What it means says [`explain`](crate::provider::explain).
    pub code: Option<i64>,
    /// So many.
    pub messages: i64,
    /// Those of them that WhatsApp never took; the others it took, and then told that they failed.
    pub rejected: i64,
    /// When the latest failed.
    pub last_at: OffsetDateTime,
    /// The latest.
    pub sample: i64,
    /// Why, as it was said of the latest.
    pub sample_message: Option<String>,
}

/// The newest failures in groups, the largest first.
#[derive(Clone, Debug)]
pub struct Failures {
    /// The groups.
    pub groups: Vec<FailureCount>,
    /// Failures that were looked at, of every sender.
    pub looked_at: i64,
    /// When the oldest of those failed.
    pub looked_back_to: Option<OffsetDateTime>,
}

impl Failures {
    /// Whether all that was asked for was looked at.
    pub fn is_whole(&self) -> bool {
        self.looked_at < FAILURES_LOOKED_AT
    }
}

/// How many messages a decision would be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// So many, at least.
    pub messages: i64,
    /// They are no more.
    pub is_whole: bool,
}

/// Who decides, and why.
#[derive(Clone, Copy, Debug)]
pub struct Decider<'a> {
    /// Their name.
    pub by: &'a str,
    /// For those who read it later. Not empty.
    pub reason: &'a str,
}

/// What became of messages that were to be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// New messages that were written.
    pub written: u64,
    /// Those that had been sent again before.
    pub already: u64,
    /// Rows of campaigns that have ended; a new campaign reaches their recipients.
    pub of_ended_campaigns: u64,
    /// The outbox does not take them as they are (any more).
    pub refused: u64,
}

/// For whom recipients of failures are suppressed.
#[derive(Clone, Debug, Default)]
pub struct SuppressFrom {
    /// From campaigns of this sender; none: of every one.
    pub sender: Option<String>,
    /// `marketing`, `utility` or `authentication`; none: every category.
    pub category: Option<String>,
}

/// The next failures of a group, newest first.
struct GroupSlice {
    ids: Vec<i64>,
    /// The next slice is older than this; none: this was the last.
    next: Option<i64>,
}

impl Store {
    /// The newest failures in groups. Reads no more than [`FAILURES_LOOKED_AT`] of them.
    pub async fn failures(&self, filter: &FailureFilter) -> Result<Failures, StoreError> {
        let rows = sqlx::query_file!(
            "src/store/sql/failures.sql",
            filter.sender,
            filter.since,
            FAILURES_LOOKED_AT
        )
        .fetch_all(&self.pool)
        .await
        .doing("group the failures")?;
        let mut failures = Failures {
            groups: Vec::with_capacity(rows.len()),
            looked_at: 0,
            looked_back_to: None,
        };
        for row in rows {
            failures.looked_at = row.looked_at;
            failures.looked_back_to = row.looked_back_to;
            // Where nothing was found, one row says how far was looked.
            if let (Some(sender), Some(last_at), Some(sample)) =
                (row.sender, row.last_at, row.sample)
            {
                failures.groups.push(FailureCount {
                    sender,
                    code: row.error_code,
                    messages: row.messages.unwrap_or_default(),
                    rejected: row.rejected.unwrap_or_default(),
                    last_at,
                    sample,
                    sample_message: row.sample_message,
                });
            }
        }
        Ok(failures)
    }

    /// How many messages a decision about this group would be about, as far as [`FAILURES_LOOKED_AT`] of its code tell.
    pub async fn count_failures(&self, group: &FailureGroup) -> Result<Counted, StoreError> {
        let counted = sqlx::query_file!(
            "src/store/sql/count_failures.sql",
            group.code.unwrap_or(NO_CODE),
            group.filter.sender,
            group.filter.since,
            FAILURES_LOOKED_AT
        )
        .fetch_one(&self.pool)
        .await
        .doing("count the failures of a group")?;
        Ok(Counted {
            messages: counted.messages,
            is_whole: counted.looked_at < FAILURES_LOOKED_AT,
        })
    }

    /// What would become of the failures of a group that are sent again, as far as [`FAILURES_LOOKED_AT`] of its code tell; and how many
    /// would be written. What the outbox would refuse is not known before.
    pub async fn count_again(&self, group: &FailureGroup) -> Result<(Counted, Again), StoreError> {
        let counted = sqlx::query_file!(
            "src/store/sql/count_again.sql",
            group.code.unwrap_or(NO_CODE),
            group.filter.sender,
            group.filter.since,
            FAILURES_LOOKED_AT
        )
        .fetch_one(&self.pool)
        .await
        .doing("count what would be sent again")?;
        let messages = counted.may_leave - counted.already;
        let again = Again {
            written: messages.unsigned_abs(),
            already: counted.already.unsigned_abs(),
            of_ended_campaigns: (counted.failed - counted.may_leave).unsigned_abs(),
            refused: 0,
        };
        let is_whole = counted.looked_at < FAILURES_LOOKED_AT;
        Ok((Counted { messages, is_whole }, again))
    }

    /// Writes the failures of a group anew, each as a new message that leaves as soon as it may, and has as long to live as the old one
    /// had. Never one of which WhatsApp has told that it arrived, nor any twice.
    pub async fn send_failures_again(
        &self,
        group: &FailureGroup,
        decider: Decider<'_>,
    ) -> Result<Again, StoreError> {
        let decision = self.decide("again", &group.in_words(), decider).await?;
        let mut again = Again::default();
        let mut before = Some(i64::MAX);
        while let Some(from) = before {
            let slice = self.group_slice(group, from).await?;
            before = slice.next;
            // What the database refuses is halved, until the bad row stands alone.
            let mut parts = vec![slice.ids];
            while let Some(part) = parts.pop() {
                if part.is_empty() {
                    continue;
                }
                match self.write_again(decision, &part).await {
                    Ok(done) => {
                        again.written += done.written;
                        again.already += done.already;
                        again.of_ended_campaigns += done.of_ended_campaigns;
                    }
                    Err(error) if error.refusal().is_some() && part.len() == 1 => {
                        again.refused += 1;
                    }
                    Err(error) if error.refusal().is_some() => {
                        let (front, back) = part.split_at(part.len() / 2);
                        parts.push(back.to_vec());
                        parts.push(front.to_vec());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(again)
    }

    async fn write_again(&self, decision: i64, ids: &[i64]) -> Result<Again, StoreError> {
        let doing = "send failures again";
        let mut transaction = self.pool.begin().await.doing(doing)?;
        let done = sqlx::query_file!("src/store/sql/send_failures_again.sql", ids)
            .fetch_one(&mut *transaction)
            .await
            .doing(doing)?;
        add_to_decision(&mut transaction, decision, done.written).await?;
        transaction.commit().await.doing(doing)?;
        Ok(Again {
            written: done.written as u64,
            already: (done.may_leave - done.written) as u64,
            of_ended_campaigns: (done.failed - done.may_leave) as u64,
            refused: 0,
        })
    }

    /// Suppresses the recipients of the failures of a group, for good. One who is suppressed so already stays as they are. Says how many
    /// were not.
    pub async fn suppress_failures(
        &self,
        group: &FailureGroup,
        from: &SuppressFrom,
        decider: Decider<'_>,
    ) -> Result<u64, StoreError> {
        let doing = "suppress the recipients of failures";
        let decision = self.decide("suppress", &group.in_words(), decider).await?;
        let mut suppressed = 0;
        let mut before = Some(i64::MAX);
        while let Some(older_than) = before {
            let slice = self.group_slice(group, older_than).await?;
            before = slice.next;
            if slice.ids.is_empty() {
                continue;
            }
            let mut transaction = self.pool.begin().await.doing(doing)?;
            let written = sqlx::query_file!(
                "src/store/sql/suppress_failures.sql",
                &slice.ids,
                from.sender,
                from.category,
                storable(decider.reason),
                storable(decider.by)
            )
            .execute(&mut *transaction)
            .await
            .doing(doing)?
            .rows_affected();
            add_to_decision(&mut transaction, decision, written as i64).await?;
            transaction.commit().await.doing(doing)?;
            suppressed += written;
        }
        Ok(suppressed)
    }

    async fn group_slice(
        &self,
        group: &FailureGroup,
        before: i64,
    ) -> Result<GroupSlice, StoreError> {
        let rows = sqlx::query_file!(
            "src/store/sql/failure_slice.sql",
            group.code.unwrap_or(NO_CODE),
            group.filter.sender,
            group.filter.since,
            before,
            SLICE
        )
        .fetch_all(&self.pool)
        .await
        .doing("read the failures of a group")?;
        let is_last = (rows.len() as i64) < SLICE;
        Ok(GroupSlice {
            next: rows.last().filter(|_| !is_last).map(|last| last.id),
            ids: rows
                .iter()
                .filter(|row| row.is_meant)
                .map(|row| row.id)
                .collect(),
        })
    }

    /// Writes down who decides what, and why, before it is done.
    pub(super) async fn decide(
        &self,
        what: &str,
        of_what: &str,
        decider: Decider<'_>,
    ) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            "insert into wa.group_decisions (what, of_what, author, reason) values ($1, $2, $3, $4) returning decision",
            what,
            of_what,
            storable(decider.by),
            storable(decider.reason)
        )
        .fetch_one(&self.pool)
        .await
        .doing("write down what was decided")
    }
}

/// How the index writes that there is no code.
const NO_CODE: i64 = -1;

impl FailureGroup {
    /// For those who read it later.
    fn in_words(&self) -> String {
        let mut words = match self.code {
            Some(code) => format!("failures with code {code}"),
            None => "failures without a code".to_owned(),
        };
        if let Some(sender) = &self.filter.sender {
            words += &format!(" of sender {sender}");
        }
        if let Some(since) = self.filter.since {
            words += &format!(" since {since}");
        }
        words
    }
}

pub(super) async fn add_to_decision(
    transaction: &mut Transaction,
    decision: i64,
    messages: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update wa.group_decisions set messages = messages + $2 where decision = $1",
        decision,
        messages
    )
    .execute(&mut **transaction)
    .await
    .doing("write down to how many it was done")
    .map(drop)
}
