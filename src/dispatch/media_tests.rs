use std::fs;
use std::time::SystemTime;

use rustix::io::Errno;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;

use super::file::*;
use super::waiting::*;
use super::*;
use crate::clock::Clock;
use crate::dispatch::sending::LEAVE_WITHIN;
use crate::domain::outcome::ThrottleScope;
use crate::provider::HttpSettings;

const PAYLOAD: &str = r#"{"type":"image","image":{"link":"file:a.jpg"}}"#;

fn sender() -> SenderId {
    SenderId::from("1")
}

fn endpoint() -> Arc<Endpoint> {
    Arc::new(Endpoint::for_tests("http://127.0.0.1/v23.0/1/messages"))
}

/// A folder with a file in it, and not the one that messages name.
fn a_folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("other.jpg"), b"a picture").expect("a file");
    folder
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
    let folder = a_folder();
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
    let folder = a_folder();
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
        is_unchanged(Some(known), now)
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
    assert!(!is_unchanged(Some(timeless), timeless));
    assert!(!is_unchanged(None, known));
}

fn of(file: &str) -> Name {
    (endpoint().keeper(), file.to_owned())
}

fn answered(taught: Outcome) -> MediaError {
    MediaError::NotNow {
        why: "(190) no".to_owned(),
        taught: Some(Box::new(taught)),
    }
}

fn throttled(retry_after: Option<u64>) -> MediaError {
    answered(Outcome::Throttled {
        scope: ThrottleScope::Sender,
        retry_after: retry_after.map(Duration::from_secs),
        error: ApiError::default(),
    })
}

/// A file that is known, is not at hand and is not to be looked at now.
fn known(media: &Media, file: &str, until: Instant) {
    let mut senders = media.senders();
    let files = senders.entry(sender());
    let files = files.or_insert_with(|| Files::of(endpoint(), until));
    files.known.insert(of(file), Known::at(until));
    files.waiting += 1;
}

/// When a file is looked at again; none while it is.
fn until(media: &Media) -> Option<Instant> {
    let until = media.with(&sender(), &of("a.jpg"), |one| one.until);
    until.expect("it is known")
}

#[tokio::test]
async fn an_upload_that_fails_again_and_again_is_tried_ever_later_and_its_message_says_why() {
    let folder = TempDir::new().expect("a folder");
    let (media, now) = (media(&folder), Instant::now());
    let endpoint = endpoint();
    known(&media, "a.jpg", now + Duration::from_secs(9));
    let lost = || answered(Outcome::NotSent(NotSent::NoConnection));
    let put_off = || {
        let wait = media.put_off(&sender(), &of("a.jpg"), &lost(), &endpoint);
        wait.as_secs()
    };
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

/// A file waits for its turn when an upload of another one is answered; when the turn comes, it has been told what that taught.
async fn when_its_turn_comes(media: &Arc<Media>, taught: MediaError) {
    let (now, endpoint) = (Instant::now(), endpoint());
    let turn = || media.turn(Turns::Of(sender()), AT_ONCE);
    let others = [turn().await, turn().await];
    assert!(media.ready(&sender(), PAYLOAD, &endpoint, now).is_err());
    known(media, "b.jpg", now);
    media.put_off(&sender(), &of("b.jpg"), &taught, &endpoint);
    assert_eq!(until(media), None, "it is under way");
    drop(others);
    while until(media).is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_sender_that_was_told_to_wait_uploads_nothing_until_then() {
    let folder = a_folder();
    let media = media(&folder);
    let now = Instant::now();
    when_its_turn_comes(&media, throttled(Some(3_600))).await;
    let again = until(&media).expect("it is not under way");
    assert!(again >= now + Duration::from_secs(3_600));
    // Of another file nothing is remembered.
    let other = PAYLOAD.replace("a.jpg", "c.jpg");
    let wait = media.ready(&sender(), &other, &endpoint(), now);
    let wait = wait.expect_err("it waits");
    assert_eq!(wait.waiting_for, "the upload of its file: (190) no");
    assert!(!media.senders()[&sender()].known.contains_key(&of("c.jpg")));

    let later = now + Duration::from_secs(3_700);
    assert!(media.ready(&sender(), PAYLOAD, &endpoint(), later).is_err());
    assert_eq!(until(&media), None, "it is fetched");
}

#[tokio::test]
async fn a_sender_whose_token_lets_no_file_in_uploads_none_until_that_is_heard_of() {
    let folder = a_folder();
    let media = media(&folder);
    let now = Instant::now();
    let refused = answered(Outcome::Held {
        scope: HoldScope::Sender,
        error: ApiError {
            code: Some(190),
            ..ApiError::default()
        },
    });
    when_its_turn_comes(&media, refused).await;
    let found = media.with(&sender(), &of("a.jpg"), |one| one.is_waiting());
    assert_eq!(found, Some(true), "it was not looked at");

    assert!(media.ready(&sender(), PAYLOAD, &endpoint(), now).is_err());
    assert!(media.senders()[&sender()].is_refused);
    assert_eq!(media.lessons().len(), 1);
    until_ready(&media, Instant::now()).await;
    assert!(refusal(&media).contains("it cannot be read"));
}

#[test]
fn a_file_goes_to_where_its_sender_goes_when_its_turn_has_come() {
    let now = Instant::now();
    let mut files = Files::of(endpoint(), now);
    assert!(files.begins(&of("a.jpg"), now));
    let renewed = endpoint();
    files.endpoint = Arc::clone(&renewed);
    let (goes_to, _) = files.takes_its_turn(&of("a.jpg"), now).expect("its turn");
    assert!(Arc::ptr_eq(&goes_to, &renewed));

    files.endpoint = Arc::new(Endpoint::for_tests("http://127.0.0.2/v23.0/1/messages"));
    assert!(files.takes_its_turn(&of("a.jpg"), now).is_none());
    assert_eq!(files.under_way, 0);
}

#[test]
fn so_many_files_wait_and_others_look_again_the_later_the_more_there_are() {
    let now = Instant::now();
    let mut files = Files::of(endpoint(), now);
    let look = |files: &mut Files, file: usize, now| {
        let name = of(&file.to_string());
        let begins = files.begins(&name, now);
        (
            begins,
            files.ready(&name, now).map_err(|wait| wait.look_again_in),
        )
    };
    let first: Vec<_> = (0..WAIT_AT_MOST)
        .map(|file| look(&mut files, file, now))
        .collect();
    assert!(first.iter().all(|(begins, _)| *begins));
    for round in 1..=3_u32 {
        let others: Vec<_> = (1_000..1_100)
            .map(|file| look(&mut files, file, now))
            .collect();
        assert!(others.iter().all(|(begins, _)| !begins));
        let (_, last) = others.last().expect("there are some");
        assert_eq!(*last, Err(LOOK_AGAIN_IN + BETWEEN_LOOKS * 100 * round));
    }
    assert_eq!(
        (files.known.len(), files.under_way),
        (WAIT_AT_MOST, WAIT_AT_MOST)
    );
    let (_, waits) = look(&mut files, 0, now);
    assert_eq!(waits, Err(LOOK_AGAIN_IN + LATER_FOR_EACH * 100));

    // One that has its id makes room.
    let stamp = Stamp {
        bytes: 3,
        changed: None,
        read: now,
    };
    files.take_in(
        &of("0"),
        Ok(Some(("id".to_owned(), stamp))),
        now + TRUSTED_FOR,
    );
    assert_eq!(look(&mut files, 0, now), (false, Ok(())));
    assert!(look(&mut files, 1_000, now).0);
    assert!(!look(&mut files, 1_001, now).0);
}

#[test]
fn files_that_never_can_be_uploaded_are_not_in_the_way_of_all_others() {
    let now = Instant::now();
    let mut files = Files::of(endpoint(), now);
    for file in 0..WAIT_AT_MOST {
        let name = of(&file.to_string());
        assert!(files.begins(&name, now));
        files.take_in(&name, Err(no_answer()), now + LONGEST_REST);
    }
    assert!(files.begins(&of("a"), now));
    assert!(!files.begins(&of("b"), now), "one at a time");
    assert!(files.begins(&of("b"), now + BETWEEN_CHANGES));
    assert_eq!((files.known.len(), files.under_way), (WAIT_AT_MOST, 2));
}

#[test]
fn what_a_sender_has_is_forgotten_once_it_is_much_and_nobody_asks() {
    let now = Instant::now();
    let mut files = Files::of(endpoint(), now);
    for file in 0..REMEMBERED {
        let mut one = Known::at(now + TRUSTED_FOR);
        one.found = Found::Id(file.to_string());
        files.known.insert(of(&file.to_string()), one);
    }
    assert!(!files.begins(&of("a"), now));
    assert_eq!(files.known.len(), REMEMBERED);
    let later = now + TRUSTED_FOR + LEAVE_WITHIN;
    assert!(files.begins(&of("a"), later));
    assert_eq!(files.known.len(), 1);
}

#[test]
fn only_what_lies_there_fails_a_message_and_no_disturbance_of_the_disk() {
    let says = |error: Errno| unreadable(error.into());
    for error in [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::ISDIR,
        Errno::NAMETOOLONG,
        Errno::LOOP,
    ] {
        assert!(matches!(says(error), MediaError::Unusable(_)), "{error}");
    }
    for error in [
        Errno::MFILE,
        Errno::NFILE,
        Errno::IO,
        Errno::STALE,
        Errno::TIMEDOUT,
        Errno::NOMEM,
        Errno::ACCESS,
        Errno::AGAIN,
    ] {
        assert!(matches!(says(error), MediaError::NotNow { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_file_whose_disk_does_not_answer_is_given_up_and_looked_at_again_only_once_it_has_answered()
 {
    let folder = a_folder();
    let mut media = media(&folder);
    known(&media, "a.jpg", Instant::now());
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let stands_still = move || {
        gate.recv().expect("is opened");
        Ok(None)
    };
    let name = of("a.jpg");
    let within = |media: &mut Arc<Media>, time| {
        Arc::get_mut(media).expect("nobody else has it").read_within = time;
    };
    within(&mut media, Duration::from_millis(20));
    let looked = media.looked(&sender(), &name, stands_still).await;
    within(&mut media, READ_WITHIN);
    let why = looked.err().expect("it does not answer").to_string();
    assert!(why.contains("does not answer"), "{why}");
    let again = media.looked(&sender(), &name, || Ok(None)).await;
    assert!(again.is_err());

    open.send(()).expect("it still reads");
    while media.with(&sender(), &name, |one| one.late.as_mut().is_some_and(hangs)) == Some(true) {
        tokio::task::yield_now().await;
    }
    let answers = media.looked(&sender(), &name, || Ok(None)).await;
    assert!(answers.is_ok());
}

#[tokio::test]
async fn the_end_of_a_session_delays_no_upload() {
    let folder = TempDir::new().expect("a folder");
    let (media, now) = (media(&folder), Instant::now());
    let endpoint = endpoint();
    known(&media, "a.jpg", now);
    let ended = answered(Outcome::NotSent(NotSent::SessionEnded));
    let wait = media.put_off(&sender(), &of("a.jpg"), &ended, &endpoint);
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
