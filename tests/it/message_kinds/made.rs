//! A message of every kind, with all that its builder can give it.

use serde_json::json;
use time::macros::datetime;
use wa_outbox::message::contacts::{Address, Contact, Organization};
use wa_outbox::message::interactive::{Card, Order, OrderItem, PaymentSetting, Row};
use wa_outbox::message::template::{Card as TemplateCard, Parameter, ProductSection};
use wa_outbox::message::{self, Fields, Media, Outgoing, Recipient};

use crate::support::make::ALICE;

/// A person whose number is not known.
pub(crate) const PERSON: &str = "US.13491208655302741918";
/// A group.
pub(crate) const GROUP: &str = "Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD";
const WAMID: &str = "wamid.HBgLMTY1MDU1NTEwMDEVAgASGBI=";
const CATALOG: &str = "194836987003835";

fn link(name: &str) -> Media {
    Media::link(format!("https://example.com/{name}"))
}

/// A message of every kind, and what it is.
pub(crate) fn every_kind() -> Vec<(&'static str, Outgoing)> {
    [plain(), media(), templates(), interactive(), commerce()].concat()
}

fn plain() -> Vec<(&'static str, Outgoing)> {
    let ada = Contact::named("Ada", "Lovelace")
        .mobile("+44 20 7946 0000", Some("442079460000"))
        .email("ada@example.com", "Work")
        .url("https://example.com", "Work")
        .address(Address {
            street: Some("1 Main Street".to_owned()),
            country_code: Some("GB".to_owned()),
            kind: Some("Home".to_owned()),
            ..Address::default()
        })
        .organization(Organization {
            company: Some("Analytical Engines".to_owned()),
            ..Organization::default()
        });
    let people = Recipient::group(GROUP);
    vec![
        ("a text", message::text("Hello").to(ALICE)),
        (
            "a preview",
            message::text("See https://example.com")
                .preview_url()
                .to(ALICE),
        ),
        (
            "an answer",
            message::text("Yes \"really\" 🎉\n")
                .reply_to(WAMID)
                .to(ALICE),
        ),
        (
            "data of ours",
            message::text("Data").callback_data("order-17").to(ALICE),
        ),
        (
            "to a person",
            message::text("To a person").to(Recipient::user(PERSON)),
        ),
        ("to a group", message::text("To a group").to(people.clone())),
        (
            "a place",
            message::location(37.25, -122.5)
                .name("Shop")
                .address("1 Main Street")
                .to(ALICE),
        ),
        ("a card", message::contacts([ada]).to(ALICE)),
        ("a reaction", message::reaction(WAMID, "👍").to(ALICE)),
        (
            "a reaction taken back",
            message::remove_reaction(WAMID).to(ALICE),
        ),
        ("a pin", message::pin(WAMID, 30).to(people.clone())),
        ("a pin taken off", message::unpin(WAMID).to(people)),
        ("a message read", message::mark_as_read(WAMID).to(ALICE)),
        (
            "an answer being written",
            message::mark_as_read(WAMID).typing().to(ALICE),
        ),
    ]
}

fn media() -> Vec<(&'static str, Outgoing)> {
    let id = || Media::id("1602186516975000");
    vec![
        (
            "an image",
            message::image(link("a.jpg")).caption("Packed").to(ALICE),
        ),
        ("an uploaded image", message::image(id()).to(ALICE)),
        ("an audio file", message::audio(link("a.mp3")).to(ALICE)),
        ("a voice note", message::audio(id()).voice().to(ALICE)),
        (
            "a video",
            message::video(link("a.mp4")).caption("Packing").to(ALICE),
        ),
        (
            "a document",
            message::document(link("a.pdf"))
                .caption("Bill")
                .filename("bill.pdf")
                .to(ALICE),
        ),
        ("a sticker", message::sticker(id()).to(ALICE)),
    ]
}

fn templates() -> Vec<(&'static str, Outgoing)> {
    let template = || message::template("order_shipped", "en_US");
    let card = |name: &str| {
        TemplateCard::new()
            .header(message::video(link(name)))
            .body([name])
            .quick_reply(0, name)
            .url_button(1, name)
    };
    let data = Fields::from_iter([("name".to_owned(), json!("Ada"))]);
    let values = [
        Parameter::named("name", "Ada"),
        Parameter::currency("$100.99", "USD", 100_990),
        Parameter::date_time("February 25"),
    ];
    let bill = message::document(link("b.pdf")).filename("b.pdf");
    let sections = [ProductSection::new("Ferns", ["fern-1", "fern-2"])];
    vec![
        ("a template", template().to(ALICE)),
        (
            "filled",
            template()
                .header("Hi")
                .body(["Ada", "4711"])
                .url_button(0, "4711")
                .to(ALICE),
        ),
        ("values", template().body(values).to(ALICE)),
        (
            "a header image",
            template().header(message::image(link("b.jpg"))).to(ALICE),
        ),
        ("a header document", template().header(bill).to(ALICE)),
        (
            "a header place",
            template()
                .header(message::location(37.25, -122.5).name("Ada"))
                .to(ALICE),
        ),
        (
            "a header product",
            template()
                .header(Parameter::product("fern-1", CATALOG))
                .to(ALICE),
        ),
        (
            "a one-time password",
            template().one_time_password("J$FpnYnP").to(ALICE),
        ),
        (
            "products",
            template().products_button(0, "fern-1", sections).to(ALICE),
        ),
        (
            "a catalog",
            template().catalog_button(0, "fern-1").to(ALICE),
        ),
        ("a coupon", template().coupon_code(1, "25OFF").to(ALICE)),
        (
            "an offer",
            template()
                .offer_ends_at(datetime!(2030-01-01 0:00 UTC))
                .coupon_code(0, "25OFF")
                .to(ALICE),
        ),
        (
            "a flow",
            template().flow_button(0, "4711", Some(data)).to(ALICE),
        ),
        ("a quick reply", template().quick_reply(0, "more").to(ALICE)),
        (
            "cards",
            template()
                .body(["Ada"])
                .carousel([card("one"), card("two")])
                .to(ALICE),
        ),
        (
            "an answer by template",
            template().body(["Bob"]).reply_to(WAMID).to(ALICE),
        ),
    ]
}

fn interactive() -> Vec<(&'static str, Outgoing)> {
    let rows = || {
        [
            Row::new("a", "A").description("The first"),
            Row::new("b", "B"),
        ]
    };
    let buttons = message::buttons("Shall we?")
        .button("yes", "Yes")
        .button("no", "No");
    let list = message::list("Which?", "Choose");
    let data = Fields::from_iter([("day", 7)].map(|(key, value)| (key.to_owned(), json!(value))));
    let flow = || message::flow("Book", "Book!", "1234567890").token("4711");
    let image = |name: &str| message::image(link(name));
    let address = message::address_request("Where to?", "IN")
        .value("name", "Ada")
        .error("in_pin_code", "There is no such pin code")
        .saved_address("home", [("city", "Mumbai"), ("in_pin_code", "400063")]);
    vec![
        (
            "buttons",
            buttons
                .clone()
                .header(image("c.jpg"))
                .footer("Thanks")
                .to(ALICE),
        ),
        (
            "buttons as an answer",
            buttons.header_text("Well").reply_to(WAMID).to(ALICE),
        ),
        (
            "a list",
            list.clone()
                .header_text("Ways")
                .section("One", rows())
                .section("Two", [])
                .to(ALICE),
        ),
        ("a short list", list.rows(rows()).footer("Thanks").to(ALICE)),
        (
            "a link",
            message::cta_url("See", "Open", "https://example.com")
                .header("Look")
                .to(ALICE),
        ),
        ("a flow", flow().begin_at("DAYS", Some(data)).to(ALICE)),
        (
            "a flow of an endpoint",
            flow().ask_endpoint().draft().to(ALICE),
        ),
        (
            "a question for a place",
            message::location_request("Where are you?").to(ALICE),
        ),
        (
            "a question for a contact",
            message::contact_request("Who are you?").to(Recipient::user(PERSON)),
        ),
        ("a question for an address", address.to(ALICE)),
        (
            "a question to call",
            message::call_permission_request("May we call?").to(ALICE),
        ),
        (
            "a call",
            message::voice_call("Call us")
                .display_text("Call")
                .ttl_minutes(100)
                .payload("17")
                .to(ALICE),
        ),
        (
            "a form",
            message::form("How was it?", "Choose")
                .rating("stars")
                .to(ALICE),
        ),
        (
            "cards with links",
            message::carousel(
                "New",
                ["d", "e"].map(|it| Card::url(image(it), "Buy", "https://example.com").body(it)),
            )
            .to(ALICE),
        ),
        (
            "cards with answers",
            message::carousel(
                "New",
                ["f", "g"].map(|it| Card::replies(image(it), [(it, "More")])),
            )
            .to(ALICE),
        ),
    ]
}

fn commerce() -> Vec<(&'static str, Outgoing)> {
    let order = Order::of([OrderItem::new("Cake", 50_000, 2).retailer_id("cake-1")])
        .tax(700)
        .shipping(300)
        .discount(100);
    let details = || message::order_details("Your order", "order-17", "BRL", order.clone());
    let boleto = PaymentSetting::new("boleto", json!({"digitable_line": "0339902694414"}));
    vec![
        (
            "a product",
            message::product(CATALOG, "fern-1")
                .body("A fern")
                .footer("Green")
                .to(ALICE),
        ),
        (
            "products",
            message::product_list("Plants", "All", CATALOG)
                .section("Ferns", ["fern-1"])
                .to(ALICE),
        ),
        (
            "a catalog",
            message::catalog("Look")
                .thumbnail("fern-1")
                .footer("Green")
                .to(ALICE),
        ),
        ("a whole catalog", message::catalog("Look around").to(ALICE)),
        (
            "cards with products",
            message::carousel(
                "New",
                ["fern-1", "fern-2"].map(|it| Card::product(CATALOG, it)),
            )
            .to(ALICE),
        ),
        (
            "an order",
            details()
                .payment("br")
                .payment_setting(boleto)
                .header(message::image(link("h.jpg")))
                .to(ALICE),
        ),
        (
            "an order of goods",
            details()
                .physical_goods()
                .payment_configuration("mine")
                .footer("Thanks")
                .to(ALICE),
        ),
        (
            "its status",
            message::order_status("Sent", "order-17", "shipped")
                .description("By bike")
                .to(ALICE),
        ),
    ]
}
