//! What is refused in another database than the one that a process knows, and what waits while it is not settled. Here as the
//! database keeps it, by the functions that every worker and every command goes through.

use std::time::Duration;

use wa_outbox::domain::id::{AttemptNumber, Epoch, SenderId, Wamid};
use wa_outbox::domain::outcome::Acceptance;
use wa_outbox::domain::transition::Transition;
use wa_outbox::store::campaign::{CampaignVerb, NewCampaign};
use wa_outbox::store::claim::Claim;
use wa_outbox::store::era::Beat;
use wa_outbox::store::inbox::FRONT;
use wa_outbox::store::record::Record;
use wa_outbox::store::uncertain::UncertainPolicy;

use super::{EVIDENCE, KEPT, SILENT, begin_an_era, in_time, to};
use crate::support::world::{SENDER, World};

const LONG: Duration = Duration::from_secs(3_600);
/// Makes a world's database another one than it was, in the eyes of those who know it; and the same again.
const MOVED: [&str; 4] = [
    "update wa.eras set timeline = '000000FE'",
    "update wa.eras set system_identifier = system_identifier + 1",
    "update wa.eras set database = 1",
    "update wa.pulse set tick = tick - 1000",
];
const BACK: &str = "update wa.eras set timeline = i.timeline, system_identifier = i.system_identifier, database = i.database
  from wa.server_identity() i";

#[tokio::test]
async fn nothing_is_begun_recorded_applied_or_renewed_in_another_database() {
    let world = World::at_rest().await;
    let store = &world.store;
    assert!(matches!(store.beat().await, Ok(Beat::Learned { .. })));
    let worker = store.register_worker("of the test", LONG).await;
    let worker = worker.expect("a worker");
    store.take_senders(worker).await.expect("the sender");
    let (begun, other) = (
        world.enqueue(to(EVIDENCE)).await,
        world.enqueue(to(SILENT)).await,
    );
    let claim = |id| Claim {
        id,
        sender: SenderId::from(SENDER),
        epoch: Epoch(1),
        attempt: AttemptNumber(1),
    };
    let begin = async |id| {
        let begun = store.begin(worker, &[claim(id)], LONG).await;
        begun.expect("an answer").pop()
    };
    let begun = begin(begun).await.expect("it is begun");
    let record = Record {
        id: begun.id,
        sender: SenderId::from(SENDER),
        attempt: begun.attempt,
        begun_at: begun.begun_at,
        era: begun.era,
        transition: Transition::Accept(Acceptance {
            wamid: Some(Wamid::from("wamid.A")),
            ..Acceptance::default()
        }),
        account: None,
    };
    store
        .store_deliveries(&[b"{}".to_vec()])
        .await
        .expect("a delivery");

    for moved in MOVED {
        world.run_sql(moved).await;
        assert!(begin(other).await.is_none(), "{moved}");
        assert!(
            store.record(std::slice::from_ref(&record)).await.is_err(),
            "{moved}"
        );
        assert!(
            store.take_back(&[claim(begun.id)]).await.is_err(),
            "{moved}"
        );
        assert!(
            store.take_deliveries((10, 10), FRONT, &[]).await.is_err(),
            "{moved}"
        );
        let renewed = store.heartbeat(worker, LONG, LONG).await;
        assert!(!renewed.expect("an answer"), "{moved}");
        assert!(
            store.register_worker("again", LONG).await.is_err(),
            "{moved}"
        );
        assert!(!store.may_conclude().await.expect("an answer"), "{moved}");
        world.run_sql(BACK).await;
    }
    world
        .run_sql("update wa.pulse set tick = tick + 1000")
        .await;
    assert!(begin(other).await.is_some());
    store.record(&[record]).await.expect("it is recorded");
    assert!(store.heartbeat(worker, LONG, LONG).await.expect("renewed"));
    assert!(store.may_conclude().await.expect("an answer"));
}

#[tokio::test]
async fn with_a_new_era_nobody_holds_anything_and_nothing_is_numbered_as_before() {
    let world = World::at_rest().await;
    world.store.beat().await.expect("a beat");
    let worker = world.store.register_worker("of the test", LONG).await;
    let worker = worker.expect("a worker");
    world.store.take_senders(worker).await.expect("the sender");
    let before = world.enqueue(to(EVIDENCE)).await;
    begin_an_era(&world).await;

    assert_eq!(world.count("wa.workers").await, 0);
    let free = "wa.leases where worker is null and epoch > 1000000";
    assert_eq!(world.count(free).await, 1);
    // Whoever does not know of it yet is nobody here.
    assert!(world.store.register_worker("late", LONG).await.is_err());
    let renewed = world.store.heartbeat(worker, LONG, LONG).await;
    assert!(!renewed.expect("an answer"));
    assert!(matches!(
        world.store.beat().await,
        Ok(Beat::Learned {
            is_settled: false,
            ..
        })
    ));
    let next = world.store.register_worker("of now", LONG).await;
    let next = next.expect("a worker");
    assert!(next.0 > worker.0 + 99_000);
    let after = world.enqueue(to(EVIDENCE)).await;
    assert!(after.0 > before.0 + 999_000, "{after} after {before}");

    // Its lease is good, and all the same it begins nothing before it is settled.
    world.store.take_senders(next).await.expect("the sender");
    let epoch = sqlx::query_scalar("select epoch from wa.leases");
    let claim = Claim {
        id: after,
        sender: SenderId::from(SENDER),
        epoch: Epoch(
            epoch
                .fetch_one(&world.database.pool)
                .await
                .expect("an epoch"),
        ),
        attempt: AttemptNumber(1),
    };
    let begin = async || {
        let begun = world
            .store
            .begin(next, std::slice::from_ref(&claim), LONG)
            .await;
        begun.expect("an answer").len()
    };
    assert_eq!(begin().await, 0);
    world
        .run_sql("select wa.end_recovery(max(era), 'nothing_lost', 'ada', 'a test') from wa.eras")
        .await;
    assert_eq!(begin().await, 1);
}

/// G1, G4: what is overdue or silent may only seem so.
#[tokio::test]
async fn while_it_is_not_settled_nothing_expires_and_silence_decides_nothing() {
    in_time(async {
        let mut world = World::at_rest().await;
        world.has_been_worked().await;
        let overdue = world.enqueue(to(EVIDENCE)).await;
        let silent = world.enqueue(to(SILENT)).await;
        let long_ago = "now() - interval '1 day'";
        for statement in [
            format!("update wa.queue set expires_at = {long_ago} where id = {overdue}"),
            format!("update wa.queue set state = 'sending', attempt = 1, attempts = 1, epoch = 1, begun_at = {long_ago}, deadline = {long_ago} where id = {silent}"),
            format!("insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
                     select id, sender, priority, in_sequence, 1, 1, 0, begun_at, deadline, true, 'no answer came', 'evidence' from wa.queue where id = {silent}"),
        ] {
            world.run_sql(&statement).await;
        }
        begin_an_era(&world).await;
        world.start_service().await;
        world.until_others_are_held_too().await;
        assert_eq!(world.state_of(overdue).await, "queued");
        assert_eq!(world.state_of(silent).await, "uncertain");

        world.stop_service().await;
        world
            .says(&["recover", "--yes", "--wait", "1h", "--reason", "restored"])
            .await;
        // What was told meanwhile nobody has heard: it is waited for anew, whatever is older.
        let policy = UncertainPolicy {
            window_s: 1,
            max_resends: 1,
            hold: false,
        };
        for message in [overdue, silent] {
            assert_eq!(world.state_of(message).await, "uncertain");
            let clock = world.store.evidence_clock(message, policy).await;
            let clock = clock.expect("an answer").expect("a clock");
            assert!(runs_out_in(&world, clock.runs_out_at).await > 3_500.0);
        }
    })
    .await;
}

/// Nobody of before can answer here, and a limit that put a message off may have been lifted since: both are in doubt, at once and on the
/// terms of the recovery.
#[tokio::test]
async fn what_was_begun_before_and_what_was_put_off_are_in_doubt_like_the_rest() {
    in_time(async {
        let mut world = World::at_rest().await;
        world.has_been_worked().await;
        let begun = world.enqueue(to(EVIDENCE)).await;
        let put_off = world.enqueue(to(SILENT)).await;
        for statement in [
            format!("update wa.queue set state = 'sending', attempt = 1, attempts = 1, epoch = 1, begun_at = now(), deadline = now() + interval '1 h' where id = {begun}"),
            format!("update wa.queue set due_at = now() + interval '1 h' where id = {put_off}"),
        ] {
            world.run_sql(&statement).await;
        }
        begin_an_era(&world).await;
        assert_eq!(world.foreseen(&["--hold"]).await, [0, 2, 0]);
        world
            .says(&["recover", "--yes", "--hold", "--reason", "restored"])
            .await;
        for message in [begun, put_off] {
            assert_eq!(world.state_of(message).await, "uncertain");
        }
        assert_eq!(world.count("wa.uncertain where needs_person and attempt = 1").await, 2);
        // What a request of before is answered until its deadline is waited for.
        let waits = format!("wa.uncertain where id = {begun} and deadline > now() + interval '30 min'");
        assert_eq!(world.count(&waits).await, 1);
    })
    .await;
}

/// What webhooks proved before the restore says nothing of whether they flow now.
#[tokio::test]
async fn silence_after_a_restore_means_nothing_until_webhooks_are_seen_to_flow() {
    let mut world = World::at_rest().await;
    world.has_been_worked().await;
    let silent = world.enqueue(to(SILENT)).await;
    let flow = |at: &str| {
        format!(
            "insert into wa.webhook_flow (sender, last_status_at, accepted_watermark, echoes) values ('{SENDER}', {at}, {at}, true)
             on conflict (sender) do update set accepted_watermark = excluded.accepted_watermark"
        )
    };
    world.run_sql(&format!("update wa.queue set state = 'sending', attempt = 1, attempts = 1, epoch = 1, begun_at = now() - interval '2 h', deadline = now() - interval '1 h' where id = {silent}")).await;
    world.run_sql(&flow("now() - interval '1 minute'")).await;
    begin_an_era(&world).await;
    world
        .says(&["recover", "--yes", "--reason", "restored"])
        .await;
    let policy = UncertainPolicy {
        window_s: 60,
        max_resends: 1,
        hold: false,
    };
    let silent_for = async || {
        let clock = world.store.evidence_clock(silent, policy).await;
        let clock = clock.expect("an answer").expect("a clock");
        runs_out_in(&world, clock.runs_out_at).await
    };
    assert!(silent_for().await > 500.0, "ten windows");
    world.run_sql(&flow("now() + interval '1 second'")).await;
    assert!(silent_for().await < 61.0, "one window");
}

#[tokio::test]
async fn rows_of_a_campaign_are_counted_as_uncertain_and_those_of_a_cancelled_one_left_alone() {
    let mut world = World::at_rest().await;
    world.has_been_worked().await;
    let template = r#"{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}"#;
    let mut campaigns = Vec::new();
    for name in ["spring", "autumn"] {
        let campaign = NewCampaign {
            name: name.to_owned(),
            payload: template.to_owned(),
            by: "ada".to_owned(),
            ..NewCampaign::default()
        };
        let campaign = world.store.create_campaign(&campaign).await;
        let campaign = campaign.expect("a campaign");
        world
            .run_sql(&format!("insert into wa.outbox (campaign_id, recipient) values ({campaign}, '{EVIDENCE}'), ({campaign}, '{KEPT}')"))
            .await;
        campaigns.push(campaign);
    }
    let cancelled = world
        .store
        .lead_campaign(campaigns[1], CampaignVerb::Cancel, "ada", Some("wrong"))
        .await;
    assert!(cancelled.expect("an answer"));
    begin_an_era(&world).await;
    assert_eq!(world.foreseen(&[]).await, [2, 0, 0]);
    world
        .says(&["recover", "--yes", "--reason", "restored"])
        .await;
    world
        .store
        .fold_campaign_counts(1_000)
        .await
        .expect("they are added up");
    let counts = world.store.campaign_counts(campaigns[0]).await;
    let counts = counts.expect("the counts");
    assert_eq!((counts.queued, counts.sending, counts.uncertain), (0, 0, 2));
    let counts = world.store.campaign_counts(campaigns[1]).await;
    assert_eq!(counts.expect("the counts").uncertain, 0);
}

/// How many seconds are left until then, by the database's clock.
async fn runs_out_in(world: &World, at: time::OffsetDateTime) -> f64 {
    sqlx::query_scalar("select extract(epoch from $1 - now())::float8")
        .bind(at)
        .fetch_one(&world.database.pool)
        .await
        .expect("a span")
}
