//! Writes into the outbox and cancels, as any application may.
//!
//! An application writes with [`enqueue`] or [`enqueue_all`] in a transaction of its own, so that a message is owed exactly when what it
//! tells of is committed.

use sqlx::{Connection as _, PgConnection, PgExecutor};
use time::OffsetDateTime;

use super::error::{Doing, Refusal};
use super::{Store, StoreError};
use crate::domain::id::MessageId;
use crate::domain::phone;
use crate::message::{Outgoing, RowContent};

/// Why a message was not written into the outbox.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The database refuses it. The transaction can only be rolled back, to a savepoint or as a whole.
    #[error("{message}")]
    Refused {
        /// The column at fault, where one was named.
        field: Option<String>,
        /// What is wrong: field and value.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// The refusal as it came.
        #[source]
        source: sqlx::Error,
    },
    /// A message of the same sender has its `dedup_key` already. Nothing was written, and the transaction can go on.
    #[error("a message of this sender with the same dedup_key is in the outbox already")]
    Duplicate,
    /// The payload cannot be written as JSON.
    #[error("could not write the payload as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// The database could not be reached, or could not do it.
    #[error("could not write the message into the outbox")]
    Database(#[source] StoreError),
}

/// Writes a message into the outbox, within your transaction: it leaves when you have committed.
///
/// `&mut transaction` of a `sqlx::Transaction` will do, and so will a connection, on which it is committed at once.
///
/// ```no_run
/// use wa_outbox::{EnqueueError, enqueue, message};
///
/// async fn ship(pool: &sqlx::PgPool, order: i64, phone: &str) -> Result<(), Box<dyn std::error::Error>> {
///     let mut transaction = pool.begin().await?;
///     sqlx::query("update orders set shipped = true where id = $1")
///         .bind(order)
///         .execute(&mut *transaction)
///         .await?;
///     let shipped = message::template("order_shipped", "en_US")
///         .body([order.to_string()])
///         .to(phone)
///         .dedup_key(format!("shipped-{order}"));
///     match enqueue(&mut transaction, &shipped).await {
///         Ok(_) | Err(EnqueueError::Duplicate) => {}
///         Err(refused) => return Err(refused.into()),
///     }
///     transaction.commit().await?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When its dedup key is taken, when the database refuses the row, or when it cannot be reached.
pub async fn enqueue(
    connection: &mut PgConnection,
    message: &Outgoing,
) -> Result<MessageId, EnqueueError> {
    enqueue_by(connection, message).await
}

/// Writes many messages into the outbox in one statement, all or none, and gives their ids in their order.
///
/// Members of sequences are written in the order of recipient and sequence, so that two calls at once cannot meet in a deadlock; those of
/// one sequence keep their order.
///
/// # Errors
/// As [`enqueue`]. Nothing is written then, and the transaction can go on.
pub async fn enqueue_all(
    connection: &mut PgConnection,
    messages: &[Outgoing],
) -> Result<Vec<MessageId>, EnqueueError> {
    let order = in_order_of_sequences(messages);
    let mut rows = Rows::default();
    for &place in &order {
        rows.push(&messages[place])?;
    }
    let mut savepoint = connection.begin().await.map_err(failed)?;
    // An error drops the savepoint, which undoes it.
    let written = insert(&mut *savepoint, rows).await.map_err(failed)?;
    if written.len() < messages.len() {
        savepoint.rollback().await.map_err(failed)?;
        return Err(EnqueueError::Duplicate);
    }
    savepoint.commit().await.map_err(failed)?;
    let mut ids: Vec<(usize, i64)> = order.into_iter().zip(written).collect();
    ids.sort_unstable();
    Ok(ids.into_iter().map(|(_, id)| MessageId(id)).collect())
}

/// The places of messages in the order in which they are written: without a sequence first, as they come, then by sender, recipient and
/// sequence. Those of one sequence keep their order, however their recipient is written.
pub(super) fn in_order_of_sequences(messages: &[Outgoing]) -> Vec<usize> {
    let members = || messages.iter().filter(|message| message.sequence.is_some());
    // Who is meant by none is known to the database alone, and so is the country that a number is dialled in. Where some are named and
    // others are not, what is surely the same of both has to do.
    let (named, unnamed): (Vec<_>, Vec<_>) =
        members().partition(|message| message.sender.is_some());
    let senders_are_told = named.is_empty() || unnamed.is_empty();
    let numbers_are_told = members().all(|message| in_full(message).is_some());
    let key = |message: &Outgoing| {
        let sequence = message.sequence.clone()?;
        let sender = message.sender.clone().filter(|_| senders_are_told);
        let recipient = match in_full(message) {
            Some(number) if numbers_are_told => number,
            _ => last_digits(message.recipient.as_str()),
        };
        Some((sender, recipient, sequence))
    };
    let mut order: Vec<usize> = (0..messages.len()).collect();
    // The sort is stable.
    order.sort_by_cached_key(|&place| key(&messages[place]));
    order
}

/// Its recipient as the database writes it; none: only the database knows.
fn in_full(message: &Outgoing) -> Option<String> {
    let recipient = message.recipient.as_str();
    match message.recipient.kind() {
        "phone" => phone::normalised(recipient, None).ok(),
        _ => Some(recipient.to_owned()),
    }
}

/// What a number ends with, in whatever form it is written.
fn last_digits(recipient: &str) -> String {
    let digits = recipient.chars().filter(char::is_ascii_digit).rev();
    digits.take(4).collect()
}

async fn enqueue_by(
    executor: impl PgExecutor<'_>,
    message: &Outgoing,
) -> Result<MessageId, EnqueueError> {
    let mut rows = Rows::default();
    rows.push(message)?;
    let written = insert(executor, rows).await.map_err(failed)?;
    let id = written.first().ok_or(EnqueueError::Duplicate)?;
    Ok(MessageId(*id))
}

/// The columns that an application sets, an element for each row.
#[derive(Default)]
pub(super) struct Rows {
    sender: Vec<Option<String>>,
    recipient: Vec<String>,
    recipient_kind: Vec<String>,
    payload: Vec<Option<String>>,
    variables: Vec<Option<String>>,
    campaign: Vec<Option<i64>>,
    priority: Vec<Option<i16>>,
    due_at: Vec<Option<OffsetDateTime>>,
    expires_at: Vec<Option<OffsetDateTime>>,
    sequence: Vec<Option<String>>,
    dedup_key: Vec<Option<String>>,
    on_uncertain: Vec<Option<String>>,
    reference: Vec<Option<String>>,
}

impl Rows {
    pub(super) fn push(&mut self, message: &Outgoing) -> Result<(), EnqueueError> {
        let (payload, campaign, variables) = match &message.content {
            RowContent::Payload(payload) => (Some(written(payload)?), None, None),
            RowContent::Written(payload) => (Some(payload.clone()), None, None),
            RowContent::Campaign { id, variables } => (None, Some(*id), Some(written(variables)?)),
        };
        let policy = message
            .on_uncertain
            .map(|policy| policy.as_str().to_owned());
        self.sender.push(message.sender.clone());
        self.recipient.push(message.recipient.as_str().to_owned());
        self.recipient_kind
            .push(message.recipient.kind().to_owned());
        self.payload.push(payload);
        self.variables.push(variables);
        self.campaign.push(campaign);
        self.priority.push(message.priority);
        self.due_at.push(message.due_at);
        self.expires_at.push(message.expires_at);
        self.sequence.push(message.sequence.clone());
        self.dedup_key.push(message.dedup_key.clone());
        self.on_uncertain.push(policy);
        self.reference.push(message.reference.clone());
        Ok(())
    }
}

fn written(value: &impl serde::Serialize) -> Result<String, EnqueueError> {
    serde_json::to_string(value).map_err(EnqueueError::Unwritable)
}

/// The ids of the rows that were written, in their order.
pub(super) async fn insert(
    executor: impl PgExecutor<'_>,
    rows: Rows,
) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_file_scalar!(
        "src/store/sql/enqueue.sql",
        &rows.sender as &[Option<String>],
        &rows.recipient,
        &rows.recipient_kind,
        &rows.payload as &[Option<String>],
        &rows.variables as &[Option<String>],
        &rows.campaign as &[Option<i64>],
        &rows.priority as &[Option<i16>],
        &rows.due_at as &[Option<OffsetDateTime>],
        &rows.expires_at as &[Option<OffsetDateTime>],
        &rows.sequence as &[Option<String>],
        &rows.dedup_key as &[Option<String>],
        &rows.on_uncertain as &[Option<String>],
        &rows.reference as &[Option<String>]
    )
    .fetch_all(executor)
    .await
}

fn failed(source: sqlx::Error) -> EnqueueError {
    match Refusal::of(&source) {
        Some(Refusal {
            field,
            message,
            hint,
        }) => EnqueueError::Refused {
            field,
            message,
            hint,
            source,
        },
        None => EnqueueError::Database(StoreError::Database {
            doing: "write the message into the outbox",
            source,
        }),
    }
}

impl Store {
    /// Writes one message into the outbox.
    ///
    /// # Errors
    /// As [`enqueue`].
    pub async fn enqueue(&self, message: &Outgoing) -> Result<MessageId, EnqueueError> {
        enqueue_by(&self.pool, message).await
    }

    /// The message of this sender, or of the one that a message without a sender is from, that has this dedup key.
    pub async fn message_with_key(
        &self,
        sender: Option<&str>,
        dedup_key: &str,
    ) -> Result<Option<MessageId>, StoreError> {
        let found = sqlx::query_scalar!(
            "select o.id from wa.outbox o
             where o.dedup_key = $2
               and o.sender = coalesce($1, (select s.sender from wa.senders s order by s.is_default desc limit 1))",
            sender,
            dedup_key
        )
        .fetch_optional(&self.pool)
        .await
        .doing("find the message with a dedup key")?;
        Ok(found.map(MessageId))
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
