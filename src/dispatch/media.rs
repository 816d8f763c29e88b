//! Media files that messages name, uploaded before the messages are begun.
//!
//! An upload may take minutes, and between the intent of a message and its request lie seconds at most. So a message whose file
//! has no id yet is put off, the file is uploaded meanwhile, once however many messages name it, and the id waits here for them. A
//! file that cannot be used fails its messages in words, and a moment later it is looked at again, for it may have been mended.
//!
//! What an upload teaches about its sender (a token that does not let in, a pace that is too fast) is no less true than what a message
//! does: the dispatcher is told. To be told to slow down concerns uploads alone, which have limits of their own (Meta, Graph API rate
//! limits); messages go on.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{info, warn};

use super::sending::LEAVE_WITHIN;
use crate::domain::id::SenderId;
use crate::domain::outcome::{NotSent, Outcome};
use crate::provider::file_reference::{file_references, with_ids};
use crate::provider::media::{KEPT_FOR, MediaType, UploadError};
use crate::provider::{Endpoint, Provider};
use crate::store::media::Content;
use crate::store::{Store, StoreError};

/// A message whose file is on its way is looked at again after this.
const LOOK_AGAIN_IN: Duration = Duration::from_secs(1);
/// A file is looked at again after this: it may have been changed, or mended.
const TRUSTED_FOR: Duration = Duration::from_secs(10);
/// What could not be uploaded now is tried again after this, and each further time after twice as long …
const TRY_AGAIN_IN: Duration = Duration::from_secs(2);
/// … up to this.
const LONGEST_REST: Duration = Duration::from_secs(5 * 60);
/// However long a file rests, its messages are looked at again after this at the latest.
const LOOK_AGAIN_WITHIN: Duration = Duration::from_secs(60);
/// A file that seems unchanged is read again after this: what was uploaded is not kept for ever.
const READ_AGAIN_IN: Duration = Duration::from_secs(60 * 60);
/// Uploads of one sender at once.
const AT_ONCE: usize = 2;
/// Uploads to one place at once, so that all of one that hangs are not all there are.
const AT_ONCE_THERE: usize = 8;
/// Files that are remembered; of more, those are forgotten that nobody has asked for lately.
const REMEMBERED: usize = 10_000;

/// The files of one process, by who keeps them for which sender, and name.
pub struct Media {
    /// None: messages may name no files.
    folder: Option<PathBuf>,
    store: Store,
    provider: Arc<Provider>,
    known: Mutex<HashMap<Key, Known>>,
    /// Until then a sender uploads nothing: its provider said so.
    rests: Mutex<HashMap<SenderId, Instant>>,
    lessons: Mutex<Vec<Lesson>>,
    turns: Mutex<HashMap<Turns, Arc<Semaphore>>>,
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

/// What a message waits for whose file has no id yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// In words.
    pub(super) waiting_for: String,
    pub(super) look_again_in: Duration,
}

/// Sender, who keeps what is uploaded for it, and name.
type Key = (SenderId, String, String);

/// What is known of a file.
struct Known {
    found: Found,
    /// From then on it is looked at again; none while it is.
    until: Option<Instant>,
    /// As it was when it was read.
    stamp: Option<Stamp>,
    /// How often in a row it could not be uploaded, and why at last.
    failures: u32,
    why: Option<String>,
}

/// What tells whether a file was changed, and when it was read.
#[derive(Clone, Copy)]
struct Stamp {
    bytes: u64,
    changed: Option<SystemTime>,
    read: Instant,
}

#[derive(Clone)]
enum Found {
    /// Nothing yet.
    Nothing,
    /// What messages name it by.
    Id(String),
    /// Why messages cannot name it.
    Unusable(String),
}

/// Why a file has no id.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// It cannot be used, and that will not change by itself.
    #[error("{0}")]
    Unusable(String),
    /// Not now.
    #[error("{why}")]
    NotNow {
        /// In words.
        why: String,
        /// What it teaches about the sender, where its provider was asked.
        taught: Option<Box<Outcome>>,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Media {
    /// No files are known yet. `folder`: what messages may name lies below it.
    pub fn new(folder: Option<PathBuf>, store: Store, provider: Arc<Provider>) -> Arc<Self> {
        Arc::new(Self {
            folder,
            store,
            provider,
            known: Mutex::default(),
            rests: Mutex::default(),
            lessons: Mutex::default(),
            turns: Mutex::default(),
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
            let key = (sender.clone(), endpoint.keeper(), reference.file);
            let mut known = self.known();
            if known.len() >= REMEMBERED {
                // Not those that a message which is on its way out may still name.
                known.retain(|_, one| one.until.is_none_or(|until| until + LEAVE_WITHIN > now));
            }
            let one = known.entry(key.clone()).or_insert_with(|| Known {
                found: Found::Nothing,
                until: Some(now),
                stamp: None,
                failures: 0,
                why: None,
            });
            let rests_until = self.rests_until(sender, now);
            if one.until.is_some_and(|until| until <= now) && rests_until.is_none() {
                one.until = None;
                let (this, endpoint) = (Arc::clone(self), Arc::clone(endpoint));
                tokio::spawn(async move { this.fetch(key, &endpoint).await });
            }
            let is_ready = match one.found {
                Found::Nothing => false,
                Found::Id(_) => true,
                // While it is looked at again, for it may have been mended, what is on its way out keeps the reason.
                Found::Unusable(_) => one.until.is_some(),
            };
            if !is_ready {
                ready = Err(one.wait(rests_until, now));
            }
        }
        ready
    }

    /// What uploads have taught since this was asked last.
    pub(super) fn lessons(&self) -> Vec<Lesson> {
        std::mem::take(&mut self.lessons.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn rests_until(&self, sender: &SenderId, now: Instant) -> Option<Instant> {
        let rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.get(sender).copied().filter(|until| *until > now)
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
    fn put_off(&self, key: &Key, error: &MediaError, endpoint: &Arc<Endpoint>) -> Duration {
        let (sender, ..) = key;
        let taught = match error {
            MediaError::NotNow { taught, .. } => taught.as_deref(),
            MediaError::Unusable(_) | MediaError::Store(_) => None,
        };
        let mut known = self.known();
        let Some(one) = known.get_mut(key) else {
            return TRY_AGAIN_IN;
        };
        // Nobody's failure: the next one logs in.
        if taught == Some(&Outcome::NotSent(NotSent::SessionEnded)) {
            return Duration::ZERO;
        }
        let doubled = TRY_AGAIN_IN * 2_u32.saturating_pow(one.failures.min(16));
        one.failures += 1;
        one.why = Some(error.to_string());
        let asked = match taught {
            Some(Outcome::Throttled { retry_after, .. }) => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let again_in = doubled.min(LONGEST_REST).max(asked);
        drop(known);
        if matches!(taught, Some(Outcome::Throttled { .. })) {
            let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
            rests.insert(sender.clone(), Instant::now() + again_in);
        }
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
        let (keeper, known) = (endpoint.keeper(), self.known());
        Some(with_ids(payload, &references, |file| {
            let one = known.get(&(sender.clone(), keeper.clone(), file.to_owned()));
            match one.map(|one| &one.found) {
                Some(Found::Id(id)) => Ok(id.clone()),
                Some(Found::Unusable(why)) => Err(format!("file {file}: {why}")),
                // Only where a variable has put another name into the payload after it was looked at.
                Some(Found::Nothing) | None => Err(format!(
                    "file {file} is not uploaded: the name of a file cannot be made of variables"
                )),
            }
        }))
    }

    async fn fetch(&self, key: Key, endpoint: &Arc<Endpoint>) {
        let (sender, _, file) = &key;
        let there = endpoint.url.origin().ascii_serialization();
        let _own = self.turn(Turns::Of(sender.clone()), AT_ONCE).await;
        let _there = self.turn(Turns::To(there), AT_ONCE_THERE).await;
        let known_stamp = self.known().get(&key).and_then(|one| one.stamp);
        let (mut stamp, mut got) = (None, None);
        match self.place_of(file) {
            Ok(path) => {
                stamp = stamp_of(&path);
                if !is_unchanged(known_stamp, stamp) {
                    got = Some(upload(&self.store, &self.provider, sender, &path, endpoint).await);
                }
            }
            Err(error) => got = Some(Err(error)),
        }
        let rest = match &got {
            Some(Err(error @ (MediaError::NotNow { .. } | MediaError::Store(_)))) => {
                self.put_off(&key, error, endpoint)
            }
            Some(Ok(_) | Err(MediaError::Unusable(_))) | None => TRUSTED_FOR,
        };
        let mut known = self.known();
        let Some(one) = known.get_mut(&key) else {
            return;
        };
        let Some(got) = got else {
            one.until = Some(Instant::now() + TRUSTED_FOR);
            return;
        };
        one.stamp = stamp.filter(|_| got.is_ok());
        match got {
            Ok(id) => {
                one.found = Found::Id(id);
                (one.failures, one.why) = (0, None);
            }
            Err(MediaError::Unusable(why)) => {
                warn!(sender.id = %sender, "A media file that messages name cannot be used: {why}");
                one.found = Found::Unusable(why);
                (one.failures, one.why) = (0, None);
            }
            // What is known of it still holds.
            Err(error @ (MediaError::NotNow { .. } | MediaError::Store(_))) => {
                warn!(
                    sender.id = %sender,
                    error = &error as &dyn std::error::Error,
                    "A media file that messages wait for could not be uploaded; trying again in {} s",
                    rest.as_secs()
                );
            }
        }
        one.until = Some(Instant::now() + rest);
    }

    /// Where a file lies, if it may be sent: below the folder, whatever links lead to.
    fn place_of(&self, file: &str) -> Result<PathBuf, MediaError> {
        let folder = self.folder.as_ref().ok_or_else(|| {
            unusable("this worker sends no files; set media.folder to where they are")
        })?;
        let folder = folder.canonicalize().map_err(|error| MediaError::NotNow {
            why: format!("the folder of media.folder cannot be read: {error}"),
            taught: None,
        })?;
        let path = folder.join(file).canonicalize();
        let path = path.map_err(|error| unusable(format!("it cannot be read: {error}")))?;
        if !path.starts_with(&folder) {
            return Err(unusable("it lies outside the folder of media.folder"));
        }
        Ok(path)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn wait(&self, rests_until: Option<Instant>, now: Instant) -> Wait {
        let until = self.until.max(rests_until);
        let left = until.map(|until| until.saturating_duration_since(now));
        let left = left.unwrap_or_default();
        let waiting_for = match &self.why {
            Some(why) => format!("the upload of its file: {why}"),
            None => "the upload of its file".to_owned(),
        };
        Wait {
            waiting_for,
            look_again_in: left.clamp(LOOK_AGAIN_IN, LOOK_AGAIN_WITHIN),
        }
    }
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    let data = path.metadata().ok()?;
    Some(Stamp {
        bytes: data.len(),
        changed: data.modified().ok(),
        read: Instant::now(),
    })
}

fn is_unchanged(known: Option<Stamp>, now: Option<Stamp>) -> bool {
    known.zip(now).is_some_and(|(known, now)| {
        known.bytes == now.bytes
            && known.changed.is_some()
            && known.changed == now.changed
            && now.read - known.read < READ_AGAIN_IN
    })
}

fn unusable(why: impl Display) -> MediaError {
    MediaError::Unusable(why.to_string())
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
    let content = content_of(path).await?;
    let keeper = endpoint.keeper();
    if let Some(known) = store.medium(sender, &content, &keeper).await? {
        return Ok(known.media_id);
    }
    let media_type = MediaType::named(content.media_type)
        .ok_or_else(|| unusable("WhatsApp takes no such files"))?;
    let id = provider
        .upload(endpoint, path, media_type)
        .await
        .map_err(|error| match error {
            UploadError::Unreadable(_) | UploadError::Refused(_) => unusable(error),
            UploadError::NotNow { why, taught } => MediaError::NotNow {
                why,
                taught: Some(taught),
            },
        })?;
    let kept = (keeper.as_str(), id.as_str());
    store.keep_medium(sender, &content, kept, KEPT_FOR).await?;
    info!(sender.id = %sender, "Uploaded a file of {} bytes ({})", content.bytes, content.media_type);
    Ok(id)
}

async fn content_of(path: &Path) -> Result<Content, MediaError> {
    let media_type = MediaType::of_file(path).ok_or_else(|| {
        let endings = MediaType::endings().join(", ");
        unusable(format!("WhatsApp takes no such files; it takes: {endings}"))
    })?;
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || digest_of(&file, media_type.limit)).await;
    let (digest, bytes) = read
        .map_err(|_| unusable("it could not be read to its end"))?
        .map_err(|error| unusable(format!("it cannot be read: {error}")))?;
    if bytes > media_type.limit {
        let limit = media_type.limit;
        let what = format!(
            "it has more than {limit} bytes, the most that WhatsApp takes of {}",
            media_type.name
        );
        return Err(unusable(what));
    }
    if bytes == 0 {
        return Err(unusable("it is empty"));
    }
    Ok(Content {
        digest,
        media_type: media_type.name,
        bytes,
    })
}

/// Reads no further than is needed to see that a file is too long.
fn digest_of(path: &Path, limit: u64) -> std::io::Result<([u8; 32], u64)> {
    let mut file = std::fs::File::open(path)?.take(limit + 1);
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        digest.update(&buffer[..count]);
        bytes += count as u64;
    }
    let mut whole = [0; 32];
    whole.copy_from_slice(digest.finish().as_ref());
    Ok((whole, bytes))
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
