//! Messages whose answer was lost, and those that WhatsApp took twice.

use maud::html;

use super::ROWS;
use crate::admin::dashboard::layout::{
    Shown, Tone, act, counted, message_link, moment, nothing, number, pill, short, some_moment,
    table, verdict,
};
use crate::admin::dashboard::page::Look;
use crate::admin::dashboard::session::Visitor;
use crate::admin::dashboard::{Dashboard, Trouble};
use crate::domain::mask::Eyes;
use crate::standing::facts::thousands;
use crate::standing::veil::Veil;

pub(super) async fn list(
    dashboard: &Dashboard,
    visitor: &Visitor,
    look: &Look,
) -> Result<Shown, Trouble> {
    let store = &dashboard.store;
    let groups = store.uncertain_groups().await?.veiled(Eyes::CLOSED);
    let messages = store.uncertain(ROWS).await?.veiled(Eyes::CLOSED);
    let twice = store.duplicates(ROWS, look.number("before")).await?;
    let people: i64 = groups.iter().map(|group| group.needs_person).sum();
    let (tone, sentence) = match (messages.is_empty(), people) {
        (true, _) => (Tone::Well, "No message is uncertain.".to_owned()),
        (false, 0) => (
            Tone::Doubt,
            "None of these needs a person: webhooks and policy settle them.".to_owned(),
        ),
        (false, some) => (
            Tone::Bad,
            format!(
                "{} of these wait for a person; webhooks and policy settle the others.",
                thousands(some)
            ),
        ),
    };
    let by_group = groups.iter().map(|group| {
        [
            html! { a href={ "/senders/" (group.sender) } { (group.sender) } },
            short(&group.doubt, 80),
            counted(group.messages),
            counted(group.needs_person),
            moment(group.oldest_begun_at),
            message_link(group.sample),
        ]
    });
    let rows = messages.iter().map(|message| {
        let id = message.id;
        let stands = match message.needs_person {
            true => pill(Tone::Bad, "needs a person"),
            false => pill(Tone::Doubt, "evidence is awaited"),
        };
        [
            message_link(id),
            stands,
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
    let doubles = twice.iter().map(|one| {
        [
            message_link(one.id),
            html! { (one.cause.replace('_', " ")) },
            number(one.wamids),
            html! { (one.reference.as_deref().unwrap_or("–")) },
            html! { a href={ "/senders/" (one.sender) } { (one.sender) } },
            some_moment(one.last_learned_at),
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
    Ok(Shown::new("Uncertain")
        .section("verdict", verdict(tone, &sentence))
        .section("groups", html! {
            @if !groups.is_empty() {
                (table("Uncertain messages by sender and doubt", ["Sender", "Doubt", "Messages", "Need a person", "Oldest", "The oldest"], by_group))
                @if people > 0 { h2 { "What a person has found out about all of them" } }
                @for sender in distinct(groups.iter().filter(|group| group.needs_person > 0).map(|group| group.sender.as_str())) {
                    div.buttons {
                        span { "Sender " (sender) ":" }
                        (act(visitor, "all-not-sent", sender, "None was sent"))
                        (act(visitor, "all-again", sender, "Send all again"))
                    }
                }
            }
        })
        .section("uncertain", html! {
            @if messages.is_empty() {
                (nothing("A message is uncertain when its request may have reached WhatsApp and its answer was lost."))
            } @else {
                h2 { "One by one" }
                (table("Uncertain messages, oldest first", titles, rows))
            }
        })
        .section("twice", html! {
            h2 { "Taken twice" }
            @if twice.is_empty() { (nothing("WhatsApp has taken no message twice, as far as it told.")) }
            @else { (table("Messages that WhatsApp took twice, newest first", ["Message", "Cause", "Ids", "Reference", "Sender", "Learned"], doubles)) }
            @if let Some(last) = twice.last().filter(|_| twice.len() as i64 == ROWS) {
                div.buttons { a.button href={ "/uncertain" (look.with("before", &last.id.to_string())) } rel="next" { "Older" } }
            }
        }))
}

/// Each once, in their order.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}
