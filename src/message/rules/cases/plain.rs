//! Any field, the message, and plain content.

use serde_json::json;

use super::Case;
use super::make::*;

pub(super) fn general() -> Vec<Case> {
    let hello = || a_text(json!("Hello"));
    vec![
        (
            "field_missing",
            "/text/body",
            json!({"type": "text", "text": {}}),
            hello(),
        ),
        ("field_missing", "/text/body", a_text(json!(null)), hello()),
        (
            "field_type",
            "/text/body",
            a_text(json!(["Hello"])),
            hello(),
        ),
        (
            "field_scalar",
            "/text/body",
            a_text(json!(7)),
            a_text(json!("7")),
        ),
        (
            "field_encoded",
            "/template",
            json!({"type": "template", "template": "{}"}),
            named("a", "en"),
        ),
        (
            "field_null",
            "/context",
            with(hello(), "context", json!(null)),
            hello(),
        ),
        (
            "unknown_field",
            "/text/a~1b~0c",
            json!({"type": "text", "text": {"body": "x", "a/b~c": 1}}),
            hello(),
        ),
        ("nul", "/text/body", a_text(json!("a\0b")), hello()),
        ("not_an_object", "", json!(["x"]), hello()),
        (
            "type_missing",
            "/type",
            json!({"image": {"id": "1"}}),
            json!({"text": {"body": "x"}}),
        ),
        (
            "type_unknown",
            "/type",
            json!({"type": "hologram", "hologram": {}}),
            hello(),
        ),
        (
            "content_missing",
            "/image",
            json!({"type": "image"}),
            media("image", json!({"id": "1"})),
        ),
        (
            "encrypted_envelope",
            "/encrypted_contents",
            json!({"encrypted_contents": "e.y.J"}),
            hello(),
        ),
        (
            "callback_data_length",
            "/biz_opaque_callback_data",
            with(hello(), "biz_opaque_callback_data", json!(text(513))),
            with(hello(), "biz_opaque_callback_data", json!(text(512))),
        ),
        (
            "reaction_context",
            "/context",
            with(
                media("reaction", json!({"message_id": "m", "emoji": ""})),
                "context",
                json!({"message_id": "m"}),
            ),
            with(hello(), "context", json!({"message_id": "m"})),
        ),
        (
            "message_id_empty",
            "/context/message_id",
            with(hello(), "context", json!({"message_id": ""})),
            with(hello(), "context", json!({"message_id": "m"})),
        ),
        (
            "ttl_range",
            "/message_send_ttl_seconds",
            with(hello(), "message_send_ttl_seconds", json!(29)),
            with(hello(), "message_send_ttl_seconds", json!(30)),
        ),
        (
            "ttl_range",
            "/message_send_ttl_seconds",
            with(hello(), "message_send_ttl_seconds", json!(2_592_001)),
            with(hello(), "message_send_ttl_seconds", json!(-1)),
        ),
        (
            "product_policy",
            "/product_policy",
            with(named("a", "en"), "product_policy", json!("LOOSE")),
            with(named("a", "en"), "product_policy", json!("STRICT")),
        ),
        (
            "read_status",
            "/status",
            read("status", json!("played")),
            read("typing_indicator", json!({"type": "text"})),
        ),
        (
            "read_message_id",
            "/message_id",
            read("message_id", json!("")),
            read("status", json!("read")),
        ),
        (
            "read_message_id",
            "/message_id",
            json!({"status": "read"}),
            read("status", json!("read")),
        ),
        (
            "typing_indicator_type",
            "/typing_indicator/type",
            read("typing_indicator", json!({"type": "audio"})),
            read("typing_indicator", json!({"type": "text"})),
        ),
    ]
}

pub(super) fn plain() -> Vec<Case> {
    let link = |link: &str| media("video", json!({"link": link}));
    let captioned = |count| {
        media(
            "document",
            json!({"id": "1", "filename": "a.pdf", "caption": text(count)}),
        )
    };
    let with_id = |count| {
        let mut body = pin("pin", json!(1));
        body["pin"]["message_id"] = text(count).into();
        body
    };
    let phones = |key: &str| {
        let phones = json!([{"phone": "+16505551234", key: "16505551234"}]);
        contacts(vec![with(ada(), "phones", phones)])
    };
    let emoji = |emoji: &str| media("reaction", json!({"message_id": "m", "emoji": emoji}));
    let born = |day: &str| contacts(vec![with(ada(), "birthday", json!(day))]);
    vec![
        (
            "text_body_length",
            "/text/body",
            a_text(json!(text(4_097))),
            a_text(json!(text(4_096))),
        ),
        (
            "text_body_length",
            "/text/body",
            a_text(json!("")),
            a_text(json!("x")),
        ),
        (
            "message_id_length",
            "/pin/message_id",
            with_id(129),
            with_id(128),
        ),
        (
            "unknown_field",
            "/contacts/0/phones/0/wa-id",
            phones("wa-id"),
            phones("wa_id"),
        ),
        (
            "media_id_or_link",
            "/image",
            media("image", json!({"id": "1", "link": "https://a"})),
            media("image", json!({"id": "1"})),
        ),
        (
            "media_id_or_link",
            "/audio",
            media("audio", json!({"voice": true})),
            media("audio", json!({"id": "1", "voice": true})),
        ),
        (
            "media_link",
            "/video/link",
            link("example.com/a.mp4"),
            link("HTTP://example.com/a.mp4"),
        ),
        (
            "media_link",
            "/video/link",
            link("files:a.mp4"),
            link("file:a.mp4"),
        ),
        (
            "media_caption_length",
            "/document/caption",
            captioned(1_025),
            captioned(1_024),
        ),
        (
            "location_latitude",
            "/location/latitude",
            location(json!(90.1), json!(0)),
            location(json!(90), json!("180")),
        ),
        (
            "location_latitude",
            "/location/latitude",
            location(json!("NaN"), json!(0)),
            location(json!("3.7e1"), json!(0)),
        ),
        (
            "location_longitude",
            "/location/longitude",
            location(json!(0), json!("-inf")),
            location(json!(0), json!(" 122 ")),
        ),
        (
            "location_longitude",
            "/location/longitude",
            location(json!("37.4"), json!("east")),
            location(json!("37.4"), json!("-122.1")),
        ),
        (
            "contacts_count",
            "/contacts",
            contacts(vec![ada(); 258]),
            contacts(vec![ada(); 257]),
        ),
        (
            "contacts_count",
            "/contacts",
            contacts(vec![]),
            contacts(vec![ada()]),
        ),
        (
            "contact_name",
            "/contacts/0/name/formatted_name",
            contacts(vec![contact(
                json!({"formatted_name": "", "first_name": "x"}),
            )]),
            contacts(vec![ada()]),
        ),
        (
            "contact_name_part",
            "/contacts/0/name",
            contacts(vec![contact(json!({"formatted_name": "x"}))]),
            contacts(vec![ada()]),
        ),
        (
            "contact_birthday",
            "/contacts/0/birthday",
            born("12 May"),
            born("2012-08-18"),
        ),
        (
            "reaction_emoji",
            "/reaction/emoji",
            emoji("ok"),
            emoji("👍🏽"),
        ),
        (
            "pin_type",
            "/pin/type",
            pin("stick", json!(1)),
            pin("unpin", json!(1)),
        ),
        (
            "pin_expiration",
            "/pin/expiration_days",
            pin("pin", json!(31)),
            pin("pin", json!("30")),
        ),
    ]
}
