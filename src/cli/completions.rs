//! `completions` and `man`: the command line, told to shells and to `man`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{CommandFactory, ValueEnum};
use clap_complete::aot;
use clap_mangen::Man;

use super::failure::Problem;
use super::{Cli, output};

const NAME: &str = "wa-outbox";

/// Print what makes a shell complete the commands and options of this program
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wa-outbox completions bash > /etc/bash_completion.d/wa-outbox
  wa-outbox completions zsh > ~/.zfunc/_wa-outbox
  wa-outbox completions fish > ~/.config/fish/completions/wa-outbox.fish")]
pub struct Options {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Options {
    /// Prints it.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn run(self) -> anyhow::Result<()> {
        let shell = match self.shell {
            Shell::Bash => aot::Shell::Bash,
            Shell::Zsh => aot::Shell::Zsh,
            Shell::Fish => aot::Shell::Fish,
        };
        let mut script = Vec::new();
        aot::generate(shell, &mut Cli::command(), NAME, &mut script);
        // clap_complete 4.6 writes a `-` in the program's name in two ways, so that bash finds no command of ours but the first.
        let script = String::from_utf8(script)?.replace("wa__subcmd__outbox", "wa__outbox");
        output::print(&script)
    }
}

/// Print the manual page of this program or of one of its commands
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wa-outbox man | man -l -
  wa-outbox man message show | man -l -
  wa-outbox man --into /usr/local/share/man/man1")]
pub struct ManOptions {
    /// The command, as it is typed
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    into: Option<PathBuf>,
}

impl ManOptions {
    /// Prints it, or writes them.
    ///
    /// # Errors
    /// When there is no such command, or the folder cannot be written to.
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(folder) = self.into {
            let to = || format!("could not write manual pages into {}", folder.display());
            std::fs::create_dir_all(&folder).with_context(to)?;
            let mut command = Cli::command().disable_help_subcommand(true);
            command.build();
            return write_pages(command, &folder).with_context(to);
        }
        let mut page = Vec::new();
        page_of(named(&self.command)?).render(&mut page)?;
        output::print(&String::from_utf8(page)?)
    }
}

/// The page of a command. Its foot names the program and its version, which clap_mangen knows of the first command alone.
fn page_of(command: clap::Command) -> Man {
    Man::new(command).source(format!("{NAME} {}", env!("CARGO_PKG_VERSION")))
}

/// The page of a command, and of all below it.
fn write_pages(command: clap::Command, folder: &Path) -> std::io::Result<()> {
    let below = command.get_subcommands().filter(|one| !one.is_hide_set());
    for inner in below.cloned() {
        write_pages(inner, folder)?;
    }
    page_of(command).generate_to(folder).map(drop)
}

/// A command as it is typed; once built, it knows its whole name.
fn named(path: &[String]) -> Result<clap::Command, Problem> {
    let mut found = Cli::command();
    found.build();
    for name in path {
        let inner = found.find_subcommand(name).cloned();
        found = inner.ok_or_else(|| {
            let what = format!("there is no command {NAME} {}", path.join(" "));
            Problem::usage(what, format!("see which there are: {NAME} --help"))
        })?;
    }
    Ok(found)
}
