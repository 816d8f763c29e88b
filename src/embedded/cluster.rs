//! Makes, starts and stops one PostgreSQL cluster. All of it happens under the start lock.
//!
//! Whether a server runs is read from its `postmaster.pid`, which names the process, the port, the addresses and the
//! progress of start and stop (PostgreSQL, src/include/utils/pidfile.h); the process is then looked at itself.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::account::LOCALE;
use super::folder::Folder;
use super::programs::Programs;
use super::{EmbeddedError, SUPERUSER, shell_word};

/// The port in the name of the socket of a server that listens on no TCP port.
const SOCKET_ONLY: u16 = 5432;

/// How often a start is tried: against a port taken meanwhile, and against what a killed server left in memory.
const START_TRIES: u32 = 40;

/// Between two looks at a server that is on its way up or down.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a start may take, in seconds: after a kill it replays its log of changes first.
const START_SECONDS: u64 = 300;

/// How a server is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settings {
    Durable { tcp_port: Option<u16> },
    Fast,
}

/// Where a running server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    /// Part of the socket's name too.
    pub(super) port: u16,
    /// Also on 127.0.0.1.
    pub(super) tcp: bool,
}

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Stopped,
    /// On its way up or down.
    Changing,
    Ready(Listen),
}

/// One cluster, with the programs to run it.
pub(super) struct Cluster {
    pub(super) folder: Folder,
    pub(super) programs: Programs,
    pub(super) settings: Settings,
}

impl Cluster {
    /// Makes the cluster where there is none and starts the server where none runs. A running one is started anew if it
    /// does not listen as wanted, and `alone` says that nobody else uses it.
    pub(super) fn ensure_running(
        &self,
        alone: impl FnOnce() -> Result<bool, EmbeddedError>,
    ) -> Result<Listen, EmbeddedError> {
        if let State::Ready(listen) = self.settle() {
            if self.suits(listen) {
                return Ok(listen);
            }
            if !alone()? {
                return Err(EmbeddedError::InUse {
                    folder: self.folder.root().to_owned(),
                });
            }
            self.stop()?;
        }
        self.folder.sweep_half_made();
        self.make_if_missing()?;
        match self.start() {
            // Written without fsync, it may not have survived a crash of the machine. Nobody will miss it.
            Err(EmbeddedError::Start { .. }) if self.settings == Settings::Fast => {
                self.discard()?;
                self.make_if_missing()?;
                self.start()
            }
            started => started,
        }
    }

    /// The process id of the server, while it runs.
    pub(super) fn postmaster(&self) -> Option<u32> {
        PidFile::read(&self.folder.data())
            .filter(PidFile::is_alive)
            .map(|file| file.pid.unsigned_abs())
    }

    pub(super) fn state(&self) -> State {
        match PidFile::read(&self.folder.data()) {
            Some(file) if file.is_alive() => file
                .listen
                .filter(|_| file.ready)
                .map_or(State::Changing, State::Ready),
            Some(_) | None => State::Stopped,
        }
    }

    /// Stops the server and waits for its end.
    pub(super) fn stop(&self) -> Result<(), EmbeddedError> {
        let data = self.folder.data();
        for mode in ["fast", "immediate"] {
            if self.state() == State::Stopped {
                return Ok(());
            }
            let mut stop = self.folder.account().command(&self.programs.path("pg_ctl"));
            stop.args(["stop", "-w", "-s", "-t", "60", "-m", mode, "-D"])
                .arg(&data);
            stop.status()
                .map_err(EmbeddedError::io("run", &self.programs.path("pg_ctl")))?;
        }
        if self.state() == State::Stopped {
            return Ok(());
        }
        Err(EmbeddedError::Stop {
            folder: self.folder.root().to_owned(),
            log: self.folder.end_of_log(),
        })
    }

    /// What the server does once it does not change any more, or after as long as a start may take.
    fn settle(&self) -> State {
        let mut left = Duration::from_secs(START_SECONDS);
        loop {
            match self.state() {
                // It ends, mostly: a start gives up or succeeds, a stop succeeds, and a dead process counts as stopped.
                State::Changing if !left.is_zero() => {
                    std::thread::sleep(PAUSE);
                    left = left.saturating_sub(PAUSE);
                }
                state => return state,
            }
        }
    }

    fn suits(&self, listen: Listen) -> bool {
        match self.settings {
            Settings::Durable { tcp_port: Some(0) } => listen.tcp,
            Settings::Durable {
                tcp_port: Some(port),
            } => listen.tcp && listen.port == port,
            Settings::Durable { tcp_port: None } | Settings::Fast => true,
        }
    }

    fn make_if_missing(&self) -> Result<(), EmbeddedError> {
        let root = self.folder.root().to_owned();
        let data = self.folder.version_of_data();
        let usable =
            self.folder.is_known() && data.is_none_or(|data| data == self.programs.version());
        match (self.settings, data) {
            (_, Some(_)) if usable => return Ok(()),
            (_, None) if usable => {}
            (Settings::Fast, _) => self.discard()?,
            (Settings::Durable { .. }, Some(data)) if self.folder.is_known() => {
                let programs = self.programs.version();
                return Err(EmbeddedError::OtherVersion {
                    folder: root,
                    data,
                    programs,
                });
            }
            (Settings::Durable { .. }, _) => {
                return Err(EmbeddedError::NotACluster { folder: root });
            }
        }
        let new = self.folder.new_data()?;
        let password = self.folder.password_for_initdb()?;
        let made = self.initdb(&new, &password);
        let _ = fs::remove_file(&password);
        if let Err(error) = made {
            let _ = fs::remove_dir_all(&new);
            return Err(error);
        }
        let data = self.folder.data();
        fs::rename(&new, &data).map_err(EmbeddedError::io("put in place", &data))?;
        // The rename must be as durable as what was renamed.
        let synced = fs::File::open(&root).and_then(|folder| folder.sync_all());
        synced.map_err(EmbeddedError::io("write through", &root))
    }

    fn initdb(&self, data: &Path, password: &Path) -> Result<(), EmbeddedError> {
        let program = self.programs.path("initdb");
        let mut initdb = self.folder.account().command(&program);
        initdb.args([
            "--username",
            SUPERUSER,
            "--encoding",
            "UTF8",
            "--locale",
            LOCALE,
        ]);
        // The socket's folder is closed to others; 127.0.0.1 is open to every user of the machine.
        initdb
            .args([
                "--auth-local",
                "trust",
                "--auth-host",
                "scram-sha-256",
                "--pwfile",
            ])
            .arg(password);
        if self.settings == Settings::Fast {
            initdb.arg("--no-sync");
        }
        initdb.arg("--pgdata").arg(data).stderr(Stdio::piped());
        let output = initdb
            .output()
            .map_err(EmbeddedError::io("run", &program))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned();
        Err(EmbeddedError::Make {
            folder: self.folder.root().to_owned(),
            said,
        })
    }

    fn start(&self) -> Result<Listen, EmbeddedError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let listen = self.next_listen()?;
            // A log for each start: its end then tells of this one.
            let _ = fs::rename(
                self.folder.log(),
                self.folder.socket_folder().join("server.log.before"),
            );
            self.folder.sweep_sockets();
            self.disown_dead_pid()?;
            self.run_pg_ctl_start(listen)?;
            if let State::Ready(listen) = self.settle() {
                return Ok(listen);
            }
            let log = self.folder.end_of_log();
            if tries == START_TRIES || !self.worth_another_try(&log) {
                return Err(EmbeddedError::Start {
                    folder: self.folder.root().to_owned(),
                    log,
                });
            }
            std::thread::sleep(PAUSE * tries);
        }
    }

    fn run_pg_ctl_start(&self, listen: Listen) -> Result<(), EmbeddedError> {
        let program = self.programs.path("pg_ctl");
        let mut start = self.folder.account().command(&program);
        start
            .args(["start", "-w", "-s", "-t", &START_SECONDS.to_string(), "-D"])
            .arg(self.folder.data());
        start
            .arg("-l")
            .arg(self.folder.log())
            .arg("-o")
            .arg(self.options(listen));
        // Not of our process group, so that Ctrl-C and a killed runner do not reach it; and with none of our pipes, whose
        // readers would wait for the server's end.
        start.process_group(0);
        start
            .status()
            .map(|_| ())
            .map_err(EmbeddedError::io("run", &program))
    }

    /// The server's command line, as words of a shell.
    fn options(&self, listen: Listen) -> String {
        let address = if listen.tcp { "127.0.0.1" } else { "" };
        let socket = self.folder.socket_folder().to_string_lossy();
        let mut options = format!(
            "-k {} -p {} -c listen_addresses={address}",
            shell_word(&socket),
            listen.port
        );
        if self.settings == Settings::Fast {
            options += " -c fsync=off -c full_page_writes=off -c max_connections=300";
        }
        options
    }

    fn next_listen(&self) -> Result<Listen, EmbeddedError> {
        match self.settings {
            Settings::Durable { tcp_port: Some(0) } => {
                let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .and_then(|listener| listener.local_addr());
                let free = free.map_err(EmbeddedError::io(
                    "find a free port of",
                    Path::new("127.0.0.1"),
                ))?;
                Ok(Listen {
                    port: free.port(),
                    tcp: true,
                })
            }
            Settings::Durable {
                tcp_port: Some(port),
            } => Ok(Listen { port, tcp: true }),
            Settings::Durable { tcp_port: None } | Settings::Fast => Ok(Listen {
                port: SOCKET_ONLY,
                tcp: false,
            }),
        }
    }

    fn worth_another_try(&self, log: &str) -> bool {
        // Processes of a killed server end soon; until then PostgreSQL protects the data from a second one.
        let shared_memory = log.contains("pre-existing shared memory block");
        let any_port = self.settings == Settings::Durable { tcp_port: Some(0) };
        shared_memory || any_port && log.contains("Address already in use")
    }

    /// After a restart of the machine another process may bear the dead server's number, and in a container whose first
    /// process buries nobody the dead server keeps it: PostgreSQL would refuse to start for ever. Only the number is taken out of its file: the rest is how PostgreSQL finds survivors in memory.
    fn disown_dead_pid(&self) -> Result<(), EmbeddedError> {
        let path = self.folder.data().join("postmaster.pid");
        let Ok(text) = fs::read_to_string(&path) else {
            return Ok(());
        };
        let Some((pid, rest)) = text.split_once('\n') else {
            return Ok(());
        };
        let file = PidFile::parse(&text, &self.folder.data());
        if file.is_none_or(|file| !file.is_reused() && !file.is_zombie()) {
            return Ok(());
        }
        tracing::info!(
            pid,
            "A dead server's process number is still in use; starting regardless"
        );
        let nobodys = i32::MAX;
        fs::write(&path, format!("{nobodys}\n{rest}")).map_err(EmbeddedError::io("write", &path))
    }

    fn discard(&self) -> Result<(), EmbeddedError> {
        let data = self.folder.data();
        let deleted = if data.exists() {
            fs::remove_dir_all(&data)
        } else {
            Ok(())
        };
        deleted.map_err(EmbeddedError::io("delete", &data))
    }
}

/// What `postmaster.pid` says.
struct PidFile {
    pid: i32,
    data: std::path::PathBuf,
    listen: Option<Listen>,
    ready: bool,
}

impl PidFile {
    fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(data.join("postmaster.pid")).ok()?, data)
    }

    /// Lines: 1 process, 2 data, 3 start time, 4 port, 5 socket folder, 6 address, 7 shared memory, 8 status. Those that
    /// a starting server has not come to are missing.
    fn parse(text: &str, data: &Path) -> Option<Self> {
        let line = |number: usize| text.lines().nth(number - 1).map(str::trim);
        let pid = line(1)?.parse().ok().filter(|pid| *pid > 0)?;
        let port = line(4).and_then(|port| port.parse().ok());
        let listen = port.map(|port| Listen {
            port,
            tcp: line(6).is_some_and(|address| !address.is_empty()),
        });
        Some(Self {
            pid,
            data: data.to_owned(),
            listen,
            ready: line(8) == Some("ready"),
        })
    }

    /// Whether the process is there, and is the server of this data.
    fn is_alive(&self) -> bool {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else {
            return false;
        };
        rustix::process::test_kill_process(pid).is_ok() && !self.is_reused() && !self.is_zombie()
    }

    /// Whether the number is known to belong to another program: a server's working folder is its data. Root of a container may not
    /// look there (it lacks CAP_SYS_PTRACE), but anybody may see what the program is called.
    fn is_reused(&self) -> bool {
        let cwd = fs::read_link(format!("/proc/{}/cwd", self.pid));
        match (cwd, fs::canonicalize(&self.data)) {
            (Ok(cwd), Ok(data)) => cwd != data,
            (Ok(_), Err(_)) => false,
            (Err(_), _) => is_another_program(&self.stat()),
        }
    }

    /// Whether it is dead and only not yet taken note of, as where the first process of a container does not do that.
    fn is_zombie(&self) -> bool {
        self.stat()
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    }

    /// What the system says of the process (proc_pid_stat(5)); empty where it says nothing.
    fn stat(&self) -> String {
        fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default()
    }
}

/// Whether the name in parentheses is there, and is not PostgreSQL's.
fn is_another_program(stat: &str) -> bool {
    let name = stat
        .split_once('(')
        .and_then(|(_, rest)| rest.rsplit_once(')'));
    name.is_some_and(|(name, _)| name != "postgres")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str =
        "4711\n/x/data\n1700000000\n5433\n/x/run\n127.0.0.1\n  131071     0\nready   \n";

    #[test]
    fn a_pid_file_tells_where_the_server_listens() {
        let file = PidFile::parse(RUNNING, Path::new("/x/data")).expect("a pid file");
        assert_eq!((file.pid, file.ready), (4711, true));
        assert_eq!(
            file.listen,
            Some(Listen {
                port: 5433,
                tcp: true
            })
        );
    }

    #[test]
    fn a_pid_file_that_is_being_written_is_not_ready() {
        let start = PidFile::parse("4711\n/x/data\n1700000000\n", Path::new("/x/data"))
            .expect("a pid file");
        assert_eq!((start.listen, start.ready), (None, false));
        let socket_only = RUNNING
            .replace("127.0.0.1", "")
            .replace("ready   ", "starting");
        let file = PidFile::parse(&socket_only, Path::new("/x/data")).expect("a pid file");
        assert_eq!(
            (file.listen, file.ready),
            (
                Some(Listen {
                    port: 5433,
                    tcp: false
                }),
                false
            )
        );
    }

    #[test]
    fn a_process_that_is_not_called_postgres_is_no_server_of_ours() {
        assert!(is_another_program("1 (wa-outbox) S 0 1 1"));
        assert!(is_another_program("1 (a (b) c) S 0 1 1"));
        assert!(!is_another_program("1 (postgres) S 0 1 1"));
        assert!(!is_another_program(""), "nothing is known of it");
    }

    #[test]
    fn an_empty_pid_file_is_no_server() {
        assert!(PidFile::parse("", Path::new("/x")).is_none());
    }
}
