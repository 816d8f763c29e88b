use serde_json::{Value, json};
use time::macros::datetime;

use super::super::Delivery;
use crate::domain::account_news::{About, AccountNews, Effect, OurNumber};
use crate::domain::hold::{Cause, TemplateKey};
use crate::domain::id::SenderId;

const ACCOUNT: &str = "102290129340398";

/// A change in an entry of the account, of 2026-11-20 12:00 UTC.
fn read(field: &str, value: Value) -> Delivery {
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": ACCOUNT, "time": 1_795_176_000,
        "changes": [{"field": field, "value": value}]}]});
    Delivery::read(body.to_string().as_bytes()).expect("JSON")
}

fn news(field: &str, value: Value) -> AccountNews {
    let mut read = read(field, value);
    assert_eq!((read.bad.len(), read.others), (0, 0));
    read.account_news.pop().expect("news")
}

fn effect(value: Value) -> Effect {
    news("account_update", value).effect
}

/// Whether a change was understood, and nothing follows from it.
fn is_only_counted(field: &str, value: Value) -> bool {
    let read = read(field, value);
    read.bad.is_empty() && read.account_news.is_empty() && read.others == 1
}

#[test]
fn a_flagged_number_is_bad_news_of_that_number() {
    let told = news(
        "phone_number_quality_update",
        json!({"display_phone_number": "+1 555-078-3881", "event": "FLAGGED", "current_limit": "TIER_10K"}),
    );
    assert_eq!(
        told,
        AccountNews {
            account: Some(ACCOUNT.to_owned()),
            about: About::Number("15550783881".to_owned()),
            at: Some(datetime!(2026-11-20 12:00 UTC)),
            reason: "WhatsApp has flagged its number: the quality of what it sends is low"
                .to_owned(),
            effect: Effect::Warns,
        }
    );
    assert!(!format!("{told:?}").contains("1555"), "{told:?}");
}

#[test]
fn a_lowered_limit_and_a_red_quality_are_bad_news_and_what_is_raised_is_none() {
    let of = |value: Value| news("phone_number_quality_update", value).reason;
    let lowered = json!({"display_phone_number": "15550783881", "event": "DOWNGRADE", "old_limit": "TIER_2K",
        "max_daily_conversations_per_business": "TIER_250"});
    assert_eq!(
        of(lowered),
        "WhatsApp has lowered the messaging limit of its number to TIER_250"
    );
    let red =
        json!({"display_phone_number": "15550783881", "event": "QUALITY", "quality_rating": "RED"});
    assert_eq!(of(red), "WhatsApp rates the quality of its number RED");
    for event in [
        "UPGRADE",
        "UNFLAGGED",
        "THROUGHPUT_UPGRADE",
        "ONBOARDING",
        "SOMETHING_NEW",
    ] {
        let value = json!({"display_phone_number": "15550783881", "event": event, "current_limit": "TIER_1K"});
        assert!(
            is_only_counted("phone_number_quality_update", value),
            "{event}"
        );
    }
}

#[test]
fn a_template_that_is_rated_red_is_bad_news_of_that_template_under_either_field() {
    let rated = |score: &str| {
        json!({"previous_quality_score": "GREEN", "new_quality_score": score,
        "message_template_id": 1, "message_template_name": "promo", "message_template_language": "en-US"})
    };
    for field in [
        "message_template_quality_update",
        "message_template_status_update",
    ] {
        let told = news(field, rated("RED"));
        assert_eq!(
            (told.about, told.effect),
            (
                About::Template(TemplateKey::new("promo", Some("en_US"))),
                Effect::Warns
            )
        );
        for score in ["YELLOW", "GREEN", "UNKNOWN"] {
            assert!(is_only_counted(field, rated(score)), "{score}");
        }
    }
}

#[test]
fn only_an_account_that_can_send_nothing_stops_its_senders() {
    let ban =
        |state: &str| json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": state}});
    let (cause, until) = (Cause::Account, None);
    assert_eq!(effect(ban("DISABLE")), Effect::Stops { cause, until });
    assert_eq!(effect(ban("SCHEDULE_FOR_DISABLE")), Effect::Warns);
    assert_eq!(effect(ban("REINSTATE")), Effect::Restores);
    assert!(is_only_counted("account_update", ban("SOMETHING_NEW")));
    assert_eq!(
        effect(json!({"event": "ACCOUNT_DELETED"})),
        Effect::Stops { cause, until }
    );

    let restricted = |kinds: &[&str]| {
        let one = |kind: &&str| json!({"restriction_type": kind, "expiration": 1_795_262_400});
        let all: Vec<Value> = kinds.iter().map(one).collect();
        json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": all})
    };
    let (begin, answer) = (
        "RESTRICTED_BIZ_INITIATED_MESSAGING",
        "RESTRICTED_CUSTOMER_INITIATED_MESSAGING",
    );
    let one = news("account_update", restricted(&[begin]));
    assert_eq!(one.effect, Effect::Warns);
    assert_eq!(
        one.reason,
        "WhatsApp has restricted its account from beginning conversations until 2026-11-21 12:00Z"
    );
    let (cause, until) = (Cause::Policy, Some(datetime!(2026-11-21 12:00 UTC)));
    assert_eq!(
        effect(restricted(&[
            begin,
            "RESTRICTED_ADD_PHONE_NUMBER_ACTION",
            answer
        ])),
        Effect::Stops { cause, until }
    );
}

#[test]
fn what_an_account_may_not_do_with_calls_or_new_numbers_concerns_no_message() {
    let restricted = |kind: &str| json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": [{"restriction_type": kind}]});
    for kind in [
        "RESTRICTED_BUSINESS_INITIATED_CALLING",
        "RESTRICTED_ADD_PHONE_NUMBER_ACTION",
        "RESTRICTED_UTILITY_TEMPLATES",
    ] {
        assert!(
            is_only_counted("account_update", restricted(kind)),
            "{kind}"
        );
    }
    let broken = |kind: &str| json!({"event": "ACCOUNT_VIOLATION", "phone_number": "16505551111", "violation_info": {"violation_type": kind}});
    assert!(is_only_counted(
        "account_update",
        broken("LOW_CALLING_QUALITY")
    ));
    let told = news("account_update", broken("ALCOHOL"));
    assert_eq!(
        (told.about, told.effect),
        (About::Number("16505551111".to_owned()), Effect::Warns)
    );
    assert_eq!(
        told.reason,
        "WhatsApp says that its account has broken a policy: ALCOHOL"
    );
}

#[test]
fn news_of_nobody_is_counted_and_what_cannot_be_read_is_bad() {
    let body = json!({"entry": [{"id": "0", "changes": [{"field": "account_update", "value": {"event": "ACCOUNT_DELETED", "phone_number": "PN"}}]}]});
    let read_it = Delivery::read(body.to_string().as_bytes()).expect("JSON");
    assert_eq!((read_it.account_news.len(), read_it.others), (0, 1));
    let reason = |field: &str, value: Value| read(field, value).bad.first().map(|bad| bad.reason);
    assert_eq!(
        reason("account_update", json!([])),
        Some("is not an object")
    );
    assert_eq!(reason("account_update", json!({})), Some("has no event"));
    assert_eq!(
        reason(
            "message_template_quality_update",
            json!({"new_quality_score": "RED"})
        ),
        Some("names no template")
    );
}

#[test]
fn every_webhook_about_messages_tells_what_the_number_is_called() {
    let metadata =
        json!({"display_phone_number": "1 555 078 3881", "phone_number_id": "106540352242922"});
    let read = read(
        "messages",
        json!({"metadata": metadata, "messages": [{"from": "16505551234"}]}),
    );
    assert_eq!(
        read.numbers,
        [OurNumber {
            sender: SenderId::from("106540352242922"),
            account: Some(ACCOUNT.to_owned()),
            number: Some("15550783881".to_owned()),
        }]
    );
}
