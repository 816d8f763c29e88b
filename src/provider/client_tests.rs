//! Against a server that does to a connection whatever networks and servers do to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::domain::outcome::{Acceptance, ApiError, HoldScope};
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
    let mut value = HeaderValue::from_static("Bearer EAAB");
    value.set_sensitive(true);
    Endpoint {
        url: Url::parse(url).expect("is an address"),
        header: AUTHORIZATION,
        value,
    }
}

fn provider() -> Provider {
    Provider::new(&HttpSettings::default()).expect("HTTPS can be set up")
}

/// For servers that never answer: a second is more than a connection on this machine takes.
fn impatient() -> Provider {
    let settings = HttpSettings {
        connect_timeout: Duration::from_millis(900),
        response_timeout: Duration::from_secs(1),
        ..HttpSettings::default()
    };
    Provider::new(&settings).expect("HTTPS can be set up")
}

/// A text that carries `token` and goes to `phone`.
fn text_to<'a>(endpoint: &'a Endpoint, phone: &'a str, token: &str) -> Request<'a> {
    let recipient = Recipient::Phone(phone);
    let payload = Payload::parse(r#"{"type":"text","text":{"body":"Hi"}}"#).expect("is an object");
    Request {
        endpoint,
        body: payload.compose(&recipient, Some(token)),
        expected: Expected::Message(recipient),
    }
}

async fn send(provider: &Provider, endpoint: &Endpoint) -> Outcome {
    provider
        .send(&text_to(endpoint, ALICE, "token-1"), || true)
        .await
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
    body.len()
        >= length
            .and_then(|length| length.parse().ok())
            .expect("a length is given")
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
const UNREADABLE: Outcome = Outcome::Uncertain(Doubt::UnreadableAcceptance { http_status: 200 });

#[tokio::test]
async fn a_request_is_one_plain_post_with_its_credential() {
    let (endpoint, seen) = server(accept_all).await;
    assert_eq!(send(&provider(), &endpoint).await, accepted_for(ALICE));
    assert_eq!(seen.times("POST /v23.0/1/messages HTTP/1.1\r\n"), 1);
    assert_eq!(seen.times("authorization: Bearer EAAB\r\n"), 1);
    assert_eq!(seen.times("content-type: application/json\r\n"), 1);
    assert_eq!(seen.times("user-agent: wa-outbox/"), 1);
    assert_eq!(seen.times("token-1"), 1);
    assert_eq!(seen.times("transfer-encoding"), 0);
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let port = listener.local_addr().expect("is bound").port();
    drop(listener);
    let endpoint = endpoint(&format!("http://127.0.0.1:{port}/"));
    assert_eq!(
        send(&provider(), &endpoint).await,
        Outcome::NotSent(NotSent::NoConnection)
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_proves_that_nothing_was_sent() {
    // RFC 6761: names below .invalid never exist.
    let endpoint = endpoint("https://graph.invalid/");
    assert_eq!(
        send(&provider(), &endpoint).await,
        Outcome::NotSent(NotSent::NoConnection)
    );
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_gets_nothing() {
    let (plain, seen) = server(|mut stream, seen: Arc<Seen>| async move {
        let mut hello = [0; 4096];
        if let Ok(length) = stream.read(&mut hello).await {
            seen.keep(&hello[..length]);
        }
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let endpoint = endpoint(&plain.url.as_str().replace("http:", "https:"));
    assert_eq!(
        send(&provider(), &endpoint).await,
        Outcome::NotSent(NotSent::NoConnection)
    );
    assert_eq!((seen.connections(), seen.times("token-1")), (1, 0));
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_proves_that_nothing_was_sent() {
    let (plain, seen) = server(|mut stream, _| async move {
        while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
    })
    .await;
    let endpoint = endpoint(&plain.url.as_str().replace("http:", "https:"));
    assert_eq!(
        send(&impatient(), &endpoint).await,
        Outcome::NotSent(NotSent::NoConnection)
    );
    assert_eq!(seen.connections(), 1);
}

#[tokio::test]
async fn a_connection_closed_at_once_is_not_sent_or_lost_and_never_accepted() {
    let (endpoint, _) = server(|stream, _| async move { drop(stream) }).await;
    let provider = provider();
    for _ in 0..50 {
        let outcome = send(&provider, &endpoint).await;
        assert!(
            matches!(outcome, Outcome::NotSent(_)) || outcome == LOST,
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_connection_closed_after_a_byte_of_the_body_is_never_called_not_sent() {
    let (endpoint, seen) = server(|mut stream, seen: Arc<Seen>| async move {
        let mut bytes = Vec::new();
        while !String::from_utf8_lossy(&bytes).contains("\r\n\r\n{") {
            if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                return;
            }
        }
        seen.keep(b"a byte of the body");
    })
    .await;
    let provider = provider();
    for _ in 0..50 {
        assert_eq!(send(&provider, &endpoint).await, LOST);
    }
    assert_eq!(seen.times("a byte of the body"), 50);
}

#[tokio::test]
async fn a_request_read_whole_whose_answer_is_lost_is_a_doubt() {
    for reply in [
        "",
        "HTTP/1.1 20",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "garbage\r\n\r\n",
    ] {
        let (endpoint, seen) = server_that_says(reply).await;
        assert_eq!(send(&provider(), &endpoint).await, LOST, "{reply}");
        assert_eq!(seen.times("token-1"), 1);
    }
}

#[tokio::test]
async fn a_reset_after_reading_is_a_doubt() {
    let (endpoint, seen) = server(|mut stream, seen: Arc<Seen>| async move {
        if let Ok(request) = read_request(&mut stream).await {
            seen.keep(&request);
        }
        stream.set_zero_linger().expect("is a socket");
    })
    .await;
    assert_eq!(send(&provider(), &endpoint).await, LOST);
    assert_eq!(seen.times("token-1"), 1);
}

#[tokio::test]
async fn a_server_that_reads_and_never_answers_is_a_doubt() {
    let (endpoint, seen) = server(|mut stream, seen: Arc<Seen>| async move {
        if let Ok(request) = read_request(&mut stream).await {
            seen.keep(&request);
        }
        // Until the client gives up.
        let _ = read_request(&mut stream).await;
    })
    .await;
    assert_eq!(send(&impatient(), &endpoint).await, TIMED_OUT);
    assert_eq!(seen.times("token-1"), 1);
}

#[tokio::test]
async fn an_acceptance_that_breaks_off_is_unreadable() {
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"messages\":[{\"id\":\"wam",
        "HTTP/1.1 200 OK\r\n\r\n{\"messages\":[{\"id\":\"wam",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{\"messages\":[",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK",
    ] {
        let (endpoint, _) = server_that_says(reply).await;
        assert_eq!(send(&provider(), &endpoint).await, UNREADABLE, "{reply}");
    }
}

#[tokio::test]
async fn an_acceptance_that_never_ends_is_unreadable() {
    let (endpoint, _) = server(|mut stream, _| async move {
        let _ = read_request(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")
            .await;
        let _ = read_request(&mut stream).await;
    })
    .await;
    assert_eq!(send(&impatient(), &endpoint).await, UNREADABLE);
}

#[tokio::test]
async fn an_acceptance_of_many_megabytes_is_not_read_on() {
    let (endpoint, _) = server(|mut stream, _| async move {
        let _ = read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
    })
    .await;
    assert_eq!(send(&provider(), &endpoint).await, UNREADABLE);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (target, seen_there) = server(accept_all).await;
    let location = target.url.to_string();
    let (endpoint, seen_here) = server(move |mut stream, seen: Arc<Seen>| {
        let reply = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        );
        async move {
            while let Ok(request) = read_request(&mut stream).await {
                seen.keep(&request);
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        }
    })
    .await;
    let redirected = ApiError {
        http_status: Some(307),
        ..ApiError::default()
    };
    let outcome = send(&provider(), &endpoint).await;
    assert_eq!(outcome, Outcome::Uncertain(Doubt::ServerFailed(redirected)));
    assert_eq!(
        (seen_here.times("token-1"), seen_there.connections()),
        (1, 0)
    );
}

#[tokio::test]
async fn connections_are_used_again() {
    let (endpoint, seen) = server(accept_all).await;
    let provider = provider();
    for _ in 0..20 {
        assert_eq!(send(&provider, &endpoint).await, accepted_for(ALICE));
    }
    assert_eq!(seen.times("token-1"), 20);
    assert!(
        seen.connections() < 20,
        "{} connections",
        seen.connections()
    );
}

#[tokio::test]
async fn after_an_answer_of_another_no_kept_connection_is_used_again() {
    // Each connection answers its first request properly and every later one with somebody else's answer.
    let (endpoint, _) = server(|mut stream, _| async move {
        let mut answer = acceptance_of(ALICE);
        while read_request(&mut stream).await.is_ok() {
            let _ = stream.write_all(answer.as_bytes()).await;
            answer = acceptance_of("+16505550000");
        }
    })
    .await;
    let provider = provider();
    let mut spoilt = 0;
    for _ in 0..50 {
        let outcome = send(&provider, &endpoint).await;
        if outcome == accepted_for(ALICE) {
            continue;
        }
        assert_eq!(outcome, Outcome::Uncertain(Doubt::AnswerOfAnother));
        spoilt += 1;
        // Proper, so it was the first on its connection.
        assert_eq!(send(&provider, &endpoint).await, accepted_for(ALICE));
    }
    assert!(spoilt > 0, "no connection was ever used twice");
}

#[tokio::test]
async fn a_surplus_answer_is_never_taken_for_the_answer_to_another_message() {
    let (endpoint, _) = server(|mut stream, _| async move {
        while let Ok(request) = read_request(&mut stream).await {
            let answer = acceptance_of(&recipient_in(&request)).repeat(2);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let provider = provider();
    for n in 0..500 {
        let phone = format!("+1650555{n:04}");
        let outcome = provider
            .send(&text_to(&endpoint, &phone, "token"), || true)
            .await;
        if let Outcome::Accepted(_) = outcome {
            assert_eq!(outcome, accepted_for(&phone));
        }
    }
}

#[tokio::test]
async fn a_request_that_may_not_leave_makes_no_connection() {
    let (endpoint, seen) = server(accept_all).await;
    let provider = provider();
    let outcome = provider
        .send(&text_to(&endpoint, ALICE, "token-1"), || false)
        .await;
    assert_eq!(outcome, Outcome::NotSent(NotSent::TooLate));
    // The server accepts in order, so a connection made before this one would have been counted.
    assert_eq!(send(&provider, &endpoint).await, accepted_for(ALICE));
    assert_eq!(seen.connections(), 1);
}

#[tokio::test]
async fn a_body_whose_time_has_passed_while_connecting_does_not_leave() {
    let (endpoint, seen) = server(|mut stream, seen: Arc<Seen>| async move {
        match read_request(&mut stream).await {
            Ok(bytes) | Err(bytes) => seen.keep(&bytes),
        }
    })
    .await;
    let asked = AtomicUsize::new(0);
    let only_at_first = move || asked.fetch_add(1, Ordering::SeqCst) == 0;
    let outcome = provider()
        .send(&text_to(&endpoint, ALICE, "token-1"), only_at_first)
        .await;
    assert_eq!(outcome, Outcome::NotSent(NotSent::TooLate));
    assert_eq!(seen.times("token-1"), 0);
}

/// Closes a connection at a random moment of its life, after some proper answers or none.
async fn close_at_random(mut stream: TcpStream, seen: Arc<Seen>) {
    loop {
        if fastrand::u8(..) < 40 {
            return;
        }
        if fastrand::u8(..) < 40 {
            let mut some = vec![0; fastrand::usize(1..600)];
            if let Ok(length) = stream.read(&mut some).await {
                seen.keep(&some[..length]);
            }
            return;
        }
        match read_request(&mut stream).await {
            Ok(request) => {
                seen.keep(&request);
                let answer = acceptance_of(&recipient_in(&request));
                let cut = match fastrand::u8(..) {
                    0..40 => 0,
                    40..80 => fastrand::usize(..answer.len()),
                    _ => answer.len(),
                };
                let sent = stream.write_all(&answer.as_bytes()[..cut]).await;
                if cut < answer.len() || sent.is_err() {
                    return;
                }
            }
            Err(rest) => {
                seen.keep(&rest);
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_reaches_a_server_twice_or_while_called_not_sent() {
    let (endpoint, seen) = server(close_at_random).await;
    let provider = Arc::new(provider());
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..16 {
        let (provider, endpoint) = (Arc::clone(&provider), endpoint.clone());
        senders.spawn(async move {
            let mut outcomes = Vec::new();
            for n in 0..150 {
                let token = format!("token-{sender}-{n}");
                let outcome = provider
                    .send(&text_to(&endpoint, ALICE, &token), || true)
                    .await;
                outcomes.push((token, outcome));
            }
            outcomes
        });
    }
    let outcomes = senders.join_all().await.concat();
    drop(provider);
    seen.all_connections_ended().await;

    let seen = seen.bytes.lock().expect("no test panics here");
    let mut times: HashMap<String, usize> = HashMap::new();
    for request in seen.iter() {
        if let Some(token) = token_in(request) {
            *times.entry(token).or_default() += 1;
        }
    }
    let (mut accepted, mut lost, mut not_sent) = (0, 0, 0);
    for (token, outcome) in outcomes {
        let times = times.get(&token).copied().unwrap_or(0);
        match outcome {
            Outcome::Accepted(_) => {
                accepted += 1;
                assert_eq!(times, 1, "{token} was accepted");
            }
            Outcome::NotSent(_) => {
                not_sent += 1;
                assert_eq!(times, 0, "{token} was called not sent");
            }
            other => {
                lost += 1;
                assert!(times <= 1, "{token} was seen {times} times: {other:?}");
            }
        }
    }
    // A body of which only a part came names no token, so it is counted: no more bodies than were handed over.
    let bodies = seen
        .iter()
        .filter(|request| String::from_utf8_lossy(request).contains("\r\n\r\n{"));
    assert!(bodies.count() <= accepted + lost);
    assert!(
        accepted > 0 && lost > 0,
        "{accepted} accepted, {lost} lost, {not_sent} not sent"
    );
}

/// The token of a request that came whole.
fn token_in(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request);
    let (_, rest) = text.split_once(r#""biz_opaque_callback_data":""#)?;
    rest.split_once(r#""}"#).map(|(token, _)| token.to_owned())
}

#[test]
fn an_answer_before_the_body_was_handed_over_says_nothing_about_the_message() {
    let error = ApiError::default;
    let early = |outcome, whereabouts| unless_never_sent(outcome, whereabouts);
    for outcome in [
        accepted_for(ALICE),
        LOST,
        UNREADABLE,
        Outcome::Rejected(error()),
        Outcome::Uncertain(Doubt::AnswerOfAnother),
    ] {
        assert_eq!(early(outcome.clone(), Whereabouts::HandedOver), outcome);
        let lost = Outcome::NotSent(NotSent::ConnectionLost);
        assert_eq!(early(outcome.clone(), Whereabouts::TakenBack), lost);
        let late = Outcome::NotSent(NotSent::TooLate);
        assert_eq!(early(outcome, Whereabouts::Refused), late);
    }
    let held = Outcome::Held {
        scope: HoldScope::Sender,
        error: error(),
    };
    assert_eq!(early(held.clone(), Whereabouts::TakenBack), held);
}

#[test]
fn timeouts_that_would_blur_a_connection_with_a_lost_answer_are_refused() {
    let settings = HttpSettings {
        connect_timeout: Duration::from_secs(60),
        ..HttpSettings::default()
    };
    let error = Provider::new(&settings).expect_err("is refused");
    assert!(
        error.to_string().contains("connect_timeout (60s)"),
        "{error}"
    );
}

#[tokio::test]
async fn the_text_of_an_error_shows_neither_address_nor_credential() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let port = listener.local_addr().expect("is bound").port();
    drop(listener);
    let endpoint = endpoint(&format!(
        "http://127.0.0.1:{port}/secret/messages?key=secret"
    ));
    let http = http_request(&endpoint, reqwest::Body::from("secret"));
    let client = client(&HttpSettings::default()).expect("HTTPS can be set up");
    let error = client.execute(http).await.expect_err("is refused");
    let text = chain(&error.without_url());
    assert!(text.contains("refused"), "{text}");
    assert!(!text.contains("secret") && !text.contains("EAAB"), "{text}");
}
