//! Files of messages, written into the outbox by the thousand.
//!
//! What an import has written and how far it has read its file are one transaction, so that one which was cut off goes on where
//! it was and doubles nothing.

use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::outbox::{Rows, in_order_of_sequences, insert};
use super::parts::{RefusedRow, in_parts};
use super::record::storable;
use super::{Store, StoreError};
use crate::message::Outgoing;

/// How far a file has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStanding {
    /// Lines that were read.
    pub lines: i64,
    /// Of these lines.
    pub checksum: Vec<u8>,
    /// Messages that came of them.
    pub messages: i64,
    /// Length of the file of faults then.
    pub faults_bytes: i64,
    /// When it was read to its end, if it was.
    pub finished_at: Option<OffsetDateTime>,
    /// Who began.
    pub started_by: String,
}

/// Where a part of a file ends.
#[derive(Clone, Copy, Debug)]
pub struct FileStep<'a> {
    /// The file's name.
    pub source: &'a str,
    /// Lines that must have been read before, or somebody else is reading the same file.
    pub lines_before: i64,
    /// Lines that have been read with it.
    pub lines: i64,
    /// Of these lines.
    pub checksum: &'a [u8],
    /// Whether the file ends with it.
    pub is_last: bool,
}

/// A part that is written and not yet durable: what was refused is to be noted down first.
pub struct WrittenMessages {
    transaction: Transaction,
    source: Option<String>,
    /// Messages that are written.
    pub messages: i64,
    /// Left out, because a message of their sender has their dedup key.
    pub duplicates: i64,
    /// What was refused, in the order of the part.
    pub refused: Vec<RefusedRow>,
}

/// What an import must know of a sender.
#[derive(Clone, Debug)]
pub struct KnownSender {
    /// The sender.
    pub sender: String,
    /// Numbers without + are dialled there.
    pub default_country: Option<String>,
    /// Whether rows that name none are its.
    pub is_default: bool,
}

impl Store {
    /// How far a file has been read; begins with nothing where it is new.
    pub async fn begin_file(&self, source: &str, by: &str) -> Result<FileStanding, StoreError> {
        sqlx::query!(
            "insert into wa.imports (source, started_by) values ($1, $2) on conflict do nothing",
            source,
            storable(by)
        )
        .execute(&self.pool)
        .await
        .doing("begin the import")?;
        sqlx::query_as!(
            FileStanding,
            "select lines, checksum, messages, faults_bytes, finished_at, started_by from wa.imports where source = $1",
            source
        )
        .fetch_one(&self.pool)
        .await
        .doing("read how far the import has come")
    }

    /// The senders; none where the role may not read them.
    pub async fn known_senders(&self) -> Result<Option<Vec<KnownSender>>, StoreError> {
        let known = sqlx::query_as!(
            KnownSender,
            "select sender, default_country, is_default from wa.senders order by sender"
        )
        .fetch_all(&self.pool)
        .await
        .doing("read the senders");
        match known {
            Err(error) if error.is_missing_right() => Ok(None),
            known => known.map(Some),
        }
    }

    /// Writes messages, all but those that the database refuses and those whose dedup key is taken, and how far their file has been
    /// read, where that is to be remembered. Not durable before [`WrittenMessages::commit`]. `None`: somebody else has read on in the
    /// same file meanwhile.
    ///
    /// # Errors
    /// When it cannot be written for another reason than a row's own.
    pub async fn write_messages(
        &self,
        messages: &[Outgoing],
        step: Option<FileStep<'_>>,
    ) -> Result<Option<WrittenMessages>, StoreError> {
        let begun = self.pool.begin().await;
        let mut transaction = begun.doing("begin a part of the file")?;
        if let Some(step) = &step
            && !move_on(&mut transaction, step).await?
        {
            let undone = transaction.rollback().await;
            undone.doing("leave the file to another")?;
            return Ok(None);
        }
        // So that two imports, or an import and an application, cannot meet in a deadlock.
        let order = in_order_of_sequences(messages);
        let mut written = 0;
        let blames_none = |_: &StoreError| false;
        let refused = in_parts(
            &mut transaction,
            order.len(),
            blames_none,
            async |open, part| {
                let mut rows = Rows::default();
                for &place in &order[part] {
                    // Of an import every payload is JSON text already.
                    if rows.push(&messages[place]).is_err() {
                        return Err(StoreError::Inconsistent {
                            what: "a message of an import cannot be written as JSON",
                        });
                    }
                }
                let ids = insert(&mut **open, rows).await.doing("write messages")?;
                written += ids.len();
                Ok(())
            },
        );
        let mut refused = refused.await?;
        for row in &mut refused {
            row.place = order[row.place];
        }
        refused.sort_by_key(|row| row.place);
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        Ok(Some(WrittenMessages {
            transaction,
            source: step.map(|step| step.source.to_owned()),
            messages: count(written),
            duplicates: count(messages.len() - written - refused.len()),
            refused,
        }))
    }
}

/// Notes how far the file has been read. `false`: somebody else has read on meanwhile.
async fn move_on(transaction: &mut Transaction, step: &FileStep<'_>) -> Result<bool, StoreError> {
    let moved = sqlx::query!(
        "update wa.imports
         set lines = $3, checksum = $4, changed_at = clock_timestamp(), finished_at = case when $5 then clock_timestamp() end
         where source = $1 and lines = $2",
        step.source,
        step.lines_before,
        step.lines,
        step.checksum,
        step.is_last
    )
    .execute(&mut **transaction)
    .await
    .doing("note how far the import has come")?;
    Ok(moved.rows_affected() == 1)
}

impl WrittenMessages {
    /// Makes it durable, together with how many lines could not be used and how long the file is that tells of them.
    ///
    /// # Errors
    /// When the database cannot; without an answer it may have become durable or not.
    pub async fn commit(mut self, faults: i64, faults_bytes: i64) -> Result<(), StoreError> {
        let doing = "finish a part of the file";
        if let Some(source) = &self.source {
            sqlx::query!(
                "update wa.imports
                 set messages = messages + $2, duplicates = duplicates + $3, faults = faults + $4, faults_bytes = $5
                 where source = $1",
                source,
                self.messages,
                self.duplicates,
                faults,
                faults_bytes
            )
            .execute(&mut *self.transaction)
            .await
            .doing(doing)?;
        }
        self.transaction.commit().await.doing(doing)
    }

    /// Leaves everything as it was.
    ///
    /// # Errors
    /// When the database does not say that it has.
    pub async fn undo(self) -> Result<(), StoreError> {
        self.transaction
            .rollback()
            .await
            .doing("undo a part of the file")
    }
}
