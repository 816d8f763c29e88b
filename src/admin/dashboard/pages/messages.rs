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
use crate::domain::mask::Eyes;
use crate::domain::status::Status;
use crate::standing::failure::meaning;
use crate::standing::message::{facts, has_ended, history};
use crate::standing::reason::Reason;
use crate::standing::veil::Veil;
use crate::store::message::{Message, Reach};
use crate::store::messages::MessageFilter;

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
    if let Some(number) = look.get("search") {
        let sought = number
            .parse()
            .ok()
            .zip(visitor.session)
            .and_then(|(number, session)| dashboard.sessions.search(session, number));
        return match sought {
            Some(sought) => found(dashboard, &sought).await,
            None => Ok(unread(
                look,
                "What was searched for is not known any more. Search for it again.",
            )),
        };
    }
    let mut filter = match filter_of(look) {
        Ok(filter) => filter,
        Err(words) => return Ok(unread(look, &words)),
    };
    if let Some(named) = look.get("campaign") {
        filter.campaign = dashboard.store.campaign_number(&named.into()).await?;
        if filter.campaign.is_none() {
            let words = format!("There is no campaign {named}. Write its name or its number.");
            return Ok(unread(look, &words));
        }
    }
    let page = dashboard.store.messages(&filter, ROWS as usize).await?;
    let messages = page.messages.veiled(Eyes::CLOSED);
    Ok(Shown::new("Messages")
        .section("filters", filters(look))
        .section(
            "messages",
            html! {
                @if messages.is_empty() { (nothing("No message is like that, as far as was looked.")) } @else { (rows(&messages)) }
                @if let Some(id) = page.looked_back_to { p.nothing { "Looked back to message " (id) "; older ones come with the next page." } }
            },
        )
        .section(
            "pages",
            html! {
                div.buttons {
                    @if look.get("before").is_some() { a.button href={ "/messages" (look.with("before", "")) } { "Newest" } }
                    @if let Some(next) = page.next { a.button href={ "/messages" (look.with("before", &next.to_string())) } rel="next" { "Older" } }
                }
            },
        ))
}

/// What is looked for, but for the campaign; else what of it cannot be read, and what could be. Rows that were not asked for would be
/// taken for those that were.
fn filter_of(look: &Look) -> Result<MessageFilter, String> {
    let one_of = |name: &str, known: &[&str]| match look.get(name) {
        Some(word) if !known.contains(&word) => Err(format!(
            "There is no {name} {word}. There are: {}.",
            known.join(", ")
        )),
        word => Ok(word.map(str::to_owned)),
    };
    let number = |name: &str, expected: &str| match (look.get(name), look.number(name)) {
        (Some(written), None) => Err(format!("{written} is no {expected}")),
        (_, number) => Ok(number),
    };
    Ok(MessageFilter {
        state: one_of("state", &STATES)?,
        status: one_of("status", &Status::ALL.map(Status::as_str))?,
        sender: look.get("sender").map(str::to_owned),
        code: number(
            "code",
            "code of WhatsApp's. Write a number, such as 131026.",
        )?,
        duplicates_only: look.get("twice").is_some(),
        before: number("before", "message to go on before. Write its number.")?,
        ..MessageFilter::default()
    })
}

/// No rows, and why.
fn unread(look: &Look, words: &str) -> Shown {
    Shown::new("Messages")
        .section("filters", filters(look))
        .section("messages", verdict(Tone::Doubt, words))
}

fn filters(look: &Look) -> Markup {
    let chosen = |name: &str| look.get(name).unwrap_or_default().to_owned();
    let choice = |title: &str, name: &str, values: &[&str]| {
        let now = chosen(name);
        html! {
            label { (title) select name=(name) {
                option value="" { "any" }
                @for one in values { option value=(one) selected[*one == now] { (one) } }
            } }
        }
    };
    html! {
        form.filters action="/messages" data-at-once {
            (choice("State", "state", &STATES))
            (choice("Status", "status", &Status::ALL.map(Status::as_str)))
            label { "Sender" input name="sender" value=(chosen("sender")) placeholder="any"; }
            label { "Code" input name="code" value=(chosen("code")) placeholder="any" inputmode="numeric" size="8"; }
            label { "Campaign" input name="campaign" value=(chosen("campaign")) placeholder="name or number" size="14"; }
            label { "Taken twice" select name="twice" { option value="" { "all" } option value="yes" selected[look.get("twice").is_some()] { "only those" } } }
            button { "Show" }
        }
    }
}

fn rows(messages: &[Message]) -> Markup {
    let eyes = Eyes::CLOSED;
    let rows = messages.iter().map(|message| {
        let why = message.waiting_for.as_deref();
        let why = why.or(message.error_message.as_deref());
        [
            message_link(message.id),
            standing(message),
            html! { (eyes.recipient(&message.recipient)) },
            html! { a href={ "/senders/" (message.sender) } { (message.sender) } },
            html! { (short(message.reference.as_deref().unwrap_or("–"), 24)) },
            moment(message.created_at),
            short(why.unwrap_or_default(), 90),
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

/// What a search finds: by wamid, by recipient however it is written, by reference.
async fn found(dashboard: &Dashboard, sought: &str) -> Result<Shown, Trouble> {
    let sought = Some(sought.to_owned());
    let none = MessageFilter::default;
    let filters = match sought.as_deref() {
        Some(wamid) if wamid.starts_with("wamid.") => vec![MessageFilter {
            wamid: sought,
            ..none()
        }],
        _ => vec![
            MessageFilter {
                recipient: sought.clone(),
                ..none()
            },
            MessageFilter {
                reference: sought,
                ..none()
            },
        ],
    };
    let mut messages = Vec::new();
    let mut is_whole = true;
    for filter in filters {
        let page = dashboard.store.messages(&filter, ROWS as usize).await?;
        is_whole &= page.is_whole();
        messages.extend(page.messages.veiled(Eyes::CLOSED));
    }
    messages.sort_by_key(|message| std::cmp::Reverse(message.id));
    messages.dedup_by_key(|message| message.id);
    Ok(Shown::new("Found").section(
        "messages",
        html! {
            @if messages.is_empty() {
                (nothing("No message has that id, reference, recipient or wamid. Write recipients with + and country code."))
            } @else { (rows(&messages)) }
            @if !is_whole { p.nothing { "The newest are shown; see more: wa-outbox message list --help" } }
        },
    ))
}

pub(super) async fn one(
    dashboard: &Dashboard,
    visitor: &Visitor,
    id: i64,
) -> Result<Shown, Trouble> {
    let store = &dashboard.store;
    let Some(timeline) = store.timeline(MessageId(id), Reach::BothEnds).await? else {
        return Err(Trouble::NotThere(format!("There is no message {id}.")));
    };
    let reveal = visitor
        .session
        .is_some_and(|session| dashboard.sessions.is_revealed(session, id, Instant::now()));
    let eyes = Eyes { reveal };
    let timeline = timeline.veiled(eyes);
    let ended_at = store.ended_at(MessageId(id)).await?;
    let payload = if reveal {
        store.payload(MessageId(id)).await?
    } else {
        None
    };
    let message = &timeline.message;
    let now = dashboard.clock.now();
    let sentence = Reason::of(store, dashboard.policy, message, eyes)
        .await?
        .sentence(message, now);
    let told = facts(message, eyes, now);
    let events = history(&timeline, ended_at, eyes);
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
