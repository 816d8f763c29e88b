//! G2: once a wamid of a message is known, no further request for it starts. The database itself refuses it.

mod late_facts;
mod meeting;

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use wa_outbox::domain::id::{AttemptNumber, Epoch, MessageId, SenderId, Wamid};
use wa_outbox::domain::outcome::Acceptance;
use wa_outbox::domain::transition::Transition;
use wa_outbox::store::claim::{Begun, Claim};
use wa_outbox::store::lease::WorkerId;
use wa_outbox::store::record::{Record, Recorded};
use wa_outbox::store::sweep::Place;

use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

const LEASE: Duration = Duration::from_secs(600);
const ANSWER_DUE_IN: Duration = Duration::from_secs(600);

/// A worker whose every step the test takes itself.
struct Hand<'a> {
    world: &'a World,
    worker: WorkerId,
    epoch: Epoch,
}

impl<'a> Hand<'a> {
    /// A new worker that takes the sender, from whoever had it.
    async fn takes_the_sender(world: &'a World) -> Self {
        let store = &world.store;
        let worker = store
            .register_worker("hand", LEASE)
            .await
            .expect("a worker");
        // A worker that runs may renew between the two statements.
        world
            .until_true("the sender is taken", async || {
                let others = format!(
                    "update wa.workers set expires_at = now() - interval '1 s' where worker <> {}",
                    worker.0
                );
                run(world, &others).await;
                store.take_senders(worker).await.expect("a lease") == 1
            })
            .await;
        let held = store.held_senders(worker).await.expect("the leases");
        Self {
            world,
            worker,
            epoch: held[0].epoch,
        }
    }

    async fn begins(&self, id: MessageId) -> Option<Begun> {
        let claim = Claim {
            id,
            sender: SenderId::from(SENDER),
            epoch: self.epoch,
            attempt: AttemptNumber(1),
        };
        let begun = self
            .world
            .store
            .begin(self.worker, &[claim], ANSWER_DUE_IN)
            .await;
        begun.expect("begin is answered").pop()
    }

    async fn records(&self, begun: Begun, transition: Transition) {
        self.records_all(vec![(begun, transition)]).await;
    }

    async fn records_all(&self, told: Vec<(Begun, Transition)>) -> Recorded {
        let record = |(begun, transition): (Begun, Transition)| Record {
            id: begun.id,
            sender: SenderId::from(SENDER),
            attempt: begun.attempt,
            begun_at: begun.begun_at,
            era: begun.era,
            transition,
            account: None,
        };
        let records: Vec<Record> = told.into_iter().map(record).collect();
        let recorded = self.world.store.record(&records).await;
        recorded.expect("it is written")
    }

    /// Takes what an earlier worker had begun for uncertain.
    async fn sweeps(&self) {
        run(
            self.world,
            "update wa.queue set deadline = now() - interval '1 s' where state = 'sending'",
        )
        .await;
        let store = &self.world.store;
        let found = store
            .find_begun(&SenderId::from(SENDER), self.epoch, Place::FRONT, 100)
            .await
            .expect("a search");
        let swept = store.sweep(&found.begun).await.expect("a sweep");
        assert_eq!(swept.uncertain.len(), 1);
    }
}

fn accepted_as(wamid: &str) -> Transition {
    Transition::Accept(Acceptance {
        wamid: Some(Wamid::from(wamid)),
        ..Acceptance::default()
    })
}

fn lost() -> Transition {
    Transition::Doubt {
        doubt: "no answer came".to_owned(),
        may_resend: true,
    }
}

/// Runs statements of the test's own, with all rights.
async fn run(world: &World, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&world.database.pool)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// A connection with the rights of `wa_worker` alone.
async fn a_worker(world: &World) -> PgConnection {
    let mut connection = PgConnection::connect(&world.database.url)
        .await
        .expect("the database answers");
    by_hand(&mut connection, "set role wa_worker")
        .await
        .expect("the role is there");
    connection
}

async fn by_hand(worker: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(worker)
        .await
        .map(drop)
}

/// The promise, as one look at the tables: what has a wamid stands nowhere from where it could be sent.
async fn assert_never_again(world: &World, id: MessageId, context: &str) {
    let left: Vec<String> = sqlx::query_scalar(
        "select s.place from wa.known_wamids a
         join (select id, sender, 'queue' as place from wa.queue union all
               select id, sender, 'uncertain' from wa.uncertain union all
               select id, sender, 'waiting' from wa.waiting) s on s.id = a.id and s.sender = a.sender",
    )
    .fetch_all(&world.database.pool)
    .await
    .expect("the tables");
    assert!(
        left.is_empty(),
        "{context}: accepted, and still in {left:?}"
    );
    assert_eq!(world.state_of(id).await, "accepted", "{context}");
    run(world, "update wa.queue set due_at = now() - interval '1 s'").await;
    let hand = Hand::takes_the_sender(world).await;
    assert!(hand.begins(id).await.is_none(), "{context}: begun again");
}

async fn an_accepted_message(world: &World) -> MessageId {
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(world).await;
    let begun = hand.begins(id).await.expect("begun");
    hand.records(begun, accepted_as("wamid.A")).await;
    id
}

#[tokio::test]
async fn no_statement_of_the_workers_role_makes_an_accepted_message_sendable() {
    let world = World::at_rest().await;
    let id = an_accepted_message(&world).await.0;
    let doubt = format!(
        "insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
         values ({id}, '{SENDER}', 5, false, 1, 1, 0, now(), now(), true, 'by hand', 'by hand')"
    );
    let resend = format!("select wa.resend(array[{id}], array[1], 'by hand')");
    let not_sent = format!(
        "select wa.put_back(array[{id}], array[1], array[1], array[0::float8], array['by hand'])"
    );
    for statement in [
        "insert into wa.queue (id, sender, priority, due_at) select id, sender, priority, due_at from wa.outbox".to_owned(),
        format!("update wa.queue set state = 'queued' where id = {id}"),
        "update wa.queue set id = 1".to_owned(),
        "delete from wa.acceptances".to_owned(),
        "update wa.acceptances set id = 0".to_owned(),
        "truncate wa.acceptances".to_owned(),
        "update wa.results set state = 'failed', wamid = null".to_owned(),
        "delete from wa.results".to_owned(),
        format!("insert into wa.results (id, sender, state, attempts) values ({id}, '{SENDER}', 'failed', 1) on conflict (id, sender) do update set state = 'failed'"),
        "delete from wa.uncertain".to_owned(),
        "insert into wa.waiting select sender, recipient, 'x', id, priority, due_at, null from wa.outbox".to_owned(),
        "select wa.promote('a', 'b', 'c')".to_owned(),
        resend.clone(),
        not_sent.clone(),
        doubt.clone(),
        format!("{doubt}; {resend}"),
        format!("{doubt}; {not_sent}"),
        format!("begin; {doubt}; {resend}; commit"),
        format!("begin isolation level repeatable read; {doubt}; {resend}; commit"),
        format!("begin isolation level serializable; {doubt}; {resend}; commit"),
        format!("select wa.settle_sequences(array[{id}])"),
        "alter table wa.results disable trigger all".to_owned(),
        "set session_replication_role = replica".to_owned(),
    ] {
        let mut worker = a_worker(&world).await;
        let outcome = by_hand(&mut worker, &statement).await;
        assert_never_again(&world, MessageId(id), &format!("{statement} ({outcome:?})")).await;
    }
}

#[tokio::test]
async fn a_doubt_is_taken_only_of_a_request_that_is_out() {
    let world = World::at_rest().await;
    let queued = world.enqueue(a_text()).await;
    let waiting = {
        world.enqueue(a_text().in_sequence("one")).await;
        world.enqueue(a_text().in_sequence("one")).await
    };
    let mut worker = a_worker(&world).await;
    for id in [queued.0, waiting.0, 4711] {
        let doubt = format!(
            "insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
             values ({id}, '{SENDER}', 5, false, 1, 1, 0, now(), now(), true, 'by hand', 'by hand')"
        );
        by_hand(&mut worker, &doubt)
            .await
            .expect("the statement is answered");
    }
    let doubted: i64 = sqlx::query_scalar("select count(*) from wa.uncertain")
        .fetch_one(&world.database.pool)
        .await
        .expect("a count");
    assert_eq!(doubted, 0);
    assert_eq!(world.state_of(queued).await, "queued");
    assert_eq!(world.state_of(waiting).await, "waiting");
}

#[tokio::test]
async fn a_wamid_of_a_message_that_waits_in_its_sequence_ends_it_too() {
    let world = World::at_rest().await;
    let head = world.enqueue(a_text().in_sequence("one")).await;
    let second = world.enqueue(a_text().in_sequence("one")).await;

    let mut worker = a_worker(&world).await;
    let learned = format!(
        "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('wamid.B', '{SENDER}', {second}, 1, 'operator')"
    );
    by_hand(&mut worker, &learned)
        .await
        .expect("a fact is taken");

    assert_never_again(&world, second, "waiting").await;
    let hand = Hand::takes_the_sender(&world).await;
    assert!(hand.begins(head).await.is_some(), "its head is not touched");
}

/// Where a message stands when two transactions meet on it.
#[derive(Clone, Copy, Debug)]
enum Standing {
    Queued,
    Sending,
    Uncertain,
}

async fn a_message_that_is(world: &World, standing: Standing) -> MessageId {
    let id = world.enqueue(a_text()).await;
    let hand = Hand::takes_the_sender(world).await;
    match standing {
        Standing::Queued => {}
        Standing::Sending => drop(hand.begins(id).await.expect("begun")),
        Standing::Uncertain => {
            let begun = hand.begins(id).await.expect("begun");
            hand.records(begun, lost()).await;
        }
    }
    id
}

/// Runs `first` in a transaction that stays open until `second`, in another one, has ended or waits for it.
async fn meet(world: &World, first: &str, second: &str) {
    let mut one = a_worker(world).await;
    let mut two = a_worker(world).await;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut two)
        .await
        .expect("a pid");
    by_hand(&mut one, &format!("begin; {first}"))
        .await
        .expect("the first is not in anybody's way");
    let second = format!("begin; {second}; commit");
    let other = tokio::spawn(async move { by_hand(&mut two, &second).await });
    world
        .until_true("the second has ended or waits", async || {
            let waits: bool = sqlx::query_scalar(
                "select exists (select from pg_locks where pid = $1 and not granted)",
            )
            .bind(pid)
            .fetch_one(&world.database.pool)
            .await
            .expect("the locks");
            other.is_finished() || waits
        })
        .await;
    by_hand(&mut one, "commit")
        .await
        .expect("the first commits");
    other
        .await
        .expect("it does not panic")
        .expect("the second is not refused");
}

#[tokio::test]
async fn an_acceptance_wins_against_whatever_moves_its_message_at_the_same_moment() {
    let doubt = "insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
                 select id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, true, 'lost', 'x' from wa.queue where state = 'sending'";
    let resend = "select wa.resend(array_agg(id), array_agg(n), 'again') from wa.outbox, generate_series(1, 3) n";
    let not_sent = "select wa.put_back(array_agg(id), array_agg(n), array_agg(1), array_agg(0::float8), array_agg('again'::text))
                    from wa.outbox, generate_series(1, 3) n";
    let put_back = "update wa.queue set state = 'queued', due_at = now(), epoch = null, begun_at = null, deadline = null where state = 'sending'";
    let begin = "update wa.queue set state = 'sending', epoch = 1, attempt = attempt + 1, attempts = attempts + 1, begun_at = now(), deadline = now() where state = 'queued'";
    let there_and_back = format!("{doubt}; {resend}");
    let twice = format!("{doubt}; {resend}; {begin}; {doubt}; {resend}");
    for (standing, mover) in [
        (Standing::Sending, doubt),
        (Standing::Sending, put_back),
        (Standing::Sending, &there_and_back),
        (Standing::Sending, &twice),
        (Standing::Queued, begin),
        (Standing::Uncertain, resend),
        (Standing::Uncertain, not_sent),
        (Standing::Uncertain, &format!("{resend}; {begin}")),
        (Standing::Uncertain, &format!("{resend}; {begin}; {doubt}")),
    ] {
        for acceptance_first in [true, false] {
            let world = World::at_rest().await;
            let id = a_message_that_is(&world, standing).await;
            let acceptance = format!(
                "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('wamid.A', '{SENDER}', {id}, 1, 'webhook')"
            );
            match acceptance_first {
                true => meet(&world, &acceptance, mover).await,
                false => meet(&world, mover, &acceptance).await,
            }
            let context =
                format!("{standing:?}, acceptance first: {acceptance_first}, against {mover}");
            assert_never_again(&world, id, &context).await;
        }
    }
}

#[tokio::test]
async fn a_snapshot_older_than_the_message_cannot_leave_it_sendable() {
    let world = World::at_rest().await;
    for isolation in ["repeatable read", "serializable"] {
        let mut worker = a_worker(&world).await;
        let old = format!("begin isolation level {isolation}; select count(*) from wa.queue");
        by_hand(&mut worker, &old).await.expect("a snapshot");
        let id = world.enqueue(a_text()).await;

        let learned = format!(
            "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('wamid.{isolation}', '{SENDER}', {id}, 1, 'operator'); commit"
        );
        let outcome = by_hand(&mut worker, &learned).await;

        // It cannot see the row that must go, so it is told to start anew; nothing is half known.
        let error = outcome.expect_err("refused");
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("40001"), "{error}");
        assert_eq!(world.state_of(id).await, "queued");
    }
}
