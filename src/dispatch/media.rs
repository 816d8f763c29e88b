//! Media files that messages name, uploaded before the messages are begun.
//!
//! An upload may take minutes, and between the intent of a message and its request lie seconds at most. So a message whose file
//! has no id yet is put off, the file is uploaded meanwhile, once however many messages name it, and the id waits here for them. A
//! file that cannot be used fails its messages in words, and a moment later it is looked at again, for it may have been mended. One that
//! cannot be read for now, or whose disk does not answer, is waited for.
//!
//! So many files of a sender wait, and no more: of what comes beyond nothing is remembered, and its message looks again the later the more
//! there are.
//!
//! What an upload teaches about its sender (a token that does not let in, a pace that is too fast) is no less true than what a message
//! does: the dispatcher is told. To be told to slow down concerns uploads alone, which have limits of their own (Meta, Graph API rate
//! limits); messages go on.

mod file;
mod waiting;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

pub use self::file::MediaError;
use self::file::{
    Looked, Opened, READ_WITHIN, Stamp, is_as_it_was, look, no_answer, not_now, open, unusable,
};
use self::waiting::{Files, Found, Known, Name, Rest, Wait};
use super::beside::{alone, hangs};
use crate::domain::id::SenderId;
use crate::domain::mask::Eyes;
use crate::domain::outcome::{ApiError, HoldScope, NotSent, Outcome};
use crate::domain::text::chain;
use crate::provider::file_reference::{file_references, with_ids};
use crate::provider::media::{KEPT_FOR, MediaFile, UploadError};
use crate::provider::{Endpoint, Provider};
use crate::store::Store;

/// A file is looked at again after this: it may have been changed, or mended.
const TRUSTED_FOR: Duration = Duration::from_secs(10);
/// What could not be uploaded now is tried again after this, and each further time after twice as long …
const TRY_AGAIN_IN: Duration = Duration::from_secs(2);
/// … up to this.
const LONGEST_REST: Duration = Duration::from_secs(5 * 60);
/// Uploads of one sender at once.
const AT_ONCE: usize = 2;
/// Uploads to one place at once, so that all of one that hangs are not all there are.
const AT_ONCE_THERE: usize = 8;
/// Threads that read files: those that stand still are few.
const READERS: usize = 32;

/// The files of one process.
pub struct Media {
    /// None: messages may name no files.
    folder: Option<PathBuf>,
    store: Store,
    provider: Arc<Provider>,
    senders: Mutex<HashMap<SenderId, Files>>,
    lessons: Mutex<Vec<Lesson>>,
    turns: Mutex<HashMap<Turns, Arc<Semaphore>>>,
    readers: Arc<Semaphore>,
    read_within: Duration,
}

/// Whose uploads take turns.
#[derive(PartialEq, Eq, Hash)]
enum Turns {
    /// Those of a sender.
    Of(SenderId),
    /// Those to a place.
    To(String),
}

/// What an upload taught about its sender.
pub(super) struct Lesson {
    pub(super) sender: SenderId,
    /// Where it went, and with what.
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) outcome: Outcome,
    pub(super) why: String,
}

impl Lesson {
    /// What holds its sender. A 404 or a page of somebody else's does not: it says only that files go elsewhere.
    pub(super) fn hold(&self) -> Option<&ApiError> {
        hold_of(&self.outcome)
    }
}

fn hold_of(outcome: &Outcome) -> Option<&ApiError> {
    match outcome {
        Outcome::Held {
            scope: HoldScope::Sender,
            error,
        } if error.code.is_some() || error.http_status == Some(401) => Some(error),
        _ => None,
    }
}

impl Media {
    /// No files are known yet. `folder`: what messages may name lies below it.
    pub fn new(folder: Option<PathBuf>, store: Store, provider: Arc<Provider>) -> Arc<Self> {
        Arc::new(Self {
            folder,
            store,
            provider,
            senders: Mutex::default(),
            lessons: Mutex::default(),
            turns: Mutex::default(),
            readers: Arc::new(Semaphore::new(READERS)),
            read_within: READ_WITHIN,
        })
    }

    /// Whether every file that a payload names is at hand, or is known to be of no use. What is not is fetched.
    ///
    /// # Errors
    /// What the message waits for.
    pub(super) fn ready(
        self: &Arc<Self>,
        sender: &SenderId,
        payload: &str,
        endpoint: &Arc<Endpoint>,
        now: Instant,
    ) -> Result<(), Wait> {
        let mut ready = Ok(());
        for reference in file_references(payload) {
            let name = (endpoint.keeper(), reference.file);
            let mut senders = self.senders();
            let files = (senders.entry(sender.clone()))
                .or_insert_with(|| Files::of(Arc::clone(endpoint), now));
            files.endpoint = Arc::clone(endpoint);
            files.is_refused = files.is_refused && self.teaches(sender);
            if files.begins(&name, now) {
                let (this, sender, name) = (Arc::clone(self), sender.clone(), name.clone());
                let there = endpoint.url.origin().ascii_serialization();
                tokio::spawn(async move { this.fetch(&sender, &name, there).await });
            }
            if let Err(wait) = files.ready(&name, now) {
                ready = Err(wait);
            }
        }
        ready
    }

    /// What uploads have taught since this was asked last.
    pub(super) fn lessons(&self) -> Vec<Lesson> {
        std::mem::take(&mut self.lessons.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether something was learned of a sender and nobody has asked for it yet.
    fn teaches(&self, sender: &SenderId) -> bool {
        let lessons = self.lessons.lock().unwrap_or_else(PoisonError::into_inner);
        lessons.iter().any(|lesson| lesson.sender == *sender)
    }

    /// Waits for a turn: first of the sender's, so that who has many files does not fill the queue of a place.
    async fn turn(&self, whose: Turns, at_once: usize) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(
                turns
                    .entry(whose)
                    .or_insert_with(|| Arc::new(Semaphore::new(at_once))),
            )
        };
        turns.acquire_owned().await.ok()
    }

    /// Remembers that a file could not be uploaded, and says when it is tried again.
    fn put_off(
        &self,
        sender: &SenderId,
        name: &Name,
        error: &MediaError,
        endpoint: &Arc<Endpoint>,
    ) -> Duration {
        let taught = match error {
            MediaError::NotNow { taught, .. } => taught.as_deref(),
            MediaError::Unusable(_) | MediaError::Store(_) => None,
        };
        // Nobody's failure: the next one logs in.
        if taught == Some(&Outcome::NotSent(NotSent::SessionEnded)) {
            return Duration::ZERO;
        }
        // First, so that who finds that the token is refused finds the lesson too, or somebody has learned it.
        if let Some(outcome) = taught {
            let lesson = Lesson {
                sender: sender.clone(),
                endpoint: Arc::clone(endpoint),
                outcome: outcome.clone(),
                why: error.to_string(),
            };
            let mut lessons = self.lessons.lock().unwrap_or_else(PoisonError::into_inner);
            lessons.push(lesson);
        }
        let mut senders = self.senders();
        let Some(files) = senders.get_mut(sender) else {
            return TRY_AGAIN_IN;
        };
        let Some(one) = files.known.get_mut(name) else {
            return TRY_AGAIN_IN;
        };
        let doubled = TRY_AGAIN_IN * 2_u32.saturating_pow(one.failures.min(16));
        one.failures += 1;
        one.why = Some(error.to_string());
        let again_in = doubled.min(LONGEST_REST);
        let Some(outcome) = taught else {
            return again_in;
        };
        files.is_refused |= hold_of(outcome).is_some();
        let Outcome::Throttled { retry_after, .. } = outcome else {
            return again_in;
        };
        let again_in = again_in.max(retry_after.unwrap_or_default());
        files.rest = Some(Rest {
            until: Instant::now() + again_in,
            why: error.to_string(),
        });
        again_in
    }

    /// The payload with an id in place of each file, or why there is none.
    pub(super) fn fill(
        &self,
        sender: &SenderId,
        payload: &str,
        endpoint: &Endpoint,
    ) -> Option<Result<String, String>> {
        let references = file_references(payload);
        if references.is_empty() {
            return None;
        }
        let (keeper, senders) = (endpoint.keeper(), self.senders());
        let known = senders.get(sender).map(|files| &files.known);
        Some(with_ids(payload, &references, |file| {
            let name = (keeper.clone(), file.to_owned());
            match known
                .and_then(|known| known.get(&name))
                .map(|one| &one.found)
            {
                Some(Found::Id(id)) => Ok(id.clone()),
                Some(Found::Unusable(why)) => Err(format!("file {file}: {why}")),
                // Only where a variable has put another name into the payload after it was looked at.
                Some(Found::Nothing) | None => Err(format!(
                    "file {file} is not uploaded: the name of a file cannot be made of variables"
                )),
            }
        }))
    }

    async fn fetch(&self, sender: &SenderId, name: &Name, there: String) {
        let _own = self.turn(Turns::Of(sender.clone()), AT_ONCE).await;
        let _there = self.turn(Turns::To(there), AT_ONCE_THERE).await;
        let turn = (self.senders().get_mut(sender))
            .and_then(|files| files.takes_its_turn(name, Instant::now()));
        let Some((endpoint, stamp)) = turn else {
            return;
        };
        let got = self.id_of(sender, name, stamp, &endpoint).await;
        let rest = match &got {
            Ok(_) => TRUSTED_FOR,
            Err(MediaError::Unusable(why)) => {
                let why = Eyes::CLOSED.text(why);
                warn!(sender.id = %sender, "A media file that messages name cannot be used: {why}");
                TRUSTED_FOR
            }
            Err(error @ (MediaError::NotNow { .. } | MediaError::Store(_))) => {
                let rest = self.put_off(sender, name, error, &endpoint);
                let why = chain(error);
                warn!(
                    sender.id = %sender,
                    "A media file that messages wait for could not be uploaded; trying again in {} s: {}",
                    rest.as_secs(),
                    Eyes::CLOSED.text(&why)
                );
                rest
            }
        };
        if let Some(files) = self.senders().get_mut(sender) {
            files.take_in(name, got, Instant::now() + rest);
        }
    }

    /// The id of a file and how it was when it was read; nothing where it is as it was.
    async fn id_of(
        &self,
        sender: &SenderId,
        name: &Name,
        stamp: Option<Stamp>,
        endpoint: &Endpoint,
    ) -> Result<Option<(String, Stamp)>, MediaError> {
        let (folder, (_, file)) = (self.folder.clone(), name.clone());
        let look = move || look(folder.as_deref(), &file, stamp);
        let Some(opened) = self.looked(sender, name, look).await? else {
            return Ok(None);
        };
        let stamp = opened.stamp;
        let id = send(&self.store, &self.provider, sender, opened, endpoint).await?;
        Ok(Some((id, stamp)))
    }

    /// Has a file looked at, unless it has not answered whoever looked before.
    async fn looked(
        &self,
        sender: &SenderId,
        name: &Name,
        look: impl FnOnce() -> Looked + Send + 'static,
    ) -> Looked {
        let until = Instant::now() + self.read_within;
        let is_late = self.with(sender, name, |one| one.late.as_mut().is_some_and(hangs));
        if is_late == Some(true) {
            return Err(no_answer());
        }
        let place = timeout_at(until, Arc::clone(&self.readers).acquire_owned()).await;
        let look = move || {
            let _place = place;
            look()
        };
        match alone(until, look).await {
            Ok(looked) => looked,
            Err(late) => {
                self.with(sender, name, |one| one.late = late);
                Err(no_answer())
            }
        }
    }

    fn with<T>(
        &self,
        sender: &SenderId,
        name: &Name,
        does: impl FnOnce(&mut Known) -> T,
    ) -> Option<T> {
        let mut senders = self.senders();
        senders.get_mut(sender)?.known.get_mut(name).map(does)
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<SenderId, Files>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of a file: of one that was uploaded already and is the same, byte for byte, else of a new upload.
///
/// # Errors
/// When it cannot be read, is of no type that WhatsApp takes, too long, or could not be uploaded.
pub async fn upload(
    store: &Store,
    provider: &Provider,
    sender: &SenderId,
    path: &Path,
    endpoint: &Endpoint,
) -> Result<String, MediaError> {
    let (until, path) = (Instant::now() + READ_WITHIN, path.to_owned());
    let opened = alone(until, move || open(path)).await;
    let opened = opened.map_err(|_| no_answer())??;
    send(store, provider, sender, opened, endpoint).await
}

async fn send(
    store: &Store,
    provider: &Provider,
    sender: &SenderId,
    opened: Opened,
    endpoint: &Endpoint,
) -> Result<String, MediaError> {
    let (content, keeper) = (&opened.content, endpoint.keeper());
    if let Some(known) = store.medium(sender, content, &keeper).await? {
        return Ok(known.media_id);
    }
    let file = MediaFile {
        name: opened.path.file_name().unwrap_or_default(),
        file: opened.file,
        bytes: content.bytes,
        media_type: opened.media_type,
    };
    let id = provider.upload(endpoint, file).await;
    let id = id.map_err(|error| match error {
        UploadError::Refused(_) => unusable(error),
        UploadError::NotNow { why, taught } => MediaError::NotNow {
            why,
            taught: Some(taught),
        },
    })?;
    if !is_as_it_was(opened.watched, opened.stamp).await {
        return Err(not_now("it was changed while it was uploaded"));
    }
    let kept = (keeper.as_str(), id.as_str());
    store.keep_medium(sender, content, kept, KEPT_FOR).await?;
    info!(sender.id = %sender, "Uploaded a file of {} bytes ({})", content.bytes, content.media_type);
    Ok(id)
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
