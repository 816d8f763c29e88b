//! How connections are used: once for a request, again for the next, never after they have lied.

use std::collections::HashMap;

use super::*;

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
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        a_redirect_of_kind_is_not_followed(status).await;
    }
}

async fn a_redirect_of_kind_is_not_followed(status: u16) {
    let (target, seen_there) = server(|_, _| async {}).await;
    let location = target.url.to_string();
    let (endpoint, seen_here) = server(move |mut stream, seen: Arc<Seen>| {
        let reply = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
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
        http_status: Some(status),
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
