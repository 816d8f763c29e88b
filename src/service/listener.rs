//! A port that is listened on, and how much of the process those may take up who reach it.
//!
//! Connections are counted, and whoever opens one has to say soon what he wants: else a few thousand that say nothing would take all
//! file descriptors, and with them the way to the database.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
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
}

/// What the listeners have.
pub(super) const LIMITS: Limits = Limits {
    connections: 1_024,
    head_within: Duration::from_secs(30),
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
    stream: TcpStream,
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
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
