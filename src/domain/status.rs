//! What WhatsApp says about a message after it has taken it.
//!
//! Status webhooks come late, twice, out of order and in contradiction. [`Standing::fold`] makes one standing of
//! them that depends on *which* statuses came and never on the order they came in: a status only climbs, a proof of
//! delivery outweighs a failure, and a contradiction is flagged rather than hidden. Which statuses a message can have at
//! all depends on its [kind](super::kind).

use std::fmt;

use time::OffsetDateTime;

use super::id::{SenderId, Wamid};
use super::outcome::ApiError;

/// WhatsApp's word on an accepted message (Meta, "Status messages webhook reference"). *State* is our word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It has left WhatsApp's servers.
    Sent,
    /// It has reached a device of the recipient.
    Delivered,
    /// It was seen. Comes without [`Status::Delivered`] when the chat was open.
    Read,
    /// A voice note was listened to (since November 2025).
    Played,
    /// WhatsApp gave it up.
    Failed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Played,
        Self::Failed,
    ];

    /// Its place in [`Status::ALL`].
    pub fn place(self) -> usize {
        match self {
            Self::Sent => 0,
            Self::Delivered => 1,
            Self::Read => 2,
            Self::Played => 3,
            Self::Failed => 4,
        }
    }

    /// The status of that name. `None` for names that we do not know, such as the On-Premises API's `deleted` and
    /// `warning`, or ones that do not exist yet.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "sent" => Some(Self::Sent),
            "delivered" => Some(Self::Delivered),
            "read" => Some(Self::Read),
            "played" => Some(Self::Played),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }

    /// The name, as WhatsApp and the database write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
        }
    }

    /// Its place when statuses compete: the highest that ever came stands.
    ///
    /// `failed` stands above `sent` and below every proof of delivery. A message to someone with several devices may
    /// be reported `failed` and `delivered` both, and then it was delivered (Meta, "Support", *Conflicting message
    /// delivery status*).
    pub fn rank(self) -> u8 {
        match self {
            Self::Sent => 1,
            Self::Failed => 2,
            Self::Delivered => 3,
            Self::Read => 4,
            Self::Played => 5,
        }
    }

    /// Whether it proves that the message reached the recipient. `read` and `played` do, although they may come
    /// without `delivered` (Meta, "Status messages webhook reference", *Triggers*).
    pub fn proves_delivery(self) -> bool {
        match self {
            Self::Delivered | Self::Read | Self::Played => true,
            Self::Sent | Self::Failed => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a message stands after all statuses seen so far.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The status that counts; `None` before the first.
    pub status: Option<Status>,
    /// Whether WhatsApp has said both that it failed and that it was delivered. A message to a group can earn this
    /// honestly: it may reach one participant and not another.
    pub conflict: bool,
}

impl Standing {
    /// This standing after one more status. Repeating a status changes nothing, nor does the order of statuses.
    pub fn fold(self, next: Status) -> Self {
        let Some(current) = self.status else {
            return Self {
                status: Some(next),
                ..self
            };
        };
        let contradicts = (current == Status::Failed && next.proves_delivery())
            || (next == Status::Failed && current.proves_delivery());
        Self {
            status: Some(if next.rank() > current.rank() {
                next
            } else {
                current
            }),
            conflict: self.conflict || contradicts,
        }
    }
}

/// One status of one message, as it came.
///
/// Its `Debug` shows neither recipient nor wamid.
#[derive(Clone, PartialEq)]
pub struct StatusEvent {
    /// The number it was sent from; none in the forms without an envelope (On-Premises, Service4U).
    pub sender: Option<SenderId>,
    /// The message it speaks of.
    pub wamid: Wamid,
    /// What is said of it.
    pub status: Status,
    /// When the webhook was triggered, by WhatsApp's clock. Not an order: statuses of one second are common.
    pub at: Option<OffsetDateTime>,
    /// The recipient's number, group id or business-scoped user id, whichever came. May be missing.
    pub recipient: Option<String>,
    /// Which participant of a group it speaks of, by number or business-scoped user id.
    pub participant: Option<String>,
    /// The callback data of the request that sent it; not yet known to be ours.
    pub callback_data: Option<String>,
    /// Why it failed; normally present with [`Status::Failed`] only.
    pub error: Option<ApiError>,
}

impl fmt::Debug for StatusEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusEvent")
            .field("sender", &self.sender)
            .field("status", &self.status)
            .field("at", &self.at)
            .field("callback_data", &self.callback_data)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing_after(statuses: &[Status]) -> Standing {
        statuses
            .iter()
            .fold(Standing::default(), |standing, status| {
                standing.fold(*status)
            })
    }

    #[test]
    fn a_status_only_climbs() {
        for (index, low) in [
            Status::Sent,
            Status::Delivered,
            Status::Read,
            Status::Played,
        ]
        .into_iter()
        .enumerate()
        {
            for high in [
                Status::Sent,
                Status::Delivered,
                Status::Read,
                Status::Played,
            ]
            .into_iter()
            .skip(index)
            {
                let expected = Standing {
                    status: Some(high),
                    conflict: false,
                };
                assert_eq!(standing_after(&[low, high]), expected);
                assert_eq!(standing_after(&[high, low]), expected);
            }
        }
    }

    #[test]
    fn failed_never_overrides_a_delivery_and_the_conflict_is_flagged() {
        for delivery in [Status::Delivered, Status::Read, Status::Played] {
            let expected = Standing {
                status: Some(delivery),
                conflict: true,
            };
            assert_eq!(standing_after(&[delivery, Status::Failed]), expected);
            assert_eq!(standing_after(&[Status::Failed, delivery]), expected);
        }
    }

    #[test]
    fn a_late_sent_does_not_hide_a_failure() {
        let failed = Standing {
            status: Some(Status::Failed),
            conflict: false,
        };
        assert_eq!(standing_after(&[Status::Sent, Status::Failed]), failed);
        assert_eq!(standing_after(&[Status::Failed, Status::Sent]), failed);
    }

    #[test]
    fn the_order_and_the_number_of_arrivals_do_not_matter() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..2_000 {
            let mut statuses: Vec<Status> = (0..random.usize(1..7))
                .filter_map(|_| random.choice(Status::ALL))
                .collect();
            let expected = standing_after(&statuses);
            let doubled = [statuses.clone(), statuses.clone()].concat();
            random.shuffle(&mut statuses);
            assert_eq!(standing_after(&statuses), expected, "{statuses:?}");
            assert_eq!(standing_after(&doubled), expected, "{doubled:?}");

            let failed = statuses.contains(&Status::Failed);
            let delivered = statuses.iter().any(|status| status.proves_delivery());
            assert_eq!(expected.conflict, failed && delivered, "{statuses:?}");
            assert_eq!(
                expected.status,
                statuses.into_iter().max_by_key(|status| status.rank())
            );
        }
    }

    #[test]
    fn every_status_is_read_as_it_is_written_and_no_other() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        for unknown in ["", "Sent", "deleted", "warning", "pending", "RINGING"] {
            assert_eq!(Status::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_status_event_shows_no_person() {
        let event = StatusEvent {
            sender: Some("106540352242922".into()),
            wamid: "wamid.HBgLMTY1MDU1NTEyMzQ=".into(),
            status: Status::Delivered,
            at: None,
            recipient: Some("16505551234".to_owned()),
            participant: Some("16505551235".to_owned()),
            callback_data: None,
            error: None,
        };
        let shown = format!("{event:?}");
        assert!(
            shown.contains("Delivered") && shown.contains("106540352242922"),
            "{shown}"
        );
        assert!(
            !shown.contains("1650555123") && !shown.contains("HBgL"),
            "{shown}"
        );
    }
}
