//! Sends that go well, or are refused as Meta refuses them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::{Decision, PairLimit};
use super::*;

#[tokio::test]
async fn an_accepted_message_is_answered_with_its_id_and_stands_in_the_ledger() {
    let simulator = a_simulator().await;
    let (status, answer) = send(&simulator, &a_text_to("+1 (650) 555-1234")).await;

    assert_eq!(status, 200);
    assert_eq!(answer["messaging_product"], "whatsapp");
    assert_eq!(
        answer["contacts"],
        json!([{ "input": "+1 (650) 555-1234", "wa_id": "16505551234" }])
    );
    let accepted = simulator.ledger().accepted_for(ALICE);
    assert_eq!(accepted.len(), 1);
    assert_eq!(answer["messages"], json!([{ "id": accepted[0].wamid() }]));
    assert_eq!(accepted[0].callback_data.as_deref(), Some("w1-1-1-abc"));
    assert_eq!(&*accepted[0].number, NUMBER);
    assert_eq!(
        serde_json::from_slice::<Value>(&accepted[0].body).expect("JSON")["text"]["body"],
        "hello"
    );
}

#[tokio::test]
async fn a_template_says_that_it_is_accepted_and_a_mark_as_read_only_that_it_is_done() {
    let simulator = a_simulator().await;
    let template = json!({
        "messaging_product": "whatsapp", "to": ALICE, "type": "template",
        "template": { "name": "hello_world", "language": { "code": "en_US" } },
    });
    let (_, answer) = send(&simulator, &template).await;
    assert_eq!(answer["messages"][0]["message_status"], "accepted");

    let read =
        json!({ "messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x" });
    let (status, answer) = send(&simulator, &read).await;
    assert_eq!((status, answer), (200, json!({ "success": true })));
    assert_eq!(simulator.ledger().all()[1].decision, Decision::Acknowledged);
}

#[tokio::test]
async fn a_missing_a_wrong_and_a_real_looking_token_are_refused() {
    let simulator = a_simulator_with(Settings {
        tokens: vec!["right".to_owned()],
        ..Settings::default()
    })
    .await;
    let client = a_client();
    let url = format!("{}/v23.0/{NUMBER}/messages", simulator.base_url());
    for (token, status, code) in [
        ("", 401, Some(104)),
        ("wrong", 401, Some(190)),
        ("EAAGsecret", 401, Some(190)),
        ("right", 200, None),
    ] {
        let mut request = client.post(&url).body(a_text_to(ALICE).to_string());
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{token}");
        let answer: Value =
            serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        assert_eq!(answer["error"]["code"].as_i64(), code, "{token}");
    }
    assert_eq!(simulator.ledger().accepted_count(), 1);
}

#[tokio::test]
async fn a_providers_path_and_key_header_are_taken() {
    let simulator = a_simulator().await;
    let client = a_client();
    for (path, number) in [
        ("/messages", NUMBER),
        ("/15550001111/messages", "15550001111"),
    ] {
        let request = client
            .post(format!("{}{path}", simulator.base_url()))
            .header("D360-API-KEY", "practice");
        let answer = request
            .body(a_text_to(ALICE).to_string())
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(
            &*simulator
                .ledger()
                .accepted()
                .last()
                .expect("an entry")
                .number,
            number
        );
    }
}

#[tokio::test]
async fn the_on_premises_client_is_logged_in_to_and_names_its_messages_without_a_prefix() {
    let simulator = a_simulator().await;
    let client = a_client();
    let login = client.post(format!("{}/v1/users/login", simulator.base_url()));
    let answer = login
        .basic_auth("admin", Some("practice"))
        .send()
        .await
        .expect("an answer");
    let answer: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    let token = answer["users"][0]["token"].as_str().expect("a token");

    let send = client
        .post(format!("{}/v1/messages", simulator.base_url()))
        .bearer_auth(token);
    let body = json!({ "to": "16505551234", "type": "text", "text": { "body": "hello" } });
    let answer = send.body(body.to_string()).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    let answer: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    let id = answer["messages"][0]["id"].as_str().expect("an id");
    assert_eq!(simulator.ledger().accepted()[0].wamid(), Some(id));
    assert!(!id.starts_with("wamid."), "{id}");

    simulator.end_sessions();
    let again = client
        .post(format!("{}/v1/messages", simulator.base_url()))
        .bearer_auth(token);
    let answer = again
        .body(body.to_string())
        .send()
        .await
        .expect("an answer");
    assert_eq!((answer.status().as_u16(), simulator.logins()), (401, 1));
    let answer: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    assert_eq!(answer["errors"][0]["code"], 1005);
}

#[tokio::test]
async fn one_connection_carries_pipelined_chunked_and_expecting_requests() {
    let simulator = a_simulator().await;
    let mut stream = TcpStream::connect(simulator.address())
        .await
        .expect("a connection");
    let two = [request_bytes(ALICE), request_bytes(BOB)].concat();
    stream.write_all(&two).await.expect("written");
    simulator.ledger().wait_for_accepted(2).await;

    let body = a_text_to(ALICE).to_string();
    let (first, second) = body.split_at(20);
    let head = "POST /messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer practice\r\nConnection: close\r\n\
                Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("written");
    let chunks = format!(
        "{:x}\r\n{first}\r\n{:X};note=1\r\n{second}\r\n0\r\nTrailer: x\r\n\r\n",
        20,
        second.len()
    );
    let mut seen = String::new();
    while !seen.contains("100 Continue") {
        seen.push(stream.read_u8().await.expect("the go-ahead").into());
    }
    stream.write_all(chunks.as_bytes()).await.expect("written");
    let (rest, in_order) = read_to_end(&mut stream).await;
    assert!(in_order);
    assert_eq!((seen + &rest).matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(simulator.ledger().accepted_for(ALICE).len(), 2);
}

#[tokio::test]
async fn what_is_over_the_rate_is_refused_and_nothing_else() {
    let simulator = a_simulator_with(Settings {
        rate_per_second: Some(3),
        ..Settings::default()
    })
    .await;
    simulator.set_rate_of("unhurried", None);
    for n in 0..12 {
        let _ = send(&simulator, &a_text_to(&format!("+1650555{n:04}"))).await;
        let answer = post(&simulator, "/v23.0/unhurried/messages", &a_text_to(ALICE))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200, "another number has its own rate");
    }
    let mut passed = Vec::new();
    for entry in simulator
        .ledger()
        .all()
        .iter()
        .filter(|entry| &*entry.number == NUMBER)
    {
        let second = |at: &Duration| entry.at - *at < Duration::from_secs(1);
        let before = passed.iter().filter(|at| second(at)).count();
        match &entry.decision {
            Decision::Accepted { .. } => {
                assert!(before < 3, "{before} were in the second before this one");
                passed.push(entry.at);
            }
            refused => {
                assert_eq!(
                    *refused,
                    Decision::Refused {
                        http_status: 400,
                        code: Some(130_429)
                    }
                );
                assert_eq!(before, 3);
            }
        }
    }
    assert!(passed.len() >= 3);
}

#[tokio::test]
async fn the_pair_limit_holds_one_recipient_back_and_no_other() {
    let limit = PairLimit {
        burst: 2,
        period: Duration::from_secs(3600),
    };
    let simulator = a_simulator_with(Settings {
        pair_limit: Some(limit),
        ..Settings::default()
    })
    .await;
    let mut codes = Vec::new();
    for recipient in [ALICE, "16505551234", ALICE, BOB] {
        let (_, answer) = send(&simulator, &a_text_to(recipient)).await;
        codes.push(answer["error"]["code"].as_i64());
    }
    assert_eq!(codes, [None, None, Some(131_056), None]);
}

/// The one thread of this test is busy while the requests come, and reads them one straight after the other.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_request_is_entered_with_the_time_it_came_however_late_it_is_read() {
    use std::io::Write as _;

    const APART: Duration = Duration::from_millis(20);
    let simulator = a_simulator().await;
    let mut senders = [ALICE, BOB].map(|recipient| {
        let stream = std::net::TcpStream::connect(simulator.address()).expect("it listens");
        (stream, recipient)
    });
    let entered_apart = async {
        for accepted in (2..).step_by(2) {
            for (stream, recipient) in &mut senders {
                stream
                    .write_all(&request_bytes(recipient))
                    .expect("it is written");
                std::thread::sleep(APART);
            }
            simulator.ledger().wait_for_accepted(accepted).await;
            let entries = simulator.ledger().all();
            let [.., one, other] = entries.as_slice() else {
                unreachable!("two were accepted");
            };
            // The kernel may begin to note times a little after it was asked to.
            if one.at.abs_diff(other.at) >= APART {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, entered_apart).await;
    in_time.expect("two that came apart are entered apart");
}
