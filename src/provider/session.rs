//! The session at a provider that has to be logged in to.
//!
//! A token is fetched once, however many requests need one at the time, and again before it ends or when it is refused. A refused
//! session is nobody's failure: the request that met the refusal goes back unharmed, and the next one logs in. What a token that
//! was fetched only just now meets is another matter: then the provider refuses us, and the sender is held.
//!
//! A password that was refused is not tried again at once, however many messages wait: an account is locked that way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::Value;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use tracing::{debug, info};

use super::address::Login;
use super::verdict::{Expected, Happened, judge};
use crate::clock::{BootInstant, Clock};
use crate::domain::outcome::{ApiError, HoldScope, NotSent, Outcome};
use crate::domain::text::{Secrets, chain};

/// A login that is not answered within this time is given up.
const LOGIN_WITHIN: Duration = Duration::from_secs(10);
/// A token is renewed this long before its end, or when a tenth of its life is left if that is later.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 60);
/// A token whose end is not told lasts so long (Meta, On-Premises API, Users: seven days).
const USUAL_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// After a login that failed, the next one is not before this.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// A session is renewed for a refusal so often a minute; then the refusals mean us.
const REFUSALS_A_MINUTE: usize = 3;
const MINUTE: Duration = Duration::from_secs(60);
/// Before the token.
const BEARER: &str = "Bearer ";
/// A longer answer to a login is none.
const LONGEST_ANSWER: usize = 1 << 16;

/// The sessions of this process, by where and as whom they were logged in to.
#[derive(Debug)]
pub(super) struct Sessions {
    clock: Clock,
    sessions: Mutex<HashMap<Login, Arc<Session>>>,
}

/// One session, and the turn to renew it.
#[derive(Debug)]
pub(super) struct Session {
    login: Login,
    clock: Clock,
    known: Mutex<Known>,
    turn: tokio::sync::Mutex<()>,
}

/// A token to go in with.
#[derive(Clone)]
pub(super) struct Pass {
    /// `Bearer …`, marked sensitive.
    pub(super) bearer: HeaderValue,
    /// Of this login.
    number: u64,
}

#[derive(Debug, Default)]
struct Known {
    token: Option<Token>,
    /// Logins that were answered, or failed.
    logins: u64,
    failure: Option<(Outcome, BootInstant)>,
    refusals: Vec<BootInstant>,
}

#[derive(Debug)]
struct Token {
    pass: Pass,
    renew_at: BootInstant,
    ends_at: BootInstant,
    /// Something but a refusal was answered to it.
    is_proved: bool,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pass({})", self.number)
    }
}

/// What is known when a request asks for a token.
enum Found {
    Usable(Pass),
    /// Usable, and it is time for another; so many logins have been made.
    Ageing(Pass, u64),
    /// None, and the last login failed only just now.
    Failed(Outcome),
    /// None; so many logins have been made.
    None(u64),
}

impl Pass {
    /// The token alone.
    pub(super) fn token(&self) -> String {
        let bearer = String::from_utf8_lossy(self.bearer.as_bytes());
        bearer.trim_start_matches(BEARER).to_owned()
    }
}

impl Sessions {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            sessions: Mutex::default(),
        }
    }

    /// The session of this login.
    pub(super) fn of(&self, login: &Login) -> Arc<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = sessions.get(login) {
            return Arc::clone(session);
        }
        let session = Arc::new(Session {
            login: login.clone(),
            clock: self.clock.clone(),
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        });
        sessions.insert(login.clone(), Arc::clone(&session));
        session
    }
}

impl Session {
    /// A token to go in with; logs in where there is none, by what these secrets hold. A login goes on when its caller is gone, for all
    /// the others.
    ///
    /// # Errors
    /// What became of the message where no token is to be had: it was not sent, or its sender is held.
    pub(super) async fn pass(
        self: &Arc<Self>,
        client: &Client,
        secrets: &Secrets,
    ) -> Result<Pass, Outcome> {
        let (seen, old) = match self.look() {
            Found::Usable(pass) => return Ok(pass),
            Found::Failed(outcome) => return Err(outcome),
            Found::Ageing(pass, seen) => (seen, Some(pass)),
            Found::None(seen) => (seen, None),
        };
        let (session, client, secrets) = (Arc::clone(self), client.clone(), secrets.clone());
        let login = tokio::spawn(async move { session.log_in(&client, &secrets, seen).await });
        match old {
            // Good for now: nobody waits for the next one.
            Some(pass) => Ok(pass),
            None => login
                .await
                .unwrap_or(Err(Outcome::NotSent(NotSent::NoConnection))),
        }
    }

    /// What an answer to a request with this token means once the session is taken into account.
    pub(super) fn consider(&self, pass: &Pass, outcome: Outcome) -> Outcome {
        let mut known = self.known();
        if !refuses_session(&outcome) {
            let proves = !matches!(outcome, Outcome::NotSent(_) | Outcome::Uncertain(_));
            if let Some(token) = known.token.as_mut().filter(|_| proves) {
                token.is_proved |= token.pass.number == pass.number;
            }
            return outcome;
        }
        let is_current = |token: &&Token| token.pass.number == pass.number;
        let Some(token) = known.token.as_ref().filter(is_current) else {
            // An earlier session: it is over already.
            return Outcome::NotSent(NotSent::SessionEnded);
        };
        let was_proved = token.is_proved;
        known.token = None;
        let now = self.clock.boot();
        known
            .refusals
            .retain(|then| !now.has_reached(*then + MINUTE));
        known.refusals.push(now);
        if was_proved && known.refusals.len() <= REFUSALS_A_MINUTE {
            Outcome::NotSent(NotSent::SessionEnded)
        } else {
            outcome
        }
    }

    fn look(&self) -> Found {
        let now = self.clock.boot();
        let mut known = self.known();
        let logins = known.logins;
        match &mut known.token {
            Some(token) if !now.has_reached(token.ends_at) => {
                if !now.has_reached(token.renew_at) {
                    return Found::Usable(token.pass.clone());
                }
                // Whoever comes next does not renew it as well, unless this fails.
                token.renew_at = now + AFTER_FAILURE;
                Found::Ageing(token.pass.clone(), logins)
            }
            Some(_) | None => match &known.failure {
                Some((outcome, until)) if !now.has_reached(*until) => {
                    Found::Failed(outcome.clone())
                }
                Some(_) | None => Found::None(logins),
            },
        }
    }

    /// Logs in, unless somebody else has since `seen` logins were counted.
    async fn log_in(&self, client: &Client, secrets: &Secrets, seen: u64) -> Result<Pass, Outcome> {
        let _turn = self.turn.lock().await;
        {
            let known = self.known();
            if known.logins != seen {
                let failure = known.failure.as_ref().map(|(outcome, _)| outcome.clone());
                match (&known.token, failure) {
                    (Some(token), _) => return Ok(token.pass.clone()),
                    (None, Some(outcome)) => return Err(outcome),
                    // Fetched and refused meanwhile.
                    (None, None) => {}
                }
            }
        }
        self.keep(fetch(client, &self.login, secrets).await)
    }

    /// Keeps what a login came to, for all who wait for it.
    #[expect(clippy::result_large_err, reason = "a login is rare")]
    fn keep(&self, fetched: Result<Fetched, Outcome>) -> Result<Pass, Outcome> {
        let now = self.clock.boot();
        let mut known = self.known();
        known.logins += 1;
        match fetched {
            Ok(fetched) => {
                let life = self.life(fetched.ends);
                let pass = Pass {
                    bearer: fetched.bearer,
                    number: known.logins,
                };
                known.failure = None;
                known.token = Some(Token {
                    pass: pass.clone(),
                    renew_at: now + life.saturating_sub(RENEW_BEFORE.min(life / 10)),
                    ends_at: now + life,
                    is_proved: false,
                });
                info!("Logged in to {}", host(&self.login));
                Ok(pass)
            }
            Err(outcome) => {
                info!("Could not log in to {}", host(&self.login));
                // Where nobody was there, the breaker of the address says when to try again.
                let is_refusal = !matches!(outcome, Outcome::NotSent(_));
                let rest = if is_refusal {
                    AFTER_FAILURE
                } else {
                    Duration::ZERO
                };
                known.failure = Some((outcome.clone(), now + rest));
                Err(outcome)
            }
        }
    }

    /// How long a token lasts that ends then, by the machine's clock. One that is wrong costs a refusal, which renews it. An end that is
    /// past was told by a clock that is wrong, or meant otherwise: it says nothing, or each message would log in.
    fn life(&self, ends: Option<OffsetDateTime>) -> Duration {
        let left: Option<Duration> =
            ends.and_then(|ends| (ends - self.clock.now()).try_into().ok());
        left.filter(|left| !left.is_zero()).unwrap_or(USUAL_LIFE)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// HTTP 401, or the client's own code for it (Meta, On-Premises API error and status messages, 1005).
fn refuses_session(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Held {
            scope: HoldScope::Sender,
            error,
        } => error.http_status == Some(401) || error.code == Some(1005),
        Outcome::Held { .. }
        | Outcome::Accepted(_)
        | Outcome::Rejected(_)
        | Outcome::NotSent(_)
        | Outcome::Throttled { .. }
        | Outcome::Transient { .. }
        | Outcome::Uncertain(_) => false,
    }
}

fn host(login: &Login) -> &str {
    login.url.host_str().unwrap_or_default()
}

/// What a login gave.
struct Fetched {
    bearer: HeaderValue,
    ends: Option<OffsetDateTime>,
}

async fn fetch(client: &Client, login: &Login, secrets: &Secrets) -> Result<Fetched, Outcome> {
    let answer = client
        .post(login.url.clone())
        .header(AUTHORIZATION, login.basic.clone())
        .header(CONTENT_TYPE, "application/json")
        .timeout(LOGIN_WITHIN)
        .send()
        .await
        .map_err(no_connection)?;
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get(RETRY_AFTER).cloned();
    let body = whole(answer).await.map_err(no_connection)?;
    if let Some(fetched) = (200..300).contains(&status).then(|| read(&body)).flatten() {
        return Ok(fetched);
    }
    let happened = Happened::Answer {
        status,
        retry_after: retry_after.as_ref().and_then(|value| value.to_str().ok()),
        body: &body,
        secrets,
    };
    Err(without_a_token(
        judge(&happened, &Expected::MarkAsRead),
        status,
    ))
}

async fn whole(mut answer: reqwest::Response) -> Result<Bytes, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

fn no_connection(error: reqwest::Error) -> Outcome {
    debug!(error = chain(&error.without_url()), "No answer to a login");
    Outcome::NotSent(NotSent::NoConnection)
}

/// What a login without a token means for the message that waits for it, which was never sent. Whatever is no order to slow down
/// and no failure of the server is a refusal of us.
fn without_a_token(outcome: Outcome, status: u16) -> Outcome {
    let held = |error: ApiError| Outcome::Held {
        scope: HoldScope::Sender,
        error: ApiError {
            http_status: Some(status),
            title: error
                .title
                .or_else(|| Some("the login gave no token".to_owned())),
            ..error
        },
    };
    match outcome {
        Outcome::Held { error, .. } | Outcome::Rejected(error) => held(error),
        Outcome::Throttled { .. } | Outcome::NotSent(_) => outcome,
        Outcome::Transient { .. } | Outcome::Uncertain(_) if status >= 500 => {
            Outcome::NotSent(NotSent::NoConnection)
        }
        Outcome::Transient { error, .. } => held(error),
        Outcome::Accepted(_) | Outcome::Uncertain(_) => held(ApiError::default()),
    }
}

/// `users[0].token` and `users[0].expires_after`.
fn read(body: &[u8]) -> Option<Fetched> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let user = answer.pointer("/users/0")?;
    let token = user
        .get("token")?
        .as_str()
        .filter(|token| !token.is_empty())?;
    let mut bearer = HeaderValue::try_from(format!("{BEARER}{token}")).ok()?;
    bearer.set_sensitive(true);
    let ends = user
        .get("expires_after")
        .and_then(Value::as_str)
        .and_then(moment);
    Some(Fetched { bearer, ends })
}

/// `2018-03-01 15:29:26+00:00`; always in UTC.
fn moment(text: &str) -> Option<OffsetDateTime> {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let text = text.get(..19)?.replacen('T', " ", 1);
    let moment = PrimitiveDateTime::parse(&text, form).ok()?;
    Some(moment.assume_utc())
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
