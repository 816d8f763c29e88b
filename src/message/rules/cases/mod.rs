//! Of each rule a body that breaks it and nothing else, and one that just keeps it.

mod commerce;
mod interactive;
mod make;
mod plain;
mod template;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Class, Finding, To, check, check_address, document, refusals, rules};
use make::*;

/// A rule, where it is broken, a body that breaks it, and one that has nothing wrong.
type Case = (&'static str, &'static str, Value, Value);

fn cases() -> Vec<Case> {
    let parts = [
        plain::general(),
        plain::plain(),
        interactive::interactive_kinds(),
        commerce::commerce(),
        template::templates(),
    ];
    parts.into_iter().flatten().collect()
}

/// Bodies that cannot break one rule alone, or not without a recipient.
fn others() -> Vec<(&'static str, Vec<Finding>, Vec<Finding>)> {
    let contacts = contacts(vec![ada()]);
    let text = a_text(json!("x"));
    let pinned = pin("pin", json!(1));
    let eleven: Value = (0..11).map(|n| quick(json!(n.min(9)))).collect();
    let ten: Value = (0..10).map(|n| quick(json!(n))).collect();
    let to = |to: &str| json!({"messaging_product": "whatsapp", "to": to});
    let product = |name: &str| json!({"messaging_product": name});
    let kind = |kind: &str| json!({"recipient_type": kind});
    let group = Some(To::Group);
    vec![
        (
            "group_type",
            check(&contacts, group, false),
            check(&text, group, false),
        ),
        (
            "pin_outside_group",
            check(&pinned, Some(To::Phone), false),
            check(&pinned, group, false),
        ),
        (
            "template_buttons_count",
            check(&template(eleven), None, false),
            check(&template(ten), None, false),
        ),
        (
            "messaging_product",
            check_address(&product("telegram")),
            check_address(&product("whatsapp")),
        ),
        (
            "messaging_product_missing",
            check_address(&json!({"to": "+16505551234"})),
            check_address(&to("+16505551234")),
        ),
        (
            "recipient_type",
            check_address(&kind("crowd")),
            check_address(&kind("group")),
        ),
        (
            "recipient_form",
            check_address(&to("16505551234")),
            check_address(&to("+1 (650) 555-1234")),
        ),
    ]
}

#[test]
fn each_rule_is_broken_by_one_body_and_kept_by_one_that_comes_close() {
    for (rule, pointer, breaks, keeps) in cases() {
        let found = check(&breaks, None, false);
        let ids: Vec<_> = found.iter().map(|finding| finding.rule.id).collect();
        if rule == "list_sections_count" {
            assert!(ids.contains(&rule), "{rule}: {ids:?}");
        } else {
            assert_eq!(ids, [rule], "{rule}: {found:?}");
            assert_eq!(found[0].pointer, pointer, "{rule}");
        }
        assert_eq!(check(&keeps, None, false), [], "{rule}: {keeps}");
    }
    for (rule, breaks, keeps) in others() {
        assert!(
            breaks.iter().any(|finding| finding.rule.id == rule),
            "{rule}: {breaks:?}"
        );
        assert_eq!(keeps, [], "{rule}");
    }
}

#[test]
fn no_rule_is_without_a_case_and_no_name_is_used_twice() {
    let with_case: BTreeSet<_> = cases()
        .iter()
        .map(|case| case.0)
        .chain(others().iter().map(|other| other.0))
        .collect();
    let mut seen = BTreeSet::new();
    for (_, rule) in rules() {
        assert!(with_case.contains(rule.id), "{} has no case", rule.id);
        assert!(seen.insert(rule.id), "{} is there twice", rule.id);
    }
}

#[test]
fn strict_refuses_what_is_unknown_and_nothing_else_changes() {
    let body = json!({"type": "text", "text": {"body": 7, "font": "bold"}});
    let classes = |strict| -> Vec<_> {
        let found = check(&body, None, strict);
        found.iter().map(|one| (one.rule.id, one.class)).collect()
    };
    let scalar = ("field_scalar", Class::Doubtful);
    assert_eq!(classes(false), [("unknown_field", Class::Doubtful), scalar]);
    assert_eq!(classes(true), [("unknown_field", Class::Refused), scalar]);
}

#[test]
fn a_finding_tells_where_how_much_and_what_to_do_and_never_what_was_written() {
    let secret = "my password is hunter2 ".repeat(200);
    let found = check(&a_text(json!(secret)), None, false);
    let words = found[0].to_string();
    assert_eq!(
        words,
        "/text/body has 4,600 characters; allowed: 1 to 4,096 characters; shorten it, or send it in parts (rule text_body_length)"
    );
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn a_newer_type_or_field_is_never_refused() {
    for body in [
        json!({"type": "hologram", "hologram": {"id": 1}}),
        json!({"type": "text", "text": {"body": "x"}, "sparkle": true}),
        json!({"type": "interactive", "interactive": {"type": "hologram", "shape": "cube"}}),
        template(json!([component(
            "hologram",
            json!([{"type": "beam", "beam": 1}])
        )])),
    ] {
        let found = check(&body, Some(To::Phone), false);
        assert_eq!(refusals(&found).count(), 0, "{body}: {found:?}");
    }
}

#[test]
fn what_metas_own_examples_send_has_nothing_wrong() {
    let components = json!([
        {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://example.com/a.png"}}]},
        {"type": "body", "parameters": [
            {"type": "text", "text": "Ada", "parameter_name": "name"},
            {"type": "currency", "currency": {"fallback_value": "$1", "code": "USD", "amount_1000": 1000}},
            {"type": "date_time", "date_time": {"fallback_value": "May 1"}},
            {"type": "an_unknown_kind", "an_unknown_kind": 7}]},
        {"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [{"type": "payload", "payload": "x"}]},
        {"type": "carousel", "cards": [
            {"card_index": 0, "components": [{"type": "HEADER", "parameters": [{"type": "video", "video": {"id": "1"}}]}]},
            {"card_index": 1, "components": [{"type": "HEADER", "parameters": [{"type": "video", "video": {"id": "1"}}]}]}]}
    ]);
    assert_eq!(check(&template(components), Some(To::Phone), true), []);
}

#[test]
fn the_page_of_the_rules_is_current() {
    let page = include_str!("../../../../docs/rules.md");
    assert_eq!(
        page,
        document(),
        "write it again: wa-outbox check --rules > docs/rules.md"
    );
}
