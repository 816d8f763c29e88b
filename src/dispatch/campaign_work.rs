//! Looks after the campaigns of the senders this worker holds: adds up what was counted, pauses those in trouble, ends the rows
//! of those that are over, and marks as done those of which nothing is left.
//!
//! And notes what recipients have chosen while somebody kept their suppressions locked: campaigns are what these are for.
//!
//! What it does is safe to be done twice, so a sender that changes hands needs no care.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::ownership::Holding;
use super::telling::unless_done;
use crate::crash::crash_point;
use crate::domain::id::SenderId;
use crate::domain::mask::Eyes;
use crate::store::campaign_work::{CampaignChange, DONE_AFTER, EndingPlaces};
use crate::store::{Store, StoreError};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows of the books that one look adds up.
const FOLDED_AT_ONCE: i32 = 20_000;
/// Rows that one statement ends, and statements that one look makes: so nothing else is held up by a million of them.
const ENDED_AT_ONCE: i64 = 2_000;
const SLICES_A_LOOK: usize = 10;
/// Looks between two looks for campaigns that are done.
const CLOSE_EVERY: u64 = 5;

/// Looks after campaigns until it is stopped.
pub async fn run(store: Store, holding: watch::Receiver<Arc<Holding>>, stop: CancellationToken) {
    let mut places = EndingPlaces::default();
    let mut looks = 0;
    while !stop.is_cancelled() {
        let senders: Vec<SenderId> = holding
            .borrow()
            .senders
            .iter()
            .map(|held| held.held.sender.id())
            .collect();
        let looked = look(&store, &senders, &mut places, looks).await;
        unless_done(looked, "look after the campaigns");
        looks += 1;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn look(
    store: &Store,
    senders: &[SenderId],
    places: &mut EndingPlaces,
    looks: u64,
) -> Result<(), StoreError> {
    if senders.is_empty() || !store.has_campaigns().await? {
        return Ok(());
    }
    // Each whatever becomes of the others: what cannot be added up or paused must not keep rows of a cancelled campaign waiting.
    unless_done(fold(store).await, "add up the counts of campaigns");
    unless_done(pause(store, senders).await, "pause campaigns in trouble");
    let ended = end_rows(store, senders, places).await;
    unless_done(ended, "end the rows of campaigns that are over");
    if looks.is_multiple_of(CLOSE_EVERY) {
        close(store, senders).await?;
    }
    Ok(())
}

async fn fold(store: &Store) -> Result<(), StoreError> {
    store.fold_campaign_counts(FOLDED_AT_ONCE).await?;
    crash_point!("campaign.folded");
    Ok(())
}

async fn pause(store: &Store, senders: &[SenderId]) -> Result<(), StoreError> {
    say(&store.pause_troubled_campaigns(senders).await?);
    Ok(())
}

async fn end_rows(
    store: &Store,
    senders: &[SenderId],
    places: &mut EndingPlaces,
) -> Result<(), StoreError> {
    for _ in 0..SLICES_A_LOOK {
        let ended = store
            .end_rows_of_ended_campaigns(senders, places, ENDED_AT_ONCE)
            .await?;
        if ended == 0 {
            break;
        }
        crash_point!("campaign.rows-ended");
    }
    Ok(())
}

async fn close(store: &Store, senders: &[SenderId]) -> Result<(), StoreError> {
    let closed = store.close_campaigns(senders, DONE_AFTER).await?;
    if !closed.is_empty() {
        crash_point!("campaign.closed");
    }
    say(&closed);
    Ok(())
}

fn say(changes: &[CampaignChange]) {
    for change in changes {
        info!(
            sender.id = change.sender,
            "Campaign {} ({}) is {} now: {}",
            change.campaign,
            change.name,
            change.state,
            Eyes::CLOSED.text(&change.reason)
        );
    }
}
