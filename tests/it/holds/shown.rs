//! What people and scripts are told of holds, of senders, and of this process.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::TcpListener;
use wa_outbox::admin::{self, Access, Health, STALLED_AFTER};
use wa_outbox::clock::Clock;
use wa_outbox::domain::hold::TemplateKey;
use wa_outbox::store::Store;
use wa_outbox::store::hold::ProbeEnd;
use wa_outbox::store::summary::COUNTED_AT_MOST;
use wa_outbox::store::template_hold::TemplateRelease;

use super::{a_template, an_expired_token, the_sender};
use crate::support::callbacks::get;
use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

impl World {
    /// What the owner of the sender says of it, `seconds` ago.
    async fn the_owner_says(&self, seconds: i32) {
        self.run_sql(&format!(
            "insert into wa.sender_runtime (sender, worker, epoch, updated_at, rate_now, rate_limit, limit_source, in_flight, at_hand)
             select sender, worker, epoch, now() - make_interval(secs => {seconds}), 78, 80, 'rate_per_second of the sender', 12, 400
             from wa.leases on conflict (sender) do update set updated_at = excluded.updated_at"
        ))
        .await;
    }
}

#[tokio::test]
async fn why_sender_says_in_one_sentence_what_keeps_it() {
    let world = World::at_rest().await;
    let why = ["why", "sender", SENDER];
    let says = world.says(&why).await;
    assert!(
        says.starts_with(&format!("Sender {SENDER} waits for a worker: none runs;")),
        "{says}"
    );

    world.a_worker().await;
    let says = world.says(&why).await;
    assert!(
        says.starts_with(&format!("Sender {SENDER} has nothing due.\n")),
        "{says}"
    );

    world.enqueue(a_text()).await;
    world.the_owner_says(1).await;
    let says = world.says(&why).await;
    assert!(
        says.starts_with(&format!("Sender {SENDER} sends 78 of 80 a second.\n")),
        "{says}"
    );
    assert!(says.contains("rate_per_second of the sender"), "{says}");

    world.the_owner_says(60).await;
    let json = world.says_json(&["why", "sender", SENDER, "--json"]).await;
    let standing = &json["standing"];
    assert_eq!(
        (&standing["doing"], &standing["is_stale"]),
        (&"unheard".into(), &true.into())
    );

    world.hold(&an_expired_token()).await;
    let says = world.says(&why).await;
    assert!(
        says.contains("by wa-outbox: its token is not accepted: (190)"),
        "{says}"
    );
    assert!(
        says.contains("or at once when the token at file:"),
        "{says}"
    );
}

#[tokio::test]
async fn a_standing_counts_no_further_than_ten_thousand() {
    let world = World::at_rest().await;
    world
        .run_sql(&format!(
            "insert into wa.outbox (sender, recipient, payload, priority, due_at)
             select '{SENDER}', '+16505551001', '{{\"type\":\"text\",\"text\":{{\"body\":\"x\"}}}}', n % 10, now() - interval '1 hour'
             from generate_series(1, 10050) n"
        ))
        .await;
    let standings = world.store.sender_standings(Some(&the_sender())).await;
    let standing = standings.expect("a standing").remove(0);
    assert_eq!(
        (standing.due, standing.queued),
        (COUNTED_AT_MOST, COUNTED_AT_MOST)
    );

    let says = world.says(&["summary"]).await;
    assert!(says.contains("more than 10,000"), "{says}");
    assert!(
        says.contains("Stuck: a message has been due for 60 min. Sender"),
        "{says}"
    );
}

#[tokio::test]
async fn a_sender_is_held_and_released_by_verb_with_author_and_reason() {
    let world = World::at_rest().await;
    world.hold(&an_expired_token()).await;
    world
        .says(&[
            "sender",
            "hold",
            SENDER,
            "--reason",
            "under review",
            "--for",
            "2h",
        ])
        .await;
    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!(
        (hold.by.as_str(), hold.reason.as_str()),
        ("ada", "under review")
    );
    assert!(hold.until.is_some());

    world
        .says(&[
            "sender", "release", SENDER, "--reason", "reviewed", "--by", "eve",
        ])
        .await;
    let says = world.says(&["sender", "show", SENDER]).await;
    assert!(says.contains("by eve: reviewed"), "{says}");
    let again = world.command(&["sender", "release", SENDER]).await;
    assert_eq!(again.status.code(), Some(1));
}

#[tokio::test]
async fn a_template_is_held_listed_and_released_by_verb() {
    let world = World::at_rest().await;
    world.add_sender("2").await;
    let message = world.enqueue(a_template("promo", "en_US")).await;
    let says = world
        .says(&[
            "template",
            "hold",
            "promo",
            "--language",
            "en_US",
            "--reason",
            "wrong price",
        ])
        .await;
    assert!(
        says.starts_with("Template promo (en_US) is held for 2 senders until it is released"),
        "{says}"
    );
    let twice = [
        "template",
        "hold",
        "promo",
        "--language",
        "en_US",
        "--reason",
        "again",
    ];
    assert_eq!(world.command(&twice).await.status.code(), Some(1));

    let list = world.says_json(&["template", "list", "--json"]).await;
    let hold = &list[0];
    assert_eq!(
        (&hold["template"], &hold["held_by"], &hold["cause"]),
        (&"promo".into(), &"ada".into(), &"operator".into())
    );
    let number = world.held_templates().await[0].hold;
    let aside = world.store.put_off_for_template(&[(message, number)]).await;
    assert_eq!(aside.expect("it is set aside"), 1);

    world
        .says(&["template", "release", "promo", "--reason", "corrected"])
        .await;
    assert_eq!(world.count("wa.queue where due_at <= now()").await, 1);
    assert_eq!(
        world.says(&["template", "list"]).await,
        "No template is held.\n"
    );
    let past = world.says(&["template", "list", "--all"]).await;
    assert!(past.contains("by ada: corrected"), "{past}");
}

#[tokio::test]
async fn the_workers_role_may_do_all_of_it() {
    let world = World::at_rest().await;
    let options: PgConnectOptions = world.database.url.parse().expect("a URL");
    let pool = PgPoolOptions::new()
        .connect_with(options.options([("role", "wa_worker")]))
        .await
        .expect("a connection");
    let store = Store::over(pool);
    let worker = world.a_worker().await;
    let message = world.enqueue(a_template("promo", "en_US")).await;

    let sender = the_sender();
    let held = store.hold_sender_for(&sender, &an_expired_token()).await;
    assert!(held.expect("it is held"));
    world
        .run_sql("update wa.senders set probe_at = now()")
        .await;
    assert!(
        store
            .begin_probe(worker, &sender, None)
            .await
            .expect("it is begun")
    );
    assert!(
        store
            .end_probe(&sender, ProbeEnd::Accepted)
            .await
            .expect("it is ended")
    );

    world
        .hold_template(&TemplateKey::new("promo", None), Some(132015))
        .await;
    let hold = store.template_holds(&[sender]).await.expect("the holds")[0].hold;
    assert_eq!(
        store
            .put_off_for_template(&[(message, hold)])
            .await
            .expect("set aside"),
        1
    );
    world
        .run_sql("update wa.template_holds set held_until = now()")
        .await;
    assert!(
        store
            .begin_template_probe(worker, hold)
            .await
            .expect("it is begun")
    );
    let release = TemplateRelease {
        sender: None,
        template: &TemplateKey::new("promo", None),
        by: "ada",
        why: "corrected",
    };
    assert_eq!(
        store
            .release_template(&release)
            .await
            .expect("it is released"),
        1
    );
    while store.bring_back(10).await.expect("it is brought back") {}
    assert!(store.message(message).await.expect("the message").is_some());
}

#[tokio::test]
async fn a_loop_that_has_stopped_turning_makes_the_process_unready_and_is_named() {
    let mut world = World::at_rest().await;
    let answer = async |last_turn: Duration, may_send: bool, store: &Store| {
        let health = Health {
            store: store.clone(),
            clock: Clock::system(),
            may_send: Some(Arc::new(move |_| may_send)),
            progress: Some(Arc::new(move || last_turn)),
            stuck: None,
            unwritten: None,
        };
        let routes = admin::routes(
            Arc::new(health),
            Arc::default(),
            Access::default(),
            wa_outbox::service::uncertain_policy(&world.config.reconcile),
            tokio_util::sync::CancellationToken::new(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        let answer = get(format!("http://{address}/readyz")).await;
        server.abort();
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let parts = ["database", "leases", "dispatcher"].map(|part| body[part] == true);
        (answer.status, parts)
    };

    let turning = Duration::from_millis(5);
    let stuck = STALLED_AFTER + turning;
    assert_eq!(
        answer(turning, true, &world.store).await,
        (200, [true, true, true])
    );
    assert_eq!(
        answer(stuck, true, &world.store).await,
        (503, [true, true, false])
    );
    assert_eq!(
        answer(turning, false, &world.store).await,
        (503, [true, false, true])
    );
    let gone = Store::over(
        sqlx::PgPool::connect(&world.database.url)
            .await
            .expect("a pool"),
    );
    gone.close().await;
    assert_eq!(
        answer(turning, true, &gone).await,
        (503, [false, true, true])
    );

    // And as the service asks it of itself.
    world.start_service().await;
    let admin = world
        .service
        .as_ref()
        .and_then(|service| service.admin_address);
    let url = format!("http://{}/readyz", admin.expect("it answers operators"));
    world
        .until_true("the service is ready", async || {
            get(url.clone()).await.status == 200
        })
        .await;
}
