//! Campaigns, as the owner of their sender works them: which lanes it reads, and what it looks after.
//!
//! Everything here can be done by several at once and twice: each step is one conditional statement. Nothing grows with the size
//! of a campaign, except that the rows of one that was cancelled or is over end slice by slice.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::error::Doing;
use super::hold::MACHINE;
use super::{Store, StoreError};
use crate::domain::id::SenderId;
use crate::domain::quiet_hours::{Quiet, Zones};
use crate::domain::ramp::Ramp;

/// A campaign that says nothing of its end is done when nothing of it is left and nothing was added for so long.
pub const DONE_AFTER: Duration = Duration::from_secs(600);

/// Of a campaign that runs: something else than a verb has written its state.
const NEVER_STARTED: &str = "it runs, and nobody has started it";

/// A campaign whose rows may leave now, as far as it is concerned.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its number.
    pub campaign: i64,
    /// Its name.
    pub name: String,
    /// From this sender.
    pub sender: SenderId,
    /// 0 leaves first.
    pub priority: i16,
    /// What each of its rows says, with placeholders for their variables. Never changes once it was started.
    pub payload: String,
    /// Of the template, where it was said.
    pub category: Option<String>,
    /// Of the sender's rate, at most so much; its weight among campaigns of one priority.
    pub rate_share: f64,
    /// Messages a second at most.
    pub max_per_second: Option<f64>,
    /// A slow start, counted from [`Lane::began_at`].
    pub ramp: Option<Ramp>,
    /// When it first ran.
    pub began_at: OffsetDateTime,
    /// It closes then.
    pub ends_at: Option<OffsetDateTime>,
    /// When it leaves people alone.
    pub quiet: Option<Quiet>,
}

/// A campaign whose rows might leave now, if it could be read.
#[derive(Clone, Debug)]
pub struct UnreadLane {
    /// Its number.
    pub campaign: i64,
    /// In words.
    pub why: String,
}

fn quiet(hours: &str, time_zone: &str) -> Result<Quiet, String> {
    let hours = (hours.parse()).map_err(|why| format!("its quiet hours cannot be read: {why}"))?;
    // Postgres knows the zone, or would have refused it; a name that is newer than we are must not stop the campaign.
    let own = Zones::named(time_zone).unwrap_or_else(|_| Zones::utc());
    Ok(Quiet::new(hours, own))
}

// Read from text: of a number that JSON has and we have not, the whole answer could not be read.
fn ramp(kept: &str) -> Result<Ramp, String> {
    serde_json::from_str(kept).map_err(|why| format!("its ramp cannot be read: {why}"))
}

/// A campaign whose state was changed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignChange {
    /// Its number.
    pub campaign: i64,
    /// Its name.
    pub name: String,
    /// From this sender.
    pub sender: String,
    /// What it is now: `paused`, `done`, or, opened again, `running` or `draft`.
    pub state: String,
    /// Why, in words.
    pub reason: String,
}

/// Where to go on ending the rows of campaigns; kept by the caller, so that a slice does not read again what lies before it.
#[derive(Debug, Default)]
pub struct EndingPlaces(HashMap<i64, (OffsetDateTime, i64)>);

impl Store {
    /// The campaigns of these senders whose lanes are to be read. What is not in it any more is paused, cancelled, over or not
    /// begun, and what was read ahead of it is to be dropped. One that cannot be read costs no other its place.
    pub async fn lanes(
        &self,
        senders: &[SenderId],
    ) -> Result<(Vec<Lane>, Vec<UnreadLane>), StoreError> {
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        let rows = sqlx::query_file!("src/store/sql/lanes.sql", &senders as &[&str])
            .fetch_all(&self.pool)
            .await
            .doing("read which campaigns run")?;
        let (mut lanes, mut unread) = (Vec::new(), Vec::new());
        for row in rows {
            let ramp = row.ramp.map(|kept| ramp(&kept)).transpose();
            let quiet = row.quiet_hours.map(|hours| quiet(&hours, &row.time_zone));
            let began_at = row.began_at.ok_or_else(|| NEVER_STARTED.to_owned());
            match (ramp, quiet.transpose(), began_at) {
                (Ok(ramp), Ok(quiet), Ok(began_at)) => lanes.push(Lane {
                    campaign: row.campaign,
                    name: row.name,
                    sender: SenderId::from(row.sender),
                    priority: row.priority,
                    payload: row.payload,
                    category: row.category,
                    rate_share: row.rate_share,
                    max_per_second: row.max_per_second,
                    ramp,
                    began_at,
                    ends_at: row.ends_at,
                    quiet,
                }),
                (Err(why), ..) | (_, Err(why), _) | (.., Err(why)) => unread.push(UnreadLane {
                    campaign: row.campaign,
                    why,
                }),
            }
        }
        Ok((lanes, unread))
    }

    /// Whether there has ever been a campaign: most databases never have one.
    pub async fn has_campaigns(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar!(r#"select exists (select from wa.campaigns) as "has!""#)
            .fetch_one(&self.pool)
            .await
            .doing("see whether there are campaigns")
    }

    /// Adds up what the books have told of campaigns, at most so many rows of theirs; says how many. Whoever finds another at it
    /// does nothing.
    pub async fn fold_campaign_counts(&self, at_most: i32) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            // While there are none nothing is written: not even the lock of who adds them up.
            r#"select case when exists (select from wa.campaign_deltas d where d.xact >= (select wa.campaign_deltas_front()))
                 then wa.fold_campaign_deltas($1) else 0 end as "folded!""#,
            at_most
        )
        .fetch_one(&self.pool)
        .await
        .doing("add up the counts of campaigns")
    }

    /// Ends a slice of the waiting rows of campaigns that were cancelled (as cancelled) or are over (as expired), at most
    /// `at_most` of each campaign. Says how many rows that were; 0: for now there are no more.
    pub async fn end_rows_of_ended_campaigns(
        &self,
        senders: &[SenderId],
        places: &mut EndingPlaces,
        at_most: i64,
    ) -> Result<i64, StoreError> {
        let doing = "end the rows of campaigns that are over";
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        let ended =
            sqlx::query_file_scalar!("src/store/sql/ended_campaigns.sql", &senders as &[&str])
                .fetch_all(&self.pool)
                .await
                .doing(doing)?;
        places.0.retain(|campaign, _| ended.contains(campaign));
        let mut rows = 0;
        for campaign in ended {
            let front = (OffsetDateTime::UNIX_EPOCH, 0);
            let (due_at, id) = places.0.get(&campaign).copied().unwrap_or(front);
            let slice = sqlx::query_file!(
                "src/store/sql/end_campaign_rows.sql",
                campaign,
                due_at,
                id,
                at_most
            )
            .fetch_one(&self.pool)
            .await
            .doing(doing)?;
            rows += slice.rows;
            match (slice.last_due_at, slice.last_id) {
                (Some(due_at), Some(id)) if slice.rows == at_most => {
                    places.0.insert(campaign, (due_at, id));
                }
                // What came back meanwhile, or was locked, lies anywhere: from the front again.
                _ => drop(places.0.remove(&campaign)),
            }
        }
        Ok(rows)
    }

    /// Marks campaigns of these senders as done of which nothing is left, and opens again, as what they were, those that were done too
    /// early (see `sql/close_campaigns.sql`). `quiet_for`: one that does not say that it is complete had nothing added for so long
    /// ([`DONE_AFTER`]).
    pub async fn close_campaigns(
        &self,
        senders: &[SenderId],
        quiet_for: Duration,
    ) -> Result<Vec<CampaignChange>, StoreError> {
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        sqlx::query_file_as!(
            CampaignChange,
            "src/store/sql/close_campaigns.sql",
            &senders as &[&str],
            quiet_for.as_secs_f64(),
            MACHINE
        )
        .fetch_all(&self.pool)
        .await
        .doing("close campaigns")
    }

    /// Pauses campaigns of these senders that are in trouble, with the reason: too many have failed lately, or WhatsApp has
    /// stopped the template or the sender (see `sql/pause_troubled.sql`). Resumed by a person only.
    pub async fn pause_troubled_campaigns(
        &self,
        senders: &[SenderId],
    ) -> Result<Vec<CampaignChange>, StoreError> {
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        sqlx::query_file_as!(
            CampaignChange,
            "src/store/sql/pause_troubled.sql",
            &senders as &[&str],
            MACHINE
        )
        .fetch_all(&self.pool)
        .await
        .doing("pause campaigns in trouble")
    }
}
