//! Template messages: the name, the language, the components.
//!
//! The template itself is Meta's. A parameter is measured against the part that it goes into, which can only be longer.

use super::cards::numbered;
use super::envelope::time_to_live;
use super::look::{Be, Look, MayBe, Object, unlike};
use super::parameter::{Measure, parameters};
use super::rule::{Found, Limit, rules};

rules! {
    NAME "template_name" Refused: "a template's name is of small letters, digits and _", Limit::Words("1 to 512 of a-z, 0-9 and _");
        "Meta, Template components (name); Error codes (132001)"; "write the name as it was approved".
    LANGUAGE "template_language" Refused: "a template has a language", Limit::Words("a code such as en_US");
        "Meta, Messages reference (template object); Error codes (132001)"; "write \"language\":{\"code\":\"en_US\"}, as it was approved".
    COMPONENT_TYPE "template_component_type" Doubtful: "a component is of a type of the documentation", Limit::OneOf(&COMPONENTS);
        "Meta, Messages reference (components object)"; "check how it is spelt; a newer type is fine".
    BUTTONS_COUNT "template_buttons_count" Refused: "a template has so many buttons", Limit::Items(0, 10);
        "Meta, Messages reference (components object)"; "take some out".
    BUTTON_INDEX "template_button_index" Refused: "the place of a button is a number", Limit::Number(0.0, 9.0);
        "Meta, Messages reference (components object)"; "number the buttons as the template has them".
    BUTTON_INDEX_MISSING "template_button_index_missing" Doubtful: "a button says its place", Limit::Words("0 to 9");
        "Meta, Migrating from On-Premises API to Cloud API: required on Cloud API (its own sample of a call button has none)"; "number the buttons as the template has them".
    BUTTON_TWICE "template_button_twice" Refused: "no two buttons have the same place", Limit::Words("unique");
        "Meta, Messages reference (components object)"; "number the buttons as the template has them".
    BUTTON_KIND "template_button_sub_type" Doubtful: "a button is of a kind of the documentation", Limit::OneOf(&SUB_TYPES);
        "Meta, Messages reference (components object); Templates (one page a kind)"; "check how it is spelt; a newer kind is fine".
    CARDS_COUNT "template_cards_count" Refused: "a carousel has so many cards", Limit::Items(2, 10);
        "Meta, Media card carousel templates"; "send as many cards as the template has".
    CARD_INDEX "template_card_index" Doubtful: "the cards are numbered from 0", Limit::Words("0, 1, 2 … in order");
        "Meta, Media card carousel templates"; "number them as the template has them".
    OFFER_BODY "template_offer_body_length" Refused: "the body of a limited-time offer keeps its length", Limit::Characters(0, 600);
        "Meta, Limited-time offer templates"; "shorten the parameters".
    PRODUCT_BODY "template_product_body_length" Refused: "the body of a single product keeps its length", Limit::Characters(0, 160);
        "Meta, Single-product message templates"; "shorten the parameters".
    AUTH_CODE "template_code_length" Doubtful: "a one-time password keeps its length", Limit::Characters(0, 15);
        "Meta, Authentication templates"; "shorten it, if this is an authentication template".
}

const COMPONENTS: [&str; 7] = [
    "header",
    "body",
    "footer",
    "button",
    "carousel",
    "limited_time_offer",
    "call_permission_request",
];
const SUB_TYPES: [&str; 12] = [
    "quick_reply",
    "url",
    "copy_code",
    "flow",
    "mpm",
    "spm",
    "catalog",
    "voice_call",
    "order_details",
    "one_tap",
    "otp",
    "phone_number",
];
const LONGEST_NAME: usize = 512;

pub(super) fn template(look: &mut Look, template: &Object<'_, '_>) {
    let fields = [
        "name",
        "language",
        "components",
        "category",
        "message_send_ttl_seconds",
    ];
    look.known(template, &fields);
    time_to_live(look, template);
    if let Some(name) = look.string(template, "name", Be) {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(plain) {
            let found = match name.len() {
                1..=LONGEST_NAME => unlike(name, "has other characters"),
                _ => Found::Characters(name.chars().count()),
            };
            look.tell(&NAME, &template.at.key("name"), found);
        }
    }
    if let Some(language) = look.object(template, "language", Be) {
        look.known(&language, &["code", "policy"]);
        if look.string(&language, "code", Be) == Some("") {
            let at = language.at.key("code");
            look.tell(&LANGUAGE, &at, Found::Words("is empty"));
        }
    }
    components(look, template, false);
}

/// What the parameters of the parts come to.
#[derive(Default)]
struct Lengths {
    body: Option<usize>,
    is_offer: bool,
    has_product: bool,
    button_places: Vec<f64>,
    buttons: usize,
}

/// The components of a template, or of a card of it.
fn components(look: &mut Look, of: &Object<'_, '_>, on_card: bool) {
    let Some(list) = look.list(of, "components", MayBe) else {
        return;
    };
    let kind_at = |index: usize| list.items[index]["type"].as_str().unwrap_or_default();
    let is_alone = |index: usize| {
        let is_body = |other: usize| kind_at(other).eq_ignore_ascii_case("body");
        is_body(index) && !on_card && (0..list.items.len()).all(is_body)
    };
    let mut lengths = Lengths::default();
    for index in 0..list.items.len() {
        if let Some(one) = list.object(look, index) {
            component(look, &one, is_alone(index), &mut lengths);
        }
    }
    look.count(lengths.buttons, &list.at, &BUTTONS_COUNT);
    let rule = match (lengths.is_offer, lengths.has_product) {
        (true, _) => &OFFER_BODY,
        (false, true) if !on_card => &PRODUCT_BODY,
        (false, _) => return,
    };
    if let (Some(length), Limit::Characters(_, to)) = (lengths.body, rule.limit)
        && length > to
    {
        look.tell(rule, &list.at, Found::Characters(length));
    }
}

fn component(look: &mut Look, one: &Object<'_, '_>, is_alone: bool, lengths: &mut Lengths) {
    let Some(kind) = look.string(one, "type", Be) else {
        return;
    };
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    if is("header") {
        look.known(one, &["type", "parameters"]);
        lengths.has_product |= holds_product(one);
        parameters(look, one, Measure::Header);
    } else if is("body") {
        look.known(one, &["type", "parameters"]);
        let measure = match is_alone {
            true => Measure::BodyAlone,
            false => Measure::Body,
        };
        lengths.body = Some(parameters(look, one, measure));
    } else if is("button") {
        lengths.buttons += 1;
        button(look, one, lengths);
    } else if is("carousel") {
        look.known(one, &["type", "cards"]);
        carousel(look, one);
    } else {
        lengths.is_offer |= is("limited_time_offer");
        if !COMPONENTS.iter().any(|name| is(name)) {
            let at = one.at.key("type");
            look.tell(&COMPONENT_TYPE, &at, Found::Words("is none of them"));
        }
        parameters(look, one, Measure::Other);
    }
}

fn holds_product(header: &Object<'_, '_>) -> bool {
    let parameters = header.get("parameters").and_then(|list| list.as_array());
    let is_product = |parameter: &serde_json::Value| parameter["type"] == "product";
    parameters.is_some_and(|list| list.iter().any(is_product))
}

fn button(look: &mut Look, button: &Object<'_, '_>, lengths: &mut Lengths) {
    look.known(button, &["type", "sub_type", "index", "parameters"]);
    let kind = look.string(button, "sub_type", Be).unwrap_or_default();
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    if !kind.is_empty() && !SUB_TYPES.iter().any(|name| is(name)) {
        let at = button.at.key("sub_type");
        look.tell(&BUTTON_KIND, &at, Found::Words("is none of them"));
    }
    if button.get("index").is_none() {
        let at = button.at.key("index");
        look.tell(&BUTTON_INDEX_MISSING, &at, Found::Missing);
    } else if let Some(place) = look.number(button, "index", Be, &BUTTON_INDEX) {
        if lengths.button_places.contains(&place) {
            let found = Found::Words("is there twice");
            look.tell(&BUTTON_TWICE, &button.at.key("index"), found);
        }
        lengths.button_places.push(place);
    }
    let measure = match is("url") {
        true => Measure::Address,
        false => Measure::Other,
    };
    let length = parameters(look, button, measure);
    // A one-time password stands in the body and in the button, so the two are as long.
    if let (true, Some(body), Limit::Characters(_, to)) = (is("url"), lengths.body, AUTH_CODE.limit)
        && lengths.buttons == 1
        && body == length
        && length > to
    {
        look.tell(&AUTH_CODE, &button.at, Found::Characters(length));
    }
}

fn carousel(look: &mut Look, carousel: &Object<'_, '_>) {
    let Some(cards) = look.list(carousel, "cards", Be) else {
        return;
    };
    look.count(cards.items.len(), &cards.at, &CARDS_COUNT);
    for index in 0..cards.items.len() {
        let Some(card) = cards.object(look, index) else {
            continue;
        };
        look.known(&card, &["card_index", "components"]);
        numbered(look, &card, index, &CARD_INDEX);
        components(look, &card, true);
    }
}
