//! Makes bodies that have nothing wrong but what they are given.

use serde_json::{Value, json};

pub(super) fn text(count: usize) -> String {
    // Three bytes each, one character.
    "€".repeat(count)
}

pub(super) fn a_text(body: Value) -> Value {
    json!({"type": "text", "text": {"body": body}})
}

pub(super) fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

pub(super) fn media(kind: &str, media: Value) -> Value {
    json!({"type": kind, kind: media})
}

pub(super) fn location(latitude: Value, longitude: Value) -> Value {
    json!({"type": "location", "location": {"latitude": latitude, "longitude": longitude}})
}

pub(super) fn contacts(contacts: Vec<Value>) -> Value {
    json!({"type": "contacts", "contacts": contacts})
}

pub(super) fn contact(name: Value) -> Value {
    json!({"name": name})
}

pub(super) fn ada() -> Value {
    contact(json!({"formatted_name": "Ada", "first_name": "Ada"}))
}

pub(super) fn pin(kind: &str, days: Value) -> Value {
    json!({"type": "pin", "pin": {"type": kind, "message_id": "wamid.A", "expiration_days": days}})
}

pub(super) fn interactive(kind: &str, action: Value) -> Value {
    json!({"type": "interactive", "interactive": {"type": kind, "body": {"text": "x"}, "action": action}})
}

pub(super) fn part(mut body: Value, part: &str, value: Value) -> Value {
    body["interactive"][part] = value;
    body
}

pub(super) fn buttons(buttons: Vec<Value>) -> Value {
    interactive("button", json!({"buttons": buttons}))
}

pub(super) fn button(id: &str, title: &str) -> Value {
    json!({"type": "reply", "reply": {"id": id, "title": title}})
}

pub(super) fn yes() -> Value {
    buttons(vec![button("1", "Yes")])
}

pub(super) fn list(sections: Value) -> Value {
    interactive("list", json!({"button": "Choose", "sections": sections}))
}

pub(super) fn row(id: &str, title: &str, description: &str) -> Value {
    json!({"id": id, "title": title, "description": description})
}

pub(super) fn one_row(row: Value) -> Value {
    list(json!([{"rows": [row]}]))
}

pub(super) fn rows(count: usize) -> Value {
    let rows: Vec<_> = (0..count).map(|n| row(&n.to_string(), "x", "")).collect();
    list(json!([{"rows": rows}]))
}

pub(super) fn sections(count: usize, title: &str) -> Value {
    let section = |n: usize| json!({"title": title, "rows": [row(&n.to_string(), "x", "")]});
    list((0..count).map(section).collect())
}

pub(super) fn cta(text: &str, url: &str) -> Value {
    interactive(
        "cta_url",
        json!({"name": "cta_url", "parameters": {"display_text": text, "url": url}}),
    )
}

pub(super) fn flow(key: &str, value: Value) -> Value {
    let mut flow =
        json!({"flow_message_version": "3", "flow_token": "t", "flow_id": "1", "flow_cta": "Book"});
    flow[key] = value;
    interactive("flow", json!({"name": "flow", "parameters": flow}))
}

pub(super) fn call(key: &str, value: Value) -> Value {
    let mut call = json!({"display_text": "Call"});
    call[key] = value;
    interactive(
        "voice_call",
        json!({"name": "voice_call", "parameters": call}),
    )
}

pub(super) fn product(id: &str) -> Value {
    interactive(
        "product",
        json!({"catalog_id": "1", "product_retailer_id": id}),
    )
}

pub(super) fn products(sections: usize, each: usize) -> Value {
    let items: Vec<_> = (0..each)
        .map(|n| json!({"product_retailer_id": n.to_string()}))
        .collect();
    let sections: Vec<_> = (0..sections)
        .map(|_| json!({"title": "x", "product_items": items}))
        .collect();
    let body = interactive(
        "product_list",
        json!({"catalog_id": "1", "sections": sections}),
    );
    part(body, "header", json!({"type": "text", "text": "x"}))
}

pub(super) fn address(country: &str, pin_code: &str) -> Value {
    let parameters = json!({"country": country, "values": {"in_pin_code": pin_code}});
    interactive(
        "address_message",
        json!({"name": "address_message", "parameters": parameters}),
    )
}

pub(super) fn amount(value: i64) -> Value {
    json!({"value": value, "offset": 100})
}

pub(super) fn order(path: &str, value: Value) -> Value {
    let mut body = interactive(
        "order_details",
        json!({"name": "review_and_pay", "parameters": {
        "reference_id": "order-7", "type": "digital-goods", "currency": "INR", "total_amount": amount(110),
        "order": {"status": "pending", "items": [{"name": "x", "amount": amount(100), "quantity": 1}],
                  "subtotal": amount(100), "tax": amount(20), "discount": amount(10)}}}),
    );
    *body
        .pointer_mut(&format!("/interactive/action/parameters{path}"))
        .expect("a place") = value;
    body
}

pub(super) fn card(index: usize) -> Value {
    json!({"card_index": index, "type": "cta_url",
        "header": {"type": "image", "image": {"link": "https://example.com/a.png"}}, "body": {"text": "x"},
        "action": {"name": "cta_url", "parameters": {"display_text": "Buy", "url": "https://example.com"}}})
}

pub(super) fn cards(cards: Vec<Value>) -> Value {
    interactive("carousel", json!({"cards": cards}))
}

pub(super) fn first_card(key: &str, value: Value) -> Value {
    cards(vec![with(card(0), key, value), card(1)])
}

pub(super) fn template(components: Value) -> Value {
    json!({"type": "template", "template":
        {"name": "spring_sale", "language": {"code": "en_US"}, "components": components}})
}

pub(super) fn named(name: &str, code: &str) -> Value {
    json!({"type": "template", "template": {"name": name, "language": {"code": code}}})
}

pub(super) fn component(kind: &str, parameters: Value) -> Value {
    json!({"type": kind, "parameters": parameters})
}

pub(super) fn words(count: usize) -> Value {
    json!({"type": "text", "text": text(count)})
}

pub(super) fn body_with(parameter: Value) -> Value {
    template(json!([component("body", json!([parameter]))]))
}

pub(super) fn beside_a_header(count: usize) -> Value {
    template(json!([
        component("header", json!([words(1)])),
        component("body", json!([words(count)]))
    ]))
}

pub(super) fn template_button(index: Value, kind: &str, parameter: Value) -> Value {
    json!({"type": "button", "sub_type": kind, "index": index, "parameters": [parameter]})
}

pub(super) fn quick(index: Value) -> Value {
    template_button(
        index,
        "quick_reply",
        json!({"type": "payload", "payload": "x"}),
    )
}

pub(super) fn template_cards(indexes: &[usize]) -> Value {
    let card = |index: &usize| json!({"card_index": index, "components": [component("header", json!([{"type": "video", "video": {"id": "1"}}]))]});
    template(json!([{"type": "carousel", "cards": indexes.iter().map(card).collect::<Vec<_>>()}]))
}

pub(super) fn offer(body: usize) -> Value {
    let end =
        json!({"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": 1}});
    template(json!([
        component("body", json!([words(body)])),
        component("limited_time_offer", json!([end]))
    ]))
}

pub(super) fn offer_end(end: Value) -> Value {
    let end =
        json!({"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": end}});
    template(json!([component("limited_time_offer", json!([end]))]))
}

pub(super) fn single_product(body: usize) -> Value {
    let product =
        json!({"type": "product", "product": {"catalog_id": "1", "product_retailer_id": "2"}});
    template(json!([
        component("header", json!([product])),
        component("body", json!([words(body)]))
    ]))
}

pub(super) fn password(count: usize) -> Value {
    template(json!([
        component("body", json!([words(count)])),
        template_button(json!(0), "url", words(count))
    ]))
}

pub(super) fn read(key: &str, value: Value) -> Value {
    with(
        json!({"status": "read", "message_id": "wamid.A"}),
        key,
        value,
    )
}

/// Eleven sections cannot have a row each, for rows are ten: the last has none.
pub(super) fn sections_with_one_row(count: usize) -> Value {
    let mut body = sections(count, "x");
    body["interactive"]["action"]["sections"][count - 1]["rows"] = json!([]);
    body
}

pub(super) fn body_of_other(count: usize) -> Value {
    template(json!([component("footer", json!([words(count)]))]))
}
