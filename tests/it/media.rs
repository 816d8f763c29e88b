//! Files that messages name are uploaded once, and stand in the requests by their ids.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wa_outbox::domain::id::{MessageId, SenderId};
use wa_outbox::simulator::{Settings, Simulator, UploadAnswer};
use wa_outbox::store::sender::SenderChange;

use crate::support::make::{ALICE, BOB, a_message};
use crate::support::provider::{LOGIN, Provided, bsp, on_premises};
use crate::support::world::{SENDER, World, quick_settings};

/// A service whose messages may name the files of a folder.
async fn a_world_with(folder: &Path) -> World {
    let mut config = quick_settings();
    config.media.folder = Some(folder.to_owned());
    World::start_with(config).await
}

fn a_picture(reference: &str) -> Value {
    json!({"type": "image", "image": {"link": reference, "caption": "spring"}})
}

/// What arrived, of all requests, under `image`.
fn images(world: &World) -> Vec<Value> {
    let all = world.simulator.ledger().all();
    let bodies = all.iter().map(|entry| serde_json::from_slice(&entry.body));
    bodies
        .map(|body: Result<Value, _>| body.expect("JSON")["image"].clone())
        .collect()
}

#[tokio::test]
async fn a_file_is_uploaded_anew_once_its_sender_has_moved_to_another_provider() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.jpg"), b"a picture").expect("a file");
    let world = a_world_with(folder.path()).await;
    let picture = || a_message(a_picture("file:a.jpg"));
    let before = world.enqueue(picture()).await;
    world.until_state(before, "accepted").await;
    // As a program of before this wrote it.
    world.run_sql("update wa.media set kept_by = null").await;

    let another = Simulator::start(Settings::default()).await;
    let another = another.expect("another provider");
    let moved = SenderChange {
        base_url: Some(another.base_url()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, moved).await;
    // Until the worker has read that, what it sends goes to where it is known.
    let after = world.enqueue(picture()).await;
    let mut last = world.until_state(after, "accepted").await;
    while another.ledger().request_count() == 0 {
        let next = world.enqueue(picture()).await;
        last = world
            .until(next, "an end", |message| {
                message.state != "queued" && message.state != "sending"
            })
            .await;
    }

    assert_eq!(last.state, "accepted");
    assert_eq!(another.uploads().len(), 1);
}

/// As an older program keeps what was answered with an empty id.
#[tokio::test]
async fn a_file_that_is_known_without_an_id_is_uploaded_anew() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.jpg"), b"a picture").expect("a file");
    let mut world = a_world_with(folder.path()).await;
    for uploads in [1, 2] {
        let message = world.enqueue(a_message(a_picture("file:a.jpg"))).await;
        world.until_state(message, "accepted").await;
        assert_eq!(world.simulator.uploads().len(), uploads);
        assert!(world.stop_service().await);
        world.run_sql("update wa.media set media_id = ''").await;
        world.start_service().await;
    }
}

#[tokio::test]
async fn a_file_is_uploaded_once_however_many_messages_name_it() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.jpg"), b"a picture").expect("a file");
    let world = a_world_with(folder.path()).await;
    let mut messages = Vec::new();
    for to in [ALICE, BOB].into_iter().cycle().take(20) {
        let picture = a_picture("file:a.jpg");
        messages.push(world.enqueue(a_message(picture).to(to)).await);
    }
    for message in messages {
        world.until_state(message, "accepted").await;
    }

    let uploads = world.simulator.uploads();
    assert_eq!(uploads.len(), 1);
    let upload = &uploads[0];
    assert_eq!(&*upload.number, SENDER);
    assert_eq!(upload.media_type, "image/jpeg");
    assert_eq!(upload.content, b"a picture");
    let images = images(&world);
    assert_eq!(images.len(), 20);
    for image in images {
        assert_eq!(image, json!({"id": upload.id, "caption": "spring"}));
    }
}

#[tokio::test]
async fn a_worker_that_comes_later_and_another_name_for_the_same_content_need_no_upload() {
    let folder = TempDir::new().expect("a folder");
    for name in ["a.jpg", "b.JPG"] {
        fs::write(folder.path().join(name), b"a picture").expect("a file");
    }
    let mut world = a_world_with(folder.path()).await;
    let first = world.enqueue(a_message(a_picture("file:a.jpg"))).await;
    world.until_state(first, "accepted").await;
    world.stop_service().await;
    world.start_service().await;
    let second = world.enqueue(a_message(a_picture("file:b.JPG"))).await;
    world.until_state(second, "accepted").await;

    assert_eq!(world.simulator.uploads().len(), 1);
    let images = images(&world);
    assert_eq!(images[0], images[1]);
    let path = folder.path().join("a.jpg");
    let path = path.to_str().expect("a path");
    let says = world.says(&["media", "upload", path]).await;
    assert_eq!(says.trim(), world.simulator.uploads()[0].id);
    assert_eq!(world.simulator.uploads().len(), 1);
    let listed = world.says(&["media", "list"]).await;
    assert!(listed.contains("image/jpeg"), "{listed}");
}

#[tokio::test]
async fn each_kind_of_provider_takes_files_as_it_wants_them() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.pdf"), b"a catalog").expect("a file");
    let mut config = quick_settings();
    config.media.folder = Some(folder.path().to_owned());
    let providers = [bsp("/messages"), bsp("/turn/v1/messages"), on_premises()];
    for settings in providers {
        let provider = (settings.provider.clone(), settings.path.clone());
        let mut world = Provided::at_rest_with(config.clone(), settings, LOGIN).await;
        world.start_service().await;
        let catalog = json!({"type": "document", "document": {"id": "file:a.pdf"}});
        let message = world.enqueue(a_message(catalog)).await;
        world.until_state(message, "accepted").await;

        let uploads = world.simulator.uploads();
        assert_eq!(uploads.len(), 1, "{provider:?}");
        assert_eq!(uploads[0].media_type, "application/pdf");
        assert_eq!(uploads[0].content, b"a catalog");
        let entry = world.simulator.ledger().all().remove(0);
        let body: Value = serde_json::from_slice(&entry.body).expect("JSON");
        assert_eq!(body["document"]["id"], json!(uploads[0].id));
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_sent_fails_its_message_with_the_reason_and_without_a_request() {
    let outside = TempDir::new().expect("a folder");
    fs::write(outside.path().join("secret.jpg"), b"a secret").expect("a file");
    let folder = TempDir::new().expect("a folder");
    let secret = outside.path().join("secret.jpg");
    std::os::unix::fs::symlink(&secret, folder.path().join("link.jpg")).expect("a link");
    fs::write(folder.path().join("notes.exe"), b"?").expect("a file");
    fs::write(folder.path().join("empty.png"), b"").expect("a file");
    for pipe in ["pipe.png", "another.png"] {
        let made = Command::new("mkfifo")
            .arg(folder.path().join(pipe))
            .status();
        assert!(made.expect("mkfifo runs").success());
    }
    let long = fs::File::create(folder.path().join("long.png")).expect("a file");
    long.set_len(5 * 1024 * 1024 + 1).expect("a long file");
    let world = a_world_with(folder.path()).await;
    let absolute = format!("file:{}", secret.display());
    for (reference, why) in [
        ("file:pipe.png", "no ordinary file"),
        ("file:another.png", "no ordinary file"),
        ("file:missing.jpg", "it cannot be read"),
        ("file:link.jpg", "outside the folder"),
        (absolute.as_str(), "outside the folder"),
        ("file:../x.jpg", "it cannot be read"),
        (
            "file:notes.exe",
            "WhatsApp takes no such files; it takes: aac",
        ),
        ("file:empty.png", "it is empty"),
        ("file:long.png", "more than 5242880 bytes"),
    ] {
        let message = world.enqueue(a_message(a_picture(reference))).await;
        let message = world.until_state(message, "failed").await;
        let says = message.error_message.unwrap_or_default();
        assert!(says.contains(why), "{reference}: {says}");
    }
    assert_eq!(world.requests(), 0);
    assert!(world.simulator.uploads().is_empty());
}

#[tokio::test]
async fn without_a_folder_messages_may_name_no_files() {
    let world = World::start().await;
    let message = world.enqueue(a_message(a_picture("file:a.jpg"))).await;
    let message = world.until_state(message, "failed").await;
    let says = message.error_message.unwrap_or_default();
    assert!(says.contains("set media.folder"), "{says}");
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn while_a_file_cannot_be_uploaded_its_message_waits_and_others_leave() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.jpg"), b"a picture").expect("a file");
    let world = a_world_with(folder.path()).await;
    world.simulator.refuse_uploads(true);
    let waits = world.enqueue(a_message(a_picture("file:a.jpg"))).await;
    world
        .until(waits, "wait for its file", |message| {
            let waits_for = message.waiting_for.as_deref().unwrap_or_default();
            waits_for.starts_with("the upload of its file: ") && waits_for.contains("131016")
        })
        .await;
    let other = world.enqueue(crate::support::make::a_text().to(BOB)).await;
    world.until_state(other, "accepted").await;

    world.simulator.refuse_uploads(false);
    world.until_state(waits, "accepted").await;
}

#[tokio::test]
async fn while_nothing_is_in_the_folder_that_a_file_should_lie_in_its_message_waits_for_a_mount() {
    let folder = TempDir::new().expect("a folder");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let world = a_world_with(folder.path()).await;
    let picture = a_message(a_picture("file:disk/spring/a.jpg"));
    let waits = world.enqueue(picture).await;
    world
        .until(waits, "wait for its file", |message| {
            let waits_for = message.waiting_for.as_deref().unwrap_or_default();
            waits_for.contains("disk is empty; see that its disk is mounted")
        })
        .await;

    fs::create_dir(disk.join("spring")).expect("a folder");
    fs::write(disk.join("spring/a.jpg"), b"a picture").expect("a file");
    world.until_state(waits, "accepted").await;
}

/// Between the look for an earlier upload and the upload itself.
#[tokio::test]
async fn a_file_that_is_changed_while_it_is_uploaded_is_not_kept_for_what_it_was() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("a.jpg");
    fs::write(&path, b"a picture").expect("a file");
    let mut config = quick_settings();
    config.media.folder = Some(folder.path().to_owned());
    config.database.lock_timeout = Duration::from_secs(60);
    let world = World::start_with(config).await;
    let mut tables = world.database.pool.begin().await.expect("a transaction");
    sqlx::query("lock table wa.media in access exclusive mode")
        .execute(&mut *tables)
        .await
        .expect("it is locked");
    let message = world.enqueue(a_message(a_picture("file:a.jpg"))).await;
    world
        .until_true("somebody looks for an earlier upload", async || {
            let waits = "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%from wa.media%'";
            world.count(waits).await > 0
        })
        .await;
    fs::write(&path, b"a puzzle!").expect("it is changed");
    tables.commit().await.expect("it is unlocked");

    world.until_state(message, "accepted").await;
    let uploads = world.simulator.uploads();
    assert_eq!(uploads.len(), 2);
    assert_eq!(world.count("wa.media").await, 1);
    assert_eq!(images(&world)[0]["id"], json!(uploads[1].id));
    let first = "wa.media where content = sha256('a picture')";
    assert_eq!(world.count(first).await, 0);
}

#[tokio::test]
async fn a_worker_whose_folder_of_files_is_not_there_does_not_start() {
    let world = World::at_rest().await;
    let missing = [("WA_OUTBOX__MEDIA__FOLDER", "/nowhere/at/all")];
    let process = world.spawn_process_with("without-files", &world.database.url, &missing);
    process.until_logged("media.folder = /nowhere/at/all").await;
    assert_eq!(process.ended().await.code(), Some(64));
}

#[tokio::test]
async fn a_number_in_the_answer_to_an_upload_is_masked_in_the_log() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.jpg"), b"a picture").expect("a file");
    let world = World::at_rest().await;
    world.simulator.answer_uploads(Some(UploadAnswer {
        status: 400,
        retry_after_s: None,
        body: r#"{"error":{"message":"Nothing for +16505551234","code":100}}"#.to_owned(),
    }));
    let path = folder.path().to_str().expect("a path");
    let files = [("WA_OUTBOX__MEDIA__FOLDER", path)];
    let process = world.spawn_process_with("with-files", &world.database.url, &files);
    world.enqueue(a_message(a_picture("file:a.jpg"))).await;
    process.until_logged("Nothing for +165…34").await;
    assert_eq!(process.count_logged("16505551234"), 0);
}

/// A service whose message waits for a file that the provider answers like this.
async fn a_message_whose_upload_is_answered(
    folder: &Path,
    status: u16,
    retry_after_s: Option<u32>,
    body: &str,
) -> (World, MessageId) {
    fs::write(folder.join("a.jpg"), b"a picture").expect("a file");
    let world = a_world_with(folder).await;
    world.simulator.answer_uploads(Some(UploadAnswer {
        status,
        retry_after_s,
        body: body.to_owned(),
    }));
    let waits = world.enqueue(a_message(a_picture("file:a.jpg"))).await;
    (world, waits)
}

#[tokio::test]
async fn a_token_that_lets_no_file_in_holds_its_sender() {
    let folder = TempDir::new().expect("a folder");
    let refused =
        r#"{"error":{"message":"Malformed access token EAABEAABEAABEAABEAABEAABEAAB","code":190}}"#;
    let (world, waits) =
        a_message_whose_upload_is_answered(folder.path(), 401, None, refused).await;
    let holds = async || {
        let senders = [SenderId::from(SENDER)];
        world.store.sender_holds(&senders).await.expect("the holds")
    };
    world
        .until_true("the sender is held", async || !holds().await.is_empty())
        .await;
    let hold = holds().await.remove(0);
    assert_eq!((hold.cause.as_str(), hold.code), ("token", Some(190)));
    assert_eq!(hold.reason, "(190) Malformed access token [token]");
    assert_eq!(world.message(waits).await.state, "queued");
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn a_provider_that_wants_no_files_for_now_gets_none_and_messages_go_on() {
    let folder = TempDir::new().expect("a folder");
    let (world, waits) =
        a_message_whose_upload_is_answered(folder.path(), 429, Some(3_600), "").await;
    fs::write(folder.path().join("b.jpg"), b"another picture").expect("a file");
    world
        .until(waits, "say why its file is not there", |message| {
            let waits_for = message.waiting_for.as_deref().unwrap_or_default();
            waits_for.contains("HTTP 429")
        })
        .await;
    let second = world.enqueue(a_message(a_picture("file:b.jpg"))).await;
    let text = world.enqueue(crate::support::make::a_text().to(BOB)).await;
    world.until_state(text, "accepted").await;
    world
        .until(second, "wait for its file", |message| {
            message.waiting_for.is_some()
        })
        .await;
    assert_eq!(world.simulator.upload_requests(), 1);
}

#[tokio::test]
async fn what_waits_for_its_turn_while_a_provider_says_that_it_wants_no_files_is_not_sent_to_it() {
    let folder = TempDir::new().expect("a folder");
    let world = a_world_with(folder.path()).await;
    world.simulator.answer_uploads(Some(UploadAnswer {
        status: 429,
        retry_after_s: Some(3_600),
        body: String::new(),
    }));
    let mut messages = Vec::new();
    for file in 0..20 {
        let name = format!("{file}.jpg");
        fs::write(folder.path().join(&name), name.as_bytes()).expect("a file");
        let picture = a_picture(&format!("file:{name}"));
        messages.push(world.enqueue(a_message(picture)).await);
    }
    for message in messages {
        world
            .until(message, "say why its file is not there", |message| {
                let waits_for = message.waiting_for.as_deref().unwrap_or_default();
                waits_for.contains("HTTP 429")
            })
            .await;
    }
    // Two are uploaded at once.
    assert!(world.simulator.upload_requests() <= 2);
}

#[tokio::test]
async fn an_upload_without_an_id_is_none() {
    let folder = TempDir::new().expect("a folder");
    let (world, waits) =
        a_message_whose_upload_is_answered(folder.path(), 200, None, r#"{"id":""}"#).await;
    world
        .until(waits, "say why its file is not there", |message| {
            let waits_for = message.waiting_for.as_deref().unwrap_or_default();
            waits_for.contains("the answer was not understood")
        })
        .await;
    assert_eq!(world.count("wa.media").await, 0);
    world.simulator.answer_uploads(None);
    world.until_state(waits, "accepted").await;
    assert_eq!(
        images(&world)[0]["id"],
        json!(world.simulator.uploads()[0].id)
    );
}
