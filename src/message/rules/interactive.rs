//! Interactive messages: their header, body and footer, and the kinds that ask for a tap.

use super::cards;
use super::commerce;
use super::content::media_source;
use super::look::{Be, List, Look, MayBe, Must, Object};
use super::rule::{Found, Limit, Rule, rules};

rules! {
    TYPE_UNKNOWN "interactive_type_unknown" Doubtful: "the type is one of the documentation", Limit::OneOf(&TYPES);
        "Meta, Messages reference; Interactive messages"; "check how it is spelt; a newer type is fine".
    HEADER_TYPE "interactive_header_type" Doubtful: "a header is of a type that the documentation has for this kind", Limit::Words("list, product_list, form_message: text; button, cta_url, flow, order_details: text, image, video, document; others: none");
        "Meta, Interactive messages (one page a kind)"; "use another header, or none".
    HEADER_PRODUCT "interactive_product_header" Refused: "a single product has no header", Limit::Words("no header");
        "Meta, Messages reference (interactive object)"; "leave the header out".
    HEADER_MISSING "interactive_product_list_header" Refused: "several products have a header that is text", Limit::Words("a header of type text");
        "Meta, OpenAPI v23.0 (product_list)"; "add \"header\":{\"type\":\"text\",\"text\":…}".
    HEADER_LENGTH "interactive_header_length" Refused: "a header keeps its length", Limit::Characters(1, 60);
        "Meta, Messages reference (header object)"; "shorten it".
    BODY_LENGTH "interactive_body_length" Refused: "a body says something and keeps its length", Limit::Characters(1, 1_024);
        "Meta, Messages reference (interactive object); OpenAPI v23.0"; "shorten it".
    LIST_BODY_LENGTH "interactive_list_body_length" Refused: "the body of a list says something and keeps its length", Limit::Characters(1, 4_096);
        "Meta, Interactive list messages (OpenAPI v23.0 has 1,024)"; "shorten it".
    FOOTER_LENGTH "interactive_footer_length" Refused: "a footer keeps its length", Limit::Characters(1, 60);
        "Meta, Messages reference (interactive object)"; "shorten it".
    BUTTONS_COUNT "reply_buttons_count" Refused: "a message has so many reply buttons", Limit::Items(1, 3);
        "Meta, Interactive reply buttons messages"; "take some out, or send a list".
    BUTTON_TITLE "reply_button_title_length" Refused: "the title of a reply button keeps its length", Limit::Characters(1, 20);
        "Meta, Interactive reply buttons messages"; "shorten it".
    BUTTON_ID "reply_button_id_length" Refused: "the id of a reply button keeps its length", Limit::Characters(1, 256);
        "Meta, Interactive reply buttons messages"; "shorten it".
    BUTTON_BLANKS "reply_button_id_blanks" Refused: "the id of a reply button has no blanks around it", Limit::Words("no blanks at its ends");
        "Meta, Messages reference (button object); Migrating from On-Premises API to Cloud API"; "take them off".
    BUTTON_UNIQUE "reply_button_unique" Refused: "no two reply buttons have the same id or title", Limit::Words("unique");
        "Meta, Messages reference (button object)"; "change one of them".
    BUTTON_TYPE "reply_button_type" Refused: "a reply button is of type reply", Limit::OneOf(&["reply"]);
        "Meta, Interactive reply buttons messages"; "write \"type\":\"reply\"".
    LIST_BUTTON "list_button_length" Refused: "the button of a list keeps its length", Limit::Characters(1, 20);
        "Meta, Interactive list messages"; "shorten it".
    SECTIONS_COUNT "list_sections_count" Refused: "a list has so many sections", Limit::Items(1, 10);
        "Meta, Interactive list messages"; "join some of them".
    SECTION_TITLE "list_section_title_length" Refused: "the title of a section keeps its length", Limit::Characters(1, 24);
        "Meta, Interactive list messages"; "shorten it".
    SECTION_NAMED "list_section_title" Refused: "where there are several sections each has a title", Limit::Words("required with more than one section");
        "Meta, Messages reference (section object)"; "add its title".
    SECTION_EMPTY "list_section_empty" Doubtful: "a section has rows", Limit::Items(1, 10);
        "Meta, Interactive list messages"; "take the section out".
    ROWS_COUNT "list_rows_count" Refused: "all sections together have so many rows", Limit::Items(1, 10);
        "Meta, Interactive list messages"; "take some out".
    ROW_ID "list_row_id_length" Refused: "the id of a row keeps its length", Limit::Characters(1, 200);
        "Meta, Messages reference (section object)"; "shorten it".
    ROW_UNIQUE "list_row_id_unique" Refused: "no two rows have the same id", Limit::Words("unique");
        "Meta, Interactive list messages"; "change one of them".
    ROW_TITLE "list_row_title_length" Refused: "the title of a row keeps its length", Limit::Characters(1, 24);
        "Meta, Interactive list messages"; "shorten it".
    ROW_DESCRIPTION "list_row_description_length" Refused: "the description of a row keeps its length", Limit::Characters(0, 72);
        "Meta, Interactive list messages"; "shorten it".
    CTA_TEXT "cta_display_text_length" Refused: "the label of the button keeps its length", Limit::Characters(1, 20);
        "Meta, Interactive CTA URL button messages"; "shorten it".
    CTA_URL "cta_url" Refused: "the button leads to an address on the web", Limit::Words("http:// or https://");
        "Meta, Interactive CTA URL button messages"; "write the whole address, with http:// or https://".
    ACTION_NAME "interactive_action_name" Doubtful: "the name of the action is that of the kind", Limit::Words("cta_url, flow, send_location, catalog_message, address_message, review_and_pay, review_order, call_permission_request, voice_call, form_message");
        "Meta, Interactive messages (one page a kind)"; "write the name of the documentation".
    FLOW_LABEL "flow_cta_length" Refused: "the label of a flow's button keeps its length", Limit::Characters(1, 30);
        "Meta, OpenAPI v23.0 (the Messages reference has 20)"; "shorten it".
    FLOW_NAMED "flow_id_or_name" Refused: "a flow is named by its id or its name, and not both", Limit::Words("exactly one of flow_id and flow_name");
        "Meta, Sending a Flow"; "give one of them".
    FLOW_VERSION "flow_message_version" Doubtful: "the version of flow messages is the one documented", Limit::OneOf(&["3"]);
        "Meta, Sending a Flow"; "write \"3\"".
    FLOW_MODE "flow_mode" Refused: "a flow is a draft or published", Limit::OneOf(&["draft", "published"]);
        "Meta, Messages reference (action object)"; "use one of them".
    FLOW_ACTION "flow_action" Refused: "a flow begins with a screen or a data exchange", Limit::OneOf(&["navigate", "data_exchange"]);
        "Meta, Messages reference (action object)"; "use one of them".
    CALL_TEXT "voice_call_display_text_length" Refused: "the label of a call button keeps its length", Limit::Characters(1, 20);
        "Meta, Call buttons"; "shorten it".
    CALL_TTL "voice_call_ttl_minutes" Doubtful: "a call button lasts so many minutes", Limit::Number(1.0, 43_200.0);
        "Meta, Call buttons"; "give minutes, at most 30 days".
}

const TYPES: [&str; 16] = [
    "button",
    "list",
    "cta_url",
    "flow",
    "location_request_message",
    "product",
    "product_list",
    "catalog_message",
    "address_message",
    "order_details",
    "order_status",
    "carousel",
    "call_permission_request",
    "voice_call",
    "request_contact_info",
    "form_message",
];
const PARTS: [&str; 5] = ["type", "header", "body", "footer", "action"];

pub(super) fn interactive(look: &mut Look, interactive: &Object<'_, '_>) {
    let Some(kind) = look.string(interactive, "type", Be) else {
        return;
    };
    if !TYPES.contains(&kind) {
        let at = interactive.at.key("type");
        return look.tell(&TYPE_UNKNOWN, &at, Found::Words("is none of them"));
    }
    match kind {
        // Its layout is documented by one example alone.
        "form_message" => {}
        _ => look.known(interactive, &PARTS),
    }
    if kind == "carousel" {
        cards::outside(look, interactive);
    }
    header(look, interactive, kind);
    let body_length = match kind {
        "list" => &LIST_BODY_LENGTH,
        _ => &BODY_LENGTH,
    };
    let must = match kind {
        "product"
        | "form_message"
        | "call_permission_request"
        | "voice_call"
        | "request_contact_info" => MayBe,
        _ => Be,
    };
    part(look, interactive, "body", must, body_length);
    part(look, interactive, "footer", MayBe, &FOOTER_LENGTH);
    let Some(action) = look.object(interactive, "action", Be) else {
        return;
    };
    action_of(look, &action, kind);
}

fn action_of(look: &mut Look, action: &Object<'_, '_>, kind: &str) {
    match kind {
        "button" => reply_buttons(look, action),
        "list" => list(look, action),
        "cta_url" => cta_url(look, action),
        "flow" => flow(look, action),
        "location_request_message" => name(look, action, "send_location"),
        "product" => commerce::product(look, action),
        "product_list" => commerce::product_list(look, action),
        "catalog_message" => commerce::catalog(look, action),
        "address_message" => commerce::address(look, action),
        "order_details" => commerce::order_details(look, action),
        "order_status" => commerce::order_status(look, action),
        "carousel" => cards::carousel(look, action),
        "voice_call" => voice_call(look, action),
        "call_permission_request" | "form_message" => name(look, action, kind),
        // Published only lately, with no limits.
        _ => {}
    }
}

/// A part that holds a text.
pub(super) fn part(
    look: &mut Look,
    of: &Object<'_, '_>,
    key: &str,
    must: Must,
    length: &'static Rule,
) {
    if let Some(part) = look.object(of, key, must) {
        look.known(&part, &["text"]);
        look.text(&part, "text", Be, length);
    }
}

/// The name of an action. Its absence is doubtful only: the kind says the same.
pub(super) fn name(look: &mut Look, action: &Object<'_, '_>, wanted: &str) {
    if action.str("name") != Some(wanted) {
        let found = match action.get("name") {
            None => Found::Missing,
            Some(_) => Found::Words("is another"),
        };
        look.tell(&ACTION_NAME, &action.at.key("name"), found);
    }
}

fn header(look: &mut Look, interactive: &Object<'_, '_>, kind: &str) {
    if kind == "product_list" && interactive.get("header").is_none() {
        let at = interactive.at.key("header");
        return look.tell(&HEADER_MISSING, &at, Found::Missing);
    }
    let Some(header) = look.object(interactive, "header", MayBe) else {
        return;
    };
    if kind == "product" {
        return look.tell(&HEADER_PRODUCT, &header.at, Found::Words("is there"));
    }
    let allowed: &[&str] = match kind {
        "button" | "cta_url" | "flow" | "order_details" => &["text", "image", "video", "document"],
        "list" | "product_list" | "form_message" => &["text"],
        _ => &[],
    };
    header_content(look, &header, allowed);
    if kind == "form_message" {
        return;
    }
    let content = header.str("type").unwrap_or_default();
    look.known(&header, &["type", content, "sub_text"]);
}

pub(super) fn header_content(look: &mut Look, header: &Object<'_, '_>, allowed: &[&str]) {
    let Some(of) = look.string(header, "type", Be) else {
        return;
    };
    if !allowed.contains(&of) {
        let at = header.at.key("type");
        look.tell(&HEADER_TYPE, &at, Found::Words("is another"));
    }
    match of {
        "text" => drop(look.text(header, "text", Be, &HEADER_LENGTH)),
        "image" | "video" | "document" => {
            if let Some(media) = look.object(header, of, Be) {
                look.known(&media, &["id", "link", "filename"]);
                media_source(look, &media);
            }
        }
        _ => {}
    }
}

fn reply_buttons(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["buttons"]);
    let Some(buttons) = look.list(action, "buttons", Be) else {
        return;
    };
    look.count(buttons.items.len(), &buttons.at, &BUTTONS_COUNT);
    let mut ids = Vec::new();
    let mut titles = Vec::new();
    for index in 0..buttons.items.len() {
        let Some(button) = buttons.object(look, index) else {
            continue;
        };
        look.known(&button, &["type", "reply"]);
        look.one_of(&button, "type", Be, &BUTTON_TYPE);
        let Some(reply) = look.object(&button, "reply", Be) else {
            continue;
        };
        reply_button(look, &reply, &mut ids, &mut titles);
    }
}

/// A button that answers, here or on a card.
pub(super) fn reply_button<'a>(
    look: &mut Look,
    reply: &Object<'a, '_>,
    ids: &mut Vec<&'a str>,
    titles: &mut Vec<&'a str>,
) {
    look.known(reply, &["id", "title"]);
    let id = look.text(reply, "id", Be, &BUTTON_ID);
    let title = look.text(reply, "title", Be, &BUTTON_TITLE);
    if let Some(id) = id {
        if id.trim() != id {
            let found = Found::Words("has blanks at its ends");
            look.tell(&BUTTON_BLANKS, &reply.at.key("id"), found);
        }
        unique(look, reply, "id", id, ids, &BUTTON_UNIQUE);
    }
    if let Some(title) = title {
        unique(look, reply, "title", title, titles, &BUTTON_UNIQUE);
    }
}

fn unique<'a>(
    look: &mut Look,
    object: &Object<'_, '_>,
    key: &str,
    text: &'a str,
    seen: &mut Vec<&'a str>,
    rule: &'static Rule,
) {
    if seen.contains(&text) {
        let found = Found::Words("is there twice");
        look.tell(rule, &object.at.key(key), found);
    }
    seen.push(text);
}

fn list(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["button", "sections"]);
    look.text(action, "button", Be, &LIST_BUTTON);
    let Some(sections) = look.list(action, "sections", Be) else {
        return;
    };
    look.count(sections.items.len(), &sections.at, &SECTIONS_COUNT);
    let (mut rows, mut ids) = (0, Vec::new());
    for index in 0..sections.items.len() {
        let Some(section) = sections.object(look, index) else {
            continue;
        };
        look.known(&section, &["title", "rows"]);
        section_title(look, &section, &sections);
        let Some(of_section) = look.list(&section, "rows", Be) else {
            continue;
        };
        rows += of_section.items.len();
        if of_section.items.is_empty() && sections.items.len() > 1 {
            look.tell(&SECTION_EMPTY, &of_section.at, Found::Items(0));
        }
        for (index, row) in of_section.items.iter().enumerate() {
            let at = of_section.at.item(index);
            if let Some(row) = look.as_object(row, at) {
                look.known(&row, &["id", "title", "description"]);
                if let Some(id) = look.text(&row, "id", Be, &ROW_ID) {
                    unique(look, &row, "id", id, &mut ids, &ROW_UNIQUE);
                }
                look.text(&row, "title", Be, &ROW_TITLE);
                look.text(&row, "description", MayBe, &ROW_DESCRIPTION);
            }
        }
    }
    look.count(rows, &sections.at, &ROWS_COUNT);
}

/// Of a list or of several products.
pub(super) fn section_title(look: &mut Look, section: &Object<'_, '_>, sections: &List<'_, '_>) {
    let title = section.get("title");
    if title.is_none() || title.is_some_and(|title| title == "") {
        if sections.items.len() > 1 {
            let at = section.at.key("title");
            look.tell(&SECTION_NAMED, &at, Found::Missing);
        }
        return;
    }
    look.text(section, "title", MayBe, &SECTION_TITLE);
}

pub(super) fn cta_url(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["name", "parameters"]);
    name(look, action, "cta_url");
    if let Some(parameters) = look.object(action, "parameters", Be) {
        look.known(&parameters, &["display_text", "url"]);
        look.text(&parameters, "display_text", Be, &CTA_TEXT);
        look.link(&parameters, "url", Be, &CTA_URL);
    }
}

fn flow(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["name", "parameters"]);
    name(look, action, "flow");
    let Some(flow) = look.object(action, "parameters", Be) else {
        return;
    };
    let fields = [
        "flow_message_version",
        "flow_token",
        "flow_id",
        "flow_name",
        "flow_cta",
        "flow_action",
        "flow_action_payload",
        "flow_metadata",
        "mode",
    ];
    look.known(&flow, &fields);
    look.one_of(&flow, "flow_message_version", Be, &FLOW_VERSION);
    look.text(&flow, "flow_cta", Be, &FLOW_LABEL);
    look.one_of(&flow, "mode", MayBe, &FLOW_MODE);
    look.one_of(&flow, "flow_action", MayBe, &FLOW_ACTION);
    look.string(&flow, "flow_token", MayBe);
    look.object(&flow, "flow_action_payload", MayBe);
    let named = |key: &str| flow.get(key).is_some();
    match (named("flow_id"), named("flow_name")) {
        (true, true) => look.tell(&FLOW_NAMED, &flow.at, Found::Words("has both")),
        (false, false) => look.tell(&FLOW_NAMED, &flow.at, Found::Words("has neither")),
        (true, false) | (false, true) => {}
    }
}

fn voice_call(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["name", "parameters"]);
    name(look, action, "voice_call");
    if let Some(parameters) = look.object(action, "parameters", MayBe) {
        look.known(&parameters, &["display_text", "ttl_minutes", "payload"]);
        look.text(&parameters, "display_text", MayBe, &CALL_TEXT);
        look.number(&parameters, "ttl_minutes", MayBe, &CALL_TTL);
        look.string(&parameters, "payload", MayBe);
    }
}
