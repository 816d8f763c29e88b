//! Row by row: a code, the HTTP status it comes with, and what it must lead to, both in an answer and in a
//! `failed` status. Written from Meta's pages, not from the table; a row of the table without a line here
//! fails the tests.

use std::time::Duration;

use super::*;
use crate::domain::outcome::{Doubt, Outcome};
use crate::provider::verdict::{Expected, Happened, judge};
use crate::provider::wire::Recipient;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    RejectedMessage,
    RejectedRecipient,
    RejectedMismatch,
    HeldSender,
    HeldTemplate,
    ThrottledSender,
    ThrottledAccount,
    ThrottledPair,
    /// Seconds.
    Transient(u64),
    Uncertain,
    /// Not about sending: rejected on this 4xx.
    ByStatus,
}
use Want::*;

#[rustfmt::skip]
const CLOUD: &[(i64, u16, Want)] = &[
    (0, 401, HeldSender), (1, 400, Uncertain), (1, 500, Uncertain), (2, 503, Transient(300)), (2, 500, Transient(300)),
    (3, 500, HeldSender), (4, 400, ThrottledAccount), (4, 429, ThrottledAccount), (10, 403, HeldSender), (33, 400, HeldSender),
    (100, 400, RejectedMessage), (100, 422, RejectedMessage), (104, 401, HeldSender), (190, 401, HeldSender),
    (200, 403, HeldSender), (230, 403, HeldSender), (299, 403, HeldSender), (368, 403, HeldSender), (613, 429, ThrottledAccount),
    (803, 404, HeldSender), (1026, 400, RejectedRecipient), (80007, 400, ThrottledAccount), (130403, 400, RejectedRecipient),
    (130429, 400, ThrottledSender), (130429, 429, ThrottledSender), (130472, 400, RejectedRecipient), (130497, 403, RejectedRecipient),
    (131000, 500, Uncertain), (131000, 400, Uncertain), (131005, 403, HeldSender), (131008, 400, RejectedMessage),
    (131009, 400, RejectedMessage), (131014, 400, RejectedMessage), (131016, 500, Transient(30)), (131016, 400, Transient(30)),
    (131020, 400, RejectedRecipient), (131021, 400, RejectedRecipient), (131026, 400, RejectedRecipient), (131027, 400, Uncertain),
    (131030, 400, RejectedRecipient), (131031, 403, HeldSender), (131037, 400, HeldSender), (131041, 400, RejectedRecipient),
    (131042, 400, HeldSender), (131044, 400, HeldSender), (131045, 500, HeldSender), (131047, 400, RejectedMessage),
    (131048, 400, HeldSender), (131049, 400, RejectedRecipient), (131050, 400, RejectedRecipient), (131051, 400, RejectedMessage),
    (131052, 400, RejectedMessage), (131053, 400, RejectedMessage), (131055, 400, RejectedMessage), (131056, 400, ThrottledPair),
    (131056, 403, ThrottledPair), (131057, 500, Transient(60)), (131059, 400, ByStatus), (131060, 400, ByStatus),
    (131061, 400, RejectedMessage), (131062, 400, RejectedMessage), (131063, 400, HeldTemplate), (131064, 400, HeldSender),
    (131201, 400, ByStatus), (131202, 400, ByStatus), (131204, 400, ByStatus), (131207, 403, RejectedRecipient),
    (131208, 429, ThrottledSender), (131209, 400, ByStatus), (131210, 400, ByStatus), (131211, 400, ByStatus), (131212, 400, RejectedMessage),
    (132000, 400, RejectedMismatch), (132001, 404, HeldTemplate), (132005, 400, RejectedMessage), (132007, 400, RejectedMessage),
    (132008, 400, RejectedMessage), (132012, 400, RejectedMismatch), (132015, 400, HeldTemplate), (132016, 400, HeldTemplate),
    (132018, 400, RejectedMessage), (132068, 400, HeldTemplate), (132069, 400, HeldTemplate), (133000, 500, HeldSender),
    (133004, 503, Transient(30)), (133005, 400, HeldSender), (133006, 400, HeldSender), (133008, 400, HeldSender),
    (133009, 400, HeldSender), (133010, 400, HeldSender), (133015, 400, HeldSender), (133016, 400, HeldSender),
    (134011, 400, HeldSender), (134100, 400, RejectedMessage), (134101, 400, Transient(600)), (134102, 500, HeldTemplate),
    (135000, 400, RejectedMessage), (137000, 400, RejectedRecipient), (138000, 400, ByStatus), (138006, 400, ByStatus),
    (138018, 400, ByStatus), (139000, 400, ByStatus), (139102, 400, ByStatus), (147000, 400, ByStatus), (2388000, 400, ByStatus),
    (2388093, 400, ByStatus), (2494100, 400, Uncertain), (2494100, 503, Uncertain), (2593000, 400, ByStatus), (2593108, 400, ByStatus),
];

#[rustfmt::skip]
const ON_PREMISES: &[(i64, u16, Want)] = &[
    (400, 400, RejectedMessage), (401, 400, RejectedMessage), (402, 400, HeldSender), (408, 400, RejectedMessage),
    (410, 400, RejectedMessage), (429, 400, ThrottledSender), (430, 400, HeldSender), (432, 400, HeldSender), (433, 400, HeldSender),
    (470, 400, RejectedMessage), (471, 400, HeldSender), (472, 400, RejectedRecipient), (480, 400, RejectedRecipient),
    (500, 500, Uncertain), (500, 400, Uncertain), (1000, 500, Uncertain), (1000, 400, Uncertain), (1001, 400, RejectedMessage),
    (1002, 400, RejectedMessage), (1003, 400, RejectedMessage), (1004, 400, RejectedMessage), (1005, 401, HeldSender), (1005, 403, HeldSender),
    (1006, 404, RejectedRecipient), (1007, 400, RejectedRecipient), (1008, 400, RejectedMessage), (1009, 400, RejectedMessage),
    (1010, 400, RejectedMessage), (1011, 500, Transient(30)), (1012, 400, RejectedRecipient), (1013, 404, RejectedRecipient),
    (1014, 500, Transient(30)), (1015, 429, ThrottledSender), (1016, 503, Transient(30)), (1017, 500, Transient(30)),
    (1018, 500, Transient(30)), (1021, 400, RejectedRecipient), (1022, 400, HeldSender), (1023, 500, Transient(30)),
    (1025, 403, HeldSender), (1026, 400, RejectedRecipient), (1031, 403, HeldSender), (2000, 400, RejectedMismatch),
    (2001, 404, HeldTemplate), (2002, 400, RejectedMessage), (2003, 400, RejectedMessage), (2004, 400, RejectedMessage),
    (2005, 400, RejectedMessage), (2007, 400, RejectedMessage), (2008, 400, RejectedMessage), (2009, 400, RejectedMessage),
    (2010, 400, RejectedMessage), (2011, 400, RejectedMessage), (2012, 400, RejectedMismatch),
    // Cloud codes that a provider of this shape passes through.
    (131026, 400, RejectedRecipient), (190, 401, HeldSender), (100, 400, RejectedMessage),
];

fn of_class(class: Class) -> Want {
    match class {
        Class::Rejected(Fault::Message) => RejectedMessage,
        Class::Rejected(Fault::Recipient) => RejectedRecipient,
        Class::Rejected(Fault::TemplateMismatch) => RejectedMismatch,
        Class::Held(HoldScope::Sender) => HeldSender,
        Class::Held(HoldScope::Template) => HeldTemplate,
        Class::Throttled(ThrottleScope::Sender) => ThrottledSender,
        Class::Throttled(ThrottleScope::Account) => ThrottledAccount,
        Class::Throttled(ThrottleScope::Pair) => ThrottledPair,
        Class::Transient { at_least } => Transient(at_least.as_secs()),
        Class::Uncertain => Want::Uncertain,
        Class::NotAboutSending => ByStatus,
        Class::Unknown => panic!("the code is in no table"),
    }
}

fn answer_of(code: i64, status: u16, dialect: Dialect) -> Outcome {
    let body = match dialect {
        Dialect::Cloud => format!(r#"{{"error":{{"message":"(#{code}) x","code":{code}}}}}"#),
        Dialect::OnPremises => format!(r#"{{"errors":[{{"code":{code},"title":"x"}}]}}"#),
    };
    let happened = Happened::Answer {
        status,
        retry_after: None,
        body: body.as_bytes(),
        secrets: &crate::domain::text::Secrets::default(),
    };
    judge(
        &happened,
        &Expected::Message(Recipient::Phone("+16505551234")),
    )
}

fn leads_to(outcome: &Outcome, want: Want) -> bool {
    match (outcome, want) {
        (
            Outcome::Rejected(_),
            RejectedMessage | RejectedRecipient | RejectedMismatch | ByStatus,
        ) => true,
        (Outcome::Held { scope, .. }, HeldSender) => *scope == HoldScope::Sender,
        (Outcome::Held { scope, .. }, HeldTemplate) => *scope == HoldScope::Template,
        (Outcome::Throttled { scope, .. }, ThrottledSender) => *scope == ThrottleScope::Sender,
        (Outcome::Throttled { scope, .. }, ThrottledAccount) => *scope == ThrottleScope::Account,
        (Outcome::Throttled { scope, .. }, ThrottledPair) => *scope == ThrottleScope::Pair,
        (Outcome::Transient { at_least, .. }, Transient(seconds)) => {
            *at_least == Duration::from_secs(seconds)
        }
        (Outcome::Uncertain(Doubt::ServerFailed(_)), Want::Uncertain) => true,
        _ => false,
    }
}

fn every_line_holds(lines: &[(i64, u16, Want)], dialect: Dialect) {
    for &(code, status, want) in lines {
        assert_eq!(
            of_class(classify(code, None, dialect)),
            want,
            "{dialect:?} {code}"
        );
        let outcome = answer_of(code, status, dialect);
        assert!(
            leads_to(&outcome, want),
            "{dialect:?} {code} on {status}: {outcome:?}"
        );
    }
}

fn every_row_has_a_line(lines: &[(i64, u16, Want)], dialect: Dialect) {
    for row in table(dialect) {
        assert!(
            lines
                .iter()
                .any(|(code, ..)| (row.first..=row.last).contains(code)),
            "{dialect:?} {} is not tested",
            row.first
        );
    }
}

#[test]
fn every_cloud_code_leads_where_meta_says() {
    every_line_holds(CLOUD, Dialect::Cloud);
    every_row_has_a_line(CLOUD, Dialect::Cloud);
}

#[test]
fn every_on_premises_code_leads_where_meta_says() {
    every_line_holds(ON_PREMISES, Dialect::OnPremises);
    every_row_has_a_line(ON_PREMISES, Dialect::OnPremises);
}

#[test]
fn subcode_33_of_code_100_blames_the_sender_and_no_other_code() {
    assert_eq!(classify(100, Some(33), Dialect::Cloud), HOLD_SENDER);
    assert_eq!(classify(100, Some(2018001), Dialect::Cloud), MESSAGE);
    assert_eq!(classify(131026, Some(33), Dialect::Cloud), RECIPIENT);
}

#[test]
fn codes_of_one_dialect_mean_nothing_in_the_other() {
    for code in [400, 401, 403, 408, 429, 470, 500, 1000, 1015, 2000] {
        assert_eq!(
            classify(code, None, Dialect::Cloud),
            Class::Unknown,
            "{code}"
        );
    }
}

#[test]
fn a_code_between_two_known_ones_is_unknown() {
    for code in [
        -1,
        5,
        34,
        199,
        300,
        131001,
        138019,
        2494099,
        i64::MAX,
        i64::MIN,
    ] {
        assert_eq!(
            classify(code, None, Dialect::Cloud),
            Class::Unknown,
            "{code}"
        );
        assert_eq!(
            classify(code, None, Dialect::OnPremises),
            Class::Unknown,
            "{code}"
        );
    }
}

#[test]
fn the_tables_are_in_order_without_overlap_and_speak_to_people() {
    for dialect in [Dialect::Cloud, Dialect::OnPremises] {
        let rows = table(dialect);
        assert!(rows.iter().all(|row| row.first <= row.last));
        assert!(
            rows.windows(2).all(|pair| pair[0].last < pair[1].first),
            "{dialect:?}"
        );
        for row in rows {
            assert!(
                !row.title.is_empty() && !row.source.is_empty(),
                "{}",
                row.first
            );
            assert!(
                row.remedy.ends_with('.') && row.remedy.len() <= 120,
                "{}",
                row.first
            );
        }
    }
}

#[test]
fn a_person_is_told_what_a_code_is_and_what_to_do() {
    let entry = explain(131047, None, Dialect::Cloud).expect("is known");
    assert_eq!(entry.title, "Re-engagement message");
    assert!(entry.remedy.contains("template"));
    assert_eq!(entry.class.to_string(), "rejected: the message");
}

#[test]
fn the_two_tables_contradict_each_other_nowhere() {
    for entry in table(Dialect::OnPremises) {
        for code in entry.first..=entry.last {
            let cloud = classify(code, None, Dialect::Cloud);
            assert!(cloud == Class::Unknown || cloud == entry.class, "{code}");
        }
    }
}
