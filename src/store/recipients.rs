//! Recipients of campaigns: written by the thousand, and looked through before a start.
//!
//! What an import has written and how far it has read its file are one transaction, so that one which was cut off goes on where
//! it was and doubles nothing. A row that the database refuses costs the others of its batch nothing: the batch is halved until
//! the bad one stands alone. Looking through goes page by page along the index that the rows are sent by, so it takes the same
//! memory for a million as for ten.

use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::parts::{RefusedRow, in_parts};
use super::record::storable;
use super::{Store, StoreError};
use crate::crash::crash_point;
use crate::domain::id::MessageId;

/// How far a file has been read into a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportStanding {
    /// Lines that were read.
    pub lines: i64,
    /// Of these lines.
    pub checksum: Vec<u8>,
    /// Recipients that came of them.
    pub recipients: i64,
    /// Lines that could not be used.
    pub faults: i64,
    /// Length of the file of faults then.
    pub faults_bytes: i64,
    /// When it was read to its end, if it was.
    pub finished_at: Option<OffsetDateTime>,
}

/// A recipient that is to be written.
#[derive(Clone, Debug)]
pub struct NewRecipient {
    /// E.164, without separators.
    pub recipient: String,
    /// A JSON object.
    pub variables: String,
}

/// A part of a file: its recipients, and where it ends.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Into this campaign.
    pub campaign: i64,
    /// The file's name.
    pub source: &'a str,
    /// Lines that must have been read before, or somebody else is reading the same file.
    pub lines_before: i64,
    /// Lines that have been read with it.
    pub lines: i64,
    /// Of these lines.
    pub checksum: &'a [u8],
    /// Its recipients.
    pub recipients: &'a [NewRecipient],
    /// Whether the file ends with it.
    pub is_last: bool,
}

/// A batch that is written and not yet durable: what was refused is to be noted down first.
pub struct WrittenBatch {
    transaction: Transaction,
    campaign: i64,
    source: String,
    recipients: i64,
    /// What was refused, in the order of the batch.
    pub refused: Vec<RefusedRow>,
}

/// A queued row of a campaign, as a preflight looks at it.
#[derive(Clone, Debug)]
pub struct QueuedRecipient {
    /// The message.
    pub id: i64,
    /// To whom.
    pub recipient: String,
    /// `phone`, `user` or `group`.
    pub recipient_kind: String,
    /// A JSON object.
    pub variables: String,
    /// It expires then.
    pub expires_at: Option<OffsetDateTime>,
    /// Its place in the order.
    pub due_at: OffsetDateTime,
    /// Whether the recipient must not be messaged.
    pub is_suppressed: bool,
    /// How many rows of the campaign before it go to the same recipient, and were not cancelled; counted up to [`EARLIER_AT_MOST`].
    pub earlier: i64,
}

/// Rows to one recipient are counted up to this.
pub const EARLIER_AT_MOST: i64 = 1_000;

const COPY: &str = "copy wa.outbox (campaign_id, recipient, variables) from stdin";

impl Store {
    /// How far a file has been read; begins with nothing where it is new.
    pub async fn begin_import(
        &self,
        campaign: i64,
        source: &str,
        by: &str,
    ) -> Result<ImportStanding, StoreError> {
        sqlx::query!(
            "insert into wa.campaign_imports (campaign, source, started_by) values ($1, $2, $3) on conflict do nothing",
            campaign,
            source,
            by
        )
        .execute(&self.pool)
        .await
        .doing("begin the import")?;
        sqlx::query_as!(
            ImportStanding,
            "select lines, checksum, recipients, faults, faults_bytes, finished_at
             from wa.campaign_imports where campaign = $1 and source = $2",
            campaign,
            source
        )
        .fetch_one(&self.pool)
        .await
        .doing("read how far the import has come")
    }

    /// Cancels recipients of a campaign that wait, each for a reason of its own. Says how many: one that was begun meanwhile is on
    /// its way and stays.
    pub async fn leave_out(
        &self,
        campaign: i64,
        recipients: &[(MessageId, String)],
    ) -> Result<i64, StoreError> {
        if recipients.is_empty() {
            return Ok(0);
        }
        let ids: Vec<i64> = recipients.iter().map(|(id, _)| id.0).collect();
        let reasons: Vec<String> = recipients.iter().map(|(_, why)| storable(why)).collect();
        sqlx::query_scalar!(
            r#"select wa.leave_out($1, $2, $3) as "left_out!""#,
            campaign,
            &ids,
            &reasons
        )
        .fetch_one(&self.pool)
        .await
        .doing("leave recipients out of the campaign")
    }

    /// Writes a part of a file, all but the rows that the database refuses. Not durable before
    /// [`WrittenBatch::commit`]. `None`: somebody else has read on in the same file meanwhile.
    ///
    /// # Errors
    /// When it cannot be written for another reason than a row's own: the campaign is over, the database is gone.
    pub async fn write_batch(&self, batch: &Batch<'_>) -> Result<Option<WrittenBatch>, StoreError> {
        let mut transaction = self.pool.begin().await.doing("begin a batch")?;
        let moved = sqlx::query!(
            "update wa.campaign_imports
             set lines = $4, checksum = $5, changed_at = clock_timestamp(),
               finished_at = case when $6 then clock_timestamp() end
             where campaign = $1 and source = $2 and lines = $3",
            batch.campaign,
            batch.source,
            batch.lines_before,
            batch.lines,
            batch.checksum,
            batch.is_last
        )
        .execute(&mut *transaction)
        .await
        .doing("note how far the import has come")?;
        if moved.rows_affected() == 0 {
            return Ok(None);
        }
        let refused = write(&mut transaction, batch).await?;
        let written = batch.recipients.len() - refused.len();
        Ok(Some(WrittenBatch {
            transaction,
            campaign: batch.campaign,
            source: batch.source.to_owned(),
            recipients: i64::try_from(written).unwrap_or(i64::MAX),
            refused,
        }))
    }

    /// Rows of a campaign that wait to be sent, in the order they are sent in; from behind `after`, a due time and an id.
    pub async fn queued_recipients(
        &self,
        campaign: i64,
        after: Option<(OffsetDateTime, i64)>,
        at_most: i64,
    ) -> Result<Vec<QueuedRecipient>, StoreError> {
        let doing = "look through the recipients";
        let (due_at, id) = after.unwrap_or((OffsetDateTime::UNIX_EPOCH, i64::MIN));
        // Statistics of a table that was just filled know of one recipient, or of none.
        let by_key = "BEGIN; set local enable_seqscan = off; set local enable_bitmapscan = off";
        let begun = self.pool.begin_with(by_key.to_owned()).await;
        let mut transaction = begun.doing(doing)?;
        let page = sqlx::query_file_as!(
            QueuedRecipient,
            "src/store/sql/queued_recipients.sql",
            campaign,
            due_at,
            id,
            at_most,
            EARLIER_AT_MOST
        )
        .fetch_all(&mut *transaction)
        .await
        .doing(doing)?;
        transaction.commit().await.doing(doing)?;
        Ok(page)
    }
}

impl WrittenBatch {
    /// Makes it durable, together with how many lines could not be used and how long the file is that tells of them.
    ///
    /// # Errors
    /// When the database cannot; without an answer it may have become durable or not.
    pub async fn commit(mut self, faults: i64, faults_bytes: i64) -> Result<(), StoreError> {
        let doing = "finish a batch";
        sqlx::query!(
            "update wa.campaign_imports
             set recipients = recipients + $3, faults = faults + $4, faults_bytes = $5
             where campaign = $1 and source = $2",
            self.campaign,
            self.source,
            self.recipients,
            faults,
            faults_bytes
        )
        .execute(&mut *self.transaction)
        .await
        .doing(doing)?;
        crash_point!("import.asked");
        self.transaction.commit().await.doing(doing)?;
        crash_point!("import.committed");
        Ok(())
    }

    /// How many of the batch are written.
    pub fn recipients(&self) -> i64 {
        self.recipients
    }
}

/// Writes all rows of a batch that the database takes, and says which it refuses.
async fn write(
    transaction: &mut Transaction,
    batch: &Batch<'_>,
) -> Result<Vec<RefusedRow>, StoreError> {
    // It is over, or gone: that is no row's fault.
    let is_of_campaign = |error: &StoreError| error.refused_column() == Some("campaign_id");
    let rows = batch.recipients.len();
    in_parts(transaction, rows, is_of_campaign, async |open, part| {
        let rows = copied(batch.campaign, &batch.recipients[part]);
        let written = open.copy_in(COPY, &rows).await;
        written.doing("write recipients").map(drop)
    })
    .await
}

/// Rows as COPY reads them in its text format: a tab between fields, a backslash before what would mean something else.
fn copied(campaign: i64, recipients: &[NewRecipient]) -> Vec<u8> {
    let campaign = campaign.to_string();
    let mut rows = Vec::with_capacity(recipients.len() * 96);
    for row in recipients {
        rows.extend_from_slice(campaign.as_bytes());
        for field in [&row.recipient, &row.variables] {
            rows.push(b'\t');
            for byte in field.bytes() {
                match byte {
                    b'\\' => rows.extend_from_slice(b"\\\\"),
                    b'\t' => rows.extend_from_slice(b"\\t"),
                    b'\n' => rows.extend_from_slice(b"\\n"),
                    b'\r' => rows.extend_from_slice(b"\\r"),
                    other => rows.push(other),
                }
            }
        }
        rows.push(b'\n');
    }
    rows
}
