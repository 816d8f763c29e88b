//! The program's commands, run as a person runs them.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::world::World;

impl World {
    /// Runs a command as a person does.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Output {
        self.command_with(&[], arguments).await
    }

    /// The same with more in its environment, which counts before what is usual there.
    pub(crate) async fn command_with(&self, env: &[(&str, &str)], arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", &self.database.url)
            .env("USER", "ada")
            .env("TZ", "UTC")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("the program starts")
    }

    /// Has a command read this, more of which is to come, and kills it once a part is durable in the outbox.
    pub(crate) async fn kills_while_it_reads(&self, arguments: &[&str], input: &str) {
        let mut killed = Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", &self.database.url)
            .env("USER", "ada")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut stdin = killed.stdin.take().expect("its standard input");
        stdin.write_all(input.as_bytes()).await.expect("it reads");
        self.until_true("a part is durable", async || {
            self.count("wa.outbox").await > 0
        })
        .await;
        killed.kill().await.expect("it is killed");
    }

    /// What a command says that does what was asked.
    pub(crate) async fn says(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The same as JSON.
    pub(crate) async fn says_json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(arguments).await).expect("JSON")
    }

    /// What a command says on standard error that could not do what was asked.
    pub(crate) async fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        assert!(!output.status.success(), "{arguments:?} was done");
        String::from_utf8(output.stderr).expect("text")
    }
}
