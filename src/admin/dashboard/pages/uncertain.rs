//! Messages whose answer was lost, and those that WhatsApp took twice.

use maud::html;

use super::ROWS;
use crate::admin::dashboard::layout::{
    Shown, Tone, act, message_link, moment, nothing, number, pill, short, table, verdict,
};
use crate::admin::dashboard::page::Look;
use crate::admin::dashboard::session::Visitor;
use crate::admin::dashboard::{Dashboard, Trouble};

pub(super) async fn list(
    dashboard: &Dashboard,
    visitor: &Visitor,
    _look: &Look,
) -> Result<Shown, Trouble> {
    let messages = dashboard.store.uncertain(ROWS).await?;
    let people = messages
        .iter()
        .filter(|message| message.needs_person)
        .count();
    let rows = messages.iter().map(|message| {
        let id = message.id;
        [
            message_link(id),
            if message.needs_person {
                pill(Tone::Bad, "needs a person")
            } else {
                pill(Tone::Doubt, "evidence is awaited")
            },
            html! { a href={ "/senders/" (message.sender) } { (message.sender) } },
            number(i64::from(message.attempt)),
            moment(message.begun_at),
            short(&message.doubt, 80),
            short(&message.waiting_for, 80),
            html! { div.buttons {
                (act(visitor, "accepted", id, "Accepted"))
                (act(visitor, "not-sent", id, "Not sent"))
                (act(visitor, "send-again", id, "Send again"))
            } },
        ]
    });
    let titles = [
        "Message",
        "Stands",
        "Sender",
        "Request",
        "Begun",
        "Doubt",
        "Waits for",
        "You know that it was",
    ];
    Ok(Shown::new("Uncertain").section("uncertain", html! {
        @if messages.is_empty() { (verdict(Tone::Well, "No message is uncertain.")) }
        @else {
            (verdict(if people > 0 { Tone::Bad } else { Tone::Doubt }, &format!("{} of these wait for a person; webhooks and policy settle the others.", people)))
            (table("Uncertain messages, oldest first", titles, rows))
        }
        @if messages.is_empty() { (nothing("A message is uncertain when its request may have reached WhatsApp and its answer was lost.")) }
    }))
}
