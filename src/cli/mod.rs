//! The command line: one file a command, each with its `Options` and what running them does.
//!
//! A command says on standard output what was asked for and nothing else; what went wrong goes to standard error, with
//! its reason and, where one is known, the way out ([`failure`]). Exit codes: 0 done, 1 failed, 2 usage, 64 bad settings.

pub mod bench;
pub mod campaign;
pub mod check;
pub mod completions;
mod context;
mod default_sender;
pub mod demo;
pub mod doctor;
mod duration;
pub mod failure;
pub mod failures;
pub mod import;
pub mod media;
pub mod message;
pub mod migrate;
mod output;
pub mod prune;
pub mod recipients;
pub mod recover;
pub mod rows;
pub mod run;
pub mod send;
pub mod sender;
pub mod sequence;
pub mod simulate;
pub mod summary;
pub mod suppress;
mod table;
pub mod tail;
pub mod template;
mod terminal;
mod text;
pub mod top;
pub mod uncertain;
mod watching;
pub mod why;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use tracing::warn;

pub use context::Context;
pub use default_sender::{DefaultSender, default_sender};

use crate::config::Log;
use crate::telemetry;

/// A durable outbound WhatsApp message queue on Postgres
///
/// An application inserts a row into wa.outbox; one message leaves, in order and never again once WhatsApp has named it.
#[derive(Debug, Parser)]
#[command(name = "wa-outbox", version, max_term_width = 120, after_help = EXIT_CODES)]
pub struct Cli {
    /// Settings file [else: the file that WA_OUTBOX_CONFIG names, or none]
    #[arg(long, global = true, value_name = "FILE", display_order = 900)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 64 bad settings.

Example, a first message:
  export DATABASE_URL=postgres://app@localhost/app
  export WHATSAPP_PHONE_NUMBER_ID=106540352242922
  export WHATSAPP_ACCESS_TOKEN=…
  wa-outbox migrate
  wa-outbox send --to +16505551234 --text \"Your order has shipped\"";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Options),
    Run(run::Options),
    Migrate(migrate::Options),
    Send(send::Options),
    Import(import::Options),
    Sender(sender::Options),
    Sequence(sequence::Options),
    Template(template::Options),
    Campaign(campaign::Options),
    Suppress(suppress::Options),
    Media(media::Options),
    Message(message::Options),
    Failures(failures::Options),
    Uncertain(uncertain::Options),
    Recover(recover::Options),
    Prune(prune::Options),
    Summary(summary::Options),
    Top(top::Options),
    Tail(tail::Options),
    Why(why::Options),
    Check(check::Options),
    Doctor(doctor::Options),
    Simulate(simulate::Options),
    Bench(bench::Options),
    Completions(completions::Options),
    Man(completions::ManOptions),
}

impl Command {
    /// Whether it answers a question and ends. Such a command logs only what goes wrong; one that serves logs as its
    /// settings say.
    fn answers_and_ends(&self) -> bool {
        match self {
            Self::Migrate(_)
            | Self::Send(_)
            | Self::Import(_)
            | Self::Sender(_)
            | Self::Sequence(_)
            | Self::Template(_)
            | Self::Campaign(_)
            | Self::Suppress(_)
            | Self::Media(_)
            | Self::Message(_)
            | Self::Failures(_)
            | Self::Uncertain(_)
            | Self::Recover(_)
            | Self::Prune(_)
            | Self::Summary(_)
            | Self::Top(_)
            | Self::Tail(_)
            | Self::Why(_)
            | Self::Check(_)
            | Self::Doctor(_)
            | Self::Bench(_)
            | Self::Completions(_)
            | Self::Man(_) => true,
            Self::Demo(_) | Self::Run(_) | Self::Simulate(_) => false,
        }
    }
}

impl Cli {
    /// The settings file that was named.
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Starts logging as the command wants it. Settings that cannot be read are no error here: the command that needs
    /// them says so.
    ///
    /// # Errors
    /// When `log.filter` or `RUST_LOG` is no filter.
    pub fn start_logging(&self, context: &Context) -> anyhow::Result<()> {
        if let Command::Demo(_) = self.command {
            // It draws on the screen, so it logs into a file of its own.
            return Ok(());
        }
        let mut log = context
            .config()
            .map_or_else(|_| Log::default(), |config| config.log.clone());
        if self.command.answers_and_ends() {
            // What the server remarks, and that it is slow, is told by the error that it leads to, where it leads to one.
            log.filter = "warn,sqlx::postgres::notice=error,sqlx::query=error".to_owned();
        }
        telemetry::start(&log, context.env())?;
        if let (Some(unfit), false) = (context.unfit_traces(), self.tells_traces()) {
            warn!("A setting of traces is left out, for nothing is traced here: {unfit}");
        }
        Ok(())
    }

    fn tells_traces(&self) -> bool {
        matches!(self.command, Command::Run(_))
    }

    /// Runs the command.
    ///
    /// # Errors
    /// When it could not do what was asked; [`failure::report`] says it.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.command {
            Command::Demo(options) => options.run().await,
            Command::Run(options) => options.run(context).await,
            Command::Migrate(options) => options.run(context).await,
            Command::Send(options) => options.run(context).await,
            Command::Import(options) => options.run(context).await,
            Command::Sender(options) => options.run(context).await,
            Command::Sequence(options) => options.run(context).await,
            Command::Template(options) => options.run(context).await,
            Command::Campaign(options) => options.run(context).await,
            Command::Suppress(options) => options.run(context).await,
            Command::Media(options) => options.run(context).await,
            Command::Message(options) => options.run(context).await,
            Command::Failures(options) => options.run(context).await,
            Command::Uncertain(options) => options.run(context).await,
            Command::Recover(options) => options.run(context).await,
            Command::Prune(options) => options.run(context).await,
            Command::Summary(options) => options.run(context).await,
            Command::Top(options) => options.run(context).await,
            Command::Tail(options) => options.run(context).await,
            Command::Why(options) => options.run(context).await,
            Command::Check(options) => options.run(context),
            Command::Doctor(options) => options.run(context).await,
            Command::Simulate(options) => options.run().await,
            Command::Bench(options) => options.run().await,
            Command::Completions(options) => options.run(),
            Command::Man(options) => options.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_what_clap_can_parse() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_example_fits_a_terminal_and_can_be_copied() {
        fn look(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string);
            for line in help.unwrap_or_default().lines() {
                // clap breaks what is longer where it knows no width of a terminal, and then it cannot be pasted.
                let fits = !line.starts_with("  ") || line.chars().count() <= 100;
                assert!(fits, "too long: {line}");
            }
            command.get_subcommands().for_each(look);
        }
        look(&Cli::command());
    }

    #[test]
    fn every_command_says_what_it_is_for_and_shows_an_example() {
        fn look(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no purpose");
            let example = command.get_after_help().map(ToString::to_string);
            assert!(
                example.is_some_and(|text| text.contains("wa-outbox ")),
                "{path} has no example"
            );
            for subcommand in command.get_subcommands() {
                look(subcommand, &path);
            }
        }
        look(&Cli::command(), "");
    }
}
