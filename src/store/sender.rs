//! Senders: their settings and holds.

use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::hold::{MACHINE, NewHold};
use super::{Store, StoreError};
use crate::domain::hold::Cause;
use crate::domain::id::SenderId;

/// A sender's settings as they stand in `wa.senders`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sender {
    /// The provider's id of the number.
    pub sender: String,
    /// `cloud_api`, `bsp` or `on_premises`.
    pub provider: String,
    /// Without a version and without a trailing slash.
    pub base_url: String,
    /// A BSP's path; may hold `{sender}`.
    pub path: Option<String>,
    /// Of the Cloud API, e.g. `v23.0`.
    pub api_version: String,
    /// `env:NAME` or `file:PATH`.
    pub credential: String,
    /// The header that carries the token.
    pub auth_header: String,
    /// Requests a second.
    pub rate_per_second: f64,
    /// One message per this many milliseconds to one recipient; 0 = no limit.
    pub pair_period_ms: i32,
    /// So many to one recipient may leave at once.
    pub pair_burst: i32,
    /// Requests out at once.
    pub max_in_flight: Option<i32>,
    /// `retry` or `hold`.
    pub on_uncertain: Option<String>,
    /// Seconds of silence before policy settles.
    pub reconcile_window_s: Option<i32>,
    /// What becomes of a message that breaks the documented rules: `off`, `warn` or `refuse`.
    pub validate: String,
    /// Whether a field that the documentation does not have breaks them.
    pub strict: bool,
    /// Of its sequences: `halt` or `skip`.
    pub on_failure: Option<String>,
    /// Of its sequences: seconds for which a delivery is waited for.
    pub delivery_timeout_s: Option<f64>,
    /// Of its sequences: `halt` or `proceed`.
    pub on_timeout: Option<String>,
    /// Whether rows without a sender go to it.
    pub is_default: bool,
    /// Why it is held.
    pub held_reason: Option<String>,
    /// Until when.
    pub held_until: Option<OffsetDateTime>,
    /// By whom.
    pub held_by: Option<String>,
}

impl Sender {
    /// Its id.
    pub fn id(&self) -> SenderId {
        SenderId::from(self.sender.as_str())
    }

    /// Why nothing may leave at `now`, if so.
    pub fn hold_at(&self, now: OffsetDateTime) -> Option<&str> {
        let over = self.held_until.is_some_and(|until| until <= now);
        self.held_reason.as_deref().filter(|_| !over)
    }
}

/// What `sender add` and `sender set` may give; what is `None` stays as it is, or takes the table's default.
#[derive(Clone, Debug, Default)]
pub struct SenderChange {
    /// `cloud_api`, `bsp` or `on_premises`.
    pub provider: Option<String>,
    /// Without a version and without a trailing slash.
    pub base_url: Option<String>,
    /// A BSP's path.
    pub path: Option<String>,
    /// Of the Cloud API.
    pub api_version: Option<String>,
    /// `env:NAME` or `file:PATH`.
    pub credential: Option<String>,
    /// The header that carries the token.
    pub auth_header: Option<String>,
    /// Requests a second.
    pub rate_per_second: Option<f64>,
    /// Milliseconds between two messages to one recipient.
    pub pair_period_ms: Option<i32>,
    /// So many may leave at once.
    pub pair_burst: Option<i32>,
    /// Requests out at once.
    pub max_in_flight: Option<i32>,
    /// `retry` or `hold`.
    pub on_uncertain: Option<String>,
    /// Seconds.
    pub reconcile_window_s: Option<i32>,
    /// `off`, `warn` or `refuse`.
    pub validate: Option<String>,
    /// Whether unknown fields are refused.
    pub strict: Option<bool>,
    /// `halt` or `skip`.
    pub on_failure: Option<String>,
    /// How long a delivery in a sequence is waited for.
    pub delivery_timeout: Option<std::time::Duration>,
    /// `halt` or `proceed`.
    pub on_timeout: Option<String>,
    /// Make it the default.
    pub is_default: Option<bool>,
    /// These go back to being unset, whatever is given for them above.
    pub unset: Vec<Unset>,
}

/// A setting that a sender may be without; then the worker's own holds, or none is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// A BSP's path.
    Path,
    /// Requests out at once.
    MaxInFlight,
    /// What becomes of a lost answer.
    OnUncertain,
    /// Seconds of silence before that.
    ReconcileWindow,
    /// What a sequence does when a member fails.
    OnFailure,
    /// How long it waits for a delivery.
    DeliveryTimeout,
    /// What it does when that is over.
    OnTimeout,
}

impl Store {
    /// Adds a sender with its settings. `false`: it exists already and was left as it is.
    pub async fn add_sender(
        &self,
        sender: &SenderId,
        credential: &str,
        settings: &SenderChange,
    ) -> Result<bool, StoreError> {
        let doing = "add the sender";
        let mut transaction = self.pool.begin().await.doing(doing)?;
        let added = sqlx::query!(
            "insert into wa.senders (sender, credential) values ($1, $2) on conflict (sender) do nothing",
            sender.as_str(),
            credential
        )
        .execute(&mut *transaction)
        .await
        .doing(doing)?;
        if added.rows_affected() == 0 {
            return Ok(false);
        }
        change(&mut transaction, sender, settings).await?;
        transaction.commit().await.doing(doing)?;
        Ok(true)
    }

    /// Changes a sender's settings; running workers take them up within two seconds. `false`: there is no such sender.
    pub async fn change_sender(
        &self,
        sender: &SenderId,
        settings: &SenderChange,
    ) -> Result<bool, StoreError> {
        let doing = "change the sender";
        let mut transaction = self.pool.begin().await.doing(doing)?;
        let changed = change(&mut transaction, sender, settings).await?;
        transaction.commit().await.doing(doing)?;
        Ok(changed)
    }

    /// All senders, by id.
    pub async fn senders(&self) -> Result<Vec<Sender>, StoreError> {
        sqlx::query_as!(
            Sender,
            r#"select sender, provider, base_url, path, api_version, credential, auth_header, rate_per_second, pair_period_ms,
                    pair_burst, max_in_flight, on_uncertain, reconcile_window_s, validate, strict, on_failure,
                    extract(epoch from delivery_timeout)::float8 as delivery_timeout_s, on_timeout,
                    is_default, held_reason, held_until, held_by
             from wa.senders order by sender"#
        )
        .fetch_all(&self.pool)
        .await
        .doing("list the senders")
    }

    /// Stops a sender by a person's word, until it is released or until the time given. `false`: there is no such sender, or a
    /// person holds it already.
    pub async fn hold_sender(
        &self,
        sender: &SenderId,
        reason: &str,
        by: &str,
        until: Option<OffsetDateTime>,
    ) -> Result<bool, StoreError> {
        let hold = NewHold {
            cause: Cause::Operator,
            reason,
            by,
            until,
            code: None,
            fingerprint: None,
        };
        self.hold_sender_for(sender, &hold).await
    }

    /// Lets a sender go on, as [`Store::release_sender_by`] does where nobody says why.
    pub async fn release_sender(&self, sender: &SenderId) -> Result<bool, StoreError> {
        self.release_sender_by(sender, MACHINE, "no reason was given")
            .await
    }
}

async fn change(
    transaction: &mut Transaction,
    sender: &SenderId,
    change: &SenderChange,
) -> Result<bool, StoreError> {
    let doing = "change the sender";
    if change.is_default == Some(true) {
        sqlx::query!(
            "update wa.senders set is_default = false where is_default and sender <> $1",
            sender.as_str()
        )
        .execute(&mut **transaction)
        .await
        .doing(doing)?;
    }
    let unset = |setting| change.unset.contains(&setting);
    let changed = sqlx::query!(
        "update wa.senders set
           provider = coalesce($2, provider), base_url = coalesce($3, base_url),
           path = case when not $18 then coalesce($4, path) end,
           api_version = coalesce($5, api_version), credential = coalesce($6, credential),
           auth_header = coalesce($7, auth_header), rate_per_second = coalesce($8, rate_per_second),
           pair_period_ms = coalesce($9, pair_period_ms), pair_burst = coalesce($10, pair_burst),
           max_in_flight = case when not $19 then coalesce($11, max_in_flight) end,
           on_uncertain = case when not $20 then coalesce($12, on_uncertain) end,
           reconcile_window_s = case when not $21 then coalesce($13, reconcile_window_s) end,
           is_default = coalesce($14, is_default),
           on_failure = case when not $22 then coalesce($15, on_failure) end,
           delivery_timeout = case when not $23 then coalesce(make_interval(secs => $16), delivery_timeout) end,
           on_timeout = case when not $24 then coalesce($17, on_timeout) end,
           validate = coalesce($25, validate), strict = coalesce($26, strict)
         where sender = $1",
        sender.as_str(),
        change.provider.as_deref(),
        change.base_url.as_deref(),
        change.path.as_deref(),
        change.api_version.as_deref(),
        change.credential.as_deref(),
        change.auth_header.as_deref(),
        change.rate_per_second,
        change.pair_period_ms,
        change.pair_burst,
        change.max_in_flight,
        change.on_uncertain.as_deref(),
        change.reconcile_window_s,
        change.is_default,
        change.on_failure.as_deref(),
        change.delivery_timeout.map(|timeout| timeout.as_secs_f64()),
        change.on_timeout.as_deref(),
        unset(Unset::Path),
        unset(Unset::MaxInFlight),
        unset(Unset::OnUncertain),
        unset(Unset::ReconcileWindow),
        unset(Unset::OnFailure),
        unset(Unset::DeliveryTimeout),
        unset(Unset::OnTimeout),
        change.validate.as_deref(),
        change.strict
    )
    .execute(&mut **transaction)
    .await
    .doing(doing)?;
    Ok(changed.rows_affected() == 1)
}
