//! Postgres clusters of a test's own, which can be copied, followed by a standby, killed and put back.
//!
//! All of a site lie in one folder, reachable by unix sockets there, and end with it.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Where clusters are, and who runs them.
struct Site {
    folder: TempDir,
    programs: PathBuf,
    /// Postgres does not run as root.
    account: Option<(u32, u32)>,
}

/// One cluster. It is killed and its data deleted when this is dropped.
pub(crate) struct Cluster {
    site: Arc<Site>,
    name: String,
}

impl Site {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let account = rustix::process::geteuid().is_root().then(an_account);
        if let Some((uid, gid)) = account {
            chown(folder.path(), Some(uid), Some(gid)).expect("the folder is given away");
        }
        Self {
            folder,
            programs: programs(),
            account,
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/").env("LC_ALL", "C.UTF-8");
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs a program to its end.
    fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        output.stdout
    }

    /// The same for one that leaves a server behind, which would keep our pipes open.
    fn leave(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = self.command(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

fn an_account() -> (u32, u32) {
    let accounts = fs::read_to_string("/etc/passwd").expect("the accounts");
    let of = |name: &str| {
        let line = accounts
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map_while(|id| id.parse().ok());
        Some((ids.next()?, ids.next()?))
    };
    of("postgres").or_else(|| of("nobody")).expect("an account")
}

/// The folder that has all programs, those for backups included.
fn programs() -> PathBuf {
    let given = std::env::var_os("WA_OUTBOX_PG_BIN").map(PathBuf::from);
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut packaged: Vec<PathBuf> = packaged
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    packaged.sort();
    given
        .into_iter()
        .chain(packaged.into_iter().rev())
        .find(|place| place.join("pg_basebackup").exists())
        .expect("Postgres with pg_basebackup (Debian: apt-get install -y postgresql)")
}

impl Cluster {
    /// A new cluster that runs. It is fast, and keeps what it has committed when it is killed.
    pub(crate) fn start() -> Self {
        let cluster = Self::made(Arc::new(Site::new()), "primary");
        cluster.initialise();
        cluster.go();
        cluster
    }

    /// Another new cluster beside it.
    pub(crate) fn another(&self, name: &str) -> Self {
        let cluster = Self::made(Arc::clone(&self.site), name);
        cluster.initialise();
        cluster.go();
        cluster
    }

    fn made(site: Arc<Site>, name: &str) -> Self {
        let name = name.to_owned();
        Self { site, name }
    }

    fn initialise(&self) {
        let data = self.data();
        let arguments = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "-N", "-D"];
        self.site
            .run("initdb", &[&arguments[..], &[text(&data)]].concat());
        let settings = "fsync = off\nfull_page_writes = on\nwal_level = replica\nlisten_addresses = ''\nshared_buffers = '16MB'\n";
        let file = data.join("postgresql.auto.conf");
        fs::write(&file, settings).expect("the settings are written");
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) fn go(&self) {
        let (data, log) = (self.data(), self.folder().join("log"));
        fs::create_dir_all(self.folder()).expect("a folder for the socket");
        if let Some((uid, gid)) = self.site.account {
            chown(self.folder(), Some(uid), Some(gid)).expect("the folder is given away");
        }
        let options = format!("-k {} -p 5432", text(&self.folder()));
        let started = self.site.leave(
            "pg_ctl",
            &[
                "start",
                "-w",
                "-D",
                text(&data),
                "-l",
                text(&log),
                "-o",
                &options,
            ],
        );
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(started, "{} does not start: {said}", self.name);
    }

    /// It ends without another instruction; what it has committed is kept.
    pub(crate) fn kill(&self) {
        let data = self.data();
        self.site.leave(
            "pg_ctl",
            &["stop", "-w", "-m", "immediate", "-D", text(&data)],
        );
    }

    /// A backup of it while it runs, which is not started: alone it goes as far as the backup does, and on a timeline of its own.
    pub(crate) fn base_backup(&self, name: &str) -> Self {
        let copy = self.copied(name, &[]);
        fs::write(copy.data().join("recovery.signal"), "").expect("the signal is written");
        let mut settings = fs::read_to_string(copy.data().join("postgresql.auto.conf"))
            .expect("the settings of the backup");
        settings += "restore_command = 'false'\n";
        fs::write(copy.data().join("postgresql.auto.conf"), settings).expect("they are written");
        copy
    }

    /// A standby that follows it.
    pub(crate) fn standby(&self, name: &str) -> Self {
        let standby = self.copied(name, &["-R"]);
        standby.go();
        standby
    }

    fn copied(&self, name: &str, arguments: &[&str]) -> Self {
        let copy = Self::made(Arc::clone(&self.site), name);
        let (socket, data) = (self.folder(), copy.data());
        let usual = [
            "-h",
            text(&socket),
            "-p",
            "5432",
            "-U",
            "postgres",
            "-X",
            "stream",
            "-c",
            "fast",
            "-D",
            text(&data),
        ];
        self.site
            .run("pg_basebackup", &[&usual, arguments].concat());
        copy
    }

    /// A copy of its files, taken while it does not run.
    pub(crate) fn snapshot(&self, name: &str) -> Self {
        let copy = Self::made(Arc::clone(&self.site), name);
        copy_files(&self.data(), &copy.data());
        copy
    }

    /// Puts the files of a copy in the place of its own.
    pub(crate) fn is_replaced_by(&self, copy: &Self) {
        fs::remove_dir_all(self.data()).expect("its files are deleted");
        copy_files(&copy.data(), &self.data());
    }

    /// A standby takes nothing more from its primary.
    pub(crate) async fn stops_following(&self) {
        self.sql("alter system set primary_conninfo = ''").await;
        self.sql("select pg_reload_conf()").await;
        self.until("select count(*) = 0 from pg_stat_wal_receiver")
            .await;
    }

    /// A standby becomes a primary.
    pub(crate) fn promote(&self) {
        let data = self.data();
        let promoted = self
            .site
            .leave("pg_ctl", &["promote", "-w", "-D", text(&data)]);
        assert!(promoted, "{} is not promoted", self.name);
    }

    /// Waits until it has recovered and takes writes.
    pub(crate) async fn is_a_primary(&self) {
        self.until("select not pg_is_in_recovery()").await;
    }

    /// Waits until a standby has everything that this one has.
    pub(crate) async fn is_followed_by(&self, standby: &Self) {
        let at: String = sqlx::query_scalar("select pg_current_wal_flush_lsn()::text")
            .fetch_one(&self.pool())
            .await
            .expect("a place in the log");
        standby
            .until(&format!(
                "select pg_last_wal_replay_lsn() >= '{at}'::pg_lsn"
            ))
            .await;
    }

    /// What pg_dump writes of its database.
    pub(crate) fn dump(&self) -> Vec<u8> {
        self.dump_of(&[])
    }

    /// The same with options of its own.
    pub(crate) fn dump_of(&self, options: &[&str]) -> Vec<u8> {
        let socket = self.folder();
        let arguments = [
            "-h",
            text(&socket),
            "-p",
            "5432",
            "-U",
            "postgres",
            "postgres",
        ];
        self.site
            .run("pg_dump", &[options, &arguments[..]].concat())
    }

    /// Puts a dump into its database, which has the roles.
    pub(crate) fn restore(&self, dump: &[u8]) {
        self.restore_by(dump, "ON_ERROR_STOP=1");
    }

    /// The same, and goes on after what is refused, as pg_restore does.
    pub(crate) fn restore_what_goes(&self, dump: &[u8]) {
        self.restore_by(dump, "ON_ERROR_STOP=0");
    }

    fn restore_by(&self, dump: &[u8], how: &str) {
        let file = self.site.folder.path().join("dump.sql");
        fs::write(&file, dump).expect("the dump is written");
        let socket = self.folder();
        let arguments = [
            "-X",
            "-q",
            "-v",
            how,
            "-h",
            text(&socket),
            "-p",
            "5432",
            "-U",
            "postgres",
            "-f",
            text(&file),
            "postgres",
        ];
        self.site.run("psql", &arguments);
    }

    /// The address of its database.
    pub(crate) fn url(&self) -> String {
        let socket = text(&self.folder()).replace('/', "%2F");
        format!("postgresql://postgres@{socket}:5432/postgres")
    }

    fn pool(&self) -> sqlx::PgPool {
        sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy(&self.url())
            .expect("an address")
    }

    /// Runs a statement.
    pub(crate) async fn sql(&self, statement: &str) {
        let pool = self.pool();
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool);
        done.await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
        pool.close().await;
    }

    async fn until(&self, condition: &str) {
        let pool = self.pool();
        let waiting = async {
            let ask = || sqlx::query_scalar::<_, Option<bool>>(sqlx::AssertSqlSafe(condition));
            while ask().fetch_one(&pool).await.expect("an answer") != Some(true) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(super::world::PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("{condition} never came true"));
        pool.close().await;
    }

    /// Its socket and its log.
    fn folder(&self) -> PathBuf {
        self.site.folder.path().join(&self.name)
    }

    fn data(&self) -> PathBuf {
        self.site.folder.path().join(format!("{}.data", self.name))
    }

    fn socket(&self) -> PathBuf {
        self.folder().join(".s.PGSQL.5432")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// With owners and modes, which Postgres looks at.
fn copy_files(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "the copy");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// An address that leads to one cluster and later to another, as the name of a database service does.
pub(crate) struct Address {
    /// What a process is told.
    pub(crate) url: String,
    leads_to: watch::Sender<PathBuf>,
    _carrier: AbortOnDropHandle<()>,
}

impl Address {
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let leads_to = watch::Sender::new(cluster.socket());
        let far = leads_to.subscribe();
        let carrier = tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.expect("a connection");
                let socket = far.borrow().clone();
                tokio::spawn(async move {
                    if let Ok(mut far) = UnixStream::connect(socket).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self {
            url: format!("postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"),
            leads_to,
            _carrier: AbortOnDropHandle::new(carrier),
        }
    }

    /// New connections lead there from now on. Those there are end with what they lead to.
    pub(crate) fn leads_to(&self, cluster: &Cluster) {
        self.leads_to.send_replace(cluster.socket());
    }
}
