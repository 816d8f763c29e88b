use std::sync::Arc;

use time::OffsetDateTime;

use super::*;
use crate::domain::hold::Cause;
use crate::domain::id::Epoch;
use crate::store::lease::HeldSender;
use crate::store::sender::Sender;

const PROMO: &str =
    r#"{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}"#;
const OTHER: &str = r#"{"type":"template","template":{"name":"promo","language":{"code":"de"}}}"#;
const TEXT: &str = r#"{"type":"text","text":{"body":"promo"}}"#;

fn promo() -> TemplateKey {
    TemplateKey::new("promo", Some("en_US"))
}

/// A hold of the template; one that an answer made is due to be tried.
fn template_hold(hold: i64, cause: TemplateCause) -> TemplateHold {
    TemplateHold {
        hold,
        sender: "1".to_owned(),
        template: "promo".to_owned(),
        language: Some("en_US".to_owned()),
        cause: cause.as_str().to_owned(),
        reason: "paused".to_owned(),
        code: None,
        held_by: "wa-outbox".to_owned(),
        held_at: OffsetDateTime::UNIX_EPOCH,
        held_until: None,
        probes: 0,
        is_probing: false,
        is_probe_due: cause != TemplateCause::Operator,
        released_at: None,
        released_by: None,
        released_why: None,
    }
}

fn sender_hold(cause: Cause) -> SenderHold {
    SenderHold {
        sender: "1".to_owned(),
        cause,
        reason: "expired".to_owned(),
        by: "wa-outbox".to_owned(),
        since: OffsetDateTime::UNIX_EPOCH,
        until: None,
        code: None,
        fingerprint: None,
        probe_at: None,
        probes: 0,
        probing_until: None,
        is_probe_due: true,
        is_probing: false,
    }
}

/// A sender that these holds keep.
pub(in crate::dispatch) fn held(
    sender_hold: Option<SenderHold>,
    template_holds: Vec<TemplateHold>,
) -> Held {
    let sender = Sender {
        sender: "1".to_owned(),
        provider: "cloud_api".to_owned(),
        base_url: String::new(),
        path: None,
        api_version: String::new(),
        credential: String::new(),
        auth_header: String::new(),
        auth_scheme: None,
        ca_file: None,
        callback_echo: None,
        rate_per_second: 1.0,
        pair_period_ms: 0,
        pair_burst: 1,
        max_in_flight: None,
        on_uncertain: None,
        reconcile_window_s: None,
        validate: "refuse".to_owned(),
        strict: false,
        on_failure: None,
        delivery_timeout_s: None,
        on_timeout: None,
        default_country: None,
        is_default: true,
        held_reason: None,
        held_until: None,
        held_by: None,
    };
    Held {
        held: Arc::new(HeldSender {
            sender,
            epoch: Epoch(1),
            problem: None,
            slowed: None,
            silence_ended_at: None,
        }),
        endpoint: None,
        fingerprint: None,
        sender_hold,
        template_holds,
        campaigns: Vec::new(),
    }
}

/// With these holds of the template, taken up now.
fn resting(template_holds: Vec<TemplateHold>) -> (Resting, Instant) {
    let (mut resting, now) = (Resting::default(), Instant::now());
    resting.take_up(&held(None, template_holds), now);
    (resting, now)
}

#[test]
fn a_held_template_keeps_its_own_messages_and_no_others() {
    let (resting, now) = resting(vec![template_hold(7, TemplateCause::Answer)]);
    assert_eq!(resting.keeps(PROMO, now), Kept::Aside(7));
    assert_eq!(resting.keeps(OTHER, now), Kept::No);
    assert_eq!(resting.keeps(TEXT, now), Kept::No);
    assert_eq!(resting.template_hold(7).map(|hold| hold.hold), Some(7));
    assert!(resting.template_hold(8).is_none());
}

#[test]
fn a_refused_template_is_kept_back_at_once_until_its_hold_shows_and_no_longer() {
    let (mut resting, now) = resting(Vec::new());
    resting.refuse(promo(), now);
    assert_eq!(resting.keeps(PROMO, now), Kept::UntilItsHoldShows);
    assert_eq!(resting.keeps(OTHER, now), Kept::No);

    let late = now + HOLD_SHOWS_WITHIN;
    assert_eq!(resting.keeps(PROMO, late), Kept::No, "it was not written");

    resting.take_up(&held(None, Vec::new()), now);
    assert_eq!(resting.keeps(PROMO, now), Kept::UntilItsHoldShows);
    let shown = vec![template_hold(7, TemplateCause::Answer)];
    resting.take_up(&held(None, shown), now);
    assert_eq!(resting.keeps(PROMO, now), Kept::Aside(7));
    resting.take_up(&held(None, Vec::new()), now);
    assert_eq!(resting.keeps(PROMO, now), Kept::No, "it was released");
}

#[test]
fn a_trial_is_asked_for_once_and_lets_one_message_leave() {
    let of = OnTrial::Template(7);
    let (mut resting, now) = resting(vec![template_hold(7, TemplateCause::Answer)]);
    assert_eq!(resting.wanted(now), [of]);
    assert_eq!(resting.wanted(now), [], "it is asked for already");
    assert_eq!(resting.keeps(PROMO, now), Kept::Aside(7), "not granted yet");

    resting.answered(of, true);
    assert_eq!(resting.keeps(PROMO, now), Kept::Tries(7));
    resting.tries([of].into_iter(), MessageId(1));
    assert_eq!(resting.keeps(PROMO, now), Kept::Aside(7), "one is out");
    assert!(resting.is_trying(of, MessageId(1)) && !resting.is_trying(of, MessageId(2)));

    assert_eq!(resting.came_back(MessageId(2), false), []);
    assert_eq!(resting.came_back(MessageId(1), false), [of]);
    assert_eq!(
        resting.came_back(MessageId(1), false),
        [],
        "it is told once"
    );
    assert_eq!(resting.wanted(now), [of], "the next one may be asked for");
}

#[test]
fn a_hold_whose_trial_was_accepted_is_not_tried_again_before_it_is_seen_to_end() {
    let of = OnTrial::Template(7);
    let (mut resting, now) = resting(vec![template_hold(7, TemplateCause::Answer)]);
    resting.wanted(now);
    resting.answered(of, true);
    resting.tries([of].into_iter(), MessageId(1));

    assert_eq!(resting.came_back(MessageId(1), true), [of]);
    assert!(resting.is_tried(of));
    assert_eq!(resting.wanted(now), []);

    resting.take_up(&held(None, Vec::new()), now);
    assert!(!resting.is_tried(of));
}

#[test]
fn a_trial_that_the_database_refuses_is_asked_for_again() {
    let (mut resting, now) = resting(vec![template_hold(7, TemplateCause::Answer)]);
    resting.wanted(now);
    resting.answered(OnTrial::Template(7), false);
    assert_eq!(resting.keeps(PROMO, now), Kept::Aside(7));
    assert_eq!(resting.wanted(now), [OnTrial::Template(7)]);
}

#[test]
fn a_trial_whose_message_did_not_leave_is_anothers() {
    let of = OnTrial::Template(7);
    let (mut resting, now) = resting(vec![template_hold(7, TemplateCause::Answer)]);
    resting.wanted(now);
    resting.answered(of, true);
    resting.tries([of].into_iter(), MessageId(1));
    resting.unused(MessageId(2));
    assert!(!resting.may_try(of, now));
    resting.unused(MessageId(1));
    assert!(resting.may_try(of, now));
}

#[test]
fn a_trial_leaves_only_while_its_answer_can_still_be_heard_and_is_forgotten_with_its_time() {
    let of = OnTrial::Template(7);
    let holds = vec![template_hold(7, TemplateCause::Answer)];
    let (mut resting, now) = resting(holds.clone());
    resting.wanted(now);
    resting.answered(of, true);
    assert!(resting.may_try(of, now));
    assert!(!resting.may_try(of, now + PROBE_HEARD_WITHIN / 2));

    resting.take_up(&held(None, holds.clone()), now + PROBE_HEARD_WITHIN / 2);
    assert_eq!(resting.wanted(now), [], "it may still come back");
    resting.take_up(&held(None, holds), now + PROBE_HEARD_WITHIN);
    assert_eq!(resting.wanted(now), [of]);
}

#[test]
fn a_trial_ends_with_its_hold_and_where_a_person_holds_now() {
    let of = OnTrial::Template(7);
    for now_stands in [
        vec![],
        vec![template_hold(8, TemplateCause::Answer)],
        vec![template_hold(7, TemplateCause::Operator)],
    ] {
        let (mut resting, now) = resting(vec![template_hold(7, TemplateCause::Answer)]);
        resting.wanted(now);
        resting.answered(of, true);
        resting.take_up(&held(None, now_stands), now);
        assert!(!resting.may_try(of, now));
    }
}

#[test]
fn a_senders_hold_is_tried_only_where_trying_may_help() {
    let now = Instant::now();
    for (cause, wanted) in [
        (Cause::Token, vec![OnTrial::Sender]),
        (Cause::Account, vec![]),
        (Cause::Operator, vec![]),
    ] {
        let mut resting = Resting::default();
        resting.take_up(&held(Some(sender_hold(cause)), Vec::new()), now);
        assert_eq!(resting.wanted(now), wanted, "{cause}");
    }

    let mut resting = Resting::default();
    resting.take_up(&held(Some(sender_hold(Cause::Token)), Vec::new()), now);
    resting.wanted(now);
    resting.answered(OnTrial::Sender, true);
    resting.take_up(&held(Some(sender_hold(Cause::Operator)), Vec::new()), now);
    assert!(!resting.may_try(OnTrial::Sender, now), "a person holds now");
}
