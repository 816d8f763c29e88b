//! Webhooks written by hand: what WhatsApp would post, and what somebody else might.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use wa_outbox::domain::id::{AttemptNumber, MessageId};
use wa_outbox::domain::token::TokenKey;

use super::world::{APP_SECRET, SENDER, World};

/// One of `statuses[]`, as Meta writes it; `at` in seconds since 1970.
pub(crate) fn a_status(wamid: &str, status: &str, at: i64) -> Value {
    json!({"id": wamid, "status": status, "timestamp": at.to_string(), "recipient_id": "16505551001"})
}

/// The same with callback data.
pub(crate) fn with_data(mut status: Value, data: &str) -> Value {
    status["biz_opaque_callback_data"] = data.into();
    status
}

/// A delivery that holds these statuses, each in an entry of its own.
pub(crate) fn a_delivery(statuses: &[Value]) -> String {
    let entries: Vec<Value> = statuses
        .iter()
        .map(|status| {
            json!({"id": "102290129340398", "changes": [{"field": "messages", "value": {
                "messaging_product": "whatsapp",
                "metadata": {"phone_number_id": SENDER},
                "statuses": [status],
            }}]})
        })
        .collect();
    json!({"object": "whatsapp_business_account", "entry": entries}).to_string()
}

/// What WhatsApp puts into `X-Hub-Signature-256`.
pub(crate) fn signed_with(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!(
        "sha256={}",
        HEXLOWER.encode(hmac::sign(&key, body).as_ref())
    )
}

/// What the receiver answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl World {
    /// Deliveries of this age wait to be applied, as they were stored together.
    pub(crate) async fn deliveries_wait(&self, bodies: &[impl AsRef<str>], age: &str) {
        let bodies: Vec<&str> = bodies.iter().map(AsRef::as_ref).collect();
        sqlx::query(
            "with kept as (
               insert into wa.webhook_inbox (body, state, received_at)
               select convert_to(b, 'UTF8'), 'stored', now() - $2::text::interval from unnest($1::text[]) b returning id, received_at
             )
             insert into wa.webhook_pending (received_at, deliveries)
             select k.received_at, array_agg(k.id order by k.id) from kept k group by k.received_at",
        )
        .bind(bodies)
        .bind(age)
        .execute(&self.database.pool)
        .await
        .expect("they are stored");
    }

    /// The same, as an older version has it.
    pub(crate) async fn older_deliveries_wait(&self, bodies: &[impl AsRef<str>], age: &str) {
        let bodies: Vec<&str> = bodies.iter().map(AsRef::as_ref).collect();
        sqlx::query(
            "insert into wa.webhook_inbox (body, received_at)
             select convert_to(b, 'UTF8'), now() - $2::text::interval from unnest($1::text[]) b",
        )
        .bind(bodies)
        .bind(age)
        .execute(&self.database.pool)
        .await
        .expect("they are stored");
    }

    /// Nothing waits any more, as if it had been applied.
    pub(crate) async fn no_delivery_waits(&self) {
        self.run_sql("delete from wa.webhook_pending").await;
        self.run_sql("update wa.webhook_inbox set state = 'applied' where state = 'pending'")
            .await;
    }

    /// Where the running service receives webhooks.
    pub(crate) fn webhook_url(&self) -> String {
        let service = self.service.as_ref().expect("a running service");
        let address = service.webhook_address.expect("it receives webhooks");
        format!("http://{address}/webhook")
    }

    /// Posts these bytes under this signature.
    pub(crate) async fn post_webhook(&self, body: Vec<u8>, signature: Option<&str>) -> Answer {
        let mut request = client().post(self.webhook_url()).body(body);
        if let Some(signature) = signature {
            request = request.header("X-Hub-Signature-256", signature);
        }
        answered(request).await
    }

    /// Posts statuses as WhatsApp does, and waits until they are applied.
    pub(crate) async fn deliver(&self, statuses: &[Value]) {
        let body = a_delivery(statuses).into_bytes();
        let signature = signed_with(APP_SECRET, &body);
        assert_eq!(self.post_webhook(body, Some(&signature)).await.status, 200);
        self.until_webhooks_are_applied().await;
    }

    /// The callback data that this world's service gives to a request.
    pub(crate) async fn token(&self, message: MessageId, attempt: i32) -> String {
        let key = self
            .store
            .callback_token_key()
            .await
            .expect("the key of the database");
        TokenKey::from_bytes(&key)
            .issue(message, AttemptNumber(attempt), None)
            .expect("a short token")
    }
}

/// Asks with GET.
pub(crate) async fn get(url: String) -> Answer {
    get_with(url, None).await
}

/// The same with this in `Authorization`.
pub(crate) async fn get_with(url: String, authorization: Option<&str>) -> Answer {
    let mut request = client().get(url);
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    answered(request).await
}

fn client() -> reqwest::Client {
    // Plain HTTP on this machine: reading its certificates would take longer than the test.
    reqwest::Client::builder()
        .tls_certs_only([])
        .build()
        .expect("a client")
}

async fn answered(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("the receiver answers");
    Answer {
        status: answer.status().as_u16(),
        body: answer.text().await.expect("a body"),
    }
}
