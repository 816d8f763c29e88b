//! Decides about a request to send: refuse it, take it, or let a fault have it.
//!
//! The decision is one step without a wait, and the ledger has it before anything of an answer exists. Order of the
//! checks: token, body, limits of the number, then the fault that is due for this recipient.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::callback::News;
use super::door::{Door, authorise, read_at};
use super::entry::{Decision, Entry};
use super::fault::{Fault, WebhookFault};
use super::graph_error::GraphError;
use super::http::{Request, Response};

use super::message::{self, Asked, Dialect};
use super::number::{TooFast, wa_id};
use super::status::{Told, steps};
use super::world::{World, unix_time};

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

/// Decides about a request to send.
pub(super) fn send(world: &World, request: &Request) -> Answer {
    let Door { number, dialect } = Door::at(world, &request.path);
    let (mut asked, verdict) = message::read(&request.body, dialect);
    if let Some(message) = read_at(&request.path) {
        asked.reads = Some(message.to_owned());
    }
    let admitted = authorise(world, request).and(verdict);
    let key = asked.recipient_key();
    let limited = admitted.is_ok() && asked.reads.is_none();
    let at = request.came_at.saturating_duration_since(world.started);
    let pace = world.admit(&number, &key, at, limited);
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
            Fault::ErrorsWith200(code) => {
                let errors = GraphError::of_code(code).on_premises_response();
                let response = Response {
                    status: 200,
                    ..errors
                };
                self.fail(world, fault, 200, Manner::Whole(response))
            }
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
            let done = match self.dialect {
                Dialect::Cloud | Dialect::Marketing => json!({ "success": true }),
                Dialect::OnPremises => json!({ "meta": { "api_status": "stable" } }),
            };
            return (Response::json(200, &done), None);
        }
        let key = self.asked.recipient_key();
        let wamid = self.dialect.id_of(world.next_wamid(&key));
        let told = Told::new(
            wamid.clone(),
            self.number.clone(),
            self.dialect,
            &self.asked,
        );
        let told = Arc::new(told);
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
            Dialect::Cloud | Dialect::Marketing => error.response(index).into(),
            Dialect::OnPremises => error.on_premises_response().into(),
        }
    }

    fn enter(&self, world: &World, decision: Decision, fault: Option<Fault>) -> u64 {
        let entry = world.ledger.enter(Entry {
            index: 0,
            at: self.at,
            unix_ms: unix_time().as_millis() as u64,
            number: self.number.clone(),
            path: self.request.path.clone(),
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
    if !world.callbacks.has_receiver(told.style) {
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

/// What the On-Premises client says of a message that waits (Meta, /v1/messages, "message_status").
const HELD_IN_WORDS: &str = "Message has been held because quality assessment is pending";

/// The 2xx body (Meta, "Messages" reference; the On-Premises client's own).
fn envelope(dialect: Dialect, asked: &Asked, wamid: &str, fault: Option<Fault>) -> Response {
    let mut message = json!({ "id": wamid });
    if dialect == Dialect::OnPremises {
        if fault == Some(Fault::HeldForQuality) {
            message["message_status"] = HELD_IN_WORDS.into();
        }
        let meta = json!({ "api_status": "stable", "version": "2.53" });
        return Response::json(201, &json!({ "messages": [message], "meta": meta }));
    }
    if fault == Some(Fault::HeldForQuality) {
        message["message_status"] = "held_for_quality_assessment".into();
    } else if asked.kind == "template" {
        message["message_status"] = "accepted".into();
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
