//! Interactive messages.

use serde_json::{Value, json};

use super::Case;
use super::make::*;

pub(super) fn interactive_kinds() -> Vec<Case> {
    let header = |kind: &str| json!({"type": kind, kind: {"id": "1"}});
    let titled = |count| json!({"type": "text", "text": text(count)});
    let said = |count| json!({"text": text(count)});
    let button_of = |kind: &str| {
        buttons(vec![
            json!({"type": kind, "reply": {"id": "1", "title": "x"}}),
        ])
    };
    let many = |count: usize| {
        buttons(
            (0..count)
                .map(|n| button(&n.to_string(), &n.to_string()))
                .collect(),
        )
    };
    let listed = |button: &str| {
        interactive(
            "list",
            json!({"button": button, "sections": [{"rows": [row("1", "x", "")]}]}),
        )
    };
    let two = |title: Value| {
        list(
            json!([{"title": title, "rows": [row("1", "x", "")]}, {"title": "b", "rows": [row("2", "x", "")]}]),
        )
    };
    let then = |rows: Value| {
        list(json!([{"title": "a", "rows": [row("1", "x", "")]}, {"title": "b", "rows": rows}]))
    };
    let named = |name: &str| interactive("location_request_message", json!({"name": name}));
    let headless = part(
        products(1, 1),
        "header",
        json!({"type": "text", "text": "x"}),
    );
    let mut without_header = headless.clone();
    without_header["interactive"]
        .as_object_mut()
        .expect("an object")
        .remove("header");
    let mut unnamed_flow = flow("flow_id", json!("1"));
    unnamed_flow["interactive"]["action"]["parameters"]
        .as_object_mut()
        .expect("an object")
        .remove("flow_id");
    vec![
        (
            "interactive_type_unknown",
            "/interactive/type",
            interactive("hologram", json!({})),
            yes(),
        ),
        (
            "interactive_header_type",
            "/interactive/header/type",
            part(rows(1), "header", header("image")),
            part(yes(), "header", header("image")),
        ),
        (
            "interactive_product_header",
            "/interactive/header",
            part(product("1"), "header", titled(1)),
            product("1"),
        ),
        (
            "interactive_product_list_header",
            "/interactive/header",
            without_header,
            headless,
        ),
        (
            "interactive_header_length",
            "/interactive/header/text",
            part(yes(), "header", titled(61)),
            part(yes(), "header", titled(60)),
        ),
        (
            "interactive_body_length",
            "/interactive/body/text",
            part(yes(), "body", said(1_025)),
            part(yes(), "body", said(1_024)),
        ),
        (
            "interactive_list_body_length",
            "/interactive/body/text",
            part(rows(1), "body", said(4_097)),
            part(rows(1), "body", said(4_096)),
        ),
        (
            "interactive_footer_length",
            "/interactive/footer/text",
            part(yes(), "footer", said(61)),
            part(yes(), "footer", said(60)),
        ),
        (
            "reply_buttons_count",
            "/interactive/action/buttons",
            many(4),
            many(3),
        ),
        (
            "reply_buttons_count",
            "/interactive/action/buttons",
            many(0),
            many(1),
        ),
        (
            "reply_button_title_length",
            "/interactive/action/buttons/0/reply/title",
            buttons(vec![button("1", &text(21))]),
            buttons(vec![button("1", &text(20))]),
        ),
        (
            "reply_button_id_length",
            "/interactive/action/buttons/0/reply/id",
            buttons(vec![button(&text(257), "x")]),
            buttons(vec![button(&text(256), "x")]),
        ),
        (
            "reply_button_id_blanks",
            "/interactive/action/buttons/0/reply/id",
            buttons(vec![button(" 1", "x")]),
            buttons(vec![button("1 2", "x")]),
        ),
        (
            "reply_button_unique",
            "/interactive/action/buttons/1/reply/id",
            buttons(vec![button("1", "x"), button("1", "y")]),
            buttons(vec![button("1", "x"), button("2", "y")]),
        ),
        (
            "reply_button_unique",
            "/interactive/action/buttons/1/reply/title",
            buttons(vec![button("1", "x"), button("2", "x")]),
            buttons(vec![button("1", "x"), button("2", "y")]),
        ),
        (
            "reply_button_type",
            "/interactive/action/buttons/0/type",
            button_of("url"),
            button_of("reply"),
        ),
        (
            "list_button_length",
            "/interactive/action/button",
            listed(&text(21)),
            listed(&text(20)),
        ),
        (
            "list_sections_count",
            "/interactive/action/sections",
            sections_with_one_row(11),
            sections(10, "x"),
        ),
        (
            "list_section_title_length",
            "/interactive/action/sections/0/title",
            two(json!(text(25))),
            two(json!(text(24))),
        ),
        (
            "list_section_title",
            "/interactive/action/sections/0/title",
            two(json!("")),
            one_row(row("1", "x", "")),
        ),
        (
            "list_section_empty",
            "/interactive/action/sections/1/rows",
            then(json!([])),
            then(json!([row("2", "x", "")])),
        ),
        (
            "list_rows_count",
            "/interactive/action/sections",
            rows(11),
            rows(10),
        ),
        (
            "list_row_id_length",
            "/interactive/action/sections/0/rows/0/id",
            one_row(row(&text(201), "x", "")),
            one_row(row(&text(200), "x", "")),
        ),
        (
            "list_row_id_unique",
            "/interactive/action/sections/1/rows/0/id",
            then(json!([row("1", "x", "")])),
            then(json!([row("2", "x", "")])),
        ),
        (
            "list_row_title_length",
            "/interactive/action/sections/0/rows/0/title",
            one_row(row("1", &text(25), "")),
            one_row(row("1", &text(24), "")),
        ),
        (
            "list_row_description_length",
            "/interactive/action/sections/0/rows/0/description",
            one_row(row("1", "x", &text(73))),
            one_row(row("1", "x", &text(72))),
        ),
        (
            "cta_display_text_length",
            "/interactive/action/parameters/display_text",
            cta(&text(21), "https://a"),
            cta(&text(20), "https://a"),
        ),
        (
            "cta_url",
            "/interactive/action/parameters/url",
            cta("x", "tel:1"),
            cta("x", "http://a"),
        ),
        (
            "interactive_action_name",
            "/interactive/action/name",
            named("location"),
            named("send_location"),
        ),
        (
            "flow_cta_length",
            "/interactive/action/parameters/flow_cta",
            flow("flow_cta", json!(text(31))),
            flow("flow_cta", json!(text(30))),
        ),
        (
            "flow_id_or_name",
            "/interactive/action/parameters",
            flow("flow_name", json!("x")),
            flow("flow_id", json!("2")),
        ),
        (
            "flow_id_or_name",
            "/interactive/action/parameters",
            unnamed_flow,
            flow("flow_id", json!("2")),
        ),
        (
            "flow_message_version",
            "/interactive/action/parameters/flow_message_version",
            flow("flow_message_version", json!("4")),
            flow("flow_message_version", json!("3")),
        ),
        (
            "flow_mode",
            "/interactive/action/parameters/mode",
            flow("mode", json!("live")),
            flow("mode", json!("draft")),
        ),
        (
            "flow_action",
            "/interactive/action/parameters/flow_action",
            flow("flow_action", json!("open")),
            flow("flow_action", json!("navigate")),
        ),
        (
            "voice_call_display_text_length",
            "/interactive/action/parameters/display_text",
            call("display_text", json!(text(21))),
            call("display_text", json!(text(20))),
        ),
        (
            "voice_call_ttl_minutes",
            "/interactive/action/parameters/ttl_minutes",
            call("ttl_minutes", json!(43_201)),
            call("ttl_minutes", json!(43_200)),
        ),
    ]
}
