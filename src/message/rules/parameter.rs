//! The parameters of a template's components.

use serde_json::Value;

use super::commerce;
use super::content::{location, media_source};
use super::look::{Be, Look, MayBe, Object};
use super::rule::{Found, Limit, Rule, rules};

rules! {
    LIST "template_parameters_list" Doubtful: "parameters are a list", Limit::Words("a list");
        "Meta, Messages reference (components object); Meta's collection for On-Premises has an object"; "write [ … ] around it".
    EMPTY "template_text_empty" Refused: "a text parameter says something", Limit::Words("not empty");
        "field report (frappe_whatsapp #169): answered with HTTP 400"; "give the variable a value".
    LINES "template_text_lines" Refused: "a text parameter stands on one line", Limit::Words("no line breaks, no tabs, at most 4 blanks in a row");
        "details of refusals (netflie/whatsapp-cloud-api #201, dimagi/open-chat-studio #4277)"; "take them out of the variable".
    HEADER "template_header_length" Refused: "all parameters of a header keep its length together", Limit::Characters(0, 60);
        "Meta, Messages reference (parameter object); Template components"; "shorten the variable".
    BODY "template_body_length" Refused: "beside other components all parameters of a body keep its length together", Limit::Characters(0, 1_024);
        "Meta, Messages reference (parameter object); Error codes (132005)"; "shorten the variable".
    BODY_ALONE "template_body_alone_length" Doubtful: "all parameters of a body that is the only component keep the length of the template together", Limit::Characters(0, 1_024);
        "Meta, Template components has 1,024, the Messages reference 32,768 where the body is the only component"; "shorten the variable, or the answer may be 132005".
    LENGTH "template_text_length" Refused: "a text parameter keeps its length", Limit::Characters(0, 32_768);
        "Meta, OpenAPI v23.0"; "shorten the variable".
    ADDRESS "template_url_length" Refused: "the variable part of an address keeps its length", Limit::Characters(0, 2_000);
        "Meta, Template components (URL buttons)"; "shorten the variable".
    CURRENCY "template_currency" Refused: "a currency is whole", Limit::Words("fallback_value, code, amount_1000");
        "Meta, Messages reference (currency object)"; "give fallback_value and code as text, amount_1000 as a number".
    DATE "template_date_time" Refused: "a date has its text", Limit::Words("fallback_value");
        "Meta, Messages reference (date_time object)"; "give fallback_value as text".
    COUPON "template_coupon_code_length" Refused: "a coupon code keeps its length", Limit::Characters(1, 20);
        "Meta, Coupon code templates (older pages have 15)"; "shorten it".
    OFFER_END "template_offer_expiration" Refused: "an offer ends at a time", Limit::Number(1.0, f64::INFINITY);
        "Meta, Limited-time offer templates"; "give expiration_time_ms as milliseconds".
    PAYLOAD "template_payload_empty" Doubtful: "the payload of a button says something", Limit::Words("not empty");
        "Meta, Messages reference (button parameter object)"; "give it a value".
}

/// Five blanks.
const BLANKS: &str = "     ";

/// What texts are measured by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Header,
    Body,
    BodyAlone,
    Address,
    Other,
}

impl Measure {
    /// Of all parameters of the part together: what the template says around them is not known.
    fn rule(self) -> &'static Rule {
        match self {
            Self::Header => &HEADER,
            Self::Body => &BODY,
            Self::BodyAlone => &BODY_ALONE,
            Self::Address => &ADDRESS,
            Self::Other => &LENGTH,
        }
    }
}

/// Looks at all of a component's, and says how many characters their texts have together.
pub(super) fn parameters(look: &mut Look, of: &Object<'_, '_>, measure: Measure) -> usize {
    if of.get("parameters").is_some_and(Value::is_object) {
        let at = of.at.key("parameters");
        look.tell(&LIST, &at, Found::Type("an object"));
        return 0;
    }
    let Some(list) = look.list(of, "parameters", MayBe) else {
        return 0;
    };
    let Limit::Characters(_, most) = measure.rule().limit else {
        return 0;
    };
    let (mut length, mut too_long) = (0, None);
    for index in 0..list.items.len() {
        let Some(one) = list.object(look, index) else {
            continue;
        };
        let of_one = parameter(look, &one);
        length += of_one;
        if of_one > most {
            too_long = too_long.or(Some((index, of_one)));
        }
    }
    match too_long {
        Some((index, of_one)) => {
            let at = list.at.item(index);
            let found = Found::Characters(of_one);
            look.tell(measure.rule(), &at.key("text"), found);
        }
        None if length > most && measure != Measure::Other => {
            look.tell(measure.rule(), &list.at, Found::Characters(length));
        }
        None => {}
    }
    length
}

/// Says how many characters it brings.
fn parameter(look: &mut Look, one: &Object<'_, '_>) -> usize {
    let Some(kind) = look.string(one, "type", Be) else {
        return 0;
    };
    match kind {
        "text" => {
            look.known(one, &["type", "text", "parameter_name"]);
            return text(look, one);
        }
        "image" | "video" | "document" | "gif" => media(look, one, kind),
        "currency" => currency(look, one),
        "date_time" => date(look, one),
        "location" => {
            if let Some(place) = look.object(one, kind, Be) {
                location(look, &place);
            }
        }
        "coupon_code" => drop(look.text(one, kind, Be, &COUPON)),
        "payload" if look.string(one, kind, Be) == Some("") => {
            look.tell(&PAYLOAD, &one.at.key(kind), Found::Words("is empty"));
        }
        "limited_time_offer" => {
            if let Some(offer) = look.object(one, kind, Be) {
                look.number(&offer, "expiration_time_ms", Be, &OFFER_END);
            }
        }
        "product" => {
            if let Some(product) = look.object(one, kind, Be) {
                commerce::product(look, &product);
            }
        }
        "action" => action(look, one),
        // Kinds that carry no limit that is known, and newer ones.
        _ => {}
    }
    0
}

fn text(look: &mut Look, one: &Object<'_, '_>) -> usize {
    let Some(text) = look.string(one, "text", Be) else {
        return 0;
    };
    let at = one.at.key("text");
    if text.trim().is_empty() {
        look.tell(&EMPTY, &at, Found::Words("is empty"));
    }
    if text.contains(['\n', '\r', '\t']) || text.contains(BLANKS) {
        let found = Found::Words("has a line break, a tab or five blanks in a row");
        look.tell(&LINES, &at, found);
    }
    text.chars().count()
}

fn media(look: &mut Look, one: &Object<'_, '_>, kind: &str) {
    // On-Premises takes the fields of media beside the type as well.
    if one.get(kind).is_none() && (one.get("link").is_some() || one.get("id").is_some()) {
        return look.known(one, &["type", kind]);
    }
    if let Some(media) = look.object(one, kind, Be) {
        look.known(&media, &["id", "link", "filename", "caption"]);
        media_source(look, &media);
    }
}

fn currency(look: &mut Look, one: &Object<'_, '_>) {
    let Some(currency) = look.object(one, "currency", Be) else {
        return;
    };
    let has_text = |field: &str| currency.str(field).is_some_and(|text| !text.is_empty());
    let is_whole =
        has_text("fallback_value") && has_text("code") && currency.number("amount_1000").is_some();
    if !is_whole {
        let found = Found::Words("is incomplete");
        look.tell(&CURRENCY, &currency.at, found);
    }
}

fn date(look: &mut Look, one: &Object<'_, '_>) {
    if let Some(date) = look.object(one, "date_time", Be)
        && date.str("fallback_value").is_none_or(str::is_empty)
    {
        look.tell(&DATE, &date.at, Found::Words("is incomplete"));
    }
}

fn action(look: &mut Look, one: &Object<'_, '_>) {
    let Some(action) = look.object(one, "action", Be) else {
        return;
    };
    if action.get("sections").is_some() {
        commerce::sections(look, &action);
    }
    if let Some(order) = look.object(&action, "order_details", MayBe) {
        commerce::order(look, &order);
    }
}
