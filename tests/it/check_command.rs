//! `check`: bodies are looked at offline.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs it in a folder, with nothing set: it needs no database and no settings.
fn check(folder: &TempDir, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
        .arg("check")
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It may have ended without reading, as on wrong usage.
    let _ = child
        .stdin
        .take()
        .expect("its input")
        .write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    (output.status.code(), text)
}

fn said_json(output: &Output) -> (Option<i32>, Value) {
    let (code, text) = said(output);
    (code, serde_json::from_str(&text).expect("JSON"))
}

fn folder(files: &[(&str, Value)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        fs::write(path, content.to_string()).expect("it is written");
    }
    folder
}

fn text(body: &str) -> Value {
    json!({"type": "text", "text": {"body": body}})
}

#[test]
fn a_finding_is_a_line_with_field_found_allowed_and_fix() {
    let files = folder(&[
        ("long.json", text(&"x".repeat(4_097))),
        ("good.json", text("Hello")),
    ]);

    let (code, says) = said(&check(&files, &["long.json"], ""));
    assert_eq!(
        says,
        "long.json: request (text), refused\n  \
         CLASS    FIELD       FOUND                 ALLOWED                FIX                            RULE\n  \
         refused  /text/body  has 4,097 characters  1 to 4,096 characters  shorten it, or send it in parts  text_body_length\n"
            .replace("FIX                            RULE", "FIX                              RULE")
    );
    assert_eq!(code, Some(1));

    let (code, says) = said(&check(&files, &["good.json"], ""));
    assert_eq!(
        (code, says.as_str()),
        (Some(0), "good.json: request (text), accepted\n")
    );
}

#[test]
fn a_doubt_is_a_warning_and_strict_makes_an_unknown_field_a_refusal() {
    let files = folder(&[]);
    let odd = json!({"type": "text", "text": {"body": "x"}, "sparkle": true}).to_string();
    let (code, report) = said_json(&check(&files, &["--json", "-"], &odd));
    let finding = &report["documents"][0]["findings"][0];
    assert_eq!(
        (code, &report["documents"][0]["fate"]),
        (Some(0), &json!("warned"))
    );
    assert_eq!(
        (&finding["rule"], &finding["pointer"]),
        (&json!("unknown_field"), &json!("/sparkle"))
    );
    let (code, report) = said_json(&check(&files, &["--json", "--strict", "-"], &odd));
    assert_eq!(
        (code, &report["documents"][0]["fate"]),
        (Some(1), &json!("refused"))
    );
}

#[test]
fn a_file_is_taken_for_what_its_shape_says_or_for_what_it_is_called() {
    let files = folder(&[]);
    let lines = [
        text("x"),
        json!({"error": {"code": 131_026, "message": "Undeliverable"}}),
        json!({"messages": [{"id": "wamid.A"}]}),
        json!({"success": true}),
        json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages",
            "value": {"statuses": [{"id": "wamid.A", "status": "read"}, {"id": 7, "status": "sent"}]}}]}]}),
    ];
    let input: Vec<_> = lines.iter().map(Value::to_string).collect();
    let (code, report) = said_json(&check(&files, &["--json", "-"], &input.join("\n")));
    let documents = report["documents"].as_array().expect("a list");
    let taken: Vec<_> = documents
        .iter()
        .map(|one| one["taken_for"].as_str().expect("a word"))
        .collect();
    assert_eq!(
        taken,
        ["request", "response", "response", "response", "webhook"]
    );
    let outcomes: Vec<_> = documents[1..4]
        .iter()
        .map(|one| one["outcome"].as_str().expect("a word"))
        .collect();
    assert_eq!(outcomes, ["rejected", "accepted", "accepted"]);
    assert_eq!(documents[4]["statuses"], json!({"read": 1}));
    assert_eq!(
        documents[4]["bad"][0]["pointer"],
        "/entry/0/changes/0/value/statuses/1"
    );
    assert_eq!(
        code,
        Some(0),
        "an answer that says no is no request that would be refused"
    );

    let answer = r#"{"error":{"code":999999,"message":"?"}}"#;
    let outcome = |status: &str| {
        let (_, report) = said_json(&check(
            &files,
            &["--json", "--http-status", status, "-"],
            answer,
        ));
        report["documents"][0]["outcome"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(outcome("429").as_deref(), Some("throttled"));
    assert_eq!(outcome("401").as_deref(), Some("held"));
    assert_eq!(outcome("500").as_deref(), Some("uncertain"));

    let (_, report) = said_json(&check(&files, &["--json", "--as", "request", "-"], answer));
    assert_eq!(
        report["documents"][0]["findings"][0]["rule"],
        "type_missing"
    );
}

#[test]
fn what_the_worker_would_do_with_an_answer_is_told() {
    let files = folder(&[]);
    let answer = r#"{"error":{"code":131056,"message":"Pair rate limit hit"}}"#;
    let (code, says) = said(&check(&files, &["-"], answer));
    assert_eq!(
        says,
        "stdin: response (HTTP 400), throttled\n  \
         the message waits for this recipient's limit: (131056) Pair rate limit hit; no attempt is spent\n"
    );
    assert_eq!(code, Some(0));
}

#[test]
fn of_folders_only_what_is_odd_is_told_and_the_rest_is_counted() {
    let files = folder(&[
        ("bodies/a/good.json", text("Hello")),
        ("bodies/a/bad.json", text("")),
        (
            "bodies/b/odd.json",
            json!({"type": "hologram", "hologram": {}}),
        ),
        ("bodies/b/notes.txt", json!("not looked at")),
    ]);
    fs::write(files.path().join("bodies/b/broken.json"), "{").expect("it is written");
    let (code, says) = said(&check(&files, &["bodies"], ""));
    assert_eq!(code, Some(1));
    assert!(
        !says.contains("good.json") && !says.contains("notes"),
        "{says}"
    );
    assert!(
        says.contains("bodies/b/broken.json: no JSON, refused"),
        "{says}"
    );
    let table: Vec<Vec<&str>> = says
        .lines()
        .skip_while(|line| !line.starts_with("FOLDER"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        table,
        [
            vec!["FOLDER", "DOCUMENTS", "ACCEPTED", "WARNED", "REFUSED"],
            vec!["bodies/a", "2", "1", "0", "1"],
            vec!["bodies/b", "2", "0", "1", "1"],
        ]
    );
}

#[test]
fn to_whom_it_goes_is_what_the_body_says_unless_it_is_told() {
    let files = folder(&[]);
    let pin =
        json!({"type": "pin", "pin": {"type": "pin", "message_id": "m", "expiration_days": 1}});
    let rules = |arguments: &[&str], body: &Value| -> Vec<String> {
        let (_, report) = said_json(&check(&files, arguments, &body.to_string()));
        let findings = report["documents"][0]["findings"]
            .as_array()
            .expect("a list")
            .clone();
        findings
            .iter()
            .map(|one| one["rule"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(rules(&["--json", "-"], &pin), Vec::<String>::new());
    assert_eq!(
        rules(&["--json", "--to", "phone", "-"], &pin),
        ["pin_outside_group"]
    );
    let mut request = pin;
    request["messaging_product"] = "whatsapp".into();
    request["to"] = "16505551234".into();
    assert_eq!(
        rules(&["--json", "-"], &request),
        ["recipient_form", "pin_outside_group"]
    );
    request["recipient_type"] = "group".into();
    assert_eq!(rules(&["--json", "-"], &request), Vec::<String>::new());
}

#[test]
fn wrong_usage_and_the_list_of_rules() {
    let files = folder(&[]);
    for arguments in [&[][..], &["no_such_file.json"], &["--as", "letter", "-"]] {
        assert_eq!(
            check(&files, arguments, "").status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
    let (code, says) = said(&check(&files, &["--rules"], ""));
    assert_eq!(
        (code, says.as_str()),
        (Some(0), include_str!("../../docs/rules.md"))
    );
}

#[test]
fn nothing_of_what_was_written_is_printed() {
    let files = folder(&[]);
    let secret = "hunter2";
    let body = json!({"messaging_product": secret, "to": secret, "type": "interactive", "context": {"message_id": 7}, "interactive":
        {"type": "button", "body": {"text": secret.repeat(200)}, "action": {"buttons": [
            {"type": secret, "reply": {"id": format!(" {secret}"), "title": secret.repeat(4)}}]}}});
    let (code, says) = said(&check(&files, &["-"], &body.to_string()));
    assert_eq!(code, Some(1));
    assert!(
        !says.contains(secret) && says.contains("/interactive/body/text"),
        "{says}"
    );
}
