//! Settles messages whose answer was lost.
//!
//! Evidence does most of it without us: a wamid learned from a webhook or a late answer ends its message by the books. What
//! stays silent is settled here, by the message's policy, once the evidence clock has run out (`sql/silent.sql` says when).

use time::OffsetDateTime;

use super::connections::Connection;
use super::error::Doing;
use super::inbox::LISTENING_GAP;
use super::{Store, StoreError};
use crate::domain::id::{MessageId, Wamid};
use crate::provider::ProviderKind;

/// What policy made of messages that stayed silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Sent again.
    pub resent: u64,
    /// Left to a person.
    pub kept: u64,
    /// Their time has passed meanwhile.
    pub expired: u64,
}

/// The defaults for messages and senders that do not say.
#[derive(Clone, Copy, Debug)]
pub struct UncertainPolicy {
    /// Seconds of silence after the attempt's deadline before policy settles.
    pub window_s: i32,
    /// How often policy may send a message again.
    pub max_resends: i32,
    /// Whether to keep it for a person instead.
    pub hold: bool,
}

/// An uncertain message, as it is listed.
#[derive(Clone, Debug)]
pub struct UncertainMessage {
    /// Its id.
    pub id: i64,
    /// Its sender.
    pub sender: String,
    /// Its last request.
    pub attempt: i32,
    /// When that was begun.
    pub begun_at: OffsetDateTime,
    /// Why we do not know.
    pub doubt: String,
    /// What would settle it.
    pub waiting_for: String,
    /// Whether only a person can.
    pub needs_person: bool,
}

/// When silence decides about an uncertain message, and how.
#[derive(Clone, Debug)]
pub struct EvidenceClock {
    /// The message.
    pub id: i64,
    /// Its last request.
    pub attempt: i32,
    /// When that was begun.
    pub begun_at: OffsetDateTime,
    /// What its policy says when the clock has run out: `resend`, `keep` (for a person) or `expire`.
    pub verdict: String,
    /// The policy, `retry` or `hold`, whoever says it.
    pub policy: String,
    /// Whether statuses bring our callback data back.
    pub echoes: bool,
    /// Until then evidence is waited for, as things are.
    pub runs_out_at: OffsetDateTime,
    /// Whether somebody listens to webhooks, or never has.
    pub is_heard: bool,
}

/// What a person has found out.
#[derive(Clone, Debug)]
pub enum Finding {
    /// WhatsApp has it, under this id.
    Accepted(Wamid),
    /// WhatsApp never had it: it ends as failed.
    NotSent,
    /// Send it again, whatever was.
    SendAgain,
}

impl Store {
    /// Settles by policy what has stayed silent until its evidence clock ran out.
    pub async fn settle_silent(&self, policy: UncertainPolicy) -> Result<Settled, StoreError> {
        let doing = "settle uncertain messages";
        let silent = self.evidence_clocks(policy, None).await?;
        if silent.is_empty() {
            return Ok(Settled::default());
        }
        let with = |verdict: &str| -> Requests {
            let alike = silent.iter().filter(|row| row.verdict == verdict);
            alike.map(|row| (row.id, row.attempt)).unzip()
        };
        let (expired, resend, keep) = (with("expire"), with("resend"), with("keep"));
        let kept = silent.iter().filter(|row| row.verdict == "keep");
        let echoes: Vec<bool> = kept.map(|row| row.echoes).collect();
        let mut settled = Settled::default();
        let mut connection = self.pool.acquire().await.doing(doing)?;
        if !expired.0.is_empty() {
            let message = "no evidence came before its time passed";
            settled.expired = end(&mut connection, &expired, "expired", message).await?;
        }
        if !resend.0.is_empty() {
            let why = "its turn: no evidence came that it was accepted";
            settled.resent = send_again(&mut connection, &resend, why).await?;
        }
        if !keep.0.is_empty() {
            let kept = sqlx::query!(
                "update wa.uncertain u set needs_person = true,
                   waiting_for = case
                     when not u.may_resend then 'a person: WhatsApp most likely has it'
                     when u.resends > 0 then 'a person: it was sent again already'
                     when not m.echoes then 'a person: its provider does not say which message a status is about'
                     else 'a person: its policy is hold' end
                   || '; see: wa-outbox uncertain resolve ' || u.id
                 from unnest($1::bigint[], $2::int[], $3::bool[]) as m (id, attempt, echoes)
                 where u.id = m.id and u.attempt = m.attempt and not u.needs_person",
                &keep.0,
                &keep.1,
                &echoes
            )
            .execute(&mut connection)
            .await
            .doing(doing)?;
            settled.kept = kept.rows_affected();
        }
        Ok(settled)
    }

    /// When silence decides about one message, and how; none when it is not uncertain.
    pub async fn evidence_clock(
        &self,
        id: MessageId,
        policy: UncertainPolicy,
    ) -> Result<Option<EvidenceClock>, StoreError> {
        Ok(self.evidence_clocks(policy, Some(id)).await?.pop())
    }

    /// Of one message, or of all whose clock has run out.
    async fn evidence_clocks(
        &self,
        policy: UncertainPolicy,
        id: Option<MessageId>,
    ) -> Result<Vec<EvidenceClock>, StoreError> {
        sqlx::query_file_as!(
            EvidenceClock,
            "src/store/sql/silent.sql",
            policy.window_s,
            policy.max_resends,
            policy.hold,
            LISTENING_GAP.as_secs_f64(),
            &ProviderKind::names_of_those_that_echo(),
            id.map(|id| id.0)
        )
        .fetch_all(&self.pool)
        .await
        .doing("read how long evidence is waited for")
    }

    /// The provider of a message's sender; none where there is no such message.
    pub async fn provider_of(&self, id: MessageId) -> Result<Option<ProviderKind>, StoreError> {
        let provider = sqlx::query_scalar!(
            "select s.provider from wa.outbox o join wa.senders s on s.sender = o.sender where o.id = $1",
            id.0
        )
        .fetch_optional(&self.pool)
        .await
        .doing("see who is the provider of a message")?;
        let known = provider.map(|provider| provider.parse());
        known.transpose().map_err(|_| StoreError::Inconsistent {
            what: "wa.senders: an unknown provider",
        })
    }

    /// Settles one message by a person's word. `false`: it is not uncertain (any more).
    pub async fn resolve(
        &self,
        id: MessageId,
        finding: &Finding,
        by: &str,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let doing = "settle the uncertain message";
        let mut transaction = self.pool.begin().await.doing(doing)?;
        let Some(row) = sqlx::query!(
            "select sender, attempt from wa.uncertain where id = $1 for update",
            id.0
        )
        .fetch_optional(&mut *transaction)
        .await
        .doing(doing)?
        else {
            return Ok(false);
        };
        let request = (vec![id.0], vec![row.attempt]);
        let settled = match finding {
            Finding::Accepted(wamid) => sqlx::query!(
                "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ($1, $2, $3, $4, 'operator')
                 on conflict do nothing",
                wamid.reveal(),
                row.sender,
                id.0,
                row.attempt
            )
            .execute(&mut *transaction)
            .await
            .doing(doing)?
            .rows_affected(),
            Finding::NotSent => {
                let message = format!("not sent, says {by}: {reason}");
                end(&mut transaction, &request, "failed", &message).await?
            }
            Finding::SendAgain => {
                send_again(&mut transaction, &request, &format!("its turn: sent again by {by}")).await?
            }
        };
        if settled != 1 {
            return Ok(false);
        }
        sqlx::query!(
            "update wa.attempts set settled_by = $3, settled_at = now(), settled_note = $4 where id = $1 and attempt = $2",
            id.0,
            row.attempt,
            format!("operator {by}"),
            reason
        )
        .execute(&mut *transaction)
        .await
        .doing(doing)?;
        transaction.commit().await.doing(doing)?;
        Ok(true)
    }

    /// The uncertain messages, oldest first.
    pub async fn uncertain(&self, limit: i64) -> Result<Vec<UncertainMessage>, StoreError> {
        sqlx::query_as!(
            UncertainMessage,
            "select id, sender, attempt, begun_at, doubt, waiting_for, needs_person from wa.uncertain order by begun_at limit $1",
            limit
        )
        .fetch_all(&self.pool)
        .await
        .doing("list uncertain messages")
    }
}

/// Requests of which nothing was heard: messages, and for each the number of the request. What is settled is the request that was
/// looked at, never a later one of the same message.
pub(super) type Requests = (Vec<i64>, Vec<i32>);

/// Puts uncertain messages back into the queue.
pub(super) async fn send_again(
    connection: &mut Connection,
    (ids, attempts): &Requests,
    why: &str,
) -> Result<u64, StoreError> {
    let resent = sqlx::query_scalar!(
        r#"select count(*) as "count!" from wa.send_again($1, $2, $3)"#,
        ids,
        attempts,
        why
    )
    .fetch_one(connection)
    .await
    .doing("send uncertain messages again")?;
    Ok(resent as u64)
}

pub(super) async fn end(
    connection: &mut Connection,
    (ids, attempts): &Requests,
    state: &str,
    message: &str,
) -> Result<u64, StoreError> {
    let ended = sqlx::query!(
        "insert into wa.results (id, sender, state, attempts, campaign, in_sequence, error_message)
         select u.id, u.sender, $3, u.attempts, u.campaign, u.in_sequence, case when $3 = 'expired' then
             coalesce(wa.campaign_end_in_words(c) || '; a request of it may have been accepted: its answer was lost', $4) else $4 end
         from wa.uncertain u join unnest($1::bigint[], $2::int[]) as m (id, attempt) on u.id = m.id and u.attempt = m.attempt
         left join wa.campaigns c on c.id = u.campaign
         on conflict do nothing",
        ids,
        attempts,
        state,
        message
    )
    .execute(connection)
    .await
    .doing("end uncertain messages")?;
    Ok(ended.rows_affected())
}
