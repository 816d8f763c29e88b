//! The sender that the settings name, made or brought up to date before anything else is done.
//!
//! With a phone number id and an access token in the environment a first run needs no other command. The settings are
//! the truth for what they say of this sender; what they do not say (its rate, a hold) stays as an operator left it.

use crate::config::Config;
use crate::domain::id::SenderId;
use crate::store::sender::{Sender, SenderChange};
use crate::store::{Store, StoreError};

/// What became of the sender that the settings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultSender {
    /// Which it is.
    pub sender: SenderId,
    /// It did not exist.
    pub added: bool,
    /// It existed, and the settings said otherwise.
    pub changed: bool,
    /// There was no default sender, and now it is the one.
    pub made_default: bool,
}

/// Adds the sender that the settings name, or brings it up to date, and makes it the default if there is none. `None`:
/// the settings name no sender.
///
/// # Errors
/// When the database cannot do it.
pub async fn default_sender(
    config: &Config,
    store: &Store,
) -> Result<Option<DefaultSender>, StoreError> {
    let named = &config.sender;
    let (Some(id), Some(credential)) = (&named.sender, &named.credential) else {
        return Ok(None);
    };
    let (sender, credential) = (SenderId::from(id.as_str()), credential.to_string());
    let added = store
        .add_sender(&sender, &credential, &SenderChange::default())
        .await?;
    let senders = store.senders().await?;
    let Some(found) = senders.iter().find(|row| row.sender == *id) else {
        // Senders are not deleted by us; somebody did it by hand between the two statements.
        return Err(StoreError::Inconsistent {
            what: "wa.senders: the sender that was just added is not there",
        });
    };
    let mut change = SenderChange {
        credential: Some(credential),
        base_url: Some(named.base_url.clone()),
        api_version: Some(named.api_version.clone()),
        ..SenderChange::default()
    };
    let differs = differs(found, &change);
    let made_default = !senders.iter().any(|row| row.is_default);
    if made_default {
        change.is_default = Some(true);
    }
    if differs || made_default {
        store.change_sender(&sender, &change).await?;
    }
    Ok(Some(DefaultSender {
        sender,
        added,
        changed: differs && !added,
        made_default,
    }))
}

fn differs(found: &Sender, change: &SenderChange) -> bool {
    change.credential.as_ref() != Some(&found.credential)
        || change.base_url.as_ref() != Some(&found.base_url)
        || change.api_version.as_ref() != Some(&found.api_version)
}
