//! Holds of senders: made, tried again with a probe, and ended.
//!
//! Each step is one conditional update by the database's clock. So of several workers that find a probe due one begins it; an
//! answer that comes late changes no other hold than its own; and what a person holds no machine sets free.

use time::OffsetDateTime;

use super::connections::Connection;
use super::error::Doing;
use super::lease::WorkerId;
use super::record::storable;
use super::{Store, StoreError};
use crate::domain::hold::{
    Cause, FIRST_PROBE_AFTER, Fingerprint, LONGEST_PROBE_WAIT, PROBE_AGAIN_AFTER,
    PROBE_HEARD_WITHIN,
};
use crate::domain::id::SenderId;

/// Who holds and releases what nobody told it to.
pub const MACHINE: &str = "wa-outbox";

/// A hold that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewHold<'a> {
    /// Why it is held. Only causes that [are probed](Cause::is_probed) are tried again by themselves.
    pub cause: Cause,
    /// In words, for people.
    pub reason: &'a str,
    /// By whom.
    pub by: &'a str,
    /// It ends by itself then, without a probe. None: not by time.
    pub until: Option<OffsetDateTime>,
    /// Meta's code, where an answer is the cause.
    pub code: Option<i64>,
    /// Of the token that was refused: with another one the sender is tried at once.
    pub fingerprint: Option<&'a Fingerprint>,
}

/// A sender that is held.
#[derive(Clone, Debug)]
pub struct SenderHold {
    /// The sender.
    pub sender: String,
    /// Why.
    pub cause: Cause,
    /// In words.
    pub reason: String,
    /// By whom.
    pub by: String,
    /// Since when.
    pub since: OffsetDateTime,
    /// It ends then.
    pub until: Option<OffsetDateTime>,
    /// Meta's code.
    pub code: Option<i64>,
    /// Of the token that was refused.
    pub fingerprint: Option<String>,
    /// When one message is tried; none where only a person can release it.
    pub probe_at: Option<OffsetDateTime>,
    /// So many were tried and refused.
    pub probes: i32,
    /// One is being tried, and is given up then.
    pub probing_until: Option<OffsetDateTime>,
    /// Whether its time for a probe has come, by the database's clock.
    pub is_probe_due: bool,
    /// Whether a probe is out.
    pub is_probing: bool,
}

impl SenderHold {
    /// Whether a probe may be tried now, with this token: its time has come, or the token is not the one that was refused.
    /// [`Store::begin_probe`] decides.
    pub fn wants_probe(&self, token: Option<&Fingerprint>) -> bool {
        let is_another = match (token, &self.fingerprint) {
            (Some(token), Some(refused)) => token.as_str() != refused,
            (None, _) | (_, None) => false,
        };
        self.cause.is_probed() && !self.is_probing && (self.is_probe_due || is_another)
    }
}

/// What became of a probe.
#[derive(Clone, Copy, Debug)]
pub enum ProbeEnd<'a> {
    /// It was accepted: the hold is over.
    Accepted,
    /// It was refused again, for this cause.
    HeldAgain(&'a NewHold<'a>),
    /// It taught nothing of the cause.
    Nothing,
}

impl Store {
    /// Holds a sender. A hold that stands keeps its reason, except that a person's takes the place of a machine's. `false`:
    /// there is no such sender, or its hold stands.
    pub async fn hold_sender_for(
        &self,
        sender: &SenderId,
        hold: &NewHold<'_>,
    ) -> Result<bool, StoreError> {
        let first_probe = hold
            .cause
            .is_probed()
            .then_some(FIRST_PROBE_AFTER.as_secs_f64());
        let held = sqlx::query!(
            "update wa.senders
             set held_reason = $2, held_by = $3, held_until = $4, held_at = clock_timestamp(), held_cause = $5, held_code = $6,
               held_fingerprint = $7, probe_at = clock_timestamp() + make_interval(secs => $8), probes = 0, probing_until = null
             where sender = $1
               and (held_reason is null or held_until <= clock_timestamp()
                 or $5 = 'operator' and held_cause not in ('operator', 'restore'))",
            sender.as_str(),
            storable(hold.reason),
            storable(hold.by),
            hold.until,
            hold.cause.as_str(),
            hold.code,
            hold.fingerprint.map(Fingerprint::as_str),
            first_probe
        )
        .execute(&self.pool)
        .await
        .doing("hold the sender")?;
        Ok(held.rows_affected() == 1)
    }

    /// Lets a sender go on, by someone's word: ends its hold, and the wait that WhatsApp asked for. `false`: there was neither, or no such
    /// sender.
    pub async fn release_sender_by(
        &self,
        sender: &SenderId,
        by: &str,
        why: &str,
    ) -> Result<bool, StoreError> {
        let released = sqlx::query!(
            "with silent as (
               update wa.leases set silent_until = null where sender = $1 and silent_until > clock_timestamp() returning sender
             )
             update wa.senders set held_reason = null, held_by = null, held_until = null,
               released_at = clock_timestamp(), released_by = $2, released_why = $3
             where sender = $1 and (held_reason is not null or exists (select from silent))",
            sender.as_str(),
            storable(by),
            storable(why)
        )
        .execute(&self.pool)
        .await
        .doing("release the sender")?;
        Ok(released.rows_affected() == 1)
    }

    /// Which of these senders are held.
    pub async fn sender_holds(&self, senders: &[SenderId]) -> Result<Vec<SenderHold>, StoreError> {
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        let rows = sqlx::query!(
            r#"select sender, held_reason as "reason!", held_by as "by!", held_at as "since!", held_until, held_cause as "cause!",
                      held_code, held_fingerprint, probe_at, probes, probing_until,
                      coalesce(probe_at <= clock_timestamp(), false) as "is_probe_due!",
                      coalesce(probing_until > clock_timestamp(), false) as "is_probing!"
               from wa.senders
               where sender = any($1) and held_reason is not null and (held_until is null or held_until > clock_timestamp())
               order by sender"#,
            &senders as &[&str]
        )
        .fetch_all(&self.pool)
        .await
        .doing("read which senders are held")?;
        Ok(rows
            .into_iter()
            .map(|row| SenderHold {
                sender: row.sender,
                cause: row.cause.parse().unwrap_or(Cause::Other),
                reason: row.reason,
                by: row.by,
                since: row.since,
                until: row.held_until,
                code: row.held_code,
                fingerprint: row.held_fingerprint,
                probe_at: row.probe_at,
                probes: row.probes,
                probing_until: row.probing_until,
                is_probe_due: row.is_probe_due,
                is_probing: row.is_probing,
            })
            .collect())
    }

    /// Begins a probe: `true` lets the caller send exactly one message of the sender. At most one caller gets it, only while it
    /// holds the sender's lease, and only when the time has come or `token` is not the one that was refused. If nothing is
    /// heard of it, another may be begun two minutes later.
    pub async fn begin_probe(
        &self,
        worker: WorkerId,
        sender: &SenderId,
        token: Option<&Fingerprint>,
    ) -> Result<bool, StoreError> {
        let begun = sqlx::query!(
            "update wa.senders s set probing_until = clock_timestamp() + make_interval(secs => $4)
             where s.sender = $1 and s.held_reason is not null and s.probe_at is not null
               and (s.probing_until is null or s.probing_until <= clock_timestamp())
               and (s.probe_at <= clock_timestamp() or $3 <> s.held_fingerprint)
               and exists (select from wa.leases l where l.sender = s.sender and l.worker = $2)",
            sender.as_str(),
            worker.0,
            token.map(Fingerprint::as_str),
            PROBE_HEARD_WITHIN.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .doing("begin a probe of a held sender")?;
        Ok(begun.rows_affected() == 1)
    }

    /// Ends a probe. `false`: there was none any more, for the sender has been released, or held by a person, meanwhile.
    pub async fn end_probe(
        &self,
        sender: &SenderId,
        end: ProbeEnd<'_>,
    ) -> Result<bool, StoreError> {
        let doing = "end the probe of a held sender";
        let mut connection = self.pool.acquire().await.doing(doing)?;
        let ended = match end {
            ProbeEnd::Accepted => probe_was_accepted(&mut connection, sender).await,
            ProbeEnd::HeldAgain(hold) => probe_was_refused(&mut connection, sender, hold).await,
            ProbeEnd::Nothing => probe_taught_nothing(&mut connection, sender).await,
        };
        Ok(ended.doing(doing)? == 1)
    }

    /// Ends those holds of these senders whose time is over. Says how many.
    pub async fn end_sender_holds(&self, senders: &[SenderId]) -> Result<u64, StoreError> {
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        let ended = sqlx::query!(
            "update wa.senders set held_reason = null, held_by = null, held_until = null,
               released_at = clock_timestamp(), released_by = $2, released_why = 'its time was over'
             where sender = any($1) and held_reason is not null and held_until <= clock_timestamp()",
            &senders as &[&str],
            MACHINE
        )
        .execute(&self.pool)
        .await
        .doing("end holds of senders whose time is over")?;
        Ok(ended.rows_affected())
    }

    /// Ends those holds of templates of these senders whose time is over, as far as somebody has given them one. Says how many.
    pub async fn end_template_holds(&self, senders: &[SenderId]) -> Result<u64, StoreError> {
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        let ended = sqlx::query!(
            "update wa.template_holds set released_at = clock_timestamp(), released_by = $2, released_why = 'its time was over'
             where sender = any($1) and released_at is null and cause = 'operator' and held_until <= clock_timestamp()",
            &senders as &[&str],
            MACHINE
        )
        .execute(&self.pool)
        .await
        .doing("end holds of templates whose time is over")?;
        Ok(ended.rows_affected())
    }
}

// Each of the three ends only a hold of which a probe is out: whoever has ended or replaced it meanwhile has ended its probe too.

async fn probe_was_accepted(
    connection: &mut Connection,
    sender: &SenderId,
) -> Result<u64, sqlx::Error> {
    let released = sqlx::query!(
        "update wa.senders set held_reason = null, held_by = null, held_until = null,
           released_at = clock_timestamp(), released_by = $2, released_why = 'the probe was accepted'
         where sender = $1 and probing_until is not null",
        sender.as_str(),
        MACHINE
    );
    Ok(released.execute(connection).await?.rows_affected())
}

async fn probe_was_refused(
    connection: &mut Connection,
    sender: &SenderId,
    hold: &NewHold<'_>,
) -> Result<u64, sqlx::Error> {
    // The waits double, and start anew with another token. A cause that is not probed is left to a person from here on.
    let held = sqlx::query!(
        "update wa.senders s
         set held_reason = $2, held_by = $3, held_until = $4, held_cause = $5, held_code = $6,
           held_fingerprint = coalesce($7, s.held_fingerprint), probing_until = null, probes = p.probes,
           probe_at = case when $8 then clock_timestamp() + make_interval(secs => least($9 * power(2, p.probes), $10)) end
         from (select x.sender, case when $7 <> x.held_fingerprint then 0 else least(x.probes + 1, 30) end as probes
               from wa.senders x where x.sender = $1) p
         where s.sender = p.sender and s.probing_until is not null",
        sender.as_str(),
        storable(hold.reason),
        storable(hold.by),
        hold.until,
        hold.cause.as_str(),
        hold.code,
        hold.fingerprint.map(Fingerprint::as_str),
        hold.cause.is_probed(),
        FIRST_PROBE_AFTER.as_secs_f64(),
        LONGEST_PROBE_WAIT.as_secs_f64()
    );
    Ok(held.execute(connection).await?.rows_affected())
}

async fn probe_taught_nothing(
    connection: &mut Connection,
    sender: &SenderId,
) -> Result<u64, sqlx::Error> {
    // Given up a little later rather than now, so that what stands in its way is not asked without a pause.
    let left = sqlx::query!(
        "update wa.senders set probing_until = clock_timestamp() + make_interval(secs => $2)
         where sender = $1 and probing_until is not null",
        sender.as_str(),
        PROBE_AGAIN_AFTER.as_secs_f64()
    );
    Ok(left.execute(connection).await?.rows_affected())
}
