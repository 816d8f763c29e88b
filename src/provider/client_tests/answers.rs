//! What is kept of an answer.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::provider::address::Login;

/// A whole answer with this status and body.
fn reply(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// What a request learns from a server that gives this answer.
async fn learned(status: &str, body: &str) -> Outcome {
    let reply: &'static str = reply(status, body).leak();
    let (endpoint, _) = server_that_says(reply).await;
    send(&provider(), &endpoint).await
}

#[tokio::test]
async fn a_credential_that_an_answer_repeats_is_kept_nowhere() {
    let another = format!("EAAG{}", "Zx9".repeat(60));
    let body = format!(
        r#"{{"error":{{"message":"Malformed access token EAAB\nforged line","code":190,
            "error_data":{{"details":"of {another}: \u001b[2J"}},"fbtrace_id":"EAAB"}}}}"#
    );
    let Outcome::Held { error, .. } = learned("401 Unauthorized", &body).await else {
        panic!("a token that is refused holds");
    };
    assert_eq!(
        error.title.as_deref(),
        Some("Malformed access token [token] forged line")
    );
    assert_eq!(error.details.as_deref(), Some("of [token]:  [2J"));
    assert_eq!(error.fbtrace_id.as_deref(), Some("[token]"));
}

#[tokio::test]
async fn a_credential_that_a_page_repeats_is_kept_nowhere_whatever_is_masked_in_it() {
    for (credential, page, kept) in [
        (
            "4815162342abcdefSECRETPARTxyz",
            "<h1>502</h1> D360-API-KEY: 4815162342abcdefSECRETPARTxyz",
            "<h1>502</h1> D360-API-KEY: [token]",
        ),
        (
            "admin:Correct-horse-9",
            r#"{"auth":"Basic YWRtaW46Q29ycmVjdC1ob3JzZS05","of":"admin","password":"Correct-horse-9"}"#,
            r#"{"auth":"Basic [token]","of":"admin","password":"[token]"}"#,
        ),
    ] {
        let (mut endpoint, _) = server_that_says(reply("502 Bad Gateway", page).leak()).await;
        endpoint.credential = credential.into();
        let request = text_to(&endpoint, ALICE, "token-1");
        let outcome = provider().send(&request, || true).await;
        assert_eq!(outcome.excerpt(), Some(kept));
    }
}

#[tokio::test]
async fn a_login_that_is_refused_tells_neither_its_password_nor_what_it_was_sent_as() {
    let page = "denied: authorization: Basic YWRtaW46Q29ycmVjdC1ob3JzZS05 (admin, Correct-horse-9)";
    let (mut endpoint, _) = server_that_says(reply("401 Unauthorized", page).leak()).await;
    endpoint.credential = "admin:Correct-horse-9".into();
    endpoint.access = Access::Login(Login {
        url: endpoint.url.clone(),
        basic: HeaderValue::from_static("Basic YWRtaW46Q29ycmVjdC1ob3JzZS05"),
    });
    let request = text_to(&endpoint, ALICE, "token-1");
    let outcome = provider().send(&request, || true).await;
    let kept = "denied: authorization: Basic [token] (admin, [token])";
    assert_eq!(outcome.excerpt(), Some(kept));
}

#[tokio::test]
async fn an_acceptance_names_its_recipient_whatever_that_looks_like() {
    let group = "EAgroup7777777777777777777777777";
    let body = format!(r#"{{"contacts":[{{"input":"{group}"}}],"messages":[{{"id":"wamid.A"}}]}}"#);
    let (endpoint, _) = server_that_says(answer(&body).leak()).await;
    let recipient = Recipient::Group(group);
    let request = Request {
        expected: Expected::Message(recipient),
        ..text_to(&endpoint, ALICE, "token-1")
    };
    let outcome = provider().send(&request, || true).await;
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_known_by_its_status_and_a_429_slows_down() {
    let cut = |status: &str| {
        format!("HTTP/1.1 {status}\r\nretry-after: 9\r\ncontent-length: 90\r\n\r\n{{\"error\":")
    };
    let (endpoint, _) = server_that_says(cut("429 Slow").leak()).await;
    let Outcome::Throttled { retry_after, .. } = send(&provider(), &endpoint).await else {
        panic!("a 429 needs no body");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(9)));
    let (endpoint, _) = server_that_says(cut("400 Bad").leak()).await;
    let outcome = send(&provider(), &endpoint).await;
    assert_eq!(outcome.http_status(), Some(400));
    assert!(
        matches!(outcome, Outcome::Uncertain(Doubt::CutOff { .. })),
        "{outcome:?}"
    );
}

/// A server in a thread of its own. It says when it has read a request, and answers it when it is told to.
fn server_apart(
    asked: tokio::sync::oneshot::Sender<()>,
    answer_now: mpsc::Receiver<()>,
    answered: mpsc::Sender<()>,
) -> Endpoint {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("is bound").port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = Vec::new();
        while !is_whole(&request) {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).expect("a request");
            request.extend_from_slice(&bytes[..count]);
        }
        asked.send(()).expect("the test waits");
        answer_now.recv().expect("the test says when");
        let answer = acceptance_of(ALICE);
        stream.write_all(answer.as_bytes()).expect("it listens");
        answered.send(()).expect("the test waits");
        // The connection stays until the test is over.
        let _ = stream.read(&mut [0]);
    });
    endpoint(&format!("http://127.0.0.1:{port}/v23.0/1/messages"))
}

#[tokio::test]
async fn an_answer_that_came_while_the_process_was_frozen_is_heard() {
    let (asked, was_asked) = tokio::sync::oneshot::channel();
    let (answer_now, told) = mpsc::channel();
    let (answered, was_answered) = mpsc::channel();
    let endpoint = server_apart(asked, told, answered);
    let provider = impatient();
    let started = std::time::Instant::now();
    let freeze = async {
        was_asked.await.expect("the request arrives");
        // From here to its end nothing of this runtime runs.
        answer_now.send(()).expect("the server waits");
        was_answered.recv().expect("it answers");
        let deadline = Duration::from_secs(1) + 2 * LATE;
        thread::sleep(deadline.saturating_sub(started.elapsed()));
    };
    let (outcome, ()) = tokio::join!(send(&provider, &endpoint), freeze);
    assert_eq!(outcome, accepted_for(ALICE));
}
