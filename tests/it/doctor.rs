//! `wa-outbox doctor`: what is well is called well, what is broken is named with its fix, and nothing is sent or shown.

use serde_json::Value;
use sqlx::AssertSqlSafe;
use wa_outbox::simulator::{Fault, Statuses};
use wa_outbox::store::sender::SenderChange;

use crate::support::database::TestDatabase;
use crate::support::make::{ALICE, a_text};
use crate::support::provider::{LOGIN, Provided, SHARED_SECRET, bsp, on_premises};
use crate::support::world::{APP_SECRET, SENDER, World, quick_settings};

/// What one look found.
struct Found {
    exit: Option<i32>,
    report: Value,
    said: String,
}

impl Found {
    /// How a check stands, and in which words with their fix.
    fn of(&self, check: &str) -> (String, String) {
        let findings = self.report["findings"].as_array().expect("findings");
        let found = findings.iter().find(|one| one["check"] == check);
        let found = found.unwrap_or_else(|| panic!("no check {check}: {findings:?}"));
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (
            text("standing"),
            format!("{} | {}", text("words"), text("fix")),
        )
    }

    fn standing(&self, check: &str) -> String {
        self.of(check).0
    }

    /// That a check stands so, and says this.
    fn shows(&self, check: &str, standing: &str, words: &str) {
        let (found, said) = self.of(check);
        assert_eq!(found, standing, "{check}: {said}");
        assert!(said.contains(words), "{check}: {said}");
    }
}

const SECRETS: [(&str, &str); 3] = [
    ("WHATSAPP_APP_SECRET", APP_SECRET),
    ("WHATSAPP_VERIFY_TOKEN", "verify-token-of-the-tests"),
    ("WA_OUTBOX__WEBHOOK__UNSIGNED_SECRETS", SHARED_SECRET),
];

async fn looks(world: &World) -> Found {
    looks_with(world, &SECRETS).await
}

async fn looks_with(world: &World, env: &[(&str, &str)]) -> Found {
    let output = world.command_with(env, &["doctor", "--json"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{said} {}", String::from_utf8_lossy(&output.stderr)));
    Found {
        exit: output.status.code(),
        report,
        said: said + &String::from_utf8_lossy(&output.stderr),
    }
}

async fn run(world: &World, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&world.database.pool)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

#[tokio::test]
async fn where_all_is_well_nothing_is_broken_nothing_is_sent_and_no_secret_is_shown() {
    let world = World::start().await;
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;
    let slow = SenderChange {
        rate_per_second: Some(80.0),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, slow).await;

    let found = looks(&world).await;
    assert_eq!(
        (found.exit, &found.report["broken"]),
        (Some(0), &0.into()),
        "{}",
        found.said
    );
    for check in [
        "reachable",
        "version",
        "clock",
        "pooler",
        "schema",
        "worker",
        "vacuum",
        "disk",
        "credential",
        "provider",
        "token",
        "subscription",
        "lease",
        "end",
        "retention",
        "rate",
        "lost answers",
        "statuses",
        "secret",
        "verify token",
        "receiver",
        "last delivery",
        "inbox",
        "uncertain",
        "templates",
    ] {
        assert_eq!(found.standing(check), "fine", "{check}");
    }
    assert_eq!(world.requests(), 1);
    let deletes = [
        &SECRETS[..],
        &[("WA_OUTBOX__RETENTION__MESSAGES_DAYS", "90")],
    ]
    .concat();
    let found_then = looks_with(&world, &deletes).await;
    found_then.shows("retention", "note", "nobody has looked for them yet");
    for secret in ["test-token", APP_SECRET, "verify-token", SHARED_SECRET] {
        assert!(!found.said.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn an_on_premises_client_is_logged_in_to_and_asked_for_its_health() {
    let world = Provided::on_premises().await;
    let found = looks(&world).await;
    assert_eq!(found.exit, Some(0), "{}", found.said);
    found.shows("provider", "fine", "lets us in");
    found.shows("lost answers", "note", "left to a person");
    assert_eq!((world.requests(), world.simulator.logins()), (0, 1));

    world.simulator.set_password(Some("admin:another"));
    let found = looks(&world).await;
    assert_eq!(found.exit, Some(1));
    found.shows("provider", "broken", "Access denied");
    assert!(!found.said.contains(LOGIN), "{}", found.said);
}

#[tokio::test]
async fn a_bsp_is_only_knocked_at() {
    let world = Provided::start(bsp("/messages"), "practice").await;
    let found = looks(&world).await;
    found.shows("provider", "fine", "answers");
    found.shows("lost answers", "note", "Until a status of it has brought");
    world.simulator.go_away().await;
    let found = looks(&world).await;
    found.shows("provider", "broken", "cannot be reached");
    assert_eq!((found.exit, world.requests()), (Some(1), 0));
}

#[tokio::test]
async fn what_is_wrong_with_a_sender_is_named_with_its_fix() {
    let world = World::at_rest().await;
    let fast = SenderChange {
        rate_per_second: Some(1_500.0),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, fast).await;
    let found = looks(&world).await;
    found.shows("rate", "note", "--rate-per-second 80");
    found.shows("worker", "note", "wa-outbox run");

    let sender = wa_outbox::domain::id::SenderId::from(SENDER);
    let held = world
        .store
        .hold_sender(&sender, "under review", "ada", None);
    assert!(held.await.expect("is held"));
    let nowhere = SenderChange {
        credential: Some("env:NOT_SET_ANYWHERE".to_owned()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, nowhere).await;
    let found = looks(&world).await;
    found.shows("held", "broken", "under review");
    found.shows(
        "held",
        "broken",
        &format!("wa-outbox sender release {SENDER}"),
    );
    found.shows("credential", "broken", "NOT_SET_ANYWHERE");
    assert_eq!((found.exit, &found.report["broken"]), (Some(1), &2.into()));
}

#[tokio::test]
async fn what_a_token_may_not_do_and_an_account_that_nobody_hears_of_are_named() {
    let world = World::start().await;
    let found = looks(&world).await;
    found.shows("subscription", "note", "before its first webhook");
    let message = world.enqueue(a_text()).await;
    world.until_status(message, "read").await;

    world.simulator.set_subscribed(false);
    let found = looks(&world).await;
    found.shows("token", "fine", "does not end");
    found.shows("subscription", "broken", "/102290129340398/subscribed_apps");
    assert_eq!(found.exit, Some(1));

    world.simulator.set_subscribed(true);
    world
        .simulator
        .set_token_scopes(&["whatsapp_business_messaging"]);
    let found = looks(&world).await;
    found.shows("token", "note", "lacks whatsapp_business_management");
    // In the year 2001.
    world.simulator.set_token_expiry(1_000_000_000);
    looks(&world)
        .await
        .shows("token", "note", "it ends at 2001");
    world.simulator.set_token_scopes(&[]);
    let found = looks(&world).await;
    found.shows("token", "broken", "without which nothing is sent");
    assert!(!found.said.contains("test-token"), "{}", found.said);
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn an_end_that_takes_longer_than_others_wait_is_named() {
    let world = World::at_rest().await;
    let slow = [("WA_OUTBOX__WORKER__SHUTDOWN_S", "300")];
    let found = looks_with(&world, &slow).await;
    found.shows("end", "note", "TimeoutStopSec");
    found.shows("durability", "note", "fsync is off");
}

#[tokio::test]
async fn a_refused_token_is_told_in_the_providers_words() {
    let world = Provided::start(SenderChange::default(), "EAAGlooksreal").await;
    let found = looks(&world).await;
    found.shows(
        "provider",
        "broken",
        "This is a simulator, and this token looks real",
    );
    assert!(!found.said.contains("EAAGlooksreal"));
}

#[tokio::test]
async fn webhooks_that_cannot_or_do_not_come_are_named() {
    let world = World::start().await;
    let found = looks_with(&world, &[]).await;
    found.shows("secret", "broken", "WHATSAPP_APP_SECRET");
    found.shows("verify token", "note", "WHATSAPP_VERIFY_TOKEN");
    found.shows("last delivery", "note", "none has ever come");
    let short = [("WA_OUTBOX__WEBHOOK__UNSIGNED_SECRETS", "short")];
    looks_with(&world, &short)
        .await
        .shows("secret", "broken", "openssl rand");

    world.simulator.set_statuses(Statuses::none());
    let message = world.enqueue(a_text()).await;
    world.until_state(message, "accepted").await;
    assert_eq!(looks(&world).await.standing("statuses"), "note");
    run(
        &world,
        "update wa.results set ended_at = now() - interval '20 min'",
    )
    .await;
    let found = looks(&world).await;
    found.shows("statuses", "broken", "its latest 1 accepted");
    assert_eq!(found.exit, Some(1));
}

#[tokio::test]
async fn a_database_that_is_not_there_or_not_ours_is_named_and_the_rest_is_looked_at() {
    let mut world = World::at_rest().await;
    let away = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")];
    let found = looks_with(&world, &away).await;
    found.shows("reachable", "broken", "DATABASE_URL");
    found.shows("secret", "broken", "no secret is set");
    assert_eq!(found.exit, Some(1));

    world.database = TestDatabase::empty().await;
    let found = looks(&world).await;
    found.shows("schema", "broken", "wa-outbox migrate");
    assert_eq!(
        (found.standing("reachable"), found.exit),
        ("fine".to_owned(), Some(1))
    );
}

#[tokio::test]
async fn adding_a_sender_that_cannot_settle_lost_answers_says_what_follows() {
    let world = Provided::at_rest_with(quick_settings(), on_premises(), LOGIN).await;
    let add = async |line: &str| {
        let fixed = ["sender", "add", "--credential", "env:X"];
        let arguments: Vec<&str> = fixed.into_iter().chain(line.split(' ')).collect();
        world.says(&arguments).await
    };
    let client = add("1 --provider on_premises").await;
    assert!(client.contains("left to a person"), "{client}");
    let bsp = add("2 --provider bsp --path /messages").await;
    assert!(bsp.contains("Until a status of it"), "{bsp}");
    for settled in ["3", "4 --provider on_premises --callback-echo true"] {
        let said = add(settled).await;
        assert!(!said.contains("left to a person"), "{said}");
    }

    let rates: Vec<(String, f64)> = sqlx::query_as(
        "select sender, rate_per_second from wa.senders where length(sender) = 1 order by 1",
    )
    .fetch_all(&world.database.pool)
    .await
    .expect("the senders");
    let expected = [("1", 70.0), ("2", 80.0), ("3", 80.0), ("4", 70.0)];
    assert_eq!(
        rates,
        expected.map(|(sender, rate)| (sender.to_owned(), rate))
    );
}

#[tokio::test]
async fn a_sender_that_whatsapp_asked_to_wait_is_named() {
    let world = World::start().await;
    world
        .simulator
        .fault_next(ALICE, Fault::TooManyRequests(3_600));
    world.enqueue(a_text()).await;
    world
        .until_true("its owner tells of the wait", async || {
            let slow = "wa.sender_runtime where slow_until > now()";
            world.count(slow).await == 1
        })
        .await;
    let found = looks(&world).await;
    found.shows("pace", "note", "WhatsApp told it to slow down for another");
}
