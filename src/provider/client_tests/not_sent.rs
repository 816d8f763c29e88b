//! What counts as proof that nothing was sent.

use super::*;
use crate::domain::outcome::HoldScope;

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

#[tokio::test]
async fn a_body_that_nobody_asks_for_is_taken_back_without_waiting_for_an_answer() {
    let (_body, recall) = RevocableBody::new(Bytes::from_static(b"{}"), || true);
    let now = Instant::now();
    let an_hour_later = now + Duration::from_secs(3_600);
    let never = std::pin::pin!(std::future::pending::<()>());
    assert_eq!(head(never, &recall, now, an_hour_later).await, None);
    assert_eq!(recall.take_back(), Whereabouts::TakenBack);
}

#[test]
fn timeouts_that_would_blur_a_connection_with_a_lost_answer_are_refused() {
    let settings = HttpSettings {
        connect_timeout: Duration::from_secs(60),
        ..HttpSettings::default()
    };
    let error = Provider::new(&settings, Clock::system()).expect_err("is refused");
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
    let way_in = provider().way_in(&endpoint).await.expect("needs no login");
    let payload = Payload::parse("{}").expect("is an object");
    let target = endpoint.target_of(&payload);
    let http = http_request(&target, &way_in, reqwest::Body::from("secret"));
    let client = &way_in.pool.client;
    let error = client.execute(http).await.expect_err("is refused");
    let text = chain(&error.without_url());
    assert!(text.contains("refused"), "{text}");
    assert!(!text.contains("secret") && !text.contains("EAAB"), "{text}");
}
