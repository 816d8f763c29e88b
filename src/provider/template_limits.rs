//! What can be said of a template message without asking WhatsApp: limits that are documented, and shapes that cannot work.
//!
//! It knows nothing of the template itself, which only Meta has: whether the count of parameters fits is Meta's to say. So what
//! is found here is certain to fail, and what is not found may still.
//!
//! Limits are those of Meta's Messages API reference (template object) and its OpenAPI description v23.0; where a limit was only
//! ever seen in answers, the answer's code is named.

use serde_json::Value;

/// Something that cannot work, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is.
    pub kind: Kind,
    /// Where, as a JSON pointer.
    pub pointer: String,
}

/// What is wrong with a part of a template message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No JSON, no template, no name, no language.
    NoTemplate,
    /// A parameter without a type, or none that is an object.
    NoParameter,
    /// A text that is no string.
    NotText,
    /// A text that is empty.
    EmptyText,
    /// A text that is longer than the whole part of the template may be.
    TooLong,
    /// A text with a line break, a tab, or more than four blanks in a row.
    LineBreak,
    /// A currency, date_time or location that lacks a field.
    Incomplete,
    /// Media without exactly one of id and link, or with a link that is no address.
    Media,
    /// A button without a place between 0 and 9.
    Button,
}

impl Kind {
    /// What it is, and what to do.
    pub fn in_words(self) -> (&'static str, &'static str) {
        match self {
            Self::NoTemplate => (
                "is no template message with a name and a language",
                "write {\"type\":\"template\",\"template\":{\"name\":…,\"language\":{\"code\":…}}}",
            ),
            Self::NoParameter => (
                "has a parameter without a type",
                "write parameters such as {\"type\":\"text\",\"text\":…}",
            ),
            Self::NotText => (
                "has a text that is no string",
                "write the variable as a string, or put the placeholder into a longer text",
            ),
            Self::EmptyText => (
                "has an empty text, which WhatsApp refuses",
                "give the variable a value",
            ),
            Self::TooLong => (
                "has a text that is too long",
                "a header takes 60 characters, a body 1,024 with all its parameters, an address 2,000",
            ),
            Self::LineBreak => (
                "has a line break, a tab or more than four blanks in a row, which WhatsApp refuses",
                "take them out of the variable",
            ),
            Self::Incomplete => (
                "has an incomplete currency, date_time or location",
                "currency: fallback_value, code, amount_1000; date_time: fallback_value; location: latitude, longitude",
            ),
            Self::Media => (
                "has media without exactly one of id and link",
                "give an id, or a link that begins with http:// or https://",
            ),
            Self::Button => (
                "has a button without an index from 0 to 9",
                "number the buttons as the template has them",
            ),
        }
    }
}

// Meta, Messages API reference; OpenAPI description v23.0.
const NAME: usize = 512;
const HEADER: usize = 60;
const BODY: usize = 1_024;
const ADDRESS: usize = 2_000;
/// Of each parameter, wherever it stands (OpenAPI description v23.0).
const PARAMETER: usize = 32_768;
/// Five blanks. "Param text cannot have new-line/tab characters or more than 4 consecutive spaces" (details of refusals, field
/// reports: netflie/whatsapp-cloud-api #201, dimagi/open-chat-studio #4277).
const BLANKS: &str = "     ";

/// Everything that cannot work in this payload, in its order.
pub fn faults(payload: &str) -> Vec<Fault> {
    let mut look = Look::default();
    match serde_json::from_str::<Value>(payload) {
        Ok(payload) => look.message(&payload),
        Err(_) => look.tell(Kind::NoTemplate, String::new()),
    }
    look.faults
}

#[derive(Default)]
struct Look {
    faults: Vec<Fault>,
}

impl Look {
    fn tell(&mut self, kind: Kind, pointer: impl Into<String>) {
        let pointer = pointer.into();
        self.faults.push(Fault { kind, pointer });
    }

    fn message(&mut self, payload: &Value) {
        let template = &payload["template"];
        let is_name = |name: &str| {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            (1..=NAME).contains(&name.len()) && name.bytes().all(plain)
        };
        if payload["type"] != "template" || !template.is_object() {
            return self.tell(Kind::NoTemplate, "/template");
        }
        if !template["name"].as_str().is_some_and(is_name) {
            self.tell(Kind::NoTemplate, "/template/name");
        }
        if template["language"]["code"]
            .as_str()
            .is_none_or(str::is_empty)
        {
            self.tell(Kind::NoTemplate, "/template/language/code");
        }
        self.components(&template["components"], "/template/components");
    }

    fn components(&mut self, components: &Value, pointer: &str) {
        for (index, component) in list(components).enumerate() {
            self.component(component, &format!("{pointer}/{index}"));
        }
    }

    fn component(&mut self, component: &Value, pointer: &str) {
        let kind = component["type"]
            .as_str()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let (one, all) = match kind.as_str() {
            "header" => (HEADER, HEADER),
            "body" => (BODY, BODY),
            "button" if component["sub_type"] == "url" => (ADDRESS, ADDRESS),
            _ => (PARAMETER, usize::MAX),
        };
        if kind == "button" && !is_place(&component["index"]) {
            self.tell(Kind::Button, format!("{pointer}/index"));
        }
        let mut length = 0;
        for (index, parameter) in list(&component["parameters"]).enumerate() {
            length += self.parameter(parameter, &format!("{pointer}/parameters/{index}"), one);
        }
        let told = self
            .faults
            .iter()
            .any(|fault| fault.kind == Kind::TooLong && fault.pointer.starts_with(pointer));
        // What the template says around them is not known, so together they can only be shorter than the part.
        if length > all && !told {
            self.tell(Kind::TooLong, format!("{pointer}/parameters"));
        }
        for (index, card) in list(&component["cards"]).enumerate() {
            self.components(
                &card["components"],
                &format!("{pointer}/cards/{index}/components"),
            );
        }
    }

    /// Says how many characters it brings.
    fn parameter(&mut self, parameter: &Value, pointer: &str, at_most: usize) -> usize {
        let Some(kind) = parameter["type"].as_str() else {
            self.tell(Kind::NoParameter, pointer);
            return 0;
        };
        let value = &parameter[kind];
        let at = format!("{pointer}/{kind}");
        let has_text = |field: &str| value[field].as_str().is_some_and(|text| !text.is_empty());
        match kind {
            "text" => return self.text(value, &at, at_most),
            "currency"
                if !has_text("fallback_value")
                    || !has_text("code")
                    || !value["amount_1000"].is_number() =>
            {
                self.tell(Kind::Incomplete, at);
            }
            "date_time" if !has_text("fallback_value") => self.tell(Kind::Incomplete, at),
            "location" if value["latitude"].is_null() || value["longitude"].is_null() => {
                self.tell(Kind::Incomplete, at)
            }
            "image" | "video" | "document" | "gif" if !is_media(value) => {
                self.tell(Kind::Media, at)
            }
            _ => {}
        }
        0
    }

    fn text(&mut self, text: &Value, pointer: &str, at_most: usize) -> usize {
        let Some(text) = text.as_str() else {
            self.tell(Kind::NotText, pointer);
            return 0;
        };
        let length = text.chars().count();
        if text.trim().is_empty() {
            self.tell(Kind::EmptyText, pointer);
        } else if length > at_most.min(PARAMETER) {
            self.tell(Kind::TooLong, pointer);
        }
        if text.contains(['\n', '\r', '\t']) || text.contains(BLANKS) {
            self.tell(Kind::LineBreak, pointer);
        }
        length
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A button's place, as a number or as text; both are published.
fn is_place(index: &Value) -> bool {
    let number = index.as_u64().or_else(|| index.as_str()?.parse().ok());
    number.is_some_and(|number| number <= 9)
}

fn is_media(media: &Value) -> bool {
    let id = media["id"].as_str().is_some_and(|id| !id.is_empty());
    let link = media["link"].as_str();
    let is_address = |link: &str| link.starts_with("https://") || link.starts_with("http://");
    match (id, link) {
        (true, None) => true,
        (false, Some(link)) => is_address(link),
        (true, Some(_)) | (false, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(components: Value) -> Vec<(Kind, String)> {
        let payload = json!({"type": "template", "template":
            {"name": "spring_sale", "language": {"code": "en_US"}, "components": components}});
        faults(&payload.to_string())
            .into_iter()
            .map(|fault| (fault.kind, fault.pointer))
            .collect()
    }

    fn body(parameter: Value) -> Vec<Kind> {
        let found = of(json!([{"type": "body", "parameters": [parameter]}]));
        found.into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn what_metas_own_examples_send_has_no_fault() {
        let found = of(json!([
            {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://example.com/a.png"}}]},
            {"type": "body", "parameters": [
                {"type": "text", "text": "Ada", "parameter_name": "name"},
                {"type": "currency", "currency": {"fallback_value": "$1", "code": "USD", "amount_1000": 1000}},
                {"type": "date_time", "date_time": {"fallback_value": "May 1"}},
                {"type": "an_unknown_kind", "an_unknown_kind": 7}]},
            {"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [{"type": "payload", "payload": "x"}]},
            {"type": "carousel", "cards": [{"card_index": 0, "components": [
                {"type": "HEADER", "parameters": [{"type": "video", "video": {"id": "1"}}]}]}]}
        ]));
        assert_eq!(found, []);
        assert_eq!(of(Value::Null), []);
    }

    #[test]
    fn a_text_is_a_string_that_is_not_empty_and_stands_on_one_line() {
        let text = |text: Value| body(json!({"type": "text", "text": text}));
        assert_eq!(text(json!("x    x")), []);
        assert_eq!(text(json!(7)), [Kind::NotText]);
        assert_eq!(text(Value::Null), [Kind::NotText]);
        assert_eq!(text(json!("")), [Kind::EmptyText]);
        assert_eq!(text(json!(" ")), [Kind::EmptyText]);
        for broken in ["a\nb", "a\tb", "a     b"] {
            assert_eq!(text(json!(broken)), [Kind::LineBreak]);
        }
    }

    #[test]
    fn a_text_is_measured_in_characters_and_together_with_its_neighbours() {
        let text = |length: usize| json!({"type": "text", "text": "é".repeat(length)});
        let component = |kind: &str, parameters: &[Value]| {
            of(json!([{"type": kind, "parameters": parameters}]))
        };
        assert_eq!(component("body", &[text(1_024)]), []);
        let at = |pointer: &str| vec![(Kind::TooLong, format!("/template/components/0/{pointer}"))];
        assert_eq!(component("body", &[text(1_025)]), at("parameters/0/text"));
        assert_eq!(component("body", &[text(600), text(600)]), at("parameters"));
        assert_eq!(component("header", &[text(61)]), at("parameters/0/text"));
        assert_eq!(
            component("order_status", &[text(32_769)]),
            at("parameters/0/text")
        );
    }

    #[test]
    fn typed_parameters_are_whole() {
        for (parameter, kind) in [
            (json!({"text": "x"}), Kind::NoParameter),
            (json!("x"), Kind::NoParameter),
            (
                json!({"type": "currency", "currency": {"fallback_value": "$1", "code": "USD", "amount_1000": "1"}}),
                Kind::Incomplete,
            ),
            (
                json!({"type": "currency", "currency": "9 €"}),
                Kind::Incomplete,
            ),
            (
                json!({"type": "date_time", "date_time": {}}),
                Kind::Incomplete,
            ),
            (
                json!({"type": "location", "location": {"latitude": 1}}),
                Kind::Incomplete,
            ),
            (
                json!({"type": "image", "image": {"link": "a.png"}}),
                Kind::Media,
            ),
            (
                json!({"type": "document", "document": {"id": "1", "link": "https://a"}}),
                Kind::Media,
            ),
            (json!({"type": "video", "video": {}}), Kind::Media),
        ] {
            assert_eq!(body(parameter.clone()), [kind], "{parameter}");
        }
        let button =
            |index: Value| of(json!([{"type": "button", "sub_type": "url", "index": index}]));
        assert_eq!(button(json!(9)), []);
        for index in [json!(10), json!("x"), Value::Null] {
            assert_eq!(
                button(index),
                [(Kind::Button, "/template/components/0/index".into())]
            );
        }
    }

    #[test]
    fn a_message_that_is_no_template_is_told_so() {
        for payload in ["", "[]", r#"{"type":"text"}"#, r#"{"type":"template"}"#] {
            assert_eq!(
                faults(payload).first().map(|fault| fault.kind),
                Some(Kind::NoTemplate),
                "{payload}"
            );
        }
        let found = faults(r#"{"type":"template","template":{"name":"Spring Sale"}}"#);
        let pointers: Vec<_> = found.into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/template/name", "/template/language/code"]);
    }
}
