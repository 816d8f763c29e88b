//! Templates and their parameters.

use serde_json::{Value, json};

use super::Case;
use super::make::*;

pub(super) fn templates() -> Vec<Case> {
    let many = |count: usize| template((0..count).map(|n| quick(json!(n.min(9)))).collect());
    let sub_type = |kind: &str| {
        template(json!([template_button(
            json!(0),
            kind,
            json!({"type": "payload", "payload": "x"})
        )]))
    };
    let currency = |amount: Value| {
        body_with(
            json!({"type": "currency", "currency": {"fallback_value": "$1", "code": "USD", "amount_1000": amount}}),
        )
    };
    let coupon = |code: &str| {
        template(json!([template_button(
            json!(0),
            "copy_code",
            json!({"type": "coupon_code", "coupon_code": code})
        )]))
    };
    let header = |count| template(json!([component("header", json!([words(count)]))]));
    let payload = |payload: &str| {
        template(json!([template_button(
            json!(0),
            "quick_reply",
            json!({"type": "payload", "payload": payload})
        )]))
    };
    let mut without_index = quick(json!(0));
    without_index
        .as_object_mut()
        .expect("an object")
        .remove("index");
    let twice = template(json!([quick(json!(0)), quick(json!(0))]));
    let url = |count| template(json!([template_button(json!(0), "url", words(count))]));
    let timed = |seconds: i64| json!({"type": "template", "template": {"name": "a", "language": {"code": "en"}, "category": "UTILITY", "message_send_ttl_seconds": seconds}});
    let at_most_ten = many(10);
    vec![
        (
            "template_name",
            "/template/name",
            named("Spring Sale", "en"),
            named(&"a".repeat(512), "en"),
        ),
        (
            "template_name",
            "/template/name",
            named(&"a".repeat(513), "en"),
            named("a_1", "en"),
        ),
        (
            "ttl_range",
            "/template/message_send_ttl_seconds",
            timed(29),
            timed(30),
        ),
        (
            "template_language",
            "/template/language/code",
            named("a", ""),
            named("a", "en_US"),
        ),
        (
            "template_component_type",
            "/template/components/0/type",
            template(json!([component("hologram", json!([]))])),
            template(json!([component("BODY", json!([]))])),
        ),
        (
            "template_button_index",
            "/template/components/0/index",
            template(json!([quick(json!(10))])),
            template(json!([quick(json!("9"))])),
        ),
        (
            "template_button_index_missing",
            "/template/components/0/index",
            template(json!([without_index])),
            template(json!([quick(json!(0))])),
        ),
        (
            "template_button_twice",
            "/template/components/1/index",
            twice,
            at_most_ten,
        ),
        (
            "template_button_sub_type",
            "/template/components/0/sub_type",
            sub_type("hologram"),
            sub_type("QUICK_REPLY"),
        ),
        (
            "template_cards_count",
            "/template/components/0/cards",
            template_cards(&[0]),
            template_cards(&[0, 1]),
        ),
        (
            "template_card_index",
            "/template/components/0/cards/1/card_index",
            template_cards(&[0, 2]),
            template_cards(&[0, 1]),
        ),
        (
            "template_offer_body_length",
            "/template/components",
            offer(601),
            offer(600),
        ),
        (
            "template_product_body_length",
            "/template/components",
            single_product(161),
            single_product(160),
        ),
        (
            "template_code_length",
            "/template/components/1",
            password(16),
            password(15),
        ),
        (
            "template_parameters_list",
            "/template/components/0/parameters",
            template(json!([component("body", words(1))])),
            body_with(words(1)),
        ),
        (
            "template_text_empty",
            "/template/components/0/parameters/0/text",
            body_with(json!({"type": "text", "text": " "})),
            body_with(words(1)),
        ),
        (
            "template_text_lines",
            "/template/components/0/parameters/0/text",
            body_with(json!({"type": "text", "text": "a\nb"})),
            body_with(json!({"type": "text", "text": "a    b"})),
        ),
        (
            "template_text_lines",
            "/template/components/0/parameters/0/text",
            body_with(json!({"type": "text", "text": "a     b"})),
            body_with(words(1)),
        ),
        (
            "template_header_length",
            "/template/components/0/parameters/0/text",
            header(61),
            header(60),
        ),
        (
            "template_body_length",
            "/template/components/1/parameters/0/text",
            beside_a_header(1_025),
            beside_a_header(1_024),
        ),
        (
            "template_body_alone_length",
            "/template/components/0/parameters/0/text",
            body_with(words(1_025)),
            body_with(words(1_024)),
        ),
        (
            "template_body_alone_length",
            "/template/components/0/parameters",
            template(json!([component("body", json!([words(600), words(425)]))])),
            template(json!([component("body", json!([words(600), words(424)]))])),
        ),
        (
            "template_text_length",
            "/template/components/0/parameters/0/text",
            body_of_other(32_769),
            body_of_other(32_768),
        ),
        (
            "template_url_length",
            "/template/components/0/parameters/0/text",
            url(2_001),
            url(2_000),
        ),
        (
            "template_currency",
            "/template/components/0/parameters/0/currency",
            currency(json!("one")),
            currency(json!(1000)),
        ),
        (
            "template_date_time",
            "/template/components/0/parameters/0/date_time",
            body_with(json!({"type": "date_time", "date_time": {}})),
            body_with(json!({"type": "date_time", "date_time": {"fallback_value": "May 1"}})),
        ),
        (
            "template_coupon_code_length",
            "/template/components/0/parameters/0/coupon_code",
            coupon(&text(21)),
            coupon(&text(20)),
        ),
        (
            "template_offer_expiration",
            "/template/components/0/parameters/0/limited_time_offer/expiration_time_ms",
            offer_end(json!(0)),
            offer_end(json!(1)),
        ),
        (
            "template_payload_empty",
            "/template/components/0/parameters/0/payload",
            payload(""),
            payload("x"),
        ),
    ]
}
