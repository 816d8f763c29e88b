//! Verbs: what they do, what they say, and what they refuse.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::{Desk, number, people};
use crate::support::world::{SENDER, World};

/// A draft of so many recipients.
async fn a_campaign(world: &World, desk: &Desk, count: usize) {
    let (template, file) = (desk.greeting(), desk.file("customers.csv", people(count)));
    let create = [
        "campaign",
        "create",
        "spring",
        "--template",
        &template,
        "--recipients",
        &file,
    ];
    world.says(&create).await;
}

#[tokio::test]
async fn a_campaign_is_led_by_verbs_and_each_says_what_it_has_done() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    a_campaign(&world, &desk, 3).await;
    let verb = async |verb: &'static str| {
        world
            .says(&["campaign", verb, "spring", "--reason", "as agreed"])
            .await
    };
    let why = async || world.says(&["why", "campaign", "spring"]).await;

    let says = why().await;
    assert!(
        says.starts_with("Campaign spring is a draft with 3 recipients; check it:"),
        "{says}"
    );
    let says = verb("start").await;
    assert!(
        says.starts_with(
            "Campaign spring runs: 3 recipients wait.\nIts recipients were not checked"
        ),
        "{says}"
    );
    assert_eq!(verb("start").await.trim(), "Campaign spring runs already.");
    let says = why().await;
    assert!(
        says.starts_with("Campaign spring runs, and waits for a worker: none has its sender."),
        "{says}"
    );

    assert_eq!(
        verb("pause").await.trim(),
        "Campaign spring is paused: 3 recipients wait."
    );
    let says = why().await;
    assert!(
        says.starts_with("Campaign spring was paused by ada, "),
        "{says}"
    );
    assert!(
        says.contains(": as agreed; resume it: wa-outbox campaign resume spring."),
        "{says}"
    );
    assert_eq!(
        verb("resume").await.trim(),
        "Campaign spring goes on: 3 recipients wait."
    );
    assert_eq!(
        verb("cancel").await.trim(),
        "Campaign spring is cancelled: 3 recipients will not be written to."
    );
    let refused = world.refuses(&["campaign", "resume", "spring"]).await;
    assert!(
        refused.contains("campaign spring is cancelled"),
        "{refused}"
    );
    assert!(
        refused.contains("fix: what is cancelled stays so"),
        "{refused}"
    );

    let states: Vec<(String, Option<String>)> =
        sqlx::query_as("select what, reason from wa.campaign_events order by event")
            .fetch_all(&world.database.pool)
            .await
            .expect("an answer");
    let states: Vec<_> = states.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(
        states,
        ["created", "started", "paused", "resumed", "cancelled"]
    );
}

#[tokio::test]
async fn who_stops_a_campaign_says_why_and_a_wrong_name_is_refused() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    for verb in ["pause", "cancel"] {
        let output = world.command(&["campaign", verb, "spring"]).await;
        assert_eq!(output.status.code(), Some(2));
    }
    let refused = world.refuses(&["campaign", "start", "autumn"]).await;
    assert!(refused.contains("there is no campaign autumn"), "{refused}");
    let again = world
        .refuses(&[
            "campaign",
            "create",
            "spring",
            "--template",
            &desk.greeting(),
        ])
        .await;
    assert!(
        again.contains("wa-outbox campaign import spring FILE"),
        "{again}"
    );
    let broken = desk.file(
        "broken.json",
        r#"{"type":"template","template":{"name":"{{oops"}}"#,
    );
    let refused = world
        .refuses(&["campaign", "create", "autumn", "--template", &broken])
        .await;
    assert!(
        refused.contains("/template/name: a placeholder is not closed"),
        "{refused}"
    );
}

#[tokio::test]
async fn settings_are_written_as_they_are_given_and_shown() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    world
        .says(&[
            "campaign",
            "set",
            "spring",
            "--slow-to",
            "20/s",
            "--ramp",
            "100/h,1000/h:2h",
            "--quiet-hours",
            "21:00-09:00",
            "--time-zone",
            "Europe/Berlin",
            "--rate-share",
            "0.5",
            "--expires-after",
            "12h",
            "--category",
            "marketing",
        ])
        .await;
    let shown = world
        .says_json(&["campaign", "show", "spring", "--json"])
        .await;
    let settings = &shown["settings"];
    assert_eq!(settings["max_per_second"], 20.0);
    let ramp = json!([{"per_hour": 100, "for_hours": 1}, {"per_hour": 1000, "for_hours": 2}]);
    assert_eq!(settings["ramp"], ramp);
    assert_eq!(settings["quiet_hours"], "21:00-09:00");
    assert_eq!(settings["category"], "marketing");
    let says = world.says(&["campaign", "show", "spring"]).await;
    assert!(says.contains("100/h,1000/h:2h"), "{says}");
    assert!(
        says.contains("21:00-09:00, else in Europe/Berlin"),
        "{says}"
    );

    world
        .says(&[
            "campaign",
            "set",
            "spring",
            "--quiet-hours",
            "none",
            "--ramp",
            "none",
        ])
        .await;
    let shown = world
        .says_json(&["campaign", "show", "spring", "--json"])
        .await;
    assert_eq!(
        (
            &shown["settings"]["quiet_hours"],
            &shown["settings"]["ramp"]
        ),
        (&json!(null), &json!(null))
    );
    let output = world.command(&["campaign", "set", "spring"]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_look_at_a_campaign_tells_counts_that_add_up_and_what_to_do_about_failures() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    a_campaign(&world, &desk, 10).await;
    world
        .run_sql(&format!(
            "insert into wa.results (id, sender, state, attempts, campaign, error_code)
             select o.id, '{SENDER}', 'failed', 1, o.campaign_id, 131026 from wa.outbox o order by o.id limit 4"
        ))
        .await;
    let shown = world
        .says_json(&["campaign", "show", "spring", "--json"])
        .await;
    assert_eq!(shown["total"], 10);
    assert_eq!(
        (&shown["counts"]["queued"], &shown["counts"]["failed"]),
        (&6.into(), &4.into())
    );
    assert_eq!(shown["failures"][0]["code"], 131_026);
    let says = world.says(&["campaign", "show", "spring"]).await;
    assert!(says.contains("131026 Message undeliverable"), "{says}");
    assert!(says.contains("reach this person another way"), "{says}");
    assert!(says.contains("60.0 %"), "{says}");

    let listed = world.says_json(&["campaign", "list", "--json"]).await;
    let row = ["recipients", "open", "failed"].map(|name| listed[0][name].as_i64());
    assert_eq!(row, [10, 6, 4].map(Some));
    let watched = world
        .says(&["campaign", "cancel", "spring", "--reason", "x"])
        .await;
    assert!(
        watched.contains("6 recipients will not be written to"),
        "{watched}"
    );
}

#[tokio::test]
async fn suppressions_are_added_listed_masked_exported_imported_and_removed() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let add = [
        "suppress",
        "add",
        &number(1),
        "--category",
        "marketing",
        "--reason",
        "asked, by mail",
    ];
    world.says(&add).await;
    let listed = world.says(&["suppress", "list"]).await;
    assert!(
        listed.contains("+491…01") && listed.contains("asked, by mail"),
        "{listed}"
    );
    assert!(!listed.contains(&number(1)), "{listed}");

    let exported = world.says(&["suppress", "export"]).await;
    let file = desk.file(
        "all.csv",
        exported.clone() + "bad,,,,,,,,\n" + &number(2) + ",,,,,,,,\n",
    );
    let says = world
        .says(&["suppress", "import", &file, "--reason", "moved"])
        .await;
    assert!(
        says.starts_with(
            "2 recipients are suppressed (as the file says, else every sender, every category). 1 lines could not be used"
        ),
        "{says}"
    );
    assert!(
        exported.contains(&format!(
            "{},,marketing,\"asked, by mail\",operator,",
            number(1)
        )),
        "{exported}"
    );

    world
        .says(&["suppress", "remove", &number(1), "--category", "marketing"])
        .await;
    let left = world
        .says_json(&["suppress", "list", "--json", "--reveal"])
        .await;
    let left: Vec<_> = left
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["recipient"].as_str())
        .collect();
    assert_eq!(left, [Some(number(2).as_str())]);
    let refused = world.refuses(&["suppress", "remove", &number(7)]).await;
    assert!(
        refused.contains("this recipient is not suppressed"),
        "{refused}"
    );
}

#[tokio::test]
async fn suppressions_that_were_exported_are_imported_as_they_stood() {
    let (here, there) = (World::at_rest().await, World::at_rest().await);
    let desk = Desk::new();
    let add = async |arguments: &[&str]| {
        let reason = ["--reason", "asked \"us\",\nby mail"];
        here.says(&[&["suppress", "add"], arguments, &reason].concat())
            .await;
    };
    add(&[&number(1), "--category", "marketing", "--for", "90d"]).await;
    add(&[&number(1), "--sender", SENDER]).await;
    add(&["US.13491208655302741918"]).await;
    add(&["user.id-x", "--category", "utility"]).await;
    add(&["ada"]).await;
    add(&[&number(2)]).await;
    add(&[&number(3)]).await;
    let over = format!(
        "update wa.suppressions set expires_at = now() - interval '1 s' where recipient = '{}'",
        number(2)
    );
    here.run_sql(&over).await;
    let file = desk.file("all.csv", here.says(&["suppress", "export"]).await);
    let says = there
        .says(&["suppress", "import", &file, "--reason", "moved"])
        .await;
    assert!(says.starts_with("6 recipients are suppressed"), "{says}");
    let standing = async |world: &World| {
        sqlx::query_as::<
            _,
            (
                String,
                Option<String>,
                Option<String>,
                String,
                Option<time::OffsetDateTime>,
            ),
        >(
            "select recipient, sender, category, reason, expires_at from wa.suppressions
             where coalesce(expires_at > now(), true) order by recipient, sender, category",
        )
        .fetch_all(&world.database.pool)
        .await
        .expect("an answer")
    };
    let moved = standing(&there).await;
    assert_eq!(moved, standing(&here).await);
    assert_eq!(moved.len(), 6);
}

#[tokio::test]
async fn a_number_as_web_pages_have_it_is_suppressed_and_what_names_nobody_is_refused() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let add = |recipient| ["suppress", "add", recipient, "--reason", "x"];
    world.says(&add("\u{a0}+16505590007")).await;
    for nobody in ["whatsapp:+16505590003", "\u{200e}+16505590002"] {
        let refused = world.refuses(&add(nobody)).await;
        assert!(
            refused
                .contains("fix: write the phone number with its +, or the id as WhatsApp gave it"),
            "{refused}"
        );
    }
    let file = desk.file(
        "stopped.csv",
        "recipient,recipient_kind\n\u{2010}+16505590004,\n\u{a0}+16505590005,user\nwhatsapp:+16505590006,user\n12ab-C_d=,group\n",
    );
    let import = ["suppress", "import", &file, "--reason", "x"];
    let says = world.says(&import).await;
    assert!(
        says.starts_with("3 recipients are suppressed") && says.contains("1 lines"),
        "{says}"
    );
    let written: Vec<String> = sqlx::query_scalar(
        r#"select recipient from wa.suppressions order by recipient collate "C""#,
    )
    .fetch_all(&world.database.pool)
    .await
    .expect("an answer");
    assert_eq!(
        written,
        ["+16505590004", "+16505590005", "+16505590007", "12ab-C_d="]
    );
    world
        .says(&["suppress", "remove", "\u{a0}+1 650 559 0007"])
        .await;
    assert_eq!(world.count("wa.suppressions").await, 3);
}

#[tokio::test]
async fn an_import_of_suppressions_leaves_out_what_has_ended_and_fills_in_what_is_not_said() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let file = desk.file(
        "stopped.csv",
        [
            format!("phone,name,category,reason,expires_at\n{},", number(1)).as_bytes(),
            b"Zo\xeb,,,\n",
            format!("{},,utility,by mail,\n", number(2)).as_bytes(),
            format!("{},,,,2020-01-01T00:00:00Z\n", number(3)).as_bytes(),
            format!("{},,gold,,\n", number(4)).as_bytes(),
        ]
        .concat(),
    );
    let import = [
        "suppress",
        "import",
        &file,
        "--reason",
        "moved",
        "--category",
        "marketing",
        "--for",
        "1d",
    ];
    let says = world.says(&import).await;
    assert!(
        says.starts_with("2 recipients are suppressed (as the file says, else every sender, marketing). 1 had ended and were left out. 1 lines"),
        "{says}"
    );
    let written: Vec<(String, String, String, bool)> = sqlx::query_as(
        "select recipient, category, reason, expires_at > now() from wa.suppressions order by recipient",
    )
    .fetch_all(&world.database.pool)
    .await
    .expect("an answer");
    let row = |n, category: &str, reason: &str| (number(n), category.into(), reason.into(), true);
    assert_eq!(
        written,
        [row(1, "marketing", "moved"), row(2, "utility", "by mail")]
    );
    let refused = world
        .refuses(&[
            "suppress", "import", &file, "--reason", "x", "--sender", "4711",
        ])
        .await;
    assert!(refused.contains("there is no sender 4711"), "{refused}");
}

#[tokio::test]
async fn who_watches_a_campaign_sees_it_again_and_again_until_it_is_over() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    a_campaign(&world, &desk, 3).await;
    let watch = [
        "campaign", "show", "spring", "--watch", "--every", "1s", "--json",
    ];
    let mut watching = Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
        .args(watch)
        .env_clear()
        .env("DATABASE_URL", &world.database.url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("its output")).lines();
    let state = |line: &str| {
        let shown: serde_json::Value = serde_json::from_str(line).expect("JSON");
        shown["state"].as_str().expect("a state").to_owned()
    };
    let first = lines
        .next_line()
        .await
        .expect("can be read")
        .expect("a look");
    assert_eq!(state(&first), "draft");
    world
        .says(&["campaign", "cancel", "spring", "--reason", "x"])
        .await;
    let mut last = first;
    while let Some(line) = lines.next_line().await.expect("can be read") {
        last = line;
    }
    assert_eq!(state(&last), "cancelled");
    assert!(watching.wait().await.expect("it ends").success());
}

#[tokio::test]
async fn a_command_that_is_told_has_the_name_of_its_campaign_in_quotes_where_a_shell_needs_them() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let (template, name) = (desk.greeting(), "spring; echo $(id) it's");
    let quoted = r"'spring; echo $(id) it'\''s'";
    let create = ["campaign", "create", name, "--template", &template];
    let held = "select wa.campaign_hold_in_words(c) from wa.campaigns c";
    let said = [
        world.says(&create).await,
        world.refuses(&create).await,
        world.refuses(&["campaign", "resume", name]).await,
        world.text(held).await,
        world.says(&["why", "campaign", name]).await,
        world.says(&["campaign", "show", name]).await,
        world.says(&["campaign", "start", name]).await,
    ];
    let pause = ["campaign", "pause", name, "--reason", "x"];
    world.says(&pause).await;
    let paused = world.says(&["why", "campaign", name]).await;
    let held = world.text(held).await;
    world
        .run_sql("update wa.campaigns set state = 'done'")
        .await;
    let import = ["campaign", "import", name, &desk.file("a.csv", people(1))];
    let done = world.refuses(&import).await;
    for said in said.iter().chain([&paused, &held, &done]) {
        let mut commands = said.split("wa-outbox campaign ").skip(1).peekable();
        assert!(commands.peek().is_some(), "{said}");
        for command in commands {
            let (_, data) = command.split_once(' ').expect("a verb");
            assert!(data.starts_with(quoted), "{said}");
        }
    }
}

#[tokio::test]
async fn who_may_have_been_written_to_is_not_told_as_spared_by_a_cancellation() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let file = desk.file("customers.csv", super::people(3));
    world.says(&["campaign", "import", "spring", &file]).await;
    world
        .run_sql(
            "update wa.queue set resends = 1, attempt = 1, attempts = 1 where id = (select min(id) from wa.queue)",
        )
        .await;
    let says = world
        .says(&["campaign", "cancel", "spring", "--reason", "as agreed"])
        .await;
    assert_eq!(
        says.trim(),
        "Campaign spring is cancelled: 2 recipients will not be written to; 1 more may have been: an answer was lost."
    );
}

#[tokio::test]
async fn a_command_that_a_slow_database_keeps_waiting_says_nothing_of_statements() {
    let world = World::at_rest().await;
    let mut in_the_way = world.database.pool.begin().await.expect("it begins");
    sqlx::query("lock table wa.campaigns")
        .execute(&mut *in_the_way)
        .await
        .expect("it is locked");
    let freed = async {
        world
            .until_true("a statement counts as slow", async || {
                let slow = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                            and clock_timestamp() - query_start > interval '1.2 s'";
                world.number(slow).await > 0
            })
            .await;
        in_the_way.rollback().await.expect("it is free");
    };
    let (listed, ()) = tokio::join!(world.command(&["campaign", "list"]), freed);
    assert!(listed.status.success());
    assert_eq!(String::from_utf8_lossy(&listed.stderr), "");
}

#[tokio::test]
async fn a_campaign_has_a_name_that_can_be_read_and_typed() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let template = desk.greeting();
    for name in ["", " ", "a\nb", "a\u{1b}[2J", &"x".repeat(101)] {
        for more in [&["--dry-run"][..], &[]] {
            let create = ["campaign", "create", name, "--template", &template];
            let refused = world.refuses(&[&create[..], more].concat()).await;
            assert!(refused.contains("the campaign's name is \""), "{refused}");
            assert!(refused.contains("fix: "), "{refused}");
            assert!(!refused.contains('\u{1b}'), "{refused}");
        }
    }
    assert_eq!(world.count("wa.campaigns").await, 0);
}
