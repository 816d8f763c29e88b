//! The row around a payload: to whom, from whom, when and how.

use serde_json::Value;
use time::OffsetDateTime;

use super::{Fields, Payload};
pub use crate::domain::outcome::OnUncertain;

/// A message to be written into `wa.outbox`: its fields are the columns that an application may set. What is `None` takes the table's
/// default. The database checks it all, so a bad value is refused by it, with the fix.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// To whom.
    pub recipient: Recipient,
    /// What it says.
    pub content: RowContent,
    /// From this sender; else from the only or the default one.
    pub sender: Option<String>,
    /// 0 (urgent) leaves before 9 (bulk); else 5.
    pub priority: Option<i16>,
    /// Not before this.
    pub due_at: Option<OffsetDateTime>,
    /// Not after this.
    pub expires_at: Option<OffsetDateTime>,
    /// One after the other with others of this name to the same recipient: 1 to 100 characters.
    pub sequence: Option<String>,
    /// Once per sender: 1 to 200 characters.
    pub dedup_key: Option<String>,
    /// What happens when its answer is lost; else what its sender says.
    pub on_uncertain: Option<OnUncertain>,
    /// Your own id for it, shown and searchable: at most 200 characters.
    pub reference: Option<String>,
}

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A phone number: `+`, the country code and the rest, separators allowed.
    Phone(String),
    /// A business-scoped user id.
    User(String),
    /// A group, by its id.
    Group(String),
}

/// What a row says.
#[derive(Clone, Debug, PartialEq)]
pub enum RowContent {
    /// A payload.
    Payload(Box<Payload>),
    /// A payload that is JSON text already. It reaches the wire as it is written.
    Written(String),
    /// What a campaign says, its placeholders filled with these variables.
    Campaign {
        /// The campaign.
        id: i64,
        /// By the names of the placeholders.
        variables: Fields,
    },
}

impl Outgoing {
    /// A message to a recipient.
    pub fn new(payload: impl Into<Payload>, recipient: impl Into<Recipient>) -> Self {
        let payload = Box::new(payload.into());
        Self::of(RowContent::Payload(payload), recipient)
    }

    /// A message whose payload is JSON text already, and reaches the wire as it is written.
    pub fn written(payload: impl Into<String>, recipient: impl Into<Recipient>) -> Self {
        Self::of(RowContent::Written(payload.into()), recipient)
    }

    /// A row of a campaign: one more recipient, and the variables that fill its template.
    ///
    /// ```
    /// use wa_outbox::message::Outgoing;
    ///
    /// let row = Outgoing::of_campaign(1, "+16505551234").variable("name", "Ada").variable("total", "12.50");
    /// assert_eq!(row.variables().expect("of a campaign")["name"], "Ada");
    /// assert_eq!(row.payload(), None);
    /// ```
    pub fn of_campaign(id: i64, recipient: impl Into<Recipient>) -> Self {
        let variables = Fields::new();
        Self::of(RowContent::Campaign { id, variables }, recipient)
    }

    fn of(content: RowContent, recipient: impl Into<Recipient>) -> Self {
        Self {
            recipient: recipient.into(),
            content,
            sender: None,
            priority: None,
            due_at: None,
            expires_at: None,
            sequence: None,
            dedup_key: None,
            on_uncertain: None,
            reference: None,
        }
    }

    /// Its payload, where it is not written already and not a campaign's.
    pub fn payload(&self) -> Option<&Payload> {
        match &self.content {
            RowContent::Payload(payload) => Some(payload),
            RowContent::Written(_) | RowContent::Campaign { .. } => None,
        }
    }

    /// The variables of a campaign's row.
    pub fn variables(&self) -> Option<&Fields> {
        match &self.content {
            RowContent::Campaign { variables, .. } => Some(variables),
            RowContent::Payload(_) | RowContent::Written(_) => None,
        }
    }

    /// Fills a placeholder of the campaign. A row that is no campaign's stays as it is.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        if let RowContent::Campaign { variables, .. } = &mut self.content {
            variables.insert(name.into(), value.into());
        }
        self
    }

    /// From this sender, by its phone number id.
    pub fn from_sender(mut self, sender: impl Into<String>) -> Self {
        self.sender = Some(sender.into());
        self
    }

    /// 0 (urgent) leaves before 9 (bulk).
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Not before this.
    pub fn due_at(mut self, time: OffsetDateTime) -> Self {
        self.due_at = Some(time);
        self
    }

    /// Not after this.
    pub fn expires_at(mut self, time: OffsetDateTime) -> Self {
        self.expires_at = Some(time);
        self
    }

    /// One after the other with others of this name to the same recipient.
    pub fn in_sequence(mut self, sequence: impl Into<String>) -> Self {
        self.sequence = Some(sequence.into());
        self
    }

    /// Once per sender: a second message with this key is refused.
    pub fn dedup_key(mut self, key: impl Into<String>) -> Self {
        self.dedup_key = Some(key.into());
        self
    }

    /// What happens when its answer is lost and no evidence comes.
    pub fn on_uncertain(mut self, policy: OnUncertain) -> Self {
        self.on_uncertain = Some(policy);
        self
    }

    /// Your own id for it, shown and searchable.
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }
}

impl Recipient {
    /// A person by a business-scoped user id, such as `US.13491208655302741918`.
    pub fn user(id: impl Into<String>) -> Self {
        Self::User(id.into())
    }

    /// A group, by its id.
    pub fn group(id: impl Into<String>) -> Self {
        Self::Group(id.into())
    }

    /// The number or id.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Phone(id) | Self::User(id) | Self::Group(id) => id,
        }
    }

    /// What it is, as `wa.outbox.recipient_kind` writes it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Phone(_) => "phone",
            Self::User(_) => "user",
            Self::Group(_) => "group",
        }
    }
}

impl From<&str> for Recipient {
    fn from(phone: &str) -> Self {
        Self::Phone(phone.to_owned())
    }
}

impl From<String> for Recipient {
    fn from(phone: String) -> Self {
        Self::Phone(phone)
    }
}

impl From<&String> for Recipient {
    fn from(phone: &String) -> Self {
        Self::Phone(phone.clone())
    }
}
