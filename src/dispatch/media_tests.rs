use std::fs;

use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::provider::HttpSettings;

const PAYLOAD: &str = r#"{"type":"image","image":{"link":"file:a.jpg"}}"#;

fn sender() -> SenderId {
    SenderId::from("1")
}

fn endpoint() -> Arc<Endpoint> {
    Arc::new(Endpoint::for_tests("http://127.0.0.1/v23.0/1/messages"))
}

/// The files of a folder; the database is never there.
fn media(folder: &TempDir) -> Arc<Media> {
    let nowhere = PgPoolOptions::new().connect_lazy("postgres://nobody@127.0.0.1:1/none");
    let store = Store::over(nowhere.expect("an address"));
    let provider = Provider::new(&HttpSettings::default(), Clock::system()).expect("HTTPS");
    Media::new(Some(folder.path().to_owned()), store, Arc::new(provider))
}

/// Asks at that time until the file has been looked at.
async fn until_ready(media: &Arc<Media>, now: Instant) {
    let endpoint = endpoint();
    while !media.is_ready(&sender(), PAYLOAD, &endpoint, now) {
        tokio::task::yield_now().await;
    }
}

fn refusal(media: &Media) -> String {
    let filled = media
        .fill(&sender(), PAYLOAD, &endpoint())
        .expect("it names a file");
    filled.expect_err("it cannot be used")
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_looked_at_again_a_moment_later() {
    let folder = TempDir::new().expect("a folder");
    let (media, now) = (media(&folder), Instant::now());
    until_ready(&media, now).await;
    assert!(refusal(&media).contains("it cannot be read"));

    fs::write(folder.path().join("a.jpg"), b"").expect("a file");
    until_ready(&media, now).await;
    assert!(refusal(&media).contains("it cannot be read"), "not yet");
    let later = Instant::now() + TRUSTED_FOR;
    let endpoint = endpoint();
    assert!(!media.is_ready(&sender(), PAYLOAD, &endpoint, later));
    let why = refusal(&media);
    assert!(
        why.contains("it cannot be read"),
        "what leaves meanwhile: {why}"
    );
    until_ready(&media, later).await;
    assert!(refusal(&media).contains("it is empty"));
}

#[tokio::test]
async fn a_name_that_nobody_has_looked_at_is_refused_and_does_not_leave() {
    let folder = TempDir::new().expect("a folder");
    let why = refusal(&media(&folder));
    assert!(why.contains("file a.jpg is not uploaded"), "{why}");
}

#[tokio::test]
async fn what_is_known_of_a_file_is_known_of_who_keeps_it_and_of_nobody_else() {
    let folder = TempDir::new().expect("a folder");
    let (media, now) = (media(&folder), Instant::now());
    until_ready(&media, now).await;
    let at = |url| Arc::new(Endpoint::for_tests(url));
    for (url, is_known) in [
        ("http://127.0.0.1/v24.0/1/messages", true),
        ("http://127.0.0.2/v23.0/1/messages", false),
        ("http://127.0.0.1/proxy/v23.0/1/messages", false),
    ] {
        assert_eq!(
            media.is_ready(&sender(), PAYLOAD, &at(url), now),
            is_known,
            "{url}"
        );
    }
}

#[test]
fn a_file_is_unchanged_while_its_length_and_its_time_are_and_it_was_read_lately() {
    let read = Instant::now();
    let known = Stamp {
        bytes: 3,
        changed: Some(SystemTime::UNIX_EPOCH),
        read,
    };
    let later = |bytes, changed, after| {
        let read = read + after;
        let now = Stamp {
            bytes,
            changed,
            read,
        };
        is_unchanged(Some(known), Some(now))
    };
    let (then, soon) = (known.changed, READ_AGAIN_IN - Duration::from_nanos(1));
    assert!(later(3, then, soon));
    assert!(!later(3, then, READ_AGAIN_IN));
    assert!(!later(4, then, soon));
    assert!(!later(3, then.map(|then| then + soon), soon));
    let timeless = Stamp {
        changed: None,
        ..known
    };
    assert!(!is_unchanged(Some(timeless), Some(timeless)));
    assert!(!is_unchanged(None, Some(known)));
    assert!(!is_unchanged(Some(known), None));
}
