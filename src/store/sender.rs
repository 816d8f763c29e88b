//! Senders: their settings and holds.

use std::time::Duration;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::hold::{MACHINE, NewHold};
use super::{Store, StoreError};
use crate::domain::hold::Cause;
use crate::domain::id::SenderId;
use crate::provider::{AddressSettings, Echo, ProviderKind};

/// A sender's settings as they stand in `wa.senders`.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// The word before it, `none` for no word.
    pub auth_scheme: Option<String>,
    /// A file with the only certificates that may vouch for the server.
    pub ca_file: Option<String>,
    /// Whether statuses bring our callback data back.
    pub callback_echo: Option<bool>,
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
    /// Numbers without + are read as they are dialled in this country; none: they are refused.
    pub default_country: Option<String>,
    /// Whether rows without a sender go to it.
    pub is_default: bool,
    /// Why it is held.
    pub held_reason: Option<String>,
    /// Until when.
    #[serde(with = "time::serde::rfc3339::option")]
    pub held_until: Option<OffsetDateTime>,
    /// By whom.
    pub held_by: Option<String>,
}

impl Sender {
    /// Its id.
    pub fn id(&self) -> SenderId {
        SenderId::from(self.sender.as_str())
    }

    /// How its provider is reached.
    pub fn address(&self) -> AddressSettings<'_> {
        AddressSettings {
            provider: &self.provider,
            base_url: &self.base_url,
            path: self.path.as_deref(),
            api_version: Some(&self.api_version),
            credential: &self.credential,
            auth_header: Some(&self.auth_header),
            auth_scheme: self.auth_scheme.as_deref(),
            ca_file: self.ca_file.as_deref(),
            callback_echo: self.callback_echo,
        }
    }

    /// What follows for messages whose answer is lost, where statuses do not, or not for certain, bring our callback data back.
    pub fn echo_warning(&self) -> Option<&'static str> {
        let kind: Option<ProviderKind> = self.provider.parse().ok();
        match (
            self.callback_echo,
            kind.map(|kind| kind.capabilities().echo),
        ) {
            (Some(true), _) | (None, None | Some(Echo::Always)) => None,
            (None, Some(Echo::WhenSeen)) => Some(
                "Until a status of it has brought our callback data back, nothing can tell what became of a message whose answer \
                 was lost: such messages are left to a person (on_uncertain = hold), unless the sender is set to retry.",
            ),
            (Some(false), _) | (None, Some(Echo::Never)) => Some(
                "Its statuses do not bring our callback data back, so nothing can tell what became of a message whose answer was \
                 lost: such messages are left to a person (on_uncertain = hold), unless the sender is set to retry.",
            ),
        }
    }

    /// Why nothing may leave at `now`, if so.
    pub fn hold_at(&self, now: OffsetDateTime) -> Option<&str> {
        let over = self.held_until.is_some_and(|until| until <= now);
        self.held_reason.as_deref().filter(|_| !over)
    }
}

/// What `sender add` and `sender set` may give; what is `None` stays as it is, or takes the table's default.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SenderChange {
    /// `cloud_api`, `bsp` or `on_premises`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Without a version and without a trailing slash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// A BSP's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of the Cloud API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `env:NAME` or `file:PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The header that carries the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<String>,
    /// The word before it, `none` for no word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_scheme: Option<String>,
    /// A file with the only certificates that may vouch for the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Whether statuses bring our callback data back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_echo: Option<bool>,
    /// Requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// Milliseconds between two messages to one recipient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair_period_ms: Option<i32>,
    /// So many may leave at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair_burst: Option<i32>,
    /// Requests out at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<i32>,
    /// `retry` or `hold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_uncertain: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile_window_s: Option<i32>,
    /// `off`, `warn` or `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
    /// Whether unknown fields are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// `halt` or `skip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// How long a delivery in a sequence is waited for.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "as_interval"
    )]
    pub delivery_timeout: Option<Duration>,
    /// `halt` or `proceed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<String>,
    /// Two letters of the country in which numbers without + are dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_country: Option<String>,
    /// Make it the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_default: Option<bool>,
    /// These go back to being unset, whatever is given for them above.
    #[serde(skip)]
    pub unset: Vec<Unset>,
}

/// A setting that a sender may be without; then the worker's own holds, or none is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// A BSP's path.
    Path,
    /// The word before the token.
    AuthScheme,
    /// Who may vouch for the server.
    CaFile,
    /// Whether callback data comes back.
    CallbackEcho,
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
    /// In which country numbers without + are dialled.
    DefaultCountry,
}

impl Unset {
    fn column(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::AuthScheme => "auth_scheme",
            Self::CaFile => "ca_file",
            Self::CallbackEcho => "callback_echo",
            Self::MaxInFlight => "max_in_flight",
            Self::OnUncertain => "on_uncertain",
            Self::ReconcileWindow => "reconcile_window_s",
            Self::OnFailure => "on_failure",
            Self::DeliveryTimeout => "delivery_timeout",
            Self::OnTimeout => "on_timeout",
            Self::DefaultCountry => "default_country",
        }
    }
}

/// As Postgres reads one.
fn as_interval<S: Serializer>(timeout: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    let seconds = timeout.unwrap_or_default().as_secs_f64();
    to.serialize_str(&format!("{seconds} seconds"))
}

impl Store {
    /// Adds a sender with its settings; where they name no rate, with its kind of provider's usual one. `false`: it exists
    /// already and was left as it is.
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
        let kind: Option<ProviderKind> = settings
            .provider
            .as_deref()
            .and_then(|name| name.parse().ok());
        let usual = kind.map(|kind| kind.capabilities().usual_rate);
        let settings = SenderChange {
            rate_per_second: settings.rate_per_second.or(usual),
            ..settings.clone()
        };
        change(&mut transaction, sender, &settings).await?;
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
            r#"select sender, provider, base_url, path, api_version, credential, auth_header, auth_scheme,
                    ca_file, callback_echo, rate_per_second, pair_period_ms, pair_burst, max_in_flight, on_uncertain, reconcile_window_s, validate, strict,
                    on_failure,
                    extract(epoch from delivery_timeout)::float8 as delivery_timeout_s, on_timeout, default_country,
                    is_default, held_reason, held_until, held_by
             from wa.senders order by sender"#
        )
        .fetch_all(&self.pool)
        .await
        .doing("list the senders")
    }

    /// The country in which a sender's numbers without + are dialled.
    pub async fn default_country(&self, sender: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar!(
            "select default_country from wa.senders where sender = $1",
            sender
        )
        .fetch_optional(&self.pool)
        .await
        .map(Option::flatten)
        .doing("read the sender's default country")
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
    // What is not given is not in it, and stays as the row has it.
    let mut given = serde_json::to_value(change).map_err(|_| StoreError::Inconsistent {
        what: "the settings of a sender cannot be written down",
    })?;
    for setting in &change.unset {
        given[setting.column()] = serde_json::Value::Null;
    }
    let changed = sqlx::query!(
        "update wa.senders s set
           (provider, base_url, path, api_version, credential, auth_header, auth_scheme, ca_file, callback_echo, rate_per_second,
            pair_period_ms, pair_burst, max_in_flight, on_uncertain, reconcile_window_s, validate, strict, on_failure, delivery_timeout, on_timeout,
            default_country, is_default)
           = (select g.provider, g.base_url, g.path, g.api_version, g.credential, g.auth_header, g.auth_scheme, g.ca_file,
                g.callback_echo, g.rate_per_second, g.pair_period_ms, g.pair_burst, g.max_in_flight, g.on_uncertain,
                g.reconcile_window_s, g.validate, g.strict, g.on_failure, g.delivery_timeout, g.on_timeout, g.default_country, g.is_default
              from jsonb_populate_record(s, $2) g)
         where s.sender = $1",
        sender.as_str(),
        given
    )
    .execute(&mut **transaction)
    .await
    .doing(doing)?;
    Ok(changed.rows_affected() == 1)
}
