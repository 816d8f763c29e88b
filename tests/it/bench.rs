//! A bench runs from its start to its end, small, and tells what it is to tell. Which figures those are is the machine's affair.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// Runs a scenario and gives its figures.
async fn bench(arguments: &[&str]) -> Vec<Value> {
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
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    told["measured"].as_array().expect("figures").clone()
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
    let measured = bench(&["webhooks", "--messages", "40"]).await;

    // Applied, answered and the other sender, of one a delivery and of ten.
    assert_eq!(measured.len(), 6);
    let mut of_statuses = measured.iter().filter(|one| one["unit"] != "% of its rate");
    assert!(of_statuses.all(is_measured), "{measured:#?}");
}
