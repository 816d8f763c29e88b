//! What a run has used, and what has come of it, as it stands at a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::Scene;
use crate::cli::bench::process::family_cpu_ms;
use crate::embedded::Server;

/// What is compared before and after.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli::bench) struct Usage {
    pub(in crate::cli::bench) postgres_cpu_ms: f64,
    pub(in crate::cli::bench) wal_bytes: f64,
}

/// What became of the messages, here and in the ledger of the simulator.
#[derive(Debug, Serialize)]
pub(in crate::cli::bench) struct Outcomes {
    pub(in crate::cli::bench) requests: u64,
    pub(in crate::cli::bench) accepted_in_ledger: u64,
    /// Messages that the ledger holds more than once.
    pub(in crate::cli::bench) accepted_twice: u64,
    /// Messages that we call accepted and the ledger does not know.
    pub(in crate::cli::bench) accepted_here_only: i64,
    pub(in crate::cli::bench) states: BTreeMap<String, i64>,
    pub(in crate::cli::bench) attempts: BTreeMap<String, i64>,
}

impl Outcomes {
    /// Whether a promise was broken: a message taken twice, one called accepted that is not, or one that has not ended.
    pub(in crate::cli::bench) fn is_broken(&self) -> bool {
        self.accepted_twice > 0 || self.accepted_here_only > 0 || self.is_open()
    }

    /// Whether a message has not ended.
    pub(in crate::cli::bench) fn is_open(&self) -> bool {
        ["queued", "waiting", "sending", "uncertain"]
            .iter()
            .any(|state| self.states.contains_key(*state))
    }
}

impl Scene {
    /// What the server has used and written so far.
    pub(in crate::cli::bench) async fn usage(&self) -> anyhow::Result<Usage> {
        let postmaster = self
            .server
            .as_ref()
            .and_then(Server::postmaster_pid)
            .context("the server has no process")?;
        let wal_bytes: f64 = sqlx::query_scalar(
            "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8",
        )
        .fetch_one(self.store.pool())
        .await?;
        Ok(Usage {
            postgres_cpu_ms: family_cpu_ms(postmaster)?,
            wal_bytes,
        })
    }

    /// Transactions that have written something, since the database was made.
    pub(in crate::cli::bench) async fn commits(&self) -> anyhow::Result<f64> {
        let next: f64 =
            sqlx::query_scalar("select pg_snapshot_xmax(pg_current_snapshot())::text::float8")
                .fetch_one(self.store.pool())
                .await?;
        Ok(next)
    }

    /// What is told there as this metric.
    pub(in crate::cli::bench) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let asking = client.get(format!("{}/metrics", self.admin_url()));
        let metrics = asking.send().await?.error_for_status()?;
        let metrics = metrics.text().await?;
        let figure = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(figure
            .with_context(|| format!("no metric {name}"))?
            .parse()?)
    }

    /// When the requests of each sender came, in order.
    pub(in crate::cli::bench) fn request_times(&self) -> BTreeMap<String, Vec<Duration>> {
        let mut times = BTreeMap::<String, Vec<Duration>>::new();
        for entry in self.simulator.ledger().all() {
            match times.get_mut(&*entry.number) {
                Some(of_sender) => of_sender.push(entry.at),
                None => {
                    times.insert(entry.number.to_string(), vec![entry.at]);
                }
            }
        }
        // Requests of two connections may be entered a moment out of the order in which they were timed.
        times
            .values_mut()
            .for_each(|of_sender| of_sender.sort_unstable());
        times
    }

    /// Over the time in which messages were accepted.
    pub(in crate::cli::bench) async fn messages_per_second(&self) -> anyhow::Result<f64> {
        let rate: Option<f64> = sqlx::query_scalar(
            "select (count(*) / nullif(extract(epoch from max(ended_at) - min(ended_at)), 0))::float8 from wa.results
             where state = 'accepted'",
        )
        .fetch_one(self.store.pool())
        .await?;
        Ok(rate.unwrap_or(0.0))
    }

    /// What has become of the messages so far.
    pub(in crate::cli::bench) async fn outcomes(&self) -> anyhow::Result<Outcomes> {
        let ledger = self.simulator.ledger();
        let mut states = BTreeMap::new();
        for count in self.store.counts().await? {
            *states.entry(count.state).or_default() += count.messages;
        }
        let attempts: Vec<(String, i64)> =
            sqlx::query_as("select outcome, count(*) from wa.attempts group by 1 order by 1")
                .fetch_all(self.store.pool())
                .await?;
        let accepted_in_ledger = ledger.accepted_count();
        let accepted_twice = ledger.duplicates().len() as u64;
        let distinct = accepted_in_ledger as i64
            - ledger
                .duplicates()
                .iter()
                .map(|(_, entries)| entries.len() as i64 - 1)
                .sum::<i64>();
        Ok(Outcomes {
            requests: ledger.request_count(),
            accepted_in_ledger,
            accepted_twice,
            accepted_here_only: states.get("accepted").copied().unwrap_or(0) - distinct,
            states,
            attempts: attempts.into_iter().collect(),
        })
    }
}
