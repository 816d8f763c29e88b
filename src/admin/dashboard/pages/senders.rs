//! Senders: what each does, how fast, and what stands in its way.

use maud::{Markup, html};

use crate::admin::dashboard::layout::{
    Shown, Tone, act, counted_to, facts, nothing, pill, some_moment, table, verdict,
};
use crate::admin::dashboard::session::Visitor;
use crate::admin::dashboard::{Dashboard, Trouble};
use crate::domain::id::SenderId;
use crate::domain::mask::Eyes;
use crate::standing::facts::Facts;
use crate::standing::sender::{Doing, Reading, rate};
use crate::standing::veil::Veil;
use crate::store::summary::SenderStanding;

pub(super) fn tone(standing: &SenderStanding) -> Tone {
    match Reading(standing).doing() {
        Doing::Sending => Tone::Well,
        Doing::Idle => Tone::Quiet,
        Doing::Held | Doing::SlowedDown => Tone::Doubt,
        Doing::WithoutWorker | Doing::Stopped | Doing::Unheard | Doing::Unreachable => Tone::Bad,
    }
}

pub(super) fn word(standing: &SenderStanding) -> &'static str {
    match Reading(standing).doing() {
        Doing::Sending => "sends",
        Doing::Idle => "idle",
        Doing::Held => "held",
        Doing::SlowedDown => "slowed down",
        Doing::WithoutWorker => "no worker",
        Doing::Stopped => "stopped",
        Doing::Unheard => "unheard",
        Doing::Unreachable => "unreachable",
    }
}

/// Its figures of the last second, as far as they are not old.
fn pace(standing: &SenderStanding) -> Markup {
    if Reading(standing).is_stale() {
        return html! { "–" };
    }
    let limit = standing
        .rate_limit
        .unwrap_or(standing.rate_per_second)
        .max(f64::MIN_POSITIVE);
    let now = standing.rate_now.unwrap_or(0.0);
    html! {
        span.number { (rate(Some(now))) " of " (rate(standing.rate_limit)) "/s" }
        meter min="0" max="1" value={ (format!("{:.3}", (now / limit).clamp(0.0, 1.0))) } aria-label="share of its limit" {}
    }
}

pub(super) async fn list(dashboard: &Dashboard) -> Result<Shown, Trouble> {
    let senders = dashboard.store.sender_standings(None).await?;
    let mut senders = senders.veiled(Eyes::CLOSED);
    senders.sort_by_key(|one| match tone(one) {
        Tone::Bad => 0,
        Tone::Doubt => 1,
        Tone::Well => 2,
        Tone::Quiet => 3,
    });
    let shown = Shown::new("Senders");
    if senders.is_empty() {
        return Ok(shown.section("none", nothing("There is no sender yet. Add one: wa-outbox sender add PHONE_NUMBER_ID --credential env:NAME")));
    }
    let rows = senders.iter().map(|one| {
        [
            html! { a href={ "/senders/" (one.sender) } { (one.sender) } },
            pill(tone(one), word(one)),
            pace(one),
            html! { (one.in_flight.filter(|_| !Reading(one).is_stale()).map_or("–".to_owned(), |requests| requests.to_string())) },
            counted_to(one.counted_at_most, one.due),
            counted_to(one.counted_at_most, one.queued),
            some_moment(one.oldest_due_at),
            html! { (one.worker.as_deref().unwrap_or("nobody")) },
            html! { (Reading(one).says()) },
        ]
    });
    let titles = [
        "Sender",
        "Does",
        "Pace",
        "Out",
        "Due",
        "Queued",
        "Oldest due",
        "Worker",
        "In a sentence",
    ];
    Ok(shown.section(
        "senders",
        table("Senders, those in trouble first", titles, rows),
    ))
}

pub(super) async fn one(
    dashboard: &Dashboard,
    visitor: &Visitor,
    sender: &str,
) -> Result<Shown, Trouble> {
    let id = SenderId::from(sender);
    let standing = dashboard.store.sender_standings(Some(&id)).await?.pop();
    let Some(standing) = standing.veiled(Eyes::CLOSED) else {
        return Err(Trouble::NotThere(format!("There is no sender {sender}.")));
    };
    let templates = dashboard
        .store
        .template_holds(std::slice::from_ref(&id))
        .await?
        .veiled(Eyes::CLOSED);
    let settings = dashboard
        .store
        .senders()
        .await?
        .into_iter()
        .find(|one| one.sender == standing.sender);
    let reading = Reading(&standing);
    let mut told = Facts::default();
    reading.facts(&mut told, &templates);
    let is_held = reading.hold().is_some();
    Ok(Shown::new(format!("Sender {sender}"))
        .section("verdict", verdict(tone(&standing), &reading.sentence()))
        .section("acts", html! {
            div.buttons {
                @if is_held { (act(visitor, "release-sender", sender, "Release it")) } @else { (act(visitor, "hold-sender", sender, "Hold it")) }
                a.button href={ "/messages?sender=" (sender) } { "Its messages" }
                a.button href={ "/messages?state=queued&sender=" (sender) } { "Its queue" }
                a.button href={ "/failures?sender=" (sender) } { "Its failures" }
                a.button href={ "/sequences?all=yes&sender=" (sender) } { "Its sequences" }
            }
        })
        .section("pace", html! { h2 { "Pace" } div.card { (pace(&standing)) p.nothing { (standing.limit_source.as_deref().unwrap_or("where its limit comes from is not known yet")) } } })
        .section("facts", html! { h2 { "Facts" } (facts(told.rows().map(|(label, value)| (label, html! { (value) })))) })
        .section("settings", html! {
            h2 { "Settings" }
            @if let Some(it) = &settings {
                (facts([
                    ("provider", html! { (it.provider) " at " (it.base_url) }),
                    ("rate", html! { (rate(Some(it.rate_per_second))) " a second" }),
                    ("pair limit", html! { (it.pair_burst) " at once, then one in " (f64::from(it.pair_period_ms) / 1_000.0) " s to one recipient" }),
                    ("credential", html! { (it.credential) }),
                    ("lost answers", html! { (it.on_uncertain.as_deref().unwrap_or("as the worker is set")) }),
                    ("rules", html! { (it.validate) @if it.strict { ", strict" } }),
                ]))
            }
            p.nothing { "Change them: wa-outbox sender set " (sender) " --help. They count within two seconds." }
        }))
}
