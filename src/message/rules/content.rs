//! What is plain content: texts, media, places, contacts, reactions, pins.

use serde_json::Value;

use super::look::{Be, List, Look, MayBe, Object};
use super::rule::{Found, Limit, rules};

rules! {
    TEXT_LENGTH "text_body_length" Refused: "a text says something and keeps its length", Limit::Characters(1, 4_096);
        "Meta, Text messages"; "shorten it, or send it in parts".
    MESSAGE_ID "message_id_empty" Refused: "a message that is replied to, reacted to or pinned is named", Limit::Words("the id of a message");
        "Meta, Contextual replies; Reaction messages"; "name the message by its wamid".
    MESSAGE_ID_LENGTH "message_id_length" Doubtful: "the id of a message keeps its length", Limit::Characters(0, 128);
        "Meta, Messages reference (a wamid has up to 128)"; "give the wamid as WhatsApp gave it".
    MEDIA_ONE "media_id_or_link" Refused: "media has an id or a link, and not both", Limit::Words("exactly one of id and link");
        "Meta, Messages reference (media object)"; "give an id, or a link".
    MEDIA_LINK "media_link" Refused: "a link is an address on the web", Limit::Words("http:// or https://");
        "Meta, Messages reference (media object)"; "write the whole address, with http:// or https://".
    CAPTION "media_caption_length" Refused: "a caption keeps its length", Limit::Characters(0, 1_024);
        "Meta, Image messages; Video messages; Document messages"; "shorten it".
    LATITUDE "location_latitude" Refused: "a latitude is a number of degrees", Limit::Number(-90.0, 90.0);
        "Meta, Location messages (a number or text with one)"; "write degrees, such as 37.48".
    LONGITUDE "location_longitude" Refused: "a longitude is a number of degrees", Limit::Number(-180.0, 180.0);
        "Meta, Location messages (a number or text with one)"; "write degrees, such as -122.15".
    CONTACTS_COUNT "contacts_count" Refused: "a message has so many contacts", Limit::Items(1, 257);
        "Meta, Contacts messages (OpenAPI v23.0 has 5)"; "send them in several messages".
    CONTACT_NAME "contact_name" Refused: "a contact has a formatted name", Limit::Words("not empty");
        "Meta, Contacts messages"; "add name.formatted_name".
    CONTACT_NAME_PART "contact_name_part" Doubtful: "beside its formatted name a contact has one other part of the name", Limit::OneOf(&NAME_PARTS);
        "Meta, Messages reference (name object)"; "add first_name".
    CONTACT_BIRTHDAY "contact_birthday" Doubtful: "a birthday is a date", Limit::Words("YYYY-MM-DD");
        "Meta, Contacts messages"; "write it as YYYY-MM-DD".
    REACTION_EMOJI "reaction_emoji" Doubtful: "a reaction is one emoji, or nothing to take it back", Limit::Words("one emoji, or empty");
        "Meta, Reaction messages"; "give one emoji".
    PIN_TYPE "pin_type" Refused: "a pin pins or unpins", Limit::OneOf(&["pin", "unpin"]);
        "Meta, Group messaging"; "use one of them".
    PIN_DAYS "pin_expiration" Refused: "a pin lasts so many days", Limit::Number(1.0, 30.0);
        "Meta, Group messaging"; "give days".
}

const NAME_PARTS: [&str; 5] = ["first_name", "last_name", "middle_name", "suffix", "prefix"];
/// What the lists of a contact hold.
const CONTACT_LISTS: [(&str, &[&str]); 5] = [
    (
        "addresses",
        &[
            "street",
            "city",
            "state",
            "zip",
            "country",
            "country_code",
            "type",
        ],
    ),
    ("emails", &["email", "type"]),
    ("phones", &["phone", "type", "wa_id"]),
    ("urls", &["url", "type"]),
    ("ims", &["service", "user_id"]),
];
/// Longer is no single emoji, whatever it is joined of.
const LONGEST_EMOJI: usize = 20;

pub(super) fn text(look: &mut Look, text: &Object<'_, '_>) {
    look.known(text, &["body", "preview_url"]);
    look.text(text, "body", Be, &TEXT_LENGTH);
    look.switch(text, "preview_url");
}

/// The name of another message: any text, for WhatsApp may change what its ids look like.
pub(super) fn message_id(look: &mut Look, object: &Object<'_, '_>, key: &str) {
    if look.text(object, key, Be, &MESSAGE_ID_LENGTH) == Some("") {
        look.tell(&MESSAGE_ID, &object.at.key(key), Found::Words("is empty"));
    }
}

pub(super) fn media_message(look: &mut Look, media: &Object<'_, '_>, kind: &str) {
    let fields: &[&str] = match kind {
        "document" => &["id", "link", "caption", "filename"],
        "audio" => &["id", "link", "voice"],
        "sticker" => &["id", "link"],
        _ => &["id", "link", "caption"],
    };
    look.known(media, fields);
    media_source(look, media);
    look.text(media, "caption", MayBe, &CAPTION);
    look.string(media, "filename", MayBe);
    look.switch(media, "voice");
}

/// Where media comes from.
pub(super) fn media_source(look: &mut Look, media: &Object<'_, '_>) {
    let given = |key: &str| match media.get(key) {
        Some(Value::String(text)) => !text.is_empty(),
        other => other.is_some(),
    };
    match (given("id"), given("link")) {
        (true, true) => look.tell(&MEDIA_ONE, &media.at, Found::Words("has both")),
        (false, false) => look.tell(&MEDIA_ONE, &media.at, Found::Words("has neither")),
        // A file of ours: it becomes the id of its upload before it leaves.
        (false, true)
            if media
                .str("link")
                .is_some_and(|link| link.starts_with("file:")) => {}
        (false, true) => look.link(media, "link", Be, &MEDIA_LINK),
        (true, false) => drop(look.string(media, "id", Be)),
    }
}

pub(super) fn location(look: &mut Look, location: &Object<'_, '_>) {
    look.known(location, &["latitude", "longitude", "name", "address"]);
    look.number(location, "latitude", Be, &LATITUDE);
    look.number(location, "longitude", Be, &LONGITUDE);
    look.string(location, "name", MayBe);
    look.string(location, "address", MayBe);
}

pub(super) fn contacts(look: &mut Look, contacts: &List<'_, '_>) {
    look.count(contacts.items.len(), &contacts.at, &CONTACTS_COUNT);
    for index in 0..contacts.items.len() {
        if let Some(contact) = contacts.object(look, index) {
            one_contact(look, &contact);
        }
    }
}

fn one_contact(look: &mut Look, contact: &Object<'_, '_>) {
    let parts = [
        "addresses",
        "birthday",
        "emails",
        "name",
        "org",
        "phones",
        "urls",
        "ims",
    ];
    look.known(contact, &parts);
    if let Some(name) = look.object(contact, "name", Be) {
        look.known(
            &name,
            &[
                "formatted_name",
                "first_name",
                "last_name",
                "middle_name",
                "suffix",
                "prefix",
            ],
        );
        if look.string(&name, "formatted_name", Be) == Some("") {
            let at = name.at.key("formatted_name");
            look.tell(&CONTACT_NAME, &at, Found::Words("is empty"));
        }
        if !NAME_PARTS.iter().any(|part| name.get(part).is_some()) {
            look.tell(
                &CONTACT_NAME_PART,
                &name.at,
                Found::Words("has none of them"),
            );
        }
    }
    if let Some(birthday) = look.string(contact, "birthday", MayBe)
        && !is_date(birthday)
    {
        let found = Found::Words("is no date");
        look.tell(&CONTACT_BIRTHDAY, &contact.at.key("birthday"), found);
    }
    for (list, fields) in CONTACT_LISTS {
        if let Some(list) = look.list(contact, list, MayBe) {
            for index in 0..list.items.len() {
                if let Some(one) = list.object(look, index) {
                    look.known(&one, fields);
                }
            }
        }
    }
    if let Some(org) = look.object(contact, "org", MayBe) {
        look.known(&org, &["company", "department", "title"]);
    }
}

fn is_date(text: &str) -> bool {
    let is_digit_or_dash = |(index, byte): (usize, u8)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(is_digit_or_dash)
}

pub(super) fn reaction(look: &mut Look, reaction: &Object<'_, '_>) {
    look.known(reaction, &["message_id", "emoji"]);
    message_id(look, reaction, "message_id");
    if let Some(emoji) = look.string(reaction, "emoji", Be) {
        let has_letters = emoji.chars().any(|letter| letter.is_ascii_alphabetic());
        if has_letters || emoji.chars().count() > LONGEST_EMOJI {
            let found = Found::Words("is no single emoji");
            look.tell(&REACTION_EMOJI, &reaction.at.key("emoji"), found);
        }
    }
}

pub(super) fn pin(look: &mut Look, pin: &Object<'_, '_>) {
    look.known(pin, &["type", "message_id", "expiration_days"]);
    let kind = look.one_of(pin, "type", Be, &PIN_TYPE);
    message_id(look, pin, "message_id");
    let must = if kind == Some("pin") { Be } else { MayBe };
    look.number(pin, "expiration_days", must, &PIN_DAYS);
}
