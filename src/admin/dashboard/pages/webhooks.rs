//! Webhooks: whether they come, how late they are applied, and what could not be read.

use maud::html;

use crate::admin::dashboard::layout::{
    Shown, Tone, facts, nothing, number, pill, some_moment, table, verdict,
};
use crate::admin::dashboard::{Dashboard, Trouble};

/// Senders whose statuses are counted over the last day.
const WHILE_S: f64 = 86_400.0;

pub(super) async fn show(dashboard: &Dashboard) -> Result<Shown, Trouble> {
    let store = &dashboard.store;
    let found = store.webhook_facts().await?;
    let inbox = store.inbox_summary().await?;
    let flow = store.flow_facts(WHILE_S).await?;
    let (tone, sentence) = match found.is_listening {
        false => (
            Tone::Bad,
            "Nobody listens to webhooks at the moment.".to_owned(),
        ),
        true if inbox.pending > 0 => (
            Tone::Doubt,
            format!("{} deliveries wait to be applied.", inbox.pending),
        ),
        true => (
            Tone::Well,
            "We listen, and everything that came is applied.".to_owned(),
        ),
    };
    let rows = flow.iter().map(|one| {
        [
            html! { a href={ "/senders/" (one.sender) } { (one.sender) } },
            some_moment(one.last_status_at),
            if one.echoes {
                pill(Tone::Well, "comes back")
            } else {
                pill(Tone::Doubt, "not seen")
            },
            number(one.heard),
            number(one.silent),
        ]
    });
    Ok(Shown::new("Webhooks")
        .section("verdict", verdict(tone, &sentence))
        .section("inbox", html! {
            h2 { "Deliveries" }
            (facts([
                ("last delivery", some_moment(found.last_delivery_at)),
                ("waiting", number(inbox.pending)),
                ("oldest waiting", some_moment(found.oldest_pending_at)),
                ("unreadable", number(inbox.bad)),
                ("unmatched", number(inbox.unmatched)),
            ]))
        })
        .section("flow", html! {
            h2 { "Statuses by sender" }
            @if flow.is_empty() { (nothing("No sender has sent anything yet.")) }
            @else { (table("Statuses by sender, over a day", ["Sender", "Last status", "Callback data", "With a status", "Without"], rows)) }
        }))
}
