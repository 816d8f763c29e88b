//! Traces of attempts and of webhook deliveries, for whoever runs an OpenTelemetry collector.
//!
//! A trace is told when what it is about is over: on its way a message only takes along the moments at which it was begun, permitted
//! and let go. What is told goes into a bounded queue and from there to the collector (OTLP over HTTP), so a collector that is slow,
//! silent or gone costs traces, which are counted, and never a message its time. Where no collector is set all of it is `None`.
//!
//! The id of a trace is made from what it is about, with a key of ours. So the applier of a webhook, in another process, knows the
//! trace of the attempt that a status belongs to without having been told, and every process keeps the same share of them.
//!
//! No span holds a recipient, a wamid or a text.

mod exporter;
mod ids;
mod spans;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use exporter::{CollectorError, CollectorSettings, Exporter};
use ids::TraceIds;
pub use ids::TraceKey;

use crate::clock::Clock;
use crate::domain::id::{AttemptNumber, MessageId, SenderId};
use crate::domain::outcome::Outcome;

/// Traces that wait for the collector at most; with more, the newest are lost. Some megabytes.
const WAITING_AT_MOST: usize = 4_096;

/// Where traces are told. Clones are one; the default tells nobody.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Told>>);

struct Told {
    ids: TraceIds,
    /// What becomes of a plain acceptance or a delivery is told for this share of them.
    sample_ratio: f64,
    queue: mpsc::Sender<Trace>,
    counts: Arc<Counts>,
}

/// What became of traces.
#[derive(Debug, Default)]
pub struct Counts {
    /// The collector has them.
    sent: AtomicU64,
    /// There was no room for them, or the collector did not take them.
    lost: AtomicU64,
}

/// One thing that is over.
enum Trace {
    Attempt(Box<AttemptStory>),
    Received(ReceivedStory),
    Applied(AppliedStory),
}

/// An attempt whose intent is written.
pub struct BegunTrace {
    told: Arc<Told>,
    since: Instant,
    begun: Instant,
}

/// One that has its permit.
pub struct LeavingTrace {
    begun: BegunTrace,
    permitted: Instant,
}

/// One that is over and not recorded yet.
pub struct EndedTrace {
    told: Arc<Told>,
    story: Box<AttemptStory>,
}

/// All moments of an attempt, in order.
struct AttemptStory {
    ids: ids::Ids,
    sender: SenderId,
    message: MessageId,
    attempt: AttemptNumber,
    since: Instant,
    begun: Instant,
    permitted: Instant,
    left: Option<Instant>,
    ended: Instant,
    recorded: Instant,
    outcome: &'static str,
    is_accepted: bool,
    code: Option<i64>,
    http_status: Option<u16>,
}

/// A delivery as its receiver saw it.
struct ReceivedStory {
    ids: ids::Ids,
    times: Received,
    bytes: usize,
}

/// A delivery as its applier saw it.
struct AppliedStory {
    delivery: DeliveryTrace,
    taken: Instant,
    applied: Instant,
}

/// The moments of a proved delivery at its receiver.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its request came.
    pub since: Instant,
    /// It was read whole and proved.
    pub proved: Instant,
    /// It was answered.
    pub answered: Instant,
    /// It is durable, and was answered with 200.
    pub stored: bool,
}

/// A delivery that is being applied.
pub struct DeliveryTrace {
    ids: ids::Ids,
    received_at: OffsetDateTime,
    statuses: usize,
    /// Of the attempts that its statuses name by our token.
    attempts: Vec<ids::Ids>,
}

impl Traces {
    /// Traces that go to a collector, and the exporter that takes them there, which must be run. `sample_ratio` is the share that is
    /// told of what went well; an attempt that did not end in plain acceptance is always told.
    ///
    /// # Errors
    /// When the collector's address or a header is none.
    pub fn to_collector(
        settings: CollectorSettings,
        sample_ratio: f64,
        key: TraceKey,
        clock: Clock,
    ) -> Result<(Self, Exporter), CollectorError> {
        let (queue, waiting) = mpsc::channel(WAITING_AT_MOST);
        let counts = Arc::<Counts>::default();
        let exporter = Exporter::new(settings, clock, waiting, Arc::clone(&counts))?;
        let told = Told {
            ids: TraceIds::new(key),
            sample_ratio,
            queue,
            counts,
        };
        Ok((Self(Some(Arc::new(told))), exporter))
    }

    /// Traces that the collector has, and traces that were lost, so far.
    pub fn counts(&self) -> (u64, u64) {
        self.0.as_ref().map_or((0, 0), |told| {
            let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
            (of(&told.counts.sent), of(&told.counts.lost))
        })
    }

    /// The intent of an attempt was written between these moments.
    pub fn begun(&self, since: Instant, begun: Instant) -> Option<BegunTrace> {
        self.0.as_ref().map(|told| BegunTrace {
            told: Arc::clone(told),
            since,
            begun,
        })
    }

    /// A proved delivery was answered.
    pub fn received(&self, body: &[u8], times: Received) {
        let Some(told) = &self.0 else { return };
        let ids = told.ids.of_delivery(body);
        if ids.are_sampled(told.sample_ratio) {
            let bytes = body.len();
            told.tell(Trace::Received(ReceivedStory { ids, times, bytes }));
        }
    }

    /// A delivery is about to be applied. `named` are the attempts that its statuses name.
    pub fn delivery(
        &self,
        body: &[u8],
        received_at: OffsetDateTime,
        statuses: usize,
        named: impl IntoIterator<Item = (MessageId, AttemptNumber)>,
    ) -> Option<DeliveryTrace> {
        let told = self.0.as_ref()?;
        let ids = told.ids.of_delivery(body);
        let of_attempt = |(message, attempt)| told.ids.of_attempt(message, attempt);
        ids.are_sampled(told.sample_ratio).then(|| DeliveryTrace {
            ids,
            received_at,
            statuses,
            attempts: named
                .into_iter()
                .take(spans::LINKS_AT_MOST)
                .map(of_attempt)
                .collect(),
        })
    }

    /// Deliveries were applied between these moments.
    pub fn applied(&self, deliveries: Vec<DeliveryTrace>, taken: Instant, applied: Instant) {
        let Some(told) = &self.0 else { return };
        for delivery in deliveries {
            told.tell(Trace::Applied(AppliedStory {
                delivery,
                taken,
                applied,
            }));
        }
    }
}

impl Told {
    /// Never waits.
    fn tell(&self, trace: Trace) {
        if self.queue.try_send(trace).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl BegunTrace {
    /// It has its permit and is let go.
    pub fn permitted(self, now: Instant) -> LeavingTrace {
        LeavingTrace {
            begun: self,
            permitted: now,
        }
    }
}

impl LeavingTrace {
    /// It is over; it had left at `left`, if it had.
    pub fn ended(
        self,
        (sender, message, attempt): (&SenderId, MessageId, AttemptNumber),
        left: Option<Instant>,
        now: Instant,
        outcome: &Outcome,
    ) -> EndedTrace {
        let BegunTrace { told, since, begun } = self.begun;
        let story = AttemptStory {
            ids: told.ids.of_attempt(message, attempt),
            sender: sender.clone(),
            message,
            attempt,
            since,
            begun,
            permitted: self.permitted,
            left,
            ended: now,
            recorded: now,
            outcome: outcome.name(),
            is_accepted: matches!(outcome, Outcome::Accepted(_)),
            code: outcome.code(),
            http_status: outcome.http_status(),
        };
        EndedTrace {
            told,
            story: Box::new(story),
        }
    }
}

impl EndedTrace {
    /// What became of it is written, and it is told.
    pub fn recorded(self, now: Instant) {
        let Self { told, mut story } = self;
        // What went wrong is what people look for, so no share of it is left out.
        if story.is_accepted && !story.ids.are_sampled(told.sample_ratio) {
            return;
        }
        story.recorded = now;
        told.tell(Trace::Attempt(story));
    }
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Traces(told)",
            None => "Traces(off)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::Acceptance;

    #[tokio::test]
    async fn traces_that_find_no_room_are_lost_and_counted_and_nobody_waits() {
        let settings = CollectorSettings {
            endpoint: "http://127.0.0.1:1".to_owned(),
            headers: Vec::new(),
            service: "a test".to_owned(),
            instance: "1".to_owned(),
        };
        let key = TraceKey::from_bytes(&[7; 32]);
        // Kept and never run: nobody takes anything out of the queue.
        let (traces, _exporter) =
            Traces::to_collector(settings, 1.0, key, Clock::system()).expect("a way to it");
        let (sender, now) = (SenderId::from("1"), Instant::now());
        for message in 0..WAITING_AT_MOST as i64 + 3 {
            let about = (&sender, MessageId(message), AttemptNumber(1));
            let outcome = Outcome::Accepted(Acceptance::default());
            let begun = traces.begun(now, now).expect("they are told");
            let ended = begun.permitted(now).ended(about, Some(now), now, &outcome);
            ended.recorded(now);
        }
        assert_eq!(traces.counts(), (0, 3));
    }

    #[test]
    fn where_no_collector_is_set_nothing_is_kept_of_an_attempt() {
        let (traces, now) = (Traces::default(), Instant::now());
        assert!(traces.begun(now, now).is_none());
        assert!(
            traces
                .delivery(b"{}", OffsetDateTime::UNIX_EPOCH, 0, [])
                .is_none()
        );
        assert_eq!(traces.counts(), (0, 0));
    }
}
