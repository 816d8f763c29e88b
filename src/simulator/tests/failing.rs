//! What goes wrong on demand, down to the socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::{Fault, FaultPlan, LedgerSettings};
use super::*;

async fn control(
    simulator: &Simulator,
    method: reqwest::Method,
    path: &str,
    body: &str,
) -> (u16, Value) {
    let client = a_client();
    let url = format!("{}{path}", simulator.base_url());
    let answer = client
        .request(method, url)
        .body(body.to_owned())
        .send()
        .await
        .expect("an answer");
    (
        answer.status().as_u16(),
        serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"),
    )
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_ends_the_connection() {
    let simulator = a_simulator().await;
    let smuggled = "POST /messages HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let endless = "POST /messages HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n";
    for (bytes, status) in [("\u{1}\u{2}\r\n\r\n", 400), (smuggled, 400), (endless, 413)] {
        let mut stream = TcpStream::connect(simulator.address())
            .await
            .expect("a connection");
        stream.write_all(bytes.as_bytes()).await.expect("written");
        let mut first_line = vec![0; 12];
        stream.read_exact(&mut first_line).await.expect("an answer");
        assert_eq!(
            String::from_utf8_lossy(&first_line),
            format!("HTTP/1.1 {status}")
        );
    }
}

#[tokio::test]
async fn a_connection_is_cut_as_each_fault_says_and_the_ledger_knows_what_was_taken() {
    let simulator = a_simulator().await;
    for fault in [
        Fault::CloseBeforeReading,
        Fault::CloseAfterReading,
        Fault::AcceptThenDropAnswer,
        Fault::AcceptThenTruncateAnswer,
    ] {
        simulator.ledger().clear();
        simulator.fault_next(ALICE, fault);
        let (seen, in_order) = exchange(&simulator, ALICE).await;
        let entries = simulator.ledger().requests_for(ALICE);
        assert_eq!(entries.len(), 1, "{fault}");
        assert_eq!(entries[0].fault, Some(fault));
        assert_eq!(entries[0].wamid().is_some(), fault.accepts(), "{fault}");
        assert_eq!(in_order, fault != Fault::CloseBeforeReading, "{fault}");
        if fault == Fault::AcceptThenTruncateAnswer {
            let (head, body) = seen.split_once("\r\n\r\n").expect("a head");
            assert!(head.starts_with("HTTP/1.1 200 OK"));
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .expect("a length");
            assert!(!body.is_empty() && body.len() < length.parse().expect("a number"));
        } else {
            assert_eq!(seen, "", "{fault}");
        }
    }
}

#[tokio::test]
async fn what_hangs_is_never_answered() {
    for fault in [Fault::Hang, Fault::AcceptThenHang] {
        let simulator = a_simulator().await;
        simulator.fault_next(ALICE, fault);
        let mut stream = TcpStream::connect(simulator.address())
            .await
            .expect("a connection");
        stream
            .write_all(&request_bytes(ALICE))
            .await
            .expect("written");
        simulator.ledger().wait_for_requests(1).await;
        assert_eq!(simulator.ledger().accepted_count() == 1, fault.accepts());
        simulator.stop().await;
        assert_eq!(
            read_to_end(&mut stream).await.0,
            "",
            "the connection ended with the simulator, not before"
        );
    }
}

#[tokio::test]
async fn each_bad_answer_is_as_its_fault_says() {
    let simulator = a_simulator().await;
    let cases = [
        (Fault::AcceptThenAnswerHtml, 200, "<html>"),
        (Fault::AcceptThenAnswerWithoutId, 200, "\"messages\":[]"),
        (Fault::ServerError, 500, "{}"),
        (Fault::AcceptThenServerError, 500, "{}"),
        (Fault::GatewayPage, 502, "<html>"),
        (Fault::AcceptThenGatewayPage, 502, "<html>"),
        (Fault::RequestTimeout, 408, "<html>"),
        (Fault::RateLimited, 400, "\"code\":130429"),
        (Fault::PairLimited, 400, "\"code\":131056"),
        (Fault::AccountLimited, 400, "\"code\":80007"),
        (Fault::TooManyRequests(7), 429, "<html>"),
        (Fault::Error(190), 401, "\"code\":190"),
        (Fault::Error(2), 503, "\"is_transient\":true"),
        (Fault::Error(132001), 404, "\"code\":132001"),
        (Fault::EchoAnother, 200, "+15550009999"),
        (Fault::HeldForQuality, 200, "held_for_quality_assessment"),
    ];
    for (fault, status, says) in cases {
        simulator.ledger().clear();
        simulator.fault_next(ALICE, fault);
        let answer = post(&simulator, "/v23.0/1/messages", &a_text_to(ALICE))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), status, "{fault}");
        let waits = answer
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(waits.as_deref(), (status == 429).then_some("7"));
        let body = answer.text().await.expect("a body");
        assert!(body.contains(says), "{fault}: {body}");
        let entries = simulator.ledger().requests_for(ALICE);
        assert_eq!(entries[0].wamid().is_some(), fault.accepts(), "{fault}");
        let names_it = entries[0].wamid().is_some_and(|wamid| body.contains(wamid));
        assert_eq!(
            names_it,
            fault == Fault::HeldForQuality,
            "{fault}: only an honest answer names our message"
        );
    }
}

#[tokio::test]
async fn a_good_answer_can_be_the_last_on_its_connection_without_saying_so() {
    let simulator = a_simulator().await;
    simulator.fault_next(ALICE, Fault::AcceptThenClose);
    let (seen, in_order) = exchange(&simulator, ALICE).await;
    assert!(in_order && seen.starts_with("HTTP/1.1 200 OK"));
    assert!(!seen.contains("Connection: close"));
}

#[tokio::test]
async fn connections_can_be_closed_before_anything_is_read_new_and_old_ones() {
    let simulator = a_simulator().await;
    let mut old = TcpStream::connect(simulator.address())
        .await
        .expect("a connection");
    old.write_all(&request_bytes(ALICE)).await.expect("written");
    read_answer(&mut old).await;

    simulator.close_next_connections(2);
    let mut new = TcpStream::connect(simulator.address())
        .await
        .expect("a connection");
    assert_eq!(
        read_to_end(&mut new).await.0,
        "",
        "closed although nothing was written"
    );
    old.write_all(&request_bytes(ALICE)).await.expect("written");
    assert_eq!(read_to_end(&mut old).await, (String::new(), false), "reset");

    assert_eq!(
        simulator.ledger().request_count(),
        1,
        "what was not read is not witnessed"
    );
    assert_eq!(simulator.summary()["connections_closed_before_reading"], 2);
    assert_eq!(
        send(&simulator, &a_text_to(ALICE)).await.0,
        200,
        "the third goes through"
    );
}

#[tokio::test]
async fn a_simulator_that_went_away_refuses_connections_until_it_comes_back() {
    let simulator = a_simulator().await;
    simulator.go_away().await;
    let refused = TcpStream::connect(simulator.address())
        .await
        .expect_err("refused");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    simulator.come_back().await.expect("listening again");
    assert_eq!(send(&simulator, &a_text_to(ALICE)).await.0, 200);
}

#[tokio::test]
async fn counts_are_right_under_faults_by_probability() {
    let probabilities = vec![
        (Fault::AcceptThenDropAnswer, 0.2),
        (Fault::ServerError, 0.3),
    ];
    let faults = FaultPlan {
        seed: 3,
        probabilities,
        ..FaultPlan::default()
    };
    let ledger = LedgerSettings {
        compact: true,
        ..LedgerSettings::default()
    };
    let simulator = a_simulator_with(Settings {
        faults,
        ledger,
        ..Settings::default()
    })
    .await;
    let (mut good, mut failed, mut lost) = (0, 0, 0);
    for n in 0..100 {
        let body = json!({
            "messaging_product": "whatsapp", "to": format!("+1650555{n:04}"), "text": { "body": "hello" },
        });
        match post(&simulator, "/v23.0/1/messages", &body).await {
            Ok(answer) if answer.status() == 200 => good += 1,
            Ok(_) => failed += 1,
            Err(_) => lost += 1,
        }
    }
    let counts = simulator.ledger().counts();
    assert_eq!(
        (counts.accepted, counts.refused, counts.requests),
        (good + lost, failed, 100)
    );
    assert_eq!(counts.by_fault.get("accept_then_drop_answer"), Some(&lost));
    assert!(good > 0 && failed > 0 && lost > 0);
    assert!(simulator.ledger().duplicates().is_empty());
}

#[tokio::test]
async fn ledger_faults_and_summary_are_reached_over_http() {
    let simulator = a_simulator().await;
    let order = json!({ "recipient": ALICE, "next": ["accept_then_server_error", "error:131026"] })
        .to_string();
    let (status, answer) = control(&simulator, reqwest::Method::POST, "/_sim/faults", &order).await;
    assert_eq!((status, answer), (200, json!({ "status": "set" })));
    for recipient in [ALICE, ALICE, BOB] {
        send(&simulator, &a_text_to(recipient)).await;
    }

    let path = "/_sim/ledger?recipient=%2B16505551234&limit=10";
    let (_, page) = control(&simulator, reqwest::Method::GET, path, "").await;
    let row = |n: usize| {
        (
            page["entries"][n]["decision"].clone(),
            page["entries"][n]["fault"].clone(),
        )
    };
    assert_eq!(
        row(0),
        (json!("accepted"), json!("accept_then_server_error"))
    );
    assert_eq!(row(1), (json!("refused"), json!("error:131026")));
    assert_eq!(page["entries"][0]["body"]["text"]["body"], "hello");
    let (_, page) = control(&simulator, reqwest::Method::GET, "/_sim/ledger?since=2", "").await;
    assert_eq!(
        (
            page["entries"].as_array().map(Vec::len),
            page["next"].as_u64()
        ),
        (Some(1), Some(3))
    );

    let (_, summary) = control(&simulator, reqwest::Method::GET, "/_sim/summary", "").await;
    assert_eq!(
        (&summary["accepted"], &summary["refused"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        summary["accepted_twice"], 1,
        "both carry the same callback data"
    );
    assert_eq!(summary, simulator.summary());

    control(&simulator, reqwest::Method::DELETE, "/_sim/ledger", "").await;
    assert_eq!(simulator.ledger().request_count(), 0);
}

#[tokio::test]
async fn an_order_of_faults_that_makes_no_sense_is_refused_with_the_reason() {
    let simulator = a_simulator().await;
    for (order, says) in [
        (r#"{"recipient":"1","next":["explode"]}"#, "explode"),
        (
            r#"{"probabilities":{"hang":0.7,"server_error":0.7}}"#,
            "at most 1",
        ),
        (r#"{"next":["hang"]}"#, "recipient"),
        (r#"{"colour":"red"}"#, "colour"),
    ] {
        let (status, answer) =
            control(&simulator, reqwest::Method::POST, "/_sim/faults", order).await;
        assert_eq!(status, 400);
        assert!(
            answer["error"].as_str().expect("a reason").contains(says),
            "{answer}"
        );
    }
}
