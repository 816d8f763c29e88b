//! The simulator's own endpoints, under `/_sim/`: look into the ledger, set faults.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::{Fault, WebhookFault};
use super::http::{Request, Response};
use super::world::World;

/// Most entries on one page of the ledger, and how many there are by default.
const PAGE: usize = 1000;

/// What `POST /_sim/faults` takes. Faults go by their names: `"hang"`, `"error:131026"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultOrder {
    /// First end all faults that were set before.
    #[serde(default)]
    clear: bool,
    /// Whom `next`, `always`, `webhook_next` and `webhook_always` are for.
    recipient: Option<String>,
    #[serde(default)]
    next: Vec<Fault>,
    always: Option<Fault>,
    #[serde(default)]
    webhook_next: Vec<WebhookFault>,
    webhook_always: Option<WebhookFault>,
    /// Shares of all requests; replaces those set before.
    probabilities: Option<BTreeMap<String, f64>>,
    /// Shares of all accepted messages; replaces those set before.
    webhook_probabilities: Option<BTreeMap<String, f64>>,
    /// How many connections to close before reading anything.
    close_connections: Option<u64>,
}

/// Answers a request to `/_sim/…`.
pub(super) fn answer(world: &World, request: &Request) -> Response {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/_sim/health") => Response::json(200, &json!({ "status": "ok" })),
        ("GET", "/_sim/summary") => Response::json(200, &summary(world)),
        ("GET", "/_sim/ledger") => ledger(world, &request.query),
        ("DELETE", "/_sim/ledger") => {
            world.ledger.clear();
            Response::json(200, &json!({ "status": "cleared" }))
        }
        ("POST", "/_sim/faults") => match set_faults(world, &request.body) {
            Ok(()) => Response::json(200, &json!({ "status": "set" })),
            Err(problem) => Response::json(400, &json!({ "error": problem })),
        },
        ("DELETE", "/_sim/faults") => {
            world.faults().clear();
            Response::json(200, &json!({ "status": "cleared" }))
        }
        ("DELETE", "/_sim/sessions") => {
            world.sessions().end_all();
            Response::json(200, &json!({ "status": "ended" }))
        }
        _ => Response::json(
            404,
            &json!({ "error": "known: health, summary, ledger, faults, sessions" }),
        ),
    }
}

/// All counts in one object.
pub(super) fn summary(world: &World) -> Value {
    let mut summary = world.ledger.summary();
    summary["webhooks"] = world.callbacks.counts().to_json();
    summary["logins"] = world.sessions().logins.into();
    summary["connections_closed_before_reading"] = world.connections_closed().into();
    summary
}

fn ledger(world: &World, query: &str) -> Response {
    let mut recipient = None;
    let mut since = 0;
    let mut limit = PAGE;
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let read = match key {
            "recipient" => {
                recipient = Some(unescape(value));
                Some(())
            }
            "since" => value.parse().ok().map(|index| since = index),
            "limit" => value.parse().ok().map(|most: usize| limit = most.min(PAGE)),
            _ => None,
        };
        if read.is_none() {
            let problem = format!(
                "{key}={value}: known are recipient, since and limit, the last two numbers"
            );
            return Response::json(400, &json!({ "error": problem }));
        }
    }
    Response::json(200, &world.ledger.page(recipient.as_deref(), since, limit))
}

/// Undoes percent-encoding. A `+` stays one: it is the beginning of a phone number here.
fn unescape(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| after.get(..2)).flatten();
        let escaped =
            escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match escaped {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn set_faults(world: &World, body: &[u8]) -> Result<(), String> {
    let order: FaultOrder = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let probabilities = order
        .probabilities
        .as_ref()
        .map(read_shares::<Fault>)
        .transpose()?;
    let webhook_probabilities = order
        .webhook_probabilities
        .as_ref()
        .map(read_shares::<WebhookFault>)
        .transpose()?;
    let is_for_someone = !order.next.is_empty()
        || order.always.is_some()
        || !order.webhook_next.is_empty()
        || order.webhook_always.is_some();
    if is_for_someone && order.recipient.is_none() {
        return Err("next, always, webhook_next and webhook_always need a recipient".to_owned());
    }
    let mut faults = world.faults();
    if order.clear {
        faults.clear();
    }
    if let Some(recipient) = order.recipient {
        let of_recipient = faults.of(&recipient);
        of_recipient.next.extend(order.next);
        of_recipient.always = order.always.or(of_recipient.always);
        of_recipient.webhook_next.extend(order.webhook_next);
        of_recipient.webhook_always = order.webhook_always.or(of_recipient.webhook_always);
    }
    if let Some(probabilities) = probabilities {
        faults.set_probabilities(probabilities);
    }
    if let Some(probabilities) = webhook_probabilities {
        faults.set_webhook_probabilities(probabilities);
    }
    if let Some(count) = order.close_connections {
        faults.close_connections(count);
    }
    Ok(())
}

fn read_shares<F: TryFrom<String>>(shares: &BTreeMap<String, f64>) -> Result<Vec<(F, f64)>, String>
where
    F::Error: ToString,
{
    let read = |(name, share): (&String, &f64)| {
        let fault = F::try_from(name.clone()).map_err(|error| error.to_string())?;
        Ok::<_, String>((fault, *share))
    };
    let read: Vec<_> = shares.iter().map(read).collect::<Result<_, _>>()?;
    check_shares(&read)?;
    Ok(read)
}

/// Refuses shares that are none: each from 0 to 1, all together at most 1.
pub(super) fn check_shares<F>(shares: &[(F, f64)]) -> Result<(), String> {
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    let each = shares.iter().all(|(_, share)| (0.0..=1.0).contains(share));
    if each && total <= 1.0 + 1e-9 {
        return Ok(());
    }
    Err("probabilities are from 0 to 1, and together at most 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_in_a_query_keeps_its_plus() {
        assert_eq!(unescape("+1650"), "+1650");
        assert_eq!(unescape("%2B1650%20x%"), "+1650 x%");
    }

    #[test]
    fn shares_over_one_are_refused() {
        assert!(check_shares(&[((), 0.5), ((), 0.5)]).is_ok());
        assert!(check_shares(&[((), 0.5), ((), 0.6)]).is_err());
        assert!(check_shares(&[((), -0.1)]).is_err());
        assert!(check_shares(&[((), f64::NAN)]).is_err());
    }
}
