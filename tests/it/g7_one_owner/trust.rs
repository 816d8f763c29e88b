//! A worker starts nothing once it cannot know any more that its senders are its own.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wa_outbox::clock::{Clock, Hands};
use wa_outbox::dispatch::departures::Departures;
use wa_outbox::dispatch::ownership::{Holding, Ownership, OwnershipSettings, Trust};
use wa_outbox::domain::id::SenderId;

use super::LONG;
use crate::support::world::{PATIENCE, SENDER, World};

#[tokio::test]
async fn trust_ends_while_a_renewal_hangs() {
    let world = World::at_rest().await;
    let owner = Owner::starts(&world).await;
    owner.until_trusted().await;
    let mut connection = world.connection().await;
    let mut in_the_way = connection.begin().await.expect("a transaction");
    sqlx::query("select from wa.workers for update")
        .execute(&mut *in_the_way)
        .await
        .expect("its row is locked");

    owner.hands.advance(Duration::from_secs(6));
    world.until_waiting_for_locks(1).await;
    assert!(owner.is_trusted(), "the last renewal was 6 s ago");
    owner.hands.advance(Duration::from_secs(8));

    assert!(!owner.is_trusted(), "the last renewal was 14 s ago");
    in_the_way.commit().await.expect("out of the way");
    owner.until_trusted().await;
}

#[tokio::test]
async fn a_worker_whose_row_was_deleted_does_not_wait_for_its_next_renewal() {
    let world = World::at_rest().await;
    let owner = Owner::starts(&world).await;
    world.until_shares_are(&[1]).await;
    let (first_owner, _) = world.lease().await;

    // The owner's clock stands still, so no renewal is ever due.
    world.run_sql("delete from wa.workers").await;

    world.until_shares_are(&[1]).await;
    assert_ne!(world.lease().await.0, first_owner);
    owner.until_trusted().await;
}

#[tokio::test]
async fn trust_counts_from_when_the_renewal_was_sent() {
    let world = World::at_rest().await;
    let owner = Owner::starts(&world).await;
    owner.until_trusted().await;
    let lock = "select from wa.workers for update";
    let mut connection = world.connection().await;
    let mut in_the_way = connection.begin().await.expect("a transaction");
    let locked = sqlx::query(lock).execute(&mut *in_the_way).await;
    locked.expect("its row is locked");
    let before = world.renewed_at().await;

    // Sent after 6 s, answered after 10 s: it is worth 13.5 s (nine tenths of the lease) from 6 s on.
    owner.hands.advance(Duration::from_secs(6));
    world.until_waiting_for_locks(1).await;
    owner.hands.advance(Duration::from_secs(4));
    in_the_way.commit().await.expect("out of the way");
    world
        .until_true("it is renewed", async || world.renewed_at().await > before)
        .await;
    let mut in_the_way = connection.begin().await.expect("a transaction");
    let locked = sqlx::query(lock).execute(&mut *in_the_way).await;
    locked.expect("its row is locked");

    owner.hands.advance(Duration::from_secs(9));
    world.until_waiting_for_locks(1).await;
    assert!(owner.is_trusted(), "after 19 s");
    owner.hands.advance(Duration::from_secs(1));
    assert!(!owner.is_trusted(), "after 20 s");
    in_the_way.commit().await.expect("out of the way");
}

#[tokio::test]
async fn a_sender_is_not_handed_over_before_what_was_begun_has_left() {
    let world = World::at_rest().await;
    let senders = world.add_senders(1).await;
    let mut owner = Owner::starts(&world).await;
    world.until_shares_are(&[2]).await;
    let begun: Vec<_> = senders
        .iter()
        .map(|sender| owner.departures.announce(&SenderId::from(sender.as_str())))
        .collect();
    let before = world.leases().await;

    world.registers("newcomer").await;
    let withdrawn = owner.holding.wait_for(|held| held.senders.len() == 1);
    tokio::time::timeout(PATIENCE, withdrawn)
        .await
        .expect("one is given up")
        .expect("the owner lives");

    for _ in 0..100 {
        assert_eq!(world.leases().await, before, "requests are still to leave");
    }
    drop(begun);
    world.until_shares_are(&[1, 1]).await;
}

#[tokio::test]
async fn a_worker_that_leaves_hands_nothing_over_before_what_was_begun_has_left() {
    let world = World::at_rest().await;
    let mut owner = Owner::starts(&world).await;
    world.until_shares_are(&[1]).await;
    let begun = owner.departures.announce(&SenderId::from(SENDER));
    world.registers("heir").await;
    let before = world.leases().await;

    owner.stop.cancel();
    let withdrawn = owner.holding.wait_for(|held| held.senders.is_empty());
    tokio::time::timeout(PATIENCE, withdrawn)
        .await
        .expect("it is given up")
        .expect("the owner lives");

    for _ in 0..100 {
        assert_eq!(world.leases().await, before, "a request is still to leave");
    }
    drop(begun);
    world
        .until_true("it is given back", async || world.leases().await != before)
        .await;
}

/// The keeper of leases alone, by a clock that the test moves.
struct Owner {
    trust: Arc<Trust>,
    clock: Clock,
    hands: Hands,
    holding: watch::Receiver<Arc<Holding>>,
    departures: Departures,
    stop: CancellationToken,
    release: CancellationToken,
}

impl Owner {
    /// Lease 15 s, renewed every 5 s.
    async fn starts(world: &World) -> Self {
        let (clock, hands) = Clock::movable(time::macros::datetime!(2026-03-01 12:00 UTC));
        let settings = OwnershipSettings {
            name: "owner".to_owned(),
            heartbeat: Duration::from_secs(5),
            lease: Duration::from_secs(15),
            leaves_within: LONG,
        };
        let fingerprints = wa_outbox::domain::hold::FingerprintKey::from_bytes(&[7; 32]);
        let ownership = Ownership::new(world.store.clone(), clock.clone(), fingerprints, settings);
        let trust = ownership.trust();
        let (stop, release) = (CancellationToken::new(), CancellationToken::new());
        let (holding, departures) = (ownership.holding(), ownership.departures());
        tokio::spawn(ownership.run(stop.clone(), release.clone()));
        Self {
            trust,
            clock,
            hands,
            holding,
            departures,
            stop,
            release,
        }
    }

    fn is_trusted(&self) -> bool {
        self.trust.holds_at(self.clock.boot())
    }

    async fn until_trusted(&self) {
        let trusted = async {
            while !self.is_trusted() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, trusted)
            .await
            .expect("it is trusted");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.release.cancel();
    }
}
