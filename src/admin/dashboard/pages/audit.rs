//! Who did what by the dashboard, and why.

use maud::html;

use super::ROWS;
use crate::admin::dashboard::layout::{Shown, Tone, moment, nothing, pill, table};
use crate::admin::dashboard::page::Look;
use crate::admin::dashboard::{Dashboard, Trouble};

pub(super) async fn list(dashboard: &Dashboard, look: &Look) -> Result<Shown, Trouble> {
    let events = dashboard.store.audit(look.number("before"), ROWS).await?;
    let next = events
        .last()
        .filter(|_| events.len() as i64 == ROWS)
        .map(|event| event.event.to_string());
    let rows = events.iter().map(|event| {
        let (tone, word) = match event.succeeded {
            Some(true) => (Tone::Well, "done"),
            Some(false) => (Tone::Bad, "not done"),
            None => (Tone::Doubt, "broke off"),
        };
        [
            moment(event.at),
            html! { (event.author) " (" (event.role) ")" },
            html! { (event.what.replace('-', " ")) " " (event.target) },
            html! { (event.reason) },
            pill(tone, word),
            html! { (event.outcome.as_deref().unwrap_or_default()) },
        ]
    });
    Ok(Shown::new("Audit")
        .section("audit", html! {
            @if events.is_empty() { (nothing("Nobody has done anything by the dashboard yet. What is done is written here, with name and reason.")) }
            @else { (table("What was done, the latest first", ["When", "Who", "What", "Why", "Ended", "How"], rows)) }
        })
        .section("pages", html! {
            @if let Some(next) = next { div.buttons { a.button href={ "/audit" (look.with("before", &next)) } rel="next" { "Older" } } }
        }))
}
