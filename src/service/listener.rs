//! A port that is listened on, and how much of the process those may take up who reach it.
//!
//! Connections are counted, and whoever opens one has to say soon what he wants, has to say it to its end, and has to take the answer:
//! else a few thousand that do not would take all places and file descriptors, and with them the way to the database.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::extract::connect_info::ConnectInfo;
use axum::middleware::map_request;
use axum::{BoxError, Extension, Router};
use http_body::{Body as _, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// How much of the process a port may take up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time. More are not taken up until one ends; the system lets some hundreds wait.
    pub(super) connections: usize,
    /// A request's head comes whole within this time, the first one of a connection and any other: so long an unused one is kept.
    pub(super) head_within: Duration,
    /// Its body comes whole within this time after the head.
    pub(super) body_within: Duration,
    /// What is handed over at once of answers (`HEAD_BYTES`, or one part where that is larger) is taken within this time.
    pub(super) taken_within: Duration,
}

/// What the listeners have.
pub(super) const LIMITS: Limits = Limits {
    connections: 1_024,
    head_within: Duration::from_secs(30),
    body_within: Duration::from_secs(30),
    // A page comes over a bad line, too.
    taken_within: Duration::from_secs(60),
};

/// After the system has refused a connection, as it does without file descriptors.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// In a head; others have far fewer.
const HEADERS: usize = 100;
/// Of a head, and what is read of a body at once.
const HEAD_BYTES: usize = 64 * 1024;

/// Answers requests until it is told to stop; then those that are under way get their answers.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let routes = routes.layer(map_request(move |request: Request| async move {
        in_time(request, limits.body_within)
    }));
    let connections = TaskTracker::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES);
    loop {
        let accepted = async {
            // Never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let stream = Taken::new(stream, limits.taken_within);
                let answering = answer(http.clone(), stream, peer, routes.clone(), stop.clone());
                connections.spawn(async move {
                    let _place = place;
                    answering.await;
                });
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not take up a connection; trying again"
                );
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn answer(
    http: http1::Builder,
    stream: Taken,
    peer: SocketAddr,
    routes: Router,
    stop: CancellationToken,
) {
    let routes = routes.layer(Extension(ConnectInfo(peer)));
    let service = TowerToHyperService::new(routes);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut is_stopping = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        // The other side has gone, or said nothing; neither is news.
        debug!(
            error = &error as &dyn std::error::Error,
            "A connection ended early"
        );
    }
}

/// The request, whose body is given up when it has not come whole within this time.
fn in_time(request: Request, within: Duration) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    request.map(|body| {
        Body::new(InTime {
            body,
            late: Box::pin(sleep(within)),
        })
    })
}

/// A body until it is late.
struct InTime {
    body: Body,
    late: Pin<Box<Sleep>>,
}

/// The body of a request did not come whole in time.
#[derive(Debug, thiserror::Error)]
#[error("it did not come whole in time")]
struct Late;

impl http_body::Body for InTime {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        ready!(self.late.as_mut().poll(cx));
        Poll::Ready(Some(Err(Late.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that ends when what is written to it is not taken in time.
///
/// The time runs from the first byte that has to wait until nothing waits any more, not from byte to byte: else whoever takes one now and
/// then would never end.
struct Taken {
    stream: TcpStream,
    within: Duration,
    /// Something waits to be taken.
    late: Option<Pin<Box<Sleep>>>,
}

impl Taken {
    fn new(stream: TcpStream, within: Duration) -> Self {
        Self {
            stream,
            within,
            late: None,
        }
    }

    /// What came of a write, unless it has to wait and has waited long enough.
    fn unless_late(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            return written;
        }
        let within = self.within;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(late.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the answer was not taken in time",
        )))
    }
}

impl AsyncRead for Taken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Taken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_late(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.unless_late(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Comes after the last of what was to be written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.late = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::{get, post};
    use futures_util::stream::unfold;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::watch;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    async fn start(routes: Router, limits: Limits) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, routes, limits, stop.clone()));
        (address, stop)
    }

    /// All that comes until the other side closes.
    async fn read(mut stream: TcpStream) -> String {
        let mut all = Vec::new();
        // A connection that is cut off says so by an error, and has said all it had to.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all))
            .await
            .expect("it ends");
        String::from_utf8_lossy(&all).into_owned()
    }

    #[tokio::test]
    async fn who_says_nothing_and_who_never_ends_is_cut_off() {
        let limits = Limits {
            connections: 8,
            head_within: Duration::from_millis(50),
            ..LIMITS
        };
        let (address, _stop) = start(Router::new().route("/", get("fine")), limits).await;
        for said in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n"] {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(said).await.expect("it is sent");
            let answer = read(stream).await;
            assert!(!answer.contains("fine"), "{answer}");
        }
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(REQUEST).await.expect("it is sent");
        assert!(read(stream).await.ends_with("fine"));
    }

    #[tokio::test]
    async fn who_announces_a_body_and_never_ends_it_is_cut_off() {
        let limits = Limits {
            connections: 2,
            body_within: Duration::from_millis(50),
            ..LIMITS
        };
        let routes = Router::new()
            .route("/", get("fine"))
            .route("/form", post(|said: String| async move { said }));
        let (address, _stop) = start(routes, limits).await;
        let mut silent = Vec::new();
        for said in [
            "content-length: 100\r\n\r\n",
            "content-length: 100\r\n\r\nname=",
            "transfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n5\r\nname=\r\n",
        ] {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let said = format!("POST /form HTTP/1.1\r\nhost: x\r\n{said}");
            stream.write_all(said.as_bytes()).await.expect("it is sent");
            silent.push(stream);
        }
        // They stay, and whoever comes after them has his place all the same.
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(REQUEST).await.expect("it is sent");
        assert!(read(stream).await.ends_with("fine"));
        for stream in silent {
            let answer = read(stream).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn who_asks_without_end_and_takes_no_answer_is_cut_off() {
        let limits = Limits {
            connections: 1,
            taken_within: Duration::from_millis(50),
            ..LIMITS
        };
        let routes = Router::new()
            .route("/", get("fine"))
            .route("/large", get(|| async { vec![b'x'; 1024 * 1024] }));
        let (address, _stop) = start(routes, limits).await;
        let mut deaf = TcpStream::connect(address).await.expect("a connection");
        let asking = async {
            let request = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1024);
            while deaf.write_all(&request).await.is_ok() {}
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .expect("it is cut off");
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(REQUEST).await.expect("it is sent");
        assert!(read(stream).await.ends_with("fine"));
    }

    #[tokio::test]
    async fn an_answer_that_has_an_end_only_much_later_is_told_to_who_takes_it() {
        const PARTS: usize = 4;
        const PART: usize = 8 * 1024 * 1024;
        let limits = Limits {
            connections: 1,
            body_within: Duration::from_secs(2),
            taken_within: Duration::from_secs(2),
            ..LIMITS
        };
        // Each part has to wait for the reader, and all of them last longer than one may.
        let parts = || async {
            Body::from_stream(unfold(0, |told| async move {
                sleep(Duration::from_millis(600)).await;
                (told < PARTS).then(|| (Ok::<_, BoxError>(vec![b'x'; PART]), told + 1))
            }))
        };
        let (address, _stop) = start(Router::new().route("/", get(parts)), limits).await;
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(REQUEST).await.expect("it is sent");
        let answer = read(stream).await;
        let bytes = answer.bytes().filter(|byte| *byte == b'x').count();
        assert_eq!(bytes, PARTS * PART);
    }

    #[tokio::test]
    async fn no_more_connections_are_taken_up_than_there_are_places_and_each_gets_its_answer() {
        let (go_on, going) = watch::channel(false);
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let entered = Arc::new(tokio::sync::Notify::new());
        let handler = {
            let (inside, most, entered) =
                (Arc::clone(&inside), Arc::clone(&most), Arc::clone(&entered));
            move || async move {
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                entered.notify_one();
                let _ = going.clone().wait_for(|go| *go).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                "fine"
            }
        };
        let limits = Limits {
            connections: 2,
            head_within: PATIENCE,
            ..LIMITS
        };
        let (address, _stop) = start(Router::new().route("/", get(handler)), limits).await;
        let mut answers = Vec::new();
        for _ in 0..12 {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(REQUEST).await.expect("it is sent");
            answers.push(tokio::spawn(read(stream)));
        }
        while inside.load(Ordering::SeqCst) < 2 {
            entered.notified().await;
        }
        go_on.send_replace(true);
        for answer in answers {
            assert!(answer.await.expect("no panic").ends_with("fine"));
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn at_the_end_what_is_under_way_gets_its_answer() {
        let (go_on, going) = watch::channel(false);
        let entered = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&entered);
        let handler = move || async move {
            told.notify_one();
            let _ = going.clone().wait_for(|go| *go).await;
            "fine"
        };
        let (address, stop) = start(Router::new().route("/", get(handler)), LIMITS).await;
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(REQUEST).await.expect("it is sent");
        entered.notified().await;
        stop.cancel();
        go_on.send_replace(true);
        assert!(read(stream).await.ends_with("fine"));
    }
}
