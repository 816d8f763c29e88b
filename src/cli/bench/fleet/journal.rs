//! Watches who has which sender.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::super::scene::Scene;
use crate::store::Store;

/// Between two looks; no time between events is told more exactly.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Nobody waits longer for a change of hands.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who has a sender: the worker's name, under an epoch.
type Hands = BTreeMap<String, (i64, Option<String>)>;

/// A sender that changed hands.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) at: Duration,
    pub(super) sender: String,
    /// It has a new owner, and not only lost one.
    pub(super) taken: bool,
}

/// A record of all changes of hands, kept until it is dropped.
pub(super) struct Journal {
    hands: watch::Receiver<Hands>,
    changes: Arc<Mutex<Vec<Change>>>,
    _keeper: AbortOnDropHandle<()>,
}

impl Journal {
    pub(super) fn keep(scene: &Scene) -> Self {
        let (told, hands) = watch::channel(Hands::new());
        let changes = Arc::new(Mutex::new(Vec::new()));
        let keeper = keep(scene.store.clone(), scene.started, told, changes.clone());
        Self {
            hands,
            changes,
            _keeper: AbortOnDropHandle::new(tokio::spawn(keeper)),
        }
    }

    /// The worker that has the most senders, and these.
    pub(super) fn busiest(&self) -> anyhow::Result<(String, Vec<String>)> {
        let mut by_worker = BTreeMap::<String, Vec<String>>::new();
        for (sender, (_, worker)) in self.hands.borrow().iter() {
            if let Some(worker) = worker {
                by_worker
                    .entry(worker.clone())
                    .or_default()
                    .push(sender.clone());
            }
        }
        let busiest = by_worker
            .into_iter()
            .max_by_key(|(_, senders)| senders.len());
        busiest.context("no worker has a sender")
    }

    pub(super) fn senders(&self) -> Vec<String> {
        self.hands.borrow().keys().cloned().collect()
    }

    /// Waits until others have all that this worker had, but not for ever: the report shows what came of it.
    pub(super) async fn until_nothing_is_of(&self, worker: &str) {
        let mut hands = self.hands.clone();
        let owned = |hands: &Hands| {
            hands
                .values()
                .all(|(_, of)| of.as_deref().is_some_and(|of| of != worker))
        };
        // The keeper lives as long as we do; a time-out is seen in the figures.
        let _ = tokio::time::timeout(PATIENCE, hands.wait_for(owned)).await;
    }

    pub(super) fn changes(&self) -> Vec<Change> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.clone()
    }
}

async fn keep(
    store: Store,
    started: Instant,
    told: watch::Sender<Hands>,
    changes: Arc<Mutex<Vec<Change>>>,
) {
    let mut turns = tokio::time::interval(LOOK_EVERY);
    loop {
        turns.tick().await;
        // The database may be away: that is what is measured.
        let Ok(now) = look(&store).await else {
            continue;
        };
        let at = started.elapsed();
        let before = told.borrow().clone();
        let changed = now
            .iter()
            .filter(|(sender, hands)| before.get(*sender) != Some(*hands));
        changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(changed.map(|(sender, (_, worker))| Change {
                at,
                sender: sender.clone(),
                taken: worker.is_some(),
            }));
        told.send_replace(now);
    }
}

async fn look(store: &Store) -> Result<Hands, sqlx::Error> {
    let rows: Vec<(String, i64, Option<String>)> = sqlx::query_as(
        "select l.sender, l.epoch, w.name from wa.leases l left join wa.workers w using (worker)",
    )
    .fetch_all(store.pool())
    .await?;
    let hands = rows
        .into_iter()
        .map(|(sender, epoch, worker)| (sender, (epoch, worker)));
    Ok(hands.collect())
}
