//! Webhooks: whether they come, how late they are applied, what could not be read, and what belongs to nothing we know.

use maud::html;

use crate::admin::dashboard::layout::{
    Shown, Tone, counted, facts, moment, nothing, number, pill, short, some_moment, table, verdict,
};
use crate::admin::dashboard::{Dashboard, Trouble};
use crate::standing::time::span;

/// So many of what went wrong are shown.
const SHOWN: i64 = 20;
/// Deliveries that wait longer to be applied are late.
const LATE: time::Duration = time::Duration::seconds(30);

pub(super) async fn show(dashboard: &Dashboard) -> Result<Shown, Trouble> {
    let store = &dashboard.store;
    let health = store.webhook_health().await?;
    let flows = store.sender_flows().await?;
    let bad = store.bad_deliveries(SHOWN, None).await?;
    let unmatched = store.unmatched_statuses(SHOWN, None).await?;
    let lag = health.oldest_pending_at.map(|at| health.now - at);
    let (tone, sentence) = match (health.is_listening, lag) {
        (None, _) => (Tone::Doubt, "Nobody has listened to webhooks yet: start a process with the role webhook.".to_owned()),
        (Some(false), _) => (Tone::Bad, "Nobody listens to webhooks at the moment: lost answers are not settled, sequences wait.".to_owned()),
        (Some(true), Some(lag)) if lag > LATE => (Tone::Bad, format!("We listen, and what comes is applied late: the oldest delivery waits for {}.", span(lag))),
        (Some(true), _) => (Tone::Well, "We listen, and what comes is applied at once.".to_owned()),
    };
    let by_sender = flows.iter().map(|one| {
        [
            html! { a href={ "/senders/" (one.sender) } { (one.sender) } },
            some_moment(one.last_status_at),
            some_moment(one.accepted_watermark),
            if one.echoes {
                pill(Tone::Well, "comes back")
            } else {
                pill(Tone::Quiet, "not seen yet")
            },
        ]
    });
    let bad_rows = bad.iter().map(|one| {
        [
            number(one.id),
            moment(one.received_at),
            if one.is_unreadable {
                pill(Tone::Bad, "all of it")
            } else {
                pill(Tone::Doubt, "parts of it")
            },
            number(one.entries),
            short(one.place.as_deref().unwrap_or("–"), 60),
            short(one.reason.as_deref().unwrap_or("–"), 90),
        ]
    });
    let unmatched_rows = unmatched.iter().map(|one| {
        [
            moment(one.received_at),
            html! { (one.status) },
            moment(one.occurred_at),
            html! { (one.sender.as_deref().unwrap_or("–")) },
            html! { (one.error_code.map_or("–".to_owned(), |code| code.to_string())) },
            one.delivery.map_or_else(|| html! { "–" }, number),
        ]
    });
    Ok(Shown::new("Webhooks")
        .section("verdict", verdict(tone, &sentence))
        .section("inbox", html! {
            h2 { "Deliveries" }
            (facts([
                ("last delivery", some_moment(health.last_delivery_at)),
                ("last status", some_moment(health.last_status_at)),
                ("waiting", counted(health.pending)),
                ("oldest waiting", some_moment(health.oldest_pending_at)),
                ("unreadable", counted(health.bad)),
                ("unmatched", counted(health.unmatched)),
            ]))
        })
        .section("flow", html! {
            h2 { "Statuses by sender" }
            @if flows.is_empty() { (nothing("There is no sender yet.")) }
            @else { (table("Statuses by sender", ["Sender", "Last status", "Told of messages up to", "Callback data"], by_sender)) }
        })
        .section("bad", html! {
            h2 { "What could not be read" }
            @if bad.is_empty() { (nothing("Everything that came could be read.")) }
            @else { (table("Deliveries that could not be read, newest first", ["Delivery", "Came", "What", "Entries", "Where", "Why"], bad_rows)) }
        })
        .section("unmatched", html! {
            h2 { "Statuses of messages unknown here" }
            @if unmatched.is_empty() { (nothing("Every status belongs to a message of ours.")) }
            @else { (table("Unmatched statuses, newest first", ["Came", "Status", "Happened", "Sender", "Code", "Delivery"], unmatched_rows)) }
        }))
}
