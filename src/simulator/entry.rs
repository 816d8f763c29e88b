//! One request as the ledger holds it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::fault::Fault;
use super::message::recipient_key;

/// One request as witnessed.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the order in which requests were read, from 0.
    pub index: u64,
    /// When its first bytes had come, since the simulator's start, on a clock that never goes back.
    pub at: Duration,
    /// The same by the wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The business phone number it was sent from, by its id.
    pub number: Arc<str>,
    /// The path it was sent to.
    pub path: String,
    /// `to` (or `recipient`) exactly as given; empty where it could not be read, and for a mark-as-read.
    pub recipient: String,
    /// The message's `type`, `read` for a mark-as-read.
    pub kind: String,
    /// The whole body; empty in a compact ledger.
    pub body: Bytes,
    /// `biz_opaque_callback_data`.
    pub callback_data: Option<String>,
    /// `text.body`, where there is one; absent in a compact ledger.
    pub text: Option<String>,
    /// What was decided, whatever the sender got to see.
    pub decision: Decision,
    /// The fault applied to it.
    pub fault: Option<Fault>,
}

/// What the simulator decided about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The message is taken and has this id.
    Accepted {
        /// WhatsApp's id of the message.
        wamid: String,
    },
    /// A mark-as-read was done; these get no id.
    Acknowledged,
    /// Answered with an error; not taken.
    Refused {
        /// The HTTP status.
        http_status: u16,
        /// Meta's code, where the answer carries one.
        code: Option<u32>,
    },
    /// Neither taken nor answered.
    Unanswered,
}

impl Entry {
    /// The id it was accepted under.
    pub fn wamid(&self) -> Option<&str> {
        match &self.decision {
            Decision::Accepted { wamid } => Some(wamid),
            Decision::Acknowledged | Decision::Refused { .. } | Decision::Unanswered => None,
        }
    }

    /// Which message this request is about: the callback data up to its second dash, so that two attempts of one
    /// message are the same; without callback data, recipient and text.
    pub fn message_identity(&self) -> String {
        match &self.callback_data {
            Some(data) => {
                let end = data
                    .match_indices('-')
                    .nth(1)
                    .map_or(data.len(), |(at, _)| at);
                data[..end].to_owned()
            }
            None => format!(
                "{}\n{}",
                recipient_key(&self.recipient),
                self.text.as_deref().unwrap_or_default()
            ),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let body: Option<Value> = serde_json::from_slice(&self.body).ok();
        let (decision, http_status, code) = match self.decision {
            Decision::Accepted { .. } => ("accepted", None, None),
            Decision::Acknowledged => ("acknowledged", None, None),
            Decision::Refused { http_status, code } => ("refused", Some(http_status), code),
            Decision::Unanswered => ("unanswered", None, None),
        };
        json!({
            "index": self.index,
            "at_ms": self.at.as_millis() as u64,
            "unix_ms": self.unix_ms,
            "number": &*self.number,
            "path": self.path,
            "recipient": self.recipient,
            "kind": self.kind,
            "decision": decision,
            "wamid": self.wamid(),
            "http_status": http_status,
            "code": code,
            "fault": self.fault,
            "callback_data": self.callback_data,
            "body": body,
        })
    }
}
