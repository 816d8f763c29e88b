//! Against a server that does to a connection whatever networks and servers do to them.

mod answers;
mod connections;
mod lost;
mod not_sent;
mod uploads;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::domain::outcome::{Acceptance, ApiError};
use crate::provider::kind::Envelope;
use crate::provider::wire::{Payload, Recipient};

const ALICE: &str = "+16505551234";

/// What the server saw of one connection, or of all.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    open: watch::Sender<usize>,
    bytes: Mutex<Vec<Vec<u8>>>,
}

impl Seen {
    fn keep(&self, bytes: &[u8]) {
        self.bytes
            .lock()
            .expect("no test panics here")
            .push(bytes.to_vec());
    }

    /// In how many connections or requests this text was seen.
    fn times(&self, text: &str) -> usize {
        let bytes = self.bytes.lock().expect("no test panics here");
        let holds = |seen: &&Vec<u8>| String::from_utf8_lossy(seen).contains(text);
        bytes.iter().filter(holds).count()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn all_connections_ended(&self) {
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open == 0)
            .await
            .expect("the sender lives in self");
    }
}

/// A server that treats every connection in the same way; it ends with the test's runtime.
async fn server<T, F>(treat: T) -> (Endpoint, Arc<Seen>)
where
    T: Fn(TcpStream, Arc<Seen>) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let port = listener.local_addr().expect("is bound").port();
    let seen = Arc::new(Seen::default());
    tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                seen.open.send_modify(|open| *open += 1);
                let treated = treat(stream, Arc::clone(&seen));
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    treated.await;
                    seen.open.send_modify(|open| *open -= 1);
                });
            }
        }
    });
    (
        endpoint(&format!("http://127.0.0.1:{port}/v23.0/1/messages")),
        seen,
    )
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::for_tests(url)
}

fn provider() -> Provider {
    Provider::new(&HttpSettings::default(), Clock::system()).expect("HTTPS can be set up")
}

/// For servers that never answer: a second is more than a connection on this machine takes.
fn impatient() -> Provider {
    let settings = HttpSettings {
        connect_timeout: Duration::from_millis(900),
        response_timeout: Duration::from_secs(1),
        ..HttpSettings::default()
    };
    Provider::new(&settings, Clock::system()).expect("HTTPS can be set up")
}

/// A text that carries `token` and goes to `phone`.
fn text_to<'a>(endpoint: &'a Endpoint, phone: &'a str, token: &str) -> Request<'a> {
    let recipient = Recipient::Phone(phone);
    let payload = Payload::parse(r#"{"type":"text","text":{"body":"Hi"}}"#).expect("is an object");
    Request {
        endpoint,
        target: endpoint.target_of(&payload),
        body: payload.compose(Envelope::Cloud, &recipient, Some(token)),
        expected: Expected::Message(recipient),
    }
}

async fn send(provider: &Provider, endpoint: &Endpoint) -> Outcome {
    provider
        .send(&text_to(endpoint, ALICE, "token-1"), || true)
        .await
        .without_excerpt()
}

/// Reads one whole request, head and body; whatever came if the client went before its end.
async fn read_request(stream: &mut TcpStream) -> Result<Vec<u8>, Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if is_whole(&bytes) {
            return Ok(bytes);
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return Err(bytes),
            Ok(_) => {}
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().expect("is a number"))
}

fn recipient_in(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let (_, rest) = text.split_once(r#""to":""#).expect("a recipient is given");
    rest.split('"').next().unwrap_or_default().to_owned()
}

fn answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An acceptance whose id tells for whom it is.
fn acceptance_of(phone: &str) -> String {
    answer(&format!(
        r#"{{"contacts":[{{"input":"{phone}"}}],"messages":[{{"id":"wamid.{phone}"}}]}}"#
    ))
}

fn accepted_for(phone: &str) -> Outcome {
    Outcome::Accepted(Acceptance {
        wamid: Some(format!("wamid.{phone}").into()),
        http_status: Some(200),
        ..Acceptance::default()
    })
}

/// Answers every request on a connection properly.
async fn accept_all(mut stream: TcpStream, seen: Arc<Seen>) {
    while let Ok(request) = read_request(&mut stream).await {
        seen.keep(&request);
        let answer = acceptance_of(&recipient_in(&request));
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A server that reads one whole request, writes `reply` and closes.
async fn server_that_says(reply: &'static str) -> (Endpoint, Arc<Seen>) {
    server(move |mut stream, seen| async move {
        if let Ok(request) = read_request(&mut stream).await {
            seen.keep(&request);
        }
        // The client may have gone; what it makes of the reply is the test's business.
        let _ = stream.write_all(reply.as_bytes()).await;
    })
    .await
}

const LOST: Outcome = Outcome::Uncertain(Doubt::AnswerLost(LostAnswer::ConnectionLost));
const TIMED_OUT: Outcome = Outcome::Uncertain(Doubt::AnswerLost(LostAnswer::TimedOut));
const UNREADABLE: Outcome = Outcome::Uncertain(Doubt::UnreadableAcceptance {
    http_status: 200,
    excerpt: None,
});
