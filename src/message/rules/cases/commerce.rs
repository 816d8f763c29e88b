//! Products, orders and cards.

use serde_json::json;

use super::Case;
use super::make::*;

pub(super) fn commerce() -> Vec<Case> {
    let catalog = |id: &str| {
        interactive(
            "product",
            json!({"catalog_id": id, "product_retailer_id": "1"}),
        )
    };
    let status = |status: &str| {
        interactive(
            "order_status",
            json!({"name": "review_order",
        "parameters": {"reference_id": "order-7", "order": {"status": status}}}),
        )
    };
    vec![
        (
            "product_retailer_id_length",
            "/interactive/action/product_retailer_id",
            product(&text(101)),
            product(&text(100)),
        ),
        (
            "catalog_id_empty",
            "/interactive/action/catalog_id",
            catalog(""),
            catalog("1"),
        ),
        (
            "product_sections_count",
            "/interactive/action/sections",
            products(11, 1),
            products(10, 1),
        ),
        (
            "products_count",
            "/interactive/action/sections",
            products(1, 31),
            products(1, 30),
        ),
        (
            "address_country",
            "/interactive/action/parameters/country",
            address("DE", ""),
            address("IN", ""),
        ),
        (
            "address_pin_code_length",
            "/interactive/action/parameters/values/in_pin_code",
            address("IN", "4000633"),
            address("IN", "400063"),
        ),
        (
            "order_reference_id",
            "/interactive/action/parameters/reference_id",
            order("/reference_id", json!("order 7")),
            order("/reference_id", json!("o".repeat(35))),
        ),
        (
            "order_type",
            "/interactive/action/parameters/type",
            order("/type", json!("goods")),
            order("/type", json!("physical-goods")),
        ),
        (
            "order_amount",
            "/interactive/action/parameters/order/items/0/amount",
            order("/order/items/0/amount", json!({"value": 1})),
            order("/order/items/0/amount", amount(1)),
        ),
        (
            "order_total",
            "/interactive/action/parameters/total_amount",
            order("/total_amount", amount(111)),
            order("/total_amount", amount(110)),
        ),
        (
            "order_items_count",
            "/interactive/action/parameters/order/items",
            order("/order/items", json!([])),
            order("/order/status", json!("pending")),
        ),
        (
            "order_status",
            "/interactive/action/parameters/order/status",
            status("lost"),
            status("shipped"),
        ),
        (
            "carousel_cards_count",
            "/interactive/action/cards",
            cards(vec![card(0)]),
            cards(vec![card(0), card(1)]),
        ),
        (
            "carousel_cards_count",
            "/interactive/action/cards",
            cards((0..11).map(card).collect()),
            cards((0..10).map(card).collect()),
        ),
        (
            "carousel_footer",
            "/interactive/footer",
            part(
                cards(vec![card(0), card(1)]),
                "footer",
                json!({"text": "x"}),
            ),
            cards(vec![card(0), card(1)]),
        ),
        (
            "carousel_card_index",
            "/interactive/action/cards/0/card_index",
            first_card("card_index", json!(1)),
            first_card("card_index", json!(0)),
        ),
        (
            "carousel_card_type",
            "/interactive/action/cards/0/type",
            first_card("type", json!("video")),
            first_card("type", json!("cta_url")),
        ),
        (
            "carousel_card_body_length",
            "/interactive/action/cards/0/body/text",
            first_card("body", json!({"text": text(161)})),
            first_card("body", json!({"text": text(160)})),
        ),
        (
            "carousel_card_body_lines",
            "/interactive/action/cards/0/body/text",
            first_card("body", json!({"text": "a\nb\nc\nd"})),
            first_card("body", json!({"text": "a\n\nb"})),
        ),
        (
            "carousel_card_header",
            "/interactive/action/cards/0/header",
            cards(vec![
                json!({"card_index": 0, "type": "cta_url", "action": card(0)["action"]}),
                card(1),
            ]),
            cards(vec![card(0), card(1)]),
        ),
    ]
}
