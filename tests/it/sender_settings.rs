//! Settings of a sender, as they are given and taken away.

use std::iter::repeat_n;

use wa_outbox::cli::default_sender;
use wa_outbox::simulator::Fault;
use wa_outbox::store::bookings::PAIR_LIMIT;
use wa_outbox::store::sender::{SenderChange, Unset};

use crate::support::make::{ALICE, BOB, a_text};
use crate::support::world::{PATIENCE, SENDER, World, quick_settings};

const ANOTHER: &str = "206540352242922";

#[tokio::test]
async fn a_setting_that_was_given_can_be_taken_away_again_and_alone() {
    let world = World::at_rest().await;
    let given = SenderChange {
        path: Some("/v1/messages".to_owned()),
        max_in_flight: Some(7),
        on_uncertain: Some("hold".to_owned()),
        reconcile_window_s: Some(60),
        ..SenderChange::default()
    };
    let settings = async || {
        let sender = world.store.senders().await.expect("the senders").remove(0);
        let set = [
            sender.path.is_some(),
            sender.max_in_flight.is_some(),
            sender.on_uncertain.is_some(),
            sender.reconcile_window_s.is_some(),
        ];
        (set, sender.is_default, sender.pair_period_ms)
    };
    let all = [
        Unset::Path,
        Unset::MaxInFlight,
        Unset::OnUncertain,
        Unset::ReconcileWindow,
    ];
    for (at, one) in all.into_iter().enumerate() {
        world.change_sender(SENDER, given.clone()).await;
        assert_eq!(settings().await, ([true; 4], true, 0));

        let taken_away = SenderChange {
            unset: vec![one],
            ..SenderChange::default()
        };
        world.change_sender(SENDER, taken_away).await;

        let mut left = [true; 4];
        left[at] = false;
        assert_eq!(settings().await, (left, true, 0), "{one:?}");
    }
}

#[tokio::test]
async fn no_more_requests_of_a_sender_are_out_than_it_may_have() {
    let mut config = quick_settings();
    config.http.response_timeout = PATIENCE;
    let mut world = World::at_rest_with(config).await;
    let three = SenderChange {
        max_in_flight: Some(3),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, three).await;
    world.add_sender(ANOTHER).await;
    // The answers to Bob's come at once, so that many are begun ahead; then no answer comes any more.
    world.simulator.fault_always(ALICE, Some(Fault::Hang));
    let drafts = repeat_n(a_text().to(BOB), 100).chain(repeat_n(a_text(), 20));
    world.enqueue_all(drafts).await;
    world.start_service().await;
    world.until_asked(103).await;

    // The worker goes on meanwhile.
    for _ in 0..5 {
        let mut of_another = a_text().to(BOB);
        of_another.0.sender = Some(ANOTHER.to_owned());
        let message = world.enqueue(of_another).await;
        world.until_state(message, "accepted").await;
    }
    assert_eq!(world.simulator.ledger().requests_for(ALICE).len(), 3);
}

#[tokio::test]
async fn a_credential_that_is_no_file_stops_its_own_sender_and_no_other() {
    let world = World::start().await;
    world.add_sender(ANOTHER).await;
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    for path in [pipe.display().to_string(), "/dev/zero".to_owned()] {
        let change = SenderChange {
            credential: Some(format!("file:{path}")),
            ..SenderChange::default()
        };
        world.change_sender(ANOTHER, change).await;
        world
            .until_true("it is said why it cannot be worked", async || {
                let said = format!("problem like '%{path}%no ordinary file%'");
                world.count(&format!("wa.leases where {said}")).await == 1
            })
            .await;

        let message = world.enqueue(a_text()).await;
        world.until_state(message, "accepted").await;
    }
}

/// A start with these settings of the sender.
async fn started(world: &World, base_url: Option<&str>, credential: &str) -> Vec<String> {
    let mut config = quick_settings();
    config.sender.sender = Some(SENDER.to_owned());
    config.sender.credential = Some(credential.parse().expect("a reference"));
    config.sender.base_url = base_url.map(str::to_owned);
    let done = default_sender(&config, &world.store).await;
    let done = done.expect("it is asked").expect("a sender is named");
    assert!(!done.added);
    done.changed
}

#[tokio::test]
async fn a_start_changes_of_a_sender_what_the_settings_say_and_nothing_that_an_operator_has_set() {
    let world = World::at_rest().await;
    let set = SenderChange {
        api_version: Some("v24.0".to_owned()),
        base_url: Some("https://waba.example.com".to_owned()),
        credential: Some("env:OF_THE_OPERATOR".to_owned()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, set).await;
    let row = async || {
        let one = world.store.senders().await.expect("the senders").remove(0);
        (one.base_url, one.api_version, one.credential)
    };
    let as_it_was = row().await;

    let changed = started(&world, None, "env:WHATSAPP_ACCESS_TOKEN").await;
    assert_eq!((changed, row().await), (vec![], as_it_was.clone()));

    let base = "https://graph.facebook.com";
    let changed = started(&world, Some(base), "env:NAMED").await;
    let said = [
        "credential env:NAMED (was env:OF_THE_OPERATOR)".to_owned(),
        format!("base_url {base} (was https://waba.example.com)"),
    ];
    assert_eq!(changed, said);
    let named = (base.to_owned(), "v24.0".to_owned(), "env:NAMED".to_owned());
    assert_eq!(row().await, named);

    let moved = SenderChange {
        provider: Some("bsp".to_owned()),
        path: Some("/messages".to_owned()),
        base_url: Some("https://waba.example.com".to_owned()),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, moved).await;
    let as_it_was = row().await;
    let changed = started(&world, Some(base), "env:ANOTHER").await;
    assert_eq!((changed, row().await), (vec![], as_it_was));
}

#[tokio::test]
async fn a_start_says_that_its_sender_still_goes_to_what_was_practised_on() {
    let world = World::at_rest().await;
    let named = [
        ("WHATSAPP_PHONE_NUMBER_ID", SENDER),
        ("WHATSAPP_ACCESS_TOKEN", "practice"),
    ];
    let base = world.simulator.base_url();
    let on_purpose = [&named[..], &[("WHATSAPP_API_BASE", base.as_str())]].concat();
    for (settings, is_told) in [(&named[..], true), (&on_purpose, false)] {
        let run = ["run", "--roles", "worker", "--drain"];
        let output = world.command_with(settings, &run).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let way_out =
            format!("wa-outbox sender set {SENDER} --base-url https://graph.facebook.com");
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains(&way_out), is_told, "{said}");
    }
}

#[tokio::test]
async fn senders_are_of_the_same_versions_until_one_changes() {
    let world = World::at_rest().await;
    world.add_sender(ANOTHER).await;
    let store = &world.store;
    let worker = store.register_worker("one", PATIENCE).await;
    let worker = worker.expect("a worker");
    let versions = async || {
        let read = store.versions_of_held(worker).await;
        read.expect("the versions").0
    };
    let none = versions().await;
    store.take_senders(worker).await.expect("the senders");

    let mut known = vec![none];
    let mut differ = async || {
        let (now, again) = (versions().await, versions().await);
        assert_eq!(now, again);
        assert!(!known.contains(&now));
        known.push(now);
    };
    differ().await;
    world
        .change_sender(
            ANOTHER,
            SenderChange {
                max_in_flight: Some(3),
                ..SenderChange::default()
            },
        )
        .await;
    differ().await;
    let problem = Some("its token cannot be read");
    store
        .say_problem(worker, SENDER, problem)
        .await
        .expect("it is said");
    differ().await;
    world
        .run_sql(&format!("delete from wa.leases where sender = '{ANOTHER}'"))
        .await;
    differ().await;
}

#[tokio::test]
async fn what_is_set_wrong_is_refused_by_its_name_with_a_fix() {
    let world = World::at_rest().await;
    let set = |option: &'static [&'static str]| [&["sender", "set", SENDER][..], option].concat();
    let suppress = ["suppress", "add", "+491512345678", "--reason", "x"];
    for (line, code, said) in [
        (
            set(&[
                "--provider",
                "cloud_api",
                "--base-url",
                "https://a.example.com/v23.0",
            ]),
            2,
            "--base-url ends in a version",
        ),
        (
            set(&["--provider", "bsp", "--path", "/{sendr}/x"]),
            2,
            "--path has a placeholder that is not {sender}",
        ),
        (
            set(&["--base-url", "https://a.example.com/"]),
            2,
            "--base-url ends in /",
        ),
        (
            set(&["--reconcile-window-s", "1"]),
            2,
            "--reconcile-window-s 1 is shorter than http.response_timeout_s",
        ),
        (set(&["--delivery-timeout", "3650d"]), 2, "3600d at most"),
        (
            vec!["template", "hold", "Bad Name", "--reason", "x"],
            2,
            "no template is called \"Bad Name\"",
        ),
        (
            vec!["message", "list", "--sender", "999"],
            1,
            "there is no sender 999",
        ),
        (
            vec!["failures", "list", "--sender", "999"],
            1,
            "there is no sender 999",
        ),
        (
            vec![
                "failures", "again", "--code", "1", "--sender", "999", "--reason", "x", "--yes",
            ],
            1,
            "there is no sender 999",
        ),
        (
            [&suppress[..], &["--sender", "999"]].concat(),
            1,
            "there is no sender 999",
        ),
        (
            vec!["message", "list", "--campaign", "spring"],
            1,
            "there is no campaign spring",
        ),
        (
            vec!["message", "list", "--code", "abc"],
            2,
            "a number such as 131026",
        ),
        (
            vec!["tail", "--message", "abc"],
            2,
            "a message's id is a number",
        ),
    ] {
        let output = world.command(&line).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line:?}: {error}");
        assert!(error.contains(said), "{line:?}: {error}");
    }
    // The longest that the database takes.
    world.says(&set(&["--delivery-timeout", "3600d"])).await;
}

#[tokio::test]
async fn messages_are_listed_by_the_name_of_their_campaign() {
    let world = World::at_rest().await;
    for name in ["spring", "autumn"] {
        let template =
            r#"{"type":"template","template":{"name":"sale","language":{"code":"en_US"}}}"#;
        world
            .run_sql(&format!(
                "insert into wa.outbox (campaign_id, recipient) select wa.create_campaign('{name}', '{template}'), '+491512345678'"
            ))
            .await;
    }
    let list = async |campaign| {
        let line = ["message", "list", "--campaign", campaign, "--json"];
        world.says_json(&line).await
    };
    let by_name = list("autumn").await;
    assert_eq!(by_name.as_array().map(Vec::len), Some(1), "{by_name}");
    let campaigns = world.store.campaigns().await.expect("the campaigns");
    let autumn = campaigns.iter().find(|one| one.name == "autumn");
    let number = autumn.expect("autumn").id.to_string();
    assert_eq!(list(number.as_str()).await, by_name);
}

#[tokio::test]
async fn who_may_not_see_the_senders_may_still_look_for_messages_of_one() {
    let world = World::at_rest().await;
    let url = world.database.url_as("wa_producer");
    let list = ["message", "list", "--sender", SENDER];
    let output = world.command_with(&[("DATABASE_URL", &url)], &list).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
}

#[tokio::test]
async fn a_hold_says_from_when_on_it_holds() {
    let world = World::at_rest().await;
    for line in [
        ["sender", "hold", SENDER, "--reason", "x"],
        ["template", "hold", "promo", "--reason", "x"],
    ] {
        let says = world.says(&line).await;
        assert!(
            says.contains("within two seconds; until then its messages may still leave."),
            "{says}"
        );
    }
}

#[tokio::test]
async fn a_limit_that_is_lifted_lets_go_what_it_had_put_off() {
    let mut world = World::at_rest().await;
    let three_in_an_hour = SenderChange {
        pair_period_ms: Some(1_200_000),
        pair_burst: Some(3),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, three_in_an_hour).await;
    world.start_service().await;
    for _ in 0..10 {
        world.enqueue(a_text()).await;
    }
    let mut wanted_later = a_text();
    wanted_later.0.due_at = Some(time::macros::datetime!(2099-01-01 0:00 UTC));
    let wanted_later = world.enqueue(wanted_later).await;
    let put_off = "wa.queue where waiting_for like 'this recipient''s limit%' and due_at > now() + interval '10 minutes'";
    world
        .until_true("seven are put off", async || {
            world.count(put_off).await == 7
        })
        .await;
    world.until_taken(3).await;

    let lift = ["sender", "set", SENDER, "--pair-period-ms", "0"];
    world.says(&lift).await;

    world
        .until_true("all have left that may", async || {
            world.count("wa.queue").await == 1
        })
        .await;
    assert_eq!(world.requests(), 10);
    assert_eq!(world.state_of(wanted_later).await, "queued");
    world
        .until_true("nothing is left to be given back", async || {
            world.count("wa.loosened_settings").await == 0
        })
        .await;
}

#[tokio::test]
async fn of_times_that_are_given_back_somebody_s_own_message_and_another_s_long_queue_hold_up_none()
{
    let world = World::at_rest().await;
    world.add_sender(ANOTHER).await;
    let mut rows = Vec::new();
    for sender in [SENDER, ANOTHER] {
        for _ in 0..5 {
            let mut draft = a_text();
            draft.0.sender = Some(sender.to_owned());
            rows.push(world.enqueue(draft).await);
        }
    }
    for statement in [
        format!(
            "update wa.queue set due_at = now() + interval '1 day', waiting_for = case sender when '{ANOTHER}' then $why${PAIR_LIMIT}$why$ end"
        ),
        format!(
            "insert into wa.loosened_settings (sender, campaign, look_at)
             values ('{SENDER}', 0, now() - interval '2 s'), ('{ANOTHER}', 0, now() - interval '1 s')
             on conflict (sender, campaign) do update set look_at = excluded.look_at"
        ),
    ] {
        world.run_sql(&statement).await;
    }
    let mut application = world.database.pool.begin().await.expect("a transaction");
    sqlx::query("select wa.cancel($1)")
        .bind(rows[5].0)
        .execute(&mut *application)
        .await
        .expect("it is cancelled");

    for _ in 0..6 {
        let looked = world.store.give_times_back(2);
        assert!(looked.await.expect("nobody is waited for"));
    }
    let due = format!("wa.queue where sender = '{ANOTHER}' and due_at <= now()");
    assert_eq!(world.count(&due).await, 4);
    application.rollback().await.expect("it is given up");
}

#[tokio::test]
async fn a_setting_that_is_committed_late_is_taken_up_before_its_times_are_given_back() {
    let world = World::at_rest().await;
    world.run_sql("delete from wa.loosened_settings").await;
    world
        .run_sql(&format!(
            "update wa.senders set pair_burst = pair_burst + 1 where sender = '{SENDER}'"
        ))
        .await;
    let looked = world.store.give_times_back(10);
    assert!(!looked.await.expect("a look"), "it is seen, and waits");
    world
        .run_sql("update wa.loosened_settings set look_at = look_at - interval '2 s'")
        .await;
    let looked = world.store.give_times_back(10);
    assert!(looked.await.expect("a look"));
    assert_eq!(world.count("wa.loosened_settings").await, 0);
}

#[tokio::test]
async fn a_limit_that_becomes_stricter_gives_no_times_back() {
    let world = World::at_rest().await;
    world.run_sql("delete from wa.loosened_settings").await;
    for (period, burst, marks) in [
        (6_000, 45, 0),
        (12_000, 45, 0),
        (12_000, 44, 0),
        (6_000, 45, 1),
    ] {
        let limit = SenderChange {
            pair_period_ms: Some(period),
            pair_burst: Some(burst),
            ..SenderChange::default()
        };
        world.change_sender(SENDER, limit).await;
        let found = world.count("wa.loosened_settings").await;
        assert_eq!(found, marks, "{period} ms, {burst}");
    }
}
