//! What a person can do about it: with the word of the time, with webhooks kept elsewhere, and again after a break.

use std::io::Write as _;

use serde_json::json;
use time::format_description::well_known::Rfc3339;
use wa_outbox::clock::Clock;

use super::{EVIDENCE, SILENT, begin_an_era, in_time, to};
use crate::support::callbacks::{a_delivery, a_status, signed_with, with_data};
use crate::support::world::{APP_SECRET, SENDER, World};

/// A world in which a message was sent, and its database has been set back to before.
async fn a_world_that_went_back() -> (World, [wa_outbox::domain::id::MessageId; 2]) {
    let mut world = World::at_rest().await;
    // Processes and commands have the rights of a worker, and no more.
    let joint = if world.database.url.contains('?') {
        '&'
    } else {
        '?'
    };
    let role = "options=-c%20role%3Dwa_worker";
    world.database.url = format!("{}{joint}{role}", world.database.url);
    world.has_been_worked().await;
    let evident = world.enqueue(to(EVIDENCE)).await;
    let silent = world.enqueue(to(SILENT)).await;
    (world, [evident, silent])
}

fn now() -> String {
    let now = Clock::system().now() - time::Duration::milliseconds(1);
    now.format(&Rfc3339).expect("a time")
}

#[tokio::test]
async fn a_restore_that_nobody_could_notice_is_settled_by_its_time_and_only_once() {
    in_time(async {
        let (world, [evident, silent]) = a_world_that_went_back().await;
        let refusal = world
            .refuses(&["recover", "--yes", "--reason", "a snapshot"])
            .await;
        assert!(refusal.contains("--since TIME"), "{refusal}");
        let since = now();
        let after = world.enqueue(to(EVIDENCE)).await;
        assert_eq!(world.foreseen(&["--since", &since]).await, [2, 0, 0]);
        assert_eq!(
            world.count("wa.uncertain").await,
            0,
            "a look changes nothing"
        );
        let nobody = [("USER", ""), ("LOGNAME", "")];
        let look = world.command_with(&nobody, &["recover"]).await;
        assert!(look.status.success(), "who looks need not say who he is");

        let line = [
            "recover",
            "--since",
            &since,
            "--yes",
            "--reason",
            "a snapshot",
        ];
        world.says(&line).await;
        for message in [evident, silent] {
            assert_eq!(world.state_of(message).await, "uncertain");
        }
        assert_eq!(world.state_of(after).await, "queued");
        let eras = world.count("wa.eras").await;
        let again = world.says(&line).await;
        assert!(again.contains("2 messages were put in doubt"), "{again}");
        assert_eq!(world.count("wa.eras").await, eras);
        assert_eq!(world.count("wa.uncertain").await, 2);
        assert_eq!(
            world
                .count("wa.audit where what = 'recover' and succeeded")
                .await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn times_by_which_nothing_was_lost_are_refused_and_so_is_what_comes_too_late() {
    in_time(async {
        let (world, messages) = a_world_that_went_back().await;
        let ahead = ["recover", "--since", "2099-01-01T00:00:00Z"];
        let refusal = world.refuses(&ahead).await;
        assert!(refusal.contains("--since lies ahead"), "{refusal}");
        let since = now();
        let a_year_before = "2020-01-01T00:00:00Z";
        let settle = ["--yes", "--reason", "a snapshot"];
        for line in [
            [&["recover", "--since", &since, "--until", a_year_before][..], &settle].concat(),
            vec!["recover", "--since", &since, "--until", a_year_before],
            vec!["recover", "--since", &since, "--until", &since],
        ] {
            let refusal = world.refuses(&line).await;
            assert!(refusal.contains("--until is 20"), "{refusal}");
        }
        assert_eq!(world.count("wa.eras where cause = 'operator'").await, 0);
        begin_an_era(&world).await;
        let refusal = world
            .refuses(&[&["recover", "--since", &since, "--until", a_year_before][..], &settle].concat())
            .await;
        assert!(refusal.contains("--until is 20"), "{refusal}");
        let direct = sqlx::query(sqlx::AssertSqlSafe(format!(
            "select wa.start_recovery((select max(era) from wa.eras), '{since}', '{a_year_before}', '0', false)"
        )));
        let refusal = direct.execute(&world.database.pool).await.expect_err("nothing lost");
        assert!(refusal.to_string().contains("complete up to"), "{refusal}");

        let line = [&["recover", "--since", &since][..], &settle].concat();
        world.says(&line).await;
        for message in messages {
            assert_eq!(world.state_of(message).await, "uncertain");
        }
        // It is settled on those terms: others would be without effect.
        for late in [&["--until", "2099-01-01T00:00:00Z"][..], &["--hold"], &["--wait", "2h"]] {
            let refusal = world.refuses(&[&line[..], late].concat()).await;
            assert!(refusal.contains(&format!("{} comes too late", late[0])), "{refusal}");
        }
        let again = world.says(&line).await;
        assert!(again.contains("It was settled before"), "{again}");
    })
    .await;
}

#[tokio::test]
async fn what_was_broken_off_is_gone_on_with_on_the_terms_it_was_begun_with() {
    in_time(async {
        let (world, [evident, silent]) = a_world_that_went_back().await;
        begin_an_era(&world).await;
        let era = "(select max(era) from wa.eras)";
        world
            .run_sql(&format!(
                "select wa.start_recovery({era}, null, null, '1 hour', true)"
            ))
            .await;
        world
            .run_sql(&format!("select wa.doubt_slice({era}, 0, 1)"))
            .await;
        assert_eq!(world.count("wa.uncertain").await, 1);
        let refusal = world
            .refuses(&["recover", "--nothing-lost", "--reason", "a second thought"])
            .await;
        assert!(refusal.contains("has been begun"), "{refusal}");
        let directly = format!(
            "select wa.end_recovery({era}, 'nothing_lost', 'ada', 'a second thought')::text"
        );
        assert_eq!(world.text(&directly).await, "false");
        let begun = world.says(&["recover"]).await;
        assert!(begun.contains("1 messages are in doubt so far"), "{begun}");
        let other = ["recover", "--yes", "--reason", "restored", "--wait", "2h"];
        let refusal = world.refuses(&other).await;
        assert!(refusal.contains("--wait comes too late"), "{refusal}");
        world
            .says(&["recover", "--yes", "--reason", "restored"])
            .await;
        for message in [evident, silent] {
            assert_eq!(world.state_of(message).await, "uncertain");
        }
        assert_eq!(world.count("wa.uncertain where needs_person").await, 2);
    })
    .await;
}

#[tokio::test]
async fn webhooks_that_another_place_has_kept_are_evidence() {
    in_time(async {
        let (world, [evident, silent]) = a_world_that_went_back().await;
        let token = world.token(evident, 1).await;
        let body = a_delivery(&[with_data(
            a_status("wamid.HBgLMTY1", "delivered", 1_800_000_000),
            &token,
        )]);
        let signature = signed_with(APP_SECRET, body.as_bytes());
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "{}", json!({"body": body, "signature": signature})).expect("a line");
        let path = file.path().to_str().expect("a path").to_owned();
        begin_an_era(&world).await;

        let line = [
            "recover", "--replay", &path, "--yes", "--reason", "restored",
        ];
        let secret = [("WHATSAPP_APP_SECRET", APP_SECRET)];
        let done = world.command_with(&secret, &line).await;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&done.stderr)
        );
        assert!(said.contains("1 messages had been accepted"), "{said}");
        let evident = world.message(evident).await;
        assert_eq!(
            (evident.state.as_str(), evident.status.as_deref()),
            ("accepted", Some("delivered"))
        );
        assert_eq!(world.state_of(silent).await, "uncertain");

        // What is found later is evidence, too, although the rest is settled.
        let token = world.token(silent, 1).await;
        let late = a_delivery(&[with_data(
            a_status("wamid.HBgLMTY2", "delivered", 1_800_000_000),
            &token,
        )]);
        let signature = signed_with(APP_SECRET, late.as_bytes());
        let mut found = tempfile::NamedTempFile::new().expect("a file");
        writeln!(found, "{}", json!({"body": late, "signature": signature})).expect("a line");
        let era = world
            .store
            .recovery()
            .await
            .expect("an answer")
            .expect("an era");
        let since = era
            .complete_until
            .expect("a time")
            .format(&Rfc3339)
            .expect("a time");
        let found = found.path().to_str().expect("a path").to_owned();
        let again = [
            "recover", "--since", &since, "--replay", &found, "--yes", "--reason", "found",
        ];
        let done = world.command_with(&secret, &again).await;
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        assert_eq!(world.state_of(silent).await, "accepted");

        writeln!(file, "{}", json!({"body": body, "signature": "sha256=00"})).expect("a line");
        let done = world.command_with(&secret, &line).await;
        let refusal = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(refusal.contains("line 2 of"), "{refusal}");
        assert!(
            !refusal.contains("wamid") && !refusal.contains("1650555"),
            "{refusal}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_tell_its_identity_is_said_to_be_so() {
    in_time(async {
        let world = World::at_rest().await;
        world
            .run_sql(
                "insert into wa.eras (era, database, unreadable, cause, what, noticed_by, settled_at, settled_how, settled_by, settled_why)
                 select 0, oid, 'permission denied for function pg_control_system', 'first', '', '', now(), 'first', '', ''
                 from pg_database where datname = current_database()",
            )
            .await;
        let doctor = world.command(&["doctor"]).await;
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(said.contains("pg_control_system"), "{said}");
        // And works all the same.
        let mut world = world;
        world.start_service().await;
        let sent = world.enqueue(to(EVIDENCE)).await;
        world.until_state(sent, "accepted").await;
        assert_eq!(world.count(&format!("wa.senders where sender = '{SENDER}' and held_reason is null")).await, 1);
        assert!(world.stop_service().await, "the stop is clean");
    })
    .await;
}
