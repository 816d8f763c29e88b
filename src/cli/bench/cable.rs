//! A way to Postgres that can be cut, whole or strand by strand, and lengthened.
//!
//! It carries bytes between a TCP port of this machine and the server. Cut, it carries nothing and closes nothing: both
//! ends see a silence, as they do when a cable is pulled or a firewall forgets a connection. What is a silence to one end
//! may already have been a commit to the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// What is carried. Connections are numbered as they come.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    cut: bool,
    /// Nothing of those with a lower number.
    silent_below: u64,
    next: u64,
    /// So long everything is on its way, in each direction.
    one_way: Duration,
}

impl State {
    fn carries(self, number: u64) -> bool {
        !self.cut && number >= self.silent_below
    }
}

/// A proxy in front of a Postgres. Gone with this value, and its connections with it.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    database: String,
    user: String,
    state: watch::Sender<State>,
    _carrier: AbortOnDropHandle<()>,
}

impl Cable {
    /// A cable to the server of this URL, which must need no password.
    ///
    /// # Errors
    /// When the URL is none, or no port can be listened on.
    pub async fn to(url: &str) -> anyhow::Result<Self> {
        let options = PgConnectOptions::from_str(url)?;
        let far = match options.get_socket() {
            Some(folder) => Far::Socket(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => Far::Tcp(options.get_host().to_owned(), options.get_port()),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = watch::Sender::default();
        let carrier = tokio::spawn(carry_all(listener, far, state.clone()));
        Ok(Self {
            address,
            database: options.get_database().unwrap_or("postgres").to_owned(),
            user: options.get_username().to_owned(),
            state,
            _carrier: AbortOnDropHandle::new(carrier),
        })
    }

    /// The database's address, by this cable.
    pub fn url(&self) -> String {
        let Self {
            user,
            address,
            database,
            ..
        } = self;
        format!("postgresql://{user}@{address}/{database}?sslmode=disable")
    }

    /// From now on nothing is carried. Connections stay open, and can even be made.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut = true);
    }

    /// From now on nothing of the connections that there are is carried, as when a firewall has forgotten them. Others can be
    /// made, and work.
    pub fn forget_connections(&self) {
        self.state
            .send_modify(|state| state.silent_below = state.next);
    }

    /// From now on everything takes so long there and back.
    pub fn lengthen(&self, there_and_back: Duration) {
        self.state
            .send_modify(|state| state.one_way = there_and_back / 2);
    }

    /// Carries again, also what was held up meanwhile.
    pub fn mend(&self) {
        self.state.send_modify(|state| {
            state.cut = false;
            state.silent_below = 0;
        });
    }
}

/// One connection.
#[derive(Clone)]
struct Strand {
    number: u64,
    state: watch::Receiver<State>,
}

impl Strand {
    async fn until_carried(&mut self) -> Result<(), watch::error::RecvError> {
        let number = self.number;
        let carried = self.state.wait_for(|state| state.carries(number)).await;
        carried.map(drop)
    }
}

enum Far {
    Socket(PathBuf),
    Tcp(String, u16),
}

async fn carry_all(listener: TcpListener, far: Far, state: watch::Sender<State>) {
    // With the carrier everything that it carries ends.
    let mut carried = tokio::task::JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let mut number = 0;
        state.send_modify(|state| {
            number = state.next;
            state.next += 1;
        });
        let strand = Strand {
            number,
            state: state.subscribe(),
        };
        match &far {
            Far::Socket(path) => {
                let path = path.clone();
                carried.spawn(async move {
                    if let Ok(far) = UnixStream::connect(path).await {
                        carry(near, far, strand).await;
                    }
                });
            }
            Far::Tcp(host, port) => {
                let (host, port) = (host.clone(), *port);
                carried.spawn(async move {
                    if let Ok(far) = TcpStream::connect((host, port)).await {
                        carry(near, far, strand).await;
                    }
                });
            }
        }
        while carried.try_join_next().is_some() {}
    }
}

/// Carries both ways until one end closes.
async fn carry(near: TcpStream, far: impl AsyncRead + AsyncWrite, strand: Strand) {
    // As Postgres' own socket: a small answer must not wait for the next.
    let _ = near.set_nodelay(true);
    let ((near_out, near_in), (far_out, far_in)) = (tokio::io::split(near), tokio::io::split(far));
    tokio::select! {
        () = one_way(near_out, far_in, strand.clone()) => {}
        () = one_way(far_out, near_in, strand) => {}
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut strand: Strand,
) {
    // Much may be under way at once.
    let (sent, mut arriving) = mpsc::unbounded_channel();
    let send = async move {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let read = from.read(&mut bytes).await;
            // An end that closes is not heard of through a cut cable either.
            if strand.until_carried().await.is_err() {
                return;
            }
            let arrives_at = Instant::now() + strand.state.borrow().one_way;
            match read {
                Ok(count) if count > 0 => {
                    if sent.send((arrives_at, bytes[..count].to_vec())).is_err() {
                        return;
                    }
                }
                Ok(_) | Err(_) => return,
            }
        }
    };
    let arrive = async move {
        while let Some((at, bytes)) = arriving.recv().await {
            if at > Instant::now() {
                tokio::time::sleep_until(at).await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(send, arrive);
}
