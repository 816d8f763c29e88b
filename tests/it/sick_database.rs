//! A database that is away, silent or stuck while there is much to do: what is not written down does not leave, what has
//! been answered is kept until it can be written, and afterwards everything is settled: nothing lost, nothing twice.

use std::collections::BTreeSet;
use std::time::Duration;

use wa_outbox::config::Config;
use wa_outbox::domain::id::MessageId;

use crate::support::books::message_of;
use crate::support::make::{ALICE, BOB, a_text};
use crate::support::world::{World, quick_settings};

/// Enough that the fault meets messages in every state.
const LOAD: usize = 400;

#[tokio::test]
async fn while_the_database_is_silent_nothing_leaves_that_is_not_written_down() {
    let (world, cable) = World::start_on_a_cable_with(slowed_settings()).await;
    let mut written = world.enqueue_a_load().await;
    world.simulator.ledger().wait_for_accepted(50).await;

    cable.cut();
    world.until_ready_is(false).await;
    world.until_the_lease_has_run_out().await;
    let requests = world.simulator.ledger().request_count();
    written.extend(world.enqueue_a_load().await);
    world.until_as_long_again().await;

    assert_eq!(
        world.simulator.ledger().request_count(),
        requests,
        "a request left without a lease"
    );
    let begun = world.begun().await;
    for entry in world.simulator.ledger().all() {
        assert!(begun.contains(&message_of(&entry)), "not written down");
    }
    assert!(requests < LOAD as u64, "the cut came after the load");

    cable.mend();
    world.until_ready_is(true).await;
    world.until_all_have_ended().await;
    world.until_webhooks_are_applied().await;
    world.assert_each_was_accepted_once(&written).await;
}

#[tokio::test]
async fn answers_that_come_while_the_database_is_silent_are_kept_and_written_when_it_is_back() {
    let mut config = slowed_settings();
    // Nothing is settled without its answer: no silence counts, and no webhook comes.
    config.reconcile.window = Duration::from_secs(600);
    let (world, cable) = World::start_on_a_cable_with(config).await;
    world
        .simulator
        .set_statuses(wa_outbox::simulator::Statuses::none());
    world
        .simulator
        .set_latency(Duration::from_millis(300), Duration::ZERO);
    let written = world.enqueue_a_load().await;
    // The first requests are out and have no answer yet.
    world.simulator.ledger().wait_for_requests(1).await;

    cable.cut();
    world.until_ready_is(false).await;
    let answered = world.simulator.ledger().accepted_count() as i64;
    let known = world.count("wa.known_wamids").await;
    assert!(known < answered, "every answer was written before the cut");

    cable.mend();
    world.until_all_have_ended().await;
    world.assert_each_was_accepted_once(&written).await;
    let doubted = world.count("wa.attempts where outcome = 'uncertain'").await;
    assert_eq!(doubted, 0, "an answer that was kept leaves no doubt");
}

#[tokio::test]
async fn sending_stops_while_too_many_answers_wait_to_be_written() {
    let mut config = quick_settings();
    config.worker.max_in_flight = 4;
    let world = World::start_with(config).await;
    let mut stuck = world.database.pool.begin().await.expect("a transaction");
    // Intents can be written, outcomes cannot.
    sqlx::query("lock table wa.results in share row exclusive mode")
        .execute(&mut *stuck)
        .await
        .expect("a lock");
    let written = world.enqueue_a_load().await;

    // Sixteen answers for each request that may be out, and then what is begun already.
    world.simulator.ledger().wait_for_requests(64).await;
    world.until_ready_is(false).await;
    world.until_the_lease_is_renewed().await;
    let requests = world.simulator.ledger().request_count();
    assert!(requests < 2 * 64, "{requests} requests were made");
    for _ in 0..3 {
        world.until_the_lease_is_renewed().await;
    }
    assert_eq!(world.simulator.ledger().request_count(), requests);
    let said = world.readiness().await.body;
    assert!(said.contains("outcomes cannot be written"), "{said}");

    stuck.rollback().await.expect("the lock is given back");
    world.until_ready_is(true).await;
    world.until_all_have_ended().await;
    world.until_webhooks_are_applied().await;
    world.assert_each_was_accepted_once(&written).await;
}

#[tokio::test]
async fn outcomes_that_take_a_slow_database_too_long_together_are_written_in_parts() {
    let mut config = slowed_settings();
    // One after the other, and all in one batch.
    config.worker.record_delay = Duration::from_secs(1);
    let world = World::start_with(config).await;
    // Nobody but the recorder writes that they were accepted.
    world
        .simulator
        .set_statuses(wa_outbox::simulator::Statuses::none());
    world
        .run_sql(
            "create function public.takes_its_time() returns trigger language plpgsql as
             $$ begin perform pg_sleep(0.3); return new; end $$",
        )
        .await;
    world
        .run_sql(
            "create trigger slow before insert on wa.results for each row execute function public.takes_its_time()",
        )
        .await;

    let drafts = (0..6).map(|number| a_text().saying(&number.to_string()));
    let written = world.enqueue_all(drafts).await;

    world.until_all_have_ended().await;
    world.assert_each_was_accepted_once(&written).await;
}

#[tokio::test]
async fn an_outcome_that_the_database_refuses_keeps_no_other_waiting_and_is_kept() {
    let world = World::start().await;
    world
        .simulator
        .set_statuses(wa_outbox::simulator::Statuses::none());
    world.refuse_results_of_alice().await;
    let refused = world.enqueue(a_text()).await;
    world.until_taken(1).await;

    let other = world.enqueue(a_text().to(BOB)).await;
    world.until_state(other, "accepted").await;

    world.run_sql("drop trigger refuses on wa.results").await;
    world.until_state(refused, "accepted").await;
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn a_stop_names_what_the_database_refuses_and_does_not_wait_for_it() {
    let mut config = quick_settings();
    // Longer than anybody waits.
    config.worker.shutdown = Some(Duration::from_secs(600));
    let world = World::at_rest_with(config).await;
    world
        .simulator
        .set_statuses(wa_outbox::simulator::Statuses::none());
    world.refuse_results_of_alice().await;
    let process = world.start_process("told-to-stop").await;
    let refused = world.enqueue(a_text()).await;
    process.until_logged("Could not record an outcome").await;

    process.ask_to_stop();

    let said = process.until_logged("The database refuses").await;
    assert!(said.contains(&format!("messages {refused};")), "{said}");
    assert_eq!(process.count_logged("in time;"), 0);
    assert_eq!(process.ended().await.code(), Some(1));
}

#[tokio::test]
async fn of_a_look_each_part_that_fails_is_told() {
    let world = World::at_rest().await;
    world
        .run_sql(&format!(
            r#"insert into wa.outbox (recipient, payload, due_at, expires_at)
               values ('{ALICE}', '{{"type":"text","text":{{"body":"Hello"}}}}', now() - interval '2 hours', now() - interval '1 hour')"#
        ))
        .await;
    world.refuse_results_of_alice().await;
    world
        .run_sql("alter function wa.look_after_sequences rename to gone")
        .await;

    let process = world.start_process("told").await;

    process.until_logged("Could not end what is overdue").await;
    process.until_logged("Could not look after sequences").await;
}

#[tokio::test]
async fn connections_that_all_end_at_once_under_load_cost_no_message() {
    let (world, _cable) = World::start_on_a_cable_with(slowed_settings()).await;
    let written = world.enqueue_a_load().await;
    for accepted in [50, 150, 250] {
        world.simulator.ledger().wait_for_accepted(accepted).await;
        world
            .run_sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'wa-outbox'")
            .await;
    }
    world.until_all_have_ended().await;
    world.until_webhooks_are_applied().await;
    world.assert_each_was_accepted_once(&written).await;
}

/// Few requests at a time, so that a fault leaves something to do.
fn slowed_settings() -> Config {
    let mut config = quick_settings();
    config.worker.max_in_flight = 20;
    config
}

impl World {
    async fn refuse_results_of_alice(&self) {
        self.run_sql(&format!(
            "create function public.refuses() returns trigger language plpgsql as $$
             begin
               if exists (select from wa.outbox o where o.id = new.id and o.recipient = '{ALICE}') then
                 raise exception using errcode = 'check_violation', message = 'not this one';
               end if;
               return new;
             end $$"
        ))
        .await;
        self.run_sql("create trigger refuses before insert on wa.results for each row execute function public.refuses()")
            .await;
    }

    async fn enqueue_a_load(&self) -> Vec<MessageId> {
        self.simulator
            .set_latency(Duration::from_millis(30), Duration::ZERO);
        let drafts = (0..LOAD).map(|number| a_text().saying(&number.to_string()));
        self.enqueue_all(drafts).await
    }

    /// The messages of which the database knows that an attempt was begun.
    async fn begun(&self) -> BTreeSet<i64> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "select id from wa.queue where attempt > 0 union select id from wa.results union select id from wa.uncertain",
        )
        .fetch_all(&self.database.pool)
        .await
        .expect("the messages");
        ids.into_iter().collect()
    }

    async fn until_the_lease_has_run_out(&self) {
        self.until_true("the lease has run out", async || {
            self.count("wa.workers where expires_at > clock_timestamp()")
                .await
                == 0
        })
        .await;
    }

    /// Waits until the lease has been run out for as long as it lasted.
    async fn until_as_long_again(&self) {
        let lease = self.config.worker.lease.as_secs_f64();
        self.until_true("as much time has passed", async || {
            let run_out = format!(
                "wa.workers where expires_at > clock_timestamp() - make_interval(secs => {lease})"
            );
            self.count(&run_out).await == 0
        })
        .await;
    }

    async fn until_the_lease_is_renewed(&self) {
        let end = async || -> time::OffsetDateTime {
            sqlx::query_scalar("select expires_at from wa.workers")
                .fetch_one(&self.database.pool)
                .await
                .expect("a worker")
        };
        let before = end().await;
        self.until_true("the lease is renewed", async || end().await > before)
            .await;
    }
}
