//! Reads what WhatsApp says of our numbers, accounts and templates that campaigns must heed.
//!
//! What is good news, or concerns calls, prices, partners or profiles, is only counted, as is what we do not know. `account_alerts` are
//! not read: they tell of limits that were not raised, of badges and of pictures (Meta, "account_alerts webhook reference"), and
//! none of that makes it wrong to go on.

use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use super::{first_text, timestamp};
use crate::domain::account_news::{About, AccountNews, Effect};
use crate::domain::hold::{Cause, TemplateKey};

/// The entry that a change stands in.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// The WhatsApp Business Account.
    pub(super) account: Option<String>,
    /// When it was sent.
    pub(super) at: Option<OffsetDateTime>,
}

type Read = Result<Option<AccountNews>, &'static str>;

impl Entry {
    fn news(&self, about: About, reason: String, effect: Effect) -> Option<AccountNews> {
        if self.account.is_none() && matches!(about, About::Account) {
            // Nobody's: what the button "Test" of Meta's app dashboard sends is of the account 0.
            return None;
        }
        Some(AccountNews {
            account: self.account.clone(),
            about,
            at: self.at,
            reason,
            effect,
        })
    }
}

/// The digits of a number however it is written; none for what cannot be one.
pub(super) fn digits(written: &str) -> Option<String> {
    let digits: String = written.chars().filter(char::is_ascii_digit).collect();
    (digits.len() >= 7).then_some(digits)
}

fn number_or_account(value: &Value, name: &str) -> About {
    let number = first_text(value, &[name]);
    number
        .as_deref()
        .and_then(digits)
        .map_or(About::Account, About::Number)
}

fn event_of(value: &Value) -> Result<String, &'static str> {
    if !value.is_object() {
        return Err("is not an object");
    }
    first_text(value, &["event"]).ok_or("has no event")
}

/// A number's quality or messaging limit has changed (Meta, "phone_number_quality_update webhook reference").
pub(super) fn number_quality(value: &Value, entry: &Entry) -> Read {
    let limit = first_text(
        value,
        &["max_daily_conversations_per_business", "current_limit"],
    );
    let reason = match (event_of(value)?.as_str(), limit) {
        ("FLAGGED", _) => {
            "WhatsApp has flagged its number: the quality of what it sends is low".to_owned()
        }
        ("DOWNGRADE", Some(limit)) => {
            format!("WhatsApp has lowered the messaging limit of its number to {limit}")
        }
        ("DOWNGRADE", None) => "WhatsApp has lowered the messaging limit of its number".to_owned(),
        ("UPGRADE" | "UNFLAGGED" | "THROUGHPUT_UPGRADE" | "ONBOARDING", _) => return Ok(None),
        _ if is_red(value) => "WhatsApp rates the quality of its number RED".to_owned(),
        _ => return Ok(None),
    };
    let about = number_or_account(value, "display_phone_number");
    Ok(entry.news(about, reason, Effect::Warns))
}

/// A template is taken well or badly (Meta, "message_template_quality_update webhook reference").
pub(super) fn template_quality(value: &Value, entry: &Entry) -> Read {
    if !value.is_object() {
        return Err("is not an object");
    }
    if !is_red(value) {
        return Ok(None);
    }
    let name = first_text(value, &["message_template_name"]).ok_or("names no template")?;
    let language = first_text(value, &["message_template_language"]);
    let reason = format!("WhatsApp rates the quality of its template {name} RED");
    let template = TemplateKey::new(name, language.as_deref());
    Ok(entry.news(About::Template(template), reason, Effect::Warns))
}

fn is_red(value: &Value) -> bool {
    let quality = first_text(
        value,
        &["new_quality_score", "quality_rating", "quality_score"],
    );
    quality.is_some_and(|quality| quality.eq_ignore_ascii_case("RED"))
}

/// Something has become of an account, or of one number of it (Meta, "account_update webhook reference").
pub(super) fn account_update(value: &Value, entry: &Entry) -> Read {
    let told = match event_of(value)?.as_str() {
        "ACCOUNT_VIOLATION" => violation(value),
        "ACCOUNT_RESTRICTION" => restriction(value),
        "DISABLED_UPDATE" => ban(value),
        "ACCOUNT_DELETED" => {
            let cause = Cause::Account;
            Some((
                "WhatsApp says that its account was deleted".to_owned(),
                Effect::Stops { cause, until: None },
            ))
        }
        // What takes our access away (ACCOUNT_OFFBOARDED, PARTNER_REMOVED) the next answer tells for each sender, with a code.
        _ => None,
    };
    let about = number_or_account(value, "phone_number");
    Ok(told.and_then(|(reason, effect)| entry.news(about, reason, effect)))
}

fn violation(value: &Value) -> Option<(String, Effect)> {
    let kind = value
        .get("violation_info")
        .and_then(|info| first_text(info, &["violation_type"]));
    if kind.as_deref().is_some_and(is_about_calls) {
        return None;
    }
    let kind = kind.map_or_else(String::new, |kind| format!(": {kind}"));
    let reason = format!("WhatsApp says that its account has broken a policy{kind}");
    Some((reason, Effect::Warns))
}

fn is_about_calls(kind: &str) -> bool {
    kind.contains("CALL")
}

/// Who may neither begin a conversation nor answer in one can send nothing; who may only not begin one can still answer, so the
/// sender is not held for it.
fn restriction(value: &Value) -> Option<(String, Effect)> {
    let restrictions = value.get("restriction_info").and_then(Value::as_array);
    let restrictions = restrictions.map_or(&[] as &[Value], Vec::as_slice);
    let of = |kind: &str| {
        restrictions.iter().find(|one| {
            let of = first_text(one, &["restriction_type"]);
            of.as_deref() == Some(kind)
        })
    };
    let begin = of("RESTRICTED_BIZ_INITIATED_MESSAGING");
    let answer = of("RESTRICTED_CUSTOMER_INITIATED_MESSAGING");
    let end = |one: &Value| one.get("expiration").and_then(timestamp);
    let (what, until, effect) = match (begin, answer) {
        (Some(begin), Some(answer)) => {
            let until = end(begin)
                .zip(end(answer))
                .map(|(one, other)| one.max(other));
            let cause = Cause::Policy;
            (
                "sending any messages",
                until,
                Effect::Stops { cause, until },
            )
        }
        (Some(begin), None) => ("beginning conversations", end(begin), Effect::Warns),
        (None, Some(answer)) => ("answering customers", end(answer), Effect::Warns),
        // It may not call, add numbers or make templates; or it does not say what.
        (None, None) if !restrictions.is_empty() => return None,
        (None, None) => ("something that it does not name", None, Effect::Warns),
    };
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]Z");
    let until = until
        .and_then(|until| until.format(&form).ok())
        .map_or_else(String::new, |until| format!(" until {until}"));
    let reason = format!("WhatsApp has restricted its account from {what}{until}");
    Some((reason, effect))
}

fn ban(value: &Value) -> Option<(String, Effect)> {
    let info = value.get("ban_info");
    let state = info.and_then(|info| first_text(info, &["waba_ban_state"]));
    let (reason, effect) = match state.as_deref() {
        Some("REINSTATE") => ("WhatsApp has reinstated its account", Effect::Restores),
        Some("SCHEDULE_FOR_DISABLE") => ("WhatsApp is about to disable its account", Effect::Warns),
        Some("DISABLE") => {
            let (cause, until) = (Cause::Account, None);
            (
                "WhatsApp has disabled its account",
                Effect::Stops { cause, until },
            )
        }
        Some(_) => return None,
        None => (
            "WhatsApp says that its account is disabled or about to be",
            Effect::Warns,
        ),
    };
    Some((reason.to_owned(), effect))
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
