//! Uploads of media: `POST …/media`, as a form to the Cloud API, as the bare file to the On-Premises client.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use serde_json::json;

use super::door::{Door, authorise};
use super::graph_error::GraphError;
use super::http::{Request, Response};
use super::world::World;

/// A file that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// For this business phone number.
    pub number: Arc<str>,
    /// What messages name it by.
    pub id: String,
    /// As it was said to be.
    pub media_type: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// What an upload is answered, whatever it holds.
#[derive(Clone, Debug)]
pub struct UploadAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// The body.
    pub body: String,
}

/// Whether files are uploaded at this path.
pub(super) fn takes_files(path: &str) -> bool {
    path.ends_with("/media")
}

/// Takes a file and gives it an id.
pub(super) fn upload(world: &World, request: &Request) -> Response {
    world.upload_requests.fetch_add(1, Ordering::Relaxed);
    let answer = world
        .upload_answer
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = answer.as_ref() {
        return Response {
            status: answer.status,
            content_type: "application/json; charset=UTF-8",
            retry_after_s: answer.retry_after_s,
            body: answer.body.clone().into(),
        };
    }
    drop(answer);
    let is_bare = request.path.ends_with("/v1/media");
    let refused = |error: GraphError| match is_bare {
        true => error.on_premises_response(),
        false => error.response(0),
    };
    if let Err(error) = authorise(world, request) {
        return refused(error);
    }
    if world.refuses_uploads.load(Ordering::Relaxed) {
        return refused(GraphError::of_code(131_016));
    }
    let found = match is_bare {
        true => Some((request.content_type.clone(), request.body.to_vec())),
        false => file_in(request),
    };
    let Some((media_type, content)) = found.filter(|(_, content)| !content.is_empty()) else {
        return refused(GraphError::of_code(100).with_details("There is no file."));
    };
    if !is_known(&media_type) {
        let details = format!("Param file must be a file of another type, got {media_type}.");
        return refused(GraphError::of_code(100).with_details(details));
    }
    let id = world.keep(Upload {
        number: Door::at(world, &request.path).number,
        id: String::new(),
        media_type,
        content,
    });
    match is_bare {
        true => Response::json(200, &json!({ "media": [{ "id": id }] })),
        false => Response::json(200, &json!({ "id": id })),
    }
}

fn is_known(media_type: &str) -> bool {
    let (family, _) = media_type.split_once('/').unwrap_or_default();
    matches!(family, "audio" | "image" | "video" | "application") || media_type == "text/plain"
}

/// The part named `file` of a form (RFC 7578), if `messaging_product` is in it too: its type and its content.
fn file_in(request: &Request) -> Option<(String, Vec<u8>)> {
    let boundary = request.content_type.split("boundary=").nth(1)?;
    let boundary = format!("--{}", boundary.trim_matches('"'));
    let (mut file, mut is_whatsapp) = (None, false);
    for part in parts(&request.body, boundary.as_bytes()) {
        let end = find(part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&part[..end]);
        let content = part.get(end + 4..)?.strip_suffix(b"\r\n")?;
        let is_named = |name: &str| head.contains(&format!("name=\"{name}\""));
        is_whatsapp |= is_named("messaging_product") && content == b"whatsapp";
        if is_named("file") {
            let lines = head.lines();
            let media_type = lines
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
                .map(|(_, value)| value.trim().to_owned());
            file = Some((media_type.unwrap_or_default(), content.to_vec()));
        }
    }
    file.filter(|_| is_whatsapp)
}

fn parts<'a>(body: &'a [u8], boundary: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = find(body, boundary).map(|start| &body[start + boundary.len()..]);
    std::iter::from_fn(move || {
        let from = rest?;
        let end = find(from, boundary)?;
        rest = Some(&from[end + boundary.len()..]);
        Some(&from[..end])
    })
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}
