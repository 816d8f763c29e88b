//! Files that messages name, as they lie on a disk: found, opened, read, and seen to be still the same. Nothing here asks the network, and what
//! blocks is for a thread that may stand still.

use std::fmt::Display;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use tokio::time::Instant;

use crate::dispatch::beside::alone;
use crate::domain::outcome::Outcome;
use crate::provider::media::MediaType;
use crate::secret::file::opened;
use crate::store::StoreError;
use crate::store::media::Content;

/// A file that seems unchanged is read again after this: what was uploaded is not kept for ever.
pub(super) const READ_AGAIN_IN: Duration = Duration::from_secs(60 * 60);
/// To find a file, to read it and to see that it is still the same each takes no longer than this: 100 MB at 4 MB/s, and a little.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(30);

/// What tells whether a file was changed, and when it was read.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    pub(super) changed: Option<SystemTime>,
    pub(super) read: Instant,
}

/// A file that is open at its beginning.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// The same, to see afterwards whether it was changed.
    pub(super) watched: File,
    pub(super) stamp: Stamp,
    pub(super) media_type: MediaType,
    pub(super) content: Content,
}

/// What a look at a file came to: nothing where it is as it was.
pub(super) type Looked = Result<Option<Opened>, MediaError>;

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

impl Stamp {
    pub(super) fn of(data: &Metadata) -> Self {
        Self {
            bytes: data.len(),
            changed: data.modified().ok(),
            read: Instant::now(),
        }
    }
}

pub(super) fn is_unchanged(known: Option<Stamp>, now: Stamp) -> bool {
    known.is_some_and(|known| {
        known.bytes == now.bytes
            && known.changed.is_some()
            && known.changed == now.changed
            && now.read - known.read < READ_AGAIN_IN
    })
}

pub(super) fn unusable(why: impl Display) -> MediaError {
    MediaError::Unusable(why.to_string())
}

pub(super) fn not_now(why: impl Display) -> MediaError {
    MediaError::NotNow {
        why: why.to_string(),
        taught: None,
    }
}

pub(super) fn no_answer() -> MediaError {
    not_now("the disk that it is on does not answer; see that it works")
}

/// What an error says of a file. Only what the name itself, or what lies there, is to blame for will not change by itself: a disk that is
/// disturbed, too many open files or a right that lacks are no verdict about a message.
pub(super) fn unreadable(error: io::Error) -> MediaError {
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
pub(super) fn look(folder: Option<&Path>, file: &str, known: Option<Stamp>) -> Looked {
    let path = place_of(folder, file)?;
    let now = Stamp::of(&path.metadata().map_err(unreadable)?);
    if is_unchanged(known, now) {
        return Ok(None);
    }
    open(path).map(Some)
}

/// Where a file lies, if it may be sent: below the folder, whatever links lead to.
pub(super) fn place_of(folder: Option<&Path>, file: &str) -> Result<PathBuf, MediaError> {
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
pub(super) fn empty_folder<'a>(folder: &Path, named: &'a Path) -> Option<&'a Path> {
    let on_the_way = named.ancestors().skip(1);
    let (nearest, mut entries) = on_the_way
        .take_while(|up| up.starts_with(folder))
        .find_map(|up| Some((up, up.read_dir().ok()?)))?;
    entries.next().is_none().then_some(nearest)
}

/// Opens a file that WhatsApp takes, and reads it. Blocks.
pub(super) fn open(path: PathBuf) -> Result<Opened, MediaError> {
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
pub(super) fn digest_of(file: &File, limit: u64) -> io::Result<([u8; 32], u64)> {
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

/// Whether what went out is what was read before.
pub(super) async fn is_as_it_was(file: File, read: Stamp) -> bool {
    let until = Instant::now() + READ_WITHIN;
    let now = alone(until, move || file.metadata().map(|data| Stamp::of(&data))).await;
    matches!(now, Ok(Ok(now)) if is_unchanged(Some(read), now))
}
