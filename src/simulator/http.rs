//! HTTP/1.1 on a bare socket.
//!
//! A library would not let us break a promise: close before reading, stop in the middle of a body, answer nothing
//! for ever. So the little of HTTP that a sender speaks is read and written here: keep-alive, pipelined requests,
//! `Content-Length` and chunked bodies, `Expect: 100-continue` (RFC 9112, RFC 9110 §10.1.1).

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{arrival, media};

/// Longest request line and headers, in bytes.
const HEAD_LIMIT: usize = 32 * 1024;
/// Longest body, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// Longest body with a file in it.
const FILE_LIMIT: usize = 101 * 1024 * 1024;

/// A request, read to its end.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// What follows the `?`, without it.
    pub(super) query: String,
    /// `Authorization`, as it came.
    pub(super) authorization: Option<String>,
    /// The header in which some providers want a bare token.
    pub(super) key: Option<String>,
    pub(super) content_type: String,
    pub(super) body: Bytes,
    /// When its first bytes came.
    pub(super) came_at: Instant,
    /// The sender asked for the connection to be closed after the answer.
    pub(super) wants_close: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) retry_after_s: Option<u32>,
    pub(super) body: Bytes,
}

impl Response {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string().into();
        Self {
            status,
            content_type: "application/json; charset=UTF-8",
            retry_after_s: None,
            body,
        }
    }

    pub(super) fn html(status: u16, page: &'static str) -> Self {
        let body = Bytes::from_static(page.as_bytes());
        Self {
            status,
            content_type: "text/html",
            retry_after_s: None,
            body,
        }
    }

    fn bytes(&self, close: bool) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
            self.status,
            reason(self.status),
            self.content_type,
            self.body.len(),
        );
        if let Some(seconds) = self.retry_after_s {
            head.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        head.push_str(if close {
            "Connection: close\r\n\r\n"
        } else {
            "\r\n"
        });
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Unnamed",
    }
}

/// Why no request could be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The other side closed, or the socket failed.
    Gone,
    /// Not HTTP as we read it; to be answered with this status, then closed.
    Malformed(u16),
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// One connection from a sender.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    /// When the first bytes of the buffer came.
    came_at: Instant,
}

/// How the body comes.
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

struct Head {
    request: Request,
    framing: Framing,
    expects_continue: bool,
    length: usize,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Answers are one write each; waiting to coalesce them only adds latency. Not being able to is no harm.
        let _ = stream.set_nodelay(true);
        arrival::ask_for_times(&stream);
        Self {
            stream,
            buffer: BytesMut::with_capacity(8 * 1024),
            came_at: Instant::now(),
        }
    }

    /// Waits for the first byte of a request and leaves it unread.
    pub(super) async fn wait_unread(&mut self) -> Result<(), Unread> {
        if self.buffer.is_empty() && self.stream.peek(&mut [0]).await? == 0 {
            return Err(Unread::Gone);
        }
        Ok(())
    }

    /// Reads one request. `key_header` is the name of the header that may carry a bare token.
    pub(super) async fn read(&mut self, key_header: &str) -> Result<Request, Unread> {
        let head = loop {
            if let Some(head) = parse_head(&self.buffer, key_header, self.came_at)? {
                break head;
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(Unread::Malformed(413));
            }
            self.fill().await?;
        };
        self.buffer.advance(head.length);
        if head.expects_continue && self.buffer.is_empty() {
            self.stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await?;
        }
        let limit = match media::takes_files(&head.request.path) {
            true => FILE_LIMIT,
            false => BODY_LIMIT,
        };
        let body = match head.framing {
            Framing::Length(length) if length > limit => return Err(Unread::Malformed(413)),
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => self.take_chunks(limit).await?,
        };
        Ok(Request {
            body,
            ..head.request
        })
    }

    async fn take(&mut self, length: usize) -> Result<Bytes, Unread> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn take_chunks(&mut self, limit: usize) -> Result<Bytes, Unread> {
        let mut body = BytesMut::new();
        loop {
            let size = loop {
                match httparse::parse_chunk_size(&self.buffer) {
                    Ok(httparse::Status::Complete((line, size))) => {
                        self.buffer.advance(line);
                        break size;
                    }
                    Ok(httparse::Status::Partial) => self.fill().await?,
                    Err(_) => return Err(Unread::Malformed(400)),
                }
            };
            if size > (limit - body.len()) as u64 {
                return Err(Unread::Malformed(413));
            }
            if size == 0 {
                self.skip_trailers().await?;
                return Ok(body.freeze());
            }
            let chunk = self.take(size as usize).await?;
            body.extend_from_slice(&chunk);
            if self.take(2).await?.as_ref() != b"\r\n" {
                return Err(Unread::Malformed(400));
            }
        }
    }

    async fn skip_trailers(&mut self) -> Result<(), Unread> {
        loop {
            let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") else {
                if self.buffer.len() > HEAD_LIMIT {
                    return Err(Unread::Malformed(413));
                }
                self.fill().await?;
                continue;
            };
            self.buffer.advance(end + 2);
            if end == 0 {
                return Ok(());
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Unread> {
        let is_first = self.buffer.is_empty();
        let came_at = arrival::read(&mut self.stream, &mut self.buffer).await?;
        if is_first {
            self.came_at = came_at;
        }
        Ok(())
    }

    /// Writes a whole answer; with `close`, one that announces the end of the connection.
    pub(super) async fn write(&mut self, response: &Response, close: bool) -> io::Result<()> {
        self.stream.write_all(&response.bytes(close)).await
    }

    /// Writes an answer up to the middle of its body.
    pub(super) async fn write_half(&mut self, response: &Response) -> io::Result<()> {
        let bytes = response.bytes(false);
        self.stream
            .write_all(&bytes[..bytes.len() - response.body.len() / 2])
            .await
    }

    /// Ends the connection in order, with what was written before it.
    pub(super) async fn close(mut self) {
        // The other side may be gone already, which is what we want.
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection at once: the other side sees a reset.
    pub(super) fn reset(self) {
        // Where the option cannot be set, the drop closes all the same.
        let _ = self.stream.set_zero_linger();
    }

    /// Stays silent until the other side gives up.
    pub(super) async fn hang(mut self) {
        let mut ignored = [0; 1024];
        while self
            .stream
            .read(&mut ignored)
            .await
            .is_ok_and(|read| read > 0)
        {}
    }
}

/// Reads request line and headers once they are there in full.
fn parse_head(buffer: &[u8], key_header: &str, came_at: Instant) -> Result<Option<Head>, Unread> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Unread::Malformed(400)),
    };
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut head = Head {
        request: Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            authorization: None,
            key: None,
            content_type: String::new(),
            body: Bytes::new(),
            came_at,
            wants_close: parsed.version == Some(0),
        },
        framing: Framing::Length(0),
        expects_continue: false,
        length,
    };
    let mut has_length = false;
    for header in parsed.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            has_length = true;
            head.framing = Framing::Length(value.parse().map_err(|_| Unread::Malformed(400))?);
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.request.wants_close |= value.eq_ignore_ascii_case("close");
        } else if header.name.eq_ignore_ascii_case("expect") {
            head.expects_continue = value.eq_ignore_ascii_case("100-continue");
        } else if header.name.eq_ignore_ascii_case("content-type") {
            head.request.content_type = value.to_owned();
        } else if header.name.eq_ignore_ascii_case("authorization") {
            head.request.authorization = Some(value.to_owned());
        } else if header.name.eq_ignore_ascii_case(key_header) {
            head.request.key = Some(value.to_owned());
        }
    }
    let coding = parsed
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("transfer-encoding"));
    if let Some(coding) = coding {
        // Two lengths for one body is how requests are smuggled (RFC 9112 §6.3); nobody honest sends both.
        if has_length || !coding.value.eq_ignore_ascii_case(b"chunked") {
            return Err(Unread::Malformed(400));
        }
        head.framing = Framing::Chunked;
    }
    Ok(Some(head))
}
