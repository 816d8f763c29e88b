//! Floods: who proves nothing keeps nobody out.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
#[cfg(target_os = "linux")]
use tokio::process::Command;
use wa_outbox::config::SecretRef;

use crate::support::callbacks::signed_with;
use crate::support::world::{APP_SECRET, World};

/// Meta, "Webhooks": payloads can be up to 3 MB.
const LARGEST: usize = 3 * 1024 * 1024;

async fn connect(world: &World) -> TcpStream {
    let url = world.webhook_url();
    let address = url
        .trim_start_matches("http://")
        .trim_end_matches("/webhook");
    TcpStream::connect(address).await.expect("a connection")
}

async fn status_of(world: &World, length: usize) -> u16 {
    let body = vec![b' '; length];
    let signature = signed_with(APP_SECRET, &body);
    world.post_webhook(body, Some(&signature)).await.status
}

#[tokio::test]
async fn what_is_announced_without_proof_keeps_no_delivery_out() {
    let mut world = World::at_rest().await;
    world.config.webhook.unsigned_secrets = vec![SecretRef::Env("UNSIGNED".to_owned())];
    world.env.insert(
        "UNSIGNED".to_owned(),
        "a secret of the bare ones".to_owned(),
    );
    world.start_service().await;
    let unproved = "sha256=".to_owned() + &"0".repeat(64);
    let signed = format!("X-Hub-Signature-256: {unproved}\r\n");
    let mut clients = Vec::new();
    for (path, proof) in [
        ("/webhook", ""),
        ("/webhook", "X-Hub-Signature-256: sha256=0\r\n"),
        ("/webhook", signed.as_str()),
        ("/webhook/unsigned", "Authorization: Bearer wrong\r\n"),
        ("/webhook/unsigned/wrong", ""),
    ] {
        for length in [
            format!("Content-Length: {LARGEST}\r\n"),
            "Transfer-Encoding: chunked\r\n".to_owned(),
        ] {
            for _ in 0..64 {
                let mut client = connect(&world).await;
                let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{proof}{length}\r\n");
                client.write_all(head.as_bytes()).await.expect("it is sent");
                clients.push(client);
            }
            // The last ones have just said it, and none of them has gone.
            for _ in 0..3 {
                assert_eq!(
                    status_of(&world, LARGEST).await,
                    200,
                    "{path} {proof}{length}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_proved_any_more_is_not_waited_for() {
    let mut world = World::at_rest().await;
    world.config.webhook.unsigned_secrets = vec![SecretRef::Env("UNSIGNED".to_owned())];
    world.env.insert(
        "UNSIGNED".to_owned(),
        "a secret of the bare ones".to_owned(),
    );
    world.start_service().await;
    for (path, proof) in [
        ("/webhook", ""),
        ("/webhook", "X-Hub-Signature-256: sha256=0\r\n"),
        ("/webhook/unsigned", "Authorization: Bearer wrong\r\n"),
        ("/webhook/unsigned/wrong", ""),
    ] {
        let mut client = connect(&world).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\n{proof}Content-Length: {LARGEST}\r\n\r\n{{"
        );
        client.write_all(head.as_bytes()).await.expect("it is sent");
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.expect("an answer");
        // Who is waited for to the end is told 408.
        assert_eq!(&answer, b"HTTP/1.1 401", "{path} {proof}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_shell_that_allows_few_open_files_bounds_nobody() {
    let world = World::at_rest().await;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -S -n 200; exec \"$0\" run"]);
    shell.arg(env!("CARGO_BIN_EXE_wa-outbox"));

    let process = world.spawn_by(shell, "in-a-shell");
    process.until_logged("Running: ").await;

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).expect("limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<&str> = line.expect("the line").split_whitespace().collect();
    assert_ne!(numbers[3], "200", "{limits}");
    assert_eq!(numbers[3], numbers[4], "{limits}");
}
