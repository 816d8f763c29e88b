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
    while media.ready(&sender(), PAYLOAD, &endpoint, now).is_err() {
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
    assert!(media.ready(&sender(), PAYLOAD, &endpoint, later).is_err());
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
            media.ready(&sender(), PAYLOAD, &at(url), now).is_ok(),
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

fn of(file: &str) -> Key {
    (sender(), endpoint().keeper(), file.to_owned())
}

fn not_now(taught: Outcome) -> MediaError {
    MediaError::NotNow {
        why: "(190) no".to_owned(),
        taught: Some(Box::new(taught)),
    }
}

fn throttled(retry_after: Option<u64>) -> MediaError {
    not_now(Outcome::Throttled {
        scope: crate::domain::outcome::ThrottleScope::Sender,
        retry_after: retry_after.map(Duration::from_secs),
        error: crate::domain::outcome::ApiError::default(),
    })
}

/// A file that is known, is not at hand and is not to be looked at now.
fn known(media: &Media, file: &str, until: Instant) {
    let one = Known {
        found: Found::Nothing,
        until: Some(until),
        stamp: None,
        failures: 0,
        why: None,
    };
    media.known().insert(of(file), one);
}

#[tokio::test]
async fn an_upload_that_fails_again_and_again_is_tried_ever_later_and_its_message_says_why() {
    let folder = TempDir::new().expect("a folder");
    let (media, now) = (media(&folder), Instant::now());
    let endpoint = endpoint();
    known(&media, "a.jpg", now + Duration::from_secs(9));
    let lost = || not_now(Outcome::NotSent(NotSent::NoConnection));
    let put_off = || media.put_off(&of("a.jpg"), &lost(), &endpoint).as_secs();
    let waits: Vec<u64> = (0..10).map(|_| put_off()).collect();
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);

    let wait = media.ready(&sender(), PAYLOAD, &endpoint, now);
    let expected = Wait {
        waiting_for: "the upload of its file: (190) no".to_owned(),
        look_again_in: Duration::from_secs(9),
    };
    assert_eq!(wait, Err(expected));
    assert_eq!(media.lessons().len(), 10);
    assert!(media.lessons().is_empty());
}

#[tokio::test]
async fn a_sender_that_was_told_to_wait_uploads_nothing_until_then() {
    let folder = TempDir::new().expect("a folder");
    let (media, now) = (media(&folder), Instant::now());
    let endpoint = endpoint();
    known(&media, "b.jpg", now);
    let asked = throttled(Some(3_600));
    let wait = media.put_off(&of("b.jpg"), &asked, &endpoint);
    assert_eq!(wait, Duration::from_secs(3_600));
    // It is time for another file, and it is not looked at.
    known(&media, "a.jpg", now);
    assert!(media.ready(&sender(), PAYLOAD, &endpoint, now).is_err());
    assert!(media.known()[&of("a.jpg")].until.is_some());
    let later = now + Duration::from_secs(3_700);
    assert!(media.ready(&sender(), PAYLOAD, &endpoint, later).is_err());
    assert!(media.known()[&of("a.jpg")].until.is_none(), "it is fetched");
}

#[tokio::test]
async fn the_end_of_a_session_delays_no_upload() {
    let folder = TempDir::new().expect("a folder");
    let (media, now) = (media(&folder), Instant::now());
    let endpoint = endpoint();
    known(&media, "a.jpg", now);
    let ended = not_now(Outcome::NotSent(NotSent::SessionEnded));
    let wait = media.put_off(&of("a.jpg"), &ended, &endpoint);
    assert_eq!(wait, Duration::ZERO);
    assert!(media.lessons().is_empty());
}

#[tokio::test]
async fn uploads_of_one_sender_that_hang_are_in_no_others_way() {
    let folder = TempDir::new().expect("a folder");
    let media = media(&folder);
    let turn = |sender: &str| media.turn(Turns::Of(SenderId::from(sender)), AT_ONCE);
    let _hang = [turn("1").await, turn("1").await];
    tokio::select! {
        biased;
        _ = turn("1") => panic!("both turns of this sender are taken"),
        other = turn("2") => assert!(other.is_some()),
    }
}
