//! The demo, as a person starts it: one command, and no terminal, so that it tells line by line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use sqlx::{Connection, PgConnection};

use crate::embedded::victim::{Scratch, pid};

/// No demo runs longer than this.
const PATIENCE: Duration = Duration::from_secs(120);

/// The demo in a folder of its own, and none of what this process knows.
fn demo(scratch: &Scratch, more: &[&str]) -> Command {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_wa-outbox"));
    demo.arg("demo").arg("--folder").arg(scratch.folder());
    demo.args(more).stdin(Stdio::null());
    for name in ["DATABASE_URL", "RUST_LOG", "WHATSAPP_ACCESS_TOKEN"] {
        demo.env_remove(name);
    }
    demo
}

/// A demo that is listened to while it runs.
struct Running {
    child: Child,
    says: BufReader<ChildStdout>,
    heard: String,
    _listening: Sender<()>,
}

impl Running {
    fn start(mut demo: Command) -> Self {
        let mut child = demo
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let (listening, gone) = channel::<()>();
        let process = pid(child.id());
        // A demo that says nothing is ended, so that the one who listens hears the end and tells what was said before.
        thread::spawn(move || {
            if gone.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = kill_process(process, Signal::KILL);
            }
        });
        let says = BufReader::new(child.stdout.take().expect("its output"));
        Self {
            child,
            says,
            heard: String::new(),
            _listening: listening,
        }
    }

    /// Listens until a line says this, and gives that line.
    fn until(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let mut line = String::new();
        while self.says.read_line(&mut line).expect("its output") > 0 {
            self.heard.push_str(&line);
            if is_it(&line) {
                return line;
            }
            line.clear();
        }
        panic!("it ended without saying so:\n{}", self.heard);
    }

    /// Sends a signal and listens to the end; gives all that was said.
    fn end(mut self, signal: Signal) -> String {
        kill_process(pid(self.child.id()), signal).expect("it runs");
        self.says
            .read_to_string(&mut self.heard)
            .expect("its output");
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{status}:\n{}", self.heard);
        std::mem::take(&mut self.heard)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a test that failed: nobody listens any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_follows_every_message_to_its_end_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let Output {
        status,
        stdout,
        stderr,
    } = demo(&scratch, &["--remove"]).output().expect("it runs");
    let said = String::from_utf8(stdout).expect("text");
    let complaints = String::from_utf8(stderr).expect("text");
    assert!(status.success(), "{status}: {complaints}\n{said}");
    assert_eq!(complaints, "");
    assert!(
        !said.contains('\u{1b}'),
        "it steers a terminal that is none"
    );

    let lines = [
        // A row that cannot be meant.
        "ERROR:  recipient \"1 650 555 0123\" does not start with +",
        "HINT:   write + and the country code",
        // While it goes on.
        "text; its answer gets lost: answer lost · waiting for evidence",
        "text; told it is too fast: told to slow down",
        "text during an outage: no connection · attempt 2 follows",
        "conversation 2 of 4: waits until",
        // How it ended.
        "All 37 messages have settled",
        "WhatsApp accepted 33 of them, each exactly once",
        "1  refused",
        "1  expired",
        "1  cancelled",
        "1  accepted, then reported as failed",
        "A webhook with our token proved",
        "it was sent again, once",
        "In sequence: they left one by one and in order",
        "Refused, which is final: (#131026)",
        "not delivered: (131049)",
        "No connection: provably not sent",
        "Only “read” was told",
        "Its statuses came twice",
        "Its statuses came in reverse",
        // And what to do next.
        "wa-outbox migrate",
        "wa-outbox run",
        "wa-outbox send --to +… --template hello_world --language en_US --wait",
    ];
    let on_one_line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in lines {
        let wanted = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(on_one_line.contains(&wanted), "{line:?} is not in:\n{said}");
    }
    assert!(!scratch.folder().exists(), "it was to be removed");
}

#[tokio::test]
async fn a_demo_that_is_kept_sends_what_a_person_inserts_until_it_is_interrupted() {
    let scratch = Scratch::new();
    let mut running = Running::start(demo(&scratch, &["--keep"]));
    let line = running.until(|line| line.contains("export DATABASE_URL="));
    let url = line.split('\'').nth(1).expect("quoted for a shell");

    let mut connection = PgConnection::connect(url).await.expect("it answers");
    let id: i64 = sqlx::query_scalar(
        r#"INSERT INTO wa.outbox (recipient, payload)
           VALUES ('+16505550142', '{"type":"text","text":{"body":"Hello"}}') RETURNING id"#,
    )
    .fetch_one(&mut connection)
    .await
    .expect("it is taken");
    connection.close().await.expect("closed");
    running.until(|line| {
        line.contains(&format!("#{id} "))
            && (line.contains("delivered ✓✓") || line.contains("read ✓✓"))
    });

    let said = running.end(Signal::INT);
    assert!(said.contains("PostgreSQL was stopped"), "{said}");
    assert!(scratch.data("PG_VERSION").exists(), "its data is kept");
    assert!(!scratch.data("postmaster.pid").exists(), "it still runs");
}

#[test]
fn a_demo_that_is_interrupted_in_the_middle_stops_what_it_started() {
    let scratch = Scratch::new();
    let mut running = Running::start(demo(&scratch, &[]));
    running.until(|line| line.contains("request is out"));

    let said = running.end(Signal::TERM);
    assert!(
        said.contains("interrupted before all messages had settled"),
        "{said}"
    );
    assert!(!said.contains("each exactly once"), "{said}");
    assert!(scratch.data("PG_VERSION").exists(), "its data is kept");
    assert!(!scratch.data("postmaster.pid").exists(), "it still runs");
}
