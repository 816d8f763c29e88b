//! `wa-outbox run` as a process of its own, as in production: it can be killed, frozen and told to stop.

use std::process::Stdio;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::process::{Used, comes_second, used};

/// A running worker. Killed with this value.
pub(super) struct Worker {
    process: Child,
}

impl Worker {
    /// Starts this very program.
    pub(super) fn start(
        name: &str,
        roles: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let own = [
            ("WA_OUTBOX__WORKER__NAME", name),
            ("WA_OUTBOX__LOG__FILTER", "error"),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::start_with(
            &["run", "--no-migrate", "--roles", roles],
            own.into_iter().chain(environment),
        )
    }

    /// Starts another command of it.
    pub(super) fn start_with(
        arguments: &[&str],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("could not find this program")?;
        let process = Command::new(program)
            .args(arguments)
            .envs(environment)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("could not start the worker")?;
        if let Some(pid) = process.id() {
            // Before it has a second thread.
            comes_second(pid)?;
        }
        Ok(Self { process })
    }

    /// What it has used so far.
    pub(super) fn used(&self) -> anyhow::Result<Used> {
        used(self.process.id().context("the worker has ended")?)
    }

    /// Says so when it has ended by itself.
    pub(super) fn has_ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// SIGTERM, and waits for its clean end.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.process.wait().await?;
        anyhow::ensure!(
            status.success(),
            "the worker did not stop cleanly: {status}"
        );
        Ok(())
    }

    /// SIGKILL: it executes nothing more.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.process.wait().await?;
        Ok(())
    }

    /// SIGSTOP: it executes nothing until it is thawed.
    pub(super) fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub(super) fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.process.id().context("the worker has ended")?;
        let pid = Pid::from_raw(pid.try_into()?).context("a process id")?;
        Ok(kill_process(pid, signal)?)
    }
}
