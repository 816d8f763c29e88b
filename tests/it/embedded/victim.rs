//! Servers and processes that a test may kill, and what clears them away whatever becomes of the test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::Pid;

/// A folder for servers of one test, cleared away with it.
pub(crate) struct Scratch {
    pub(super) folder: PathBuf,
    guard: Child,
}

/// Waits for the end of its input, which comes with the end of the test, even by a kill; then it ends what still runs in
/// folder $0 and deletes it. A durable server would go on for ever.
const GUARD: &str = r#"
cat >/dev/null
find "$0" -name postmaster.pid | while read -r file; do
    kill -QUIT "$(sed -n 1p "$file")"
    rm -rf "$(sed -n 5p "$file")"
done
until rm -rf "$0"; do sleep 1; done
"#;

impl Scratch {
    pub(crate) fn new() -> Self {
        let name = format!("wa-it-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let folder = Path::new("/tmp").join(name);
        fs::create_dir(&folder).expect("a scratch folder");
        // The user that runs root's servers must be able to pass.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("opened up");
        let mut guard = Command::new("/bin/sh");
        guard.args(["-c", GUARD]).arg(&folder).process_group(0);
        let guard = guard
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .stdout(Stdio::null());
        Self {
            guard: guard.spawn().expect("a guard"),
            folder,
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.join("server")
    }

    pub(crate) fn data(&self, file: &str) -> PathBuf {
        self.folder().join("data").join(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Waiting closes its input first.
        let _ = self.guard.wait();
    }
}

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed()).expect("a process number")
}

/// Waits until a process that is not our child has ended.
#[cfg(target_os = "linux")]
pub(super) async fn ended(process: Pid) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, pidfd_open};

    let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else {
        return;
    };
    let patience = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let wait = move || poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&patience));
    let ended = tokio::task::spawn_blocking(wait)
        .await
        .expect("the wait does not panic");
    assert_eq!(
        ended.expect("a process can be waited for"),
        1,
        "process {process:?} goes on"
    );
}

/// Waits until a process that is not our child has ended.
#[cfg(not(target_os = "linux"))]
pub(super) async fn ended(process: Pid) {
    while rustix::process::test_kill_process(process).is_ok() {
        tokio::task::yield_now().await;
    }
}

/// Tells a test process that it is watched, and what to do meanwhile.
pub(super) const DOING: &str = "WA_OUTBOX_TEST_DOING";

/// Another test process, whose test server lives in a folder of ours.
pub(super) struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    /// Starts one that does what `doing` says, and waits for the end.
    pub(super) fn start(scratch: &Scratch, doing: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "embedded::the_test_server_answers",
                "--nocapture",
            ])
            .env("WA_OUTBOX_TESTS_DIR", scratch.folder())
            .env(DOING, doing)
            .env_remove("DATABASE_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("another test process");
        let says = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, says }
    }

    pub(super) fn hear(&mut self, what: &str) -> String {
        let mut line = String::new();
        while self.says.read_line(&mut line).expect("its output") > 0 {
            if let Some((_, said)) = line.split_once(&format!("{what}: ")) {
                return said.trim().to_owned();
            }
            line.clear();
        }
        panic!("it ended without saying its {what}");
    }

    pub(super) fn postmaster(&mut self) -> Pid {
        pid(self.hear("postmaster").parse().expect("a number"))
    }

    pub(super) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it is gone");
    }
}
