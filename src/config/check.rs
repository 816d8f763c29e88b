//! Refuses settings that each could be meant and that together cannot work.

use std::net::SocketAddr;
use std::time::Duration;

use super::error::ConfigError;
use super::{
    Admin, Config, Database, Http, Reconcile, Retention, Retry, Sender, Sequence, Traces, Webhook,
    Worker,
};
use crate::domain::base_url::{NoBaseUrl, base_url, refuse_version};
use crate::domain::retention::{AT_MOST_DAYS, MESSAGES_AT_LEAST_DAYS, WEBHOOKS_AT_LEAST_DAYS};

type Checked = Result<(), ConfigError>;

/// A process may well not run for some hundred milliseconds without being dead.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

impl Config {
    /// Refuses nonsense: what would lose a guarantee, stand still or be open to everybody.
    ///
    /// # Errors
    /// The first setting that is refused, with its value and what to write instead.
    pub fn check(&self) -> Checked {
        self.database.check()?;
        self.http.check()?;
        self.worker.check()?;
        self.check_end()?;
        self.retry.check()?;
        self.reconcile.check(self.http.response_timeout)?;
        self.sequence.check()?;
        self.retention.check()?;
        self.webhook.check()?;
        self.admin.check(self.webhook.listen)?;
        self.traces.check()?;
        self.sender.check()
    }

    fn check_end(&self) -> Checked {
        let (end, response) = (self.shutdown(), self.http.response_timeout);
        let fix = || format!("leave it out, or set at least {}", response.as_secs_f64());
        at_least(
            end,
            response,
            "worker.shutdown_s",
            "requests that are out would lose their answers",
            fix,
        )
    }
}

impl Database {
    fn check(&self) -> Checked {
        let connections = self.max_connections;
        let reason =
            "one connection listens, so the lease could not be renewed while a statement runs";
        refuse(
            connections < 3,
            "database.max_connections",
            connections,
            reason,
            "set 3 or more",
        )?;
        taken_by_postgres(self.statement_timeout, "database.statement_timeout_s")?;
        taken_by_postgres(self.lock_timeout, "database.lock_timeout_s")?;
        refuse(
            self.lock_timeout > self.statement_timeout,
            "database.lock_timeout_s",
            self.lock_timeout.as_secs_f64(),
            "is longer than database.statement_timeout_s, so it never counts",
            format!("set at most {}", self.statement_timeout.as_secs_f64()),
        )
    }
}

impl Http {
    fn check(&self) -> Checked {
        positive(self.connect_timeout, "http.connect_timeout_s")?;
        positive(self.response_timeout, "http.response_timeout_s")?;
        positive(self.pool_idle_timeout, "http.pool_idle_timeout_s")?;
        refuse(
            self.connect_timeout >= self.response_timeout,
            "http.connect_timeout_s",
            self.connect_timeout.as_secs_f64(),
            "is not shorter than http.response_timeout_s, so what never left would count as a lost answer",
            format!("set less than {}", self.response_timeout.as_secs_f64()),
        )
    }
}

impl Worker {
    fn check(&self) -> Checked {
        let name = self.name.as_deref();
        refuse(
            name == Some(""),
            "worker.name",
            "\"\"",
            "names nobody",
            "leave it out, or give a name",
        )?;
        positive(self.heartbeat, "worker.heartbeat_s")?;
        at_least(
            self.lease,
            SHORTEST_LEASE,
            "worker.lease_s",
            "is so short that a busy moment of the machine would lose the senders",
            || format!("set at least {}", SHORTEST_LEASE.as_secs_f64()),
        )?;
        let fix = || {
            format!(
                "set at least {}, or shorten worker.heartbeat_s",
                (self.heartbeat * 3).as_secs_f64()
            )
        };
        let reason = "is under three heartbeats, so one that is late would lose the senders";
        at_least(
            self.lease,
            self.heartbeat * 3,
            "worker.lease_s",
            reason,
            fix,
        )?;
        positive(self.tick, "worker.tick_ms")?;
        positive(self.idle_poll, "worker.idle_poll_ms")?;
        not_zero(self.read_ahead, "worker.read_ahead")?;
        not_zero(self.max_in_flight, "worker.max_in_flight")?;
        not_zero(self.record_batch, "worker.record_batch")?;
        refuse(
            !(0.0..=0.9).contains(&self.urgent_share),
            "worker.urgent_share",
            self.urgent_share,
            "campaigns would be left too little of the rate, or more than all of it",
            "set 0 to 0.9",
        )?;
        refuse(
            self.record_delay > Duration::from_secs(1),
            "worker.record_delay_ms",
            self.record_delay.as_millis(),
            "outcomes that are not yet written down would be lost in a crash",
            "set at most 1000",
        )
    }
}

impl Retry {
    fn check(&self) -> Checked {
        positive(self.first_delay, "retry.first_delay_s")?;
        let grows = self.factor.is_finite() && self.factor >= 1.0;
        refuse(
            !grows,
            "retry.factor",
            self.factor,
            "waits must not get shorter",
            "set 1 or more",
        )?;
        let fix = || format!("set at least {}", self.first_delay.as_secs_f64());
        at_least(
            self.max_delay,
            self.first_delay,
            "retry.max_delay_s",
            "is shorter than retry.first_delay_s",
            fix,
        )?;
        let share = (0.0..1.0).contains(&self.jitter);
        refuse(
            !share,
            "retry.jitter",
            self.jitter,
            "is no part of a wait",
            "set from 0 to below 1",
        )?;
        not_zero(self.max_attempts, "retry.max_attempts")
    }
}

impl Reconcile {
    fn check(&self, response_timeout: Duration) -> Checked {
        let reason = "is shorter than http.response_timeout_s, so a message could be sent again while its answer is \
                      still on the way";
        let fix = || format!("set at least {}", response_timeout.as_secs_f64());
        at_least(
            self.window,
            response_timeout,
            "reconcile.window_s",
            reason,
            fix,
        )
    }
}

impl Sequence {
    fn check(&self) -> Checked {
        match self.delivery_timeout {
            Some(timeout) => positive(timeout, "sequence.delivery_timeout_s"),
            None => Ok(()),
        }
    }
}

impl Retention {
    fn check(&self) -> Checked {
        kept_for(
            self.messages_days,
            MESSAGES_AT_LEAST_DAYS,
            "retention.messages_days",
            "WhatsApp repeats webhooks for up to 7 days, and a late one must find its message",
        )?;
        kept_for(
            self.webhooks_days,
            WEBHOOKS_AT_LEAST_DAYS,
            "retention.webhooks_days",
            "nobody could look at a delivery any more",
        )
    }
}

impl Webhook {
    fn check(&self) -> Checked {
        not_zero(self.apply_batch, "webhook.apply_batch")?;
        refuse(
            is_public(self.listen)
                && self.app_secrets.is_empty()
                && self.unsigned_secrets.is_empty(),
            "webhook.listen",
            self.listen,
            "is reachable from elsewhere, and without an app secret anybody could forge a status",
            "set WHATSAPP_APP_SECRET (or webhook.unsigned_secrets), or listen on 127.0.0.1",
        )
    }
}

impl Admin {
    /// Refuses a listener that is open to everybody, or guarded in a way that cannot be meant.
    ///
    /// # Errors
    /// The setting that is refused, and what to write instead.
    pub fn check_guard(&self) -> Checked {
        refuse(
            is_public(self.listen) && self.token.is_none(),
            "admin.listen",
            self.listen,
            "is reachable from elsewhere, and without a token anybody could look and act",
            "set WA_OUTBOX_ADMIN_TOKEN, or listen on 127.0.0.1",
        )?;
        refuse(
            self.metrics_token.is_some() && self.token.is_none(),
            "admin.metrics_token",
            "(a reference)",
            "guards nothing, for without admin.token everything is open",
            "set WA_OUTBOX_ADMIN_TOKEN, too",
        )?;
        refuse(
            self.viewer_token.is_some() && self.token.is_none(),
            "admin.viewer_token",
            "(a reference)",
            "guards nothing, for without admin.token everybody is an operator",
            "set WA_OUTBOX_ADMIN_TOKEN, too",
        )?;
        refuse(
            self.metrics_token.is_some() && self.metrics_open,
            "admin.metrics_open",
            true,
            "lets in everybody, so admin.metrics_token never counts",
            "leave one of them out",
        )
    }

    fn check(&self, webhook: SocketAddr) -> Checked {
        self.check_guard()?;
        let same = self.listen == webhook && webhook.port() != 0;
        refuse(
            same,
            "admin.listen",
            self.listen,
            "is webhook.listen, too",
            "give it a port of its own",
        )
    }
}

impl Traces {
    fn check(&self) -> Checked {
        if let Some(endpoint) = &self.endpoint {
            refuse(
                !is_http(endpoint),
                "traces.endpoint",
                without_user(endpoint),
                "is no address of a collector",
                "write it as in http://127.0.0.1:4318; what lets you in goes into traces.headers",
            )?;
        }
        refuse(
            !(0.0..=1.0).contains(&self.sample_ratio),
            "traces.sample_ratio",
            self.sample_ratio,
            "is no share",
            "set 0 to 1",
        )
    }
}

impl Sender {
    fn check(&self) -> Checked {
        let id = self.sender.as_deref().unwrap_or("-");
        let odd =
            id.is_empty() || id.contains(|one: char| one.is_whitespace() || "/?#+".contains(one));
        let fix = "give the phone number id, as WhatsApp Manager shows it: digits only";
        refuse(
            odd,
            "sender.sender",
            format!("{id:?}"),
            "is no id of a sender",
            fix,
        )?;
        let lonely = self.sender.is_some() && self.credential.is_none();
        refuse(
            lonely,
            "sender.sender",
            id,
            "has no credential",
            "set WHATSAPP_ACCESS_TOKEN",
        )?;
        let lonely = self.sender.is_none() && self.credential.is_some();
        let reason = "belongs to no sender";
        refuse(
            lonely,
            "sender.credential",
            "(a reference)",
            reason,
            "set WHATSAPP_PHONE_NUMBER_ID",
        )?;
        if let Some(base) = &self.base_url {
            let found = base_url(base).and_then(|base| refuse_version(&base));
            if let Err(NoBaseUrl { wrong, fix }) = found {
                let shown = without_user(base);
                return Err(ConfigError::refused("sender.base_url", shown, wrong, fix));
            }
            // The path is put behind it as it stands.
            refuse(
                base.ends_with('/') || base.trim() != base,
                "sender.base_url",
                format!("{:?}", without_user(base)),
                "has a / or a blank at an end",
                "write it like https://graph.facebook.com",
            )?;
        }
        match &self.api_version {
            None => Ok(()),
            Some(version) => refuse(
                !is_version(version),
                "sender.api_version",
                format!("{version:?}"),
                "is no version",
                "write it as in v23.0",
            ),
        }
    }
}

fn refuse(
    wrong: bool,
    field: &str,
    value: impl std::fmt::Display,
    reason: &str,
    fix: impl std::fmt::Display,
) -> Checked {
    if wrong {
        Err(ConfigError::refused(field, value, reason, fix))
    } else {
        Ok(())
    }
}

fn positive(span: Duration, field: &str) -> Checked {
    refuse(
        span.is_zero(),
        field,
        0,
        "is no time at all",
        "set more than 0",
    )
}

/// Postgres counts whole milliseconds, 0 of them are no limit at all, and its numbers end where those of 31 bits do.
fn taken_by_postgres(span: Duration, field: &str) -> Checked {
    const LONGEST: Duration = Duration::from_millis(i32::MAX.unsigned_abs() as u64);
    at_least(
        span,
        Duration::from_millis(1),
        field,
        "is under a millisecond, which Postgres would take for no limit",
        || "set 0.001 or more".to_owned(),
    )?;
    refuse(
        span > LONGEST,
        field,
        span.as_secs_f64(),
        "is more than Postgres takes",
        format!("set at most {}", LONGEST.as_secs()),
    )
}

fn kept_for(days: Option<u32>, least: u32, field: &str, reason: &str) -> Checked {
    let Some(days) = days else { return Ok(()) };
    let fix = format!("set at least {least}, or leave it out to keep everything");
    refuse(days < least, field, days, reason, fix)?;
    let fix = format!("set at most {AT_MOST_DAYS}, or leave it out to keep everything");
    refuse(
        days > AT_MOST_DAYS,
        field,
        days,
        "is more than ten years",
        fix,
    )
}

fn not_zero(number: u32, field: &str) -> Checked {
    refuse(
        number == 0,
        field,
        number,
        "nothing would ever be done",
        "set 1 or more",
    )
}

fn at_least(
    span: Duration,
    least: Duration,
    field: &str,
    reason: &str,
    fix: impl Fn() -> String,
) -> Checked {
    refuse(span < least, field, span.as_secs_f64(), reason, fix())
}

/// Whether others than this machine may reach it. An IPv4 address in IPv6 clothes is what it is underneath.
fn is_public(listen: SocketAddr) -> bool {
    !listen.ip().to_canonical().is_loopback()
}

/// Whether this is an address for HTTP, without a user and password.
fn is_http(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty() && !host.contains(|one: char| one.is_whitespace() || one == '@')
    })
}

/// A URL without what stands before its `@`, which may be a password.
fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

/// Whether this is `v`, a number, a point and a number.
fn is_version(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text
        .strip_prefix('v')
        .and_then(|numbers| numbers.split_once('.'));
    parts.is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
