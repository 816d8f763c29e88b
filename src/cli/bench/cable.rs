//! A way to Postgres that can be cut.
//!
//! It carries bytes between a TCP port of this machine and the server. Cut, it carries nothing and closes nothing: both
//! ends see a silence, as they do when a cable is pulled or a firewall forgets a connection. What is a silence to one end
//! may already have been a commit to the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A proxy in front of a Postgres. Gone with this value, and its connections with it.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    database: String,
    user: String,
    cut: watch::Sender<bool>,
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
        let cut = watch::Sender::new(false);
        let carrier = tokio::spawn(carry_all(listener, far, cut.clone()));
        Ok(Self {
            address,
            database: options.get_database().unwrap_or("postgres").to_owned(),
            user: options.get_username().to_owned(),
            cut,
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
        self.cut.send_replace(true);
    }

    /// Carries again, also what was held up meanwhile.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

enum Far {
    Socket(PathBuf),
    Tcp(String, u16),
}

async fn carry_all(listener: TcpListener, far: Far, cut: watch::Sender<bool>) {
    // With the carrier everything that it carries ends.
    let mut carried = tokio::task::JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let cut = cut.subscribe();
        match &far {
            Far::Socket(path) => {
                let path = path.clone();
                carried.spawn(async move {
                    if let Ok(far) = UnixStream::connect(path).await {
                        carry(near, far, cut).await;
                    }
                });
            }
            Far::Tcp(host, port) => {
                let (host, port) = (host.clone(), *port);
                carried.spawn(async move {
                    if let Ok(far) = TcpStream::connect((host, port)).await {
                        carry(near, far, cut).await;
                    }
                });
            }
        }
        while carried.try_join_next().is_some() {}
    }
}

/// Carries both ways until one end closes.
async fn carry(near: TcpStream, far: impl AsyncRead + AsyncWrite, cut: watch::Receiver<bool>) {
    // As Postgres' own socket: a small answer must not wait for the next.
    let _ = near.set_nodelay(true);
    let ((near_out, near_in), (far_out, far_in)) = (tokio::io::split(near), tokio::io::split(far));
    tokio::select! {
        () = one_way(near_out, far_in, cut.clone()) => {}
        () = one_way(far_out, near_in, cut) => {}
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut cut: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await;
        // An end that closes is not heard of through a cut cable either.
        if cut.wait_for(|cut| !*cut).await.is_err() {
            return;
        }
        match read {
            Ok(count) if count > 0 => {
                if to.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}
