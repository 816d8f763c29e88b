//! Of each rule a body that breaks it and nothing else, and one that just keeps it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// A rule, where it is broken, a body that breaks it, and one that has nothing wrong.
type Case = (&'static str, &'static str, Value, Value);

fn text(count: usize) -> String {
    // Three bytes each, one character.
    "€".repeat(count)
}

fn a_text(body: Value) -> Value {
    json!({"type": "text", "text": {"body": body}})
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

fn media(kind: &str, media: Value) -> Value {
    json!({"type": kind, kind: media})
}

fn location(latitude: Value, longitude: Value) -> Value {
    json!({"type": "location", "location": {"latitude": latitude, "longitude": longitude}})
}

fn contacts(contacts: Vec<Value>) -> Value {
    json!({"type": "contacts", "contacts": contacts})
}

fn contact(name: Value) -> Value {
    json!({"name": name})
}

fn ada() -> Value {
    contact(json!({"formatted_name": "Ada", "first_name": "Ada"}))
}

fn pin(kind: &str, days: Value) -> Value {
    json!({"type": "pin", "pin": {"type": kind, "message_id": "wamid.A", "expiration_days": days}})
}

fn interactive(kind: &str, action: Value) -> Value {
    json!({"type": "interactive", "interactive": {"type": kind, "body": {"text": "x"}, "action": action}})
}

fn part(mut body: Value, part: &str, value: Value) -> Value {
    body["interactive"][part] = value;
    body
}

fn buttons(buttons: Vec<Value>) -> Value {
    interactive("button", json!({"buttons": buttons}))
}

fn button(id: &str, title: &str) -> Value {
    json!({"type": "reply", "reply": {"id": id, "title": title}})
}

fn yes() -> Value {
    buttons(vec![button("1", "Yes")])
}

fn list(sections: Value) -> Value {
    interactive("list", json!({"button": "Choose", "sections": sections}))
}

fn row(id: &str, title: &str, description: &str) -> Value {
    json!({"id": id, "title": title, "description": description})
}

fn one_row(row: Value) -> Value {
    list(json!([{"rows": [row]}]))
}

fn rows(count: usize) -> Value {
    let rows: Vec<_> = (0..count).map(|n| row(&n.to_string(), "x", "")).collect();
    list(json!([{"rows": rows}]))
}

fn sections(count: usize, title: &str) -> Value {
    let section = |n: usize| json!({"title": title, "rows": [row(&n.to_string(), "x", "")]});
    list((0..count).map(section).collect())
}

fn cta(text: &str, url: &str) -> Value {
    interactive("cta_url", json!({"name": "cta_url", "parameters": {"display_text": text, "url": url}}))
}

fn flow(key: &str, value: Value) -> Value {
    let mut flow = json!({"flow_message_version": "3", "flow_token": "t", "flow_id": "1", "flow_cta": "Book"});
    flow[key] = value;
    interactive("flow", json!({"name": "flow", "parameters": flow}))
}

fn call(key: &str, value: Value) -> Value {
    let mut call = json!({"display_text": "Call"});
    call[key] = value;
    interactive("voice_call", json!({"name": "voice_call", "parameters": call}))
}

fn product(id: &str) -> Value {
    interactive("product", json!({"catalog_id": "1", "product_retailer_id": id}))
}

fn products(sections: usize, each: usize) -> Value {
    let items: Vec<_> = (0..each).map(|n| json!({"product_retailer_id": n.to_string()})).collect();
    let sections: Vec<_> = (0..sections).map(|_| json!({"title": "x", "product_items": items})).collect();
    let body = interactive("product_list", json!({"catalog_id": "1", "sections": sections}));
    part(body, "header", json!({"type": "text", "text": "x"}))
}

fn address(country: &str, pin_code: &str) -> Value {
    let parameters = json!({"country": country, "values": {"in_pin_code": pin_code}});
    interactive("address_message", json!({"name": "address_message", "parameters": parameters}))
}

fn amount(value: i64) -> Value {
    json!({"value": value, "offset": 100})
}

fn order(path: &str, value: Value) -> Value {
    let mut body = interactive("order_details", json!({"name": "review_and_pay", "parameters": {
        "reference_id": "order-7", "type": "digital-goods", "currency": "INR", "total_amount": amount(110),
        "order": {"status": "pending", "items": [{"name": "x", "amount": amount(100), "quantity": 1}],
                  "subtotal": amount(100), "tax": amount(20), "discount": amount(10)}}}));
    *body.pointer_mut(&format!("/interactive/action/parameters{path}")).expect("a place") = value;
    body
}

fn card(index: usize) -> Value {
    json!({"card_index": index, "type": "cta_url",
        "header": {"type": "image", "image": {"link": "https://example.com/a.png"}}, "body": {"text": "x"},
        "action": {"name": "cta_url", "parameters": {"display_text": "Buy", "url": "https://example.com"}}})
}

fn cards(cards: Vec<Value>) -> Value {
    interactive("carousel", json!({"cards": cards}))
}

fn first_card(key: &str, value: Value) -> Value {
    cards(vec![with(card(0), key, value), card(1)])
}

fn template(components: Value) -> Value {
    json!({"type": "template", "template":
        {"name": "spring_sale", "language": {"code": "en_US"}, "components": components}})
}

fn named(name: &str, code: &str) -> Value {
    json!({"type": "template", "template": {"name": name, "language": {"code": code}}})
}

fn component(kind: &str, parameters: Value) -> Value {
    json!({"type": kind, "parameters": parameters})
}

fn words(count: usize) -> Value {
    json!({"type": "text", "text": text(count)})
}

fn body_with(parameter: Value) -> Value {
    template(json!([component("body", json!([parameter]))]))
}

fn beside_a_header(count: usize) -> Value {
    template(json!([component("header", json!([words(1)])), component("body", json!([words(count)]))]))
}

fn template_button(index: Value, kind: &str, parameter: Value) -> Value {
    json!({"type": "button", "sub_type": kind, "index": index, "parameters": [parameter]})
}

fn quick(index: Value) -> Value {
    template_button(index, "quick_reply", json!({"type": "payload", "payload": "x"}))
}

fn template_cards(indexes: &[usize]) -> Value {
    let card = |index: &usize| json!({"card_index": index, "components": [component("header", json!([{"type": "video", "video": {"id": "1"}}]))]});
    template(json!([{"type": "carousel", "cards": indexes.iter().map(card).collect::<Vec<_>>()}]))
}

fn offer(body: usize) -> Value {
    let end = json!({"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": 1}});
    template(json!([component("body", json!([words(body)])), component("limited_time_offer", json!([end]))]))
}

fn offer_end(end: Value) -> Value {
    let end = json!({"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": end}});
    template(json!([component("limited_time_offer", json!([end]))]))
}

fn single_product(body: usize) -> Value {
    let product = json!({"type": "product", "product": {"catalog_id": "1", "product_retailer_id": "2"}});
    template(json!([component("header", json!([product])), component("body", json!([words(body)]))]))
}

fn password(count: usize) -> Value {
    template(json!([component("body", json!([words(count)])), template_button(json!(0), "url", words(count))]))
}

fn read(key: &str, value: Value) -> Value {
    with(json!({"status": "read", "message_id": "wamid.A"}), key, value)
}

fn general() -> Vec<Case> {
    let hello = || a_text(json!("Hello"));
    vec![
        ("field_missing", "/text/body", json!({"type": "text", "text": {}}), hello()),
        ("field_missing", "/text/body", a_text(json!(null)), hello()),
        ("field_type", "/text/body", a_text(json!(["Hello"])), hello()),
        ("field_scalar", "/text/body", a_text(json!(7)), a_text(json!("7"))),
        ("field_encoded", "/template", json!({"type": "template", "template": "{}"}), named("a", "en")),
        ("field_null", "/context", with(hello(), "context", json!(null)), hello()),
        ("unknown_field", "/text/a~1b~0c", json!({"type": "text", "text": {"body": "x", "a/b~c": 1}}), hello()),
        ("nul", "/text/body", a_text(json!("a\0b")), hello()),
        ("not_an_object", "", json!(["x"]), hello()),
        ("type_missing", "/type", json!({"image": {"id": "1"}}), json!({"text": {"body": "x"}})),
        ("type_unknown", "/type", json!({"type": "hologram", "hologram": {}}), hello()),
        ("content_missing", "/image", json!({"type": "image"}), media("image", json!({"id": "1"}))),
        ("encrypted_envelope", "/encrypted_contents", json!({"encrypted_contents": "e.y.J"}), hello()),
        ("callback_data_length", "/biz_opaque_callback_data", with(hello(), "biz_opaque_callback_data", json!(text(513))),
            with(hello(), "biz_opaque_callback_data", json!(text(512)))),
        ("reaction_context", "/context", with(media("reaction", json!({"message_id": "m", "emoji": ""})), "context", json!({"message_id": "m"})),
            with(hello(), "context", json!({"message_id": "m"}))),
        ("message_id_empty", "/context/message_id", with(hello(), "context", json!({"message_id": ""})),
            with(hello(), "context", json!({"message_id": "m"}))),
        ("ttl_range", "/message_send_ttl_seconds", with(hello(), "message_send_ttl_seconds", json!(29)),
            with(hello(), "message_send_ttl_seconds", json!(30))),
        ("ttl_range", "/message_send_ttl_seconds", with(hello(), "message_send_ttl_seconds", json!(2_592_001)),
            with(hello(), "message_send_ttl_seconds", json!(-1))),
        ("product_policy", "/product_policy", with(named("a", "en"), "product_policy", json!("LOOSE")),
            with(named("a", "en"), "product_policy", json!("STRICT"))),
        ("read_status", "/status", read("status", json!("played")), read("typing_indicator", json!({"type": "text"}))),
        ("read_message_id", "/message_id", read("message_id", json!("")), read("status", json!("read"))),
        ("read_message_id", "/message_id", json!({"status": "read"}), read("status", json!("read"))),
        ("typing_indicator_type", "/typing_indicator/type", read("typing_indicator", json!({"type": "audio"})),
            read("typing_indicator", json!({"type": "text"}))),
    ]
}

fn plain() -> Vec<Case> {
    let link = |link: &str| media("video", json!({"link": link}));
    let captioned = |count| media("document", json!({"id": "1", "filename": "a.pdf", "caption": text(count)}));
    let emoji = |emoji: &str| media("reaction", json!({"message_id": "m", "emoji": emoji}));
    let born = |day: &str| contacts(vec![with(ada(), "birthday", json!(day))]);
    vec![
        ("text_body_length", "/text/body", a_text(json!(text(4_097))), a_text(json!(text(4_096)))),
        ("text_body_length", "/text/body", a_text(json!("")), a_text(json!("x"))),
        ("media_id_or_link", "/image", media("image", json!({"id": "1", "link": "https://a"})), media("image", json!({"id": "1"}))),
        ("media_id_or_link", "/audio", media("audio", json!({"voice": true})), media("audio", json!({"id": "1", "voice": true}))),
        ("media_link", "/video/link", link("example.com/a.mp4"), link("HTTP://example.com/a.mp4")),
        ("media_caption_length", "/document/caption", captioned(1_025), captioned(1_024)),
        ("location_latitude", "/location/latitude", location(json!(90.1), json!(0)), location(json!(90), json!("180"))),
        ("location_longitude", "/location/longitude", location(json!("37.4"), json!("east")), location(json!("37.4"), json!("-122.1"))),
        ("contacts_count", "/contacts", contacts(vec![ada(); 258]), contacts(vec![ada(); 257])),
        ("contacts_count", "/contacts", contacts(vec![]), contacts(vec![ada()])),
        ("contact_name", "/contacts/0/name/formatted_name", contacts(vec![contact(json!({"formatted_name": "", "first_name": "x"}))]), contacts(vec![ada()])),
        ("contact_name_part", "/contacts/0/name", contacts(vec![contact(json!({"formatted_name": "x"}))]), contacts(vec![ada()])),
        ("contact_birthday", "/contacts/0/birthday", born("12 May"), born("2012-08-18")),
        ("reaction_emoji", "/reaction/emoji", emoji("ok"), emoji("👍🏽")),
        ("pin_type", "/pin/type", pin("stick", json!(1)), pin("unpin", json!(1))),
        ("pin_expiration", "/pin/expiration_days", pin("pin", json!(31)), pin("pin", json!("30"))),
    ]
}

fn interactive_cases() -> Vec<Case> {
    let header = |kind: &str| json!({"type": kind, kind: {"id": "1"}});
    let titled = |count| json!({"type": "text", "text": text(count)});
    let said = |count| json!({"text": text(count)});
    let button_of = |kind: &str| buttons(vec![json!({"type": kind, "reply": {"id": "1", "title": "x"}})]);
    let many = |count: usize| buttons((0..count).map(|n| button(&n.to_string(), &n.to_string())).collect());
    let listed = |button: &str| interactive("list", json!({"button": button, "sections": [{"rows": [row("1", "x", "")]}]}));
    let two = |title: Value| list(json!([{"title": title, "rows": [row("1", "x", "")]}, {"title": "b", "rows": [row("2", "x", "")]}]));
    let then = |rows: Value| list(json!([{"title": "a", "rows": [row("1", "x", "")]}, {"title": "b", "rows": rows}]));
    let named = |name: &str| interactive("location_request_message", json!({"name": name}));
    let headless = part(products(1, 1), "header", json!({"type": "text", "text": "x"}));
    let mut without_header = headless.clone();
    without_header["interactive"].as_object_mut().expect("an object").remove("header");
    let mut unnamed_flow = flow("flow_id", json!("1"));
    unnamed_flow["interactive"]["action"]["parameters"].as_object_mut().expect("an object").remove("flow_id");
    vec![
        ("interactive_type_unknown", "/interactive/type", interactive("hologram", json!({})), yes()),
        ("interactive_header_type", "/interactive/header/type", part(rows(1), "header", header("image")), part(yes(), "header", header("image"))),
        ("interactive_product_header", "/interactive/header", part(product("1"), "header", titled(1)), product("1")),
        ("interactive_product_list_header", "/interactive/header", without_header, headless),
        ("interactive_header_length", "/interactive/header/text", part(yes(), "header", titled(61)), part(yes(), "header", titled(60))),
        ("interactive_body_length", "/interactive/body/text", part(yes(), "body", said(1_025)), part(yes(), "body", said(1_024))),
        ("interactive_list_body_length", "/interactive/body/text", part(rows(1), "body", said(4_097)), part(rows(1), "body", said(4_096))),
        ("interactive_footer_length", "/interactive/footer/text", part(yes(), "footer", said(61)), part(yes(), "footer", said(60))),
        ("reply_buttons_count", "/interactive/action/buttons", many(4), many(3)),
        ("reply_buttons_count", "/interactive/action/buttons", many(0), many(1)),
        ("reply_button_title_length", "/interactive/action/buttons/0/reply/title", buttons(vec![button("1", &text(21))]), buttons(vec![button("1", &text(20))])),
        ("reply_button_id_length", "/interactive/action/buttons/0/reply/id", buttons(vec![button(&text(257), "x")]), buttons(vec![button(&text(256), "x")])),
        ("reply_button_id_blanks", "/interactive/action/buttons/0/reply/id", buttons(vec![button(" 1", "x")]), buttons(vec![button("1 2", "x")])),
        ("reply_button_unique", "/interactive/action/buttons/1/reply/id", buttons(vec![button("1", "x"), button("1", "y")]), buttons(vec![button("1", "x"), button("2", "y")])),
        ("reply_button_unique", "/interactive/action/buttons/1/reply/title", buttons(vec![button("1", "x"), button("2", "x")]), buttons(vec![button("1", "x"), button("2", "y")])),
        ("reply_button_type", "/interactive/action/buttons/0/type", button_of("url"), button_of("reply")),
        ("list_button_length", "/interactive/action/button", listed(&text(21)), listed(&text(20))),
        ("list_sections_count", "/interactive/action/sections", then(json!([])).pointer("/x").cloned().unwrap_or_else(|| sections_with_one_row(11)), sections(10, "x")),
        ("list_section_title_length", "/interactive/action/sections/0/title", two(json!(text(25))), two(json!(text(24)))),
        ("list_section_title", "/interactive/action/sections/0/title", two(json!("")), one_row(row("1", "x", ""))),
        ("list_section_empty", "/interactive/action/sections/1/rows", then(json!([])), then(json!([row("2", "x", "")]))),
        ("list_rows_count", "/interactive/action/sections", rows(11), rows(10)),
        ("list_row_id_length", "/interactive/action/sections/0/rows/0/id", one_row(row(&text(201), "x", "")), one_row(row(&text(200), "x", ""))),
        ("list_row_id_unique", "/interactive/action/sections/1/rows/0/id", then(json!([row("1", "x", "")])), then(json!([row("2", "x", "")]))),
        ("list_row_title_length", "/interactive/action/sections/0/rows/0/title", one_row(row("1", &text(25), "")), one_row(row("1", &text(24), ""))),
        ("list_row_description_length", "/interactive/action/sections/0/rows/0/description", one_row(row("1", "x", &text(73))), one_row(row("1", "x", &text(72)))),
        ("cta_display_text_length", "/interactive/action/parameters/display_text", cta(&text(21), "https://a"), cta(&text(20), "https://a")),
        ("cta_url", "/interactive/action/parameters/url", cta("x", "tel:1"), cta("x", "http://a")),
        ("interactive_action_name", "/interactive/action/name", named("location"), named("send_location")),
        ("flow_cta_length", "/interactive/action/parameters/flow_cta", flow("flow_cta", json!(text(31))), flow("flow_cta", json!(text(30)))),
        ("flow_id_or_name", "/interactive/action/parameters", flow("flow_name", json!("x")), flow("flow_id", json!("2"))),
        ("flow_id_or_name", "/interactive/action/parameters", unnamed_flow, flow("flow_id", json!("2"))),
        ("flow_message_version", "/interactive/action/parameters/flow_message_version", flow("flow_message_version", json!("4")), flow("flow_message_version", json!("3"))),
        ("flow_mode", "/interactive/action/parameters/mode", flow("mode", json!("live")), flow("mode", json!("draft"))),
        ("flow_action", "/interactive/action/parameters/flow_action", flow("flow_action", json!("open")), flow("flow_action", json!("navigate"))),
        ("voice_call_display_text_length", "/interactive/action/parameters/display_text", call("display_text", json!(text(21))), call("display_text", json!(text(20)))),
        ("voice_call_ttl_minutes", "/interactive/action/parameters/ttl_minutes", call("ttl_minutes", json!(43_201)), call("ttl_minutes", json!(43_200))),
    ]
}

/// Eleven sections cannot have a row each, for rows are ten: the last has none.
fn sections_with_one_row(count: usize) -> Value {
    let mut body = sections(count, "x");
    body["interactive"]["action"]["sections"][count - 1]["rows"] = json!([]);
    body
}

fn commerce_cases() -> Vec<Case> {
    let catalog = |id: &str| interactive("product", json!({"catalog_id": id, "product_retailer_id": "1"}));
    let status = |status: &str| interactive("order_status", json!({"name": "review_order",
        "parameters": {"reference_id": "order-7", "order": {"status": status}}}));
    let at = |path: &str| format!("/interactive/action/parameters{path}");
    let _ = at;
    vec![
        ("product_retailer_id_length", "/interactive/action/product_retailer_id", product(&text(101)), product(&text(100))),
        ("catalog_id_empty", "/interactive/action/catalog_id", catalog(""), catalog("1")),
        ("product_sections_count", "/interactive/action/sections", products(11, 1), products(10, 1)),
        ("products_count", "/interactive/action/sections", products(1, 31), products(1, 30)),
        ("address_country", "/interactive/action/parameters/country", address("DE", ""), address("IN", "")),
        ("address_pin_code_length", "/interactive/action/parameters/values/in_pin_code", address("IN", "4000633"), address("IN", "400063")),
        ("order_reference_id", "/interactive/action/parameters/reference_id", order("/reference_id", json!("order 7")), order("/reference_id", json!("o".repeat(35)))),
        ("order_type", "/interactive/action/parameters/type", order("/type", json!("goods")), order("/type", json!("physical-goods"))),
        ("order_amount", "/interactive/action/parameters/order/items/0/amount", order("/order/items/0/amount", json!({"value": 1})), order("/order/items/0/amount", amount(1))),
        ("order_total", "/interactive/action/parameters/total_amount", order("/total_amount", amount(111)), order("/total_amount", amount(110))),
        ("order_items_count", "/interactive/action/parameters/order/items", order("/order/items", json!([])), order("/order/status", json!("pending"))),
        ("order_status", "/interactive/action/parameters/order/status", status("lost"), status("shipped")),
        ("carousel_cards_count", "/interactive/action/cards", cards(vec![card(0)]), cards(vec![card(0), card(1)])),
        ("carousel_cards_count", "/interactive/action/cards", cards((0..11).map(card).collect()), cards((0..10).map(card).collect())),
        ("carousel_card_index", "/interactive/action/cards/0/card_index", first_card("card_index", json!(1)), first_card("card_index", json!(0))),
        ("carousel_card_type", "/interactive/action/cards/0/type", first_card("type", json!("video")), first_card("type", json!("cta_url"))),
        ("carousel_card_body_length", "/interactive/action/cards/0/body/text", first_card("body", json!({"text": text(161)})), first_card("body", json!({"text": text(160)}))),
        ("carousel_card_body_lines", "/interactive/action/cards/0/body/text", first_card("body", json!({"text": "a\nb\nc\nd"})), first_card("body", json!({"text": "a\n\nb"}))),
        ("carousel_card_header", "/interactive/action/cards/0/header", cards(vec![json!({"card_index": 0, "type": "cta_url", "action": card(0)["action"]}), card(1)]), cards(vec![card(0), card(1)])),
    ]
}

fn template_cases() -> Vec<Case> {
    let many = |count: usize| template((0..count).map(|n| quick(json!(n.min(9)))).collect());
    let sub_type = |kind: &str| template(json!([template_button(json!(0), kind, json!({"type": "payload", "payload": "x"}))]));
    let currency = |amount: Value| body_with(json!({"type": "currency", "currency": {"fallback_value": "$1", "code": "USD", "amount_1000": amount}}));
    let coupon = |code: &str| template(json!([template_button(json!(0), "copy_code", json!({"type": "coupon_code", "coupon_code": code}))]));
    let header = |count| template(json!([component("header", json!([words(count)]))]));
    let payload = |payload: &str| template(json!([template_button(json!(0), "quick_reply", json!({"type": "payload", "payload": payload}))]));
    let mut without_index = quick(json!(0));
    without_index.as_object_mut().expect("an object").remove("index");
    let mut twice = vec![quick(json!(0)), quick(json!(0))];
    let url = |count| template(json!([template_button(json!(0), "url", words(count))]));
    let at_most_ten = many(10);
    let twice = { twice.rotate_left(1); template(json!(twice)) };
    vec![
        ("template_name", "/template/name", named("Spring Sale", "en"), named(&"a".repeat(512), "en")),
        ("template_name", "/template/name", named(&"a".repeat(513), "en"), named("a_1", "en")),
        ("template_language", "/template/language/code", named("a", ""), named("a", "en_US")),
        ("template_component_type", "/template/components/0/type", template(json!([component("hologram", json!([]))])), template(json!([component("BODY", json!([]))]))),
        ("template_button_index", "/template/components/0/index", template(json!([quick(json!(10))])), template(json!([quick(json!("9"))]))),
        ("template_button_index_missing", "/template/components/0/index", template(json!([without_index])), template(json!([quick(json!(0))]))),
        ("template_button_twice", "/template/components/1/index", twice, at_most_ten),
        ("template_button_sub_type", "/template/components/0/sub_type", sub_type("hologram"), sub_type("QUICK_REPLY")),
        ("template_cards_count", "/template/components/0/cards", template_cards(&[0]), template_cards(&[0, 1])),
        ("template_card_index", "/template/components/0/cards/1/card_index", template_cards(&[0, 2]), template_cards(&[0, 1])),
        ("template_offer_body_length", "/template/components", offer(601), offer(600)),
        ("template_product_body_length", "/template/components", single_product(161), single_product(160)),
        ("template_code_length", "/template/components/1", password(16), password(15)),
        ("template_parameters_list", "/template/components/0/parameters", template(json!([component("body", words(1))])), body_with(words(1))),
        ("template_text_empty", "/template/components/0/parameters/0/text", body_with(json!({"type": "text", "text": " "})), body_with(words(1))),
        ("template_text_lines", "/template/components/0/parameters/0/text", body_with(json!({"type": "text", "text": "a\nb"})), body_with(json!({"type": "text", "text": "a    b"}))),
        ("template_text_lines", "/template/components/0/parameters/0/text", body_with(json!({"type": "text", "text": "a     b"})), body_with(words(1))),
        ("template_header_length", "/template/components/0/parameters/0/text", header(61), header(60)),
        ("template_body_length", "/template/components/1/parameters/0/text", beside_a_header(1_025), beside_a_header(1_024)),
        ("template_body_alone_length", "/template/components/0/parameters/0/text", body_with(words(1_025)), body_with(words(1_024))),
        ("template_body_alone_length", "/template/components/0/parameters", template(json!([component("body", json!([words(600), words(425)]))])),
            template(json!([component("body", json!([words(600), words(424)]))]))),
        ("template_text_length", "/template/components/0/parameters/0/text", body_of_other(32_769), body_of_other(32_768)),
        ("template_url_length", "/template/components/0/parameters/0/text", url(2_001), url(2_000)),
        ("template_currency", "/template/components/0/parameters/0/currency", currency(json!("one")), currency(json!(1000))),
        ("template_date_time", "/template/components/0/parameters/0/date_time", body_with(json!({"type": "date_time", "date_time": {}})), body_with(json!({"type": "date_time", "date_time": {"fallback_value": "May 1"}}))),
        ("template_coupon_code_length", "/template/components/0/parameters/0/coupon_code", coupon(&text(21)), coupon(&text(20))),
        ("template_offer_expiration", "/template/components/0/parameters/0/limited_time_offer/expiration_time_ms", offer_end(json!(0)), offer_end(json!(1))),
        ("template_payload_empty", "/template/components/0/parameters/0/payload", payload(""), payload("x")),
    ]
}

fn body_of_other(count: usize) -> Value {
    template(json!([component("footer", json!([words(count)]))]))
}

fn cases() -> Vec<Case> {
    let parts = [general(), plain(), interactive_cases(), commerce_cases(), template_cases()];
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
        ("group_type", check(&contacts, group, false), check(&text, group, false)),
        ("pin_outside_group", check(&pinned, Some(To::Phone), false), check(&pinned, group, false)),
        ("template_buttons_count", check(&template(eleven), None, false), check(&template(ten), None, false)),
        ("messaging_product", check_address(&product("telegram")), check_address(&product("whatsapp"))),
        ("messaging_product_missing", check_address(&json!({"to": "+16505551234"})), check_address(&to("+16505551234"))),
        ("recipient_type", check_address(&kind("crowd")), check_address(&kind("group"))),
        ("recipient_form", check_address(&to("16505551234")), check_address(&to("+1 (650) 555-1234"))),
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
        assert!(breaks.iter().any(|finding| finding.rule.id == rule), "{rule}: {breaks:?}");
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
        template(json!([component("hologram", json!([{"type": "beam", "beam": 1}]))])),
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
    let page = include_str!("../../../docs/rules.md");
    assert_eq!(page, document(), "write it again: wa-outbox check --rules > docs/rules.md");
}
