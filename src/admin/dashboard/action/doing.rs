//! Does a deed, by the functions that the command line uses.

use tokio::time::Instant;

use super::{Action, Given, NotDone, because, by_hand, find_campaign, sequence_key};
use crate::admin::dashboard::Dashboard;
use crate::domain::hold::Cause;
use crate::domain::id::{MessageId, SenderId};
use crate::provider::ProviderKind;
use crate::standing::campaign;
use crate::standing::facts::thousands;
use crate::store::failures::{Decider, SuppressFrom};
use crate::store::groups::GroupFinding;
use crate::store::hold::NewHold;
use crate::store::sequence::{Skipped, Word};
use crate::store::uncertain::Finding;

impl Action {
    /// Does it, and says what was done.
    pub(in crate::admin::dashboard) async fn run(
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
                let lost = store.campaign_lost_answers(*id).await?;
                let is_changed = store.lead_campaign(*id, *verb, by, Some(reason)).await?;
                let campaign = find_campaign(dashboard, *id).await?;
                let counts = store.campaign_counts(*id).await?;
                Ok(campaign::after(&campaign, *verb, is_changed, &counts, lost))
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
                let provider = store.provider_of(MessageId(*id)).await?;
                let provider = provider.unwrap_or(ProviderKind::CloudApi);
                let copied = given.field("wamid").unwrap_or_default();
                let wamid = match provider.copied_id(copied) {
                    Ok(wamid) => wamid,
                    Err(what) => return because(format!("{what}; copy the whole id")),
                };
                let finding = Finding::Accepted(wamid);
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
