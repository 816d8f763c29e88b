//! Where a campaign stands, in sentences.

use time::{Duration, OffsetDateTime};

use super::facts::thousands;
use super::time::{moment, span};
use crate::store::campaign::{Campaign, CampaignVerb};
use crate::store::campaign_progress::{CampaignCounts, CampaignProgress};

/// A campaign as it is read, and what can be told from it.
#[derive(Clone, Copy)]
pub struct Standing<'a> {
    /// Its settings and its state.
    pub campaign: &'a Campaign,
    /// How far it is.
    pub progress: &'a CampaignProgress,
}

impl Standing<'_> {
    /// Answers a second over the last minute; none where there was none.
    pub fn rate(&self) -> Option<f64> {
        let answered = i32::try_from(self.progress.counts.answered())
            .unwrap_or(i32::MAX)
            .min(i32::try_from(self.progress.answered_last_minute).unwrap_or(i32::MAX));
        let begun = self.progress.first_answer_at?;
        let over = (self.progress.now - begun).clamp(Duration::seconds(1), Duration::minutes(1));
        (answered > 0).then(|| f64::from(answered) / over.as_seconds_f64())
    }

    /// Messages a second that its settings allow at this moment, and by what.
    pub fn limit(&self) -> (f64, &'static str) {
        let share = self.progress.sender_rate * self.campaign.rate_share;
        let by_share = match self.campaign.rate_share < 1.0 {
            true => "its share of the sender's rate",
            false => "the sender's rate",
        };
        let slow_to = self.campaign.max_per_second.map(|rate| (rate, "--slow-to"));
        let ramp = self
            .campaign
            .ramp
            .as_ref()
            .and_then(|ramp| ramp.rate_per_second(self.running_for()))
            .map(|rate| (rate, "its ramp"));
        [slow_to, ramp]
            .into_iter()
            .flatten()
            .fold((share, by_share), |least, other| match other.0 < least.0 {
                true => other,
                false => least,
            })
    }

    /// Since its first start.
    fn running_for(&self) -> std::time::Duration {
        let since = self.campaign.started_at.max(self.campaign.starts_at);
        let elapsed = since.map_or(Duration::ZERO, |since| self.progress.now - since);
        elapsed.try_into().unwrap_or_default()
    }

    /// How long what is left takes at the rate of the last minute; none while nothing moves.
    pub fn time_left(&self) -> Option<Duration> {
        let left = self.progress.counts.queued;
        if self.campaign.state != "running" || left == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss)]
        let seconds = left as f64 / self.rate()?;
        Some(Duration::seconds_f64(seconds))
    }

    /// Its state, what it waits for, and what to do.
    pub fn sentence(&self) -> String {
        let name = &self.campaign.name;
        let counts = &self.progress.counts;
        let says = match self.campaign.state.as_str() {
            "draft" => {
                let recipients = thousands(counts.open());
                return format!(
                    "Campaign {name} is a draft with {recipients} recipients; check it: wa-outbox campaign preflight {name}; start it: wa-outbox campaign start {name}."
                );
            }
            "paused" => {
                return self.stopped(
                    "paused",
                    &format!("; resume it: wa-outbox campaign resume {name}"),
                );
            }
            "cancelled" => return self.stopped("cancelled", ""),
            "done" => format!(
                "is done: all of its {} recipients have an end",
                thousands(counts.total())
            ),
            _ => self.running(),
        };
        format!("Campaign {name} {says}.")
    }

    fn stopped(&self, how: &str, then: &str) -> String {
        let Campaign {
            name,
            state_changed_by: by,
            state_changed_at: at,
            ..
        } = self.campaign;
        let reason = self.campaign.state_reason.as_deref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let out = out(&self.progress.counts);
        format!(
            "Campaign {name} was {how} by {by}, {}{reason}{then}.{out}",
            moment(*at, self.progress.now)
        )
    }

    fn running(&self) -> String {
        let progress = self.progress;
        if let Some(at) = self.campaign.starts_at.filter(|at| *at > progress.now) {
            return format!("begins at {}", moment(at, progress.now));
        }
        if let Some(at) = self.campaign.ends_at.filter(|at| *at <= progress.now) {
            return format!(
                "is over since {}; what had not left expires",
                moment(at, progress.now)
            );
        }
        if let Some(waiting_for) = &progress.waiting_for {
            return format!("runs, and waits for {waiting_for}");
        }
        if progress.counts.open() == 0 {
            return "runs, and nothing of it is left to be sent".to_owned();
        }
        let (limit, by) = self.limit();
        match self.rate() {
            Some(rate) => format!(
                "sends {} a second of {} ({by})",
                per_second(rate),
                per_second(limit)
            ),
            None => format!("runs; it may send {} a second ({by})", per_second(limit)),
        }
    }
}

/// What a verb has done.
pub fn after(
    campaign: &Campaign,
    verb: CampaignVerb,
    is_changed: bool,
    counts: &CampaignCounts,
) -> String {
    let (name, waiting) = (&campaign.name, thousands(counts.queued));
    let says = match (verb, is_changed) {
        (CampaignVerb::Start, true) => format!("runs: {waiting} recipients wait"),
        (CampaignVerb::Resume, true) => format!("goes on: {waiting} recipients wait"),
        (CampaignVerb::Pause, true) => format!("is paused: {waiting} recipients wait"),
        // Those that waited are counted as cancelled already.
        (CampaignVerb::Cancel, true) => format!(
            "is cancelled: {} recipients will not be written to",
            thousands(counts.cancelled)
        ),
        (CampaignVerb::Start | CampaignVerb::Resume, false) => "runs already".to_owned(),
        (CampaignVerb::Pause, false) => "is paused already".to_owned(),
        (CampaignVerb::Cancel, false) => "is cancelled already".to_owned(),
    };
    let out = match verb {
        CampaignVerb::Pause | CampaignVerb::Cancel => out(counts),
        CampaignVerb::Start | CampaignVerb::Resume => String::new(),
    };
    format!("Campaign {name} {says}.{out}")
}

/// What cannot be called back.
fn out(counts: &CampaignCounts) -> String {
    let sending = match counts.sending {
        0 => String::new(),
        1 => " One request is out, and comes to its end.".to_owned(),
        many => format!(
            " {} requests are out, and come to their end.",
            thousands(many)
        ),
    };
    match counts.uncertain {
        0 => sending,
        some => {
            sending
                + &format!(
                    " {} messages are uncertain: they may have left.",
                    thousands(some)
                )
        }
    }
}

/// A rate as people read it: a fraction only where it matters.
pub fn per_second(rate: f64) -> String {
    match rate {
        rate if rate >= 10.0 => format!("{rate:.0}"),
        rate if rate >= 0.095 => format!("{rate:.1}"),
        rate => format!("{rate:.3}"),
    }
}

/// A moment so far ahead, and how far that is.
pub fn ahead(left: Duration, now: OffsetDateTime) -> String {
    let at = now.checked_add(left);
    let at = at.map_or_else(String::new, |at| {
        format!(" (about {})", super::time::stamp(at))
    });
    format!("{}{at}", span(left))
}
