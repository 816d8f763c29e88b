//! G7, one owner: a sender is worked by one process at a time, all processes work equally many, and whoever was cut off can
//! start nothing once its sender is another's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio_util::sync::CancellationToken;
use wa_outbox::clock::{Clock, Hands};
use wa_outbox::dispatch::ownership::{Ownership, OwnershipSettings, Trust};
use wa_outbox::domain::id::{Epoch, MessageId, SenderId};
use wa_outbox::service::Service;
use wa_outbox::simulator::Statuses;
use wa_outbox::store::claim::{Begun, Claim};
use wa_outbox::store::lease::{HandOver, WorkerId};

use crate::support::make::{Draft, a_text};
use crate::support::world::{SENDER, World, quick_settings};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

// ── sharing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn workers_share_senders_evenly_as_they_come_and_go() {
    let world = World::at_rest().await;
    world.add_senders(11).await;
    let first = world.another_service().await;
    world.until_shares_are(&[12]).await;

    let second = world.another_service().await;
    let third = world.another_service().await;
    world.until_shares_are(&[4, 4, 4]).await;

    let fourth = world.another_service().await;
    world.until_shares_are(&[3, 3, 3, 3]).await;

    assert!(second.stop().await);
    world.until_shares_are(&[4, 4, 4]).await;
    stop_all([first, third, fourth]).await;
    assert_eq!(
        world.count("wa.leases where worker is not null").await,
        0,
        "nobody is there to hand over to"
    );
}

#[tokio::test]
async fn what_is_shared_evenly_stays_where_it_is() {
    let world = World::at_rest().await;
    // Eleven, so that not all can have the same number.
    world.add_senders(10).await;
    let services = [
        world.another_service().await,
        world.another_service().await,
        world.another_service().await,
    ];
    world.until_shares_are(&[3, 4, 4]).await;
    let before = world.leases().await;

    for _ in 0..4 {
        world.until_every_worker_has_renewed().await;
    }

    assert_eq!(world.leases().await, before);
    stop_all(services).await;
}

#[tokio::test]
async fn a_leaving_worker_s_senders_go_directly_to_those_who_stay() {
    let world = World::at_rest().await;
    world.add_senders(5).await;
    let staying = [world.another_service().await, world.another_service().await];
    world.until_shares_are(&[3, 3]).await;
    let leaving = world.another_service().await;
    world.until_shares_are(&[2, 2, 2]).await;
    let before = world.leases().await;

    assert!(leaving.stop().await);

    // The stop is over when they are handed over: nothing is waited for here.
    assert_eq!(world.shares().await, [3, 3]);
    let mut moved = 0;
    for (sender, (worker, epoch)) in world.leases().await {
        let (old_worker, old_epoch) = before[&sender];
        // Given back and taken by another would be two changes.
        let changes = i64::from(worker != old_worker);
        assert_eq!(epoch.0 - old_epoch.0, changes, "sender {sender}");
        moved += changes;
    }
    assert_eq!(moved, 2);
    stop_all(staying).await;
}

#[tokio::test]
async fn a_sender_is_handed_over_while_its_last_request_still_waits_for_its_answer() {
    let mut config = quick_settings();
    config.http.response_timeout = Duration::from_secs(60);
    config.worker.shutdown = Some(Duration::from_secs(60));
    let world = World::at_rest_with(config).await;
    world
        .simulator
        .set_latency(Duration::from_secs(4), Duration::ZERO);
    let leaving = world.another_service().await;
    world.until_shares_are(&[1]).await;
    let staying = world.another_service().await;
    let message = world.enqueue(a_text()).await;
    world.simulator.ledger().wait_for_requests(1).await;
    let (first_owner, _) = world.lease().await;

    let stopped = tokio::spawn(leaving.stop());
    world
        .until_true("the sender has another owner", async || {
            world.lease().await.0 != first_owner
        })
        .await;

    assert_eq!(
        world.count("wa.queue where state = 'sending'").await,
        1,
        "its answer is still to come"
    );
    assert!(stopped.await.expect("it stops"));
    assert_eq!(
        world.state_of(message).await,
        "accepted",
        "who has handed a sender over still writes what it is owed"
    );
    assert_eq!(world.simulator.ledger().request_count(), 1);
    stop_all([staying]).await;
}

#[tokio::test]
async fn a_killed_worker_s_senders_are_taken_and_shared() {
    let world = World::at_rest().await;
    world.add_senders(5).await;
    let killed = world.start_process("killed").await;
    world.until_shares_are(&[6]).await;
    let services = [world.another_service().await, world.another_service().await];
    world.until_shares_are(&[2, 2, 2]).await;
    let before = world.leases().await;
    let dead = world.worker_named("killed").await;

    killed.kill().await;

    world.until_shares_are(&[3, 3]).await;
    for (sender, (worker, epoch)) in world.leases().await {
        let (old_worker, old_epoch) = before[&sender];
        assert_ne!(worker, Some(dead));
        if old_worker == Some(dead) {
            assert!(epoch > old_epoch, "sender {sender}");
        } else {
            assert_eq!((worker, epoch), before[&sender], "sender {sender}");
        }
    }
    stop_all(services).await;
}

#[tokio::test]
async fn the_share_of_a_worker_that_does_not_take_it_goes_to_another() {
    let world = World::at_rest().await;
    world.add_senders(3).await;
    let store = &world.store;
    let _silent = world.registers("silent").await;
    let awake = world.registers("awake").await;

    let first = store.take_share(awake, LONG).await.expect("a look");
    let second = store.take_share(awake, LONG).await.expect("a look");
    let rest = store.take_senders(awake).await.expect("a look");

    assert_eq!((first.taken, first.left_over), (2, 2));
    assert_eq!((second.taken, second.left_over), (0, 2));
    assert_eq!(rest, 2);
}

#[tokio::test]
async fn a_worker_that_is_late_is_handed_nothing() {
    let world = World::at_rest().await;
    world.add_senders(1).await;
    let store = &world.store;
    let busy = world.registers("busy").await;
    assert_eq!(store.take_senders(busy).await.expect("a look"), 2);
    let late = world.registers("late").await;
    assert_eq!(world.plan_of(busy).await.len(), 1);

    world
        .run_sql(&format!(
            "update wa.workers set renewed_at = now() - interval '1 h' where worker = {}",
            late.0
        ))
        .await;

    assert_eq!(world.plan_of(busy).await, []);
}

#[tokio::test]
async fn two_that_hand_over_at_once_do_not_fill_the_same_place() {
    let world = World::at_rest().await;
    world.add_senders(11).await;
    let store = &world.store;
    let one = world.registers("one").await;
    assert_eq!(store.take_senders(one).await.expect("a look"), 12);
    let two = world.registers("two").await;
    store
        .hand_over(one, &world.plan_of(one).await)
        .await
        .expect("given");
    for name in ["three", "four"] {
        world.registers(name).await;
    }

    let (from_one, from_two) = (world.plan_of(one).await, world.plan_of(two).await);
    let given = store.hand_over(one, &from_one).await.expect("given")
        + store.hand_over(two, &from_two).await.expect("given");

    assert_eq!(given, 6);
    assert_eq!(world.shares().await, [3, 3, 3, 3]);
}

#[tokio::test]
async fn a_receiver_is_called() {
    let world = World::at_rest().await;
    let store = &world.store;
    let mut calls = PgListener::connect_with(&world.database.pool)
        .await
        .expect("a connection that listens");
    calls.listen("wa_outbox_lease").await.expect("it listens");
    let [giver, receiver] = [
        world.registers("giver").await,
        world.registers("receiver").await,
    ];
    store.take_senders(giver).await.expect("a look");

    world.hands_over(giver, receiver).await;
    assert_eq!(
        calls.recv().await.expect("a call").payload(),
        receiver.0.to_string()
    );

    store.hand_over_all(receiver, LONG).await.expect("given");
    assert_eq!(
        calls.recv().await.expect("a call").payload(),
        giver.0.to_string()
    );
}

#[tokio::test]
async fn nothing_is_handed_to_a_worker_that_leaves() {
    let world = World::at_rest().await;
    let store = &world.store;
    let [giver, leaving] = [
        world.registers("giver").await,
        world.registers("leaving").await,
    ];
    store.take_senders(giver).await.expect("a look");
    let (_, epoch) = world.lease().await;
    store.hand_over_all(leaving, LONG).await.expect("nothing");

    let plan = [HandOver {
        sender: SenderId::from(SENDER),
        epoch,
        receiver: leaving,
    }];
    let by_an_old_plan = store.hand_over(giver, &plan).await.expect("an answer");
    let by_leaving = store.hand_over_all(giver, LONG).await.expect("an answer");

    assert_eq!(by_an_old_plan, 0);
    assert_eq!((by_leaving.given, by_leaving.freed), (0, 1));
}

// ── the fence ────────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn nothing_begins_under_an_epoch_that_is_over() {
    let world = World::at_rest().await;
    let store = &world.store;
    let [old, new] = [world.registers("old").await, world.registers("new").await];
    store.take_senders(old).await.expect("a look");
    let (_, before) = world.lease().await;
    let message = world.enqueue(a_text()).await;

    world.hands_over(old, new).await;

    let (owner, after) = world.lease().await;
    assert_eq!((owner, after), (Some(new), Epoch(before.0 + 1)));
    assert_eq!(world.begins(old, message, before).await.len(), 0);
    assert_eq!(world.begins(old, message, after).await.len(), 0);
    assert_eq!(world.begins(new, message, before).await.len(), 0);
    assert_eq!(world.begins(new, message, after).await.len(), 1);
}

#[tokio::test]
async fn a_begin_that_meets_a_hand_over_under_way_begins_nothing() {
    let world = World::at_rest().await;
    let [old, new] = [world.registers("old").await, world.registers("new").await];
    world.store.take_senders(old).await.expect("a look");
    let (_, epoch) = world.lease().await;
    let message = world.enqueue(a_text()).await;
    let mut connection = world.connection().await;
    let mut hand_over = connection.begin().await.expect("a transaction");
    let statement = format!("update wa.leases set worker = {}, epoch = epoch + 1", new.0);
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut *hand_over)
        .await
        .expect("it is handed over");

    let begin = world.begins(old, message, epoch);
    let commit = async {
        world.until_waiting_for_locks(1).await;
        hand_over.commit().await.expect("it is committed");
    };
    let (begun, ()) = tokio::join!(begin, commit);

    assert_eq!(begun.len(), 0);
    assert_eq!(world.state_of(message).await, "queued");
}

#[tokio::test]
async fn a_hand_over_and_a_takeover_wait_for_a_begin_under_way() {
    let world = World::at_rest().await;
    let store = &world.store;
    let [old, new] = [world.registers("old").await, world.registers("new").await];
    store.take_senders(old).await.expect("a look");
    let (_, epoch) = world.lease().await;
    let message = world.enqueue(a_text()).await;
    let mut connection = world.connection().await;
    let mut in_the_way = connection.begin().await.expect("a transaction");
    sqlx::query("select from wa.queue for update")
        .execute(&mut *in_the_way)
        .await
        .expect("the message is locked");

    let begin = world.begins(old, message, epoch);
    let others = async {
        world.until_waiting_for_locks(1).await;
        world
            .run_sql(&format!(
                "update wa.workers set expires_at = now() - interval '1 s' where worker = {}",
                old.0
            ))
            .await;
        assert_eq!(store.take_senders(new).await.expect("a look"), 0);
        let hand_over = world.hands_over(old, new);
        let go_on = async {
            world.until_waiting_for_locks(2).await;
            in_the_way.commit().await.expect("out of the way");
        };
        tokio::join!(hand_over, go_on);
    };
    let (begun, ()) = tokio::join!(begin, others);

    assert_eq!(begun.len(), 1, "it came first");
    assert_eq!(world.lease().await, (Some(new), Epoch(epoch.0 + 1)));
}

#[tokio::test]
async fn two_that_take_at_once_do_not_take_from_one_another() {
    let world = World::at_rest().await;
    world.add_senders(39).await;
    let workers = [
        world.registers("one").await,
        world.registers("two").await,
        world.registers("three").await,
        world.registers("four").await,
    ];

    let [one, two, three, four] = workers.map(|worker| world.store.take_senders(worker));
    let taken = tokio::join!(one, two, three, four);

    let taken = [taken.0, taken.1, taken.2, taken.3].map(|taken| taken.expect("a look"));
    assert_eq!(taken.iter().sum::<u64>(), 40, "{taken:?}");
    assert_eq!(world.count("wa.leases where epoch = 1").await, 40);
}

// ── under load ───────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn hand_over_under_load_loses_nothing_and_doubles_nothing() {
    const EACH: u64 = 400;
    let mut config = quick_settings();
    config.worker.max_in_flight = 8;
    let world = World::at_rest_with(config).await;
    let senders = world.add_senders(3).await;
    world.simulator.set_statuses(Statuses::none());
    world
        .simulator
        .set_latency(Duration::from_millis(20), Duration::from_millis(20));
    let mut written = Vec::new();
    for number in 0..EACH {
        for sender in &senders {
            let draft = a_text().saying(&number.to_string()).from(sender);
            written.push(world.enqueue(draft).await);
        }
    }

    let first = world.another_service().await;
    world.simulator.ledger().wait_for_accepted(EACH / 2).await;
    let second = world.another_service().await;
    world.until_shares_are(&[2, 2]).await;
    let third = world.another_service().await;
    world.until_shares_are(&[1, 1, 2]).await;
    assert!(first.stop().await);
    assert!(
        world.store.open_messages().await.expect("a count") > 0,
        "the last change came after the load"
    );
    world.until_all_have_ended().await;

    world.assert_each_was_accepted_once(&written).await;
    assert_eq!(
        world.simulator.ledger().request_count(),
        written.len() as u64
    );
    assert!(world.count("wa.leases where epoch > 1").await >= 3);
    stop_all([second, third]).await;
}

#[tokio::test]
async fn a_worker_that_cannot_renew_is_relieved_and_starts_nothing_more() {
    let world = World::at_rest().await;
    let cut_off = world.another_service().await;
    world.until_shares_are(&[1]).await;
    let (first_owner, _) = world.lease().await;
    let mut connection = world.connection().await;
    let mut in_the_way = connection.begin().await.expect("a transaction");
    sqlx::query("select from wa.workers for update")
        .execute(&mut *in_the_way)
        .await
        .expect("its row is locked");

    let relief = world.another_service().await;
    world
        .until_true("the sender has another owner", async || {
            world.lease().await.0 != first_owner
        })
        .await;
    let messages = world
        .enqueue_all((0..50).map(|number| a_text().saying(&number.to_string())))
        .await;
    world.until_all_have_ended().await;
    let (owner, epoch) = world.lease().await;
    in_the_way.commit().await.expect("out of the way");

    world.assert_each_was_accepted_once(&messages).await;
    assert_ne!(owner, first_owner);
    assert!(epoch > Epoch(1));
    stop_all([cut_off, relief]).await;
}

#[tokio::test]
async fn a_worker_whose_row_was_deleted_becomes_another_and_goes_on() {
    let world = World::start().await;
    world.until_shares_are(&[1]).await;
    let (first_owner, first_epoch) = world.lease().await;

    world.run_sql("delete from wa.workers").await;

    world.until_shares_are(&[1]).await;
    let (owner, epoch) = world.lease().await;
    assert_ne!(owner, first_owner);
    assert!(epoch > first_epoch);
    let message = world.enqueue(a_text()).await;
    world.until_state(message, "accepted").await;
}

// ── trust ────────────────────────────────────────────────────────────────────────────────────────────────────────────

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

/// The keeper of leases alone, by a clock that the test moves.
struct Owner {
    trust: Arc<Trust>,
    clock: Clock,
    hands: Hands,
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
        };
        let ownership = Ownership::new(world.store.clone(), clock.clone(), settings);
        let (trust, release) = (ownership.trust(), CancellationToken::new());
        tokio::spawn(ownership.run(CancellationToken::new(), release.clone()));
        Self {
            trust,
            clock,
            hands,
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
        tokio::time::timeout(crate::support::world::PATIENCE, trusted)
            .await
            .expect("it is trusted");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.release.cancel();
    }
}

async fn stop_all(services: impl IntoIterator<Item = Service>) {
    for service in services {
        assert!(service.stop().await, "a clean stop");
    }
}

impl Draft {
    fn from(mut self, sender: &str) -> Self {
        self.0.sender = Some(sender.to_owned());
        self
    }
}

impl World {
    /// So many more senders; gives all there are.
    async fn add_senders(&self, more: usize) -> Vec<String> {
        let mut senders = vec![SENDER.to_owned()];
        for number in 0..more {
            let sender = format!("2000000000000{number:02}");
            self.add_sender(&sender).await;
            senders.push(sender);
        }
        senders
    }

    /// How many senders each living worker holds, the fewest first.
    async fn shares(&self) -> Vec<i64> {
        sqlx::query_scalar(
            "select count(l.sender) as held from wa.workers w left join wa.leases l using (worker)
             where w.expires_at > now() group by w.worker order by held",
        )
        .fetch_all(&self.database.pool)
        .await
        .expect("the shares")
    }

    async fn until_shares_are(&self, shares: &[i64]) {
        self.until_true(&format!("the shares are {shares:?}"), async || {
            self.shares().await == shares
        })
        .await;
    }

    /// Who holds each sender, under which epoch.
    async fn leases(&self) -> BTreeMap<String, (Option<WorkerId>, Epoch)> {
        let rows: Vec<(String, Option<i64>, i64)> =
            sqlx::query_as("select sender, worker, epoch from wa.leases")
                .fetch_all(&self.database.pool)
                .await
                .expect("the leases");
        rows.into_iter()
            .map(|(sender, worker, epoch)| (sender, (worker.map(WorkerId), Epoch(epoch))))
            .collect()
    }

    /// The same for the world's first sender.
    async fn lease(&self) -> (Option<WorkerId>, Epoch) {
        self.leases().await[SENDER]
    }

    async fn worker_named(&self, name: &str) -> WorkerId {
        let worker = sqlx::query_scalar("select worker from wa.workers where name = $1")
            .bind(name)
            .fetch_one(&self.database.pool);
        WorkerId(worker.await.expect("there is such a worker"))
    }

    async fn renewed_at(&self) -> time::OffsetDateTime {
        sqlx::query_scalar("select min(renewed_at) from wa.workers")
            .fetch_one(&self.database.pool)
            .await
            .expect("a worker")
    }

    /// Waits until every worker has renewed its lease once more, and so looked once more.
    async fn until_every_worker_has_renewed(&self) {
        let now: time::OffsetDateTime = sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(&self.database.pool)
            .await
            .expect("the time");
        self.until_true("every worker has renewed", async || {
            self.renewed_at().await > now
        })
        .await;
    }

    /// Waits until so many statements wait for a lock in this database.
    async fn until_waiting_for_locks(&self, count: i64) {
        self.until_true(&format!("{count} statements wait for a lock"), async || {
            self.count(
                "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
            .await
                == count
        })
        .await;
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.database.url)
            .await
            .expect("a connection")
    }

    /// A worker whose every step the test takes itself.
    async fn registers(&self, name: &str) -> WorkerId {
        self.store
            .register_worker(name, LONG)
            .await
            .expect("a worker")
    }

    async fn plan_of(&self, worker: WorkerId) -> Vec<HandOver> {
        self.store
            .plan_hand_over(worker, LONG)
            .await
            .expect("a plan")
    }

    /// Hands the world's first sender over.
    async fn hands_over(&self, giver: WorkerId, receiver: WorkerId) {
        let (_, epoch) = self.lease().await;
        let plan = [HandOver {
            sender: SenderId::from(SENDER),
            epoch,
            receiver,
        }];
        let given = self.store.hand_over(giver, &plan).await;
        assert_eq!(given.expect("it is handed over"), 1);
    }

    async fn begins(&self, worker: WorkerId, id: MessageId, epoch: Epoch) -> Vec<Begun> {
        let claim = Claim {
            id,
            sender: SenderId::from(SENDER),
            epoch,
        };
        self.store
            .begin(worker, &[claim], LONG)
            .await
            .expect("begin is answered")
    }
}
