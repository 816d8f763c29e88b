//! A wire to Postgres with which a test may interfere, as networks do.
//!
//! It reads enough of the protocol (PostgreSQL, "Frontend/Backend Protocol") to know a statement by its words, and then
//! does to it what the test has set: the answer is lost although the server did it, the answer is late, or the statement
//! itself is late, long after its sender has given it up.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use wa_outbox::service::{Role, Service};
use wa_outbox::store::{ConnectSettings, Store};

use super::world::{APP_SECRET, PATIENCE, World};

/// A wire. Its connections end with it.
pub(crate) struct Wire {
    /// The database at the other end, by this wire.
    pub(crate) url: String,
    traps: Traps,
    accepting: tokio::task::JoinHandle<()>,
    _folder: TempDir,
}

/// What makes a statement the begin of attempts.
pub(crate) const BEGIN: &str = "The write-ahead intent";

/// What happens to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The server does it; its answer is lost, and the connection with it.
    AnswerLost,
    /// The server does it; its answer arrives when the test lets it go.
    AnswerLate,
    /// Its sender loses the connection; the server gets it, and does it, when the test lets it go.
    SentLateByNobody,
    /// The server gets it when the test lets it go.
    SentLate,
}

type Traps = Arc<Mutex<VecDeque<Trap>>>;

struct Trap {
    words: String,
    mishap: Mishap,
    stage: watch::Sender<Stage>,
}

/// How far a mishap has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// No such statement has come.
    Set,
    /// It is held, or its answer is.
    Reached,
    /// The test has let it go.
    LetGo,
    /// The server has done it, and its answer has gone where it goes.
    Over,
}

/// The test's end of a mishap.
pub(crate) struct Caught(watch::Sender<Stage>);

impl Caught {
    /// Waits until such a statement has come (and, where only its answer is concerned, has been done).
    pub(crate) async fn reached(&self) {
        self.until(Stage::Reached).await;
    }

    /// Waits until it is over; for a mishap that nobody lets go.
    pub(crate) async fn over(&self) {
        self.until(Stage::Over).await;
    }

    /// Lets it go and waits until the server has done it.
    pub(crate) async fn let_go(&self) {
        self.reached().await;
        self.0.send_replace(Stage::LetGo);
        self.until(Stage::Over).await;
    }

    async fn until(&self, stage: Stage) {
        let mut stages = self.0.subscribe();
        tokio::time::timeout(PATIENCE, stages.wait_for(|now| *now >= stage))
            .await
            .unwrap_or_else(|_| panic!("the statement never came to {stage:?}"))
            .expect("this is its sender");
    }
}

impl Wire {
    /// A wire to this database.
    pub(crate) fn to(database_url: &str) -> Self {
        let options = PgConnectOptions::from_str(database_url).expect("an address of Postgres");
        let server = Server::of(&options);
        let folder = TempDir::new().expect("a folder for the socket");
        let socket = folder
            .path()
            .join(format!(".s.PGSQL.{}", options.get_port()));
        let listener = UnixListener::bind(socket).expect("a socket");
        let url = options
            .socket(folder.path())
            .ssl_mode(PgSslMode::Disable)
            .to_url_lossy()
            .to_string();
        let traps = Traps::default();
        let accepting = tokio::spawn(accept(listener, server, Arc::clone(&traps)));
        Self {
            url,
            traps,
            accepting,
            _folder: folder,
        }
    }

    /// The next statement with these words meets this mishap; set again, the one after it does too.
    pub(crate) fn set(&self, words: &str, mishap: Mishap) -> Caught {
        let stage = watch::Sender::new(Stage::Set);
        self.traps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(Trap {
                words: words.to_owned(),
                mishap,
                stage: stage.clone(),
            });
        Caught(stage)
    }
}

impl World {
    /// Starts the service, on a database that it reaches by this wire only. Webhooks go to it from now on.
    pub(crate) async fn start_service_over(&mut self, wire: &Wire) {
        let settings = ConnectSettings {
            max_connections: self.config.database.max_connections,
            ..ConnectSettings::new(wire.url.clone())
        };
        let store = Store::connect(&settings).await.expect("the wire leads on");
        let roles = BTreeSet::from([Role::Worker, Role::Webhook]);
        let service = Service::start(store, &self.config, &self.env, &roles)
            .await
            .expect("the service starts");
        let webhooks = service.webhook_address.expect("it receives webhooks");
        self.simulator
            .set_webhook(format!("http://{webhooks}/webhook"), APP_SECRET);
        self.service = Some(service);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Where the wire leads.
#[derive(Clone)]
enum Server {
    Socket(std::path::PathBuf),
    Tcp(String, u16),
}

impl Server {
    fn of(options: &PgConnectOptions) -> Self {
        let (host, port) = (options.get_host(), options.get_port());
        let folder = options
            .get_socket()
            .map(|folder| folder.to_owned())
            .or_else(|| host.starts_with('/').then(|| host.into()));
        match folder {
            Some(folder) => Self::Socket(folder.join(format!(".s.PGSQL.{port}"))),
            None => Self::Tcp(host.to_owned(), port),
        }
    }
}

async fn accept(listener: UnixListener, server: Server, traps: Traps) {
    // Ends, with all its connections, when the wire is dropped.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, traps) = (server.clone(), Arc::clone(&traps));
        connections.spawn(async move {
            // Either side may hang up whenever it likes.
            let _ = match server {
                Server::Socket(path) => match UnixStream::connect(path).await {
                    Ok(stream) => carry(client, stream.into_split(), traps).await,
                    Err(error) => Err(error),
                },
                Server::Tcp(host, port) => match TcpStream::connect((host, port)).await {
                    Ok(stream) => carry(client, stream.into_split(), traps).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

/// One message of the protocol, head and all.
struct Message {
    kind: u8,
    bytes: Vec<u8>,
}

/// Both ends of one connection.
struct Carrier<C, S> {
    from_client: mpsc::Receiver<Message>,
    to_client: C,
    from_server: mpsc::Receiver<Message>,
    to_server: S,
    /// The statements that this connection has prepared.
    prepared: HashMap<Vec<u8>, String>,
    traps: Traps,
}

/// Carries one connection until one side hangs up.
async fn carry(
    client: UnixStream,
    (from_server, mut to_server): (
        impl AsyncRead + Send + Unpin + 'static,
        impl AsyncWrite + Unpin,
    ),
    traps: Traps,
) -> io::Result<()> {
    let (mut from_client, to_client) = client.into_split();
    to_server
        .write_all(&read_startup(&mut from_client).await?)
        .await?;
    let mut readers = JoinSet::new();
    let carrier = Carrier {
        from_client: messages(&mut readers, from_client),
        to_client,
        from_server: messages(&mut readers, from_server),
        to_server,
        prepared: HashMap::new(),
        traps,
    };
    carrier.run().await
}

impl<C: AsyncWrite + Unpin, S: AsyncWrite + Unpin> Carrier<C, S> {
    async fn run(mut self) -> io::Result<()> {
        let mut request = Vec::new();
        let mut trap = None;
        loop {
            tokio::select! {
                answer = self.from_server.recv() => {
                    let Some(answer) = answer else { return Ok(()) };
                    self.to_client.write_all(&answer.bytes).await?;
                }
                message = self.from_client.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    trap = trap.or_else(|| self.caught(&message));
                    request.extend_from_slice(&message.bytes);
                    // The parts of one request are kept together until the one that ends it.
                    if matches!(message.kind, b'P' | b'B' | b'D' | b'E' | b'C') {
                        continue;
                    }
                    let request = std::mem::take(&mut request);
                    match trap.take() {
                        None => self.to_server.write_all(&request).await?,
                        Some(trap) => match self.suffer(trap, &request).await? {
                            Some(carrier) => self = carrier,
                            None => return Ok(()),
                        },
                    }
                }
            }
        }
    }

    /// The trap that this message walks into. Notes what is prepared on the way.
    fn caught(&mut self, message: &Message) -> Option<Trap> {
        let body = &message.bytes[5..];
        let mut texts = body.split(|byte| *byte == 0);
        let statement = match message.kind {
            // Parse: the statement's name, its words.
            b'P' => {
                let (name, words) = (texts.next()?, texts.next()?);
                let words = String::from_utf8_lossy(words).into_owned();
                self.prepared.insert(name.to_owned(), words);
                return None;
            }
            // Bind: the portal, the statement's name.
            b'B' => self.prepared.get(texts.nth(1)?)?.clone(),
            // A simple query: its words.
            b'Q' => String::from_utf8_lossy(texts.next()?).into_owned(),
            _ => return None,
        };
        let mut traps = self.traps.lock().unwrap_or_else(PoisonError::into_inner);
        let place = traps
            .iter()
            .position(|trap| statement.contains(&trap.words))?;
        traps.remove(place)
    }

    /// What happens to the request. `None`: its connection is lost.
    async fn suffer(mut self, trap: Trap, request: &[u8]) -> io::Result<Option<Self>> {
        match trap.mishap {
            Mishap::AnswerLost => {
                self.to_server.write_all(request).await?;
                self.answer().await;
                drop(self);
                trap.stage.send_replace(Stage::Over);
                Ok(None)
            }
            Mishap::AnswerLate => {
                self.to_server.write_all(request).await?;
                let answer = self.answer().await;
                trap.held().await;
                self.to_client.write_all(&answer).await?;
                trap.stage.send_replace(Stage::Over);
                Ok(Some(self))
            }
            Mishap::SentLate => {
                trap.held().await;
                self.to_server.write_all(request).await?;
                let answer = self.answer().await;
                self.to_client.write_all(&answer).await?;
                trap.stage.send_replace(Stage::Over);
                Ok(Some(self))
            }
            Mishap::SentLateByNobody => {
                self.to_client.shutdown().await?;
                self.from_client.close();
                trap.held().await;
                self.to_server.write_all(request).await?;
                self.answer().await;
                trap.stage.send_replace(Stage::Over);
                Ok(None)
            }
        }
    }

    /// Everything that the server says to one request, up to `ReadyForQuery`.
    async fn answer(&mut self) -> Vec<u8> {
        let mut answer = Vec::new();
        while let Some(message) = self.from_server.recv().await {
            answer.extend_from_slice(&message.bytes);
            if message.kind == b'Z' {
                break;
            }
        }
        answer
    }
}

impl Trap {
    /// Waits until the test lets it go.
    async fn held(&self) {
        self.stage.send_replace(Stage::Reached);
        let mut stages = self.stage.subscribe();
        // A test that has forgotten it has ended.
        let _ = stages.wait_for(|now| *now >= Stage::LetGo).await;
    }
}

/// Reads messages as they come; apart from everything else, because half a message read must not be forgotten.
fn messages(
    readers: &mut JoinSet<()>,
    mut from: impl AsyncRead + Send + Unpin + 'static,
) -> mpsc::Receiver<Message> {
    let (sender, messages) = mpsc::channel(64);
    readers.spawn(async move {
        while let Ok(message) = read_message(&mut from).await {
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    messages
}

async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    let mut bytes = vec![0; 5];
    from.read_exact(&mut bytes).await?;
    // The length counts itself and not the kind.
    let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
    bytes.resize(length + 1, 0);
    from.read_exact(&mut bytes[5..]).await?;
    Ok(Message {
        kind: bytes[0],
        bytes,
    })
}

/// The first message has no kind.
async fn read_startup(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes).await?;
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    bytes.resize(length, 0);
    from.read_exact(&mut bytes[4..]).await?;
    Ok(bytes)
}
