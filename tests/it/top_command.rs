//! `wa-outbox top` where nobody watches: one table, or one object.

use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

#[tokio::test]
async fn without_a_terminal_it_prints_one_table_and_ends() {
    let world = World::at_rest().await;
    world.enqueue(a_text()).await;
    world.enqueue(a_text()).await;
    for arguments in [["top", "--once"], ["top", "--every=1s"]] {
        let says = world.says(&arguments).await;
        let lines: Vec<&str> = says.lines().collect();
        assert_eq!(
            lines[0],
            "workers 0  senders 1  0/s of 0/s  0 out  2 due  2 queued"
        );
        assert_eq!(lines[1], "uncertain 0  webhooks nobody has listened yet");
        assert!(lines[3].starts_with("SENDER "), "{says}");
        assert!(lines[4].starts_with(SENDER), "{says}");
        assert!(
            lines[4].ends_with("waits for a worker: none runs; start one: wa-outbox run"),
            "{says}"
        );
    }
}

#[tokio::test]
async fn as_json_it_tells_of_a_service_that_runs() {
    let world = World::start().await;
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;
    world
        .until_true("its owner has told how it goes", async || {
            let told = world.says_json(&["top", "--json"]).await;
            told["senders"][0]["standing"]["is_stale"] == false
        })
        .await;
    let told = world.says_json(&["top", "--json"]).await;
    assert_eq!(told["workers"], 1);
    assert_eq!(told["is_listening"], true);
    assert!(told["last_status_at"].is_string(), "{told}");
    assert_eq!(
        (&told["uncertain"], &told["needs_person"]),
        (&0.into(), &0.into())
    );
    let sender = &told["senders"][0];
    assert_eq!(sender["sender"], SENDER);
    assert_eq!(sender["rate_per_second"], 5_000.0);
    assert_eq!(sender["standing"]["doing"], "idle");
}
