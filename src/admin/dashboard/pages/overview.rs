//! The overview: is anything stuck, does WhatsApp refuse, do its webhooks come, is the database well?

use std::time::Duration;

use maud::{Markup, html};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::admin::dashboard::chart::{Line, chart};
use crate::admin::dashboard::layout::{Shown, Tone, counted, pill, some_moment, verdict};
use crate::admin::dashboard::page::Span;
use crate::admin::dashboard::{Dashboard, Trouble};
use crate::domain::mask::Eyes;
use crate::standing::facts::thousands;
use crate::standing::sender::{Doing, Reading, rate};
use crate::standing::time::span as in_words;
use crate::standing::veil::Veil;
use crate::store::activity::FleetActivity;
use crate::store::summary::{Overview, SenderStanding};
use crate::store::watch::WatchedFigures;

/// Refusals of the last five minutes: from this share of all answers on they are worth a look.
const MANY_FAILURES: f64 = 0.05;
/// A database that takes longer for a round trip is slow.
const SLOW: Duration = Duration::from_millis(50);
/// Webhooks that wait longer to be applied are late.
const LATE_S: f64 = 30.0;
/// Troubled senders that are named.
const NAMED: usize = 8;

impl Span {
    /// The length of a step, and how many.
    fn steps(self) -> (Duration, i32) {
        match self {
            Self::Quarter => (Duration::from_secs(5), 180),
            Self::TwoHours => (Duration::from_secs(40), 180),
            Self::Day => (Duration::from_secs(480), 180),
        }
    }
}

struct Found {
    senders: Vec<SenderStanding>,
    overview: Overview,
    figures: WatchedFigures,
    recent: Vec<FleetActivity>,
    round_trip: Duration,
}

pub(super) async fn make(dashboard: &Dashboard, span: Span) -> Result<Shown, Trouble> {
    let store = &dashboard.store;
    let asked = Instant::now();
    store.ping().await?;
    let round_trip = asked.elapsed();
    let (step, steps) = span.steps();
    let activity = store.activity(step, steps).await?;
    let found = Found {
        senders: store.sender_standings(None).await?.veiled(Eyes::CLOSED),
        overview: store.overview().await?,
        figures: store.watched_figures().await?,
        recent: store.activity(Duration::from_secs(5), 60).await?,
        round_trip,
    };
    let answers = [
        found.stuck(),
        found.refusing(),
        found.webhooks(),
        found.database(),
    ];
    let worst = answers
        .iter()
        .map(|answer| answer.tone)
        .max_by_key(|tone| *tone as u8);
    let sentence = match worst {
        Some(Tone::Bad) => "Something needs you: see what is marked below.",
        Some(Tone::Doubt) => "It works; something is worth a look.",
        _ => "All is well.",
    };
    Ok(Shown::new("Overview")
        .section("verdict", verdict(worst.unwrap_or(Tone::Well), sentence))
        .section(
            "answers",
            html! { div.cards { @for answer in &answers { (answer.card()) } } },
        )
        .section(
            "charts",
            charts(span, step, steps, &activity, found.overview.now),
        )
        .section("numbers", found.numbers())
        .section("troubles", found.troubles()))
}

/// The answer to one of the four questions.
struct Answer {
    question: &'static str,
    tone: Tone,
    says: String,
    page: &'static str,
}

impl Answer {
    fn card(&self) -> Markup {
        let word = match self.tone {
            Tone::Well => "well",
            Tone::Quiet => "nothing to tell",
            Tone::Doubt => "look",
            Tone::Bad => "needs you",
        };
        html! {
            div.card {
                h2 { a href=(self.page) { (self.question) } }
                (pill(self.tone, word))
                p { (self.says) }
            }
        }
    }
}

impl Found {
    fn stuck(&self) -> Answer {
        let stuck: Vec<_> = self
            .senders
            .iter()
            .filter(|one| Reading(one).stuck_for().is_some())
            .collect();
        let halted = self.figures.sequences_halted;
        let (tone, says) = match (stuck.as_slice(), self.figures.workers) {
            (_, 0) if !self.senders.is_empty() => (
                Tone::Bad,
                "No worker runs: start one with wa-outbox run.".to_owned(),
            ),
            ([], _) if halted > 0 => (
                Tone::Doubt,
                match halted {
                    1 => "A sequence is halted and waits for a person.".to_owned(),
                    some => format!(
                        "{} sequences are halted and wait for a person.",
                        thousands(some)
                    ),
                },
            ),
            ([], _) => (
                Tone::Well,
                "Nothing waits for anything but its turn.".to_owned(),
            ),
            ([one], _) => (Tone::Bad, Reading(one).sentence()),
            (many, _) => (
                Tone::Bad,
                format!("{} senders have due messages that do not move.", many.len()),
            ),
        };
        Answer {
            question: "Is anything stuck?",
            tone,
            says,
            page: "/senders",
        }
    }

    fn refusing(&self) -> Answer {
        let sum = |pick: fn(&FleetActivity) -> i64| self.recent.iter().map(pick).sum::<i64>();
        let (accepted, failed, throttled) = (
            sum(|one| one.accepted),
            sum(|one| one.failed),
            sum(|one| one.throttled),
        );
        let answers = accepted + failed;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = failed as f64 / answers.max(1) as f64;
        let (tone, says) = match (answers, failed) {
            (0, _) if throttled == 0 => (
                Tone::Quiet,
                "Nothing was sent in the last five minutes.".to_owned(),
            ),
            (_, 0) if throttled == 0 => (
                Tone::Well,
                format!(
                    "It took all {} messages of the last five minutes.",
                    thousands(accepted)
                ),
            ),
            _ => {
                let tone = if share >= MANY_FAILURES {
                    Tone::Bad
                } else if throttled > 0 {
                    Tone::Doubt
                } else {
                    Tone::Well
                };
                let slowed = if throttled > 0 {
                    format!(" It said “too fast” {} times.", thousands(throttled))
                } else {
                    String::new()
                };
                (
                    tone,
                    format!(
                        "In the last five minutes {} were taken and {} failed ({:.1} %).{slowed}",
                        thousands(accepted),
                        thousands(failed),
                        share * 100.0
                    ),
                )
            }
        };
        Answer {
            question: "Does WhatsApp refuse?",
            tone,
            says,
            page: "/failures",
        }
    }

    fn webhooks(&self) -> Answer {
        let (overview, figures) = (&self.overview, &self.figures);
        let last = overview
            .last_status_at
            .map(|at| in_words(overview.now - at));
        let (tone, says) = match (overview.is_listening, last) {
            (None, _) => (Tone::Doubt, "Nobody has listened to webhooks yet: start a process with the role webhook.".to_owned()),
            (Some(false), _) => (Tone::Bad, "Nobody listens to webhooks at the moment: lost answers are not settled, sequences wait.".to_owned()),
            (Some(true), _) if figures.webhook_lag_s > LATE_S => {
                (Tone::Bad, format!("{} deliveries wait to be applied, the oldest for {:.0} s.", thousands(figures.webhooks_pending), figures.webhook_lag_s))
            }
            (Some(true), None) => (Tone::Quiet, "We listen; no status has come yet.".to_owned()),
            (Some(true), Some(last)) => (Tone::Well, format!("We listen; the last status came {last} ago.")),
        };
        Answer {
            question: "Do webhooks come?",
            tone,
            says,
            page: "/webhooks",
        }
    }

    fn database(&self) -> Answer {
        let milliseconds = self.round_trip.as_secs_f64() * 1_000.0;
        let (tone, says) = match self.round_trip > SLOW {
            true => (
                Tone::Doubt,
                format!("It answers slowly: a round trip took {milliseconds:.0} ms."),
            ),
            false => (
                Tone::Well,
                format!("A round trip took {milliseconds:.1} ms."),
            ),
        };
        Answer {
            question: "Is the database well?",
            tone,
            says,
            page: "/webhooks",
        }
    }

    fn numbers(&self) -> Markup {
        let (figures, overview) = (&self.figures, &self.overview);
        html! {
            h2 { "Now" }
            div.cards.small {
                (card("Uncertain", "/uncertain", counted(figures.uncertain), &match figures.needs_person {
                    0 => "none needs a person".to_owned(),
                    some => format!("{} need a person", thousands(some)),
                }))
                (card("Campaigns that run", "/campaigns", counted(figures.campaigns_running), &match figures.campaigns_self_paused {
                    0 => "none paused itself".to_owned(),
                    some => format!("{} paused by themselves", thousands(some)),
                }))
                (card("Sequences halted", "/sequences", counted(figures.sequences_halted), "each waits for a person or a late delivery"))
                (card("Templates held", "/senders", counted(figures.templates_held), "their messages wait"))
                (card("Workers", "/senders", counted(figures.workers), &match figures.senders_unowned {
                    0 => "every sender is worked".to_owned(),
                    some => format!("{} senders are worked by nobody", thousands(some)),
                }))
                div.card { h2 { "Last status" } p { (some_moment(overview.last_status_at)) } }
            }
        }
    }

    fn troubles(&self) -> Markup {
        let troubled: Vec<_> = self
            .senders
            .iter()
            .filter(|one| !matches!(Reading(one).doing(), Doing::Sending | Doing::Idle))
            .collect();
        html! {
            h2 { "Senders" }
            @if self.senders.is_empty() {
                p.nothing { "There is no sender yet. Add one: wa-outbox sender add PHONE_NUMBER_ID --credential env:NAME" }
            } @else if troubled.is_empty() {
                p.nothing { "Nothing stands in the way of any of the " (self.senders.len()) ". " a href="/senders" { "See them" } }
            } @else {
                @for one in troubled.iter().take(NAMED) {
                    p { (pill(super::senders::tone(one), super::senders::word(one))) " "
                        a href={ "/senders/" (one.sender) } { (Reading(one).sentence()) } }
                }
                @if troubled.len() > NAMED { p { a href="/senders" { "and " (troubled.len() - NAMED) " more" } } }
            }
            @let sending = self.senders.iter().filter_map(|one| one.rate_now.filter(|_| !Reading(one).is_stale())).sum::<f64>();
            p.nothing { "All senders together: " (rate(Some(sending))) " requests in the last second." }
        }
    }
}

fn card(title: &str, page: &str, figure: Markup, says: &str) -> Markup {
    html! { div.card { h2 { a href=(page) { (title) } } p { strong { (figure) } } p.nothing { (says) } } }
}

/// Fills in the steps in which nobody said anything.
fn steps_of(
    activity: &[FleetActivity],
    step: Duration,
    steps: i32,
    now: OffsetDateTime,
    pick: impl Fn(&FleetActivity) -> Option<f64>,
) -> Vec<Option<f64>> {
    let length = i64::try_from(step.as_secs()).unwrap_or(5).max(1);
    let last = now.unix_timestamp().div_euclid(length);
    let mut values = vec![None; usize::try_from(steps).unwrap_or(0)];
    let count = i64::from(steps);
    for one in activity {
        // The step that is under way is not whole yet.
        let back = last - one.at.unix_timestamp().div_euclid(length);
        if (1..=count).contains(&back) {
            let place = usize::try_from(count - back).unwrap_or(0);
            values[place] = pick(one);
        }
    }
    values
}

fn charts(
    span: Span,
    step: Duration,
    steps: i32,
    activity: &[FleetActivity],
    now: OffsetDateTime,
) -> Markup {
    let seconds = step.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of a few seconds")]
    let a_second = |pick: fn(&FleetActivity) -> i64| {
        steps_of(activity, step, steps, now, |one| {
            Some(pick(one) as f64 / seconds)
        })
    };
    #[expect(clippy::cast_precision_loss, reason = "a count up to a limit")]
    let depth = steps_of(activity, step, steps, now, |one| {
        one.queued.map(|queued| queued as f64)
    });
    let oldest = steps_of(activity, step, steps, now, |one| one.oldest_due_s);
    let reaches = span.in_words();
    html! {
        h2 { "Pace" }
        div.tabs role="group" aria-label="How far back" {
            @for one in Span::ALL { a href={ "/?span=" (one.word()) } aria-current=[(one == span).then_some("true")] { (one.in_words()) } }
        }
        div.charts {
            (chart("Messages", "/s", reaches, &[
                Line { name: "accepted", class: "one", values: a_second(|one| one.accepted) },
                Line { name: "delivered", class: "two", values: a_second(|one| one.delivered) },
            ]))
            (chart("Trouble", "/s", reaches, &[
                Line { name: "failed", class: "three", values: a_second(|one| one.failed + one.undelivered) },
                Line { name: "throttled", class: "four", values: a_second(|one| one.throttled) },
                Line { name: "uncertain", class: "two", values: a_second(|one| one.uncertain) },
            ]))
            (chart("Queue", "messages", reaches, &[Line { name: "queued", class: "one", values: depth }]))
            (chart("Oldest due", "s", reaches, &[Line { name: "waits", class: "four", values: oldest }]))
        }
    }
}
