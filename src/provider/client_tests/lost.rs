//! What leaves a doubt.

use super::*;

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
async fn an_acceptance_of_more_than_a_megabyte_is_unreadable() {
    let (endpoint, _) = server(|mut stream, _| async move {
        let _ = read_request(&mut stream).await;
        let rest = " ".repeat(LONGEST_ANSWER);
        let reply = answer(&format!(r#"{{"messages":[{{"id":"wamid.A"}}]{rest}}}"#));
        let _ = stream.write_all(reply.as_bytes()).await;
    })
    .await;
    assert_eq!(send(&provider(), &endpoint).await, UNREADABLE);
}

#[tokio::test]
async fn an_acceptance_without_end_is_not_read_on() {
    let (endpoint, _) = server(|mut stream, _| async move {
        let _ = read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
    })
    .await;
    assert_eq!(send(&provider(), &endpoint).await, UNREADABLE);
}
