//! What a queue is to be read against: the same work by a loop that somebody wrote in an afternoon, and the requests alone.
//!
//! Each is a process of its own, as the worker is. The loop claims with `SKIP LOCKED`, keeps the rows locked while it posts, and writes
//! what came back in the same transaction. It writes nothing down before it sends: killed between an answer and its commit, it sends all
//! of the batch again. It has no limit, no order, no ownership and no statuses.

use std::sync::Arc;

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections of the loop.
const CONNECTIONS: usize = 4;
/// Rows that one of them claims at once.
const BATCH: i64 = 100;
/// Its table, filled by [`SETUP`].
pub(super) const SETUP: &str = "
    drop table if exists public.bench_by_hand;
    create table public.bench_by_hand (id bigint generated always as identity primary key, recipient text not null, payload json not null,
      state smallint not null default 0, wamid text);
    create index on public.bench_by_hand (id) where state = 0";

const URL: &str = "WA_OUTBOX_BENCH_WHATSAPP";
const DATABASE: &str = "DATABASE_URL";

/// What such a process needs to know.
pub(super) fn environment(whatsapp: &str, database: &str) -> [(String, String); 2] {
    [(URL, whatsapp), (DATABASE, database)].map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Posts with the client library of the worker.
#[derive(Clone)]
struct Post {
    client: reqwest::Client,
    address: String,
    places: Arc<Semaphore>,
}

impl Post {
    fn new(in_flight: u32) -> anyhow::Result<Self> {
        let whatsapp = std::env::var(URL).with_context(|| format!("{URL} is not set"))?;
        let client = reqwest::Client::builder().http1_only().no_proxy();
        Ok(Self {
            client: client.tls_certs_only([]).build()?,
            address: format!("{whatsapp}/v23.0/{}/messages", super::SENDER),
            places: Arc::new(Semaphore::new(in_flight as usize)),
        })
    }

    /// The wamid that it was given.
    async fn send(&self, recipient: &str, payload: &str) -> anyhow::Result<String> {
        let fields = payload.trim_start_matches('{');
        let body = format!(r#"{{"messaging_product":"whatsapp","to":"{recipient}",{fields}"#);
        let _place = self.places.acquire().await?;
        let request = self.client.post(&self.address);
        let request = request
            .header("Authorization", "Bearer bench-token")
            .header("Content-Type", "application/json")
            .body(body);
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let wamid = answer.pointer("/messages/0/id").and_then(|id| id.as_str());
        Ok(wamid.context("the answer has no id")?.to_owned())
    }
}

/// The loop, until its table has nothing left; then it waits to be killed.
pub(super) async fn run_loop(in_flight: u32) -> anyhow::Result<()> {
    let post = Post::new(in_flight)?;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(drain(post.clone()));
    }
    while let Some(ended) = connections.join_next().await {
        ended??;
    }
    std::future::pending().await
}

async fn drain(post: Post) -> anyhow::Result<()> {
    let url = std::env::var(DATABASE).with_context(|| format!("{DATABASE} is not set"))?;
    let mut connection = PgConnection::connect(&url).await?;
    loop {
        let mut transaction = connection.begin().await?;
        let claimed = sqlx::query(
            "select id, recipient, payload::text from public.bench_by_hand where state = 0 order by id limit $1 for update skip locked",
        )
        .bind(BATCH)
        .fetch_all(&mut *transaction)
        .await?;
        if claimed.is_empty() {
            return Ok(());
        }
        let mut posts = JoinSet::new();
        for row in claimed {
            let (id, recipient, payload): (i64, String, String) =
                (row.get(0), row.get(1), row.get(2));
            let post = post.clone();
            posts.spawn(async move {
                Ok::<_, anyhow::Error>((id, post.send(&recipient, &payload).await?))
            });
        }
        let (mut ids, mut wamids) = (Vec::new(), Vec::new());
        while let Some(sent) = posts.join_next().await {
            let (id, wamid) = sent??;
            ids.push(id);
            wamids.push(wamid);
        }
        sqlx::query(
            "update public.bench_by_hand b set state = 1, wamid = s.wamid from unnest($1::bigint[], $2::text[]) as s (id, wamid) where b.id = s.id",
        )
        .bind(ids)
        .bind(wamids)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
    }
}

/// Requests alone, as many as there is time for; it waits to be killed when they are done.
pub(super) async fn run_posts(in_flight: u32, messages: u32) -> anyhow::Result<()> {
    let post = Post::new(in_flight)?;
    let payload = format!(
        r#"{{"type":"template","template":{{"name":"order_update","language":{{"code":"en_US"}},"components":[{{"type":"body","parameters":[{{"type":"text","text":"{}"}}]}}]}}}}"#,
        ".".repeat(250)
    );
    let payload = Arc::new(payload);
    let mut posts = JoinSet::new();
    for nth in 0..in_flight {
        let (post, payload) = (post.clone(), Arc::clone(&payload));
        posts.spawn(async move {
            for n in (nth..messages).step_by(in_flight as usize) {
                post.send(&format!("+1650{:07}", 1_000_000 + n), &payload)
                    .await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(ended) = posts.join_next().await {
        ended??;
    }
    std::future::pending().await
}
