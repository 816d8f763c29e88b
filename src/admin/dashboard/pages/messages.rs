//! Messages: found, listed a page at a time, and each with everything that happened to it.

use maud::{Markup, html};
use tokio::time::Instant;

use super::ROWS;
use crate::admin::dashboard::layout::{
    Shown, Tone, act, facts as in_columns, message_link, moment, nothing, pill, short, table,
    verdict,
};
use crate::admin::dashboard::page::Look;
use crate::admin::dashboard::session::{Role, Visitor};
use crate::admin::dashboard::{Dashboard, Trouble};
use crate::domain::id::MessageId;
use crate::standing::failure::meaning;
use crate::standing::mask::Eyes;
use crate::standing::message::{facts, has_ended, history};
use crate::standing::reason::Reason;
use crate::store::message::{Message, MessageFilter};

const STATES: [&str; 8] = [
    "queued",
    "waiting",
    "sending",
    "uncertain",
    "accepted",
    "failed",
    "expired",
    "cancelled",
];

pub(super) fn tone(message: &Message) -> Tone {
    match (message.state.as_str(), message.status.as_deref()) {
        ("failed" | "expired", _) | (_, Some("failed")) => Tone::Bad,
        ("uncertain", _) => Tone::Doubt,
        (_, Some("delivered" | "read" | "played")) => Tone::Well,
        _ => Tone::Quiet,
    }
}

/// State and status in a word.
pub(super) fn standing(message: &Message) -> Markup {
    let word = match &message.status {
        Some(status) if message.state == "accepted" => status.as_str(),
        Some(_) | None => message.state.as_str(),
    };
    pill(tone(message), word)
}

pub(super) async fn list(
    dashboard: &Dashboard,
    visitor: &Visitor,
    look: &Look,
) -> Result<Shown, Trouble> {
    let sought = look
        .number("search")
        .and_then(|number| u32::try_from(number).ok())
        .zip(visitor.session)
        .and_then(|(number, session)| dashboard.sessions.search(session, number));
    if let Some(sought) = &sought {
        return found(dashboard, sought).await;
    }
    let filter = MessageFilter {
        state: look.get("state").map(str::to_owned),
        sender: look.get("sender").map(str::to_owned),
        before: look.number("before"),
        ..MessageFilter::default()
    };
    let messages = dashboard.store.messages(&filter, ROWS).await?;
    let next = messages
        .last()
        .filter(|_| messages.len() as i64 == ROWS)
        .map(|last| last.id.to_string());
    Ok(Shown::new("Messages")
        .section("filters", filters(look))
        .section("messages", html! {
            @if messages.is_empty() { (nothing("No message is like that.")) } @else { (rows(&messages)) }
        })
        .section("pages", html! {
            div.buttons {
                @if look.get("before").is_some() { a.button href={ "/messages" (look.with("before", "")) } { "Newest" } }
                @if let Some(next) = next { a.button href={ "/messages" (look.with("before", &next)) } rel="next" { "Older" } }
            }
        }))
}

fn filters(look: &Look) -> Markup {
    let state = look.get("state").unwrap_or_default();
    html! {
        form.filters action="/messages" data-at-once {
            label { "State" select name="state" {
                option value="" { "any" }
                @for one in STATES { option value=(one) selected[one == state] { (one) } }
            } }
            label { "Sender" input name="sender" value=(look.get("sender").unwrap_or_default()) placeholder="any"; }
            button { "Show" }
        }
    }
}

fn rows(messages: &[Message]) -> Markup {
    let eyes = Eyes { reveal: false };
    let rows = messages.iter().map(|message| {
        let why = message
            .waiting_for
            .as_deref()
            .or(message.error_message.as_deref())
            .unwrap_or_default();
        [
            message_link(message.id),
            standing(message),
            html! { (eyes.recipient(&message.recipient)) },
            html! { a href={ "/senders/" (message.sender) } { (message.sender) } },
            html! { (short(message.reference.as_deref().unwrap_or("–"), 24)) },
            moment(message.created_at),
            short(why, 90),
        ]
    });
    let titles = [
        "Message",
        "Stands",
        "Recipient",
        "Sender",
        "Reference",
        "Written",
        "Why",
    ];
    table("Messages, newest first", titles, rows)
}

/// What a search finds: by wamid, by recipient, by reference.
async fn found(dashboard: &Dashboard, sought: &str) -> Result<Shown, Trouble> {
    let store = &dashboard.store;
    let mut messages = Vec::new();
    for filter in [
        MessageFilter {
            recipient: Some(sought.to_owned()),
            ..MessageFilter::default()
        },
        MessageFilter {
            reference: Some(sought.to_owned()),
            ..MessageFilter::default()
        },
    ] {
        messages.extend(store.messages(&filter, ROWS).await?);
    }
    let shown = Shown::new("Found");
    Ok(match messages.as_slice() {
        [] => shown.section("messages", nothing("No message has that id, reference, recipient or wamid. Write recipients with + and country code.")),
        some => shown.section("messages", rows(some)),
    })
}

pub(super) async fn one(
    dashboard: &Dashboard,
    visitor: &Visitor,
    id: i64,
) -> Result<Shown, Trouble> {
    let store = &dashboard.store;
    let Some(timeline) = store.timeline(MessageId(id)).await? else {
        return Err(Trouble::NotThere(format!("There is no message {id}.")));
    };
    let reveal = visitor
        .session
        .is_some_and(|session| dashboard.sessions.is_revealed(session, id, Instant::now()));
    let eyes = Eyes { reveal };
    let wamids = store.wamids(MessageId(id)).await?;
    let ended_at = store.ended_at(MessageId(id)).await?;
    let payload = if reveal {
        store.payload(MessageId(id)).await?
    } else {
        None
    };
    let message = &timeline.message;
    let now = dashboard.clock.now();
    let sentence = Reason::of(store, dashboard.policy, message)
        .await?
        .sentence(message, now);
    let told = facts(message, eyes, now);
    let events = history(&timeline, &wamids, ended_at, eyes);
    Ok(Shown::new(format!("Message {id}"))
        .section("verdict", verdict(tone(message), &sentence))
        .section("acts", acts(visitor, message, reveal))
        .section("meaning", html! {
            @if let Some(code) = message.error_code {
                @let (title, remedy) = meaning(Some(code));
                div.card { h2 { "Code " (code) ": " (title) } p { (remedy) } }
            }
        })
        .section("timeline", html! {
            h2 { "What happened" }
            ol.timeline { @for event in &events { li { (moment(event.at)) (crate::standing::facts::plain(&event.what)) } } }
        })
        .section("facts", html! {
            h2 { "Facts" }
            (in_columns(told.rows().map(|(label, value)| {
                let shown = match label {
                    "sender" => html! { a href={ "/senders/" (value) } { (value) } },
                    "sequence" => html! { a href={ "/sequences/of/" (id) } { (value) } },
                    _ => html! { (value) },
                };
                (label, shown)
            })))
        })
        .section("content", html! {
            @if let Some(payload) = payload { h2 { "Content" } pre { (payload) } }
        }))
}

fn acts(visitor: &Visitor, message: &Message, is_revealed: bool) -> Markup {
    let id = message.id;
    html! {
        div.buttons {
            @if message.state == "uncertain" {
                (act(visitor, "accepted", id, "It was accepted"))
                (act(visitor, "not-sent", id, "It was not sent"))
                (act(visitor, "send-again", id, "Send it again"))
            }
            @if matches!(message.state.as_str(), "queued" | "waiting") { (act(visitor, "cancel-message", id, "Cancel it")) }
            @if message.sequence.is_some() && !has_ended(message) { a.button href={ "/sequences/of/" (id) } { "Its sequence" } }
            @if is_revealed { span.nothing { "Shown in full for a while." } }
            @else if visitor.role == Role::Operator { (act(visitor, "reveal", id, "Reveal recipient and content")) }
            @else { span.nothing { "Recipient and content are masked for viewers." } }
        }
    }
}
