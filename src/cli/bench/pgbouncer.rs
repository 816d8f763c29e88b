//! PgBouncer in front of a Postgres, for a bench or a test: a process of its own, gone with its value.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;

/// When PgBouncer takes a server connection back from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the client leaves.
    Session,
    /// The same; who waits for a second is sent away.
    HastySession,
    /// After each transaction, and takes prepared statements for the server connection's.
    Transaction,
    /// After each transaction, and prepares a client's statements wherever it runs them. From version 1.21 on.
    TransactionKeepingStatements,
    /// After each statement.
    Statement,
}

/// A PgBouncer with default settings but for its mode and the number of its server connections.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    folder: PathBuf,
    port: u16,
    database: String,
}

const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// Since this version it can keep prepared statements apart.
pub const KEEPS_STATEMENTS_SINCE: (u32, u32) = (1, 21);

impl PgBouncer {
    /// Starts the installed one in front of the server of this URL, which must need no password. Blocks until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not start; the end of its log is in the message.
    pub fn start(url: &str, mode: Mode, server_connections: u32) -> anyhow::Result<Self> {
        let options = PgConnectOptions::from_str(url)?;
        let folder = std::env::temp_dir().join(format!(
            "wa-outbox-pgbouncer-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        ));
        fs::create_dir(&folder)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let settings = folder.join("pgbouncer.ini");
        let ini = ini(&options, mode, server_connections, port, version()?);
        fs::write(&settings, ini)?;
        let started = command(&settings, options.get_socket())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?)
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                let _ = fs::remove_dir_all(&folder);
                return Err(error).context("could not start pgbouncer; apt-get install pgbouncer");
            }
        };
        let mut started = Self {
            process,
            folder,
            port,
            database: options.get_database().unwrap_or("postgres").to_owned(),
        };
        started.wait_until_it_answers()?;
        Ok(started)
    }

    /// The database's address, by this pooler.
    pub fn url(&self) -> String {
        let Self { port, database, .. } = self;
        format!("postgresql://postgres@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let since = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || since.elapsed() > STARTS_WITHIN {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                anyhow::bail!("pgbouncer did not start:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Major and minor version of the installed one.
///
/// # Errors
/// When it is not installed.
pub fn version() -> anyhow::Result<(u32, u32)> {
    let told = Command::new("pgbouncer").arg("--version").output();
    let told = told.context("could not start pgbouncer; apt-get install pgbouncer")?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let number = told.split_whitespace().nth(1).unwrap_or_default();
    let mut parts = number.split('.').map_while(|part| part.parse().ok());
    let version = parts.next().zip(parts.next());
    version.with_context(|| format!("pgbouncer told another version than expected: {told}"))
}

fn ini(
    options: &PgConnectOptions,
    mode: Mode,
    server_connections: u32,
    port: u16,
    version: (u32, u32),
) -> String {
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let (server_port, user) = (options.get_port(), options.get_username());
    // The default changed: none before 1.24.
    let none = match version >= KEEPS_STATEMENTS_SINCE {
        true => "\nmax_prepared_statements = 0",
        false => "",
    };
    let mode = match mode {
        Mode::Session => "session".to_owned(),
        Mode::HastySession => "session\nquery_wait_timeout = 1".to_owned(),
        Mode::Transaction => format!("transaction{none}"),
        Mode::TransactionKeepingStatements => {
            "transaction\nmax_prepared_statements = 200".to_owned()
        }
        Mode::Statement => format!("statement{none}"),
    };
    // No ignore_startup_parameters: it must work as it is installed.
    format!(
        "[databases]\n* = host={host} port={server_port} user={user}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = {mode}\ndefault_pool_size = {server_connections}\nmax_client_conn = 500\n"
    )
}

/// PgBouncer refuses to be root: it is told to become the one who may enter the server's socket folder.
fn command(settings: &Path, socket: Option<&PathBuf>) -> Command {
    let mut command = Command::new("pgbouncer");
    if rustix::process::geteuid().is_root() {
        let owner = socket
            .and_then(|folder| fs::metadata(folder).ok())
            .and_then(|folder| user_of(folder.uid()));
        command.args(["-u", owner.as_deref().unwrap_or("nobody")]);
    }
    command.arg(settings).stdin(Stdio::null());
    command
}

/// The name to a number, by /etc/passwd (passwd(5)); none for root.
fn user_of(uid: u32) -> Option<String> {
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    accounts
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| uid != 0 && fields.get(2) == Some(&uid.to_string().as_str()))
        .map(|fields| fields[0].to_owned())
}
