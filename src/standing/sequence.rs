//! What a sequence waits for, since when, what would release it and when that is overdue: one sentence, and the facts.

use time::{Duration, OffsetDateTime};

use super::facts::Facts;
use super::time::{age, moment, span};
use crate::domain::kind::{MessageKind, releases};
use crate::domain::mask::Eyes;
use crate::domain::status::Status;
use crate::store::sequence::SequenceStanding;

/// The times of one gate may differ by this for other reasons.
const A_MOMENT: Duration = Duration::seconds(10);

/// Statuses as they rise.
const RISING: [Status; 4] = [
    Status::Sent,
    Status::Delivered,
    Status::Read,
    Status::Played,
];

/// Where the sequence stands, in a sentence or two.
pub fn sentence(standing: &SequenceStanding, eyes: Eyes, now: OffsetDateTime) -> String {
    let (name, recipient) = (&standing.sequence, eyes.recipient(&standing.recipient));
    let named = format!("Sequence '{name}' to {recipient}");
    let sentence = match waits(standing, now) {
        Some(waits) if standing.halted_reason.is_some() => format!("{named} {waits}."),
        Some(waits) => format!("{named} waits {waits}."),
        None => format!("{named} waits for nothing: its next message leaves at once."),
    };
    match standing.waiting {
        0 => sentence,
        1 => format!("{sentence} One message waits behind it."),
        10_001.. => format!("{sentence} More than 10,000 messages wait behind it."),
        many => format!("{sentence} {many} messages wait behind it."),
    }
}

/// What everything in the sequence waits for: `is halted …` or `for message …`. None when nothing is in front.
fn waits(standing: &SequenceStanding, now: OffsetDateTime) -> Option<String> {
    if let (Some(reason), Some(at)) = (&standing.halted_reason, standing.halted_at) {
        let reason = reason.trim_end().trim_end_matches('.');
        return Some(format!(
            "is halted, since {}: {reason}; it goes on {}",
            moment(at, now),
            after_halt(standing.halted_cause.as_deref())
        ));
    }
    let (head, front) = (standing.head_id?, standing.head_since?);
    let awaited = releasing(standing);
    let Some(accepted_at) = standing.head_accepted_at else {
        let state = standing.head_state.as_deref().unwrap_or("queued");
        let own = standing.head_waits_for.as_deref().unwrap_or("its turn");
        let own = own.split("; see: ").next().unwrap_or(own);
        return Some(format!(
            "for message {head} to be {awaited}; it is in front since {}, is {state} and waits for {own}; the timeout starts when \
             it is accepted",
            moment(front, now)
        ));
    };
    let then = match standing.on_timeout.as_str() {
        "proceed" => "then the next one leaves all the same",
        _ => "then it halts",
    };
    let overdue = standing.timeout_at.map_or_else(String::new, |at| {
        let longer = longer_before(standing, now);
        format!("; the timeout comes {}{longer}, {then}", moment(at, now))
    });
    let accepted = moment(accepted_at, now);
    Some(format!(
        "for message {head} to be {awaited}, since its acceptance at {accepted}{overdue}"
    ))
}

/// What a member waits for that is not in front. None when nothing is in front.
pub fn behind(standing: &SequenceStanding, member: i64, now: OffsetDateTime) -> Option<String> {
    let name = &standing.sequence;
    if let (Some(reason), Some(at)) = (&standing.halted_reason, standing.halted_at) {
        return Some(format!(
            "Message {member} waits: its sequence '{name}' is halted since {}: {}; it goes on {}.",
            span(now - at),
            reason.trim_end().trim_end_matches('.'),
            after_halt(standing.halted_cause.as_deref())
        ));
    }
    let head = standing.head_id?;
    let stands = match standing.head_accepted_at {
        None => {
            let state = standing.head_state.as_deref().unwrap_or("queued");
            let own = standing.head_waits_for.as_deref().unwrap_or("its turn");
            let own = own.split("; see: ").next().unwrap_or(own);
            format!("{head} is {state} and waits for {own}")
        }
        Some(accepted_at) => {
            let told = match standing.head_status.as_deref() {
                None => "no status has come yet".to_owned(),
                Some(status) => format!("its status is {status}"),
            };
            let then = match standing.on_timeout.as_str() {
                "proceed" => "the next one leaves all the same",
                _ => "the sequence halts",
            };
            let overdue = match standing.timeout_at {
                Some(at) if at > now => {
                    let longer = longer_before(standing, now);
                    format!("; if it is not, {then} {}{longer}", age(at, now))
                }
                Some(_) => format!("; its time is over: {then} at a worker's next look"),
                None => String::new(),
            };
            format!(
                "{head} was accepted {}, {told}, and must be {}{overdue}",
                age(accepted_at, now),
                releasing(standing)
            )
        }
    };
    Some(format!(
        "Message {member} waits behind message {head} in sequence '{name}': {stands}."
    ))
}

/// Why its time is not over yet, where by the setting of now it would be sooner.
fn longer_before(standing: &SequenceStanding, now: OffsetDateTime) -> &'static str {
    let by_now = (standing.head_accepted_at.zip(standing.delivery_timeout_s))
        .map(|(accepted_at, timeout)| accepted_at + Duration::seconds_f64(timeout));
    // A gate that was to be looked at is looked at again a moment later, while deliveries wait to be applied.
    match (by_now, standing.timeout_at) {
        (Some(by_now), Some(at)) if at > by_now.max(now) + A_MOMENT => {
            ", for the timeout was longer when it came to the front"
        }
        _ => "",
    }
}

/// What ends a halt.
fn after_halt(cause: Option<&str>) -> &'static str {
    match cause {
        Some("failed" | "timeout") => {
            "if that is delivered after all, or by a person's word (sequence resume)"
        }
        Some("uncertain") => {
            "when that is settled (uncertain resolve), or by a person's word (sequence resume)"
        }
        Some(_) | None => "by a person's word (sequence resume)",
    }
}

/// The statuses that would release it, in words.
fn releasing(standing: &SequenceStanding) -> String {
    let kind = standing.head_kind.as_deref().and_then(MessageKind::parse);
    let kind = kind.unwrap_or(MessageKind::Ordinary);
    let Some(last) = kind.last_status() else {
        return "accepted".to_owned();
    };
    let names: Vec<&str> = RISING
        .into_iter()
        .filter(|status| releases(kind, *status) && status.rank() <= last.rank())
        .map(Status::as_str)
        .collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "accepted".to_owned(),
    }
}

/// What is known of the sequence apart from what happened to it.
pub fn facts(standing: &SequenceStanding, eyes: Eyes, now: OffsetDateTime) -> Facts {
    let mut facts = Facts::default();
    facts.add("sender", &standing.sender);
    facts.add("recipient", eyes.recipient(&standing.recipient));
    facts.add_some(
        "in front",
        standing.head_id.map(|id| in_front(standing, id)),
    );
    facts.add_some("since", standing.head_since.map(|at| moment(at, now)));
    facts.add_some("released by", standing.head_id.map(|_| releasing(standing)));
    facts.add_some("timeout", standing.timeout_at.map(|at| moment(at, now)));
    facts.add_some(
        "halted by",
        standing.halted_member.map(|id| format!("message {id}")),
    );
    facts.add_some("halted", standing.halted_at.map(|at| age(at, now)));
    facts.add_some("next", standing.next_id.map(|id| format!("message {id}")));
    facts.add("waiting", waiting(standing));
    facts.add("on failure", &standing.on_failure);
    let timeout = standing.delivery_timeout_s.map(Duration::seconds_f64);
    let lives = "as long as each message lives, and 5 min".to_owned();
    facts.add("delivery timeout", timeout.map_or(lives, span));
    facts.add("on timeout", &standing.on_timeout);
    facts
}

fn in_front(standing: &SequenceStanding, id: i64) -> String {
    let state = standing.head_state.as_deref().unwrap_or("unknown");
    match &standing.head_status {
        Some(status) => format!("message {id}, {state}, status {status}"),
        None => format!("message {id}, {state}"),
    }
}

/// How many wait.
pub fn waiting(standing: &SequenceStanding) -> String {
    match standing.waiting {
        10_001.. => "more than 10,000".to_owned(),
        count => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
    fn idle() -> SequenceStanding {
        SequenceStanding {
            sender: "4711".into(),
            recipient: "+16505551234".into(),
            sequence: "story".into(),
            head_id: None,
            head_since: None,
            head_state: None,
            head_status: None,
            head_waits_for: None,
            head_accepted_at: None,
            head_kind: None,
            delivery_timeout_s: None,
            timeout_at: None,
            on_failure: "halt".into(),
            on_timeout: "halt".into(),
            halted_cause: None,
            halted_member: None,
            halted_reason: None,
            halted_at: None,
            next_id: None,
            waiting: 0,
        }
    }

    fn accepted(kind: &str) -> SequenceStanding {
        SequenceStanding {
            head_id: Some(17),
            head_since: Some(NOW - Duration::minutes(11)),
            head_state: Some("accepted".into()),
            head_accepted_at: Some(NOW - Duration::minutes(10)),
            head_kind: Some(kind.into()),
            timeout_at: Some(NOW + Duration::HOUR),
            waiting: 3,
            ..idle()
        }
    }

    #[test]
    fn an_accepted_head_is_named_with_what_releases_it_and_when_it_is_overdue() {
        assert_eq!(
            sentence(&accepted("ordinary"), Eyes::CLOSED, NOW),
            "Sequence 'story' to +165…34 waits for message 17 to be delivered or read, since its acceptance at \
             2026-03-01 11:50:00 UTC (10 min ago); the timeout comes 2026-03-01 13:00:00 UTC (in 60 min), then it halts. \
             3 messages wait behind it."
        );
        let proceeds = SequenceStanding {
            on_timeout: "proceed".into(),
            ..accepted("reaction")
        };
        let says = sentence(&proceeds, Eyes::CLOSED, NOW);
        assert!(says.contains("message 17 to be sent, since"), "{says}");
        assert!(
            says.contains("then the next one leaves all the same"),
            "{says}"
        );
        let says = sentence(&accepted("voice_note"), Eyes::CLOSED, NOW);
        assert!(says.contains("to be delivered, read or played,"), "{says}");
    }

    #[test]
    fn a_timeout_that_was_shortened_afterwards_is_told_with_the_time_that_counts() {
        let shortened = SequenceStanding {
            delivery_timeout_s: Some(60.0),
            ..accepted("ordinary")
        };
        let says = sentence(&shortened, Eyes::CLOSED, NOW);
        assert!(
            says.contains(
                "(in 60 min), for the timeout was longer when it came to the front, then it halts."
            ),
            "{says}"
        );
        let says = behind(&shortened, 18, NOW).expect("it waits");
        assert!(
            says.ends_with(
                "if it is not, the sequence halts in 60 min, for the timeout was longer when it came to the front."
            ),
            "{says}"
        );
    }

    #[test]
    fn a_head_that_has_not_been_accepted_says_what_it_waits_for_itself() {
        let queued = SequenceStanding {
            head_state: Some("queued".into()),
            head_waits_for: Some("its sender, held: under review".into()),
            head_accepted_at: None,
            timeout_at: None,
            waiting: 1,
            ..accepted("ordinary")
        };
        assert_eq!(
            sentence(&queued, Eyes::CLOSED, NOW),
            "Sequence 'story' to +165…34 waits for message 17 to be delivered or read; it is in front since \
             2026-03-01 11:49:00 UTC (11 min ago), is queued and waits for its sender, held: under review; the timeout starts when \
             it is accepted. One message waits behind it."
        );
    }

    #[test]
    fn a_halt_is_said_with_its_reason_and_its_age() {
        let halted = SequenceStanding {
            halted_cause: Some("failed".into()),
            halted_member: Some(17),
            halted_reason: Some("message 17 failed: (131026) Message undeliverable".into()),
            halted_at: Some(NOW - Duration::minutes(5)),
            waiting: 10_001,
            ..accepted("ordinary")
        };
        assert_eq!(
            sentence(&halted, Eyes::CLOSED, NOW),
            "Sequence 'story' to +165…34 is halted, since 2026-03-01 11:55:00 UTC (5 min ago): message 17 failed: (131026) \
             Message undeliverable; it goes on if that is delivered after all, or by a person's word (sequence resume). More than 10,000 messages wait behind it."
        );
    }

    #[test]
    fn an_idle_sequence_waits_for_nothing() {
        assert_eq!(
            sentence(&idle(), Eyes::CLOSED, NOW),
            "Sequence 'story' to +165…34 waits for nothing: its next message leaves at once."
        );
    }
}
