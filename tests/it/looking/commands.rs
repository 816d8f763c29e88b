//! The commands that show groups and decide about them.

use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{OTHER, ids_where, some_of_everything};
use crate::support::make::a_text;
use crate::support::said::{self, HIDDEN, MASKED, SAID, UNHELD};
use crate::support::tailing::Tailing;
use crate::support::world::{SENDER, World};

#[tokio::test]
async fn a_list_in_json_says_where_it_goes_on() {
    let world = some_of_everything().await;
    let failed = ids_where(&world, "state = 'failed' and error_code = 131026").await;
    let line = [
        "message", "list", "--state", "failed", "--code", "131026", "--limit", "3", "--json",
        "--page",
    ];
    let first = world.says_json(&line).await;
    assert_eq!(first["next"], json!(failed[2]));
    assert_eq!(first["looked_back_to"], json!(null));
    let before = failed[2].to_string();
    let second = world
        .says_json(&[&line[..], &["--before", &before]].concat())
        .await;
    assert_eq!(second["messages"][0]["id"], json!(failed[3]));
    let told = world.says(&line[..8]).await;
    assert!(told.contains(&format!("--before {before}")), "{told}");
}

#[tokio::test]
async fn failures_are_told_in_plain_words_and_sent_again_only_when_it_is_confirmed() {
    let world = some_of_everything().await;
    let told = world.says(&["failures", "list"]).await;
    assert!(
        told.contains("131026 ") && told.contains("132000 "),
        "{told}"
    );

    let line = [
        "failures",
        "again",
        "--code",
        "132000",
        "--reason",
        "the template is mended",
    ];
    let failed = ids_where(&world, "error_code = 132000").await.len();
    let refused = world.refuses(&line).await;
    assert!(
        refused.contains(&format!("{failed} failed messages would be sent again")),
        "{refused}"
    );
    assert!(
        ids_where(&world, "dedup_key like 'again:%'")
            .await
            .is_empty()
    );

    let done = world
        .says_json(&[&line[..], &["--yes", "--json"]].concat())
        .await;
    assert_eq!(done["written"], json!(failed));
    assert_eq!(
        ids_where(&world, "dedup_key like 'again:%'").await.len(),
        failed
    );

    let of_campaigns = ["failures", "again", "--code", "131026", "--reason", "x"];
    world
        .run_sql("update wa.campaigns set state = 'cancelled'")
        .await;
    let refused = world.refuses(&of_campaigns).await;
    assert!(
        refused.contains("are of campaigns that have ended"),
        "{refused}"
    );
}

#[tokio::test]
async fn recipients_of_a_group_are_suppressed_by_a_verb() {
    let world = some_of_everything().await;
    let line = [
        "failures",
        "suppress",
        "--code",
        "131026",
        "--reason",
        "not on WhatsApp",
        "--yes",
        "--json",
    ];
    let first = world.says_json(&line).await;
    assert!(first["suppressed"].as_u64() > Some(0));
    let second = world.says_json(&line).await;
    assert_eq!(second["suppressed"], json!(0));
}

#[tokio::test]
async fn a_group_of_uncertain_messages_is_settled_by_a_verb_when_it_is_confirmed() {
    let world = some_of_everything().await;
    let theirs = ids_where(
        &world,
        &format!("state = 'uncertain' and sender = '{OTHER}'"),
    )
    .await
    .len();
    let groups = world.says_json(&["uncertain", "groups", "--json"]).await;
    let of_other = groups
        .as_array()
        .expect("groups")
        .iter()
        .find(|group| group["sender"] == OTHER);
    assert_eq!(of_other.expect("a group")["messages"], json!(theirs));

    let line = [
        "uncertain",
        "resolve",
        "--all",
        "--sender",
        OTHER,
        "--not-sent",
        "--reason",
        "nothing came",
    ];
    let refused = world.refuses(&line).await;
    assert!(
        refused.contains(&format!("{theirs} uncertain messages")),
        "{refused}"
    );
    world.says(&[&line[..], &["--yes"]].concat()).await;
    assert!(
        ids_where(
            &world,
            &format!("state = 'uncertain' and sender = '{OTHER}'")
        )
        .await
        .is_empty()
    );
}

#[tokio::test]
async fn a_summary_counts_what_is_open_and_what_has_ended() {
    let world = some_of_everything().await;
    let summary = world.says_json(&["summary", "--json"]).await;
    assert_eq!(
        summary["total"],
        json!({"messages": 460, "is_estimate": false})
    );
    let counted: u64 = summary["messages"]
        .as_array()
        .expect("counts")
        .iter()
        .filter_map(|count| count["messages"].as_u64())
        .sum();
    assert_eq!(counted, 460);
    assert_eq!(summary["ended"]["is_whole"], json!(true));
    let told = world.says(&["summary"]).await;
    assert!(told.contains("460 messages in the outbox."), "{told}");
}

#[tokio::test]
async fn a_number_in_a_text_of_whatsapps_is_masked_until_it_is_asked_for() {
    let world = some_of_everything().await;
    let id = ids_where(&world, "state = 'failed'").await[0];
    let told = "update wa.results set error_message = 'the number +16505551234 is not on WhatsApp' where id =";
    world.run_sql(&format!("{told} {id}")).await;
    let id = id.to_string();
    let looks: [&[&str]; 6] = [
        &["message", "show", &id],
        &["message", "show", &id, "--json"],
        &["why", "message", &id],
        &["why", "message", &id, "--json"],
        &["message", "list", "--state", "failed", "--json"],
        &["failures", "list"],
    ];
    for look in looks {
        let shown = world.says(look).await;
        assert!(!shown.contains("16505551234"), "{look:?}: {shown}");
    }
    for look in &looks[..5] {
        let shown = world.says(&[look, &["--reveal"][..]].concat()).await;
        assert!(shown.contains("+16505551234 is not"), "{look:?}: {shown}");
    }
}

/// A message that waits, with so many requests behind it and as many statuses that came for it.
async fn a_throttled_message(requests: i64) -> (World, String) {
    let world = World::at_rest().await;
    let id = world.enqueue(a_text()).await.0;
    for statement in [
        format!(
            "insert into wa.attempts (id, sender, attempt, begun_at, ended_at, outcome, http_status, error_code)
             select {id}, '{SENDER}', n, at, at, 'deferred', 429, 130429
             from generate_series(1, {requests}) as n, lateral (select now() + n * interval '5 s' - interval '7 days') as moments (at)"
        ),
        format!(
            "insert into wa.status_events (id, sender, attempt, wamid, status, occurred_at, received_at)
             select {id}, '{SENDER}', 1, 'wamid.' || n, 'sent', now(), now() from generate_series(1, {requests}) as n"
        ),
    ] {
        world.run_sql(&statement).await;
    }
    (world, id.to_string())
}

fn attempts_of(shown: &Value) -> Vec<i64> {
    let requests = shown["requests"].as_array().expect("requests");
    let attempt = |request: &Value| request["attempt"].as_i64().expect("a number");
    requests.iter().map(attempt).collect()
}

#[tokio::test]
async fn of_a_message_that_was_throttled_for_days_both_ends_are_told_and_how_much_is_between() {
    let (world, id) = a_throttled_message(30_000).await;
    let shown = world.says_json(&["message", "show", &id, "--json"]).await;
    let ends: Vec<i64> = (1..=20).chain(29_901..=30_000).collect();
    assert_eq!(attempts_of(&shown), ends);
    assert_eq!(shown["statuses"].as_array().map(Vec::len), Some(120));
    assert_eq!(
        shown["left_out"],
        json!({"requests": 10_001, "acceptances": 0, "statuses": 10_001})
    );
    let told = world.says(&["message", "show", &id]).await;
    assert!(told.lines().count() < 500, "{}", told.lines().count());
    for gap in ["… 10,000 or more requests;", "… 10,000 or more statuses;"] {
        assert!(told.contains(gap), "{told}");
    }
    assert!(
        told.contains(&format!("wa-outbox message show {id} --all")),
        "{told}"
    );
}

#[tokio::test]
async fn a_history_that_is_short_or_asked_for_as_a_whole_has_no_gap() {
    let (world, id) = a_throttled_message(121).await;
    let shown = world.says_json(&["message", "show", &id, "--json"]).await;
    assert_eq!(shown["left_out"]["requests"], json!(1));
    let told = world.says(&["message", "show", &id]).await;
    assert!(told.contains("… 1 more requests;"), "{told}");
    let whole = world
        .says_json(&["message", "show", &id, "--json", "--all"])
        .await;
    assert_eq!(attempts_of(&whole), (1..=121).collect::<Vec<_>>());
    assert_eq!(
        whole["left_out"],
        json!({"requests": 0, "acceptances": 0, "statuses": 0})
    );
    let (world, id) = a_throttled_message(120).await;
    let shown = world.says_json(&["message", "show", &id, "--json"]).await;
    assert_eq!(attempts_of(&shown), (1..=120).collect::<Vec<_>>());
    assert_eq!(shown["left_out"]["requests"], json!(0));
}

#[tokio::test]
async fn who_watches_goes_on_watching_when_the_database_was_away() {
    let world = some_of_everything().await;
    let options = world.database.pool.connect_options();
    let name = options.get_database().expect("it has a name").to_owned();
    let outside = PgConnectOptions::clone(&options).database("postgres");
    let mut outside = PgConnection::connect_with(&outside)
        .await
        .expect("the server answers");
    let mut from_outside = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut outside)
            .await
            .expect("the server does it");
    };
    for (watch, picture) in [
        (&["summary", "--watch", "1s"][..], "Uncertain: "),
        (
            &["campaign", "show", "spring", "--watch"],
            "Campaign spring ",
        ),
        (
            &["campaign", "show", "spring", "--watch", "--json"],
            "\"campaign\":\"spring\"",
        ),
    ] {
        let watching = Tailing::of(&world.database.url, watch);
        watching.until_said(picture).await;
        // Connections end, and what comes instead of them is refused.
        from_outside(format!("alter database {name} allow_connections false")).await;
        from_outside(format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
        ))
        .await;
        watching.until_noted("error: could not ").await;
        let before = watching.times_said(picture);
        from_outside(format!("alter database {name} allow_connections true")).await;
        world
            .until_true("it looks again", async || {
                watching.times_said(picture) > before
            })
            .await;
        let noted = watching.noted();
        assert!(!noted.contains("sqlx"), "{noted}");
    }
}

#[tokio::test]
async fn a_number_that_whatsapp_names_is_masked_wherever_its_words_are_told() {
    let world = World::at_rest().await;
    let told = said::everywhere(&world).await;
    let queued = told.queued.to_string();
    let waiting = told.waiting.to_string();
    let failed = told.failed.to_string();
    for (look, has_json) in [
        (&["summary"][..], true),
        (&["top", "--once"], false),
        (&["sender", "list"], true),
        (&["sender", "show", SENDER], true),
        (&["sender", "show", UNHELD], true),
        (&["why", "sender", SENDER], false),
        (&["sequence", "list"], true),
        (&["sequence", "show", "--of", &waiting], true),
        (&["why", "sequence", "--of", &waiting], true),
        (&["template", "list"], true),
        (&["campaign", "list"], true),
        (&["campaign", "show", "spring"], true),
        (&["why", "campaign", "spring"], false),
        (&["uncertain", "list"], true),
        (&["uncertain", "groups"], true),
        (&["failures", "list"], true),
        (&["message", "list"], true),
        (&["message", "show", &queued], true),
        (&["message", "show", &waiting], true),
        (&["message", "show", &failed], true),
        (&["why", "message", &queued], true),
        (&["why", "message", &waiting], true),
        (&["why", "message", &failed], true),
        (&["doctor"], true),
    ] {
        is_masked(&world, look).await;
        if has_json {
            is_masked(&world, &[look, &["--json"]].concat()).await;
        }
    }
    for look in [
        &["sequence", "show", "--of", &waiting][..],
        &["message", "show", &queued],
        &["why", "message", &waiting],
    ] {
        let shown = world.says(&[look, &["--reveal"]].concat()).await;
        assert!(
            shown.contains("+1 650-555-1234 (wamid.HBgLMTY1"),
            "{look:?}: {shown}"
        );
    }
}

async fn is_masked(world: &World, look: &[&str]) {
    // Doctor finds something amiss, and says so by its exit code.
    let shown = String::from_utf8(world.command(look).await.stdout).expect("text");
    // What reads JSON reads no order of letters.
    let seen = |hidden: &&str| *hidden != "\u{202e}" || !look.contains(&"--json");
    for hidden in HIDDEN.into_iter().filter(seen) {
        assert!(
            !shown.contains(hidden),
            "{look:?} shows {hidden:?}: {shown}"
        );
    }
    assert!(
        shown.contains(MASKED) || look[0] == "top",
        "{look:?}: {shown}"
    );
}

#[tokio::test]
async fn what_a_person_gives_as_a_reason_is_shown_as_it_was_written() {
    const TICKET: &str = "INC0012345: too many complaints";
    let world = World::at_rest().await;
    let told = said::everywhere(&world).await;
    let (waiting, uncertain) = (told.waiting.to_string(), told.uncertain.to_string());
    let payload = r#"{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}"#;
    world
        .run_sql(&format!(
            "select wa.create_campaign('summer', '{payload}', sender => '{UNHELD}', author => 'ada')"
        ))
        .await;
    world.says(&["campaign", "start", "summer"]).await;
    for deed in [
        &["sender", "hold", SENDER][..],
        &["sender", "hold", UNHELD],
        &["sender", "release", UNHELD],
        &["sender", "hold", UNHELD],
        &["template", "hold", "other"],
        &["campaign", "cancel", "spring"],
        &["sequence", "skip", "--of", &waiting],
        &["uncertain", "resolve", &uncertain, "--not-sent"],
    ] {
        world.says(&[deed, &["--reason", TICKET]].concat()).await;
    }
    for look in [
        &["sender", "list"][..],
        &["sender", "show", SENDER],
        &["sender", "show", UNHELD],
        &["template", "list"],
        &["campaign", "list"],
        &["campaign", "show", "spring"],
        &["campaign", "show", "summer"],
        &["sequence", "show", "--of", &waiting],
        &["message", "show", &uncertain],
    ] {
        for form in [&[][..], &["--json"]] {
            let shown = world.says(&[look, form].concat()).await;
            assert!(shown.contains(TICKET), "{look:?} {form:?}: {shown}");
        }
    }
}

#[tokio::test]
async fn a_doubt_is_named_by_the_words_that_are_shown_of_it() {
    let world = World::at_rest().await;
    let told = said::everywhere(&world).await;
    let groups = world.says_json(&["uncertain", "groups", "--json"]).await;
    let shown = groups[0]["doubt"].as_str().expect("a doubt").to_owned();
    assert!(shown.contains(MASKED), "{shown}");
    for doubt in [shown, format!("the service failed: {SAID}")] {
        let line = [
            "uncertain",
            "resolve",
            "--all",
            "--doubt",
            &doubt,
            "--not-sent",
            "--reason",
            "nothing came",
        ];
        let refused = world.refuses(&line).await;
        assert!(refused.contains("1 uncertain messages"), "{refused}");
    }
    let shown = groups[0]["doubt"].as_str().expect("a doubt");
    let line = [
        "uncertain",
        "resolve",
        "--all",
        "--doubt",
        shown,
        "--not-sent",
        "--reason",
        "nothing came",
        "--yes",
    ];
    world.says(&line).await;
    assert_eq!(world.state_of(told.uncertain).await, "failed");
}
