//! Uploads, to a server that answers them as it likes.

use std::io::Write;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::provider::media::{MediaFile, MediaType, UploadError};

fn picture() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("a.jpg");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(b"a picture").expect("it is written");
    (folder, path)
}

async fn upload(provider: &Provider, endpoint: &Endpoint) -> Result<String, UploadError> {
    let (_folder, path) = picture();
    let media_type = MediaType::of_file(&path).expect("a picture");
    let file = MediaFile {
        name: path.file_name().expect("a name"),
        file: std::fs::File::open(&path).expect("it is opened"),
        bytes: 9,
        media_type,
    };
    provider.upload(endpoint, file).await
}

/// Reads the head and the whole body, whatever its length.
async fn read_upload(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}

async fn server_of_uploads(reply: String) -> Endpoint {
    let (endpoint, _) = server(move |mut stream, _| {
        let reply = reply.clone();
        async move {
            read_upload(&mut stream).await;
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    })
    .await;
    endpoint
}

/// What an upload came to, and what it taught.
async fn taught(reply: String) -> (String, Outcome) {
    let endpoint = server_of_uploads(reply).await;
    match upload(&provider(), &endpoint).await {
        Err(UploadError::NotNow { why, taught }) => (why, *taught),
        other => panic!("it was uploaded, or cannot be: {other:?}"),
    }
}

#[tokio::test]
async fn the_id_of_a_file_may_be_a_string_or_a_number() {
    for (body, id) in [
        (r#"{"id":"1013859600285441"}"#, "1013859600285441"),
        (r#"{"id":123456}"#, "123456"),
        (r#"{"media":[{"id":"f043afd0"}]}"#, "f043afd0"),
        (r#"{"media":[{"id":7}]}"#, "7"),
    ] {
        let endpoint = server_of_uploads(answer(body)).await;
        let uploaded = upload(&provider(), &endpoint).await.expect("it is taken");
        assert_eq!(uploaded, id, "{body}");
    }
}

#[tokio::test]
async fn what_is_no_id_names_no_file() {
    let too_long = format!(r#"{{"id":"{}"}}"#, "x".repeat(513));
    for body in [
        r#"{"id":""}"#,
        r#"{"id":null}"#,
        r#"{"id":"12\u000034"}"#,
        r#"{"success":true}"#,
        "<html>",
        &too_long,
    ] {
        let (why, _) = taught(answer(body)).await;
        assert!(why.contains("was not understood"), "{body}: {why}");
    }
}

#[tokio::test]
async fn a_refused_token_and_a_pace_that_is_too_fast_are_told() {
    let error = r#"{"error":{"message":"Malformed access token EAAB","code":190}}"#;
    let (why, outcome) = taught(format!(
        "HTTP/1.1 401 No\r\ncontent-length: {}\r\n\r\n{error}",
        error.len()
    ))
    .await;
    assert_eq!(why, "(190) Malformed access token [token]");
    assert!(matches!(outcome, Outcome::Held { .. }), "{outcome:?}");

    for body in ["content-length: 0\r\n\r\n", "content-length: 9\r\n\r\n{"] {
        let (_, outcome) =
            taught(format!("HTTP/1.1 429 Slow\r\nretry-after: 3600\r\n{body}")).await;
        let Outcome::Throttled { retry_after, .. } = outcome else {
            panic!("a 429 slows down: {outcome:?}");
        };
        assert_eq!(retry_after, Some(Duration::from_secs(3_600)));
    }
}

#[tokio::test]
async fn an_answer_to_an_upload_is_not_read_without_end() {
    let (endpoint, seen) = server(|mut stream, seen: Arc<Seen>| async move {
        read_upload(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
        seen.keep(b"the client has gone");
    })
    .await;
    let uploaded = upload(&provider(), &endpoint).await;
    assert!(matches!(uploaded, Err(UploadError::NotNow { .. })));
    seen.all_connections_ended().await;
    assert_eq!(seen.times("the client has gone"), 1);
}

#[tokio::test]
async fn an_upload_that_nobody_answers_is_given_up_as_a_message_is() {
    let (endpoint, _) = server(|mut stream, _| async move {
        read_upload(&mut stream).await;
        // Until the client gives up.
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    match upload(&impatient(), &endpoint).await {
        Err(UploadError::NotNow { why, .. }) => assert_eq!(why, "no answer came in time"),
        other => panic!("nobody answered: {other:?}"),
    }
}
