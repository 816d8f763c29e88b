//! Reads what has become of a template.

use serde_json::Value;

use super::first_text;

/// A template has changed (Meta, "message_template_status_update webhook reference").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateUpdate {
    /// The WhatsApp Business Account whose template it is. Names are unique only within one.
    pub account: Option<String>,
    /// The template's name.
    pub name: String,
    /// Its language, with an underscore, as a message names it (`en_US`; webhooks say `en-US` as well).
    pub language: Option<String>,
    /// Meta's word for what happened: `APPROVED`, `PAUSED`, …
    pub event: String,
    /// Why it was rejected, where Meta gives a reason.
    pub reason: Option<String>,
    /// What it means for sending.
    pub effect: TemplateEffect,
}

/// What a change of a template means for messages made from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateEffect {
    /// It can be sent, again or for the first time.
    Usable,
    /// It cannot be sent.
    Unusable,
    /// Neither follows from the event.
    Unchanged,
}

pub(super) fn template_update(
    value: &Value,
    account: Option<&str>,
) -> Result<TemplateUpdate, &'static str> {
    if !value.is_object() {
        return Err("is not an object");
    }
    let event = first_text(value, &["event"]).ok_or("has no event")?;
    let title = value
        .get("other_info")
        .and_then(|info| first_text(info, &["title"]));
    Ok(TemplateUpdate {
        account: account.map(str::to_owned),
        name: first_text(value, &["message_template_name"]).ok_or("names no template")?,
        language: first_text(value, &["message_template_language"])
            .map(|language| language.replace('-', "_")),
        effect: effect(&event, title.as_deref()),
        event,
        reason: first_text(value, &["reason"]).filter(|reason| reason != "NONE"),
    })
}

/// What an event means, by the table of Meta's reference. A pause that ends is told by a title only.
fn effect(event: &str, title: Option<&str>) -> TemplateEffect {
    match event {
        _ if title == Some("UNPAUSE") => TemplateEffect::Usable,
        "APPROVED" | "REINSTATED" | "UNARCHIVED" => TemplateEffect::Usable,
        "PAUSED" | "DISABLED" | "REJECTED" | "DELETED" | "PENDING_DELETION" => {
            TemplateEffect::Unusable
        }
        // ARCHIVED, FLAGGED, IN_APPEAL, LIMIT_EXCEEDED, LOCKED (against editing), PENDING, and what will come.
        _ => TemplateEffect::Unchanged,
    }
}
