//! Where a message stands and why: one sentence, and the facts and events it rests on.

use time::OffsetDateTime;

use super::facts::{Facts, thousands};
use super::time::{age, moment, span};
use crate::domain::mask::Eyes;
use crate::store::message::{AttemptRow, FIRST_TOLD, Message, StatusRow, Timeline};
use crate::store::summary::COUNTED_AT_MOST;

/// Whether the message has come to its end; only WhatsApp's status can still change.
pub fn has_ended(message: &Message) -> bool {
    matches!(
        message.state.as_str(),
        "accepted" | "failed" | "expired" | "cancelled"
    )
}

/// Where the message stands and why, in a sentence or two.
pub fn standing(message: &Message, now: OffsetDateTime) -> String {
    let id = message.id;
    let awaited = message.waiting_for.as_deref().unwrap_or("its turn");
    let reason = error(message).map_or_else(|| ".".to_owned(), |error| format!(": {error}."));
    let mut sentence = match message.state.as_str() {
        "queued" if message.due_at > now => stopped(&format!(
            "Message {id} is queued, due {}, and waits for {awaited}",
            age(message.due_at, now)
        )),
        "queued" => stopped(&format!("Message {id} is queued and waits for {awaited}")),
        "waiting" => stopped(&format!("Message {id} is waiting for {awaited}")),
        "sending" => stopped(&format!(
            "Message {id} is being sent and waits for {awaited}"
        )),
        "uncertain" => stopped(&format!(
            "Message {id} is uncertain: its answer was lost and it may have reached WhatsApp. It waits for {awaited}"
        )),
        "accepted" => since_acceptance(message, now),
        "failed" => format!(
            "Message {id} failed{}{reason}",
            when(message.failed_at, now)
        ),
        "expired" => format!("Message {id} expired{reason}"),
        "cancelled" => match message.error_message.as_deref() {
            Some(by) if by.starts_with("cancelled ") => format!("Message {id} was {by}."),
            Some(_) | None => format!("Message {id} was cancelled{reason}"),
        },
        other => format!("Message {id} is {other}."),
    };
    if let Some(cause) = &message.duplicate {
        sentence += &format!(" WhatsApp took it twice: {}.", twice(cause));
    }
    if message.status_conflict {
        sentence += " WhatsApp reported it both failed and delivered.";
    }
    sentence
}

/// The sentence with its full stop, which must not end up in a command that is to be copied.
pub fn stopped(sentence: &str) -> String {
    match sentence.split_once("; see: ") {
        Some((sentence, command)) => format!("{sentence}. See: {command}"),
        None => format!("{}.", without_stop(sentence)),
    }
}

/// How it went on after WhatsApp took it.
fn since_acceptance(message: &Message, now: OffsetDateTime) -> String {
    let id = message.id;
    let accepted = when(message.accepted_at, now);
    match message.status.as_deref() {
        None if message.wamid.is_none() => {
            format!("Message {id} was accepted{accepted}; one of its kind gets no status.")
        }
        None => {
            format!("Message {id} was accepted by WhatsApp{accepted}; no status has come since.")
        }
        Some("sent") => format!(
            "Message {id} was sent on by WhatsApp{} and is not delivered yet.",
            when(message.sent_at, now)
        ),
        Some("delivered") => {
            format!(
                "Message {id} was delivered{}.",
                when(message.delivered_at, now)
            )
        }
        Some("read") => format!("Message {id} was read{}.", when(message.read_at, now)),
        Some("failed") => format!(
            "Message {id} was accepted by WhatsApp, which then could not deliver it: {}.",
            error(message).unwrap_or_else(|| "it gave no reason".to_owned())
        ),
        Some(other) => format!("Message {id} was {other}."),
    }
}

fn when(moment: Option<OffsetDateTime>, now: OffsetDateTime) -> String {
    moment.map_or_else(String::new, |moment| format!(" {}", age(moment, now)))
}

/// Why it failed: the code once, and the words.
fn error(message: &Message) -> Option<String> {
    let words = message.error_message.as_deref().map(without_stop);
    match (message.error_code, words) {
        (Some(code), Some(words)) if !words.contains(&code.to_string()) => {
            Some(format!("({code}) {words}"))
        }
        (_, Some(words)) => Some(words.to_owned()),
        (Some(code), None) => Some(format!("error {code}")),
        (None, None) => None,
    }
}

/// The text without its full stop, to be put into a sentence.
pub fn without_stop(text: &str) -> &str {
    text.trim_end().trim_end_matches('.')
}

fn twice(cause: &str) -> &str {
    match cause {
        "resend" => "it was sent again while the first answer was lost",
        "transport_retry" => "something between us and WhatsApp repeated one request",
        other => other,
    }
}

/// What is known of the message apart from its history.
pub fn facts(message: &Message, eyes: Eyes, now: OffsetDateTime) -> Facts {
    let mut facts = Facts::default();
    let state = match &message.status {
        Some(status) => format!("{}, status {status}", message.state),
        None => message.state.clone(),
    };
    facts.add("state", state);
    facts.add_some("waiting for", message.waiting_for.as_ref());
    facts.add_some("error", error(message));
    facts.add("sender", &message.sender);
    facts.add("recipient", eyes.recipient(&message.recipient));
    facts.add_some(
        "wamid",
        message.wamid.as_deref().map(|wamid| eyes.wamid(wamid)),
    );
    facts.add("attempts spent", message.attempts.to_string());
    facts.add("priority", message.priority.to_string());
    facts.add("due", moment(message.due_at, now));
    facts.add_some("expires", message.expires_at.map(|at| moment(at, now)));
    facts.add_some("sequence", message.sequence.as_ref());
    facts.add_some("dedup key", message.dedup_key.as_ref());
    facts.add_some("reference", message.reference.as_ref());
    facts
}

/// Something that happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, as exactly as it was told.
    pub at: OffsetDateTime,
    /// What.
    pub what: String,
}

/// Everything that happened, oldest first. What was left out of the timeline is told where it is missing.
pub fn history(timeline: &Timeline, ended_at: Option<OffsetDateTime>, eyes: Eyes) -> Vec<Event> {
    let message = &timeline.message;
    let mut events = vec![(message.created_at, "written into the outbox".to_owned())];
    events.extend(timeline.attempts.iter().flat_map(request));
    events.extend(timeline.acceptances.iter().map(|row| {
        let (attempt, from) = (row.attempt, &row.learned_from);
        let wamid = eyes.wamid(row.wamid.reveal());
        let told = format!("request {attempt} accepted as {wamid}, learned from the {from}");
        (row.learned_at, told)
    }));
    // An acceptance with a wamid is an event of its own already.
    let is_told = message.state == "accepted" && !timeline.acceptances.is_empty();
    if let Some(ended_at) = ended_at.filter(|_| !is_told) {
        let why = error(message).filter(|_| message.state != "accepted");
        let state = &message.state;
        let ended = why.map_or_else(|| state.clone(), |why| format!("{state}: {why}"));
        events.push((ended_at, ended));
    }
    // In the order of what happened, which of a status is told less exactly than what is shown of it.
    let mut events: Vec<_> = events
        .into_iter()
        .map(|(at, what)| (at, at, what))
        .collect();
    events.extend(timeline.statuses.iter().map(status));
    events.extend(gaps(timeline));
    events.sort_by_key(|(order, ..)| *order);

    events
        .into_iter()
        .map(|(_, at, what)| Event { at, what })
        .collect()
}

/// A request that did not end in plain acceptance: its begin, its end, and what settled it.
fn request(row: &AttemptRow) -> Vec<(OffsetDateTime, String)> {
    let attempt = row.attempt;
    let mut events = Vec::new();
    if let Some(begun_at) = row.begun_at {
        events.push((begun_at, format!("request {attempt} begun")));
    }
    let answer = [
        Some(format!("request {attempt} ended: {}", row.outcome)),
        row.http_status.map(|status| format!("HTTP {status}")),
        row.error_code.map(|code| format!("code {code}")),
        row.error_title.clone(),
        row.error_details.clone(),
        row.note.clone(),
        row.fbtrace_id.as_ref().map(|id| format!("fbtrace_id {id}")),
    ];
    events.push((row.ended_at, joined(answer)));
    if let Some(settled_at) = row.settled_at {
        let by = row.settled_by.as_deref().unwrap_or("someone");
        let settled = format!("request {attempt} settled by {by}");
        events.push((
            settled_at,
            joined([Some(settled), row.settled_note.clone()]),
        ));
    }
    events
}

/// What was left out of a timeline, each at the time of the last of its kind before it.
fn gaps(timeline: &Timeline) -> impl Iterator<Item = (OffsetDateTime, OffsetDateTime, String)> {
    let last = FIRST_TOLD as usize - 1;
    let id = timeline.message.id;
    let left_out = timeline.left_out;
    let requests = timeline.attempts.get(last).map(|row| row.ended_at);
    let acceptances = timeline.acceptances.get(last).map(|row| row.learned_at);
    let statuses = timeline.statuses.get(last).map(happened);
    [
        (requests, left_out.requests, "requests"),
        (acceptances, left_out.acceptances, "ids of WhatsApp's"),
        (statuses, left_out.statuses, "statuses"),
    ]
    .into_iter()
    .filter(|(_, many, _)| *many > 0)
    .filter_map(move |(at, many, what)| {
        let many = if many >= COUNTED_AT_MOST {
            format!("{} or more", thousands(COUNTED_AT_MOST - 1))
        } else {
            format!("{} more", thousands(many))
        };
        let told = format!("… {many} {what}; see them: wa-outbox message show {id} --all");
        Some((at?, at?, told))
    })
}

fn status(row: &StatusRow) -> (OffsetDateTime, OffsetDateTime, String) {
    let late = row.received_at - row.occurred_at;
    let told = joined([
        Some(format!("status {}", row.status)),
        row.error_code.map(|code| format!("code {code}")),
        row.error_title.clone(),
        row.error_details.clone(),
        (late.whole_seconds() >= 5).then(|| format!("told {} later", span(late))),
    ]);
    (happened(row), row.occurred_at, told)
}

/// When a status happened, as exactly as it is known: WhatsApp tells whole seconds, so at any time within that second, but not
/// after we were told. Else what was answered and told within a second would stand in the order of a coin.
fn happened(row: &StatusRow) -> OffsetDateTime {
    let whole_second = row.occurred_at.nanosecond() == 0;
    if !whole_second {
        return row.occurred_at;
    }
    let last = row.occurred_at + time::Duration::milliseconds(999);
    last.min(row.received_at).max(row.occurred_at)
}

/// The parts that are there, each said once.
fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    let mut said: Vec<String> = Vec::new();
    for part in parts.into_iter().flatten() {
        if !part.is_empty() && !said.contains(&part) {
            said.push(part);
        }
    }
    said.join(", ")
}
