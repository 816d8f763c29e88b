//! `wa-outbox tail`: what happens over the whole fleet, told to those who watch, and only while they do.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::Value;
use wa_outbox::cli::bench::cable::Cable;
use wa_outbox::domain::id::MessageId;
use wa_outbox::message::OnUncertain;
use wa_outbox::service::{self, Role, Service};
use wa_outbox::simulator::Fault;
use wa_outbox::store::Store;

use crate::support::make::{ALICE, BOB, a_text};
use crate::support::tailing::Tailing;
use crate::support::world::{SENDER, World};

const ANOTHER: &str = "106540352242923";

impl World {
    /// Batches that were ever told, to anybody.
    async fn batches_ever_told(&self) -> i64 {
        self.number(
            "select case when is_called then last_value else 0 end from wa.tail_batches_batch_seq",
        )
        .await
    }

    /// A service that has a part of the work.
    async fn a_service_with(&self, role: Role) -> Service {
        let settings = service::connect_settings(&self.config, &self.database.url);
        let store = Store::connect(&settings).await.expect("a connection");
        Service::start(store, &self.config, &self.env, &BTreeSet::from([role]))
            .await
            .expect("it starts")
    }
}

/// The kinds of the events of a message, in the order in which they were told.
fn kinds_of(events: &[Value], message: MessageId) -> Vec<String> {
    events
        .iter()
        .filter(|event| event["message"] == message.0)
        .map(|event| event["event"].as_str().expect("a kind").to_owned())
        .collect()
}

/// Waits until a message's last event of this kind was told, and gives the kinds of all of them.
async fn way_of(tailing: &Tailing, message: MessageId, last: &str) -> Vec<String> {
    tailing
        .until_told(last, |events| {
            let kinds = kinds_of(events, message);
            kinds.iter().any(|kind| kind == last).then_some(kinds)
        })
        .await
}

#[tokio::test]
async fn the_whole_way_of_a_message_is_told_in_order() {
    let world = World::start().await;
    let tailing = world.tail_the_service(&["--json"]).await;
    let message = world.enqueue(a_text()).await;
    assert_eq!(
        way_of(&tailing, message, "read").await,
        ["begun", "accepted", "sent", "delivered", "read"]
    );
    let events = tailing.events();
    assert!(events.iter().all(|event| event["sender"] == SENDER));
    assert!(events.iter().all(|event| event["recipient"] == "+165…01"));
    assert!(events.iter().all(|event| event["attempt"] == 1));
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_its_reason_and_what_to_do() {
    let world = World::start().await;
    let tailing = world.tail_the_service(&["--json"]).await;
    world.simulator.fault_next(ALICE, Fault::RateLimited);
    let slowed = world.enqueue(a_text()).await;
    let way = way_of(&tailing, slowed, "read").await;
    assert_eq!(way[..4], ["begun", "throttled", "begun", "accepted"]);
    let throttled = tailing.until_event("throttled").await;
    assert_eq!(
        (&throttled["code"], &throttled["attempt"]),
        (&130429.into(), &1.into())
    );
    assert!(
        throttled["again_in_s"]
            .as_f64()
            .is_some_and(|seconds| seconds >= 1.0)
    );

    world.simulator.fault_next(ALICE, Fault::Error(131016));
    let transient = world.enqueue(a_text()).await;
    way_of(&tailing, transient, "deferred").await;

    world.simulator.fault_next(BOB, Fault::Error(131026));
    let refused = world.enqueue(a_text().to(BOB)).await;
    assert_eq!(
        way_of(&tailing, refused, "failed").await,
        ["begun", "failed"]
    );
    let failed = tailing.until_event("failed").await;
    assert_eq!(failed["meaning"], "Message undeliverable");
    assert!(
        failed["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.starts_with("Not on WhatsApp"))
    );
}

#[tokio::test]
async fn a_doubt_is_told_and_how_it_was_settled() {
    let world = World::start().await;
    let tailing = world.tail_the_service(&["--json"]).await;
    // Accepted, and its status tells it.
    world
        .simulator
        .fault_next(ALICE, Fault::AcceptThenServerError);
    let told = world.enqueue(a_text()).await;
    let way = way_of(&tailing, told, "read").await;
    assert!(way.contains(&"accepted".to_owned()), "{way:?}");
    // Never accepted: its policy leaves it to a person, who settles it.
    world.simulator.fault_next(BOB, Fault::ServerError);
    let lost = world
        .enqueue(a_text().to(BOB).on_uncertain(OnUncertain::Hold))
        .await;
    way_of(&tailing, lost, "left_to_person").await;
    let id = lost.0.to_string();
    let word = [
        "uncertain",
        "resolve",
        &id,
        "--not-sent",
        "--reason",
        "it was not there",
    ];
    world.says(&word).await;
    assert_eq!(
        way_of(&tailing, lost, "settled").await,
        ["begun", "uncertain", "left_to_person", "settled"]
    );
    let settled = tailing
        .until_told("settled", |events| {
            let of_it = |event: &&Value| event["message"] == lost.0 && event["event"] == "settled";
            events.iter().find(of_it).cloned()
        })
        .await;
    assert_eq!(
        (&settled["by"], &settled["text"]),
        (&"ada".into(), &"it was not there".into())
    );
}

#[tokio::test]
async fn what_people_and_sql_do_is_told() {
    let mut world = World::start().await;
    let tailing = world.tail_the_service(&["--json"]).await;
    world
        .says(&["sender", "hold", SENDER, "--reason", "under review"])
        .await;
    let held = tailing.until_event("sender_held").await;
    assert_eq!(
        (&held["by"], &held["text"]),
        (&"ada".into(), &"under review".into())
    );
    let waits = world.enqueue(a_text()).await;
    world.run_sql(&format!("select wa.cancel({waits})")).await;
    let cancelled = tailing.until_event("cancelled").await;
    assert_eq!(
        (&cancelled["message"], &cancelled["recipient"]),
        (&waits.0.into(), &"+165…01".into())
    );
    let short = world.enqueue(a_text()).await;
    world
        .run_sql(&format!(
            "update wa.outbox set expires_at = now() where id = {short}"
        ))
        .await;
    world
        .run_sql(&format!(
            "update wa.queue set expires_at = now() where id = {short}"
        ))
        .await;
    assert_eq!(tailing.until_event("expired").await["message"], short.0);
    world.says(&["sender", "release", SENDER]).await;
    tailing.until_event("sender_released").await;

    world
        .says(&["template", "hold", "promo", "--reason", "wrong price"])
        .await;
    assert_eq!(tailing.until_event("template_held").await["about"], "promo");
    world.says(&["template", "release", "promo"]).await;
    tailing.until_event("template_released").await;

    world.simulator.fault_next(ALICE, Fault::Error(131026));
    let head = world.enqueue(a_text().in_sequence("order-17")).await;
    world.enqueue(a_text().in_sequence("order-17")).await;
    let halted = tailing.until_event("sequence_halted").await;
    assert_eq!(
        (&halted["about"], &halted["message"]),
        (&"order-17".into(), &head.0.into())
    );
    let of = head.0.to_string();
    world
        .says(&[
            "sequence",
            "resume",
            "--of",
            &of,
            "--reason",
            "told by phone",
        ])
        .await;
    assert_eq!(tailing.until_event("sequence_resumed").await["by"], "ada");

    world.a_campaign_called("spring").await;
    for (verb, event) in [
        ("start", "campaign_started"),
        ("pause", "campaign_paused"),
        ("resume", "campaign_resumed"),
        ("cancel", "campaign_cancelled"),
    ] {
        world
            .run_sql(&format!(
                "select wa.{verb}_campaign(id, 'ada', 'why not') from wa.campaigns"
            ))
            .await;
        let told = tailing.until_event(event).await;
        assert_eq!(
            (&told["about"], &told["by"]),
            (&"spring".into(), &"ada".into())
        );
    }
    world.stop_service().await;
}

impl World {
    async fn a_campaign_called(&self, name: &str) {
        let promo =
            r#"{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}"#;
        self.run_sql(&format!(
            "select wa.create_campaign('{name}', '{promo}', sender => '{SENDER}', author => 'ada')"
        ))
        .await;
    }
}

#[tokio::test]
async fn each_filter_tells_its_own_and_nothing_else() {
    let world = World::at_rest().await;
    world.add_sender(ANOTHER).await;
    world.a_campaign_called("spring").await;
    let plain = world.enqueue(a_text()).await;
    let in_line = world.enqueue(a_text().in_sequence("order-17")).await;
    let insert = |columns: &str, values: &str| {
        format!("insert into wa.outbox (recipient, {columns}) values ('{BOB}', {values})")
    };
    let hello = r#"'{"type":"text","text":{"body":"Hello"}}'"#;
    world
        .run_sql(&insert("sender, payload", &format!("'{ANOTHER}', {hello}")))
        .await;
    world.run_sql(&insert("campaign_id", "1")).await;
    let of_another = MessageId(world.number("select max(id) - 1 from wa.outbox").await);
    let of_campaign = MessageId(of_another.0 + 1);
    let id = plain.0.to_string();

    let filters: [&[&str]; 6] = [
        &["--sender", ANOTHER],
        &["--message", &id],
        &["--sequence", "order-17"],
        &["--campaign", "spring"],
        &["--event", "delivered,campaign_started"],
        &["--failures"],
    ];
    let tailings: Vec<Tailing> = filters
        .iter()
        .map(|filter| world.tail(&[filter as &[&str], &["--json"]].concat()))
        .collect();
    for tailing in &tailings {
        tailing.until_noted("Watching").await;
    }
    world
        .simulator
        .fault_always(BOB, Some(Fault::Error(131026)));
    let mut world = world;
    world.start_service().await;
    for tailing in &tailings {
        tailing.until_noted("tells what it does.").await;
    }
    world.run_sql("select wa.start_campaign(1, 'ada')").await;

    let [sender, message, sequence, campaign, event, failures] = &tailings[..] else {
        unreachable!("six of them")
    };
    way_of(sender, of_another, "failed").await;
    way_of(message, plain, "read").await;
    way_of(sequence, in_line, "read").await;
    campaign.until_event("campaign_started").await;
    way_of(campaign, of_campaign, "failed").await;
    way_of(event, in_line, "delivered").await;
    way_of(event, plain, "delivered").await;
    event.until_event("campaign_started").await;
    way_of(failures, of_another, "failed").await;
    way_of(failures, of_campaign, "failed").await;

    let only = |tailing: &Tailing, is_its: &dyn Fn(&Value) -> bool| {
        for event in tailing.events() {
            assert!(is_its(&event), "{event}");
        }
    };
    only(sender, &|event| event["sender"] == ANOTHER);
    only(message, &|event| event["message"] == plain.0);
    only(sequence, &|event| {
        event["sequence"] == "order-17" && event["message"] == in_line.0
    });
    only(campaign, &|event| event["campaign_id"] == 1);
    only(event, &|event| {
        event["event"] == "delivered" || event["event"] == "campaign_started"
    });
    only(failures, &|event| event["event"] == "failed");
}

#[tokio::test]
async fn a_filter_that_cannot_be_meant_is_refused() {
    let world = World::at_rest().await;
    for (arguments, words) in [
        (["tail", "--sender", "4711"], "there is no sender 4711"),
        (["tail", "--message", "4711"], "there is no message 4711"),
        (
            ["tail", "--campaign", "spring"],
            "there is no campaign spring",
        ),
        (["tail", "--event", "deliverd"], "the nearest is delivered"),
    ] {
        let says = world.refuses(&arguments).await;
        assert!(says.contains(words), "{says}");
    }
    assert_eq!(world.number("select count(*) from wa.tailers").await, 0);
}

#[tokio::test]
async fn while_nobody_watches_nothing_is_written() {
    let world = World::start().await;
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;
    world
        .says(&["sender", "hold", SENDER, "--reason", "under review"])
        .await;
    world.says(&["sender", "release", SENDER]).await;
    assert_eq!(world.batches_ever_told().await, 0);

    let mut tailing = world.tail_the_service(&["--json"]).await;
    tailing.signal(Signal::INT);
    tailing.ended().await;
    world
        .until_true("its process has heard that nobody watches", async || {
            world.number("select count(*) from wa.tailers").await == 0
        })
        .await;
    let told = world.batches_ever_told().await;
    assert!(told > 0);
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;
    world
        .says(&["sender", "hold", SENDER, "--reason", "under review"])
        .await;
    assert_eq!(world.batches_ever_told().await, told);
}

#[tokio::test]
async fn what_it_did_not_ask_for_is_not_even_written() {
    let world = World::start().await;
    let tailing = world
        .tail_the_service(&["--sequence", "order-17", "--event", "accepted,begun"])
        .await;
    // It reads nothing any more, so what is told stays.
    tailing.signal(Signal::STOP);
    let plain = world.enqueue(a_text()).await;
    world.until_status(plain, "read").await;
    let in_line = world.enqueue(a_text().in_sequence("order-17")).await;
    world.until_status(in_line, "read").await;
    world
        .until_true("it is told of the message that it asks for", async || {
            world
                .number("select sum(jsonb_array_length(events)) from wa.tail_batches")
                .await
                == 2
        })
        .await;
    let told: Vec<i64> = sqlx::query_scalar(
        "select (e ->> 'message')::bigint from wa.tail_batches, jsonb_array_elements(events) e",
    )
    .fetch_all(&world.database.pool)
    .await
    .expect("an answer");
    assert_eq!(told, [in_line.0, in_line.0]);
}

#[tokio::test]
async fn an_interrupt_ends_it_well_and_it_is_forgotten_at_once() {
    let world = World::at_rest().await;
    for signal in [Signal::INT, Signal::TERM] {
        let mut tailing = world.tail(&[]);
        tailing.until_noted("Watching").await;
        assert_eq!(world.number("select count(*) from wa.tailers").await, 1);
        tailing.signal(signal);
        assert_eq!(tailing.ended().await.code(), Some(0));
        assert_eq!(world.number("select count(*) from wa.tailers").await, 0);
    }
}

#[tokio::test]
async fn one_that_died_is_forgotten_when_its_time_is_over() {
    let world = World::start().await;
    let mut tailing = world.tail_the_service(&["--json"]).await;
    tailing.signal(Signal::KILL);
    tailing.ended().await;
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;
    world
        .until_true("it is told although it is dead", async || {
            world.number("select count(*) from wa.tail_batches").await > 0
        })
        .await;
    let personal = world
        .number("select count(*) from wa.tail_batches where events::text like '%6505551001%' or events::text like '%wamid%'")
        .await;
    assert_eq!(personal, 0);
    world
        .run_sql("update wa.tailers set expires_at = now()")
        .await;
    world
        .until_true("nothing of it is left", async || {
            world.number("select (select count(*) from wa.tailers) + (select count(*) from wa.tail_batches)").await == 0
        })
        .await;
    let told = world.batches_ever_told().await;
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;
    world
        .says(&["sender", "hold", SENDER, "--reason", "under review"])
        .await;
    assert_eq!(world.batches_ever_told().await, told);
}

#[tokio::test]
async fn of_a_flood_so_many_are_told_and_the_others_counted() {
    let world = World::at_rest().await;
    world
        .run_sql(
            r#"insert into wa.outbox (recipient, payload)
               select '+16505551234', '{"type":"text","text":{"body":"Hello"}}' from generate_series(1, 2000)"#,
        )
        .await;
    let tailing = world.tail(&["--json"]);
    tailing.until_noted("Watching").await;
    world.run_sql("select wa.cancel(id) from wa.outbox").await;
    let left_out = tailing.until_event("left_out").await["left_out"].clone();
    // The last of those that are told come with the next look.
    let told = tailing
        .until_told("a hundred", |events| {
            let told = events
                .iter()
                .filter(|event| event["event"] == "cancelled")
                .count();
            (told >= 100).then_some(told)
        })
        .await;
    assert_eq!((told, left_out), (100, 1_900.into()));
}

#[tokio::test]
async fn every_event_of_many_messages_is_told_or_counted() {
    const MESSAGES: u64 = 400;
    let world = World::start().await;
    let tailing = world.tail_the_service(&["--json"]).await;
    world
        .run_sql(&format!(
            r#"insert into wa.outbox (recipient, payload)
               select '+1650555' || 1000 + n, '{{"type":"text","text":{{"body":"Hello"}}}}' from generate_series(1, {MESSAGES}) n"#
        ))
        .await;
    let sum = tailing
        .until_told("all of them", |events| {
            let count = |event: &Value| event["left_out"].as_u64().unwrap_or(1);
            let sum = events.iter().map(count).sum::<u64>();
            (sum >= MESSAGES * 5).then_some(sum)
        })
        .await;
    world.until_webhooks_are_applied().await;
    assert_eq!(sum, MESSAGES * 5);
}

#[tokio::test]
async fn a_line_for_people_shows_a_number_only_when_it_is_asked_for() {
    let world = World::start().await;
    let masked = world.tail_the_service(&[]).await;
    let open = world.tail_the_service(&["--reveal"]).await;
    let message = world.enqueue(a_text()).await;
    let line = masked.until_said("delivered").await;
    assert!(
        line.ends_with(&format!(
            " UTC  delivered           {SENDER}  message {message} to +165…01, attempt 1"
        )),
        "{line}"
    );
    let line = open.until_said("delivered").await;
    assert!(
        line.contains(&format!("message {message} to {ALICE}, attempt 1")),
        "{line}"
    );
    assert!(
        !line.contains('\u{1b}'),
        "no colours where there is no terminal"
    );
}

#[tokio::test]
async fn who_may_only_look_may_watch() {
    let world = World::start().await;
    let url = world.database.url_as("wa_viewer");
    let mut tailing = Tailing::start(&url, &["--json", "--sender", SENDER]);
    tailing.until_noted("tells what it does.").await;
    let message = world.enqueue(a_text()).await;
    way_of(&tailing, message, "read").await;
    tailing.signal(Signal::INT);
    assert_eq!(tailing.ended().await.code(), Some(0));
    assert_eq!(world.number("select count(*) from wa.tailers").await, 0);
}

#[tokio::test]
async fn a_broken_connection_costs_it_no_event() {
    let world = World::start().await;
    let cable = Cable::to(&world.database.url).await.expect("a cable");
    let tailing = Tailing::start(&cable.url(), &["--json"]);
    tailing.until_noted("tells what it does.").await;
    cable.cut();
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;
    tailing.until_noted("The database cannot be reached").await;
    cable.mend();
    tailing.until_noted("The database answers again.").await;
    let way = way_of(&tailing, message, "read").await;
    assert_eq!(way, ["begun", "accepted", "sent", "delivered", "read"]);
}

#[tokio::test]
async fn one_that_the_database_forgot_says_so_and_goes_on() {
    let world = World::start().await;
    let tailing = world.tail_the_service(&["--json"]).await;
    world.run_sql("delete from wa.tailers").await;
    tailing.until_noted("may be missing").await;
    let message = tailing_again(&world, &tailing).await;
    assert!(!kinds_of(&tailing.events(), message).is_empty());
}

/// Writes messages until one of them is told of.
async fn tailing_again(world: &World, tailing: &Tailing) -> MessageId {
    loop {
        let message = world.enqueue(a_text()).await;
        world.until_status(message, "read").await;
        world.run_sql(&format!("select wa.tell_tailers(jsonb_build_object('kind', 'expired', 'sender', '{SENDER}', 'message', {message}))"))
            .await;
        let kinds = way_of(tailing, message, "expired").await;
        if kinds.iter().any(|kind| kind == "begun") {
            return message;
        }
    }
}

#[tokio::test]
async fn processes_with_parts_of_the_work_tell_their_parts() {
    let world = World::at_rest().await;
    let receiver = world.a_service_with(Role::Webhook).await;
    let webhooks = receiver.webhook_address.expect("it receives webhooks");
    world.simulator.set_webhook(
        format!("http://{webhooks}/webhook"),
        crate::support::world::APP_SECRET,
    );
    let tailing = world.tail_the_service(&["--json"]).await;
    let worker = world.a_service_with(Role::Worker).await;
    let begun = world.enqueue(a_text()).await;
    way_of(&tailing, begun, "read").await;
    // What the worker did before it heard that somebody watches is not told.
    let message = tailing_again(&world, &tailing).await;
    way_of(&tailing, message, "accepted").await;
    assert!(worker.stop().await);
    assert!(receiver.stop().await);
}
