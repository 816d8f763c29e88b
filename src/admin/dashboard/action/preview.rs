//! What a deed would do, and to how much.

use maud::html;

use super::{Action, NotDone, Preview, because, by_hand, find_campaign, sequence_key};
use crate::admin::dashboard::Dashboard;
use crate::admin::dashboard::layout::Tone;
use crate::domain::id::SenderId;
use crate::domain::mask::Eyes;
use crate::standing::facts::thousands;
use crate::standing::sender::counted_to;
use crate::standing::veil::Veil;
use crate::standing::{sequence, shell};
use crate::store::campaign::CampaignVerb;
use crate::store::failures::{Counted, FailureGroup};

impl Action {
    /// What it would do, to how much.
    pub(in crate::admin::dashboard) async fn preview(
        &self,
        dashboard: &Dashboard,
    ) -> Result<Preview, NotDone> {
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
                let (would, _) = dashboard.store.count_again(group).await?;
                let many = in_words(would, "failed")?;
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
    let standing = dashboard.store.sender_standings(Some(&id)).await?.pop();
    match standing.veiled(Eyes::CLOSED) {
        Some(standing) => Ok(standing),
        None => because(format!("there is no sender {sender}")),
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
            format!(
                "{waiting} recipients that wait will not be written to any more; this cannot be undone."
            ),
            "Cancel it for good",
            Tone::Bad,
        ),
    };
    let mut says = vec![says];
    if verb == CampaignVerb::Start && campaign.preflight_at.is_none() {
        says.push(format!(
            "It had no preflight yet; see: wa-outbox campaign preflight {}",
            shell::word(name)
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

async fn sequence_preview(
    dashboard: &Dashboard,
    id: i64,
    title: &str,
    says: &str,
    button: &'static str,
    tone: Tone,
) -> Result<Preview, NotDone> {
    let key = sequence_key(dashboard, id).await?;
    let standing = dashboard.store.sequence(&key).await?;
    let Some(standing) = standing.veiled(Eyes::CLOSED) else {
        return because("the sequence is gone");
    };
    let sentence = sequence::sentence(&standing, Eyes::CLOSED, dashboard.clock.now());
    Ok(Preview {
        title: title.to_owned(),
        tone,
        says: vec![sentence, says.to_owned()],
        button,
        asks: None,
    })
}
