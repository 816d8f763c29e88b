//! A database, a WhatsApp and workers for one measured run.

mod figures;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::AssertSqlSafe;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::by_hand;
use super::cable::Cable;
use super::pgbouncer::{Mode, PgBouncer};
use super::process::{Used, comes_second};
use super::wall_clock::WallClocks;
use super::worker::Worker;
use crate::domain::id::SenderId;
use crate::embedded::{Purpose, Server};
use crate::simulator::{FaultPlan, LedgerSettings, Settings, Simulator, Statuses};
use crate::store::sender::SenderChange;
use crate::store::{ConnectSettings, Store};
pub(super) use figures::{Outcomes, Usage};

const APP_SECRET: &str = "app-secret-of-the-bench";
/// A payload of 400 bytes for each `n`, as SQL.
pub(super) const TEMPLATE: &str = "json_build_object('type', 'template', 'template', json_build_object(
  'name', 'order_update', 'language', json_build_object('code', 'en_US'), 'components', json_build_array(json_build_object(
    'type', 'body', 'parameters', json_build_array(json_build_object('type', 'text', 'text', rpad('order ' || n, 250, '.')))))))";
/// So long may nothing end before the run is given up.
const STALLED_AFTER: Duration = Duration::from_secs(90);
/// Server connections that a pooler has: enough for every process of a run.
const POOLER_ROOM: u32 = 60;
/// A server that was killed may need so long until its last process has noticed.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(30);

/// What a run is made of.
#[derive(Default)]
pub(super) struct Plan {
    /// Who sends, and how fast.
    pub(super) senders: Vec<(SenderId, SenderChange)>,
    /// How long WhatsApp takes for each answer.
    pub(super) latency: Duration,
    pub(super) statuses: Statuses,
    pub(super) faults: FaultPlan,
    /// Settings of the workers, as environment variables.
    pub(super) settings: Vec<(&'static str, String)>,
    /// Workers reach the database through this.
    pub(super) pooler: Option<Mode>,
    /// Workers reach the database by a way that can be cut.
    pub(super) cable: bool,
    /// And that takes so long there and back.
    pub(super) database_away: Duration,
    /// Workers have wall clocks of their own.
    pub(super) wall_clocks: Option<WallClocks>,
    /// The simulator keeps when it told each status.
    pub(super) tellings: bool,
}

/// Everything one run needs; nothing of it is left afterwards.
pub(super) struct Scene {
    server: Option<Server>,
    pub(super) store: Store,
    direct: String,
    /// How workers reach the database.
    url: String,
    pub(super) cable: Option<Cable>,
    pub(super) wall_clocks: Option<WallClocks>,
    _pooler: Option<PgBouncer>,
    pub(super) simulator: std::sync::Arc<Simulator>,
    /// The ledger counts its time from here.
    pub(super) started: Instant,
    webhook_port: u16,
    admin_port: u16,
    settings: Vec<(&'static str, String)>,
    pub(super) workers: BTreeMap<String, Worker>,
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
    /// A fresh durable Postgres, migrated, whose senders point at a fresh simulator.
    pub(super) async fn set(plan: Plan) -> anyhow::Result<Self> {
        let server = start_postgres().await?;
        let direct = server.url("postgres");
        let settings = ConnectSettings {
            statement_timeout: Duration::from_secs(600),
            ..ConnectSettings::new(direct.clone())
        };
        let store = Store::connect(&settings).await?;
        store.migrate().await?;
        let (pooler, cable, url) = way_to(&direct, &plan).await?;
        let [webhook_port, admin_port] = free_ports()?;
        let started = Instant::now();
        let simulator = Simulator::start(Settings {
            latency: plan.latency,
            faults: plan.faults,
            statuses: plan.statuses,
            // All of it is needed afterwards, and no body.
            ledger: LedgerSettings {
                compact: true,
                capacity: usize::MAX,
                tellings: plan.tellings,
            },
            ..Settings::default()
        })
        .await?;
        simulator.set_webhook(webhook_address(webhook_port), APP_SECRET);
        for (sender, change) in plan.senders {
            let change = SenderChange {
                base_url: Some(simulator.base_url()),
                ..change
            };
            store
                .add_sender(&sender, "env:WA_OUTBOX_BENCH_TOKEN", &change)
                .await?;
        }
        Ok(Self {
            server: Some(server),
            store,
            direct,
            url,
            cable,
            wall_clocks: plan.wall_clocks,
            _pooler: pooler,
            simulator: std::sync::Arc::new(simulator),
            started,
            webhook_port,
            admin_port,
            settings: plan.settings,
            workers: BTreeMap::new(),
        })
    }

    /// Writes messages with payloads of 400 bytes, each to a recipient of its own.
    pub(super) async fn enqueue(&self, sender: &SenderId, messages: u32) -> anyhow::Result<()> {
        sqlx::query(AssertSqlSafe(format!(
            "insert into wa.outbox (sender, recipient, payload)
             select $2, '+1650' || (1000000 + n), {TEMPLATE} from generate_series(1, $1) n"
        )))
        .bind(i32::try_from(messages)?)
        .bind(sender.as_str())
        .execute(self.store.pool())
        .await?;
        Ok(())
    }

    /// A way to the database as a worker has it.
    pub(super) async fn store_of_a_worker(&self) -> anyhow::Result<Store> {
        let settings = ConnectSettings {
            by_key: true,
            ..ConnectSettings::new(self.direct.clone())
        };
        Ok(Store::connect(&settings).await?)
    }

    /// Runs statements that are ours alone.
    pub(super) async fn run_sql(&self, statements: &str) -> anyhow::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// Writes so many sequences of so many messages, each to a recipient of its own: all first members, all second ones …
    pub(super) async fn enqueue_sequences(
        &self,
        sender: &SenderId,
        sequences: u32,
        length: u32,
    ) -> anyhow::Result<()> {
        sqlx::query(
            r#"insert into wa.outbox (sender, recipient, sequence, payload)
               select $1, '+1650' || (1000000 + n), 'story', '{"type":"text","text":{"body":"Your order has shipped"}}'
               from generate_series(1, $3) part, generate_series(1, $2) n"#,
        )
        .bind(sender.as_str())
        .bind(i32::try_from(sequences)?)
        .bind(i32::try_from(length)?)
        .execute(self.store.pool())
        .await?;
        Ok(())
    }

    /// As autovacuum would have by now; otherwise its work falls into the run by chance.
    pub(super) async fn vacuum(&self) -> anyhow::Result<()> {
        sqlx::query("vacuum analyze")
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// Where the database is reached without anything in between.
    pub(super) fn database_url(&self) -> &str {
        &self.direct
    }

    /// Where a receiver of this scene takes deliveries.
    pub(super) fn webhook_address(&self) -> String {
        webhook_address(self.webhook_port)
    }

    /// From now on the simulator posts its deliveries there, signed as ever.
    pub(super) fn tell_webhooks_to(&self, address: &str) {
        self.simulator.set_webhook(address, APP_SECRET);
    }

    /// Runs this very program to its end, as a process of its own on this database. Gives what it printed.
    pub(super) async fn command(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let program = std::env::current_exe().context("could not find this program")?;
        let output = Command::new(program)
            .args(arguments)
            .env("DATABASE_URL", &self.url)
            .kill_on_drop(true)
            .output()
            .await
            .context("could not start a command")?;
        anyhow::ensure!(
            output.status.success(),
            "a command has failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    }

    /// Starts `wa-outbox run` as a process of its own.
    pub(super) fn start_worker(&mut self, name: &str, roles: &str) -> anyhow::Result<()> {
        let local = |port| format!("127.0.0.1:{port}");
        let environment = [
            ("DATABASE_URL", self.url.clone()),
            ("WA_OUTBOX_BENCH_TOKEN", "bench-token".to_owned()),
            ("WHATSAPP_APP_SECRET", APP_SECRET.to_owned()),
            ("WA_OUTBOX_WEBHOOK_LISTEN", local(self.webhook_port)),
            ("WA_OUTBOX_ADMIN_LISTEN", local(self.admin_port)),
        ];
        let clock = (self.wall_clocks.as_ref())
            .map(|clocks| clocks.environment(name))
            .transpose()?;
        let environment = environment
            .into_iter()
            .chain(self.settings.iter().cloned())
            .chain(clock.into_iter().flatten());
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        let worker = Worker::start(name, roles, environment)?;
        self.workers.insert(name.to_owned(), worker);
        Ok(())
    }

    /// Where a process with the role `admin` shows how it goes; one at a time.
    pub(super) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    /// Starts another command of this very program as a process of its own, beside the workers.
    pub(super) fn start_process(&mut self, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let environment = by_hand::environment(&self.simulator.base_url(), &self.direct);
        let process = Worker::start_with(arguments, environment)?;
        self.workers.insert(name.to_owned(), process);
        Ok(())
    }

    /// The worker of this name, to be ended by the caller.
    pub(super) fn take_worker(&mut self, name: &str) -> anyhow::Result<Worker> {
        let worker = self.workers.remove(name);
        worker.with_context(|| format!("no worker {name} runs"))
    }

    /// Kills Postgres with SIGKILL and starts it again.
    pub(super) async fn kill_postgres(&mut self) -> anyhow::Result<()> {
        let server = self.server.as_ref().context("no server")?;
        let postmaster = server
            .postmaster_pid()
            .context("the server has no process")?;
        let pid = Pid::from_raw(postmaster.try_into()?).context("a process id")?;
        kill_process(pid, Signal::KILL)?;
        let since = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            match start_postgres().await {
                Ok(server) => {
                    self.server = Some(server);
                    return Ok(());
                }
                Err(error) if since.elapsed() > COMES_BACK_WITHIN => return Err(error),
                // Its processes notice one by one that their parent is gone, and until then the data is in use.
                Err(_) => {}
            }
        }
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
                let first = self.first_that_is_open().await?;
                anyhow::bail!(
                    "nothing has ended for {STALLED_AFTER:?}; {open} messages are open, the first is {first}"
                );
            }
            self.refuse_dead_workers()?;
            if let Some(run) = progress.filter(|_| std::io::stderr().is_terminal()) {
                eprint!("\r{run}: {open} messages to go    \r");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn first_that_is_open(&self) -> anyhow::Result<String> {
        let first: Option<String> = sqlx::query_scalar(
            "select format('message %s, %s, attempts %s: %s', id, state, attempts, waiting_for) from wa.messages
             where id in (select id from wa.queue union all select id from wa.waiting union all select id from wa.uncertain)
             order by id limit 1",
        )
        .fetch_optional(self.store.pool())
        .await?;
        Ok(first.unwrap_or_else(|| "none any more".to_owned()))
    }

    /// An error when a worker has ended that nobody has ended.
    pub(super) fn refuse_dead_workers(&mut self) -> anyhow::Result<()> {
        for (name, worker) in &mut self.workers {
            if let Some(status) = worker.has_ended() {
                anyhow::bail!("{name} ended by itself: {status}");
            }
        }
        Ok(())
    }

    /// Those that have ended by themselves.
    pub(super) fn dead_workers(&mut self) -> Vec<String> {
        let mut dead = Vec::new();
        for (name, worker) in &mut self.workers {
            if worker.has_ended().is_some() {
                dead.push(name.clone());
            }
        }
        dead
    }

    pub(super) async fn until_webhooks_are_applied(&self) -> anyhow::Result<()> {
        self.simulator.webhooks_settled().await;
        while self.store.inbox_summary().await?.pending > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Stops a worker in order and says what it has used.
    pub(super) async fn stop_worker(&mut self, name: &str) -> anyhow::Result<Used> {
        let worker = self.take_worker(name)?;
        let used = worker.used()?;
        worker.stop().await?;
        Ok(used)
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

/// Ports that are free now.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut ports = [0; N];
    // Bound at the same time, so that they are not the same.
    let listeners: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn webhook_address(port: u16) -> String {
    format!("http://127.0.0.1:{port}/webhook")
}

/// A server in the folder of this process, or the one that runs there.
async fn start_postgres() -> anyhow::Result<Server> {
    let folder = std::env::temp_dir().join(format!("wa-outbox-bench-{}", std::process::id()));
    let purpose = Purpose::Durable {
        folder,
        tcp_port: None,
    };
    let server = tokio::task::spawn_blocking(move || Server::start(purpose)).await??;
    comes_second(
        server
            .postmaster_pid()
            .context("the server has no process")?,
    )?;
    Ok(server)
}

async fn way_to(
    direct: &str,
    plan: &Plan,
) -> anyhow::Result<(Option<PgBouncer>, Option<Cable>, String)> {
    let mut url = direct.to_owned();
    let mut started = None;
    if let Some(mode) = plan.pooler {
        let pooler = tokio::task::block_in_place(|| PgBouncer::start(&url, mode, POOLER_ROOM))?;
        url = pooler.url();
        started = Some(pooler);
    }
    let cable = match plan.cable || !plan.database_away.is_zero() {
        true => Some(Cable::to(&url).await?),
        false => None,
    };
    if let Some(cable) = &cable {
        cable.lengthen(plan.database_away);
        url = cable.url();
    }
    Ok((started, cable, url))
}
