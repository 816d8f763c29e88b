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

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::beside::{Answer, alone, hangs};
use super::sending::LEAVE_WITHIN;
use crate::domain::id::SenderId;
use crate::domain::mask::Eyes;
use crate::domain::outcome::{ApiError, HoldScope, NotSent, Outcome};
use crate::domain::text::chain;
use crate::provider::file_reference::{file_references, with_ids};
use crate::provider::media::{KEPT_FOR, MediaFile, MediaType, UploadError};
use crate::provider::{Endpoint, Provider};
use crate::secret::file::opened;
use crate::store::media::Content;
use crate::store::{Store, StoreError};

/// A message whose file is on its way is looked at again after this …
const LOOK_AGAIN_IN: Duration = Duration::from_secs(1);
/// … and so much later for each file of its sender that waits too.
const LATER_FOR_EACH: Duration = Duration::from_millis(50);
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
/// Files of one sender that wait for their upload.
const WAIT_AT_MOST: usize = 100;
/// While so many wait, messages that name others look again one after the other, at this distance: a few leave each second.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// While so many wait, another file takes the place of one that could not be uploaded, no more often than this: those that never can be are
/// not in the way of all.
const BETWEEN_CHANGES: Duration = Duration::from_secs(1);
/// Files of one sender that are remembered; of more, those are forgotten that nobody has asked for lately …
const REMEMBERED: usize = 10_000;
/// … and looked for no more often than this.
const BETWEEN_CLEARINGS: Duration = Duration::from_secs(1);
/// To find a file, to read it and to see that it is still the same each takes no longer than this: 100 MB at 4 MB/s, and a little.
const READ_WITHIN: Duration = Duration::from_secs(30);
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

/// The files of a sender.
struct Files {
    known: HashMap<Name, Known>,
    /// How many of them there is nothing of yet.
    waiting: usize,
    /// How many are looked at, or wait for their turn.
    under_way: usize,
    /// How its provider is reached now.
    endpoint: Arc<Endpoint>,
    /// Until then nothing is uploaded: its provider said so.
    rest: Option<Rest>,
    /// Its token lets nobody in. It is asked for no file while it is held, so whoever asks has heard of that, and of its end.
    is_refused: bool,
    /// When the last of those looks again for whose files there was no room.
    line_ends: Instant,
    next_change: Instant,
    next_clearing: Instant,
}

/// That no files are wanted.
struct Rest {
    until: Instant,
    why: String,
}

/// Who keeps what is uploaded, and the name of a file.
type Name = (String, String);

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

/// What a message waits for whose file has no id yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// In words.
    pub(super) waiting_for: String,
    pub(super) look_again_in: Duration,
}

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
    /// Who will say what is in it, where its disk has not answered.
    late: Option<Answer<Looked>>,
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

/// A file that is open at its beginning.
struct Opened {
    path: PathBuf,
    file: File,
    /// The same, to see afterwards whether it was changed.
    watched: File,
    stamp: Stamp,
    media_type: MediaType,
    content: Content,
}

/// What a look at a file came to: nothing where it is as it was.
type Looked = Result<Option<Opened>, MediaError>;

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

impl Files {
    fn of(endpoint: Arc<Endpoint>, now: Instant) -> Self {
        Self {
            known: HashMap::new(),
            waiting: 0,
            under_way: 0,
            endpoint,
            rest: None,
            is_refused: false,
            line_ends: now,
            next_change: now,
            next_clearing: now,
        }
    }

    /// Whether a file is to be fetched, for the first time or again. From then on it is under way.
    fn begins(&mut self, name: &Name, now: Instant) -> bool {
        if self.rests(now).is_some() {
            return false;
        }
        if !self.known.contains_key(name) {
            if !self.has_room(now) {
                return false;
            }
            self.known.insert(name.clone(), Known::at(now));
            self.waiting += 1;
        }
        let Some(one) = self.known.get_mut(name) else {
            return false;
        };
        // What there is something of can do without a look while many wait.
        let has_place = one.is_waiting() || self.under_way < WAIT_AT_MOST;
        let begins = has_place && one.until.is_some_and(|until| until <= now);
        if begins {
            one.until = None;
            self.under_way += 1;
        }
        begins
    }

    fn ready(&mut self, name: &Name, now: Instant) -> Result<(), Wait> {
        let rest = self.rest.as_ref().filter(|rest| rest.until > now);
        let (until, why) = (rest.map(|rest| rest.until), rest.map(|rest| &rest.why));
        let Some(one) = self.known.get(name) else {
            let waiting_for = waiting_for(why, ", behind those of many others");
            let left = until.map(|until| until.saturating_duration_since(now));
            let soonest = left
                .unwrap_or_default()
                .clamp(LOOK_AGAIN_IN, LOOK_AGAIN_WITHIN);
            self.line_ends = self.line_ends.max(now + soonest) + BETWEEN_LOOKS;
            return Err(Wait {
                waiting_for,
                look_again_in: self.line_ends - now,
            });
        };
        let is_ready = match one.found {
            Found::Nothing => false,
            Found::Id(_) => true,
            // While it is looked at again, for it may have been mended, what is on its way out keeps the reason.
            Found::Unusable(_) => one.until.is_some(),
        };
        if is_ready {
            return Ok(());
        }
        let until = one.until.max(until);
        let left = until.map(|until| until.saturating_duration_since(now));
        let soonest = LOOK_AGAIN_IN + LATER_FOR_EACH * self.waiting as u32;
        Err(Wait {
            waiting_for: waiting_for(one.why.as_ref().or(why), ""),
            look_again_in: left.unwrap_or_default().clamp(soonest, LOOK_AGAIN_WITHIN),
        })
    }

    fn rests(&self, now: Instant) -> Option<Instant> {
        let until = self.rest.as_ref().map(|rest| rest.until);
        until.filter(|until| *until > now)
    }

    /// Whether one more file can be remembered; if need be, another is forgotten.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.known.len() >= REMEMBERED && now >= self.next_clearing {
            self.next_clearing = now + BETWEEN_CLEARINGS;
            // Not those that a message which is on its way out may still name.
            self.known
                .retain(|_, one| one.until.is_none_or(|until| until + LEAVE_WITHIN > now));
            self.waiting = self.known.values().filter(|one| one.is_waiting()).count();
        }
        if self.known.len() >= REMEMBERED {
            return false;
        }
        if self.waiting >= WAIT_AT_MOST && now >= self.next_change {
            self.next_change = now + BETWEEN_CHANGES;
            let rest = (self.known.iter())
                .filter(|(_, one)| one.is_waiting() && one.until.is_some() && one.late.is_none());
            let longest = rest.max_by_key(|(_, one)| one.until);
            if let Some(name) = longest.map(|(name, _)| name.clone()) {
                self.known.remove(&name);
                self.waiting -= 1;
            }
        }
        self.waiting < WAIT_AT_MOST
    }

    /// Where a file is to be uploaded, and how it was when it was read last; nothing where it is not to be uploaded any more: much may have
    /// been said since it was asked for.
    fn takes_its_turn(
        &mut self,
        name: &Name,
        now: Instant,
    ) -> Option<(Arc<Endpoint>, Option<Stamp>)> {
        let is_wanted = !self.is_refused && self.endpoint.keeper() == name.0;
        let not_before = self.rests(now).or((!is_wanted).then_some(now));
        let one = self.known.get_mut(name)?;
        if not_before.is_some() {
            one.until = not_before;
            self.under_way -= 1;
            return None;
        }
        Some((Arc::clone(&self.endpoint), one.stamp))
    }

    /// Takes in what came of a fetch, and when the file is looked at again.
    fn take_in(
        &mut self,
        name: &Name,
        got: Result<Option<(String, Stamp)>, MediaError>,
        until: Instant,
    ) {
        self.under_way -= 1;
        let Some(one) = self.known.get_mut(name) else {
            return;
        };
        one.until = Some(until);
        let found = match got {
            Ok(None) => one.found.clone(),
            Ok(Some((id, stamp))) => {
                one.stamp = Some(stamp);
                Found::Id(id)
            }
            Err(MediaError::Unusable(why)) => {
                one.stamp = None;
                Found::Unusable(why)
            }
            Err(MediaError::NotNow { .. } | MediaError::Store(_)) => {
                // What is known of it still holds.
                one.stamp = None;
                return;
            }
        };
        self.waiting -= usize::from(one.is_waiting());
        one.found = found;
        (one.failures, one.why) = (0, None);
    }
}

impl Known {
    /// Nothing is known of it, and it is looked at from then on.
    fn at(until: Instant) -> Self {
        Self {
            found: Found::Nothing,
            until: Some(until),
            stamp: None,
            failures: 0,
            why: None,
            late: None,
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.found, Found::Nothing)
    }
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        Self {
            bytes: data.len(),
            changed: data.modified().ok(),
            read: Instant::now(),
        }
    }
}

fn waiting_for(why: Option<&String>, place: &str) -> String {
    match why {
        Some(why) => format!("the upload of its file: {why}"),
        None => format!("the upload of its file{place}"),
    }
}

fn is_unchanged(known: Option<Stamp>, now: Stamp) -> bool {
    known.is_some_and(|known| {
        known.bytes == now.bytes
            && known.changed.is_some()
            && known.changed == now.changed
            && now.read - known.read < READ_AGAIN_IN
    })
}

fn unusable(why: impl Display) -> MediaError {
    MediaError::Unusable(why.to_string())
}

fn not_now(why: impl Display) -> MediaError {
    MediaError::NotNow {
        why: why.to_string(),
        taught: None,
    }
}

fn no_answer() -> MediaError {
    not_now("the disk that it is on does not answer; see that it works")
}

/// What an error says of a file. Only what the name itself, or what lies there, is to blame for will not change by itself: a disk that is
/// disturbed, too many open files or a right that lacks are no verdict about a message.
fn unreadable(error: io::Error) -> MediaError {
    let why = format!("it cannot be read: {error}");
    let is_to_blame = matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
    ) || Errno::from_io_error(&error) == Some(Errno::LOOP);
    match is_to_blame {
        true => unusable(why),
        false => not_now(why),
    }
}

/// Looks at a file. Blocks.
fn look(folder: Option<&Path>, file: &str, known: Option<Stamp>) -> Looked {
    let path = place_of(folder, file)?;
    let now = Stamp::of(&path.metadata().map_err(unreadable)?);
    if is_unchanged(known, now) {
        return Ok(None);
    }
    open(path).map(Some)
}

/// Where a file lies, if it may be sent: below the folder, whatever links lead to.
fn place_of(folder: Option<&Path>, file: &str) -> Result<PathBuf, MediaError> {
    let folder = folder.ok_or_else(|| {
        unusable("this worker sends no files; set media.folder to where they are")
    })?;
    let folder = folder.canonicalize().map_err(|error| {
        not_now(format!(
            "the folder of media.folder cannot be read: {error}"
        ))
    })?;
    let named = folder.join(file);
    let path = named.canonicalize().map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        match is_missing.then(|| empty_folder(&folder, &named)).flatten() {
            Some(empty) => not_now(format!(
                "the folder {} is empty; see that its disk is mounted",
                empty.display()
            )),
            None => unreadable(error),
        }
    })?;
    if !path.starts_with(&folder) {
        return Err(unusable("it lies outside the folder of media.folder"));
    }
    Ok(path)
}

/// The nearest folder on the way to a file, if nothing at all is in it.
fn empty_folder<'a>(folder: &Path, named: &'a Path) -> Option<&'a Path> {
    let on_the_way = named.ancestors().skip(1);
    let (nearest, mut entries) = on_the_way
        .take_while(|up| up.starts_with(folder))
        .find_map(|up| Some((up, up.read_dir().ok()?)))?;
    entries.next().is_none().then_some(nearest)
}

/// Opens a file that WhatsApp takes, and reads it. Blocks.
fn open(path: PathBuf) -> Result<Opened, MediaError> {
    let media_type = MediaType::of_file(&path).ok_or_else(|| {
        let endings = MediaType::endings().join(", ");
        unusable(format!("WhatsApp takes no such files; it takes: {endings}"))
    })?;
    let read = || {
        let mut file = opened(&path)?;
        let stamp = Stamp::of(&file.metadata()?);
        let (digest, bytes) = digest_of(&file, media_type.limit)?;
        file.rewind()?;
        Ok((file.try_clone()?, file, stamp, digest, bytes))
    };
    let (watched, file, stamp, digest, bytes) = read().map_err(unreadable)?;
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
    Ok(Opened {
        path,
        file,
        watched,
        stamp,
        media_type,
        content: Content {
            digest,
            media_type: media_type.name,
            bytes,
        },
    })
}

/// Reads no further than is needed to see that a file is too long.
fn digest_of(file: &File, limit: u64) -> io::Result<([u8; 32], u64)> {
    let mut file = file.take(limit + 1);
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

/// Whether what went out is what was read before.
async fn is_as_it_was(file: File, read: Stamp) -> bool {
    let until = Instant::now() + READ_WITHIN;
    let now = alone(until, move || file.metadata().map(|data| Stamp::of(&data))).await;
    matches!(now, Ok(Ok(now)) if is_unchanged(Some(read), now))
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
