//! The doors that messages come through: which provider a path belongs to, and who is let in there.
//!
//! | path | whose |
//! |---|---|
//! | `/v23.0/{number}/messages` | the Cloud API's |
//! | `/v23.0/{number}/marketing_messages` | the same, marketing templates only |
//! | `/messages`, `/{number}/messages` | a provider's that passes Cloud bodies on (360dialog, Service4U) |
//! | `/v1/messages` | the On-Premises client's: a token from `/v1/users/login`, or a provider's key |
//! | `/…/v1/messages` | a provider's that kept the client's answers and statuses, and has a token that lasts (Turn) |

use std::sync::Arc;

use super::graph_error::GraphError;
use super::http::Request;
use super::message::Dialect;
use super::world::World;

/// The beginning of Meta's own access tokens.
const REAL_TOKEN_PREFIX: &str = "EAA";
/// Where the On-Premises client takes messages.
const ON_PREMISES: &str = "/v1/messages";

/// The door that a request came through.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// The business phone number it belongs to.
    pub(super) number: Arc<str>,
    /// What is spoken there.
    pub(super) dialect: Dialect,
}

/// Whether a request is one that sends something, whatever else it is.
pub(super) fn sends(request: &Request) -> bool {
    match request.method.as_str() {
        "POST" => is_door(&request.path),
        "PUT" => read_at(&request.path).is_some(),
        _ => false,
    }
}

/// Whether a path is one that messages are sent to.
pub(super) fn is_door(path: &str) -> bool {
    path.ends_with("/messages") || path.ends_with("/marketing_messages")
}

/// The message that a path of the On-Premises client names, which a `PUT` marks as read.
pub(super) fn read_at(path: &str) -> Option<&str> {
    let id = path.strip_prefix(ON_PREMISES)?.strip_prefix('/')?;
    Some(id).filter(|id| !id.is_empty() && !id.contains('/'))
}

impl Door {
    /// The door at a path.
    pub(super) fn at(world: &World, path: &str) -> Self {
        let (place, last) = path.rsplit_once('/').unwrap_or_default();
        if place.ends_with("/v1") || read_at(path).is_some() {
            return Self {
                number: world.default_number.clone(),
                dialect: Dialect::OnPremises,
            };
        }
        let number = place.rsplit('/').next().unwrap_or_default();
        let names_none = number.is_empty() || is_version(number);
        Self {
            number: match names_none {
                true => world.default_number.clone(),
                false => number.into(),
            },
            dialect: match last {
                "marketing_messages" => Dialect::Marketing,
                _ => Dialect::Cloud,
            },
        }
    }
}

fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether the request may come in.
pub(super) fn authorise(world: &World, request: &Request) -> Result<(), GraphError> {
    let is_metas = request.path.split('/').nth(1).is_some_and(is_version);
    let bearer = request
        .authorization
        .as_deref()
        .map(|value| match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            // Service4U shows requests without the word; Meta takes none.
            None if !is_metas => value,
            Some(_) | None => "",
        });
    let token = bearer.or(request.key.as_deref()).unwrap_or_default();
    if token.is_empty() {
        return Err(GraphError::of_code(104));
    }
    if world.refuse_real_tokens && token.starts_with(REAL_TOKEN_PREFIX) {
        let title =
            "This is a simulator, and this token looks real (EAA…): use one that you made up";
        return Err(GraphError::of_code(190).with_title(title));
    }
    if bearer.is_some() && is_clients(&request.path) {
        let ended = || GraphError::of_code(190).with_title("Invalid or expired token");
        return world
            .sessions()
            .admits(token, world.started.elapsed())
            .then_some(())
            .ok_or_else(ended);
    }
    if !world.tokens.is_empty() && !world.tokens.iter().any(|known| known == token) {
        return Err(GraphError::of_code(190).with_title("Invalid OAuth access token"));
    }
    Ok(())
}

/// Whether a path is the On-Premises client's own, whose tokens come from its login.
fn is_clients(path: &str) -> bool {
    path == ON_PREMISES || path == "/v1/health" || read_at(path).is_some()
}
