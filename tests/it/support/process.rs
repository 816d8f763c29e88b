//! The program itself, `wa-outbox run`, as a process that can be killed, frozen and told to stop.
//!
//! Settings go in by the environment, as in life; what it logs is kept, and shown when a test fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use wa_outbox::config::Config;

use super::world::{APP_SECRET, PATIENCE, World};

/// Where the program says that it receives webhooks.
const RECEIVES: &str = "(webhook.listen)";

/// `wa-outbox run` on the database of a world.
pub(crate) struct Process {
    child: Child,
    log: Log,
}

/// What a process has said, by lines.
#[derive(Clone)]
pub(super) struct Log {
    name: String,
    lines: Arc<Mutex<Vec<String>>>,
    grown: watch::Sender<bool>,
}

impl World {
    /// Starts a worker process and waits until it receives webhooks. They go to it from now on.
    pub(crate) async fn start_process(&self, name: &str) -> Process {
        let process = self.spawn_process(name, &self.database.url);
        let line = process.until_logged(RECEIVES).await;
        let address = line
            .split_whitespace()
            .find_map(|word| word.parse::<SocketAddr>().ok())
            .expect("an address");
        self.simulator
            .set_webhook(format!("http://{address}/webhook"), APP_SECRET);
        process
    }

    /// Starts a worker process that reaches the database by this address.
    pub(crate) fn spawn_process(&self, name: &str, database_url: &str) -> Process {
        self.spawn_process_with(name, database_url, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn spawn_process_with(
        &self,
        name: &str,
        database_url: &str,
        more: &[(&str, &str)],
    ) -> Process {
        let mut environment = environment(&self.config, database_url);
        environment.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_wa-outbox"));
        command.arg("run");
        Process::spawn(command, name, &environment)
    }

    /// Starts a worker process by this command, which may be the program of another version.
    pub(crate) fn spawn_by(&self, command: Command, name: &str) -> Process {
        let environment = environment(&self.config, &self.database.url);
        Process::spawn(command, name, &environment)
    }
}

impl Process {
    fn spawn(mut command: Command, name: &str, environment: &BTreeMap<String, String>) -> Self {
        let mut child = command
            .env_clear()
            .envs(environment)
            .env("WA_OUTBOX__WORKER__NAME", name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let log = Log::of(name);
        let stderr = child.stderr.take().expect("its standard error");
        tokio::spawn(log.clone().keep(stderr));
        Self { child, log }
    }

    /// Waits until it has logged a line with these words, and gives the line's message.
    pub(crate) async fn until_logged(&self, words: &str) -> String {
        let found = self.log.until(words, |lines| {
            let mut messages = lines.iter().map(|line| message_of(line));
            messages.find(|message| message.contains(words))
        });
        found.await
    }

    /// How many of its lines so far have these words.
    pub(crate) fn count_logged(&self, words: &str) -> usize {
        let lines = self.log.lines();
        lines.iter().filter(|line| line.contains(words)).count()
    }

    /// SIGKILL: it ends without another instruction.
    pub(crate) async fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().await.expect("it ends");
    }

    /// SIGTERM: please stop.
    pub(crate) fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGHUP: its terminal is closed.
    pub(crate) fn close_the_terminal(&self) {
        self.signal(Signal::HUP);
    }

    /// SIGSTOP: it executes nothing until it is thawed.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("{} did not end", self.log.name))
            .expect("its exit code")
    }

    /// Its number at the system.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id().try_into().expect("a process id")).expect("not 0");
        kill_process(pid, signal).expect("it takes the signal");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.show();
        }
    }
}

impl Log {
    pub(super) fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            lines: Arc::default(),
            grown: watch::Sender::new(false),
        }
    }

    pub(super) async fn keep(self, output: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.lines().push(line);
            self.grown.send_replace(false);
        }
        self.grown.send_replace(true);
    }

    /// Waits until its lines tell something.
    pub(super) async fn until<T>(&self, what: &str, tell: impl Fn(&[String]) -> Option<T>) -> T {
        let mut grown = self.grown.subscribe();
        let waiting = async {
            loop {
                let over = *grown.borrow_and_update();
                if let Some(found) = tell(&self.lines()) {
                    return found;
                }
                assert!(!over, "{} ended without saying {what:?}", self.name);
                // The log outlives this borrow, so a change always comes.
                let _ = grown.changed().await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => {
                self.show();
                panic!("{} never said {what:?}", self.name)
            }
        }
    }

    pub(super) fn show(&self) {
        eprintln!("── {} said:", self.name);
        for line in self.lines().iter() {
            eprintln!("{line}");
        }
    }

    pub(super) fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The message of a line of JSON; a line that is none, as it is.
fn message_of(line: &str) -> String {
    serde_json::from_str::<Value>(line)
        .ok()
        .and_then(|line| Some(line["message"].as_str()?.to_owned()))
        .unwrap_or_else(|| line.to_owned())
}

/// These settings as environment variables.
fn environment(config: &Config, database_url: &str) -> BTreeMap<String, String> {
    let seconds = |time: Duration| time.as_secs_f64().to_string();
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let (worker, http) = (&config.worker, &config.http);
    let mut environment = BTreeMap::from([
        ("DATABASE_URL".to_owned(), database_url.to_owned()),
        ("WHATSAPP_APP_SECRET".to_owned(), APP_SECRET.to_owned()),
    ]);
    for (key, value) in [
        (
            "DATABASE__MAX_CONNECTIONS",
            config.database.max_connections.to_string(),
        ),
        (
            "DATABASE__STATEMENT_TIMEOUT_S",
            seconds(config.database.statement_timeout),
        ),
        (
            "DATABASE__LOCK_TIMEOUT_S",
            seconds(config.database.lock_timeout),
        ),
        ("HTTP__CONNECT_TIMEOUT_S", seconds(http.connect_timeout)),
        ("HTTP__RESPONSE_TIMEOUT_S", seconds(http.response_timeout)),
        ("WORKER__HEARTBEAT_S", seconds(worker.heartbeat)),
        ("WORKER__LEASE_S", seconds(worker.lease)),
        ("WORKER__IDLE_POLL_MS", milliseconds(worker.idle_poll)),
        ("WORKER__RECORD_DELAY_MS", milliseconds(worker.record_delay)),
        ("WORKER__MAX_IN_FLIGHT", worker.max_in_flight.to_string()),
        ("WORKER__SHUTDOWN_S", seconds(config.shutdown())),
        ("RETRY__FIRST_DELAY_S", seconds(config.retry.first_delay)),
        ("RETRY__MAX_DELAY_S", seconds(config.retry.max_delay)),
        ("RECONCILE__WINDOW_S", seconds(config.reconcile.window)),
        (
            "RECONCILE__MAX_RESENDS",
            config.reconcile.max_resends.to_string(),
        ),
        ("WEBHOOK__LISTEN", config.webhook.listen.to_string()),
        ("ADMIN__LISTEN", config.admin.listen.to_string()),
        ("LOG__FORMAT", "json".to_owned()),
    ] {
        environment.insert(format!("WA_OUTBOX__{key}"), value);
    }
    environment
}
