//! The sentence, the facts and the history, for a message in each of its states.

use time::macros::{datetime, time};
use time::{Duration, OffsetDateTime};

use super::message::{facts, history, standing};
use crate::domain::id::Wamid;
use crate::domain::mask::Eyes;
use crate::store::message::{AcceptanceRow, AttemptRow, LeftOut, Message, StatusRow, Timeline};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
fn message(state: &str) -> Message {
    Message {
        id: 7,
        sender: "4711".into(),
        recipient: "+16505551234".into(),
        state: state.into(),
        status: None,
        wamid: None,
        attempts: 0,
        waiting_for: None,
        error_code: None,
        error_message: None,
        priority: 5,
        due_at: NOW - Duration::MINUTE,
        expires_at: None,
        sequence: None,
        dedup_key: None,
        reference: None,
        created_at: NOW - Duration::HOUR,
        accepted_at: None,
        sent_at: None,
        delivered_at: None,
        read_at: None,
        failed_at: None,
        duplicate: None,
        status_conflict: false,
    }
}

fn accepted(status: Option<&str>) -> Message {
    Message {
        status: status.map(str::to_owned),
        wamid: Some("wamid.HBgLMTY1MDU1NTEyMzQVAg0A".into()),
        attempts: 1,
        accepted_at: Some(NOW - Duration::minutes(10)),
        ..message("accepted")
    }
}

#[test]
fn a_message_that_has_not_ended_says_what_it_waits_for() {
    for (state, awaited, sentence) in [
        (
            "queued",
            "a worker: none has this sender",
            "Message 7 is queued and waits for a worker: none has this sender.",
        ),
        (
            "waiting",
            "message 6 in sequence 'order' to be delivered",
            "Message 7 is waiting for message 6 in sequence 'order' to be delivered.",
        ),
        (
            "sending",
            "the answer to request 1",
            "Message 7 is being sent and waits for the answer to request 1.",
        ),
        (
            "uncertain",
            "a person: its policy is hold; see: wa-outbox uncertain resolve 7",
            "Message 7 is uncertain: its answer was lost and it may have reached WhatsApp. It waits for a person: its \
             policy is hold. See: wa-outbox uncertain resolve 7",
        ),
    ] {
        let message = Message {
            waiting_for: Some(awaited.into()),
            ..message(state)
        };
        assert_eq!(standing(&message, NOW), sentence);
    }
}

#[test]
fn a_message_that_is_not_due_says_when_it_will_be() {
    let message = Message {
        waiting_for: Some("its due time".into()),
        due_at: NOW + Duration::minutes(10),
        ..message("queued")
    };
    assert_eq!(
        standing(&message, NOW),
        "Message 7 is queued, due in 10 min, and waits for its due time."
    );
}

#[test]
fn an_accepted_message_says_what_whatsapp_reported_last() {
    let with = |status, change: fn(&mut Message)| {
        let mut message = accepted(status);
        change(&mut message);
        standing(&message, NOW)
    };
    assert_eq!(
        with(None, |_| ()),
        "Message 7 was accepted by WhatsApp 10 min ago; no status has come since."
    );
    assert_eq!(
        with(None, |message| message.wamid = None),
        "Message 7 was accepted 10 min ago; one of its kind gets no status."
    );
    assert_eq!(
        with(Some("sent"), |message| message.sent_at = Some(NOW)),
        "Message 7 was sent on by WhatsApp just now and is not delivered yet."
    );
    assert_eq!(
        with(Some("delivered"), |message| message.delivered_at =
            Some(NOW - Duration::seconds(4))),
        "Message 7 was delivered 4 s ago."
    );
    assert_eq!(with(Some("played"), |_| ()), "Message 7 was played.");
    assert_eq!(
        with(Some("failed"), |message| {
            message.error_code = Some(131_026);
            message.error_message = Some("Message undeliverable.".into());
        }),
        "Message 7 was accepted by WhatsApp, which then could not deliver it: (131026) Message undeliverable."
    );
}

#[test]
fn an_ended_message_says_why_and_the_code_only_once() {
    let failed = Message {
        error_code: Some(131_009),
        error_message: Some("(131009) Parameter value is not valid".into()),
        failed_at: Some(NOW - Duration::minutes(3)),
        ..message("failed")
    };
    assert_eq!(
        standing(&failed, NOW),
        "Message 7 failed 3 min ago: (131009) Parameter value is not valid."
    );
    let cancelled = |why: &str| Message {
        error_message: Some(why.into()),
        ..message("cancelled")
    };
    assert_eq!(
        standing(&cancelled("cancelled by ada"), NOW),
        "Message 7 was cancelled by ada."
    );
    assert_eq!(
        standing(&cancelled("its recipient is suppressed"), NOW),
        "Message 7 was cancelled: its recipient is suppressed."
    );
    assert_eq!(standing(&message("expired"), NOW), "Message 7 expired.");
}

#[test]
fn a_double_acceptance_and_a_conflict_are_said() {
    let twice = Message {
        duplicate: Some("resend".into()),
        status_conflict: true,
        delivered_at: Some(NOW),
        ..accepted(Some("delivered"))
    };
    assert_eq!(
        standing(&twice, NOW),
        "Message 7 was delivered just now. WhatsApp took it twice: it was sent again while the first answer was lost. \
         WhatsApp reported it both failed and delivered."
    );
}

#[test]
fn facts_hide_recipient_and_wamid_unless_asked() {
    let message = accepted(None);
    let closed = facts(&message, Eyes::CLOSED, NOW).render();
    assert!(closed.contains("+165…34") && closed.contains("wamid.HBg…0A"));
    assert!(!closed.contains("6505551234") && !closed.contains("LMTY1MDU1"));
    let open = facts(&message, Eyes { reveal: true }, NOW).render();
    assert!(open.contains("+16505551234") && open.contains("wamid.HBgLMTY1MDU1NTEyMzQVAg0A"));
}

#[test]
fn the_history_runs_from_the_outbox_to_the_last_status() {
    let lost = AttemptRow {
        attempt: 1,
        begun_at: Some(NOW - Duration::minutes(30)),
        ended_at: NOW - Duration::minutes(29),
        outcome: "uncertain".into(),
        http_status: None,
        error_code: None,
        error_title: None,
        error_details: None,
        fbtrace_id: None,
        note: Some("no answer came in time".into()),
        settled_by: Some("webhook".into()),
        settled_at: Some(NOW - Duration::minutes(20)),
        settled_note: None,
    };
    let delivered = StatusRow {
        status: "delivered".into(),
        occurred_at: NOW - Duration::minutes(25),
        received_at: NOW - Duration::minutes(20),
        error_code: None,
        error_title: None,
        error_details: None,
    };
    let learned = AcceptanceRow {
        wamid: Wamid::from("wamid.HBgLMTY1MDU1NTEyMzQVAg0A"),
        attempt: 1,
        learned_from: "webhook".into(),
        learned_at: NOW - Duration::minutes(20),
    };
    let timeline = Timeline {
        message: accepted(Some("delivered")),
        attempts: vec![lost],
        acceptances: vec![learned],
        statuses: vec![delivered],
        left_out: LeftOut::default(),
    };

    let told = history(&timeline, Some(NOW), Eyes::CLOSED);

    let told: Vec<_> = told
        .iter()
        .map(|event| (event.at.time(), event.what.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (time!(11:00:00), "written into the outbox"),
            (time!(11:30:00), "request 1 begun"),
            (
                time!(11:31:00),
                "request 1 ended: uncertain, no answer came in time"
            ),
            (time!(11:35:00), "status delivered, told 5 min later"),
            (time!(11:40:00), "request 1 settled by webhook"),
            (
                time!(11:40:00),
                "request 1 accepted as wamid.HBg…0A, learned from the webhook"
            ),
        ]
    );
}

#[test]
fn a_status_of_the_second_in_which_the_message_was_written_does_not_come_before_it() {
    let after = |milliseconds| NOW - Duration::MINUTE + Duration::milliseconds(milliseconds);
    let told = |status: &str, received_at| StatusRow {
        status: status.into(),
        occurred_at: after(0),
        received_at,
        error_code: None,
        error_title: None,
        error_details: None,
    };
    let learned = AcceptanceRow {
        wamid: Wamid::from("wamid.HBgLMTY1MDU1NTEyMzQVAg0A"),
        attempt: 1,
        learned_from: "response".into(),
        learned_at: after(350),
    };
    let timeline = Timeline {
        message: Message {
            created_at: after(300),
            ..accepted(Some("delivered"))
        },
        attempts: Vec::new(),
        acceptances: vec![learned],
        statuses: vec![told("sent", after(400)), told("delivered", after(400))],
        left_out: LeftOut::default(),
    };

    let told = history(&timeline, None, Eyes::CLOSED);
    let told: Vec<&str> = told.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(
        told,
        [
            "written into the outbox",
            "request 1 accepted as wamid.HBg…0A, learned from the response",
            "status sent",
            "status delivered"
        ]
    );
}
