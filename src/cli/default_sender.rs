//! The sender that the settings name, made or brought up to date before anything else is done.
//!
//! With a phone number id and an access token in the environment a first run needs no other command. From then on the settings
//! are the truth for what they say of this sender, and an operator is for all else: what they do not say stays as it was left.
//! They speak of a sender of the Cloud API, so one that was moved to another provider is left alone, for its messages would
//! go to the wrong host. A row that is changed here is told, because nobody asked for it at that moment.

use tracing::{info, warn};

use crate::config::Config;
use crate::domain::base_url::is_of_this_machine;
use crate::domain::id::SenderId;
use crate::provider::ProviderKind;
use crate::store::sender::{Sender, SenderChange};
use crate::store::{Store, StoreError};

/// What became of the sender that the settings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultSender {
    /// Which it is.
    pub sender: SenderId,
    /// It did not exist.
    pub added: bool,
    /// It existed, and the settings said otherwise: what they said.
    pub changed: Vec<String>,
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
    let said = SenderChange {
        base_url: named.base_url.clone(),
        api_version: named.api_version.clone(),
        ..SenderChange::default()
    };
    let added = store.add_sender(&sender, &credential, &said).await?;
    let senders = store.senders().await?;
    let Some(found) = senders.iter().find(|row| row.sender == *id) else {
        // Senders are not deleted by us; somebody did it by hand between the two statements.
        return Err(StoreError::Inconsistent {
            what: "wa.senders: the sender that was just added is not there",
        });
    };
    let said = SenderChange {
        credential: (!named.has_token_of_short_form()).then_some(credential),
        ..said
    };
    let (mut change, changed) = news(found, said);
    let made_default = !senders.iter().any(|row| row.is_default);
    change.is_default = made_default.then_some(true);
    if !changed.is_empty() || made_default {
        store.change_sender(&sender, &change).await?;
    }
    tell(config, found, &changed);
    Ok(Some(DefaultSender {
        sender,
        added,
        changed,
        made_default,
    }))
}

/// What the settings say otherwise than the row, and that in words.
fn news(found: &Sender, said: SenderChange) -> (SenderChange, Vec<String>) {
    if found.provider != ProviderKind::CloudApi.as_str() {
        return (SenderChange::default(), Vec::new());
    }
    let mut changed = Vec::new();
    let mut new = |name: &str, said: Option<String>, found: &str| {
        let said = said.filter(|said| said != found)?;
        changed.push(format!("{name} {said} (was {found})"));
        Some(said)
    };
    let change = SenderChange {
        credential: new("credential", said.credential, &found.credential),
        base_url: new("base_url", said.base_url, &found.base_url),
        api_version: new("api_version", said.api_version, &found.api_version),
        ..SenderChange::default()
    };
    (change, changed)
}

/// Says what was changed, and what the settings name and does not count.
fn tell(config: &Config, found: &Sender, changed: &[String]) {
    let id = &found.sender;
    if !changed.is_empty() {
        let changed = changed.join(", ");
        warn!(
            sender.id = id,
            "Sender {id} was changed to what the settings say: {changed}"
        );
    }
    if found.provider != ProviderKind::CloudApi.as_str() {
        info!(
            sender.id = id,
            "Sender {id} is left as it is: the settings name a sender of the Cloud API, and its provider is {}",
            found.provider
        );
        return;
    }
    // What somebody practised on stays in the row when the variable for it is gone.
    if config.sender.base_url.is_none() && is_of_this_machine(&found.base_url) {
        warn!(
            sender.id = id,
            "Sender {id} goes to {}, on this machine; for the real one: wa-outbox sender set {id} --base-url https://graph.facebook.com",
            found.base_url
        );
    }
    let token = config.sender.credential.as_ref().map(ToString::to_string);
    if config.sender.has_token_of_short_form() && token.as_ref() != Some(&found.credential) {
        info!(
            sender.id = id,
            "Sender {id} keeps its credential {}: WHATSAPP_ACCESS_TOKEN is for a sender that is made",
            found.credential
        );
    }
}
