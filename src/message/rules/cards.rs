//! Cards side by side: of an interactive carousel.

use serde_json::Value;

use super::commerce;
use super::interactive::{cta_url, header_content, part, reply_button};
use super::look::{Be, Look, MayBe, Object};
use super::rule::{Found, Limit, Rule, rules};

rules! {
    CARDS_COUNT "carousel_cards_count" Refused: "a carousel has so many cards", Limit::Items(2, 10);
        "Meta, Interactive media carousel messages"; "add some, or take some out".
    FOOTER "carousel_footer" Doubtful: "a carousel has no footer of its own", Limit::Words("no footer");
        "Meta, Interactive media carousel messages"; "put it into the body, or into the cards".
    CARD_INDEX "carousel_card_index" Doubtful: "the cards are numbered from 0", Limit::Words("0, 1, 2 … in order");
        "Meta, Interactive media carousel messages"; "number them".
    CARD_TYPE "carousel_card_type" Doubtful: "a card is of a type of the documentation", Limit::OneOf(&["cta_url", "quick_reply", "product"]);
        "Meta, Interactive media carousel messages; Product carousel messages"; "use one of them, the same for all cards".
    CARD_BODY "carousel_card_body_length" Refused: "the body of a card keeps its length", Limit::Characters(1, 160);
        "Meta, Interactive media carousel messages"; "shorten it".
    CARD_LINES "carousel_card_body_lines" Refused: "the body of a card has few line breaks", Limit::Items(0, 2);
        "Meta, Interactive media carousel messages"; "take some out".
    CARD_HEADER "carousel_card_header" Refused: "a card with media has a header", Limit::Words("an image or a video");
        "Meta, Interactive media carousel messages"; "add one".
}

/// Has nothing around its cards but a body.
pub(super) fn outside(look: &mut Look, interactive: &Object<'_, '_>) {
    if interactive.get("footer").is_some() {
        let at = interactive.at.key("footer");
        look.tell(&FOOTER, &at, Found::Words("is there"));
    }
}

pub(super) fn carousel(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["cards", "name"]);
    let Some(cards) = look.list(action, "cards", Be) else {
        return;
    };
    look.count(cards.items.len(), &cards.at, &CARDS_COUNT);
    for (index, card) in cards.items.iter().enumerate() {
        let at = cards.at.item(index);
        if let Some(card) = look.as_object(card, at) {
            one_card(look, &card, index);
        }
    }
}

fn one_card(look: &mut Look, card: &Object<'_, '_>, index: usize) {
    look.known(
        card,
        &["card_index", "type", "header", "body", "footer", "action"],
    );
    numbered(look, card, index, &CARD_INDEX);
    let is_product = look.one_of(card, "type", MayBe, &CARD_TYPE) == Some("product");
    match look.object(card, "header", MayBe) {
        Some(header) => header_content(look, &header, &["image", "video"]),
        None if is_product || card.fields.contains_key("header") => {}
        None => look.tell(&CARD_HEADER, &card.at.key("header"), Found::Missing),
    }
    part(look, card, "body", MayBe, &CARD_BODY);
    if let Some(text) = card.get("body").and_then(|body| body.get("text")) {
        let lines = text.as_str().unwrap_or_default().matches('\n').count();
        let body = card.at.key("body");
        look.count(lines, &body.key("text"), &CARD_LINES);
    }
    let Some(action) = look.object(card, "action", Be) else {
        return;
    };
    match action.get("buttons") {
        _ if is_product => commerce::product(look, &action),
        Some(_) => quick_replies(look, &action),
        None => cta_url(look, &action),
    }
}

/// Whether a card says its place.
pub(super) fn numbered(look: &mut Look, card: &Object<'_, '_>, index: usize, rule: &'static Rule) {
    let given = card.get("card_index").map(Value::as_u64);
    if given != Some(u64::try_from(index).ok()) {
        let found = match given {
            None => Found::Missing,
            Some(_) => Found::Words("is another"),
        };
        look.tell(rule, &card.at.key("card_index"), found);
    }
}

fn quick_replies(look: &mut Look, action: &Object<'_, '_>) {
    let Some(buttons) = look.list(action, "buttons", Be) else {
        return;
    };
    // The same button may stand on each card, so they are compared on one card alone.
    let (mut ids, mut titles) = (Vec::new(), Vec::new());
    for index in 0..buttons.items.len() {
        if let Some(button) = buttons.object(look, index)
            && let Some(reply) = look.object(&button, "quick_reply", MayBe)
        {
            reply_button(look, &reply, &mut ids, &mut titles);
        }
    }
}
