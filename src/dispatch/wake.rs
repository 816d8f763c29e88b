//! Passes the database's wake-up calls on: of new messages to the dispatcher, of leases to the owner, of those who watch to the tail.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::ownership::Holding;
use super::signals::Signals;
use crate::store::lease::WorkerId;
use crate::store::listener::Call;
use crate::store::{Store, StoreError};
use crate::tail::Tail;

/// Before it tries again to listen. Meanwhile polling finds every message, a little later.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Listens for whichever worker this process is, until it is stopped.
pub async fn run(
    store: Store,
    mut holding: watch::Receiver<Arc<Holding>>,
    signals: Arc<Signals>,
    leases: Arc<Notify>,
    tail: Tail,
    stop: CancellationToken,
) {
    loop {
        let worker = holding.borrow_and_update().worker;
        tokio::select! {
            () = stop.cancelled() => return,
            () = become_another(&mut holding, worker) => {}
            Err(error) = listen(&store, worker, &signals, &leases, &tail) => {
                warn!(error = &error as &dyn std::error::Error, "Could not listen for calls; polling goes on");
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        }
    }
}

async fn become_another(holding: &mut watch::Receiver<Arc<Holding>>, worker: Option<WorkerId>) {
    if holding
        .wait_for(|held| held.worker != worker)
        .await
        .is_err()
    {
        // The owner has ended: there is nobody to become.
        std::future::pending::<()>().await;
    }
}

/// Says that calls are heard, until it is dropped.
struct Hearing<'a>(&'a Signals);

impl<'a> Hearing<'a> {
    fn of(signals: &'a Signals, hears: bool) -> Self {
        signals.hears_calls.store(hears, Ordering::Release);
        Self(signals)
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.0.hears_calls.store(false, Ordering::Release);
    }
}

async fn listen(
    store: &Store,
    worker: Option<WorkerId>,
    signals: &Signals,
    leases: &Notify,
    tail: &Tail,
) -> Result<(), StoreError> {
    let Some(worker) = worker else {
        return std::future::pending().await;
    };
    let mut listener = store.listen_for(worker).await?;
    let _hearing = Hearing::of(signals, listener.hears());
    // What was said before anybody listened was said to nobody.
    let mut call = Call::Anything;
    loop {
        if matches!(call, Call::NewMessages | Call::Campaigns | Call::Anything) {
            signals.woken.notify_one();
        }
        // Whether a campaign runs is read with the leases.
        if matches!(call, Call::Leases | Call::Campaigns | Call::Anything) {
            leases.notify_one();
        }
        if matches!(call, Call::Tailers | Call::Anything) {
            tail.call();
        }
        call = listener.woken().await?;
    }
}
