//! Uploads of media files.
//!
//! An upload sends no message, so it may be made again whenever one is not sure that it has been made.

use std::ffi::OsStr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Url};
use tokio::fs::File;
use tokio::time::{Instant, timeout_at};

use super::address::Endpoint;
use super::answer::uploaded;
use super::client::{Provider, read};
use super::verdict::{Expected, Happened, judge};
use crate::domain::outcome::{Doubt, LostAnswer, NotSent, Outcome};
use crate::domain::text::{Secrets, chain};
use crate::domain::transition;

/// An upload takes no longer than this: 100 MB at 2 Mbit/s, and a little.
const UPLOAD_WITHIN: Duration = Duration::from_secs(7 * 60);
/// A longer answer is not read on: an id is short.
const LONGEST_ANSWER: usize = 1 << 16;
/// How long the Cloud API keeps what was uploaded (Meta, Media): 30 days. What is older than this is uploaded anew.
pub const KEPT_FOR: Duration = Duration::from_secs(29 * 24 * 60 * 60);

/// A type of media that WhatsApp takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// Its name (RFC 2046).
    pub name: &'static str,
    /// What its files end in.
    endings: &'static [&'static str],
    /// Bytes at most.
    pub limit: u64,
}

const MB: u64 = 1 << 20;

const fn of(name: &'static str, endings: &'static [&'static str], limit: u64) -> MediaType {
    MediaType {
        name,
        endings,
        limit,
    }
}

/// Meta, Media, "Supported media types". A sticker may be animated: then it has 500 kB.
const TYPES: [MediaType; 19] = [
    of("audio/aac", &["aac"], 16 * MB),
    of("audio/amr", &["amr"], 16 * MB),
    of("audio/mpeg", &["mp3"], 16 * MB),
    of("audio/mp4", &["m4a"], 16 * MB),
    of("audio/ogg", &["ogg", "opus"], 16 * MB),
    of("image/jpeg", &["jpg", "jpeg"], 5 * MB),
    of("image/png", &["png"], 5 * MB),
    of("image/webp", &["webp"], 500 * 1024),
    of("video/mp4", &["mp4"], 16 * MB),
    of("video/3gpp", &["3gp", "3gpp"], 16 * MB),
    of("text/plain", &["txt", "csv"], 100 * MB),
    of("application/pdf", &["pdf"], 100 * MB),
    of("application/msword", &["doc"], 100 * MB),
    of("application/vnd.ms-excel", &["xls"], 100 * MB),
    of("application/vnd.ms-powerpoint", &["ppt"], 100 * MB),
    of(
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        &["docx"],
        100 * MB,
    ),
    of(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        &["xlsx"],
        100 * MB,
    ),
    of(
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        &["pptx"],
        100 * MB,
    ),
    of("application/octet-stream", &[], 100 * MB),
];

impl MediaType {
    /// The type of a file, by its ending.
    pub fn of_file(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        let is_it = |known: &Self| known.endings.contains(&ending.as_str());
        TYPES.into_iter().find(is_it)
    }

    /// The endings of all files that have a type of their own.
    pub fn endings() -> Vec<&'static str> {
        let endings = TYPES.iter().flat_map(|known| known.endings);
        endings.copied().collect()
    }
}

/// A file to be uploaded, open at its beginning.
pub struct MediaFile<'a> {
    /// How it is called there.
    pub name: &'a OsStr,
    /// Itself.
    pub file: std::fs::File,
    /// Its length.
    pub bytes: u64,
    /// What it is.
    pub media_type: MediaType,
}

/// Why a file was not uploaded.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The provider says that this file cannot be taken.
    #[error("the provider refuses the file: {0}")]
    Refused(String),
    /// Not now: no connection, a token that does not let in, too fast.
    #[error("the file could not be uploaded: {why}")]
    NotNow {
        /// In words.
        why: String,
        /// What it teaches about the sender.
        taught: Box<Outcome>,
    },
}

/// When the body of an upload was asked for last.
struct Moved(Mutex<Instant>);

impl Moved {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn at(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that tells when it was asked for.
struct Watched {
    body: Body,
    moved: Arc<Moved>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        self.moved.note();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

impl Provider {
    /// Uploads a file and returns the id that messages name it by. It is given up when nothing of the file was taken, and no answer came,
    /// for as long as a message waits for its answer.
    ///
    /// # Errors
    /// When it is refused, or could not be uploaded now.
    pub async fn upload(
        &self,
        endpoint: &Endpoint,
        file: MediaFile<'_>,
    ) -> Result<String, UploadError> {
        let way_in = self.way_in(endpoint).await.map_err(not_now)?;
        let url = media_url(&endpoint.url);
        let mut http = if takes_bare_files(&url) {
            let mut http = reqwest::Request::new(Method::POST, url);
            let name = HeaderValue::from_static(file.media_type.name);
            http.headers_mut().insert(CONTENT_TYPE, name);
            *http.body_mut() = Some(Body::from(File::from_std(file.file)));
            http
        } else {
            let request =
                form(file).and_then(|form| way_in.pool.client.post(url).multipart(form).build());
            request.map_err(no_connection)?
        };
        let (name, value) = &way_in.header;
        http.headers_mut().insert(name, value.clone());
        let moved = Arc::new(Moved(Mutex::new(Instant::now())));
        let body = http.body_mut().take().map(|body| {
            Body::wrap(Watched {
                body,
                moved: Arc::clone(&moved),
            })
        });
        *http.body_mut() = body;

        let exchange = async {
            let mut response = way_in.pool.client.execute(http).await?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get(RETRY_AFTER).cloned();
            let body = read(&mut response, LONGEST_ANSWER).await;
            Ok::<_, reqwest::Error>((status, retry_after, body))
        };
        let idle = self.settings.response_timeout;
        let (status, retry_after, body) = match unless_idle(exchange, &moved, idle).await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Err(no_connection(error)),
            None => {
                let lost = Doubt::AnswerLost(LostAnswer::TimedOut);
                return Err(not_now(Outcome::Uncertain(lost)));
            }
        };
        let retry_after = retry_after.as_ref().and_then(|value| value.to_str().ok());
        let happened = match &body {
            Some(body) if (200..300).contains(&status) => match uploaded(body) {
                Some(id) => return Ok(id),
                None => whole(status, retry_after, body, &way_in.secrets),
            },
            Some(body) => whole(status, retry_after, body, &way_in.secrets),
            None => Happened::HeadOnly {
                status,
                retry_after,
                lost: LostAnswer::ConnectionLost,
            },
        };
        let outcome = judge(&happened, &Expected::MarkAsRead);
        Err(match way_in.consider(outcome) {
            Outcome::Rejected(error) => UploadError::Refused(transition::in_words(&error)),
            outcome => not_now(outcome),
        })
    }
}

fn whole<'a>(
    status: u16,
    retry_after: Option<&'a str>,
    body: &'a [u8],
    secrets: &'a Secrets,
) -> Happened<'a> {
    Happened::Answer {
        status,
        retry_after,
        body,
        secrets,
    }
}

/// What `exchange` came to; `None` if nothing of its body was asked for, and it did not end, for so long.
async fn unless_idle<T>(
    exchange: impl Future<Output = T>,
    moved: &Moved,
    idle: Duration,
) -> Option<T> {
    let mut exchange = pin!(exchange);
    let no_later = Instant::now() + UPLOAD_WITHIN;
    loop {
        let until = (moved.at() + idle).min(no_later);
        if let Ok(ended) = timeout_at(until, &mut exchange).await {
            return Some(ended);
        }
        let now = Instant::now();
        if now >= no_later || now >= moved.at() + idle {
            return None;
        }
    }
}

fn not_now(outcome: Outcome) -> UploadError {
    UploadError::NotNow {
        why: in_words(&outcome),
        taught: Box::new(outcome),
    }
}

fn no_connection(error: reqwest::Error) -> UploadError {
    UploadError::NotNow {
        why: chain(&error.without_url()),
        taught: Box::new(Outcome::NotSent(NotSent::NoConnection)),
    }
}

fn form(file: MediaFile<'_>) -> Result<Form, reqwest::Error> {
    let body = Body::from(File::from_std(file.file));
    let name = file.name.to_string_lossy().into_owned();
    let part = Part::stream_with_length(body, file.bytes).file_name(name);
    Ok(Form::new()
        .text("messaging_product", "whatsapp")
        .text("type", file.media_type.name)
        .part("file", part.mime_str(file.media_type.name)?))
}

/// Beside the address of messages, for all that we know: `/{version}/{id}/media`, `/media`, `/v1/media`.
fn media_url(messages: &Url) -> Url {
    let mut url = messages.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop().push("media");
    }
    url
}

/// The On-Premises client, and who has kept its interface, want the file itself as the body (Meta, On-Premises API, Media).
fn takes_bare_files(url: &Url) -> bool {
    url.path().ends_with("/v1/media")
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rejected(error)
        | Outcome::Throttled { error, .. }
        | Outcome::Held { error, .. }
        | Outcome::Transient { error, .. } => transition::in_words(error),
        Outcome::NotSent(_) => "no connection".to_owned(),
        Outcome::Uncertain(Doubt::AnswerLost(LostAnswer::TimedOut)) => {
            "no answer came in time".to_owned()
        }
        Outcome::Accepted(_) | Outcome::Uncertain(_) => match outcome.excerpt() {
            Some(excerpt) => format!("the answer was not understood: {excerpt}"),
            None => "the answer was not understood".to_owned(),
        },
    }
}
