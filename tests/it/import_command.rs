//! `wa-outbox import`: files of messages are taken into the outbox once, and what cannot be used is told.

use tokio::process::Command;
use wa_outbox::domain::id::MessageId;
use wa_outbox::message::{self, Outgoing};
use wa_outbox::store::imports::FileStep;

use crate::support::desk::Desk;
use crate::support::make::{ALICE, a_text};
use crate::support::world::{SENDER, World};

/// The n-th of many numbers that can exist.
fn number(n: usize) -> String {
    format!("+49151{:08}", 20_000_000 + n)
}

/// A file of so many texts.
fn texts(count: usize) -> String {
    let rows = (0..count).map(|n| format!("{},Hello {n}\n", number(n)));
    std::iter::once("phone,text\n".to_owned())
        .chain(rows)
        .collect()
}

impl World {
    /// Columns of all messages, in the order they were written.
    async fn messages_in_order(&self) -> Vec<(String, String)> {
        sqlx::query_as("select recipient, payload -> 'text' ->> 'body' from wa.outbox order by id")
            .fetch_all(&self.database.pool)
            .await
            .expect("an answer")
    }
}

#[tokio::test]
async fn what_a_file_says_leaves_as_it_says_it() {
    let world = World::start().await;
    let desk = Desk::new();
    let payload = r#"{"type":"text","text":{"body":"by payload"}}"#;
    let file = desk.file(
        "reminders.csv",
        format!(
            "phone,text,payload,reference,priority,dedup_key,due_at\n\
             {ALICE},by text,,order-1,3,k1,\n\
             {ALICE},,\"{}\",order-2,,,2026-03-01T12:00:00Z\n",
            payload.replace('"', "\"\"")
        ),
    );
    let says = world.says(&["import", &file]).await;
    assert!(says.starts_with("2 messages are in the outbox"), "{says}");
    for id in [1, 2] {
        world.until_status(MessageId(id), "read").await;
    }
    let mut bodies: Vec<_> = world
        .messages_in_order()
        .await
        .into_iter()
        .map(|(_, body)| body)
        .collect();
    bodies.sort();
    assert_eq!(bodies, ["by payload", "by text"]);
    let row: (String, i16, String, String) = sqlx::query_as(
        "select reference, priority, dedup_key, sender from wa.outbox where dedup_key is not null",
    )
    .fetch_one(&world.database.pool)
    .await
    .expect("a row");
    assert_eq!(row, ("order-1".into(), 3, "k1".into(), SENDER.into()));

    let lines = desk.file(
        "more.jsonl",
        format!("{{\"recipient\":\"{ALICE}\",\"payload\":{payload},\"reference\":17}}\n"),
    );
    let done = world.says_json(&["import", &lines, "--json"]).await;
    assert_eq!((&done["messages"], &done["faults"]), (&1.into(), &0.into()));
    world.until_status(MessageId(3), "read").await;
    assert_eq!(world.simulator.ledger().request_count(), 3);
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_and_doubles_nothing() {
    const MESSAGES: usize = 9_000;
    let world = World::at_rest().await;
    let desk = Desk::new();
    let mut lines: Vec<String> = texts(MESSAGES)
        .lines()
        .map(|line| format!("{line}\n"))
        .collect();
    for bad in [1_000, 5_500, 8_000] {
        lines.insert(bad, "bad,line\n".to_owned());
    }
    let file = desk.file("all.csv", lines.concat());
    let faults = desk.path("faults.csv");
    let import = ["import", "-", "--as", "all.csv", "--faults", &faults];
    world
        .kills_while_it_reads(&import, &lines[..6_000].concat())
        .await;
    assert_eq!(world.number("select count(*) from wa.outbox").await, 5_000);

    let again = ["import", &file, "--faults", &faults, "--json"];
    let done = world.says_json(&again).await;
    assert_eq!(
        (&done["already"], &done["messages"]),
        (&5_000.into(), &(MESSAGES - 5_000).into())
    );
    let distinct = "select count(distinct recipient) from wa.outbox";
    assert_eq!(world.number(distinct).await, MESSAGES as i64);
    assert_eq!(
        world.number("select count(*) from wa.outbox").await,
        MESSAGES as i64
    );
    let told = desk.read("faults.csv");
    let told: Vec<_> = told
        .lines()
        .filter_map(|line| line.split(',').next())
        .collect();
    assert_eq!(told, ["line", "1001", "5501", "8001"]);
}

#[tokio::test]
async fn a_file_is_taken_once_and_what_is_added_to_it_too() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let file = desk.file("reminders.csv", texts(3));
    let import = ["import", &file];
    world.says(&import).await;
    let says = world.says(&import).await;
    assert!(
        says.starts_with("Nothing is new: ada imported reminders.csv "),
        "{says}"
    );
    desk.file("reminders.csv", texts(5));
    let says = world.says(&import).await;
    assert!(says.starts_with("2 messages are in the outbox"), "{says}");
    assert!(
        says.contains("3 of an earlier run were there already"),
        "{says}"
    );
    desk.file("reminders.csv", texts(6).replace("Hello 1", "Bye"));
    let refused = world.refuses(&import).await;
    assert!(
        refused.contains("something in its first 6 lines has changed since"),
        "{refused}"
    );
    assert_eq!(world.number("select count(*) from wa.outbox").await, 5);
    world.says(&["import", &file, "--as", "of today"]).await;
    assert_eq!(world.number("select count(*) from wa.outbox").await, 11);
}

#[tokio::test]
async fn an_import_of_a_file_that_was_read_before_says_where_its_faults_are() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let file = desk.file("reminders.csv", texts(3) + "015120000009,Hello\n");
    let import = ["import", &file];
    world.says(&import).await;
    let says = world.says(&import).await;
    assert!(says.starts_with("Nothing is new: "), "{says}");
    let told = format!("told in {file}.faults.csv, and is not read again: import it, corrected");
    assert!(says.contains(&told), "{says}");
}

#[tokio::test]
async fn an_import_is_remembered_under_a_name_that_can_be_read() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let (file, long) = (desk.file("reminders.csv", texts(1)), "x".repeat(201));
    for name in ["", " ", "a\nb", &long] {
        let refused = world.refuses(&["import", &file, "--as", name]).await;
        assert!(refused.contains("--as is \""), "{refused}");
        assert!(
            refused.contains("fix: name it in 1 to 200 characters"),
            "{refused}"
        );
    }
    let long = desk.file(&(long + ".csv"), texts(1));
    let refused = world.refuses(&["import", &long]).await;
    assert!(refused.contains("the import's name is"), "{refused}");
    world.says(&["import", &long, "--as", "x"]).await;
}

#[tokio::test]
async fn faults_are_not_told_in_a_file_that_is_read() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let text = texts(3) + "015120000009,Hello\n";
    let file = desk.file("reminders.csv", &text);
    let (link, second) = (desk.path("link.csv"), desk.path("second.csv"));
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    std::fs::hard_link(&file, &second).expect("a second name");
    std::fs::hard_link(&file, desk.path("second.csv.faults.csv")).expect("a third name");
    for import in [
        vec!["import", &file, "--faults", &file],
        vec!["import", &file, "--faults", &link, "--dry-run"],
        vec!["import", &link, "--faults", &file],
        vec!["import", &second],
    ] {
        let refused = world.refuses(&import).await;
        assert!(
            refused.contains("which is the file that is read"),
            "{refused}"
        );
        assert_eq!(desk.read("reminders.csv"), text, "{import:?}");
    }
    let piped = Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
        .args(["import", "-", "--as", "x", "--faults", &file])
        .env_clear()
        .env("DATABASE_URL", &world.database.url)
        .env("USER", "ada")
        .stdin(std::fs::File::open(&file).expect("the file"))
        .output()
        .await
        .expect("it runs");
    assert_eq!(piped.status.code(), Some(2));
    assert_eq!(desk.read("reminders.csv"), text);
    assert_eq!(world.count("wa.imports").await, 0);
}

#[tokio::test]
async fn what_comes_from_standard_input_is_remembered_only_under_a_name() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let file = desk.file("reminders.csv", texts(2));
    let run = async |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", &world.database.url)
            .env("USER", "ada")
            .stdin(std::fs::File::open(&file).expect("the file"))
            .output()
            .await;
        assert!(output.expect("it ends").status.success());
        world.number("select count(*) from wa.outbox").await
    };
    assert_eq!(run(&["import", "-"]).await, 2);
    assert_eq!(run(&["import", "-"]).await, 4);
    assert_eq!(run(&["import", "-", "--as", "today"]).await, 6);
    assert_eq!(run(&["import", "-", "--as", "today"]).await, 6);
}

#[tokio::test]
async fn a_row_whose_dedup_key_is_there_is_left_out_and_counted() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let rows: String = (0..40)
        .map(|n| format!("{},Hello,key-{}\n", number(n), n % 30))
        .collect();
    let file = desk.file("reminders.csv", format!("phone,text,dedup_key\n{rows}"));
    let done = world.says_json(&["import", &file, "--json"]).await;
    assert_eq!(
        (&done["messages"], &done["duplicates"]),
        (&30.into(), &10.into())
    );
    let says = world.says(&["import", &file, "--as", "again"]).await;
    assert!(says.starts_with("0 messages are in the outbox"), "{says}");
    assert!(
        says.contains("40 were there already, by their dedup_key."),
        "{says}"
    );
}

#[tokio::test]
async fn every_line_that_cannot_be_used_is_told_and_costs_no_other() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let mut lines: Vec<String> = (0..300)
        .map(|n| {
            format!(
                "{{\"recipient\":\"{}\",\"payload\":{{\"type\":\"text\",\"text\":{{\"body\":\"{n}\"}}}}}}\n",
                number(n)
            )
        })
        .collect();
    lines[9] = "{\"recipient\":\"+4915120000009\",\"payload\":{\"type\":\"txt\"}}\n".into();
    lines[99] = format!(
        "{{\"recipient\":\"{ALICE}\",\"text\":\"a\",\"sequence\":\"{}\"}}\n",
        "s".repeat(101)
    );
    lines[199] = "{\"recipient\":\"16505551234\",\"text\":\"a\"}\n".into();
    lines[209] = "{\"recipient\":\"US 1349\",\"recipient_kind\":\"user\",\"text\":\"a\"}\n".into();
    lines[299] = "no JSON\n".into();
    let file = desk.file("reminders.jsonl", lines.concat());
    let says = world.says(&["import", &file]).await;
    assert!(says.starts_with("295 messages are in the outbox"), "{says}");
    assert!(says.contains("5 lines could not be used"), "{says}");
    assert!(says.contains("\n  line 10: payload: "), "{says}");
    let faults = desk.read("reminders.jsonl.faults.csv");
    let told: Vec<Vec<&str>> = faults
        .lines()
        .skip(1)
        .map(|line| line.splitn(3, ',').collect())
        .collect();
    let places: Vec<_> = told.iter().map(|fault| (fault[0], fault[1])).collect();
    assert_eq!(
        places,
        [
            ("10", "payload"),
            ("100", "sequence"),
            ("200", "recipient"),
            ("210", "recipient"),
            ("300", "line")
        ]
    );
    assert!(told[0][2].contains("txt"), "{faults}");
    assert!(
        told[1][2].contains("101 characters; use 1 to 100"),
        "{faults}"
    );
    assert!(!faults.contains("16505551234"), "{faults}");
    assert!(!faults.contains("1349"), "{faults}");
}

#[tokio::test]
async fn a_dry_run_has_the_database_judge_and_keeps_nothing() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let payload = r#""{""type"":""txt""}""#;
    let file = desk.file(
        "reminders.csv",
        format!("phone,payload,text\n{ALICE},{payload},\n{ALICE},,Hello\n"),
    );
    let says = world.says(&["import", &file, "--dry-run"]).await;
    assert!(
        says.starts_with("1 messages could be imported; nothing was written"),
        "{says}"
    );
    assert!(says.contains("line 2: payload: "), "{says}");
    for table in [
        "select count(*) from wa.outbox",
        "select count(*) from wa.imports",
    ] {
        assert_eq!(world.number(table).await, 0);
    }
    world.says(&["import", &file]).await;
    assert_eq!(world.number("select count(*) from wa.outbox").await, 1);

    let keyed = |rows: usize| {
        let row = |n: usize| format!("{},Hello,k{}\n", number(n), n % 3_000);
        let rows: String = (0..rows).map(row).collect();
        desk.file("keyed.csv", format!("phone,text,dedup_key\n{rows}"))
    };
    for (rows, is_said) in [(4_000, false), (6_000, true)] {
        let says = world.says(&["import", &keyed(rows), "--dry-run"]).await;
        let unseen = "in another part of the file is counted as new";
        assert_eq!(says.contains(unseen), is_said, "{says}");
    }
}

#[tokio::test]
async fn a_strict_import_stops_at_a_bad_line_whoever_finds_it_and_goes_on_there() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let import = |file: &str| ["import".to_owned(), file.to_owned(), "--strict".to_owned()];
    let good = "{\"recipient\":\"+4915120000000\",\"text\":\"a\"}\n";
    let file = desk.file(
        "reminders.jsonl",
        [
            good,
            good,
            "{\"recipient\":\"4915120000000\",\"text\":\"a\"}\n",
        ]
        .concat(),
    );
    let arguments = import(&file);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let refused = world.refuses(&arguments).await;
    assert!(
        refused.contains("line 3 cannot be used: recipient: it does not start with +"),
        "{refused}"
    );
    assert_eq!(world.number("select count(*) from wa.outbox").await, 2);
    let of_database = "{\"recipient\":\"+4915120000000\",\"payload\":{\"type\":\"txt\"}}\n";
    desk.file("reminders.jsonl", [good, good, good, of_database].concat());
    let refused = world.refuses(&arguments).await;
    assert!(
        refused.contains("line 4 cannot be used: payload: "),
        "{refused}"
    );
    desk.file("reminders.jsonl", good.repeat(4));
    world.says(&arguments).await;
    assert_eq!(world.number("select count(*) from wa.outbox").await, 4);
}

#[tokio::test]
async fn a_strict_import_of_standard_input_needs_a_name_to_go_on_by() {
    let world = World::at_rest().await;
    let run = async |arguments: &[&str]| {
        let output = world.command(arguments).await;
        (
            output.status.code(),
            String::from_utf8(output.stderr).expect("text"),
        )
    };
    let (code, refused) = run(&["import", "-", "--strict"]).await;
    assert_eq!(code, Some(2), "{refused}");
    assert!(
        refused.contains("another run goes on there: --as NAME"),
        "{refused}"
    );
    for named in [&["--as", "today"][..], &["--dry-run"]] {
        // There is nothing to read.
        let (code, refused) = run(&[&["import", "-", "--strict"], named].concat()).await;
        assert_eq!(code, Some(1), "{refused}");
        assert!(refused.contains("it is empty"), "{refused}");
    }
}

#[tokio::test]
async fn a_sender_that_does_not_exist_ends_an_import_before_it_begins() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let file = desk.file("reminders.csv", texts(3));
    let refused = world.refuses(&["import", &file, "--sender", "4711"]).await;
    assert!(
        refused.contains("error: there is no sender 4711"),
        "{refused}"
    );
    assert!(
        refused.contains(&format!("fix: known senders: {SENDER}")),
        "{refused}"
    );
    assert!(!desk.at("reminders.csv.faults.csv").exists());
    world.says(&["import", &file, "--sender", SENDER]).await;
    assert_eq!(world.number("select count(*) from wa.outbox").await, 3);
}

#[tokio::test]
async fn messages_of_a_sequence_keep_the_order_of_the_file() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let rows: String = (0..60)
        .map(|n| format!("{},{n},story\n", number(n % 3)))
        .collect();
    let file = desk.file("stories.csv", format!("phone,text,sequence\n{rows}"));
    world.says(&["import", &file]).await;
    let mut seen = 0;
    for recipient in 0..3 {
        let bodies: Vec<usize> = world
            .messages_in_order()
            .await
            .into_iter()
            .filter(|(to, _)| *to == number(recipient))
            .map(|(_, body)| body.parse().expect("a number"))
            .collect();
        assert!(bodies.is_sorted(), "{bodies:?}");
        seen += bodies.len();
    }
    assert_eq!(seen, 60);
}

#[tokio::test]
async fn of_two_imports_of_one_file_only_one_writes() {
    let world = World::at_rest().await;
    let begun = world.store.begin_file("reminders.csv", "ada").await;
    assert_eq!(begun.expect("begins").lines, 0);
    let messages = [Outgoing::new(message::text("Hello"), ALICE)];
    let step = FileStep {
        source: "reminders.csv",
        lines_before: 0,
        lines: 2,
        checksum: b"of two lines",
        is_last: true,
    };
    let write = async || world.store.write_messages(&messages, Some(step)).await;
    let first = write().await.expect("is written").expect("is the first");
    first.commit(0, 0).await.expect("is durable");
    assert!(write().await.expect("is refused").is_none());
    assert_eq!(world.number("select count(*) from wa.outbox").await, 1);
}

#[tokio::test]
async fn who_may_only_produce_may_import() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let file = desk.file("reminders.csv", texts(2) + "+4915120000009,\n");
    let url = world.database.url_as("wa_producer");
    let output = world
        .command_with(&[("DATABASE_URL", &url)], &["import", &file])
        .await;
    let says = String::from_utf8_lossy(&output.stdout);
    assert!(
        says.starts_with("2 messages are in the outbox"),
        "{says}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let sender: String = sqlx::query_scalar("select distinct sender from wa.outbox")
        .fetch_one(&world.database.pool)
        .await
        .expect("one sender");
    assert_eq!(sender, SENDER);
}

#[tokio::test]
async fn a_file_that_cannot_be_meant_is_refused_with_what_to_do() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.enqueue(a_text()).await;
    for (content, words) in [
        ("phone,text,dedupkey\n", "do you mean dedup_key?"),
        (
            "phone,reference\n",
            "it has no column text, payload or campaign_id",
        ),
        ("", "it is empty"),
    ] {
        let file = desk.file("reminders.csv", content);
        let refused = world.refuses(&["import", &file]).await;
        assert!(refused.contains(words), "{refused}");
    }
    let refused = world.refuses(&["import", &desk.path("none.csv")]).await;
    assert!(refused.contains("could not open"), "{refused}");
    assert_eq!(world.number("select count(*) from wa.imports").await, 0);
}

#[tokio::test]
async fn a_file_of_which_no_line_can_be_used_fails_its_import() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let spring = r#"select wa.create_campaign('spring', '{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}', author => 'ada')"#;
    world.run_sql(spring).await;
    let code = async |arguments: &[&str]| {
        let output = world.command(arguments).await;
        let told = String::from_utf8(output.stderr).expect("text");
        (output.status.code(), told)
    };
    let bad = desk.file("bad.csv", "phone,text\nsomebody,Hello\n,Hello\n");
    let mixed = desk.file(
        "mixed.csv",
        format!("phone,text\nsomebody,Hello\n{ALICE},Hello\n"),
    );
    for import in [&["import"][..], &["campaign", "import", "spring"]] {
        for more in [&["--dry-run"][..], &["--json"]] {
            let (ended, told) = code(&[import, &[&bad], more].concat()).await;
            assert_eq!(ended, Some(1), "{import:?} {more:?}: {told}");
            assert!(told.contains("no line of the file could be used"), "{told}");
            let (ended, told) = code(&[import, &[&mixed], more].concat()).await;
            assert_eq!(ended, Some(0), "{import:?} {more:?}: {told}");
        }
        // Nothing is new: nothing is wrong with that, and what was wrong still is.
        assert_eq!(code(&[import, &[&mixed]].concat()).await.0, Some(0));
        assert_eq!(code(&[import, &[&bad]].concat()).await.0, Some(1));
    }
}
