use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// A sender that sends 78 of 80 a second.
pub(crate) fn busy() -> SenderStanding {
    SenderStanding {
        sender: "4711".into(),
        credential: "env:TOKEN".into(),
        base_url: "https://graph.facebook.com".into(),
        rate_per_second: 80.0,
        held_reason: None,
        held_by: None,
        held_at: None,
        held_until: None,
        held_cause: None,
        held_code: None,
        probe_at: None,
        probes: 0,
        probing_until: None,
        released_at: None,
        released_by: None,
        released_why: None,
        worker: Some("ops1-7".into()),
        worker_id: Some(7),
        epoch: 3,
        problem: None,
        workers: 2,
        said_at: Some(NOW - Duration::seconds(1)),
        rate_now: Some(78.0),
        rate_limit: Some(80.0),
        limit_source: Some("rate_per_second of the sender".into()),
        in_flight: Some(12),
        at_hand: Some(400),
        breaker: Some("closed".into()),
        breaker_until: None,
        slow_until: None,
        last_error: None,
        last_error_at: None,
        due: 500,
        queued: 10_001,
        counted_at_most: COUNTED_AT_MOST,
        oldest_due_at: Some(NOW - Duration::minutes(12)),
        next_due_at: None,
        held_templates: 0,
        resting_campaigns: 0,
        now: NOW,
    }
}

/// One whose token has expired.
pub(crate) fn held() -> SenderStanding {
    SenderStanding {
        held_reason: Some("Access token has expired".into()),
        held_by: Some("wa-outbox".into()),
        held_at: Some(NOW - Duration::minutes(12)),
        held_cause: Some("token".into()),
        held_code: Some(190),
        probe_at: Some(NOW + Duration::seconds(48)),
        ..busy()
    }
}

fn says(standing: &SenderStanding) -> String {
    Reading(standing).sentence()
}

#[test]
fn a_sender_that_sends_says_how_fast() {
    assert_eq!(says(&busy()), "Sender 4711 sends 78 of 80 a second.");
    assert_eq!(Reading(&busy()).stuck_for(), None);
}

#[test]
fn a_hold_says_who_since_when_why_and_what_ends_it() {
    assert_eq!(
        says(&held()),
        "Sender 4711 is held since 12 min by wa-outbox: its token is not accepted: Access token has expired (190); \
         it tries one message again in 48 s, or at once when the token at env:TOKEN changes."
    );
    let probing = SenderStanding {
        probing_until: Some(NOW + Duration::seconds(100)),
        ..held()
    };
    assert!(says(&probing).ends_with("; it is trying one message at this moment."));
    let by_ada = SenderStanding {
        held_reason: Some("under review".into()),
        held_by: Some("ada".into()),
        held_cause: Some("operator".into()),
        held_code: None,
        probe_at: None,
        ..held()
    };
    assert_eq!(
        says(&by_ada),
        "Sender 4711 is held since 12 min by ada: under review; release it: wa-outbox sender release 4711."
    );
    let for_a_time = SenderStanding {
        held_until: Some(NOW + Duration::minutes(3)),
        ..by_ada
    };
    assert!(says(&for_a_time).ends_with(": under review; it goes on in 3 min."));
    let over = SenderStanding {
        held_until: Some(NOW),
        ..for_a_time
    };
    assert_eq!(says(&over), "Sender 4711 sends 78 of 80 a second.");
}

#[test]
fn what_stands_in_the_way_is_named_from_the_outside_in() {
    let slowed = SenderStanding {
        slow_until: Some(NOW + Duration::seconds(8)),
        ..busy()
    };
    let cut_off = SenderStanding {
        breaker: Some("open".into()),
        breaker_until: Some(NOW + Duration::seconds(4)),
        ..slowed.clone()
    };
    let unheard = SenderStanding {
        said_at: Some(NOW - Duration::seconds(11)),
        ..cut_off.clone()
    };
    let stopped = SenderStanding {
        problem: Some("env:TOKEN is empty".into()),
        ..unheard.clone()
    };
    let alone = SenderStanding {
        worker: None,
        ..stopped.clone()
    };
    let nobody = SenderStanding {
        workers: 0,
        ..alone.clone()
    };
    for (standing, sentence) in [
        (
            &slowed,
            "Sender 4711 waits: WhatsApp told it to slow down for another 8 s.",
        ),
        (
            &cut_off,
            "Sender 4711 cannot connect to graph.facebook.com: the circuit is open, next try in 4 s.",
        ),
        (
            &unheard,
            "Sender 4711 is worked by ops1-7, which last told 11 s ago how it goes.",
        ),
        (
            &stopped,
            "Sender 4711 cannot be worked: env:TOKEN is empty.",
        ),
        (
            &alone,
            "Sender 4711 waits for a worker: those that run have not taken it yet.",
        ),
        (
            &nobody,
            "Sender 4711 waits for a worker: none runs; start one: wa-outbox run.",
        ),
    ] {
        assert_eq!(says(standing), sentence);
        let waits = Reading(standing).stuck_for();
        assert_eq!(waits, Some(Duration::minutes(12)), "{sentence}");
    }
}

#[test]
fn a_sender_without_a_due_message_says_when_the_next_one_is() {
    let mut idle = SenderStanding {
        due: 0,
        in_flight: Some(0),
        oldest_due_at: None,
        ..busy()
    };
    assert_eq!(says(&idle), "Sender 4711 has nothing due.");
    idle.held_templates = 2;
    assert_eq!(
        says(&idle),
        "Sender 4711 has nothing due; what it has queued (more than 10,000) waits for a template that is held."
    );
    (idle.held_templates, idle.resting_campaigns, idle.queued) = (0, 1, 4_391);
    assert_eq!(
        says(&idle),
        "Sender 4711 has nothing due; what it has queued (4,391) waits for a campaign that does not run now."
    );
    idle.next_due_at = Some(NOW + Duration::minutes(5));
    assert_eq!(
        says(&idle),
        "Sender 4711 has nothing due; its next message is due in 5 min."
    );
    assert_eq!(Reading(&idle).stuck_for(), None);
}

#[test]
fn facts_bound_their_counts_and_own_up_to_old_figures() {
    let old = SenderStanding {
        said_at: Some(NOW - Duration::seconds(30)),
        ..busy()
    };
    let mut facts = Facts::default();
    Reading(&old).facts(&mut facts, &[]);
    let facts = facts.render();
    assert!(facts.contains("stale, of "), "{facts}");
    assert!(facts.contains("more than 10,000"), "{facts}");
    assert!(facts.contains("ops1-7 (worker 7)"), "{facts}");
}
