//! Writes outcomes, many at a time.
//!
//! An answer is a fact. It is kept and tried again for as long as the process lives, whatever happens to the lease; a batch
//! that the database refuses, or takes too long over, is halved, until the one record that it refuses stands alone. That one is put
//! aside and tried again from time to time: so one cannot keep back the others, nor, after some more tries, the end of the process.
//! While too many wait to be written, nothing new is begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, warn};

use super::telling;
use crate::crash::crash_point;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::record::{Record, Recorded};
use crate::tail::Tail;
use crate::traces::EndedTrace;

/// How records are grouped.
#[derive(Clone, Copy, Debug)]
pub struct RecorderSettings {
    /// The first record of a batch waits this long for others.
    pub linger: Duration,
    /// Records in one transaction.
    pub batch: usize,
}

/// Where outcomes go to be written.
#[derive(Clone)]
pub struct RecorderQueue {
    sender: mpsc::UnboundedSender<Written>,
    backlog: Arc<Backlog>,
}

/// A record, and the trace of its attempt, which is told once the record is written.
type Written = (Record, Option<EndedTrace>);

/// What waits to be written.
#[derive(Debug, Default)]
pub struct Backlog {
    unwritten: AtomicUsize,
    /// The last try failed.
    failing: AtomicBool,
}

impl Backlog {
    /// How many outcomes are known and not written yet.
    pub fn unwritten(&self) -> usize {
        self.unwritten.load(Ordering::Acquire)
    }

    /// Whether the database took nothing when it was tried last.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }
}

impl RecorderQueue {
    /// Hands a record over. It will be written.
    pub fn push(&self, record: Record, trace: Option<EndedTrace>) {
        self.backlog.unwritten.fetch_add(1, Ordering::AcqRel);
        if self.sender.send((record, trace)).is_err() {
            error!("An outcome came after the recorder had ended; its message will be swept");
        }
    }

    /// How many outcomes are known and not written yet.
    pub fn unwritten(&self) -> usize {
        self.backlog.unwritten()
    }

    /// How it stands, for those who only look. It keeps no recorder from ending.
    pub fn backlog(&self) -> Arc<Backlog> {
        Arc::clone(&self.backlog)
    }
}

/// Writes what comes in, until every [`RecorderQueue`] is gone and everything is written.
pub struct Recorder {
    store: Store,
    settings: RecorderSettings,
    records: mpsc::UnboundedReceiver<Written>,
    backlog: Arc<Backlog>,
    metrics: Arc<Metrics>,
    tail: Tail,
}

/// Between two tries to write what the database did not take …
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// … and what it refused alone, while it took others.
const TRY_REFUSED_AGAIN: Duration = Duration::from_secs(5);
/// At the end of the process what is refused alone is tried so often.
const TRIES_AT_THE_END: usize = 10;

impl Recorder {
    /// A recorder, and the way to it.
    pub fn new(
        store: Store,
        settings: RecorderSettings,
        metrics: Arc<Metrics>,
        tail: Tail,
    ) -> (Self, RecorderQueue) {
        let (sender, records) = mpsc::unbounded_channel();
        let backlog = Arc::new(Backlog::default());
        let queue = RecorderQueue {
            sender,
            backlog: Arc::clone(&backlog),
        };
        (
            Self {
                store,
                settings,
                records,
                backlog,
                metrics,
                tail,
            },
            queue,
        )
    }

    /// Runs until the last queue is dropped and nothing is left that the database takes.
    pub async fn run(mut self) {
        let (mut batch, mut traces) = (Vec::new(), Vec::new());
        let (mut refused, mut try_refused_at) = (Vec::new(), Instant::now());
        while let Some(first) = self.next(&refused, try_refused_at).await {
            if let Some((first, trace)) = first {
                batch.push(first);
                traces.extend(trace);
                self.gather(&mut batch, &mut traces).await;
                refused.extend(self.write(&mut batch).await);
                let now = Instant::now();
                for trace in traces.drain(..) {
                    trace.recorded(now);
                }
            }
            if !refused.is_empty() && Instant::now() >= try_refused_at {
                refused = self.write(&mut refused).await;
                try_refused_at = Instant::now() + TRY_REFUSED_AGAIN;
            }
        }
        for _ in 0..TRIES_AT_THE_END {
            if refused.is_empty() {
                return;
            }
            tokio::time::sleep(TRY_AGAIN).await;
            refused = self.write(&mut refused).await;
        }
        say_given_up(&refused);
    }

    /// The next record; or none, when it is time to try again what was refused. Nothing at the end.
    async fn next(
        &mut self,
        refused: &[Record],
        try_refused_at: Instant,
    ) -> Option<Option<Written>> {
        if refused.is_empty() {
            return self.records.recv().await.map(Some);
        }
        match tokio::time::timeout_at(try_refused_at, self.records.recv()).await {
            Ok(next) => next.map(Some),
            Err(_) => Some(None),
        }
    }

    /// Adds what comes within the linger time, as far as the batch goes.
    async fn gather(&mut self, batch: &mut Vec<Record>, traces: &mut Vec<EndedTrace>) {
        let until = Instant::now() + self.settings.linger;
        while batch.len() < self.settings.batch {
            match tokio::time::timeout_at(until, self.records.recv()).await {
                Ok(Some((record, trace))) => {
                    batch.push(record);
                    traces.extend(trace);
                }
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn count(&self, new: &Recorded) {
        if new.bygone > 0 {
            warn!(
                "{} answers came to requests that the database does not know any more, since it went back",
                new.bygone
            );
        }
        if new.borrowed > 0 {
            warn!(
                "{} answers had the id of another message; a person must say what became of their own: wa-outbox uncertain list",
                new.borrowed
            );
        }
        let messages = &self.metrics.messages;
        messages.accepted.inc_by(new.accepted);
        messages.failed.inc_by(new.failed);
        messages.uncertain.inc_by(new.uncertain);
        self.metrics.settled.late_answer.inc_by(new.late);
    }

    /// Writes all of the batch, and gives back what the database refuses alone.
    async fn write(&self, batch: &mut Vec<Record>) -> Vec<Record> {
        let mut refused = Vec::new();
        let all = 0..batch.len();
        let mut parts = vec![all];
        while let Some(place) = parts.pop() {
            let part = &batch[place.clone()];
            let since = Instant::now();
            crash_point!("record.asked");
            let written = self.store.record(part).await;
            crash_point!("record.committed");
            self.metrics.took.record.observe(since.elapsed());
            self.backlog
                .failing
                .store(written.is_err(), Ordering::Release);
            match written {
                Ok(recorded) => {
                    self.count(&recorded);
                    self.tail.tell(|at| {
                        let outcome = |record| telling::outcome(at, record, &recorded);
                        part.iter().filter_map(outcome).collect::<Vec<_>>()
                    });
                    self.backlog
                        .unwritten
                        .fetch_sub(part.len(), Ordering::AcqRel);
                }
                Err(error) if error.may_go_in_parts() && part.len() > 1 => {
                    let middle = place.start + part.len() / 2;
                    parts.push(middle..place.end);
                    parts.push(place.start..middle);
                }
                Err(error) if error.may_go_in_parts() => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not record an outcome; it is tried again from time to time, and others go before it"
                    );
                    refused.push(place.start);
                }
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not record {} outcomes; trying again",
                        part.len()
                    );
                    tokio::time::sleep(TRY_AGAIN).await;
                    parts.push(place);
                }
            }
        }
        let all = batch.drain(..).enumerate();
        all.filter(|(place, _)| refused.contains(place))
            .map(|(_, record)| record)
            .collect()
    }
}

fn say_given_up(refused: &[Record]) {
    if refused.is_empty() {
        return;
    }
    let ids: Vec<_> = refused.iter().map(|one| one.id.to_string()).collect();
    error!(
        "The database refuses what became of messages {}; the next worker takes them for uncertain",
        ids.join(", ")
    );
}
