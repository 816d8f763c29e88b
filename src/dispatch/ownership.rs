//! Holds the senders this worker may send for.
//!
//! Trust in a lease counts from when its renewal was *sent*: a slow answer must shorten it, never stretch it. It is measured
//! by a clock that counts suspend, so a worker that was frozen finds its trust gone and starts nothing; whatever it had begun
//! is swept by the next holder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::{BootInstant, Clock};
use crate::provider::{AddressSettings, Endpoint};
use crate::store::lease::{HeldSender, WorkerId};
use crate::store::{Store, StoreError};

/// How leases are kept.
#[derive(Clone, Debug)]
pub struct OwnershipSettings {
    /// The worker's name, for people.
    pub name: String,
    /// Between two renewals.
    pub heartbeat: Duration,
    /// A worker that has not renewed for this long has lost its senders.
    pub lease: Duration,
}

/// How long the leases can still be trusted, shared with every request that is about to leave.
#[derive(Debug, Default)]
pub struct Trust(AtomicU64);

impl Trust {
    /// Whether a request may still leave.
    pub fn holds_at(&self, now: BootInstant) -> bool {
        (now.0.as_micros() as u64) < self.0.load(Ordering::Acquire)
    }

    /// Until when they can be trusted as far as is known now; a renewal may extend it.
    pub fn ends_at(&self) -> BootInstant {
        BootInstant(Duration::from_micros(self.0.load(Ordering::Acquire)))
    }

    fn extend_to(&self, until: BootInstant) {
        self.0
            .fetch_max(until.0.as_micros() as u64, Ordering::AcqRel);
    }

    fn end(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// A sender this worker holds, and how its provider is reached.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its settings and epoch.
    pub held: HeldSender,
    /// Where its requests go; none while its address or credential cannot be had.
    pub endpoint: Option<Arc<Endpoint>>,
}

/// What this worker holds at the moment.
#[derive(Clone, Debug, Default)]
pub struct Holding {
    /// As this worker.
    pub worker: Option<WorkerId>,
    /// These senders.
    pub senders: Vec<Held>,
}

/// Keeps the leases of one worker.
pub struct Ownership {
    store: Store,
    clock: Clock,
    settings: OwnershipSettings,
    trust: Arc<Trust>,
    holding: watch::Sender<Arc<Holding>>,
    last_renewal: Option<BootInstant>,
}

/// Senders' settings are taken up, and free senders looked for, this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Ownership {
    /// Starts without holding anything.
    pub fn new(store: Store, clock: Clock, settings: OwnershipSettings) -> Self {
        Self {
            store,
            clock,
            settings,
            trust: Arc::default(),
            holding: watch::Sender::new(Arc::default()),
            last_renewal: None,
        }
    }

    /// How long requests may leave.
    pub fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust)
    }

    /// What is held, as it changes.
    pub fn holding(&self) -> watch::Receiver<Arc<Holding>> {
        self.holding.subscribe()
    }

    /// Renews and looks until it is stopped; then it goes on renewing until `released`, so that what is in flight ends
    /// under a lease, and gives everything back.
    pub async fn run(mut self, released: CancellationToken) {
        while !released.is_cancelled() {
            if let Err(error) = self.run_once().await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not look after the leases; trying again"
                );
            }
            tokio::select! {
                () = released.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY.min(self.settings.heartbeat)) => {}
            }
        }
        self.trust.end();
        let worker = self.holding.borrow().worker;
        if let Some(worker) = worker {
            match self.store.leave(worker).await {
                Ok(()) => info!("Gave all senders back"),
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not give the senders back; their leases will run out"
                    )
                }
            }
        }
    }

    async fn run_once(&mut self) -> Result<(), StoreError> {
        let worker = self.renewed().await?;
        if self.store.take_senders(worker).await? > 0 {
            self.store.forget_dead_workers().await?;
        }
        let mut senders = Vec::new();
        for held in self.store.held_senders(worker).await? {
            let (endpoint, problem) = reach(&held);
            if problem != held.problem {
                if let Some(problem) = &problem {
                    warn!(
                        sender.id = held.sender.sender,
                        "Sender {} cannot be worked: {problem}", held.sender.sender
                    );
                }
                self.store
                    .say_problem(worker, &held.sender.sender, problem.as_deref())
                    .await?;
            }
            senders.push(Held { held, endpoint });
        }
        self.holding.send_replace(Arc::new(Holding {
            worker: Some(worker),
            senders,
        }));
        Ok(())
    }

    /// The worker's row, renewed when it is time; a new one when it is gone.
    async fn renewed(&mut self) -> Result<WorkerId, StoreError> {
        let asked_at = self.clock.boot();
        let known = self.holding.borrow().worker;
        let due = self
            .last_renewal
            .is_none_or(|last| (last + self.settings.heartbeat).until(asked_at) > Duration::ZERO);
        let worker = match known {
            Some(worker) if !due => return Ok(worker),
            Some(worker) if self.store.heartbeat(worker, self.settings.lease).await? => worker,
            Some(_) | None => {
                self.trust.end();
                self.holding.send_replace(Arc::default());
                let worker = self
                    .store
                    .register_worker(&self.settings.name, self.settings.lease)
                    .await?;
                info!(
                    worker.id = worker.0,
                    "Registered as worker {} ({})", worker.0, self.settings.name
                );
                worker
            }
        };
        self.last_renewal = Some(asked_at);
        // A margin for the difference between the two machines' clocks running.
        self.trust
            .extend_to(asked_at + self.settings.lease.mul_f64(0.9));
        Ok(worker)
    }
}

/// Where the sender's requests go, or why nowhere.
fn reach(held: &HeldSender) -> (Option<Arc<Endpoint>>, Option<String>) {
    let sender = &held.sender;
    let settings = AddressSettings {
        provider: &sender.provider,
        base_url: &sender.base_url,
        path: sender.path.as_deref(),
        api_version: Some(&sender.api_version),
        credential: &sender.credential,
        auth_header: Some(&sender.auth_header),
    };
    match Endpoint::of(&sender.id(), &settings) {
        Ok(endpoint) => (Some(Arc::new(endpoint)), None),
        Err(error) => {
            let cause = std::error::Error::source(&error)
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            (None, Some(format!("{error}{cause}")))
        }
    }
}
