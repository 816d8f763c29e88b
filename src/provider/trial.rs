//! Tries the way to a provider without sending anything.
//!
//! Where a provider has a call that needs the credential and sends nothing, that call is made; where none is known, only the
//! connection is tried, and no credential leaves.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;

use super::address::Endpoint;
use super::client::Provider;
use super::verdict::{Expected, Happened, judge};
use crate::domain::outcome::{NotSent, Outcome};
use crate::domain::text::{Secrets, chain};
use crate::domain::transition::in_words;

/// What a trial found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The provider took the credential.
    LetIn {
        /// What Meta says of the number's throughput (`STANDARD`, `HIGH`), where it says anything.
        throughput: Option<String>,
        /// What the On-Premises client says of its connection to WhatsApp (`connected`), where it says anything.
        gateway: Option<String>,
    },
    /// The provider is there. Whether it takes the credential was not tried.
    Reached,
    /// The provider is there and refuses, with these words.
    Refused(String),
    /// The provider cannot be reached, for this reason.
    NotReached(String),
}

/// A trial that takes longer found nobody.
const WITHIN: Duration = Duration::from_secs(10);
/// Longer answers are none.
const LONGEST_ANSWER: usize = 1 << 16;

impl Provider {
    /// Tries the way to the provider at `endpoint`.
    pub async fn try_way(&self, endpoint: &Endpoint) -> Trial {
        let tried = async {
            match endpoint.harmless_call() {
                Some(url) => self.call(endpoint, url.clone()).await,
                None => self.knock(endpoint).await,
            }
        };
        let late = || Trial::NotReached(format!("no answer within {} s", WITHIN.as_secs()));
        let tried = tokio::time::timeout(WITHIN, tried).await;
        tried.unwrap_or_else(|_| late())
    }

    async fn call(&self, endpoint: &Endpoint, url: reqwest::Url) -> Trial {
        match self.answer(endpoint, url).await {
            Ok((status, body, secrets)) => understood(status, &body, &secrets),
            Err(trial) => trial,
        }
    }

    /// What a call that sends nothing is answered, and what nobody may be told of it.
    async fn answer(
        &self,
        endpoint: &Endpoint,
        url: reqwest::Url,
    ) -> Result<(u16, Vec<u8>, Secrets), Trial> {
        let way_in = self.way_in(endpoint).await;
        let way_in = way_in.map_err(|outcome| not_let_in(&outcome))?;
        let (name, value) = way_in.header.clone();
        let request = way_in.pool.client.request(Method::GET, url);
        match request.header(name, value).send().await {
            Ok(answer) => {
                let (status, body) = read(answer).await?;
                Ok((status, body, way_in.secrets))
            }
            Err(error) => Err(not_reached(error)),
        }
    }

    /// An object that the Graph API has at `url`, or in which words it has none.
    pub(super) async fn ask(
        &self,
        endpoint: &Endpoint,
        url: reqwest::Url,
    ) -> Result<Value, String> {
        let late = || format!("no answer within {} s", WITHIN.as_secs());
        let answer = tokio::time::timeout(WITHIN, self.answer(endpoint, url));
        let refused = |trial| match trial {
            Trial::Refused(why) | Trial::NotReached(why) => why,
            Trial::LetIn { .. } | Trial::Reached => "nothing that can be read".to_owned(),
        };
        let (status, body, secrets) = answer.await.map_err(|_| late())?.map_err(refused)?;
        match understood(status, &body, &secrets) {
            Trial::LetIn { .. } => {
                serde_json::from_slice(&body).map_err(|_| "nothing that can be read".to_owned())
            }
            trial @ (Trial::Refused(_) | Trial::NotReached(_) | Trial::Reached) => {
                Err(refused(trial))
            }
        }
    }

    /// Any answer will do. The address is the host's alone: nothing of the sender's, and no credential.
    async fn knock(&self, endpoint: &Endpoint) -> Trial {
        let pool = match self.pool_of(endpoint) {
            Ok(pool) => pool,
            Err(error) => return not_reached(error),
        };
        let mut url = endpoint.url.clone();
        url.set_path("/");
        url.set_query(None);
        match pool.client.request(Method::HEAD, url).send().await {
            Ok(_) => Trial::Reached,
            Err(error) => not_reached(error),
        }
    }
}

fn not_reached(error: reqwest::Error) -> Trial {
    Trial::NotReached(chain(&error.without_url()))
}

fn not_let_in(outcome: &Outcome) -> Trial {
    match outcome {
        Outcome::NotSent(NotSent::NoConnection) => {
            Trial::NotReached("no connection could be made to log in".to_owned())
        }
        Outcome::Held { error, .. }
        | Outcome::Rejected(error)
        | Outcome::Throttled { error, .. }
        | Outcome::Transient { error, .. } => Trial::Refused(in_words(error)),
        Outcome::NotSent(_) | Outcome::Accepted(_) | Outcome::Uncertain(_) => {
            Trial::Refused("the login gave no token".to_owned())
        }
    }
}

async fn read(mut answer: Response) -> Result<(u16, Vec<u8>), Trial> {
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_ANSWER => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_) | None) => break,
            Err(error) => return Err(not_reached(error)),
        }
    }
    Ok((status, body))
}

fn understood(status: u16, body: &[u8], secrets: &Secrets) -> Trial {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let found = parsed.as_ref().filter(|answer| {
        (200..300).contains(&status) && answer.is_object() && answer.get("errors").is_none()
    });
    if let Some(answer) = found {
        let text = |pointer| {
            answer
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        return Trial::LetIn {
            throughput: text("/throughput/level"),
            gateway: text("/health/gateway_status").or_else(|| of_nodes(answer)),
        };
    }
    let happened = Happened::Answer {
        status,
        retry_after: None,
        body,
        secrets,
    };
    match judge(&happened, &Expected::MarkAsRead) {
        Outcome::Held { error, .. }
        | Outcome::Rejected(error)
        | Outcome::Throttled { error, .. }
        | Outcome::Transient { error, .. } => Trial::Refused(in_words(&error)),
        Outcome::Accepted(_) | Outcome::NotSent(_) | Outcome::Uncertain(_) => {
            Trial::Refused(format!("HTTP {status}, and nothing that can be read"))
        }
    }
}

/// A client of several nodes lists them: the first that is not connected speaks for all.
fn of_nodes(answer: &Value) -> Option<String> {
    let nodes = answer.get("health")?.as_object()?.values();
    let mut said = nodes.filter_map(|node| node.get("gateway_status")?.as_str());
    let first = said.next()?;
    let worst = std::iter::once(first)
        .chain(said)
        .find(|status| *status != "connected");
    Some(worst.unwrap_or(first).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_understood_as_far_as_it_can_be() {
        let let_in = |throughput: Option<&str>, gateway: Option<&str>| Trial::LetIn {
            throughput: throughput.map(str::to_owned),
            gateway: gateway.map(str::to_owned),
        };
        for (status, body, expected) in [
            (
                200,
                r#"{"id":"1","throughput":{"level":"HIGH"}}"#,
                let_in(Some("HIGH"), None),
            ),
            (
                200,
                r#"{"health":{"gateway_status":"connected"}}"#,
                let_in(None, Some("connected")),
            ),
            (
                200,
                r#"{"health":{"a":{"gateway_status":"connected"},"b":{"gateway_status":"disconnected"}}}"#,
                let_in(None, Some("disconnected")),
            ),
            (
                401,
                r#"{"error":{"message":"Error validating access token","code":190}}"#,
                Trial::Refused("(190) Error validating access token".to_owned()),
            ),
            (
                200,
                r#"{"errors":[{"code":1005,"title":"Access denied"}]}"#,
                Trial::Refused("(1005) Access denied".to_owned()),
            ),
            (
                200,
                "<html>",
                Trial::Refused("HTTP 200, and nothing that can be read".to_owned()),
            ),
        ] {
            let trial = understood(status, body.as_bytes(), &Secrets::default());
            assert_eq!(trial, expected, "{body}");
        }
    }
}
