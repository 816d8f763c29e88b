//! Uploads of media files.
//!
//! An upload sends no message, so it may be made again whenever one is not sure that it has been made.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Url};
use serde::Deserialize;
use tokio::fs::File;
use tokio::time::timeout;

use super::address::Endpoint;
use super::client::{Provider, chain};
use super::verdict::{Expected, Happened, judge};
use crate::domain::outcome::Outcome;
use crate::domain::transition;

/// An upload takes no longer than this: 100 MB at 2 Mbit/s, and a little.
const UPLOAD_WITHIN: Duration = Duration::from_secs(7 * 60);
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
        Self::find(|known| known.endings.contains(&ending.as_str()))
    }

    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::find(|known| known.name == name)
    }

    /// The endings of all files that have a type of their own.
    pub fn endings() -> Vec<&'static str> {
        let endings = TYPES.iter().flat_map(|known| known.endings);
        endings.copied().collect()
    }

    fn find(is_it: impl Fn(&Self) -> bool) -> Option<Self> {
        TYPES.into_iter().find(|known| is_it(known))
    }
}

/// Why a file was not uploaded.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It cannot be read.
    #[error("could not read the file")]
    Unreadable(#[source] std::io::Error),
    /// The provider says that this file cannot be taken.
    #[error("the provider refuses the file: {0}")]
    Refused(String),
    /// Not now: no connection, a token that does not let in, too fast.
    #[error("the file could not be uploaded: {0}")]
    NotNow(String),
}

impl Provider {
    /// Uploads a file and returns the id that messages name it by.
    ///
    /// # Errors
    /// When it is refused, or could not be uploaded now.
    pub async fn upload(
        &self,
        endpoint: &Endpoint,
        path: &Path,
        media_type: MediaType,
    ) -> Result<String, UploadError> {
        let file = File::open(path).await.map_err(UploadError::Unreadable)?;
        let length = file.metadata().await.map_err(UploadError::Unreadable)?;
        let way_in = (self.way_in(endpoint).await)
            .map_err(|outcome| UploadError::NotNow(in_words(&outcome)))?;
        let url = media_url(&endpoint.url);
        let mut http = if takes_bare_files(&url) {
            let mut http = reqwest::Request::new(Method::POST, url);
            let name = HeaderValue::from_static(media_type.name);
            http.headers_mut().insert(CONTENT_TYPE, name);
            *http.body_mut() = Some(Body::from(file));
            http
        } else {
            let form = form(path, file, length.len(), media_type);
            let request =
                form.and_then(|form| way_in.pool.client.post(url).multipart(form).build());
            request.map_err(|error| UploadError::NotNow(chain(&error.without_url())))?
        };
        let (name, value) = &way_in.header;
        http.headers_mut().insert(name, value.clone());

        let exchange = async {
            let response = way_in.pool.client.execute(http).await?;
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        match timeout(UPLOAD_WITHIN, exchange).await {
            Err(_) => Err(UploadError::NotNow("it took too long".to_owned())),
            Ok(Err(error)) => Err(UploadError::NotNow(chain(&error.without_url()))),
            Ok(Ok((status, body))) => read(status, &body),
        }
    }
}

fn form(
    path: &Path,
    file: File,
    length: u64,
    media_type: MediaType,
) -> Result<Form, reqwest::Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = Part::stream_with_length(Body::from(file), length).file_name(name.into_owned());
    Ok(Form::new()
        .text("messaging_product", "whatsapp")
        .text("type", media_type.name)
        .part("file", part.mime_str(media_type.name)?))
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

/// `{"id":…}` of the Cloud API, `{"media":[{"id":…}]}` of the On-Premises client.
#[derive(Deserialize)]
struct Uploaded {
    id: Option<String>,
    #[serde(default)]
    media: Vec<Medium>,
}

#[derive(Deserialize)]
struct Medium {
    id: String,
}

fn read(status: u16, body: &[u8]) -> Result<String, UploadError> {
    if (200..300).contains(&status)
        && let Ok(uploaded) = serde_json::from_slice::<Uploaded>(body)
        && let Some(id) = uploaded
            .id
            .or_else(|| uploaded.media.into_iter().next().map(|medium| medium.id))
    {
        return Ok(id);
    }
    let happened = Happened::Answer {
        status,
        retry_after: None,
        body,
    };
    let outcome = judge(&happened, &Expected::MarkAsRead);
    match &outcome {
        Outcome::Rejected(error) => Err(UploadError::Refused(transition::in_words(error))),
        _ => Err(UploadError::NotNow(in_words(&outcome))),
    }
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rejected(error)
        | Outcome::Throttled { error, .. }
        | Outcome::Held { error, .. }
        | Outcome::Transient { error, .. } => transition::in_words(error),
        Outcome::NotSent(_) => "no connection".to_owned(),
        Outcome::Accepted(_) | Outcome::Uncertain(_) => "the answer was not understood".to_owned(),
    }
}
