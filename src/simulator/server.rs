//! The listener and its connections.
//!
//! Each connection is read request by request; the answer is given in the manner that was decided, down to none at
//! all. What was decided stands whatever becomes of the connection: news of an accepted message are told although
//! its sender is long gone.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::{self, Answer, Manner};
use super::control;
use super::door;
use super::graph;
use super::graph_error::GraphError;
use super::http::{Connection, Request, Response, Unread};
use super::media;
use super::session;
use super::world::World;

/// An open listener; dropping it stops nothing, [`Listening::stop`] does.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Listening {
    pub(super) async fn start(
        world: Arc<World>,
        address: SocketAddr,
        parent: &CancellationToken,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let listening = Self {
            address: listener.local_addr()?,
            stop: parent.child_token(),
            tasks: TaskTracker::new(),
        };
        let (stop, tasks) = (listening.stop.clone(), listening.tasks.clone());
        listening.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = accept(listener, world, stop.clone(), tasks) => {}
            }
        });
        Ok(listening)
    }

    /// Closes the listener and every connection, and waits until they are closed.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    world: Arc<World>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, mostly: give the connections a moment to end.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let (world, stop) = (world.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve(stream, &world) => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, world: &Arc<World>) {
    if world.closes_before_reading() {
        return;
    }
    let mut connection = Connection::new(stream);
    let mut is_first = true;
    loop {
        if connection.wait_unread().await.is_err() {
            return;
        }
        // The first request had its dice when the connection came in.
        if !is_first && world.closes_before_reading() {
            return connection.reset();
        }
        is_first = false;
        let request = match connection.read(&world.key_header).await {
            Ok(request) => request,
            Err(Unread::Gone) => return,
            Err(Unread::Malformed(status)) => {
                // Whether the refusal arrives makes no difference: the connection ends either way.
                let _ = connection
                    .write(&Response::html(status, "not understood\n"), true)
                    .await;
                return connection.close().await;
            }
        };
        let answer = route(world, &request).await;
        match deliver(connection, answer, request.wants_close).await {
            Some(open) => connection = open,
            None => return,
        }
    }
}

async fn route(world: &Arc<World>, request: &Request) -> Answer {
    let path = request.path.as_str();
    if path.starts_with("/_sim/") {
        return control::answer(world, request).into();
    }
    if door::sends(request) {
        let answer = api::send(world, request);
        world.think().await;
        return answer;
    }
    match (request.method.as_str(), path) {
        ("POST", "/v1/users/login") => session::login(world, request).into(),
        ("GET", "/v1/health") => session::health(world, request).into(),
        ("POST", path) if media::takes_files(path) => media::upload(world, request).into(),
        _ if door::is_door(path) => GraphError::of_code(100)
            .with_details("Unsupported request.")
            .response(0)
            .into(),
        (method, _) => {
            let known = (method == "GET")
                .then(|| session::number(world, request).or_else(|| graph::answer(world, request)));
            let unknown = || GraphError::of_code(803).response(0);
            known.flatten().unwrap_or_else(unknown).into()
        }
    }
}

/// Gives an answer in its manner; the connection comes back if it goes on.
async fn deliver(
    mut connection: Connection,
    Answer { manner, mut news }: Answer,
    wants_close: bool,
) -> Option<Connection> {
    if let Some(news) = &mut news {
        news.tell_early().await;
    }
    // Whether an answer arrives is the sender's concern: what was decided stands, and the news follow.
    let written = match &manner {
        Manner::Whole(response) => connection.write(response, wants_close).await,
        Manner::Last(response) => connection.write(response, true).await,
        Manner::LastUnannounced(response) => connection.write(response, false).await,
        Manner::Half(response) => connection.write_half(response).await,
        Manner::Close | Manner::Reset | Manner::Hang => Ok(()),
    };
    drop(news);
    match manner {
        Manner::Whole(_) if written.is_ok() && !wants_close => return Some(connection),
        Manner::Whole(_)
        | Manner::Last(_)
        | Manner::LastUnannounced(_)
        | Manner::Half(_)
        | Manner::Close => {
            connection.close().await;
        }
        Manner::Reset => connection.reset(),
        Manner::Hang => connection.hang().await,
    }
    None
}
