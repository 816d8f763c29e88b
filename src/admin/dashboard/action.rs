//! What may be done by the dashboard: a closed list.
//!
//! Each deed is previewed first, with what it concerns and how much that is; it asks for a reason, needs the right of an operator, and
//! is written into the audit before it is done. The verbs are those of the command line, and go through the same functions.

use maud::{Markup, html};
use tokio::time::Instant;

use super::layout::Tone;
use super::session::Visitor;
use super::{Dashboard, Fields};
use crate::domain::hold::Cause;
use crate::domain::id::{MessageId, SenderId, Wamid};
use crate::standing::facts::thousands;
use crate::standing::mask::Eyes;
use crate::standing::sender::counted_to;
use crate::standing::{campaign, sequence};
use crate::store::StoreError;
use crate::store::campaign::{Campaign, CampaignKey, CampaignVerb};
use crate::store::failures::{Counted, Decider, FailureFilter, FailureGroup, SuppressFrom};
use crate::store::groups::{GroupFinding, UncertainFilter};
use crate::store::hold::NewHold;
use crate::store::sequence::{SequenceKey, Skipped, Word};
use crate::store::uncertain::Finding;

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
        text.filter(|text| !text.is_empty())
    }
}

impl Action {
    /// What an address asks for; none: there is no such deed.
    pub(super) fn parse(verb: &str, target: &str) -> Option<Self> {
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

    /// What it would do, to how much.
    pub(super) async fn preview(&self, dashboard: &Dashboard) -> Result<Preview, NotDone> {
        match self {
            Self::HoldSender(sender) => {
                let standing = sender_standing(dashboard, sender).await?;
                let waits = counted_to(standing.counted_at_most, standing.queued);
                Ok(Preview {
                    title: format!("Hold sender {sender}"),
                    tone: Tone::Doubt,
                    says: vec![
                        format!("Nothing leaves for it until it is released; its {waits} queued messages wait, and none of them fails."),
                        "Requests that are out come to their end.".to_owned(),
                    ],
                    button: "Hold it",
                    asks: Some(html! {
                        label for="minutes" { "For how many minutes (left empty: until it is released)" }
                        input #minutes name="minutes" type="number" min="1" max="525600" inputmode="numeric";
                    }),
                })
            }
            Self::ReleaseSender(sender) => {
                let standing = sender_standing(dashboard, sender).await?;
                let reason = standing.held_reason.as_deref().unwrap_or("nothing");
                let waits = counted_to(standing.counted_at_most, standing.queued);
                Ok(plain_preview(
                    format!("Release sender {sender}"),
                    vec![format!("It is held: {reason}"), format!("Its {waits} queued messages leave at its rate.")],
                    "Release it",
                ))
            }
            Self::LeadCampaign(verb, id) => lead_preview(dashboard, *verb, *id).await,
            Self::CancelMessage(id) => {
                let sentence = dashboard.sentence(*id).await?;
                Ok(Preview {
                    title: format!("Cancel message {id}"),
                    tone: Tone::Bad,
                    says: vec![sentence, "It ends as cancelled, unless it is begun before that; this cannot be undone.".to_owned()],
                    button: "Cancel this one message",
                    asks: None,
                })
            }
            Self::Reveal(id) => Ok(plain_preview(
                format!("Reveal message {id}"),
                vec!["Its recipient, WhatsApp's ids and its content are shown to you in full, for ten minutes. It is written into the audit.".to_owned()],
                "Reveal it",
            )),
            Self::Accepted(id) => Ok(Preview {
                title: format!("Message {id} was accepted"),
                tone: Tone::Doubt,
                says: vec![
                    dashboard.sentence(*id).await?,
                    "You have found that WhatsApp has it. It ends as accepted, and is never sent again.".to_owned(),
                ],
                button: "It was accepted",
                asks: Some(html! {
                    label for="wamid" { "What WhatsApp calls it (wamid.…)" }
                    input #wamid name="wamid" required pattern="wamid\\..+" autocomplete="off" spellcheck="false";
                }),
            }),
            Self::NotSent(id) => Ok(Preview {
                title: format!("Message {id} was not sent"),
                tone: Tone::Bad,
                says: vec![
                    dashboard.sentence(*id).await?,
                    "You have found that WhatsApp never had it. It ends as failed, and is not sent again.".to_owned(),
                ],
                button: "It was not sent",
                asks: None,
            }),
            Self::SendAgain(id) => Ok(Preview {
                title: format!("Send message {id} again"),
                tone: Tone::Bad,
                says: vec![
                    dashboard.sentence(*id).await?,
                    "It may have reached WhatsApp: sent again, its recipient may get it twice.".to_owned(),
                ],
                button: "Send it again, even twice",
                asks: None,
            }),
            Self::ResumeSequence(id) => {
                sequence_preview(dashboard, *id, "Resume the sequence", "It goes on without the message that halted it.", "Resume it", Tone::Doubt).await
            }
            Self::SkipHead(id) => {
                sequence_preview(dashboard, *id, "Skip the message in front", "It is no longer waited for; if it has not left, it is cancelled.", "Skip it", Tone::Doubt).await
            }
            Self::CancelSequence(id) => {
                sequence_preview(dashboard, *id, "Cancel the sequence", "Every message of it that has not been begun ends as cancelled; this cannot be undone.", "Cancel them all", Tone::Bad).await
            }
            Self::FailuresAgain(group) => {
                let many = failures_in_words(dashboard, group).await?;
                Ok(Preview {
                    title: format!("Send {} again", named(group)),
                    tone: Tone::Doubt,
                    says: vec![
                        format!("{many} are written into the outbox anew, each once however often this is done."),
                        "The failed ones stay as they are. Has the cause gone? Else they fail again.".to_owned(),
                    ],
                    button: "Send them again",
                    asks: None,
                })
            }
            Self::SuppressFailures(group) => {
                let many = failures_in_words(dashboard, group).await?;
                Ok(Preview {
                    title: format!("Suppress the recipients of {}", named(group)),
                    tone: Tone::Bad,
                    says: vec![
                        format!("The recipients of {many} are written to by no campaign of this sender any more."),
                        "See and undo it: wa-outbox suppress list".to_owned(),
                    ],
                    button: "Suppress them",
                    asks: None,
                })
            }
            Self::AllNotSent(sender) => {
                let many = uncertain_in_words(dashboard, sender).await?;
                Ok(Preview {
                    title: format!("None of the uncertain messages of {sender} was sent"),
                    tone: Tone::Bad,
                    says: vec![format!("{many}, of which only a person can tell, end as failed. You have found that WhatsApp never had them.")],
                    button: "None was sent",
                    asks: None,
                })
            }
            Self::AllAgain(sender) => {
                let many = uncertain_in_words(dashboard, sender).await?;
                Ok(Preview {
                    title: format!("Send the uncertain messages of {sender} again"),
                    tone: Tone::Bad,
                    says: vec![format!("{many}, of which only a person can tell, are queued again. They may have reached WhatsApp: some may arrive twice.")],
                    button: "Send all again, even twice",
                    asks: None,
                })
            }
        }
    }

    /// Does it, and says what was done.
    pub(super) async fn run(
        &self,
        dashboard: &Dashboard,
        given: &Given<'_>,
    ) -> Result<String, NotDone> {
        let (store, by, reason) = (&dashboard.store, given.by, given.reason);
        let word = Word { by, reason };
        match self {
            Self::HoldSender(sender) => {
                let minutes = given.field("minutes");
                let until = match minutes.map(|text| text.trim().parse::<i64>()) {
                    None => None,
                    Some(Ok(minutes @ 1..=525_600)) => {
                        Some(dashboard.clock.now() + time::Duration::minutes(minutes))
                    }
                    Some(_) => return because("the minutes are no number from 1 to 525600"),
                };
                let hold = NewHold {
                    cause: Cause::Operator,
                    reason,
                    by,
                    until,
                    code: None,
                    fingerprint: None,
                };
                match store
                    .hold_sender_for(&SenderId::from(sender.as_str()), &hold)
                    .await?
                {
                    true => Ok(format!("Sender {sender} is held.")),
                    false => because(format!(
                        "sender {sender} is held already, or does not exist"
                    )),
                }
            }
            Self::ReleaseSender(sender) => {
                match store
                    .release_sender_by(&SenderId::from(sender.as_str()), by, reason)
                    .await?
                {
                    true => Ok(format!("Sender {sender} is released.")),
                    false => because(format!("sender {sender} is not held")),
                }
            }
            Self::LeadCampaign(verb, id) => {
                let is_changed = store.lead_campaign(*id, *verb, by, Some(reason)).await?;
                let campaign = find_campaign(dashboard, *id).await?;
                let counts = store.campaign_counts(*id).await?;
                Ok(campaign::after(&campaign, *verb, is_changed, &counts))
            }
            Self::CancelMessage(id) => {
                store.cancel(MessageId(*id)).await?;
                Ok(format!("Message {id} is cancelled."))
            }
            Self::Reveal(id) => {
                if let Some(session) = given.visitor.session {
                    dashboard.sessions.reveal(session, *id, Instant::now());
                }
                Ok(format!("Message {id} is shown in full for ten minutes."))
            }
            Self::Accepted(id) => {
                let wamid = given.field("wamid").unwrap_or_default();
                if !wamid.trim().starts_with("wamid.") {
                    return because(
                        "what WhatsApp calls a message begins with wamid.; copy the whole id",
                    );
                }
                let finding = Finding::Accepted(Wamid::from(wamid.trim()));
                resolve(dashboard, *id, finding, word).await?;
                Ok(format!("Message {id} is accepted, says {by}."))
            }
            Self::NotSent(id) => {
                resolve(dashboard, *id, Finding::NotSent, word).await?;
                Ok(format!(
                    "Message {id} has failed: it was not sent, says {by}."
                ))
            }
            Self::SendAgain(id) => {
                resolve(dashboard, *id, Finding::SendAgain, word).await?;
                Ok(format!("Message {id} is queued again."))
            }
            Self::ResumeSequence(id) => {
                match store
                    .resume_sequence(&sequence_key(dashboard, *id).await?, word)
                    .await?
                {
                    true => Ok("The sequence goes on.".to_owned()),
                    false => because("the sequence is not halted"),
                }
            }
            Self::SkipHead(id) => match store
                .skip_head(&sequence_key(dashboard, *id).await?, word)
                .await?
            {
                Skipped::Passed => Ok("The message in front is no longer waited for.".to_owned()),
                Skipped::Cancelled => {
                    Ok("The message in front is cancelled, and the next one follows.".to_owned())
                }
                Skipped::Sending => {
                    because("the request of the message in front is out; wait for its answer")
                }
                Skipped::NoHead => because("the sequence has no message in front"),
            },
            Self::CancelSequence(id) => {
                let cancelled = store
                    .cancel_sequence(&sequence_key(dashboard, *id).await?, word)
                    .await?;
                Ok(format!(
                    "{} messages are cancelled.",
                    thousands(i64::try_from(cancelled).unwrap_or(i64::MAX))
                ))
            }
            Self::FailuresAgain(group) => {
                let again = store
                    .send_failures_again(group, Decider { by, reason })
                    .await?;
                let mut says = format!("{} messages were written anew.", again.written);
                for (count, why) in [
                    (again.already, "had been sent again before"),
                    (
                        again.of_ended_campaigns,
                        "belong to campaigns that have ended",
                    ),
                    (again.refused, "are not taken by the outbox as they are"),
                ] {
                    if count > 0 {
                        says += &format!(" {count} {why}.");
                    }
                }
                Ok(says)
            }
            Self::SuppressFailures(group) => {
                let from = SuppressFrom {
                    sender: group.filter.sender.clone(),
                    category: None,
                };
                let suppressed = store
                    .suppress_failures(group, &from, Decider { by, reason })
                    .await?;
                Ok(format!("{suppressed} recipients are suppressed."))
            }
            Self::AllNotSent(sender) => {
                let settled = store
                    .resolve_group(
                        &by_hand(sender),
                        GroupFinding::NotSent,
                        Decider { by, reason },
                    )
                    .await?;
                Ok(format!(
                    "{} messages have failed: they were not sent, says {by}.",
                    settled.settled
                ))
            }
            Self::AllAgain(sender) => {
                let settled = store
                    .resolve_group(
                        &by_hand(sender),
                        GroupFinding::SendAgain,
                        Decider { by, reason },
                    )
                    .await?;
                Ok(format!("{} messages are queued again.", settled.settled))
            }
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

fn named(group: &FailureGroup) -> String {
    let code = group.code.map_or_else(
        || "without a code".to_owned(),
        |code| format!("with code {code}"),
    );
    match &group.filter.sender {
        Some(sender) => format!("the failures {code} of {sender}"),
        None => format!("the failures {code}"),
    }
}

async fn failures_in_words(dashboard: &Dashboard, group: &FailureGroup) -> Result<String, NotDone> {
    in_words(dashboard.store.count_failures(group).await?, "failed")
}

async fn uncertain_in_words(dashboard: &Dashboard, sender: &str) -> Result<String, NotDone> {
    in_words(
        dashboard.store.count_uncertain(&by_hand(sender)).await?,
        "uncertain",
    )
}

fn in_words(counted: Counted, which: &str) -> Result<String, NotDone> {
    match (counted.messages, counted.is_whole) {
        (0, true) => because(format!("there are no {which} messages like that any more")),
        (1, true) => Ok(format!("1 {which} message")),
        (some, true) => Ok(format!("{} {which} messages", thousands(some))),
        (some, false) => Ok(format!("{} {which} messages or more", thousands(some))),
    }
}

/// Those of a sender that only a person can settle.
fn by_hand(sender: &str) -> UncertainFilter {
    UncertainFilter {
        sender: Some(sender.to_owned()),
        doubt: None,
        needs_person: true,
    }
}

fn plain_preview(title: String, says: Vec<String>, button: &'static str) -> Preview {
    Preview {
        title,
        tone: Tone::Doubt,
        says,
        button,
        asks: None,
    }
}

async fn sender_standing(
    dashboard: &Dashboard,
    sender: &str,
) -> Result<crate::store::summary::SenderStanding, NotDone> {
    let id = SenderId::from(sender);
    match dashboard.store.sender_standings(Some(&id)).await?.pop() {
        Some(standing) => Ok(standing),
        None => because(format!("there is no sender {sender}")),
    }
}

async fn find_campaign(dashboard: &Dashboard, id: i64) -> Result<Campaign, NotDone> {
    match dashboard.store.campaign(&CampaignKey::Id(id)).await? {
        Some(campaign) => Ok(campaign),
        None => because(format!("there is no campaign {id}")),
    }
}

async fn lead_preview(
    dashboard: &Dashboard,
    verb: CampaignVerb,
    id: i64,
) -> Result<Preview, NotDone> {
    let campaign = find_campaign(dashboard, id).await?;
    let counts = dashboard.store.campaign_counts(id).await?;
    let (name, waiting) = (&campaign.name, thousands(counts.queued));
    let (title, says, button, tone) = match verb {
        CampaignVerb::Start => (
            format!("Start campaign {name}"),
            format!("{waiting} recipients are written to, at its rate."),
            "Start it",
            Tone::Doubt,
        ),
        CampaignVerb::Pause => (
            format!("Pause campaign {name}"),
            format!("{waiting} recipients wait until it is resumed; what is out comes to its end."),
            "Pause it",
            Tone::Doubt,
        ),
        CampaignVerb::Resume => (
            format!("Resume campaign {name}"),
            format!("{waiting} recipients are written to, at its rate."),
            "Resume it",
            Tone::Doubt,
        ),
        CampaignVerb::Cancel => (
            format!("Cancel campaign {name}"),
            format!("{waiting} recipients will not be written to; this cannot be undone."),
            "Cancel it for good",
            Tone::Bad,
        ),
    };
    let mut says = vec![says];
    if verb == CampaignVerb::Start && campaign.preflight_at.is_none() {
        says.push(format!(
            "It had no preflight yet; see: wa-outbox campaign preflight {name}"
        ));
    }
    Ok(Preview {
        title,
        tone,
        says,
        button,
        asks: None,
    })
}

async fn sequence_key(dashboard: &Dashboard, id: i64) -> Result<SequenceKey, NotDone> {
    match dashboard.store.sequence_of(MessageId(id)).await? {
        Some(key) => Ok(key),
        None => because(format!("message {id} is in no sequence")),
    }
}

async fn sequence_preview(
    dashboard: &Dashboard,
    id: i64,
    title: &str,
    says: &str,
    button: &'static str,
    tone: Tone,
) -> Result<Preview, NotDone> {
    let key = sequence_key(dashboard, id).await?;
    let Some(standing) = dashboard.store.sequence(&key).await? else {
        return because("the sequence is gone");
    };
    let sentence = sequence::sentence(&standing, Eyes { reveal: false }, dashboard.clock.now());
    Ok(Preview {
        title: title.to_owned(),
        tone,
        says: vec![sentence, says.to_owned()],
        button,
        asks: None,
    })
}

async fn resolve(
    dashboard: &Dashboard,
    id: i64,
    finding: Finding,
    word: Word<'_>,
) -> Result<(), NotDone> {
    let message = MessageId(id);
    if dashboard
        .store
        .resolve(message, &finding, word.by, word.reason)
        .await?
    {
        return Ok(());
    }
    if matches!(finding, Finding::SendAgain) && dashboard.store.is_passed(message).await? {
        return because(format!(
            "message {id} is not sent again: its sequence has gone on without it, so it would arrive out of order; write it anew"
        ));
    }
    because(match finding {
        Finding::Accepted(_) => {
            format!("message {id} is not uncertain, or that wamid belongs to another message")
        }
        Finding::NotSent | Finding::SendAgain => format!("message {id} is not uncertain any more"),
    })
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
