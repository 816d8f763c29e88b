//! A database, a WhatsApp and a worker for one measured run.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::process::{Used, family_cpu_ms, used};
use crate::domain::id::SenderId;
use crate::embedded::{Purpose, Server};
use crate::simulator::{FaultPlan, LedgerSettings, Settings, Simulator, Statuses};
use crate::store::sender::SenderChange;
use crate::store::{ConnectSettings, Store};

const SENDER: &str = "106540352242922";
const APP_SECRET: &str = "app-secret-of-the-bench";
/// So long may nothing end before the run is given up.
const STALLED_AFTER: Duration = Duration::from_secs(90);

/// Everything one run needs; nothing of it is left afterwards.
pub(super) struct Scene {
    server: Option<Server>,
    store: Store,
    url: String,
    simulator: std::sync::Arc<Simulator>,
    webhook_port: u16,
    in_flight: u32,
    worker: Option<Child>,
}

/// What is compared before and after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) postgres_cpu_ms: f64,
    pub(super) wal_bytes: f64,
}

/// What became of the messages, here and in the ledger of the simulator.
#[derive(Debug, Serialize)]
pub(super) struct Outcomes {
    pub(super) requests: u64,
    pub(super) accepted_in_ledger: u64,
    /// Messages that the ledger holds more than once.
    pub(super) accepted_twice: u64,
    /// Messages that we call accepted and the ledger does not know.
    pub(super) accepted_here_only: i64,
    pub(super) states: BTreeMap<String, i64>,
    pub(super) attempts: BTreeMap<String, i64>,
}

impl Outcomes {
    /// Whether a promise was broken: a message taken twice, one called accepted that is not, or one that has not ended.
    pub(super) fn is_broken(&self) -> bool {
        let open = ["queued", "waiting", "sending", "uncertain"]
            .iter()
            .any(|state| self.states.contains_key(*state));
        self.accepted_twice > 0 || self.accepted_here_only > 0 || open
    }
}

/// A simulator that is away now and then.
pub(super) struct Flaps {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Flaps {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        // It ends by coming back.
        let _ = self.task.await;
    }
}

impl Scene {
    /// A fresh durable Postgres, migrated, with one sender that points at a fresh simulator.
    pub(super) async fn set(
        in_flight: u32,
        latency: Duration,
        statuses: Statuses,
        faults: FaultPlan,
    ) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("wa-outbox-bench-{}", std::process::id()));
        let server = start_postgres(folder).await?;
        let url = server.url("postgres");
        let settings = ConnectSettings {
            statement_timeout: Duration::from_secs(600),
            ..ConnectSettings::new(url.clone())
        };
        let store = Store::connect(&settings).await?;
        store.migrate().await?;
        let webhook_port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let simulator = Simulator::start(Settings {
            latency,
            faults,
            statuses,
            ledger: LedgerSettings {
                compact: true,
                ..LedgerSettings::default()
            },
            ..Settings::default()
        })
        .await?;
        simulator.set_webhook(
            format!("http://127.0.0.1:{webhook_port}/webhook"),
            APP_SECRET,
        );
        let scene = Self {
            server: Some(server),
            store,
            url,
            simulator: std::sync::Arc::new(simulator),
            webhook_port,
            in_flight,
            worker: None,
        };
        scene.add_sender().await?;
        Ok(scene)
    }

    async fn add_sender(&self) -> anyhow::Result<()> {
        let sender = SenderId::from(SENDER);
        let settings = SenderChange {
            base_url: Some(self.simulator.base_url()),
            rate_per_second: Some(10_000.0),
            pair_period_ms: Some(0),
            max_in_flight: Some(self.in_flight.try_into()?),
            ..SenderChange::default()
        };
        self.store
            .add_sender(&sender, "env:WA_OUTBOX_BENCH_TOKEN", &settings)
            .await?;
        Ok(())
    }

    /// Writes messages with payloads of 400 bytes, each to a recipient of its own.
    pub(super) async fn enqueue(&self, messages: u32) -> anyhow::Result<()> {
        sqlx::query(
            "insert into wa.outbox (recipient, payload)
             select '+1650' || (1000000 + n), json_build_object('type', 'template', 'template', json_build_object(
               'name', 'order_update', 'language', json_build_object('code', 'en_US'), 'components', json_build_array(json_build_object(
                 'type', 'body', 'parameters', json_build_array(json_build_object('type', 'text', 'text', rpad('order ' || n, 250, '.')))))))
             from generate_series(1, $1) n",
        )
        .bind(i32::try_from(messages)?)
        .execute(self.store.pool())
        .await?;
        // As autovacuum would have by now; otherwise its work falls into the run by chance.
        sqlx::query("vacuum analyze")
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// Starts `wa-outbox run` as a process of its own.
    pub(super) fn start_worker(&mut self) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("could not find this program")?;
        let worker = Command::new(program)
            .args(["run", "--no-migrate"])
            .env("DATABASE_URL", &self.url)
            .env("WA_OUTBOX_BENCH_TOKEN", "bench-token")
            .env("WHATSAPP_APP_SECRET", APP_SECRET)
            .env(
                "WA_OUTBOX_WEBHOOK_LISTEN",
                format!("127.0.0.1:{}", self.webhook_port),
            )
            .env("WA_OUTBOX_ADMIN_LISTEN", "127.0.0.1:0")
            .env("WA_OUTBOX__WORKER__READ_AHEAD", "1000")
            .env("WA_OUTBOX__HTTP__CONNECT_TIMEOUT_S", "2")
            .env("WA_OUTBOX__HTTP__RESPONSE_TIMEOUT_S", "5")
            .env("WA_OUTBOX__RECONCILE__WINDOW_S", "5")
            .env("WA_OUTBOX__LOG__FILTER", "error")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("could not start the worker")?;
        self.worker = Some(worker);
        Ok(())
    }

    /// Lets the simulator be away for a moment, again and again, so that connections are refused.
    pub(super) fn flap(&self) -> Flaps {
        let (stop, simulator) = (
            CancellationToken::new(),
            std::sync::Arc::clone(&self.simulator),
        );
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                simulator.go_away().await;
                tokio::time::sleep(Duration::from_millis(2)).await;
                while simulator.come_back().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        });
        Flaps { stop, task }
    }

    /// Waits until no message is open, showing how many are when `progress` gives the run's name.
    pub(super) async fn until_all_have_ended(
        &mut self,
        progress: Option<&str>,
    ) -> anyhow::Result<()> {
        let (mut fewest, mut since) = (i64::MAX, tokio::time::Instant::now());
        loop {
            let open = self.store.open_messages().await?;
            if open == 0 {
                return Ok(());
            }
            if open < fewest {
                (fewest, since) = (open, tokio::time::Instant::now());
            } else if since.elapsed() > STALLED_AFTER {
                anyhow::bail!("nothing has ended for {STALLED_AFTER:?}; {open} messages are open");
            }
            let ended = self
                .worker
                .as_mut()
                .and_then(|worker| worker.try_wait().ok().flatten());
            if let Some(status) = ended {
                anyhow::bail!("the worker ended by itself: {status}");
            }
            if let Some(run) = progress.filter(|_| std::io::stderr().is_terminal()) {
                eprint!("\r{run}: {open} messages to go    \r");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn until_webhooks_are_applied(&self) -> anyhow::Result<()> {
        self.simulator.webhooks_settled().await;
        while self.store.inbox_summary().await?.pending > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(super) async fn usage(&self) -> anyhow::Result<Usage> {
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

    /// Over the time in which messages were accepted.
    pub(super) async fn messages_per_second(&self) -> anyhow::Result<f64> {
        let rate: Option<f64> = sqlx::query_scalar(
            "select (count(*) / nullif(extract(epoch from max(ended_at) - min(ended_at)), 0))::float8 from wa.results
             where state = 'accepted'",
        )
        .fetch_one(self.store.pool())
        .await?;
        Ok(rate.unwrap_or(0.0))
    }

    /// Stops the worker in order and says what it has used.
    pub(super) async fn stop_worker(&mut self) -> anyhow::Result<Used> {
        let mut worker = self.worker.take().context("no worker runs")?;
        let pid = worker.id().context("the worker has ended")?;
        let used = used(pid)?;
        let pid = rustix::process::Pid::from_raw(pid.try_into()?).context("a process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = worker.wait().await?;
        anyhow::ensure!(
            status.success(),
            "the worker did not stop cleanly: {status}"
        );
        Ok(used)
    }

    pub(super) async fn outcomes(&self) -> anyhow::Result<Outcomes> {
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

    /// Takes everything down.
    pub(super) async fn strike(mut self) -> anyhow::Result<()> {
        self.store.close().await;
        let server = self.server.take();
        tokio::task::spawn_blocking(move || server.map(Server::remove).transpose()).await??;
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Only after a failure: the server is durable and would outlive us.
        if let Some(server) = self.server.take() {
            let _ = server.remove();
        }
    }
}

async fn start_postgres(folder: PathBuf) -> anyhow::Result<Server> {
    let purpose = Purpose::Durable {
        folder,
        tcp_port: None,
    };
    Ok(tokio::task::spawn_blocking(move || Server::start(purpose)).await??)
}
