//! A stream of single messages, each in a transaction of its own, and how long after its commit its request came.
//!
//! The same stream can go *by hand*: whoever has committed a row marks it in a second durable transaction and posts it at once.
//! No sender that writes down what it is about to do can be faster, and it has no queue, no limit, no order and no second process:
//! so it is the limit of this machine at that moment. It goes from this process, before which workers and Postgres step back
//! ([`process`](super::process)): where others use the machine too, start the bench with `nice -n 10`, and it stands beside them.
//!
//! A delay counts from the moment at which the application knows that its transaction is committed until the first bytes of the
//! request had come to the simulator, as the kernel timed them. A request that came even before that counts as 0.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::SENDER;
use super::measured::Times;
use super::scene::Scene;

/// The sender of what goes by hand. It is none of the queue's.
const BY_HAND: &str = "20000000000001";
/// The last request must have come so long after the last message.
const COMES_WITHIN: Duration = Duration::from_secs(60);

/// By which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Outbox,
    ByHand,
}

/// When messages are written, since the start of a stream: so many a second, as the dice fall (Poisson).
pub(super) fn at_random(rate: f64, lasts: Duration, dice: &mut fastrand::Rng) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_secs_f64(-(1.0 - dice.f64()).ln() / rate);
        if at >= lasts {
            return times;
        }
        times.push(at);
    }
}

/// The same, evenly.
pub(super) fn evenly(rate: f64, lasts: Duration) -> Vec<Duration> {
    let messages = (rate * lasts.as_secs_f64()) as u32;
    let at = |n: u32| Duration::from_secs_f64(f64::from(n) / rate);
    (0..messages).map(at).collect()
}

/// What a stream showed.
pub(super) struct Stream {
    /// From the commit of each message to its request.
    pub(super) delays: Vec<Duration>,
    /// From the first commit to the last.
    pub(super) wrote_for: Duration,
}

impl Stream {
    pub(super) fn times(&self) -> Times {
        Times::of(self.delays.clone())
    }

    /// As they were written; a machine that is busy falls behind the plan.
    pub(super) fn per_second(&self) -> f64 {
        (self.delays.len() as f64 - 1.0) / self.wrote_for.as_secs_f64()
    }
}

/// Writes streams into one scene. No two messages have the same recipient.
pub(super) struct Streams {
    connections: Vec<Arc<tokio::sync::Mutex<PgConnection>>>,
    client: reqwest::Client,
    address: String,
    written: u64,
}

impl Streams {
    pub(super) async fn into(scene: &Scene, connections: usize) -> anyhow::Result<Self> {
        sqlx::query("create table if not exists public.by_hand (id bigint generated always as identity primary key, recipient text, state text not null default 'queued')")
            .execute(scene.store.pool())
            .await?;
        let mut opened = Vec::new();
        for _ in 0..connections {
            let connection = PgConnection::connect(scene.database_url()).await?;
            opened.push(Arc::new(tokio::sync::Mutex::new(connection)));
        }
        Ok(Self {
            connections: opened,
            client: reqwest::Client::builder().no_proxy().build()?,
            address: format!("{}/v23.0/{BY_HAND}/messages", scene.simulator.base_url()),
            written: 0,
        })
    }

    /// Writes messages at these times and waits until each has come.
    pub(super) async fn run(
        &mut self,
        scene: &Scene,
        way: Way,
        times: Vec<Duration>,
    ) -> anyhow::Result<Stream> {
        let started = Instant::now();
        let messages = times.len();
        let plan = times.into_iter().map(|at| {
            self.written += 1;
            (format!("+1{}", 2_000_000_000 + self.written), started + at)
        });
        let plan: Vec<(String, Instant)> = plan.collect();
        let before = scene.simulator.ledger().request_count();
        let plan = Arc::new(Mutex::new(plan.into_iter()));
        let mut writers = JoinSet::new();
        for connection in &self.connections {
            let writer = Writer {
                connection: Arc::clone(connection),
                client: self.client.clone(),
                address: self.address.clone(),
                way,
                plan: Arc::clone(&plan),
            };
            writers.spawn(writer.write());
        }
        let mut committed = HashMap::new();
        while let Some(wrote) = writers.join_next().await {
            committed.extend(wrote??);
        }
        let ledger = scene.simulator.ledger();
        tokio::time::timeout(
            COMES_WITHIN,
            ledger.wait_for_requests(before + messages as u64),
        )
        .await
        .with_context(|| {
            let came = ledger.request_count() - before;
            format!("{came} requests came of {messages} messages")
        })?;
        let mut delays = Vec::new();
        for entry in ledger.since(before, usize::MAX) {
            if let Some(at) = committed.get(&entry.recipient) {
                delays.push((scene.started + entry.at).saturating_duration_since(*at));
            }
        }
        anyhow::ensure!(
            delays.len() == messages,
            "{messages} messages were written and {} of them came",
            delays.len()
        );
        let (first, last) = (committed.values().min(), committed.values().max());
        let wrote_for = first.zip(last).map(|(first, last)| *last - *first);
        Ok(Stream {
            delays,
            wrote_for: wrote_for.unwrap_or_default(),
        })
    }
}

/// One connection of an application. It takes the next message of the plan that nobody else has.
struct Writer {
    connection: Arc<tokio::sync::Mutex<PgConnection>>,
    client: reqwest::Client,
    address: String,
    way: Way,
    plan: Arc<Mutex<std::vec::IntoIter<(String, Instant)>>>,
}

impl Writer {
    /// Tells when each message was committed, by its recipient.
    async fn write(self) -> anyhow::Result<Vec<(String, Instant)>> {
        let mut connection = self.connection.lock().await;
        let (mut committed, mut posts) = (Vec::new(), JoinSet::new());
        while let Some((recipient, at)) = self.next() {
            tokio::time::sleep_until(at).await;
            match self.way {
                Way::Outbox => {
                    sqlx::query(
                        r#"insert into wa.outbox (sender, recipient, payload)
                           values ($1, $2, '{"type":"text","text":{"body":"Your order has shipped"}}')"#,
                    )
                    .bind(SENDER)
                    .bind(&recipient)
                    .execute(&mut *connection)
                    .await?;
                    committed.push((recipient, Instant::now()));
                }
                Way::ByHand => {
                    let id: i64 = sqlx::query_scalar(
                        "insert into public.by_hand (recipient) values ($1) returning id",
                    )
                    .bind(&recipient)
                    .fetch_one(&mut *connection)
                    .await?;
                    committed.push((recipient.clone(), Instant::now()));
                    sqlx::query("update public.by_hand set state = 'sending' where id = $1")
                        .bind(id)
                        .execute(&mut *connection)
                        .await?;
                    posts.spawn(self.post(&recipient).send());
                }
            }
        }
        while let Some(answer) = posts.join_next().await {
            let status = answer??.status();
            anyhow::ensure!(
                status.is_success(),
                "a request by hand was answered {status}"
            );
        }
        Ok(committed)
    }

    fn next(&self) -> Option<(String, Instant)> {
        let mut plan = self.plan.lock().expect("nobody panics with the plan");
        plan.next()
    }

    fn post(&self, recipient: &str) -> reqwest::RequestBuilder {
        let body = json!({
            "messaging_product": "whatsapp", "to": recipient, "type": "text",
            "text": {"body": "Your order has shipped"},
        });
        self.client
            .post(&self.address)
            .header("Authorization", "Bearer bench-token")
            .header("Content-Type", "application/json")
            .body(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_as_many_messages_as_its_rate_says() {
        let lasts = Duration::from_secs(100);
        assert_eq!(evenly(50.0, lasts).len(), 5_000);
        let random = at_random(50.0, lasts, &mut fastrand::Rng::with_seed(1));
        // Five times the deviation of such a count.
        assert!(random.len().abs_diff(5_000) < 354, "{}", random.len());
        assert!(random.is_sorted() && random.iter().all(|at| *at < lasts));
    }
}
