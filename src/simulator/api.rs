//! Decides about a request to send: refuse it, take it, or let a fault have it.
//!
//! The decision is one step without a wait, and the ledger has it before anything of an answer exists. Order of the
//! checks: token, body, limits of the number, then the fault that is due for this recipient.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::callback::News;
use super::entry::{Decision, Entry};
use super::fault::{Fault, WebhookFault};
use super::graph_error::GraphError;
use super::http::{Request, Response};

use super::message::{self, Asked, Dialect};
use super::number::{TooFast, wa_id};
use super::status::{Told, steps};
use super::world::{World, unix_time};

/// The beginning of Meta's own access tokens.
const REAL_TOKEN_PREFIX: &str = "EAA";
/// How long a token of the On-Premises client lasts.
const LOGIN_LASTS: time::Duration = time::Duration::days(7);

/// How a request is answered.
#[derive(Debug)]
pub(super) enum Manner {
    Whole(Response),
    /// Answered, and the answer says that the connection ends.
    Last(Response),
    /// Answered as if the connection would last, which it does not.
    LastUnannounced(Response),
    /// The answer breaks off in its body.
    Half(Response),
    /// Closed in place of an answer.
    Close,
    /// Reset in place of an answer.
    Reset,
    /// Never answered.
    Hang,
}

/// An answer and what follows it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) manner: Manner,
    /// Dropped once the answer is out.
    pub(super) news: Option<News>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self {
            manner: Manner::Whole(response),
            news: None,
        }
    }
}

/// A request on its way through the checks.
struct Case<'a> {
    request: &'a Request,
    dialect: Dialect,
    number: Arc<str>,
    asked: Asked,
    at: Duration,
}

/// Whether a path is one that messages are sent to.
pub(super) fn is_send(path: &str) -> bool {
    path.ends_with("/messages")
}

/// Decides about a request to send.
pub(super) fn send(world: &World, request: &Request) -> Answer {
    let (number, dialect) = address(world, &request.path);
    let (asked, verdict) = message::read(&request.body, dialect);
    let admitted = authorise(world, request).and(verdict);
    let key = asked.recipient_key();
    let limited = admitted.is_ok() && asked.reads.is_none();
    let (at, pace) = world.admit(&number, &key, limited);
    let case = Case {
        request,
        dialect,
        number,
        asked,
        at,
    };
    let refusal = admitted.err().or(pace.err().map(|too_fast| match too_fast {
        TooFast::Number => GraphError::of_code(130_429),
        TooFast::Pair => GraphError::of_code(131_056),
    }));
    if let Some(error) = refusal {
        return case.refuse(world, (error, None));
    }
    let fault = world.faults().take(&key);
    match fault {
        Some(fault) => case.suffer(world, fault),
        None => {
            let (response, news) = case.accept(world, None);
            Answer {
                manner: Manner::Whole(response),
                news,
            }
        }
    }
}

/// The number a path speaks of, and the way it is spoken to.
fn address(world: &World, path: &str) -> (Arc<str>, Dialect) {
    if path == "/v1/messages" {
        return (world.default_number.clone(), Dialect::OnPremises);
    }
    let number = path
        .trim_end_matches("/messages")
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let is_version = number
        .strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let number = if number.is_empty() || is_version {
        world.default_number.clone()
    } else {
        number.into()
    };
    (number, Dialect::Cloud)
}

fn authorise(world: &World, request: &Request) -> Result<(), GraphError> {
    let bearer = request
        .authorization
        .as_deref()
        .map(|value| match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
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
    if !world.tokens.is_empty() && !world.tokens.iter().any(|known| known == token) {
        return Err(GraphError::of_code(190).with_title("Invalid OAuth access token"));
    }
    Ok(())
}

impl Case<'_> {
    /// Lets a fault have the request.
    fn suffer(self, world: &World, fault: Fault) -> Answer {
        let graph_error = |code| (GraphError::of_code(code), Some(fault));
        match fault {
            Fault::CloseBeforeReading => self.ignore(world, fault, Manner::Reset),
            Fault::CloseAfterReading => self.ignore(world, fault, Manner::Close),
            Fault::Hang => self.ignore(world, fault, Manner::Hang),
            Fault::AcceptThenDropAnswer => self.accept_then(world, fault, |_| Manner::Close),
            Fault::AcceptThenTruncateAnswer => self.accept_then(world, fault, Manner::Half),
            Fault::AcceptThenAnswerHtml => {
                self.accept_then(world, fault, |_| Manner::Whole(welcome_page()))
            }
            Fault::AcceptThenAnswerWithoutId => {
                self.accept_then(world, fault, |_| Manner::Whole(empty_envelope()))
            }
            Fault::AcceptThenClose => self.accept_then(world, fault, Manner::LastUnannounced),
            Fault::AcceptThenServerError => {
                self.accept_then(world, fault, |_| Manner::Whole(server_error()))
            }
            Fault::AcceptThenGatewayPage => {
                self.accept_then(world, fault, |_| Manner::Last(gateway_page()))
            }
            Fault::AcceptThenHang => self.accept_then(world, fault, |_| Manner::Hang),
            Fault::EchoAnother | Fault::HeldForQuality => {
                self.accept_then(world, fault, Manner::Whole)
            }
            Fault::ServerError => self.fail(world, fault, 500, Manner::Whole(server_error())),
            Fault::GatewayPage => self.fail(world, fault, 502, Manner::Last(gateway_page())),
            Fault::RequestTimeout => self.fail(world, fault, 408, Manner::Last(timeout_page())),
            Fault::TooManyRequests(seconds) => {
                self.fail(world, fault, 429, Manner::Whole(slow_down_page(seconds)))
            }
            Fault::RateLimited => self.refuse(world, graph_error(130_429)),
            Fault::PairLimited => self.refuse(world, graph_error(131_056)),
            Fault::AccountLimited => self.refuse(world, graph_error(80_007)),
            Fault::Error(code) => self.refuse(world, graph_error(code)),
        }
    }

    fn ignore(self, world: &World, fault: Fault, manner: Manner) -> Answer {
        self.enter(world, Decision::Unanswered, Some(fault));
        Answer { manner, news: None }
    }

    fn fail(self, world: &World, fault: Fault, http_status: u16, manner: Manner) -> Answer {
        self.enter(
            world,
            Decision::Refused {
                http_status,
                code: None,
            },
            Some(fault),
        );
        Answer { manner, news: None }
    }

    fn accept_then(
        self,
        world: &World,
        fault: Fault,
        manner: impl FnOnce(Response) -> Manner,
    ) -> Answer {
        let (response, news) = self.accept(world, Some(fault));
        Answer {
            manner: manner(response),
            news,
        }
    }

    /// Takes the message: it gets an id, a line in the ledger, and its news are planned.
    fn accept(self, world: &World, fault: Option<Fault>) -> (Response, Option<News>) {
        if self.asked.reads.is_some() {
            self.enter(world, Decision::Acknowledged, fault);
            return (Response::json(200, &json!({ "success": true })), None);
        }
        let key = self.asked.recipient_key();
        let wamid = world.next_wamid(&key);
        let told = Arc::new(Told::new(wamid.clone(), self.number.clone(), &self.asked));
        self.enter(
            world,
            Decision::Accepted {
                wamid: wamid.clone(),
            },
            fault,
        );
        let response = match fault {
            // The answer to somebody else's request: their recipient, their id.
            Some(Fault::EchoAnother) => {
                let other = "+15550009999";
                let asked = Asked {
                    recipient: other.to_owned(),
                    ..self.asked
                };
                envelope(
                    self.dialect,
                    &asked,
                    &world.next_wamid("15550009999"),
                    fault,
                )
            }
            _ => envelope(self.dialect, &self.asked, &wamid, fault),
        };
        (response, plan(world, told, &key))
    }

    fn refuse(self, world: &World, (error, fault): (GraphError, Option<Fault>)) -> Answer {
        let decision = Decision::Refused {
            http_status: error.http_status,
            code: Some(error.code),
        };
        let index = self.enter(world, decision, fault);
        match self.dialect {
            Dialect::Cloud => error.response(index).into(),
            Dialect::OnPremises => error.on_premises_response().into(),
        }
    }

    fn enter(&self, world: &World, decision: Decision, fault: Option<Fault>) -> u64 {
        let entry = world.ledger.enter(Entry {
            index: 0,
            at: self.at,
            unix_ms: unix_time().as_millis() as u64,
            number: self.number.clone(),
            recipient: self.asked.recipient.clone(),
            kind: self.asked.kind.clone(),
            body: self.request.body.clone(),
            callback_data: self.asked.callback_data.clone(),
            text: self.asked.text.clone(),
            decision,
            fault,
        });
        entry.index
    }
}

fn plan(world: &World, told: Arc<Told>, key: &str) -> Option<News> {
    if !world.callbacks.has_receiver() {
        return None;
    }
    let fault = world.faults().take_webhook(key);
    let steps = steps(&told, &world.statuses(), fault, world.seed);
    Some(
        world
            .callbacks
            .news(told, steps, fault == Some(WebhookFault::Early)),
    )
}

/// The 2xx body (Meta, "Messages" reference; the On-Premises client's own).
fn envelope(dialect: Dialect, asked: &Asked, wamid: &str, fault: Option<Fault>) -> Response {
    let mut message = json!({ "id": wamid });
    if fault == Some(Fault::HeldForQuality) {
        message["message_status"] = "held_for_quality_assessment".into();
    } else if asked.kind == "template" && dialect == Dialect::Cloud {
        message["message_status"] = "accepted".into();
    }
    if dialect == Dialect::OnPremises {
        message["id"] = wamid.trim_start_matches("wamid.").into();
        let meta = json!({ "api_status": "stable", "version": "2.53" });
        return Response::json(201, &json!({ "messages": [message], "meta": meta }));
    }
    let mut contact = json!({ "input": asked.recipient });
    match asked.address {
        message::Address::Phone => contact["wa_id"] = wa_id(&asked.recipient_key()).into(),
        message::Address::User => contact["user_id"] = asked.recipient.as_str().into(),
        message::Address::Group => message["group_id"] = asked.recipient.as_str().into(),
    }
    Response::json(
        200,
        &json!({ "messaging_product": "whatsapp", "contacts": [contact], "messages": [message] }),
    )
}

fn server_error() -> Response {
    Response::json(500, &json!({}))
}

fn empty_envelope() -> Response {
    Response::json(
        200,
        &json!({ "messaging_product": "whatsapp", "messages": [] }),
    )
}

fn welcome_page() -> Response {
    Response::html(200, "<html><body>Welcome</body></html>\n")
}

fn timeout_page() -> Response {
    Response::html(408, "<html><body>408 Request Time-out</body></html>\n")
}

fn slow_down_page(retry_after_s: u32) -> Response {
    let page = Response::html(429, "<html><body>429 Too Many Requests</body></html>\n");
    Response {
        retry_after_s: Some(retry_after_s),
        ..page
    }
}

fn gateway_page() -> Response {
    Response::html(
        502,
        "<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>\n",
    )
}

/// `POST /v1/users/login` of the On-Premises client: name and password for a token.
pub(super) fn login(world: &World, request: &Request) -> Response {
    let basic = request
        .authorization
        .as_deref()
        .and_then(|value| value.strip_prefix("Basic "));
    if basic.is_none_or(|basic| basic.trim().is_empty()) {
        return GraphError::of_code(104).on_premises_response();
    }
    let token = world
        .tokens
        .first()
        .cloned()
        .unwrap_or_else(|| format!("practice-{:016x}", fastrand::u64(..)));
    let ends = OffsetDateTime::UNIX_EPOCH + unix_time() + LOGIN_LASTS;
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]+00:00");
    // A date between 1970 and 9999 can always be written.
    let ends = ends.format(form).unwrap_or_default();
    Response::json(
        200,
        &json!({ "users": [{ "token": token, "expires_after": ends }] }),
    )
}
