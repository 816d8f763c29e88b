//! The simulator over real HTTP on the loopback.

mod failing;
mod sending;
mod telling;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Settings, Simulator};

const ALICE: &str = "+16505551234";
const BOB: &str = "+16505559876";
const NUMBER: &str = "106540352242922";
/// Far longer than anything here takes: a test that waits in vain fails instead of standing still.
const PATIENCE: Duration = Duration::from_secs(60);

async fn a_simulator() -> Simulator {
    a_simulator_with(Settings::default()).await
}

async fn a_simulator_with(settings: Settings) -> Simulator {
    Simulator::start(settings)
        .await
        .expect("the simulator starts")
}

fn a_text_to(recipient: &str) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "to": recipient,
        "type": "text",
        "text": { "body": "hello" },
        "biz_opaque_callback_data": "w1-1-1-abc",
    })
}

/// A client of plain HTTP: one that reads the machine's certificates takes longer to make than most tests last.
fn a_client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    builder.tls_certs_only([]).build().expect("a client")
}

async fn post(
    simulator: &Simulator,
    path: &str,
    body: &Value,
) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}{path}", simulator.base_url());
    a_client()
        .post(url)
        .bearer_auth("practice")
        .body(body.to_string())
        .send()
        .await
}

async fn send(simulator: &Simulator, body: &Value) -> (u16, Value) {
    let answer = post(simulator, &format!("/v23.0/{NUMBER}/messages"), body)
        .await
        .expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).expect("JSON"))
}

/// One request as bytes, over an open connection.
fn request_bytes(recipient: &str) -> Vec<u8> {
    let body = a_text_to(recipient).to_string();
    let head = format!(
        "POST /v23.0/{NUMBER}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer practice\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// Sends one request and gives all that comes back until the connection ends, and whether it ended in order.
async fn exchange(simulator: &Simulator, recipient: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(simulator.address())
        .await
        .expect("a connection");
    stream
        .write_all(&request_bytes(recipient))
        .await
        .expect("written");
    read_to_end(&mut stream).await
}

async fn read_to_end(stream: &mut TcpStream) -> (String, bool) {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("an end");
    (String::from_utf8(bytes).expect("text"), ended.is_ok())
}

/// Reads exactly one answer off a connection that stays open.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            if body.len() >= length {
                assert_eq!(body.len(), length, "one answer, and nothing after it");
                return text;
            }
        }
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8())
            .await
            .expect("in time");
        bytes.push(byte.expect("the connection stays open"));
    }
}
