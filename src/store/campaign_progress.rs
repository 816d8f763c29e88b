//! How far a campaign is: sums that the books keep, at the same cost for ten recipients and for a million.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::error::Doing;
use super::{Store, StoreError};

/// Rows that are put off are looked at up to so many.
pub const PUT_OFF_AT_MOST: i64 = 10_000;

/// How many rows of a campaign are where. Each row is in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignCounts {
    /// Not begun, or put back.
    pub queued: i64,
    /// A request is out.
    pub sending: i64,
    /// Begun, answer lost.
    pub uncertain: i64,
    /// Taken by WhatsApp, and no status yet.
    pub accepted: i64,
    /// The last status is `sent`.
    pub sent: i64,
    /// The last status is `delivered`.
    pub delivered: i64,
    /// The last status is `read` or `played`.
    pub read: i64,
    /// Taken by WhatsApp, and then a status said `failed`.
    pub undelivered: i64,
    /// Refused, or could not be sent.
    pub failed: i64,
    /// Their time passed, or the campaign's.
    pub expired: i64,
    /// By a person, alone or with the campaign.
    pub cancelled: i64,
    /// Cancelled because the recipient must not be messaged.
    pub suppressed: i64,
    /// `failed` and `undelivered` by WhatsApp's code, the most frequent first.
    pub failures: Vec<FailureCount>,
}

/// How many have failed with one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureCount {
    /// Meta's code; none: ours refused it (a variable is missing), or there was no code.
    pub code: Option<i64>,
    /// So many.
    pub count: i64,
}

impl CampaignCounts {
    /// All rows.
    pub fn total(&self) -> i64 {
        self.open() + self.answered() + self.expired + self.cancelled + self.suppressed
    }

    /// Those that have not ended.
    pub fn open(&self) -> i64 {
        self.queued + self.sending + self.uncertain
    }

    /// Those of which WhatsApp has said yes or no.
    pub fn answered(&self) -> i64 {
        self.taken() + self.failed
    }

    /// Those that WhatsApp has taken, whatever became of them.
    pub fn taken(&self) -> i64 {
        self.accepted + self.sent + self.delivered + self.read + self.undelivered
    }
}

/// How far a campaign is.
#[derive(Clone, Debug)]
pub struct CampaignProgress {
    /// Where its rows are.
    pub counts: CampaignCounts,
    /// What all of them wait for, or most where nothing of it is due; none: they leave, or are over.
    pub waiting_for: Option<String>,
    /// Whether a person had it paused, or its sender held, and has said why.
    pub for_a_person: bool,
    /// Rows that wait each for something of their own (a pair limit, their quiet hours, a retry), by reason; counted up to
    /// [`PUT_OFF_AT_MOST`] together.
    pub put_off: Vec<(String, i64)>,
    /// When the first of those is due.
    pub next_due_at: Option<OffsetDateTime>,
    /// When the last of those that are counted is.
    pub last_due_at: Option<OffsetDateTime>,
    /// It runs, and nothing of it is due, or out.
    pub is_nothing_due: bool,
    /// Answered within the last minute; told in steps of 5 seconds, and a second late.
    pub answered_last_minute: i64,
    /// The first answer; this and the next two are told a second late.
    pub first_answer_at: Option<OffsetDateTime>,
    /// The last answer.
    pub last_answer_at: Option<OffsetDateTime>,
    /// The last status that a webhook told.
    pub last_status_at: Option<OffsetDateTime>,
    /// Requests a second that its sender may make.
    pub sender_rate: f64,
    /// When this was asked, by the database's clock.
    pub now: OffsetDateTime,
}

/// One sum.
struct Counted {
    kind: String,
    code: Option<i64>,
    n: i64,
}

impl Store {
    /// How many rows of a campaign are where. All zero for one that does not exist.
    pub async fn campaign_counts(&self, campaign: i64) -> Result<CampaignCounts, StoreError> {
        let counted = sqlx::query_file_as!(Counted, "src/store/sql/campaign_counts.sql", campaign)
            .fetch_all(&self.pool)
            .await
            .doing("read the counts of the campaign")?;
        Ok(counts_of(&counted))
    }

    /// How far a campaign is; none: there is no such campaign.
    pub async fn campaign_progress(
        &self,
        campaign: i64,
    ) -> Result<Option<CampaignProgress>, StoreError> {
        let Some(row) = sqlx::query_file!(
            "src/store/sql/campaign_progress.sql",
            campaign,
            PUT_OFF_AT_MOST
        )
        .fetch_optional(&self.pool)
        .await
        .doing("see how far the campaign is")?
        else {
            return Ok(None);
        };
        let counts = self.campaign_counts(campaign).await?;
        let put_off: Vec<(String, i64)> = row.reasons.into_iter().zip(row.put_off).collect();
        let most = || put_off.first().map(|(why, _)| why.clone());
        let waiting_for = match row.waiting_for {
            None if row.is_nothing_due => {
                most().or_else(|| for_uncertain(&counts, row.left_to_a_person.unwrap_or_default()))
            }
            told => told,
        };
        Ok(Some(CampaignProgress {
            counts,
            waiting_for,
            for_a_person: row.for_a_person,
            put_off,
            next_due_at: row.next_due_at,
            last_due_at: row.last_due_at,
            is_nothing_due: row.is_nothing_due,
            answered_last_minute: row.answered_last_minute,
            first_answer_at: row.first_answer_at,
            last_answer_at: row.last_answer_at,
            last_status_at: row.last_status_at,
            sender_rate: row.sender_rate,
            now: row.now,
        }))
    }
}

/// What a campaign waits for of which nothing is left but what is uncertain.
fn for_uncertain(counts: &CampaignCounts, left_to_a_person: i64) -> Option<String> {
    if counts.uncertain == 0 || counts.open() > counts.uncertain {
        return None;
    }
    let waits = match left_to_a_person >= counts.uncertain {
        true => "a person, for what is uncertain of it; see: wa-outbox uncertain list",
        false => "evidence of what became of requests whose answers were lost",
    };
    Some(waits.to_owned())
}

fn counts_of(counted: &[Counted]) -> CampaignCounts {
    let mut counts = CampaignCounts::default();
    let mut failures = BTreeMap::<Option<i64>, i64>::new();
    for one in counted {
        let place = match one.kind.as_str() {
            "queued" => &mut counts.queued,
            "sending" => &mut counts.sending,
            "uncertain" => &mut counts.uncertain,
            "accepted" => &mut counts.accepted,
            "sent" => &mut counts.sent,
            "delivered" => &mut counts.delivered,
            "read" => &mut counts.read,
            "undelivered" => &mut counts.undelivered,
            "failed" => &mut counts.failed,
            "expired" => &mut counts.expired,
            "cancelled" => &mut counts.cancelled,
            "suppressed" => &mut counts.suppressed,
            _ => continue,
        };
        *place += one.n;
        if matches!(one.kind.as_str(), "failed" | "undelivered") {
            *failures.entry(one.code).or_default() += one.n;
        }
    }
    counts.failures = failures
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .map(|(code, count)| FailureCount { code, count })
        .collect();
    counts.failures.sort_by_key(|one| -one.count);
    counts
}
