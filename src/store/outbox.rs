//! Writes into the outbox and cancels, as any application may.

use time::OffsetDateTime;

use super::error::Doing;
use super::{Store, StoreError};
use crate::domain::id::MessageId;

/// A row for the outbox. What is `None` takes the table's default.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// From this sender; else from the only or the default one.
    pub sender: Option<String>,
    /// To whom, E.164 with `+`.
    pub recipient: String,
    /// `phone`, `user` or `group`.
    pub recipient_kind: Option<String>,
    /// The API's message body as JSON text.
    pub payload: String,
    /// 0 leaves first.
    pub priority: Option<i16>,
    /// Not before this.
    pub due_at: Option<OffsetDateTime>,
    /// Not after this.
    pub expires_at: Option<OffsetDateTime>,
    /// One after the other with others of this name.
    pub sequence: Option<String>,
    /// Once per sender.
    pub dedup_key: Option<String>,
    /// `retry` or `hold`.
    pub on_uncertain: Option<String>,
    /// The application's own id.
    pub reference: Option<String>,
}

impl Store {
    /// Writes one message into the outbox.
    pub async fn enqueue(&self, message: &NewMessage) -> Result<MessageId, StoreError> {
        sqlx::query_scalar!(
            "insert into wa.outbox (sender, recipient, recipient_kind, payload, priority, due_at, expires_at, sequence, dedup_key,
               on_uncertain, reference)
             values ($1, $2, $3, ($4::text)::json, $5, $6, $7, $8, $9, $10, $11) returning id",
            message.sender,
            message.recipient,
            message.recipient_kind.as_deref().unwrap_or("phone"),
            message.payload,
            message.priority.unwrap_or(5),
            message.due_at as Option<OffsetDateTime>,
            message.expires_at,
            message.sequence,
            message.dedup_key,
            message.on_uncertain,
            message.reference
        )
        .fetch_one(&self.pool)
        .await
        .doing("write the message into the outbox")
        .map(MessageId)
    }

    /// Cancels a message that has not been begun. An error says what is the case otherwise.
    pub async fn cancel(&self, id: MessageId) -> Result<(), StoreError> {
        sqlx::query!("select wa.cancel($1)", id.0)
            .fetch_one(&self.pool)
            .await
            .doing("cancel the message")
            .map(drop)
    }
}
