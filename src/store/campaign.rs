//! Campaigns, as people lead and see them: created, started, paused, resumed, cancelled, set, shown.
//!
//! Each verb writes one row, whatever the campaign's size, and calls the owner of its sender; the rows that wait are told apart
//! by the state of their campaign, not rewritten. Counts are sums of what the books have told (the migration *campaigns*),
//! so a look costs the same for ten recipients and for a million. How far one is: [`super::campaign_progress`]; what the owner does: [`super::campaign_work`].

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::Doing;
use super::record::storable;
use super::{Store, StoreError};
use crate::domain::ramp::Ramp;

/// A campaign's settings and state, as they stand in `wa.campaigns`.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Its number.
    pub id: i64,
    /// Its name, unique, never a number.
    pub name: String,
    /// From this sender.
    pub sender: String,
    /// A template message with `{{name}}` placeholders, as it was given.
    pub payload: String,
    /// `marketing`, `utility` or `authentication`, where it was said.
    pub category: Option<String>,
    /// `draft`, `running`, `paused`, `done` or `cancelled`.
    pub state: String,
    /// Why it is in that state, in words.
    pub state_reason: Option<String>,
    /// Since when.
    pub state_changed_at: OffsetDateTime,
    /// By whom.
    pub state_changed_by: String,
    /// 0 leaves first.
    pub priority: i16,
    /// Of the sender's rate, at most so much; above 0, at most 1.
    pub rate_share: f64,
    /// Messages a second at most.
    pub max_per_second: Option<f64>,
    /// A slow start; none: it starts at its full rate.
    pub ramp: Option<Ramp>,
    /// Nothing leaves before.
    pub starts_at: Option<OffsetDateTime>,
    /// What has not left by then expires.
    pub ends_at: Option<OffsetDateTime>,
    /// `HH:MM-HH:MM` by the recipient's clock.
    pub quiet_hours: Option<String>,
    /// For recipients whose own time zone is not known; an IANA name.
    pub time_zone: String,
    /// Rows that say no expiry expire so many seconds after they are due.
    pub expires_after_s: Option<f64>,
    /// Paused by itself at this share of failures.
    pub pause_failure_share: Option<f64>,
    /// Over so many seconds.
    pub pause_window_s: f64,
    /// Of at least so many answered.
    pub pause_at_least: i32,
    /// No more recipients are to come.
    pub complete: bool,
    /// What the last preflight found, as JSON.
    pub preflight: Option<String>,
    /// When that was.
    pub preflight_at: Option<OffsetDateTime>,
    /// When it was started for the first time.
    pub started_at: Option<OffsetDateTime>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// By whom.
    pub created_by: String,
}

/// Which campaign: by number or by name.
#[derive(Clone, Debug)]
pub enum CampaignKey {
    /// `wa.campaigns.id`.
    Id(i64),
    /// Its name.
    Name(String),
}

impl From<&str> for CampaignKey {
    /// What a person writes: digits are a number, for no name consists of them.
    fn from(written: &str) -> Self {
        match written.parse() {
            Ok(id) => Self::Id(id),
            Err(_) => Self::Name(written.to_owned()),
        }
    }
}

/// What is done about a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignVerb {
    /// A draft runs from now on, or one that was done is opened again.
    Start,
    /// Nothing leaves until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// What has not left ends as cancelled.
    Cancel,
}

impl CampaignVerb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }
}

/// A campaign that is to be made.
#[derive(Clone, Debug, Default)]
pub struct NewCampaign {
    /// Its name.
    pub name: String,
    /// A template message with `{{name}}` placeholders: JSON.
    pub payload: String,
    /// From this sender; none: the only or the default one.
    pub sender: Option<String>,
    /// The rest.
    pub settings: CampaignSettings,
    /// By whom.
    pub by: String,
}

/// Settings that are to be written: what is `None` stays as it is, or takes the table's default; where a setting may be absent,
/// `Some(None)` takes it away.
#[derive(Clone, Debug, Default)]
pub struct CampaignSettings {
    /// Another name.
    pub name: Option<String>,
    /// Another content, which is kept as it is written; only before the first start.
    pub payload: Option<Box<RawValue>>,
    /// Of the template.
    pub category: Option<Option<String>>,
    /// 0 leaves first; acts on all its rows at once.
    pub priority: Option<i16>,
    /// Above 0, at most 1.
    pub rate_share: Option<f64>,
    /// `--slow-to`: messages a second.
    pub max_per_second: Option<Option<f64>>,
    /// A slow start.
    pub ramp: Option<Option<Ramp>>,
    /// Nothing leaves before.
    pub starts_at: Option<Option<OffsetDateTime>>,
    /// What has not left by then expires.
    pub ends_at: Option<Option<OffsetDateTime>>,
    /// `HH:MM-HH:MM`.
    pub quiet_hours: Option<Option<String>>,
    /// An IANA name.
    pub time_zone: Option<String>,
    /// For rows that are written from now on.
    pub expires_after: Option<Option<Duration>>,
    /// None: it is never paused for its failures.
    pub pause_failure_share: Option<Option<f64>>,
    /// 10 seconds to a day.
    pub pause_window: Option<Duration>,
    /// Answered within the window, before the share counts.
    pub pause_at_least: Option<i32>,
    /// No more recipients are to come.
    pub complete: Option<bool>,
}

impl CampaignSettings {
    /// By name, without the content.
    fn plain(&self) -> Map<String, Value> {
        let moment =
            |at: &Option<OffsetDateTime>| json!(at.and_then(|at| at.format(&Rfc3339).ok()));
        let seconds = |time: &Duration| json!(format!("{} seconds", time.as_secs_f64()));
        // JSON has no NaN and no infinity: as numbers they would be null, which takes a setting away. As texts the database refuses
        // them.
        let number = |number: f64| match number.is_finite() {
            true => json!(number),
            false => json!(number.to_string()),
        };
        let or_none = |given: Option<f64>| given.map_or(Value::Null, number);
        let settings = [
            ("name", self.name.as_ref().map(|it| json!(it))),
            ("category", self.category.as_ref().map(|it| json!(it))),
            ("priority", self.priority.map(|it| json!(it))),
            ("rate_share", self.rate_share.map(number)),
            ("max_per_second", self.max_per_second.map(or_none)),
            ("ramp", self.ramp.as_ref().map(|it| json!(it))),
            ("starts_at", self.starts_at.as_ref().map(moment)),
            ("ends_at", self.ends_at.as_ref().map(moment)),
            ("quiet_hours", self.quiet_hours.as_ref().map(|it| json!(it))),
            ("time_zone", self.time_zone.as_ref().map(|it| json!(it))),
            (
                "expires_after",
                self.expires_after
                    .as_ref()
                    .map(|it| it.as_ref().map_or(Value::Null, seconds)),
            ),
            ("pause_failure_share", self.pause_failure_share.map(or_none)),
            ("pause_window", self.pause_window.as_ref().map(seconds)),
            ("pause_at_least", self.pause_at_least.map(|it| json!(it))),
            ("complete", self.complete.map(|it| json!(it))),
        ];
        let given = settings
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.collect()
    }

    fn as_json(&self) -> Result<String, StoreError> {
        #[derive(serde::Serialize)]
        struct Written<'a> {
            #[serde(flatten)]
            plain: Map<String, Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            payload: Option<&'a RawValue>,
        }
        let (plain, payload) = (self.plain(), self.payload.as_deref());
        serde_json::to_string(&Written { plain, payload }).map_err(|_| StoreError::Inconsistent {
            what: "settings of a campaign that are no JSON",
        })
    }
}

/// What happened to a campaign.
#[derive(Clone, Debug)]
pub struct CampaignEvent {
    /// When.
    pub happened_at: OffsetDateTime,
    /// `created`, `set`, `started`, `paused`, `resumed`, `cancelled`, `done`, `reopened` or `preflight`.
    pub what: String,
    /// By whom.
    pub author: String,
    /// Why, or what exactly.
    pub reason: Option<String>,
}

/// The row of `wa.campaigns` as it is read.
struct Row {
    id: i64,
    name: String,
    sender: String,
    payload: String,
    category: Option<String>,
    state: String,
    state_reason: Option<String>,
    state_changed_at: OffsetDateTime,
    state_changed_by: String,
    priority: i16,
    rate_share: f64,
    max_per_second: Option<f64>,
    ramp: Option<Value>,
    starts_at: Option<OffsetDateTime>,
    ends_at: Option<OffsetDateTime>,
    quiet_hours: Option<String>,
    time_zone: String,
    expires_after_s: Option<f64>,
    pause_failure_share: Option<f64>,
    pause_window_s: f64,
    pause_at_least: i32,
    complete: bool,
    preflight: Option<String>,
    preflight_at: Option<OffsetDateTime>,
    started_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    created_by: String,
}

/// The steps as they are kept; the table keeps nothing else.
pub(super) fn ramp_of(kept: Option<Value>) -> Result<Option<Ramp>, StoreError> {
    let ramp = kept.map(serde_json::from_value).transpose();
    ramp.map_err(|_| StoreError::Inconsistent {
        what: "wa.campaigns: a ramp that is none",
    })
}

impl TryFrom<Row> for Campaign {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            name: row.name,
            sender: row.sender,
            payload: row.payload,
            category: row.category,
            state: row.state,
            state_reason: row.state_reason,
            state_changed_at: row.state_changed_at,
            state_changed_by: row.state_changed_by,
            priority: row.priority,
            rate_share: row.rate_share,
            max_per_second: row.max_per_second,
            ramp: ramp_of(row.ramp)?,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            quiet_hours: row.quiet_hours,
            time_zone: row.time_zone,
            expires_after_s: row.expires_after_s,
            pause_failure_share: row.pause_failure_share,
            pause_window_s: row.pause_window_s,
            pause_at_least: row.pause_at_least,
            complete: row.complete,
            preflight: row.preflight,
            preflight_at: row.preflight_at,
            started_at: row.started_at,
            created_at: row.created_at,
            created_by: row.created_by,
        })
    }
}

impl Store {
    /// Makes a campaign, as a draft, and gives its number.
    ///
    /// # Errors
    /// What the database refuses, with field, value and fix ([`StoreError::refusal`]); a name that is taken among them.
    pub async fn create_campaign(&self, campaign: &NewCampaign) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            r#"select wa.create_campaign($1, ($2::text)::json, ($3::text)::json, $4, $5) as "id!""#,
            campaign.name,
            campaign.payload,
            campaign.settings.as_json()?,
            campaign.sender,
            storable(&campaign.by)
        )
        .fetch_one(&self.pool)
        .await
        .doing("create the campaign")
    }

    /// Changes settings of a campaign; its owner takes them up at once.
    pub async fn set_campaign(
        &self,
        campaign: i64,
        settings: &CampaignSettings,
        by: &str,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "select wa.set_campaign($1, ($2::text)::json, $3, $4)",
            campaign,
            settings.as_json()?,
            storable(by),
            reason.map(storable)
        )
        .fetch_one(&self.pool)
        .await
        .doing("set the campaign")
        .map(drop)
    }

    /// Starts, pauses, resumes or cancels. `false`: it was so already.
    ///
    /// # Errors
    /// What cannot be done in its state, in words and with what to do instead ([`StoreError::refusal`]).
    pub async fn lead_campaign(
        &self,
        campaign: i64,
        verb: CampaignVerb,
        by: &str,
        reason: Option<&str>,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"select wa.lead_campaign($1, $2, $3, $4) as "is_changed!""#,
            campaign,
            verb.as_str(),
            storable(by),
            reason.map(storable)
        )
        .fetch_one(&self.pool)
        .await
        .doing("change the state of the campaign")
    }

    /// How many of its rows that wait may have been accepted once: an answer to each of them was lost.
    pub async fn campaign_lost_answers(&self, campaign: i64) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            r#"select count(*) as "lost!" from wa.campaigns c
               join wa.queue q on q.sender = c.sender and q.campaign = c.id and q.resends > 0 and q.state = 'queued'
               where c.id = $1"#,
            campaign
        )
        .fetch_one(&self.pool)
        .await
        .doing("count the lost answers of the campaign")
    }

    /// One campaign; none: there is none of that name or number.
    pub async fn campaign(&self, key: &CampaignKey) -> Result<Option<Campaign>, StoreError> {
        let (id, name) = match key {
            CampaignKey::Id(id) => (Some(*id), None),
            CampaignKey::Name(name) => (None, Some(name.as_str())),
        };
        let row = sqlx::query_file_as!(Row, "src/store/sql/campaigns.sql", id, name)
            .fetch_optional(&self.pool)
            .await
            .doing("read the campaign")?;
        row.map(Campaign::try_from).transpose()
    }

    /// The number of a campaign; none: there is none of that name. One that is given stands for itself, for messages may outlive their
    /// campaign.
    pub async fn campaign_number(&self, key: &CampaignKey) -> Result<Option<i64>, StoreError> {
        Ok(match key {
            CampaignKey::Id(number) => Some(*number),
            CampaignKey::Name(_) => self.campaign(key).await?.map(|campaign| campaign.id),
        })
    }

    /// All campaigns: those that are not over first, the latest first.
    pub async fn campaigns(&self) -> Result<Vec<Campaign>, StoreError> {
        let rows = sqlx::query_file_as!(
            Row,
            "src/store/sql/campaigns.sql",
            None::<i64>,
            None::<&str>
        )
        .fetch_all(&self.pool)
        .await
        .doing("list the campaigns")?;
        rows.into_iter().map(Campaign::try_from).collect()
    }

    /// Keeps what a preflight found; `done`: what was done about it, if anything.
    pub async fn keep_preflight(
        &self,
        campaign: i64,
        found: &Value,
        by: &str,
        done: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "with kept as (
               update wa.campaigns set preflight = $2, preflight_at = clock_timestamp() where id = $1 returning id
             )
             insert into wa.campaign_events (campaign, what, author, reason) select id, 'preflight', $3, $4 from kept",
            campaign,
            found,
            storable(by),
            done
        )
        .execute(&self.pool)
        .await
        .doing("keep the preflight of the campaign")
        .map(drop)
    }

    /// What happened to a campaign last, at most so much of it, the oldest first.
    pub async fn campaign_events(
        &self,
        campaign: i64,
        at_most: i64,
    ) -> Result<Vec<CampaignEvent>, StoreError> {
        let mut events = sqlx::query_as!(
            CampaignEvent,
            "select happened_at, what, author, reason from wa.campaign_events where campaign = $1 order by event desc limit $2",
            campaign,
            at_most
        )
        .fetch_all(&self.pool)
        .await
        .doing("read what happened to the campaign")?;
        events.reverse();
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::value::RawValue;
    use time::OffsetDateTime;

    use super::CampaignSettings;

    #[test]
    fn only_what_is_given_is_written_and_what_is_taken_away_is_null() {
        let settings = CampaignSettings {
            max_per_second: Some(Some(2.5)),
            quiet_hours: Some(None),
            starts_at: Some(Some(OffsetDateTime::UNIX_EPOCH)),
            expires_after: Some(Some(Duration::from_millis(1_500))),
            ..CampaignSettings::default()
        };
        let written = r#"{"expires_after":"1.5 seconds","max_per_second":2.5,"quiet_hours":null,"starts_at":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(settings.as_json().expect("JSON"), written);
        assert_eq!(CampaignSettings::default().as_json().expect("JSON"), "{}");
    }

    #[test]
    fn a_number_that_is_none_takes_no_setting_away() {
        let settings = CampaignSettings {
            rate_share: Some(f64::NAN),
            max_per_second: Some(Some(f64::INFINITY)),
            pause_failure_share: Some(Some(f64::NAN)),
            ..CampaignSettings::default()
        };
        assert_eq!(
            settings.as_json().expect("JSON"),
            r#"{"max_per_second":"inf","pause_failure_share":"NaN","rate_share":"NaN"}"#
        );
    }

    #[test]
    fn a_content_is_written_as_it_was_given() {
        let content = r#"{"z": 1.0, "a": 1e2,  "z": "ü"}"#;
        let settings = CampaignSettings {
            payload: Some(RawValue::from_string(content.to_owned()).expect("JSON")),
            priority: Some(3),
            ..CampaignSettings::default()
        };
        assert_eq!(
            settings.as_json().expect("JSON"),
            format!(r#"{{"priority":3,"payload":{content}}}"#)
        );
    }
}
