//! What an operator deploys names only what there is: metrics, alerts with their runbook entries, commands.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use clap::CommandFactory as _;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use wa_outbox::cli::Cli;

use crate::support::make::a_text;
use crate::support::tools;
use crate::support::world::World;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words that look like metrics of ours.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    text.split(|one: char| !one.is_ascii_alphanumeric() && one != '_')
        .filter(|word| word.starts_with("wa_outbox_") || word.starts_with("process_"))
        .collect()
}

/// What stands behind `key:` in the lines of one alert; a folded text goes on in the lines below.
fn value<'a>(alert: &'a str, key: &str) -> &'a str {
    let at = alert
        .find(&format!(" {key}:"))
        .unwrap_or_else(|| panic!("no {key} in {alert}"));
    alert[at + key.len() + 2..].trim()
}

fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let alerts: Vec<_> = rules
        .split("- alert: ")
        .skip(1)
        .map(|alert| alert.split_once('\n').expect("a name and more"))
        .collect();
    assert!(alerts.len() > 10, "only {} alerts", alerts.len());
    alerts
}

/// The queries of a dashboard, wherever they stand.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("expr" | "query", Value::String(query)) => found.push(query.clone()),
                    _ => queries(value, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|one| queries(one, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn every_metric_that_is_deployed_exists() {
    let world = World::start().await;
    let names: BTreeSet<String> = world.scrape().await.names().into_iter().collect();
    let dashboard: Value = serde_json::from_str(&file("grafana.json")).expect("JSON");
    let mut shown = Vec::new();
    queries(&dashboard, &mut shown);
    assert!(shown.len() > 10, "only {} queries", shown.len());
    for (what, text) in [
        ("alerts.yaml", file("alerts.yaml")),
        ("runbook.md", file("runbook.md")),
        ("grafana.json", shown.join("\n")),
    ] {
        let named = metrics_in(&text);
        assert!(!named.is_empty(), "{what} names no metric");
        for metric in named {
            assert!(
                names.contains(metric),
                "{what} names {metric}, which does not exist"
            );
        }
    }
}

#[test]
fn every_alert_says_what_it_means_and_has_its_entry_in_the_runbook() {
    let (rules, runbook) = (file("alerts.yaml"), file("runbook.md"));
    let entries: BTreeSet<&str> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## WaOutbox"))
        .collect();
    let mut named = BTreeSet::new();
    for (name, alert) in alerts(&rules) {
        for key in ["expr", "severity", "summary", "description"] {
            assert!(!value(alert, key).is_empty(), "{name}: no {key}");
        }
        assert!(
            !metrics_in(value(alert, "expr")).is_empty(),
            "{name}: no metric"
        );
        let anchor = format!("deploy/runbook.md#{}", name.to_lowercase());
        assert_eq!(
            value(alert, "runbook").lines().next(),
            Some(anchor.as_str()),
            "{name}"
        );
        let short = name.strip_prefix("WaOutbox").expect("a name of ours");
        assert!(
            entries.contains(short),
            "{name} has no entry in the runbook"
        );
        assert!(named.insert(short), "{name} stands there twice");
    }
    assert_eq!(named, entries, "an entry of the runbook has no alert");
}

/// Has Prometheus' own checker look, where it is installed; what it says where it finds fault.
fn promtool(arguments: &[&str], input: Option<&str>) -> Option<Output> {
    if !tools::has("promtool", "prometheus") {
        return None;
    }
    let mut checker = Command::new("promtool")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut to = checker.stdin.take().expect("its input");
    // It need not read what it does not want.
    let _ = to.write_all(input.unwrap_or_default().as_bytes());
    drop(to);
    Some(checker.wait_with_output().expect("it ends"))
}

#[test]
fn prometheus_takes_the_alerts_and_they_fire_when_they_should() {
    for arguments in [
        ["check", "rules", "deploy/alerts.yaml"],
        ["test", "rules", "deploy/alerts_test.yaml"],
    ] {
        let Some(said) = promtool(&arguments, None) else {
            return;
        };
        assert!(
            said.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

#[tokio::test]
async fn prometheus_takes_what_is_scraped() {
    let world = World::start().await;
    let message = world.enqueue(a_text()).await;
    world.until_state(message, "accepted").await;
    // The checker reads the older text format only: there the end has no mark, and each counter its whole name.
    let scrape = world.scrape().await.0;
    let counters: BTreeSet<&str> = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let infos: BTreeSet<&str> = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" info"))
        .collect();
    let mut text = String::new();
    for line in scrape.lines().filter(|line| *line != "# EOF") {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", what, name, rest] if counters.contains(name) => {
                text.push_str(&format!("# {what} {name}_total {rest}\n"));
            }
            ["#", what, name, rest] if infos.contains(name) => {
                let rest = if *what == "TYPE" { "gauge" } else { rest };
                text.push_str(&format!("# {what} {name}_info {rest}\n"));
            }
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    let Some(said) = promtool(&["check", "metrics"], Some(&text)) else {
        return;
    };
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}

#[test]
fn every_command_of_the_runbook_exists() {
    let program = Cli::command();
    let mut commands = 0;
    for text in [file("runbook.md"), file("alerts.yaml")] {
        let said = text.split(['`', '"', '\n']);
        for line in said.filter_map(|said| said.trim().strip_prefix("wa-outbox ")) {
            let mut command = &program;
            for word in line.split_whitespace() {
                let Some(below) = command.find_subcommand(word) else {
                    let is_argument = !command.has_subcommands();
                    assert!(is_argument, "there is no command: wa-outbox {line}");
                    break;
                };
                command = below;
            }
            commands += 1;
        }
    }
    assert!(commands > 20, "only {commands} commands");
}

#[tokio::test]
async fn a_producer_may_write_and_read_messages_and_nothing_else() {
    let world = World::at_rest().await;
    let message = world.enqueue(a_text()).await;
    let cancel = format!("select wa.cancel({message})");
    // Roles are the whole server's, so all of it is undone.
    let mut transaction = world.database.pool.begin().await.expect("a transaction");
    let connection = &mut *transaction;
    for statement in [file("producer.sql"), "set local role shop".to_owned()] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *connection)
            .await
            .expect("the roles are made");
    }
    let insert = "insert into wa.outbox (recipient, payload) values ('+16505551001', '{\"type\":\"text\",\"text\":{\"body\":\"Hi\"}}')";
    for (statement, is_allowed) in [
        (insert, true),
        ("select state from wa.messages", true),
        (cancel.as_str(), true),
        ("update wa.outbox set recipient = '+16505551002'", false),
        ("delete from wa.outbox", false),
        ("update wa.queue set due_at = now()", false),
        (
            "insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('w', 's', 1, 1, 'response')",
            false,
        ),
        ("select credential from wa.senders", false),
        ("select body from wa.webhook_inbox", false),
        ("select key from wa.keys", false),
        ("update wa.senders set rate_per_second = 1000", false),
    ] {
        let tried = format!("savepoint before; {statement}");
        let done = sqlx::raw_sql(AssertSqlSafe(tried))
            .execute(&mut *connection)
            .await;
        let refused = done.as_ref().err().map(ToString::to_string);
        assert_eq!(done.is_ok(), is_allowed, "{statement}: {refused:?}");
        if let Some(refused) = refused {
            assert!(
                refused.contains("permission denied"),
                "{statement}: {refused}"
            );
        }
        sqlx::raw_sql("rollback to savepoint before")
            .execute(&mut *connection)
            .await
            .expect("back to before");
    }
}
