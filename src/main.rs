//! The program: reads the command line, starts logging, runs one command, and ends with a code a script can rely on.

use std::process::ExitCode;

use clap::Parser;
use wa_outbox::cli::{Cli, Context, failure};

#[tokio::main]
async fn main() -> ExitCode {
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
