//! `wa-outbox tail`, as somebody runs it beside the rest.

use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::process::Log;
use super::world::{PATIENCE, World};

/// Somebody who watches.
pub(crate) struct Tailing {
    child: Child,
    said: Log,
    noted: Log,
}

impl World {
    /// Starts watching, whoever tells.
    pub(crate) fn tail(&self, arguments: &[&str]) -> Tailing {
        Tailing::start(&self.database.url, arguments)
    }

    /// Starts watching, and waits until the service tells what it does.
    pub(crate) async fn tail_the_service(&self, arguments: &[&str]) -> Tailing {
        let tailing = self.tail(arguments);
        tailing.until_noted("tells what it does.").await;
        tailing
    }
}

impl Tailing {
    /// The same by another way to the database.
    pub(crate) fn start(database_url: &str, arguments: &[&str]) -> Self {
        Self::of(database_url, &[&["tail"], arguments].concat())
    }

    /// Somebody who watches by another command.
    pub(crate) fn of(database_url: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", database_url)
            .env("USER", "ada")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let (said, noted) = (Log::of("who watches"), Log::of("their standard error"));
        let stdout = child.stdout.take().expect("its standard output");
        let stderr = child.stderr.take().expect("its standard error");
        tokio::spawn(said.clone().keep(stdout));
        tokio::spawn(noted.clone().keep(stderr));
        Self { child, said, noted }
    }

    /// Waits until it has said so on standard error.
    pub(crate) async fn until_noted(&self, words: &str) {
        let is_there = |lines: &[String]| lines.iter().any(|line| line.contains(words));
        self.noted
            .until(words, |lines| is_there(lines).then_some(()))
            .await;
    }

    /// Waits for a line, and gives it.
    pub(crate) async fn until_said(&self, words: &str) -> String {
        let line = |lines: &[String]| -> Option<String> {
            lines.iter().find(|l| l.contains(words)).cloned()
        };
        self.said.until(words, line).await
    }

    /// Waits until the events tell something; with --json.
    pub(crate) async fn until_told<T>(
        &self,
        what: &str,
        tell: impl Fn(&[Value]) -> Option<T>,
    ) -> T {
        self.said.until(what, |lines| tell(&events(lines))).await
    }

    /// Waits for an event of a kind, and gives it; with --json.
    pub(crate) async fn until_event(&self, kind: &str) -> Value {
        let of_kind =
            |events: &[Value]| events.iter().find(|event| event["event"] == kind).cloned();
        self.until_told(kind, of_kind).await
    }

    /// So many lines that say this.
    pub(crate) fn times_said(&self, words: &str) -> usize {
        let lines = self.said.lines();
        lines.iter().filter(|line| line.contains(words)).count()
    }

    /// All that was said on standard error.
    pub(crate) fn noted(&self) -> String {
        self.noted.lines().join("\n")
    }

    /// The events so far; with --json.
    pub(crate) fn events(&self) -> Vec<Value> {
        events(&self.said.lines())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it has not been waited for");
        let pid = Pid::from_raw(pid.try_into().expect("a process id")).expect("not 0");
        kill_process(pid, signal).expect("it takes the signal");
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .expect("its exit code")
    }
}

impl Drop for Tailing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.said.show();
            self.noted.show();
        }
    }
}

fn events(lines: &[String]) -> Vec<Value> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is one JSON object"))
        .collect()
}
