//! Sequences: which are halted, and what each of them waits for.

use maud::{Markup, html};

use super::ROWS;
use crate::admin::dashboard::layout::{
    Shown, Tone, act, facts as in_columns, message_link, moment, nothing, number, pill,
    some_moment, table, verdict,
};
use crate::admin::dashboard::page::Look;
use crate::admin::dashboard::session::Visitor;
use crate::admin::dashboard::{Dashboard, Trouble};
use crate::domain::id::MessageId;
use crate::domain::mask::Eyes;
use crate::standing::sequence::{facts, sentence};
use crate::standing::veil::Veil;
use crate::store::sequence::{SequenceFilter, SequenceStanding};

const EVENTS: i64 = 20;
fn tone(standing: &SequenceStanding) -> Tone {
    match (&standing.halted_reason, standing.head_id) {
        (Some(_), _) => Tone::Bad,
        (None, Some(_)) => Tone::Doubt,
        (None, None) => Tone::Quiet,
    }
}

fn word(standing: &SequenceStanding) -> &'static str {
    match (&standing.halted_reason, standing.head_id) {
        (Some(_), _) => "halted",
        (None, Some(_)) => "waits",
        (None, None) => "free",
    }
}

pub(super) async fn list(dashboard: &Dashboard, look: &Look) -> Result<Shown, Trouble> {
    let all = look.get("all").is_some();
    let filter = SequenceFilter {
        sender: look.get("sender").map(str::to_owned),
        all,
    };
    let sequences = dashboard.store.sequences(&filter, ROWS).await?;
    let sequences = sequences.veiled(Eyes::CLOSED);
    let now = dashboard.clock.now();
    let rows = sequences.iter().map(|one| {
        let member = one.head_id.or(one.halted_member).or(one.next_id);
        [
            html! {
                @match member {
                    Some(id) => a href={ "/sequences/of/" (id) } { (one.sequence) },
                    None => (one.sequence),
                }
            },
            pill(tone(one), word(one)),
            html! { (Eyes::CLOSED.recipient(&one.recipient)) },
            html! { a href={ "/senders/" (one.sender) } { (one.sender) } },
            one.head_id.map_or_else(|| html! { "–" }, message_link),
            number(one.waiting),
            some_moment(one.halted_at.or(one.head_since)),
            html! { (sentence(one, Eyes::CLOSED, now)) },
        ]
    });
    let titles = [
        "Sequence",
        "Does",
        "Recipient",
        "Sender",
        "In front",
        "Behind it",
        "Since",
        "In a sentence",
    ];
    Ok(Shown::new("Sequences")
        .section("tabs", html! {
            div.tabs role="group" aria-label="Which" {
                a href={ "/sequences" (look.with("all", "")) } aria-current=[(!all).then_some("true")] { "Halted" }
                a href={ "/sequences" (look.with("all", "yes")) } aria-current=[all.then_some("true")] { "All that wait" }
            }
        })
        .section("sequences", html! {
            @if sequences.is_empty() && !all { (nothing("No sequence is halted.")) }
            @else if sequences.is_empty() { (nothing("No sequence waits for anything.")) }
            @else { (table("Sequences", titles, rows)) }
            @if sequences.len() as i64 == ROWS { p.nothing { "The first " (ROWS) " are shown; see more: wa-outbox sequence list --limit 1000" } }
        }))
}

pub(super) async fn one(
    dashboard: &Dashboard,
    visitor: &Visitor,
    id: i64,
) -> Result<Shown, Trouble> {
    let store = &dashboard.store;
    let none = || Trouble::NotThere(format!("Message {id} is in no sequence."));
    let key = store.sequence_of(MessageId(id)).await?.ok_or_else(none)?;
    let standing = store.sequence(&key).await?.veiled(Eyes::CLOSED);
    let standing = standing.ok_or_else(none)?;
    let events = store.sequence_events(&key, EVENTS).await?;
    let events = events.veiled(Eyes::CLOSED);
    let now = dashboard.clock.now();
    let told = facts(&standing, Eyes::CLOSED, now);
    Ok(Shown::new(format!("Sequence {}", key.sequence))
        .section(
            "verdict",
            verdict(tone(&standing), &sentence(&standing, Eyes::CLOSED, now)),
        )
        .section("acts", acts(visitor, &standing, id))
        .section(
            "facts",
            html! {
                h2 { "The gate" }
                (in_columns(told.rows().map(|(label, value)| (label, html! { (value) }))))
                p {
                    @if let Some(head) = standing.head_id { "In front: " (message_link(head)) ". " }
                    @if let Some(next) = standing.next_id { "Next: " (message_link(next)) "." }
                }
            },
        )
        .section(
            "history",
            html! {
                h2 { "Out of the ordinary" }
                @if events.is_empty() { (nothing("Nothing happened that is worth telling.")) }
                ol.timeline { @for event in &events {
                    li { (moment(event.happened_at)) (event.what.replace('_', " "))
                        @if let Some(member) = event.member { ", " (message_link(member)) }
                        " by " (event.author) ": " (event.reason) }
                } }
            },
        ))
}

fn acts(visitor: &Visitor, standing: &SequenceStanding, id: i64) -> Markup {
    html! {
        div.buttons {
            @if standing.halted_reason.is_some() { (act(visitor, "resume-sequence", id, "Resume it")) }
            @if standing.head_id.is_some() { (act(visitor, "skip-head", id, "Skip the one in front")) }
            @if standing.waiting > 0 || standing.head_id.is_some() { (act(visitor, "cancel-sequence", id, "Cancel what has not left")) }
        }
    }
}
