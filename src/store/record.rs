//! Records what attempts taught us, many at a time.
//!
//! An answer is a fact and is written whoever holds the sender by now; only what it *concludes* for the message is bound to
//! the attempt it belongs to. So a late acceptance always ends its message, and a late refusal of attempt 1 cannot end a
//! message whose attempt 2 is out.

use std::time::Duration;

use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::suppression::{STOPPED_MARKETING, note_stopped};
use super::{Store, StoreError};
use crate::domain::id::{AttemptNumber, Era, MessageId, SenderId};
use crate::domain::outcome::{Acceptance, ApiError};
use crate::domain::transition::Transition;

/// What is to be written about one attempt.
#[derive(Clone, Debug)]
pub struct Record {
    /// The message.
    pub id: MessageId,
    /// Its sender.
    pub sender: SenderId,
    /// The request it was.
    pub attempt: AttemptNumber,
    /// When it was begun, by the database's clock.
    pub begun_at: OffsetDateTime,
    /// In this era of the database.
    pub era: Era,
    /// What follows for the message.
    pub transition: Transition,
    /// For the people who read it later; none for a plain acceptance, which needs no row of its own.
    pub account: Option<Account>,
}

impl Record {
    /// WhatsApp took it and said under which id; there is nothing else to write.
    fn is_plain(&self) -> bool {
        self.account.is_none()
            && matches!(&self.transition, Transition::Accept(acceptance) if acceptance.wamid.is_some())
    }
}

/// The row of `wa.attempts`.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The outcome's name.
    pub outcome: &'static str,
    /// What WhatsApp said, if it did.
    pub error: ApiError,
    /// What it means, in words.
    pub note: Option<String>,
}

/// What was new to the database. What is told a second time, or of a message that has ended, is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Acceptances.
    pub accepted: u64,
    /// Of those, the ones with a wamid.
    pub accepted_ids: Vec<MessageId>,
    /// Of those, the ones whose message was uncertain: another had taken its sender meanwhile, and swept it.
    pub late: u64,
    /// Messages that failed.
    pub failed: u64,
    /// Messages that became uncertain.
    pub uncertain: u64,
    /// Answers that named the id of another message. What became of their own is in doubt, for a person.
    pub borrowed: u64,
    /// Answers of an earlier era that this database has no use for: their messages were lost, or are in doubt as a whole.
    pub bygone: u64,
}

impl Store {
    /// Writes a batch of records in one transaction; plain acceptances, as most are, in one statement.
    ///
    /// Of an era that is over only facts are written: that a message which the database still knows was accepted. Whatever else an
    /// answer of then concludes, it concludes of a request that this database does not know.
    pub async fn record(&self, records: &[Record]) -> Result<Recorded, StoreError> {
        let doing = "record outcomes";
        // In this order: if the era changes between the two, what is asked by the old one is refused.
        let (here, eras) = (self.here(), self.known_eras());
        let still_counts = |record: &&Record| {
            record.era == eras.current()
                || matches!(record.transition, Transition::Accept(_))
                    && eras.remember(record.id, record.era)
        };
        let told = records.len();
        let records: Vec<&Record> = records.iter().filter(still_counts).collect();
        let records = records.as_slice();
        let bygone = (told - records.len()) as u64;
        if records.iter().all(|record| record.is_plain()) {
            let written = write_acceptances(&self.pool, records, here).await?;
            if let Some((accepted_ids, late)) = written {
                let mut recorded = Recorded {
                    accepted: accepted_ids.len() as u64,
                    accepted_ids,
                    late,
                    bygone,
                    ..Recorded::default()
                };
                let doubts = borrowed(&self.pool, records, &recorded.accepted_ids).await?;
                if !doubts.is_empty() {
                    let mut transaction = self.begin_here().await.doing(doing)?;
                    write_borrowed(&mut transaction, &doubts, &mut recorded).await?;
                    transaction.commit().await.doing(doing)?;
                }
                return Ok(recorded);
            }
        }
        let mut transaction = self.begin_here().await.doing(doing)?;
        let written = write_acceptances(&mut *transaction, records, (None, None)).await?;
        let (accepted_ids, late) = written.unwrap_or_default();
        let nameless = write_nameless_acceptances(&mut transaction, records).await?;
        let failed = write_failures(&mut transaction, records).await?;
        write_stopped(&mut transaction, records).await?;
        let uncertain = write_doubts(&mut transaction, records).await?;
        write_returns(&mut transaction, records).await?;
        // Last: what is known by now of the messages settles the doubts among them (`record_accounts.sql`).
        write_accounts(&mut transaction, records).await?;
        let mut recorded = Recorded {
            accepted: accepted_ids.len() as u64 + nameless,
            accepted_ids,
            late,
            failed,
            uncertain,
            bygone,
            borrowed: 0,
        };
        let doubts = borrowed(&mut *transaction, records, &recorded.accepted_ids).await?;
        write_borrowed(&mut transaction, &doubts, &mut recorded).await?;
        transaction.commit().await.doing(doing)?;
        Ok(recorded)
    }
}

/// Columns for `unnest`: which attempt of which message.
struct Keys<'a> {
    ids: Vec<i64>,
    senders: Vec<&'a str>,
    attempts: Vec<i32>,
}

impl<'a> Keys<'a> {
    fn of(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut keys = Self {
            ids: Vec::new(),
            senders: Vec::new(),
            attempts: Vec::new(),
        };
        for record in records {
            keys.ids.push(record.id.0);
            keys.senders.push(record.sender.as_str());
            keys.attempts.push(record.attempt.0);
        }
        keys
    }
}

/// Those that were new, and of how many of them the message was uncertain until now. `None`: nothing was written, because this is not the
/// database of that era and tick.
async fn write_acceptances(
    database: impl PgExecutor<'_>,
    records: &[&Record],
    (era, tick): (Option<i64>, Option<i64>),
) -> Result<Option<(Vec<MessageId>, u64)>, StoreError> {
    let named: Vec<(&Record, &Acceptance, &str)> = records
        .iter()
        .copied()
        .filter_map(|record| match &record.transition {
            Transition::Accept(acceptance) => acceptance
                .wamid
                .as_ref()
                .map(|wamid| (record, acceptance, wamid.reveal())),
            _ => None,
        })
        .collect();
    if named.is_empty() {
        return Ok(Some((Vec::new(), 0)));
    }
    let keys = Keys::of(named.iter().map(|(record, ..)| *record));
    let wamids: Vec<&str> = named.iter().map(|(_, _, wamid)| *wamid).collect();
    let wa_ids: Vec<Option<&str>> = named
        .iter()
        .map(|(_, acceptance, _)| acceptance.wa_id.as_deref())
        .collect();
    let statuses: Vec<Option<&str>> = named
        .iter()
        .map(|(_, acceptance, _)| acceptance.message_status.as_deref())
        .collect();
    let new = sqlx::query!(
        // What is uncertain is counted as this statement found it.
        r#"select f.learned as "accepted!", (select count(*) from wa.uncertain u where u.id = any (f.learned)) as "late!"
           from wa.learn_from_answers($1, $2, $3, $4, $5, $6) as f (learned)
           where $7::bigint is null or wa.is_here($7, $8)"#,
        &wamids as &[&str],
        &keys.senders as &[&str],
        &keys.ids,
        &keys.attempts,
        &wa_ids as &[Option<&str>],
        &statuses as &[Option<&str>],
        era,
        tick
    )
    .fetch_optional(database)
    .await
    .doing("record acceptances")?;
    Ok(new.map(|new| {
        let accepted = new.accepted.into_iter().map(MessageId).collect();
        (accepted, new.late as u64)
    }))
}

/// Doubts about acceptances that were no news, for they name a message which has that wamid already: the answer is not about this one. (A
/// provider that answers with what it has said before, or always the same.) It may have taken ours all the same, so nothing but a person
/// sends it again.
async fn borrowed(
    database: impl PgExecutor<'_>,
    records: &[&Record],
    accepted: &[MessageId],
) -> Result<Vec<Record>, StoreError> {
    let unheard: Vec<(&Record, &str)> = records
        .iter()
        .copied()
        .filter(|record| !accepted.contains(&record.id))
        .filter_map(|record| match &record.transition {
            Transition::Accept(acceptance) => Some((record, acceptance.wamid.as_ref()?.reveal())),
            _ => None,
        })
        .collect();
    if unheard.is_empty() {
        return Ok(Vec::new());
    }
    let keys = Keys::of(unheard.iter().map(|(record, _)| *record));
    let wamids: Vec<&str> = unheard.iter().map(|(_, wamid)| *wamid).collect();
    let owners = sqlx::query_file!(
        "src/store/sql/borrowed_ids.sql",
        &wamids as &[&str],
        &keys.senders as &[&str],
        &keys.ids
    )
    .fetch_all(database)
    .await
    .doing("look for the messages that acceptances are of")?;
    let doubt_of = |(record, wamid): &(&Record, &str)| {
        let owner = owners
            .iter()
            .find(|row| row.id == record.id.0 && row.wamid == *wamid)?;
        let doubt = format!("the answer has the id of message {}", owner.owner);
        Some(Record {
            transition: Transition::Doubt {
                doubt: doubt.clone(),
                may_resend: false,
            },
            account: Some(Account {
                outcome: "uncertain",
                note: Some(doubt),
                ..Account::default()
            }),
            ..(*record).clone()
        })
    };
    Ok(unheard.iter().filter_map(doubt_of).collect())
}

async fn write_borrowed(
    transaction: &mut Transaction,
    doubts: &[Record],
    recorded: &mut Recorded,
) -> Result<(), StoreError> {
    let doubts: Vec<&Record> = doubts.iter().collect();
    recorded.borrowed = doubts.len() as u64;
    recorded.uncertain += write_doubts(transaction, &doubts).await?;
    write_accounts(transaction, &doubts).await
}

/// Accepted, and never to get an id: a mark-as-read, a typing indicator. Also when a new holder has swept it meanwhile: no
/// webhook would ever tell.
async fn write_nameless_acceptances(
    transaction: &mut Transaction,
    records: &[&Record],
) -> Result<u64, StoreError> {
    let keys = Keys::of(records.iter().copied().filter(
        |record| matches!(&record.transition, Transition::Accept(acceptance) if acceptance.wamid.is_none()),
    ));
    if keys.ids.is_empty() {
        return Ok(0);
    }
    sqlx::query!(
        "insert into wa.results (id, sender, state, attempts, campaign, in_sequence)
         select a.id, a.sender, 'accepted', coalesce(q.attempts, u.attempts), coalesce(q.campaign, u.campaign),
           coalesce(q.in_sequence, u.in_sequence)
         from unnest($1::bigint[], $2::text[]) as a (id, sender)
         left join lateral (select * from wa.queue q where q.id = a.id and q.sender = a.sender offset 0) q on true
         left join lateral (select * from wa.uncertain u where u.id = a.id and u.sender = a.sender offset 0) u on true
         where q.id is not null or u.id is not null
         on conflict do nothing",
        &keys.ids,
        &keys.senders as &[&str]
    )
    .execute(&mut **transaction)
    .await
    .doing("record acceptances without an id")
    .map(|done| done.rows_affected())
}

async fn write_failures(
    transaction: &mut Transaction,
    records: &[&Record],
) -> Result<u64, StoreError> {
    let failed: Vec<(&Record, Option<i64>, &str)> = records
        .iter()
        .copied()
        .filter_map(|record| match &record.transition {
            Transition::Fail { code, message } => Some((record, *code, message.as_str())),
            _ => None,
        })
        .collect();
    if failed.is_empty() {
        return Ok(0);
    }
    let keys = Keys::of(failed.iter().map(|(record, ..)| *record));
    let codes: Vec<Option<i64>> = failed.iter().map(|(_, code, _)| *code).collect();
    let messages: Vec<&str> = failed.iter().map(|(_, _, message)| *message).collect();
    sqlx::query_file!(
        "src/store/sql/record_failures.sql",
        &keys.ids,
        &keys.senders as &[&str],
        &keys.attempts,
        &codes as &[Option<i64>],
        &messages as &[&str]
    )
    .execute(&mut **transaction)
    .await
    .doing("record refusals")
    .map(|done| done.rows_affected())
}

/// Recipients of whom the answer says that they have stopped marketing messages.
async fn write_stopped(
    transaction: &mut Transaction,
    records: &[&Record],
) -> Result<(), StoreError> {
    let stopped: Vec<(i64, OffsetDateTime)> = records
        .iter()
        .filter(|record| {
            matches!(&record.transition, Transition::Fail { code, .. } if *code == Some(STOPPED_MARKETING))
        })
        .map(|record| (record.id.0, record.begun_at))
        .collect();
    note_stopped(transaction, &stopped).await
}

async fn write_doubts(
    transaction: &mut Transaction,
    records: &[&Record],
) -> Result<u64, StoreError> {
    let doubtful: Vec<(&Record, &str, bool)> = records
        .iter()
        .copied()
        .filter_map(|record| match &record.transition {
            Transition::Doubt { doubt, may_resend } => Some((record, doubt.as_str(), *may_resend)),
            _ => None,
        })
        .collect();
    if doubtful.is_empty() {
        return Ok(0);
    }
    let keys = Keys::of(doubtful.iter().map(|(record, ..)| *record));
    let doubts: Vec<&str> = doubtful.iter().map(|(_, doubt, _)| *doubt).collect();
    let may_resend: Vec<bool> = doubtful.iter().map(|(_, _, may)| *may).collect();
    sqlx::query_file!(
        "src/store/sql/record_doubts.sql",
        &keys.ids,
        &keys.senders as &[&str],
        &keys.attempts,
        &doubts as &[&str],
        &may_resend
    )
    .execute(&mut **transaction)
    .await
    .doing("record lost answers")
    .map(|done| done.rows_affected())
}

/// Messages that go back into the queue: provably not sent, told to slow down, or held.
async fn write_returns(
    transaction: &mut Transaction,
    records: &[&Record],
) -> Result<(), StoreError> {
    let returned: Vec<(&Record, Duration, bool, &str)> = records
        .iter()
        .copied()
        .filter_map(|record| match &record.transition {
            Transition::Requeue {
                after,
                spent,
                waiting_for,
            } => Some((record, *after, *spent, waiting_for.as_str())),
            _ => None,
        })
        .collect();
    if returned.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(returned.iter().map(|(record, ..)| *record));
    let delays: Vec<f64> = returned
        .iter()
        .map(|(_, after, ..)| after.as_secs_f64())
        .collect();
    let refunds: Vec<i32> = returned
        .iter()
        .map(|(_, _, spent, _)| i32::from(!*spent))
        .collect();
    let reasons: Vec<&str> = returned.iter().map(|(.., reason)| *reason).collect();
    sqlx::query!(
        "update wa.queue q
         set state = 'queued', due_at = clock_timestamp() + make_interval(secs => r.delay), attempts = q.attempts - r.refund,
           waiting_for = r.reason, epoch = null, begun_at = null, deadline = null
         from unnest($1::bigint[], $2::text[], $3::int[], $4::float8[], $5::int[], $6::text[])
           as r (id, sender, attempt, delay, refund, reason)
         where q.id = r.id and q.sender = r.sender and q.attempt = r.attempt and q.state = 'sending'",
        &keys.ids,
        &keys.senders as &[&str],
        &keys.attempts,
        &delays,
        &refunds,
        &reasons as &[&str]
    )
    // Planned each time, like all updates by a list of keys: a plan that is kept may have been made for an empty table.
    .persistent(false)
    .execute(&mut **transaction)
    .await
    .doing("put messages back into the queue")?;
    // Swept meanwhile by a new holder: it was uncertain only because nobody knew what is known here.
    sqlx::query!(
        r#"select count(*) as "count!" from wa.put_back($1, $2, $3, $4, $5)"#,
        &keys.ids,
        &keys.attempts,
        &refunds,
        &delays,
        &reasons as &[&str]
    )
    .fetch_one(&mut **transaction)
    .await
    .doing("put swept messages back into the queue")
    .map(drop)
}

async fn write_accounts(
    transaction: &mut Transaction,
    records: &[&Record],
) -> Result<(), StoreError> {
    let told: Vec<(&Record, &Account)> = records
        .iter()
        .copied()
        .filter_map(|record| record.account.as_ref().map(|account| (record, account)))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(told.iter().map(|(record, _)| *record));
    let begun_at: Vec<OffsetDateTime> = told.iter().map(|(record, _)| record.begun_at).collect();
    let outcomes: Vec<&str> = told.iter().map(|(_, account)| account.outcome).collect();
    let http: Vec<Option<i32>> = told
        .iter()
        .map(|(_, a)| a.error.http_status.map(i32::from))
        .collect();
    let codes: Vec<Option<i64>> = told.iter().map(|(_, a)| a.error.code).collect();
    let subcodes: Vec<Option<i64>> = told.iter().map(|(_, a)| a.error.subcode).collect();
    let titles: Vec<Option<String>> = told
        .iter()
        .map(|(_, a)| a.error.title.as_deref().map(storable))
        .collect();
    let details: Vec<Option<String>> = told
        .iter()
        .map(|(_, a)| a.error.details.as_deref().map(storable))
        .collect();
    let traces: Vec<Option<String>> = told
        .iter()
        .map(|(_, a)| a.error.fbtrace_id.as_deref().map(storable))
        .collect();
    let notes: Vec<Option<&str>> = told.iter().map(|(_, a)| a.note.as_deref()).collect();
    sqlx::query_file!(
        "src/store/sql/record_accounts.sql",
        &keys.ids,
        &keys.senders as &[&str],
        &keys.attempts,
        &begun_at,
        &outcomes as &[&str],
        &http as &[Option<i32>],
        &codes as &[Option<i64>],
        &subcodes as &[Option<i64>],
        &titles as &[Option<String>],
        &details as &[Option<String>],
        &traces as &[Option<String>],
        &notes as &[Option<&str>]
    )
    .execute(&mut **transaction)
    .await
    .doing("record attempts")
    .map(drop)
}

/// Text from outside as Postgres can keep it: without NUL, and not without end.
pub(super) fn storable(text: &str) -> String {
    text.chars()
        .filter(|character| *character != '\0')
        .take(2_000)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::storable;

    #[test]
    fn text_from_outside_is_kept_without_nul_and_not_without_end() {
        assert_eq!(storable("a\0b"), "ab");
        assert_eq!(storable(&"é".repeat(5_000)).chars().count(), 2_000);
    }
}
