//! One key for all processes: with another, nobody could read what tells of a lost answer.

use std::collections::BTreeSet;

use wa_outbox::config::SecretRef;
use wa_outbox::service::{Role, Service, ServiceError};
use wa_outbox::simulator::Fault;
use wa_outbox::store::Store;
use wa_outbox::store::uncertain::Finding;

use super::{a_lost_one, a_world_with_a_window_of, run};
use crate::support::world::World;

/// Why a process with a key of its own may not start; none: it was started, and ended again.
async fn refusal(world: &World, role: Role) -> Option<String> {
    let (mut config, mut env) = (world.config.clone(), world.env.clone());
    config.token.key = Some(SecretRef::Env("OTHER_KEY".to_owned()));
    env.insert("OTHER_KEY".to_owned(), "a1".repeat(32));
    let store = Store::over(world.database.pool.clone());
    match Service::start(store, &config, &env, &BTreeSet::from([role])).await {
        Ok(service) => {
            assert!(service.stop().await);
            None
        }
        Err(ServiceError::Store(error)) => {
            let (message, hint) = error.refusal().expect("the schema refuses it");
            Some(format!("{message}; {}", hint.expect("with a fix")))
        }
        Err(other) => panic!("{other}"),
    }
}

/// Time passes without anybody who works.
async fn nobody_works_for_a_minute(world: &World) {
    run(
        world,
        "update wa.webhook_listening set last_said_at = now() - interval '1 minute'",
    )
    .await;
    run(
        world,
        "update wa.token_key_in_use set since = now() - interval '1 minute'",
    )
    .await;
}

#[tokio::test]
async fn a_process_with_another_key_does_not_start_beside_those_that_work() {
    let mut world = World::start().await;
    world
        .until_true("it is known to work", async || {
            world.count("wa.workers").await == 1
        })
        .await;
    for role in [Role::Worker, Role::Webhook] {
        let refusal = refusal(&world, role).await.expect("it is refused");
        assert!(
            refusal.starts_with("token.key: this process has the key with the fingerprint ")
                && refusal.contains(" is running); give all processes the same token.key"),
            "{refusal}"
        );
    }
    // It neither makes tokens nor reads them.
    assert_eq!(refusal(&world, Role::Admin).await, None);

    world.stop_service().await;
    let receives = refusal(&world, Role::Worker).await.expect("it is refused");
    assert!(
        receives.contains("(webhooks are being received)"),
        "{receives}"
    );
    run(&world, "delete from wa.webhook_listening").await;
    let moments = refusal(&world, Role::Worker).await.expect("it is refused");
    assert!(
        moments.contains("has begun to use it this minute)"),
        "{moments}"
    );
}

#[tokio::test]
async fn the_key_is_changed_while_nobody_works_and_no_answer_is_missing() {
    let mut world = a_world_with_a_window_of(3_600).await;
    let id = a_lost_one(&world, Fault::AcceptThenDropAnswer).await;
    world.stop_service().await;
    nobody_works_for_a_minute(&world).await;
    let refusal_of_lost = refusal(&world, Role::Worker).await.expect("it is refused");
    assert!(
        refusal_of_lost.contains("of which 1 have no answer yet"),
        "{refusal_of_lost}"
    );

    let settled = world
        .store
        .resolve(id, &Finding::NotSent, "ann", "looked it up");
    assert!(settled.await.expect("an answer"));
    // Who has just been let in is no worker yet.
    let fingerprint = "select fingerprint from wa.token_key_in_use";
    let fingerprint = world.text(fingerprint).await;
    let let_in = world.store.use_token_key(&fingerprint, "slow to start");
    let_in.await.expect("it is let in");
    let moments = refusal(&world, Role::Worker).await.expect("it is refused");
    assert!(
        moments.contains("(slow to start has begun to use it this minute)"),
        "{moments}"
    );

    nobody_works_for_a_minute(&world).await;
    assert_eq!(refusal(&world, Role::Worker).await, None);
    // Whoever has the old one is now the other.
    nobody_works_for_a_minute(&world).await;
    assert_eq!(refusal(&world, Role::Webhook).await, None);
}
