//! What all requests share: numbers, faults, ledger, and how the simulator is disposed at the moment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::callback::Callbacks;
use super::control;
use super::dice::{dice, stretch};
use super::graph::Grants;
use super::ledger::Ledger;
use super::media::{Upload, UploadAnswer};
use super::number::{Number, PairLimit, TooFast, Wamids};
use super::plan::Faults;
use super::session::Sessions;
use super::status::Statuses;
use super::{Settings, StartError};

/// What a number is held to, and how fast it is answered.
#[derive(Clone, Debug)]
pub(super) struct Mood {
    pub(super) rate: Option<u32>,
    pub(super) rate_of: HashMap<String, Option<u32>>,
    pub(super) pair: Option<PairLimit>,
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) statuses: Statuses,
}

/// All that the requests share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) started: Instant,
    pub(super) seed: u64,
    pub(super) tokens: Vec<String>,
    pub(super) key_header: String,
    pub(super) refuse_real_tokens: bool,
    pub(super) default_number: Arc<str>,
    sessions: Mutex<Sessions>,
    uploads: Mutex<Vec<Upload>>,
    pub(super) refuses_uploads: AtomicBool,
    pub(super) upload_requests: AtomicU64,
    pub(super) upload_answer: Mutex<Option<UploadAnswer>>,
    grants: Mutex<Grants>,
    mood: Mutex<Mood>,
    numbers: Mutex<HashMap<Arc<str>, Number>>,
    faults: Mutex<Faults>,
    wamids: Wamids,
    wamids_given: AtomicU64,
    thoughts: AtomicU64,
    connections_closed: AtomicU64,
    pub(super) ledger: Ledger,
    pub(super) callbacks: Callbacks,
}

impl World {
    pub(super) fn new(settings: &Settings) -> Result<Self, StartError> {
        control::check_shares(&settings.faults.probabilities).map_err(StartError::Plan)?;
        control::check_shares(&settings.faults.webhook_probabilities).map_err(StartError::Plan)?;
        let started = Instant::now();
        let callbacks = Callbacks::new(
            settings.webhook.clone(),
            settings.on_premises.webhook_url.clone(),
            settings.posting,
            started,
            settings.ledger.tellings,
        )
        .map_err(StartError::Posting)?;
        Ok(Self {
            started,
            seed: settings.faults.seed,
            tokens: settings.tokens.clone(),
            key_header: settings.key_header.clone(),
            refuse_real_tokens: settings.refuse_real_tokens,
            default_number: settings.default_number.as_str().into(),
            sessions: Mutex::new(Sessions::new(
                settings.on_premises.session_lifetime,
                settings.on_premises.password.clone(),
            )),
            uploads: Mutex::default(),
            refuses_uploads: AtomicBool::new(false),
            upload_requests: AtomicU64::new(0),
            upload_answer: Mutex::default(),
            grants: Mutex::default(),
            mood: Mutex::new(Mood {
                rate: settings.rate_per_second,
                rate_of: HashMap::new(),
                pair: settings.pair_limit,
                latency: settings.latency,
                jitter: settings.jitter,
                statuses: settings.statuses,
            }),
            numbers: Mutex::default(),
            faults: Mutex::new(Faults::new(settings.faults.clone())),
            wamids: Wamids::new(),
            wamids_given: AtomicU64::new(0),
            thoughts: AtomicU64::new(0),
            connections_closed: AtomicU64::new(0),
            ledger: Ledger::new(settings.ledger),
            callbacks,
        })
    }

    /// Holds a request that came then to the limits of its number, if it is one that they count.
    pub(super) fn admit(
        &self,
        number: &Arc<str>,
        recipient: &str,
        came_at: Duration,
        limited: bool,
    ) -> Result<(), TooFast> {
        let (rate, pair) = {
            let mood = self.mood();
            (
                mood.rate_of.get(&**number).copied().unwrap_or(mood.rate),
                mood.pair,
            )
        };
        if !limited || (rate.is_none() && pair.is_none()) {
            return Ok(());
        }
        let mut numbers = self
            .numbers
            .lock()
            .expect("nobody panics with the numbers open");
        let of_number = numbers.entry(number.clone()).or_default();
        of_number.admit(came_at, recipient, rate, pair)
    }

    /// Keeps a file; returns the id that it is given.
    pub(super) fn keep(&self, upload: Upload) -> String {
        let mut uploads = self.uploads();
        let id = format!("{}", 1_000_000_000_000_000 + uploads.len());
        uploads.push(Upload {
            id: id.clone(),
            ..upload
        });
        id
    }

    /// Files that were uploaded.
    pub(super) fn uploads(&self) -> MutexGuard<'_, Vec<Upload>> {
        self.uploads
            .lock()
            .expect("nobody panics with the uploads open")
    }

    pub(super) fn next_wamid(&self, recipient: &str) -> String {
        self.wamids
            .make(self.wamids_given.fetch_add(1, Ordering::Relaxed), recipient)
    }

    /// Takes as long as a send takes.
    pub(super) async fn think(&self) {
        let (latency, jitter) = {
            let mood = self.mood();
            (mood.latency, mood.jitter)
        };
        if latency.is_zero() && jitter.is_zero() {
            return;
        }
        let cast = dice(
            self.seed,
            "latency",
            self.thoughts.fetch_add(1, Ordering::Relaxed),
        );
        tokio::time::sleep(stretch(latency, jitter, cast)).await;
    }

    pub(super) fn closes_before_reading(&self) -> bool {
        let mut faults = self.faults();
        let closes = faults.may_close_before_reading() && faults.closes_before_reading();
        if closes {
            self.connections_closed.fetch_add(1, Ordering::Relaxed);
        }
        closes
    }

    pub(super) fn connections_closed(&self) -> u64 {
        self.connections_closed.load(Ordering::Relaxed)
    }

    pub(super) fn statuses(&self) -> Statuses {
        self.mood().statuses
    }

    pub(super) fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants
            .lock()
            .expect("nobody panics with the grants open")
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions
            .lock()
            .expect("nobody panics with the sessions open")
    }

    pub(super) fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().expect("nobody panics with the mood open")
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults
            .lock()
            .expect("nobody panics with the faults open")
    }
}

/// Since 1970, by the wall clock: for timestamps that Meta would give.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulator stands alone and has a clock of its own"
)]
pub(super) fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
