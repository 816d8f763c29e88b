//! Where a campaign stands, in sentences.

use time::{Duration, OffsetDateTime};

use super::facts::thousands;
use super::shell;
use super::time::{age, moment, span};
use crate::domain::ramp::Ramp;
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
    /// Answers a second over the last minute; none where there was none. Answers are counted whole, so what is less than one of them
    /// off the limit is the limit: else the first one alone would be a rate of one in the seconds since.
    pub fn rate(&self) -> Option<f64> {
        let answered = i32::try_from(self.progress.counts.answered())
            .unwrap_or(i32::MAX)
            .min(i32::try_from(self.progress.answered_last_minute).unwrap_or(i32::MAX));
        let begun = self.progress.first_answer_at?;
        let over = (self.progress.now - begun).clamp(Duration::seconds(1), Duration::minutes(1));
        if answered == 0 {
            return None;
        }
        let (limit, _) = self.limit();
        let (answered, over) = (f64::from(answered), over.as_seconds_f64());
        match (answered - limit * over).abs() < 1.0 {
            true => Some(limit),
            false => Some(answered / over),
        }
    }

    /// Messages a second that its settings allow at this moment, and by what.
    pub fn limit(&self) -> (f64, &'static str) {
        let (rate, by) = self.full_rate();
        let ramp = self.campaign.ramp.as_ref();
        match ramp.and_then(|ramp| ramp.rate_per_second(self.running_for())) {
            Some(ramp) if ramp < rate => (ramp, "its ramp"),
            Some(_) | None => (rate, by),
        }
    }

    /// The same without its ramp.
    fn full_rate(&self) -> (f64, &'static str) {
        let share = self.progress.sender_rate * self.campaign.rate_share;
        match self.campaign.max_per_second {
            Some(rate) if rate < share => (rate, "--slow-to"),
            Some(_) | None if self.campaign.rate_share < 1.0 => {
                (share, "its share of the sender's rate")
            }
            Some(_) | None => (share, "the sender's rate"),
        }
    }

    /// Since its first start.
    fn running_for(&self) -> std::time::Duration {
        let since = self.campaign.started_at.max(self.campaign.starts_at);
        let elapsed = since.map_or(Duration::ZERO, |since| self.progress.now - since);
        elapsed.try_into().unwrap_or_default()
    }

    /// How long what is left takes if it goes on as in the last minute and as its ramp lets it, and no shorter than what is put off; none
    /// while nothing moves.
    pub fn time_left(&self) -> Option<Duration> {
        let progress = self.progress;
        let until = |at: Option<OffsetDateTime>| at.map(|at| at - progress.now);
        let begins = until(progress.next_due_at.filter(|_| progress.is_nothing_due));
        let at_rate = self
            .time_at_rate()?
            .saturating_add(begins.unwrap_or_default());
        Some(at_rate.max(until(progress.last_due_at).unwrap_or_default()))
    }

    fn time_at_rate(&self) -> Option<Duration> {
        let left = self.progress.counts.queued;
        if self.campaign.state != "running" || left == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss)]
        let mut left = left as f64;
        // Of what it is allowed now it uses so much, and will of what it is allowed later.
        let used = (self.rate()? / self.limit().0).min(1.0);
        let (full, _) = self.full_rate();
        let (mut seconds, mut ran) = (0.0, self.running_for().as_secs_f64());
        for step in self.campaign.ramp.iter().flat_map(Ramp::steps) {
            let lasts = 3_600.0 * f64::from(step.for_hours);
            let here = (lasts - ran).max(0.0);
            ran = (ran - lasts).max(0.0);
            let rate = (f64::from(step.per_hour) / 3_600.0).min(full) * used;
            if rate * here >= left {
                return Some(Duration::saturating_seconds_f64(seconds + left / rate));
            }
            left -= rate * here;
            seconds += here;
        }
        Some(Duration::saturating_seconds_f64(
            seconds + left / (full * used),
        ))
    }

    /// Its state, what it waits for, and what to do.
    pub fn sentence(&self) -> String {
        let name = &self.campaign.name;
        let counts = &self.progress.counts;
        let says = match self.campaign.state.as_str() {
            "draft" => {
                let (recipients, word) = (thousands(counts.open()), shell::word(name));
                return format!(
                    "Campaign {name} is a draft with {recipients} recipients; check it: wa-outbox campaign preflight {word}; start it: wa-outbox campaign start {word}."
                );
            }
            "paused" => {
                return self.stopped(
                    "paused",
                    &format!(
                        "; resume it: wa-outbox campaign resume {}",
                        shell::word(name)
                    ),
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
            let is_put_off = |(why, _): &(String, i64)| why == waiting_for;
            let due = (progress.next_due_at).filter(|_| progress.put_off.iter().any(is_put_off));
            let due = due.map_or_else(String::new, |at| {
                format!("; the first is due {}", age(at, progress.now))
            });
            return format!("runs, and waits for {waiting_for}{due}");
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

/// What a verb has done. `lost_answers`: so many waited again before it because an answer was lost.
pub fn after(
    campaign: &Campaign,
    verb: CampaignVerb,
    is_changed: bool,
    counts: &CampaignCounts,
    lost_answers: i64,
) -> String {
    let (name, waiting) = (&campaign.name, thousands(counts.queued));
    let says = match (verb, is_changed) {
        (CampaignVerb::Start, true) => format!("runs: {waiting} recipients wait"),
        (CampaignVerb::Resume, true) => format!("goes on: {waiting} recipients wait"),
        (CampaignVerb::Pause, true) => format!("is paused: {waiting} recipients wait"),
        // Those that waited are counted as cancelled already.
        (CampaignVerb::Cancel, true) => {
            let lost = lost_answers.min(counts.cancelled);
            let spared = thousands(counts.cancelled - lost);
            let lost = match lost {
                0 => String::new(),
                some => format!(
                    "; {} more may have been: an answer was lost",
                    thousands(some)
                ),
            };
            format!("is cancelled: {spared} recipients will not be written to{lost}")
        }
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

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    /// A campaign that has run for a time.
    fn running(ramp: Option<&str>, slow_to: Option<f64>, for_seconds: i64) -> Campaign {
        Campaign {
            id: 1,
            name: "spring".into(),
            sender: "4711".into(),
            payload: "{}".into(),
            category: None,
            state: "running".into(),
            state_reason: None,
            state_changed_at: NOW,
            state_changed_by: "ada".into(),
            priority: 7,
            rate_share: 1.0,
            max_per_second: slow_to,
            ramp: ramp.map(|ramp| ramp.parse().expect("a ramp")),
            starts_at: None,
            ends_at: None,
            quiet_hours: None,
            time_zone: "UTC".into(),
            expires_after_s: None,
            pause_failure_share: None,
            pause_window_s: 300.0,
            pause_at_least: 50,
            complete: true,
            preflight: None,
            preflight_at: None,
            started_at: Some(NOW - Duration::seconds(for_seconds)),
            created_at: NOW,
            created_by: "ada".into(),
        }
    }

    /// Of so many that wait some were answered, the first of them so long ago.
    fn answered(last_minute: i64, first_seconds_ago: i64, queued: i64) -> CampaignProgress {
        CampaignProgress {
            counts: CampaignCounts {
                queued,
                accepted: last_minute,
                ..CampaignCounts::default()
            },
            waiting_for: None,
            for_a_person: false,
            put_off: Vec::new(),
            next_due_at: None,
            last_due_at: None,
            is_nothing_due: false,
            answered_last_minute: last_minute,
            first_answer_at: Some(NOW - Duration::seconds(first_seconds_ago)),
            last_answer_at: Some(NOW),
            last_status_at: None,
            sender_rate: 80.0,
            now: NOW,
        }
    }

    fn told(campaign: &Campaign, progress: &CampaignProgress) -> (String, Option<i64>) {
        let standing = Standing { campaign, progress };
        let left = standing
            .time_left()
            .map(|left| left.saturating_add(Duration::milliseconds(500)));
        (standing.sentence(), left.map(Duration::whole_seconds))
    }

    #[test]
    fn the_first_answer_is_no_rate_above_the_limit() {
        for (ramp, slow_to, answers, since, says) in [
            (
                Some("60/h"),
                None,
                1,
                12,
                "sends 0.017 a second of 0.017 (its ramp)",
            ),
            (
                Some("100/h"),
                None,
                2,
                40,
                "sends 0.028 a second of 0.028 (its ramp)",
            ),
            (
                None,
                Some(0.1),
                1,
                3,
                "sends 0.1 a second of 0.1 (--slow-to)",
            ),
            // What is more than one off is no chance: it was slower, or was slowed down just now.
            (
                None,
                Some(10.0),
                300,
                60,
                "sends 5.0 a second of 10 (--slow-to)",
            ),
            (
                None,
                Some(1.0),
                300,
                60,
                "sends 5.0 a second of 1.0 (--slow-to)",
            ),
            (
                None,
                None,
                4_790,
                60,
                "sends 80 a second of 80 (the sender's rate)",
            ),
        ] {
            let campaign = running(ramp, slow_to, since);
            let (sentence, _) = told(&campaign, &answered(answers, since, 50));
            assert_eq!(sentence, format!("Campaign spring {says}."));
        }
    }

    #[test]
    fn the_time_left_is_no_shorter_than_the_limits_let_it_be() {
        for (ramp, slow_to, ran, answers, since, queued, seconds) in [
            (Some("60/h:2h"), None, 12, 1, 12, 59, 59 * 60),
            // The rest of this step, then the next.
            (Some("60/h,600/h"), None, 1_800, 1, 60, 330, 1_800 + 1_800),
            (Some("60/h,600/h"), None, 5_400, 10, 60, 100, 600),
            // Behind the last step there is the sender's rate.
            (Some("60/h"), None, 1_800, 1, 60, 30 + 800, 1_800 + 10),
            (None, Some(1.0), 100, 300, 60, 60, 60),
            (None, Some(10.0), 100, 300, 60, 60, 12),
        ] {
            let campaign = running(ramp, slow_to, ran);
            let (_, left) = told(&campaign, &answered(answers, since, queued));
            assert_eq!(left, Some(seconds), "{ramp:?} {slow_to:?} {queued}");
        }
    }

    #[test]
    fn what_is_put_off_takes_until_it_is_due_at_least() {
        let campaign = running(None, Some(1.0), 100);
        let put_off = |is_nothing_due, waiting_for: Option<&str>| CampaignProgress {
            put_off: vec![("the quiet hours".to_owned(), 60)],
            next_due_at: Some(NOW + Duration::minutes(80)),
            last_due_at: Some(NOW + Duration::minutes(80)),
            is_nothing_due,
            waiting_for: waiting_for.map(str::to_owned),
            ..answered(60, 60, 60)
        };
        let all = told(&campaign, &put_off(true, Some("the quiet hours")));
        let says =
            "Campaign spring runs, and waits for the quiet hours; the first is due in 80 min.";
        assert_eq!(all, (says.to_owned(), Some(81 * 60)));
        let (_, some) = told(&campaign, &put_off(false, None));
        assert_eq!(some, Some(80 * 60));
    }

    #[test]
    fn a_time_that_nobody_can_tell_is_told_all_the_same() {
        let campaign = running(None, Some(1e-18), 100);
        let (_, left) = told(&campaign, &answered(60, 60, 60));
        assert_eq!(left, Some(Duration::MAX.whole_seconds()));
        assert_eq!(ahead(Duration::MAX, NOW), "106751991167300 days");
    }
}
