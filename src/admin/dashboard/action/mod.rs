//! What may be done by the dashboard: a closed list.
//!
//! Each deed is previewed first, with what it concerns and how much that is; it asks for a reason, needs the right of an operator, and
//! is written into the audit before it is done. The verbs are those of the command line, and go through the same functions.

mod doing;
mod preview;

use maud::Markup;

use super::layout::Tone;
use super::session::Visitor;
use super::{Dashboard, Fields, is_storable};
use crate::domain::id::MessageId;
use crate::store::StoreError;
use crate::store::campaign::{Campaign, CampaignKey, CampaignVerb};
use crate::store::failures::{FailureFilter, FailureGroup};
use crate::store::groups::UncertainFilter;
use crate::store::sequence::SequenceKey;

/// A deed and what it is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    HoldSender(String),
    ReleaseSender(String),
    LeadCampaign(CampaignVerb, i64),
    CancelMessage(i64),
    /// Shows recipient, wamid and content to whoever asks, for a while.
    Reveal(i64),
    /// WhatsApp has the uncertain message, under a wamid that is given.
    Accepted(i64),
    NotSent(i64),
    SendAgain(i64),
    /// Of the sequence that this message is in.
    ResumeSequence(i64),
    SkipHead(i64),
    CancelSequence(i64),
    /// Failures of one code and sender, written anew as new messages.
    FailuresAgain(FailureGroup),
    SuppressFailures(FailureGroup),
    /// Of one sender, those that only a person can settle.
    AllNotSent(String),
    AllAgain(String),
}

/// What is shown before it is done.
pub(super) struct Preview {
    pub(super) title: String,
    pub(super) tone: Tone,
    /// What it does, to how much.
    pub(super) says: Vec<String>,
    /// What the button says.
    pub(super) button: &'static str,
    /// What else is asked.
    pub(super) asks: Option<Markup>,
}

/// Why it was not done.
pub(super) enum NotDone {
    /// In words, with what to do.
    Because(String),
    Store(StoreError),
}

impl From<StoreError> for NotDone {
    /// What the database refuses it says in words.
    fn from(error: StoreError) -> Self {
        match error.refusal() {
            Some((message, hint)) => Self::Because(match hint {
                Some(hint) => format!("{message}; {hint}"),
                None => message,
            }),
            None => Self::Store(error),
        }
    }
}

fn because<T>(words: impl Into<String>) -> Result<T, NotDone> {
    Err(NotDone::Because(words.into()))
}

/// Who does it, and what the form said.
pub(super) struct Given<'a> {
    pub(super) visitor: &'a Visitor,
    pub(super) by: &'a str,
    pub(super) reason: &'a str,
    pub(super) fields: &'a Fields,
}

impl Given<'_> {
    /// What stands in a field, where anything does.
    fn field(&self, name: &str) -> Option<&str> {
        let text = self.fields.get(name).map(|text| text.trim());
        text.filter(|text| !text.is_empty() && is_storable(text))
    }
}

impl Action {
    /// What an address asks for; none: there is no such deed.
    pub(super) fn parse(verb: &str, target: &str) -> Option<Self> {
        // It stands in a line of the log.
        if target.contains(char::is_control) {
            return None;
        }
        let id = || target.parse().ok();
        Some(match verb {
            "hold-sender" => Self::HoldSender(target.to_owned()),
            "release-sender" => Self::ReleaseSender(target.to_owned()),
            "start-campaign" => Self::LeadCampaign(CampaignVerb::Start, id()?),
            "pause-campaign" => Self::LeadCampaign(CampaignVerb::Pause, id()?),
            "resume-campaign" => Self::LeadCampaign(CampaignVerb::Resume, id()?),
            "cancel-campaign" => Self::LeadCampaign(CampaignVerb::Cancel, id()?),
            "cancel-message" => Self::CancelMessage(id()?),
            "reveal" => Self::Reveal(id()?),
            "accepted" => Self::Accepted(id()?),
            "not-sent" => Self::NotSent(id()?),
            "send-again" => Self::SendAgain(id()?),
            "resume-sequence" => Self::ResumeSequence(id()?),
            "skip-head" => Self::SkipHead(id()?),
            "cancel-sequence" => Self::CancelSequence(id()?),
            "failures-again" => Self::FailuresAgain(group_of(target)?),
            "suppress-failures" => Self::SuppressFailures(group_of(target)?),
            "all-not-sent" => Self::AllNotSent(target.to_owned()),
            "all-again" => Self::AllAgain(target.to_owned()),
            _ => return None,
        })
    }

    pub(super) fn verb(&self) -> &'static str {
        match self {
            Self::HoldSender(_) => "hold-sender",
            Self::ReleaseSender(_) => "release-sender",
            Self::LeadCampaign(CampaignVerb::Start, _) => "start-campaign",
            Self::LeadCampaign(CampaignVerb::Pause, _) => "pause-campaign",
            Self::LeadCampaign(CampaignVerb::Resume, _) => "resume-campaign",
            Self::LeadCampaign(CampaignVerb::Cancel, _) => "cancel-campaign",
            Self::CancelMessage(_) => "cancel-message",
            Self::Reveal(_) => "reveal",
            Self::Accepted(_) => "accepted",
            Self::NotSent(_) => "not-sent",
            Self::SendAgain(_) => "send-again",
            Self::ResumeSequence(_) => "resume-sequence",
            Self::SkipHead(_) => "skip-head",
            Self::CancelSequence(_) => "cancel-sequence",
            Self::FailuresAgain(_) => "failures-again",
            Self::SuppressFailures(_) => "suppress-failures",
            Self::AllNotSent(_) => "all-not-sent",
            Self::AllAgain(_) => "all-again",
        }
    }

    pub(super) fn target(&self) -> String {
        match self {
            Self::HoldSender(sender)
            | Self::ReleaseSender(sender)
            | Self::AllNotSent(sender)
            | Self::AllAgain(sender) => sender.clone(),
            Self::FailuresAgain(group) | Self::SuppressFailures(group) => {
                let code = group
                    .code
                    .map_or_else(|| "none".to_owned(), |code| code.to_string());
                format!(
                    "{code}~{}",
                    group.filter.sender.as_deref().unwrap_or_default()
                )
            }
            Self::LeadCampaign(_, id)
            | Self::CancelMessage(id)
            | Self::Reveal(id)
            | Self::Accepted(id)
            | Self::NotSent(id)
            | Self::SendAgain(id)
            | Self::ResumeSequence(id)
            | Self::SkipHead(id)
            | Self::CancelSequence(id) => id.to_string(),
        }
    }

    /// The page to go back to.
    pub(super) fn page(&self) -> String {
        match self {
            Self::HoldSender(sender) | Self::ReleaseSender(sender) => format!("/senders/{sender}"),
            Self::LeadCampaign(_, id) => format!("/campaigns/{id}"),
            Self::CancelMessage(id)
            | Self::Reveal(id)
            | Self::Accepted(id)
            | Self::NotSent(id)
            | Self::SendAgain(id) => format!("/messages/{id}"),
            Self::ResumeSequence(id) | Self::SkipHead(id) | Self::CancelSequence(id) => {
                format!("/sequences/of/{id}")
            }
            Self::FailuresAgain(_) | Self::SuppressFailures(_) => "/failures?since=all".to_owned(),
            Self::AllNotSent(_) | Self::AllAgain(_) => "/uncertain".to_owned(),
        }
    }
}

/// `CODE~SENDER`, as groups stand in an address.
fn group_of(target: &str) -> Option<FailureGroup> {
    let (code, sender) = target.split_once('~')?;
    let code = match code {
        "none" => None,
        code => Some(code.parse().ok()?),
    };
    let filter = FailureFilter {
        sender: (!sender.is_empty()).then(|| sender.to_owned()),
        since: None,
    };
    Some(FailureGroup { code, filter })
}

/// Those of a sender that only a person can settle.
fn by_hand(sender: &str) -> UncertainFilter {
    UncertainFilter {
        sender: Some(sender.to_owned()),
        doubt: None,
        needs_person: true,
    }
}

async fn find_campaign(dashboard: &Dashboard, id: i64) -> Result<Campaign, NotDone> {
    match dashboard.store.campaign(&CampaignKey::Id(id)).await? {
        Some(campaign) => Ok(campaign),
        None => because(format!("there is no campaign {id}")),
    }
}

async fn sequence_key(dashboard: &Dashboard, id: i64) -> Result<SequenceKey, NotDone> {
    match dashboard.store.sequence_of(MessageId(id)).await? {
        Some(key) => Ok(key),
        None => because(format!("message {id} is in no sequence")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_deed_is_found_at_its_own_address() {
        let all = [
            Action::HoldSender("4711".into()),
            Action::ReleaseSender("4711".into()),
            Action::LeadCampaign(CampaignVerb::Start, 1),
            Action::LeadCampaign(CampaignVerb::Pause, 1),
            Action::LeadCampaign(CampaignVerb::Resume, 1),
            Action::LeadCampaign(CampaignVerb::Cancel, 1),
            Action::CancelMessage(1),
            Action::Reveal(1),
            Action::Accepted(1),
            Action::NotSent(1),
            Action::SendAgain(1),
            Action::ResumeSequence(1),
            Action::SkipHead(1),
            Action::CancelSequence(1),
            Action::FailuresAgain(group_of("131026~4711").expect("a group")),
            Action::SuppressFailures(group_of("none~4711").expect("a group")),
            Action::AllNotSent("4711".into()),
            Action::AllAgain("4711".into()),
        ];
        for action in all {
            let found = Action::parse(action.verb(), &action.target());
            assert_eq!(found, Some(action));
        }
        assert_eq!(Action::parse("drop-table", "1"), None);
        assert_eq!(Action::parse("reveal", "x"), None);
    }
}
