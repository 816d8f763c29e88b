//! Campaigns as scripts read them.

use serde::Serialize;
use time::OffsetDateTime;

use super::{meaning, places};
use crate::domain::ramp::Ramp;
use crate::standing::campaign::Standing;
use crate::store::campaign::{Campaign, CampaignEvent};
use crate::store::campaign_progress::{CampaignCounts, FailureCount};

#[derive(Serialize)]
pub(super) struct RowJson<'a> {
    id: i64,
    campaign: &'a str,
    sender: &'a str,
    state: &'a str,
    state_reason: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339")]
    state_changed_at: OffsetDateTime,
    recipients: i64,
    open: i64,
    taken: i64,
    failed: i64,
}

impl<'a> RowJson<'a> {
    pub(super) fn of(campaign: &'a Campaign, counts: &CampaignCounts) -> Self {
        Self {
            id: campaign.id,
            campaign: &campaign.name,
            sender: &campaign.sender,
            state: &campaign.state,
            state_reason: campaign.state_reason.as_deref(),
            state_changed_at: campaign.state_changed_at,
            recipients: counts.total(),
            open: counts.open(),
            taken: counts.taken(),
            failed: counts.failed + counts.undelivered,
        }
    }
}

/// A campaign as scripts read it.
#[derive(Serialize)]
pub(super) struct CampaignJson<'a> {
    campaign: &'a str,
    id: i64,
    sender: &'a str,
    state: &'a str,
    state_reason: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339")]
    state_changed_at: OffsetDateTime,
    state_changed_by: &'a str,
    waiting_for: Option<&'a str>,
    total: i64,
    counts: serde_json::Map<String, serde_json::Value>,
    put_off: Vec<PutOffJson<'a>>,
    rate_per_second: Option<f64>,
    limit_per_second: f64,
    limit_by: &'static str,
    time_left_s: Option<i64>,
    failures: Vec<FailureJson>,
    history: Vec<EventJson<'a>>,
    settings: SettingsJson<'a>,
    #[serde(with = "time::serde::rfc3339::option")]
    preflight_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    first_answer_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_answer_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_status_at: Option<OffsetDateTime>,
}

#[derive(Serialize)]
struct PutOffJson<'a> {
    waiting_for: &'a str,
    messages: i64,
}

#[derive(Serialize)]
struct FailureJson {
    code: Option<i64>,
    messages: i64,
    title: &'static str,
    remedy: &'static str,
}

#[derive(Serialize)]
struct EventJson<'a> {
    #[serde(with = "time::serde::rfc3339")]
    happened_at: OffsetDateTime,
    what: &'a str,
    author: &'a str,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct SettingsJson<'a> {
    priority: i16,
    rate_share: f64,
    max_per_second: Option<f64>,
    ramp: Option<&'a Ramp>,
    #[serde(with = "time::serde::rfc3339::option")]
    starts_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    ends_at: Option<OffsetDateTime>,
    quiet_hours: Option<&'a str>,
    time_zone: &'a str,
    expires_after_s: Option<f64>,
    category: Option<&'a str>,
    pause_failure_share: Option<f64>,
    pause_window_s: f64,
    pause_at_least: i32,
    complete: bool,
}

impl<'a> CampaignJson<'a> {
    pub(super) fn of(standing: Standing<'a>, history: &'a [CampaignEvent]) -> Self {
        let Standing { campaign, progress } = standing;
        let (limit_per_second, limit_by) = standing.limit();
        let counts = places(&progress.counts);
        Self {
            campaign: &campaign.name,
            id: campaign.id,
            sender: &campaign.sender,
            state: &campaign.state,
            state_reason: campaign.state_reason.as_deref(),
            state_changed_at: campaign.state_changed_at,
            state_changed_by: &campaign.state_changed_by,
            waiting_for: progress.waiting_for.as_deref(),
            total: progress.counts.total(),
            counts: counts
                .map(|(name, count)| (name.to_owned(), count.into()))
                .into_iter()
                .collect(),
            put_off: progress
                .put_off
                .iter()
                .map(|(waiting_for, messages)| PutOffJson {
                    waiting_for,
                    messages: *messages,
                })
                .collect(),
            rate_per_second: standing.rate(),
            limit_per_second,
            limit_by,
            time_left_s: standing.time_left().map(|left| left.whole_seconds()),
            failures: progress
                .counts
                .failures
                .iter()
                .map(FailureJson::of)
                .collect(),
            history: history.iter().map(EventJson::of).collect(),
            settings: SettingsJson::of(campaign),
            preflight_at: campaign.preflight_at,
            first_answer_at: progress.first_answer_at,
            last_answer_at: progress.last_answer_at,
            last_status_at: progress.last_status_at,
        }
    }
}

impl FailureJson {
    pub(super) fn of(failure: &FailureCount) -> Self {
        let (title, remedy) = meaning(failure.code);
        Self {
            code: failure.code,
            messages: failure.count,
            title,
            remedy,
        }
    }
}

impl<'a> EventJson<'a> {
    fn of(event: &'a CampaignEvent) -> Self {
        Self {
            happened_at: event.happened_at,
            what: &event.what,
            author: &event.author,
            reason: event.reason.as_deref(),
        }
    }
}

impl<'a> SettingsJson<'a> {
    pub(super) fn of(campaign: &'a Campaign) -> Self {
        Self {
            priority: campaign.priority,
            rate_share: campaign.rate_share,
            max_per_second: campaign.max_per_second,
            ramp: campaign.ramp.as_ref(),
            starts_at: campaign.starts_at,
            ends_at: campaign.ends_at,
            quiet_hours: campaign.quiet_hours.as_deref(),
            time_zone: &campaign.time_zone,
            expires_after_s: campaign.expires_after_s,
            category: campaign.category.as_deref(),
            pause_failure_share: campaign.pause_failure_share,
            pause_window_s: campaign.pause_window_s,
            pause_at_least: campaign.pause_at_least,
            complete: campaign.complete,
        }
    }
}
