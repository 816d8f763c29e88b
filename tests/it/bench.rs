//! A bench runs from its start to its end, small, and tells what it is to tell. Which figures those are is the machine's affair.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// Runs a scenario and gives what it tells.
async fn bench(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
        .arg("bench")
        .args(arguments)
        .arg("--json")
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Something was measured, in rounds, and beside each limit.
fn is_measured(one: &Value) -> bool {
    let is_spread = |spread: &Value| {
        let of = |name: &str| spread[name].as_f64().expect("a number");
        of("median") > 0.0 && of("least") <= of("median") && of("median") <= of("most")
    };
    let limits = one["limits"].as_array().expect("limits");
    is_spread(&one["figure"]) && limits.iter().all(|limit| is_spread(&limit["figure"]))
}

#[tokio::test]
async fn statuses_are_measured_beside_answers_without_a_look() {
    let told = bench(&["webhooks", "--messages", "40"]).await;
    let measured = told["measured"].as_array().expect("figures");

    // Applied, answered and the other sender, of one a delivery and of ten.
    assert_eq!(measured.len(), 6);
    let mut of_statuses = measured.iter().filter(|one| one["unit"] != "% of its rate");
    assert!(of_statuses.all(is_measured), "{measured:#?}");
}

#[tokio::test]
async fn a_backlog_is_measured_beside_a_loop_that_is_written_by_hand() {
    let measured = bench(&["drain", "--messages", "60"]).await;
    let sent =
        (measured.as_array().expect("figures").iter()).find(|one| one["what"] == "messages sent");
    let sent = sent.expect("how fast messages were sent");
    assert!(is_measured(sent), "{sent}");
    assert_eq!(sent["limits"][0]["what"], "by hand");
}
