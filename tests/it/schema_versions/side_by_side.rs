//! Two programs work one database: this one twice, or, by `scripts/side-by-side REVISION`, another version of it and this one.

use tokio::process::Command;

use crate::support::make::a_text;
use crate::support::world::World;

const SENDERS: usize = 6;

async fn enqueue(world: &World, count: usize) -> Vec<wa_outbox::domain::id::MessageId> {
    let mut ids = Vec::new();
    for number in 0..count {
        let mut draft = a_text().to(&format!("+1650555{number:04}"));
        draft.0.sender = Some(format!("{}", 1 + number % SENDERS));
        if number % 3 == 0 {
            draft = draft.in_sequence("story");
        }
        ids.push(world.enqueue(draft).await);
    }
    ids
}

/// How many senders each worker has.
async fn shares(world: &World) -> Vec<i64> {
    let ask = "select count(*) from wa.leases where worker is not null group by worker order by 1";
    sqlx::query_scalar(ask)
        .fetch_all(&world.database.pool)
        .await
        .expect("the shares")
}

#[tokio::test]
async fn two_versions_share_the_work_and_each_message_is_sent_once() {
    let this = || env!("CARGO_BIN_EXE_wa-outbox").to_owned();
    let other = std::env::var("WA_OUTBOX_OTHER").unwrap_or_else(|_| this());
    let world = World::at_rest().await;
    for sender in 1..=SENDERS {
        world.add_sender(&sender.to_string()).await;
    }
    // Webhooks go to the newer one first, to the older one afterwards.
    let mut command = Command::new(other);
    command.arg("run");
    let old = world.spawn_by(command, "other");
    old.until_logged("Running").await;
    let new = world.start_process("this").await;
    world
        .until_true("both have senders", async || {
            shares(&world).await.len() == 2
        })
        .await;

    let mut written = enqueue(&world, 300).await;
    world.until_all_have_ended().await;
    new.ask_to_stop();
    assert!(new.ended().await.success());
    world
        .until_true("the other has them all", async || {
            shares(&world).await == [SENDERS as i64 + 1]
        })
        .await;
    written.extend(enqueue(&world, 60).await);
    world.until_all_have_ended().await;
    let new = world.start_process("this again").await;
    world
        .until_true("both have senders", async || {
            shares(&world).await.len() == 2
        })
        .await;
    old.ask_to_stop();
    assert!(old.ended().await.success());
    written.extend(enqueue(&world, 60).await);
    world.until_all_have_ended().await;
    world.assert_each_was_accepted_once(&written).await;
    new.ask_to_stop();
    assert!(new.ended().await.success());
}
