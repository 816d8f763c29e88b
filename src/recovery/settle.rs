//! Looks at what a database that went back may have sent, and puts it in doubt.
//!
//! Both go through the queue a slice at a time, so that neither a statement nor a transaction grows with it. Settling can be broken
//! off at any moment and begun again: what was put in doubt has left the queue, and nothing leaves while it is not settled.

use std::collections::BTreeMap;

use crate::domain::id::{Era, MessageId};
use crate::store::recovery::{Preview, RecoveryTerms};
use crate::store::uncertain::UncertainPolicy;
use crate::store::{Store, StoreError};

/// So often a slice is tried again.
const TRIES: u32 = 10;

/// What settling would do, by sender. Changes nothing. `looked`: told of each message id that was come to.
pub async fn preview(
    store: &Store,
    doubtful: MessageId,
    terms: &RecoveryTerms,
    policy: UncertainPolicy,
    mut looked: impl FnMut(i64),
) -> Result<Vec<Preview>, StoreError> {
    let mut by_sender: BTreeMap<String, Preview> = BTreeMap::new();
    let mut after = 0;
    loop {
        let slice = store
            .preview_recovery(after, doubtful, terms, policy)
            .await?;
        for (sender, is_again, n) in slice.counts {
            let preview = by_sender.entry(sender).or_default();
            *(if is_again {
                &mut preview.again
            } else {
                &mut preview.for_a_person
            }) += n;
        }
        let Some(reached) = slice.reached else { break };
        after = reached;
        looked(reached);
    }
    for (sender, members) in store.doubtful_members(doubtful, terms.until).await? {
        by_sender.entry(sender).or_default().in_sequences = members;
    }
    let named = |(sender, preview)| Preview { sender, ..preview };
    Ok(by_sender.into_iter().map(named).collect())
}

/// Tries a slice again that met with webhooks which were applied to the same messages.
async fn patiently<T, F>(mut slice: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 0;
    loop {
        match slice().await {
            Err(error) if error.may_be_tried_again() && tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

/// Puts in doubt what may have been sent, and settles the era. `done`: told how many messages are in doubt by now, and which id was
/// come to. `false`: it was settled before.
pub async fn settle(
    store: &Store,
    era: Era,
    terms: &RecoveryTerms,
    (by, why): (&str, &str),
    mut done: impl FnMut(i64, i64),
) -> Result<bool, StoreError> {
    if !store.start_recovery(era, terms).await? {
        return Ok(false);
    }
    while patiently(|| store.doubt_again(era)).await? > 0 {}
    let (mut after, mut doubted) = (0, 0);
    loop {
        let slice = patiently(|| store.doubt_slice(era, after)).await?;
        doubted += slice.doubted;
        let Some(reached) = slice.reached else { break };
        after = reached;
        done(doubted, reached);
    }
    store.end_recovery(era, false, by, why).await
}
