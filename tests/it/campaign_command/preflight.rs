//! The check before the start: what is wrong is found before the first message leaves, and named with its line.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Desk, number};
use crate::support::world::{SENDER, World};

/// Ten faults, as the check names them, and the field that it blames. The last two are doubts.
const TEN_FAULTS: [(&str, &str); 10] = [
    ("missing_variable", "price"),
    (
        "template_text_empty",
        "/template/components/0/parameters/0/text",
    ),
    (
        "template_text_lines",
        "/template/components/0/parameters/0/text",
    ),
    (
        "template_currency",
        "/template/components/0/parameters/1/currency",
    ),
    ("variable_is_no_text", "note"),
    ("invalid_number", "recipient"),
    ("duplicate", "recipient"),
    ("unknown_time_zone", "time_zone"),
    (
        "template_body_alone_length",
        "/template/components/0/parameters/0/text",
    ),
    ("field_scalar", "/template/components/0/parameters/2/text"),
];

/// A file of 500 recipients with one of each fault, as JSON lines, and the line of each.
fn file_with_faults() -> (String, BTreeMap<&'static str, u64>) {
    let good = json!({"fallback_value": "9 €", "code": "EUR", "amount_1000": 9_000});
    let mut lines = Vec::new();
    let mut places = BTreeMap::new();
    for n in 0..500 {
        let mut row = json!({"phone": number(n), "name": format!("Person {n}"), "price": good, "note": "n", "plain": "p"});
        if n % 50 == 25 {
            let (kind, _) = TEN_FAULTS[n / 50];
            spoil(&mut row, kind);
            places.insert(kind, n as u64 + 1);
        }
        lines.push(row.to_string());
    }
    (lines.join("\n"), places)
}

fn spoil(row: &mut Value, kind: &str) {
    match kind {
        "missing_variable" => drop(row.as_object_mut().expect("an object").remove("price")),
        "template_text_empty" => row["name"] = "".into(),
        "template_body_alone_length" => row["name"] = "x".repeat(1_100).into(),
        "template_text_lines" => row["name"] = "two\nlines".into(),
        "template_currency" => row["price"] = json!({"code": "EUR"}),
        "variable_is_no_text" => row["note"] = json!({"a": 1}),
        "invalid_number" => row["phone"] = "+4900000000".into(),
        "duplicate" => row["phone"] = number(0).into(),
        "unknown_time_zone" => row["time_zone"] = "Mars/Dome".into(),
        "field_scalar" => row["plain"] = 7.into(),
        other => panic!("{other}"),
    }
}

/// A draft whose template wants a text, a currency, a text within a text, and a text that may be anything.
async fn a_draft(world: &World, desk: &Desk, settings: &[&str]) {
    let template = desk.template(&json!([
        {"type": "text", "text": "{{name}}"},
        {"type": "currency", "currency": "{{price}}"},
        {"type": "text", "text": "{{plain}}"},
        {"type": "text", "text": "note: {{note}}"},
    ]));
    let create = ["campaign", "create", "spring", "--template", &template];
    world.says(&[&create, settings].concat()).await;
}

#[tokio::test]
async fn ten_kinds_of_faults_in_two_percent_of_the_rows_are_each_named_with_their_line() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    a_draft(&world, &desk, &[]).await;
    let (text, places) = file_with_faults();
    let file = desk.file("customers.jsonl", text);
    world.says(&["campaign", "import", "spring", &file]).await;

    let all = desk.path("found.csv");
    let found = world
        .says_json(&[
            "campaign",
            "preflight",
            "spring",
            "--faults",
            &all,
            "--json",
        ])
        .await;
    assert_eq!((&found["rows"], &found["good"]), (&500.into(), &492.into()));
    let lists = ["faults", "doubts"].map(|list| found[list].as_array().expect("a list"));
    assert_eq!(lists.map(Vec::len), [8, 2]);
    let kinds: BTreeMap<&str, u64> = lists
        .into_iter()
        .flatten()
        .map(|fault| {
            assert_eq!(fault["rows"], 1, "{fault}");
            let line = fault["samples"][0]["line"].as_u64().expect("a line");
            (fault["kind"].as_str().expect("a kind"), line)
        })
        .collect();
    assert_eq!(kinds, places);
    for (kind, field) in TEN_FAULTS {
        let line = places[kind];
        let told = desk.read("found.csv");
        let row = told
            .lines()
            .find(|row| row.starts_with(&format!("{line},")))
            .expect("is told");
        assert!(row.contains(kind) && row.contains(field), "{row}");
    }
    assert_eq!(desk.read("found.csv").lines().count(), 11);

    let kept: (Value,) = sqlx::query_as("select preflight from wa.campaigns")
        .fetch_one(&world.database.pool)
        .await
        .expect("it is kept");
    assert_eq!(kept.0, found);
    assert!(
        !kept.0.to_string().contains("49151"),
        "a number is kept: {}",
        kept.0
    );
}

#[tokio::test]
async fn who_is_suppressed_is_counted_and_what_has_a_fault_can_be_left_out() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let file = desk.file("customers.csv", super::people(4).replace("Person 2", ""));
    world.says(&["campaign", "import", "spring", &file]).await;
    world
        .says(&[
            "suppress",
            "add",
            &number(3),
            "--reason",
            "asked us to stop",
        ])
        .await;

    let found = world
        .says_json(&["campaign", "preflight", "spring", "--json"])
        .await;
    let counts = ["rows", "good", "suppressed"].map(|name| found[name].as_i64());
    assert_eq!(counts, [4, 3, 1].map(Some));

    let says = world
        .says(&[
            "campaign",
            "preflight",
            "spring",
            "--leave-out",
            "--by",
            "ada",
        ])
        .await;
    assert!(
        says.contains("1 were cancelled; the others stay."),
        "{says}"
    );
    let states: Vec<(i64, String)> =
        sqlx::query_as("select id, state from wa.messages order by id")
            .fetch_all(&world.database.pool)
            .await
            .expect("an answer");
    let named: Vec<&str> = states.iter().map(|(_, state)| state.as_str()).collect();
    assert_eq!(named, ["queued", "queued", "cancelled", "queued"]);
    let says = world
        .says(&["message", "show", &states[2].0.to_string()])
        .await;
    let why = "left out by ada: /template/components/0/parameters/0/text breaks the rule template_text_empty: a text parameter says something";
    assert!(says.contains(why), "{says}");
    let found = world
        .says_json(&["campaign", "preflight", "spring", "--json"])
        .await;
    assert_eq!((&found["rows"], &found["faults"]), (&3.into(), &json!([])));
    let shown = world.says(&["campaign", "show", "spring"]).await;
    assert!(shown.contains("by ada: 1 left out"), "{shown}");
    let shown = world
        .says_json(&["campaign", "show", "spring", "--json"])
        .await;
    let told: Vec<&Value> = shown["history"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| &event["what"])
        .collect();
    assert_eq!(told, ["created", "preflight", "preflight", "preflight"]);
}

#[tokio::test]
async fn somebody_whose_first_row_is_left_out_keeps_the_next_one() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    // The first is empty, the next good, the last once too often.
    let one = number(0);
    let file = desk.file(
        "customers.csv",
        format!("phone,name\n{one},\n{one},Ada\n{one},Ada\n"),
    );
    world.says(&["campaign", "import", "spring", &file]).await;
    let leave_out = ["campaign", "preflight", "spring", "--leave-out", "--json"];
    assert_eq!(world.says_json(&leave_out).await["left_out"], 2);
    let states: Vec<(String,)> = sqlx::query_as("select state from wa.messages order by id")
        .fetch_all(&world.database.pool)
        .await
        .expect("an answer");
    let states: Vec<&str> = states.iter().map(|(state,)| state.as_str()).collect();
    assert_eq!(states, ["cancelled", "queued", "cancelled"]);
    let again = world.says_json(&leave_out).await;
    assert_eq!((&again["rows"], &again["left_out"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn the_time_that_a_campaign_takes_is_told_with_the_limit_that_makes_it_so() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    world
        .run_sql(&format!(
            "insert into wa.outbox (campaign_id, recipient, variables)
             select id, '+49151' || 20000000 + n, '{{\"name\":\"x\"}}' from wa.campaigns, generate_series(1, 7200) n where sender = '{SENDER}'"
        ))
        .await;
    for (settings, seconds, binding, words) in [
        (
            ["--slow-to", "2"],
            3_600,
            "rate",
            "--slow-to allows 2.0 a second",
        ),
        (
            ["--ramp", "600/h:2h"],
            9_000,
            "ramp",
            "it begins slowly (--ramp)",
        ),
    ] {
        world
            .says(&[&["campaign", "set", "spring"][..], &settings].concat())
            .await;
        let found = world
            .says_json(&["campaign", "preflight", "spring", "--json"])
            .await;
        let forecast = &found["forecast"];
        if binding == "rate" {
            assert_eq!(forecast["seconds"], seconds, "{forecast}");
        }
        assert_eq!(forecast["binding"], binding, "{forecast}");
        let says = world.says(&["campaign", "preflight", "spring"]).await;
        assert!(says.contains(words), "{says}");
    }
    world
        .says(&[
            "campaign",
            "set",
            "spring",
            "--ends-at",
            "30m",
            "--ramp",
            "none",
        ])
        .await;
    let found = world
        .says_json(&["campaign", "preflight", "spring", "--json"])
        .await;
    let late = found["forecast"]["too_late"].as_i64().expect("a count");
    assert!((3_000..=3_600).contains(&late), "{found}");
}

#[tokio::test]
async fn who_expires_before_the_start_or_before_their_turn_is_told() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let file = desk.file("customers.csv", super::people(60));
    let (set, preflight) = (
        ["campaign", "set", "spring"],
        ["campaign", "preflight", "spring"],
    );
    world
        .says(&[&set[..], &["--expires-after", "1h"]].concat())
        .await;
    world.says(&["campaign", "import", "spring", &file]).await;
    let found = world
        .says_json(&[&preflight[..], &["--json"]].concat())
        .await;
    assert_eq!(
        (&found["good"], &found["forecast"]["too_late"]),
        (&60.into(), &0.into())
    );

    // A message every two minutes: thirty within the hour, and maybe the one that is due as it ends.
    world
        .says(&[&set[..], &["--ramp", "30/h:24h"]].concat())
        .await;
    let found = world
        .says_json(&[&preflight[..], &["--json"]].concat())
        .await;
    let late = found["forecast"]["too_late"].as_i64().expect("a count");
    assert!((29..=31).contains(&late), "{found}");
    let says = world.says(&preflight).await;
    assert!(
        says.contains(" expire before their turn (--expires-after counts from the import): "),
        "{says}"
    );

    world
        .says(&[&set[..], &["--ramp", "none", "--starts-at", "2h"]].concat())
        .await;
    let found = world
        .says_json(&[&preflight[..], &["--json"]].concat())
        .await;
    let fault = &found["faults"][0];
    assert_eq!(
        (&found["good"], &fault["kind"], &fault["rows"]),
        (&0.into(), &"expires_before_start".into(), &60.into())
    );
    let says = world.says(&preflight).await;
    assert!(
        says.contains("0 of 60 recipients have no fault")
            && says.contains("expires_at: is before the campaign begins (--starts-at)")
            && says.contains("a longer --expires-after"),
        "{says}"
    );
}

#[tokio::test]
async fn who_expires_within_the_quiet_hours_is_told() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let clock = "to_char(now() at time zone 'Europe/Berlin'";
    let quiet = world
        .text(&format!(
            "select {clock} - interval '2 h', 'HH24:MI') || '-' || {clock} + interval '10 h', 'HH24:MI')"
        ))
        .await;
    let file = desk.file("customers.csv", super::people(20));
    let set = ["campaign", "set", "spring", "--quiet-hours", &quiet];
    world
        .says(&[&set[..], &["--expires-after", "1h"]].concat())
        .await;
    world.says(&["campaign", "import", "spring", &file]).await;

    let preflight = ["campaign", "preflight", "spring"];
    let found = world
        .says_json(&[&preflight[..], &["--json"]].concat())
        .await;
    assert_eq!(found["forecast"]["too_late"], 20, "{found}");
    let says = world.says(&preflight).await;
    for words in [
        "At least 20 expire before their turn",
        "Who is due within the quiet hours expires before they end: they last 12 h, and --expires-after is 60 min.",
    ] {
        assert!(says.contains(words), "{says}");
    }
}

#[tokio::test]
async fn where_nobody_waits_it_is_said_why() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let preflight = ["campaign", "preflight", "spring"];
    let says = world.says(&preflight).await;
    assert!(says.starts_with("It has no recipients yet: "), "{says}");
    let file = desk.file("customers.csv", super::people(3));
    world.says(&["campaign", "import", "spring", &file]).await;
    world
        .run_sql("insert into wa.results (id, sender, state, attempts, campaign) select id, sender, 'expired', 0, campaign from wa.queue")
        .await;
    let says = world.says(&preflight).await;
    assert!(says.contains("all 3 have expired"), "{says}");
}

#[tokio::test]
async fn recipients_are_looked_up_one_by_one_whatever_the_statistics_say() {
    const ROWS: i64 = 3_000;
    for known in [
        // Nothing.
        "select",
        // One recipient, and no campaign.
        r#"insert into wa.outbox (recipient, payload)
           select '+4915120000000', '{"type":"text","text":{"body":"Hello"}}' from generate_series(1, 1000)"#,
    ] {
        let world = World::at_rest().await;
        let desk = Desk::new();
        for table in ["outbox", "queue", "results"] {
            let keep = format!("alter table wa.{table} set (autovacuum_enabled = false)");
            world.run_sql(&keep).await;
        }
        world.run_sql(known).await;
        world.run_sql("analyze").await;
        world.drafts(&desk, "spring").await;
        world
            .run_sql(&format!(
                "insert into wa.outbox (campaign_id, recipient, variables)
                 select id, '+49151' || 20000000 + n, '{{\"name\":\"x\"}}' from wa.campaigns, generate_series(1, {ROWS}) n"
            ))
            .await;
        let read = "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where schemaname = 'wa' and relname = 'outbox'";
        let before = world.number(read).await;
        world.says(&["campaign", "preflight", "spring"]).await;
        world
            .until_true("what was read is told", async || {
                world.number(read).await >= before + ROWS
            })
            .await;
        let rows = world.number(read).await - before;
        assert!(rows <= 2 * ROWS, "{rows} rows of {ROWS}: {known}");
    }
}
