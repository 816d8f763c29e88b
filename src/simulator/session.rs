//! What providers answer beside messages: the On-Premises client's login and health, and the Cloud API's account of a number.

use std::collections::HashMap;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::door::authorise;
use super::graph_error::GraphError;
use super::http::{Request, Response};
use super::number::display_phone_number;
use super::world::{World, unix_time};

/// The tokens that the On-Premises client has given out.
#[derive(Debug)]
pub(super) struct Sessions {
    /// When each ends, since the simulator's start.
    live: HashMap<String, Duration>,
    /// How long a token lasts.
    pub(super) lifetime: Duration,
    /// `user:password` that is let in; none means any.
    pub(super) password: Option<String>,
    /// Logins that were answered with a token.
    pub(super) logins: u64,
    /// Logins that were refused.
    pub(super) refused: u64,
}

impl Sessions {
    pub(super) fn new(lifetime: Duration, password: Option<String>) -> Self {
        Self {
            live: HashMap::new(),
            lifetime,
            password,
            logins: 0,
            refused: 0,
        }
    }

    /// Ends every session: their tokens are refused from now on.
    pub(super) fn end_all(&mut self) {
        self.live.clear();
    }

    /// Whether this token's session lasts.
    pub(super) fn admits(&self, token: &str, now: Duration) -> bool {
        self.live.get(token).is_some_and(|ends| now < *ends)
    }

    fn open(&mut self, now: Duration) -> String {
        let token = format!("session-{:016x}", fastrand::u64(..));
        self.live.insert(token.clone(), now + self.lifetime);
        self.logins += 1;
        token
    }
}

/// `POST /v1/users/login` of the On-Premises client: name and password for a token.
pub(super) fn login(world: &World, request: &Request) -> Response {
    let basic = request
        .authorization
        .as_deref()
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|basic| BASE64.decode(basic.trim().as_bytes()).ok())
        .and_then(|plain| String::from_utf8(plain).ok())
        .filter(|plain| {
            plain
                .split_once(':')
                .is_some_and(|(user, _)| !user.is_empty())
        });
    let mut sessions = world.sessions();
    let is_right = match (&basic, &sessions.password) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(given), Some(right)) => given == right,
    };
    if !is_right {
        sessions.refused += 1;
        let error = GraphError::of_code(190).with_details("Invalid user or password.");
        return error.on_premises_response();
    }
    let token = sessions.open(world.started.elapsed());
    let ends = OffsetDateTime::UNIX_EPOCH + unix_time() + sessions.lifetime;
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]+00:00");
    // A date between 1970 and 9999 can always be written.
    let ends = ends.format(form).unwrap_or_default();
    Response::json(
        200,
        &json!({ "users": [{ "token": token, "expires_after": ends }] }),
    )
}

/// `GET /v1/health` of the On-Premises client.
pub(super) fn health(world: &World, request: &Request) -> Response {
    match authorise(world, request) {
        Ok(()) => Response::json(200, &json!({ "health": { "gateway_status": "connected" } })),
        Err(error) => error.on_premises_response(),
    }
}

/// `GET /{version}/{number}` of the Cloud API; `None` if the path is no number's.
pub(super) fn number(world: &World, request: &Request) -> Option<Response> {
    let (version, number) = request.path.strip_prefix('/')?.split_once('/')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !version.starts_with('v') || !is_number {
        return None;
    }
    Some(match authorise(world, request) {
        Ok(()) => Response::json(
            200,
            &json!({
                "id": number,
                "display_phone_number": display_phone_number(number),
                "quality_rating": "GREEN",
                "throughput": { "level": "STANDARD" },
            }),
        ),
        Err(error) => error.response(0),
    })
}
