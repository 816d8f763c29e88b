//! The program: reads the command line, starts logging, runs one command, and ends with a code a script can rely on.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::Runtime;
use wa_outbox::cli::{Cli, Context, failure};

/// A call that hangs (a name that is looked up, a file on a disk that does not answer) keeps what has ended no longer than this.
const AT_LAST: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match Runtime::new() {
        Ok(runtime) => to_its_end(runtime, program()),
        Err(error) => failure::report(&anyhow::Error::from(error).context("could not start")),
    }
}

async fn program() -> ExitCode {
    let cli = Cli::parse();
    let context = Context::of_process(cli.config());
    let done = match cli.start_logging(&context) {
        Ok(()) => cli.run(&context).await,
        Err(error) => Err(error),
    };
    context.close().await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn to_its_end<T>(runtime: Runtime, program: impl Future<Output = T>) -> T {
    let done = runtime.block_on(program);
    runtime.shutdown_timeout(AT_LAST);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_keeps_no_process_that_has_ended() {
        let (_open, gate) = std::sync::mpsc::channel::<()>();
        let runtime = Runtime::new().expect("threads");
        let done = to_its_end(runtime, async {
            let (begins, begun) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                begins.send(()).expect("somebody waits");
                gate.recv()
            });
            begun.await.expect("it begins");
            "done"
        });
        assert_eq!(done, "done");
    }
}
