//! A WhatsApp of our own to practise on: for tests, benches, the demo and `wa-outbox simulate`.
//!
//! It imitates the Cloud API's `/messages` and `/marketing_messages`, providers in front of them, and the On-Premises client
//! over real HTTP: their checks, answers, limits, sessions and status webhooks, signed or bare; and everything that goes wrong
//! on the way, down to the socket, on demand. Which path is whose, `door.rs` says. What it took is in a [`Ledger`], which is the
//! witness for "not lost, not twice, in order, not too fast".
//!
//! It imports nothing from the rest of the crate: it is a second, independent reading of Meta's documentation, so a
//! misreading cannot hide by being made twice. It does not imitate media, templates' content, inbound messages, or the
//! country code that Meta puts before a number without `+`.
//!
//! ```no_run
//! use wa_outbox::simulator::{Fault, Settings, Simulator, Webhook};
//!
//! # async fn example() -> Result<(), wa_outbox::simulator::StartError> {
//! let webhook = Webhook { url: "http://127.0.0.1:8080/webhook".into(), app_secret: "practice".into() };
//! let simulator = Simulator::start(Settings { webhook: Some(webhook), ..Settings::default() }).await?;
//! simulator.fault_next("+16505551234", Fault::AcceptThenDropAnswer);
//! // … send to simulator.base_url() …
//! simulator.ledger().wait_for_accepted(1).await;
//! assert_eq!(simulator.ledger().accepted_for("+1 650 555 1234").len(), 1);
//! simulator.stop().await;
//! # Ok(())
//! # }
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

mod api;
mod arrival;
mod callback;
mod control;
mod dice;
mod door;
mod entry;
mod fault;
mod graph;
mod graph_error;
mod http;
mod ledger;
mod media;
mod message;
mod number;
mod plan;
mod posting;
mod server;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod world;

pub use entry::{Decision, Entry};
pub use fault::{Fault, UnknownFault, WebhookFault};
pub use ledger::{Counts, Ledger, LedgerSettings};
pub use media::{Upload, UploadAnswer};
pub use number::PairLimit;
pub use plan::{FaultPlan, RecipientFaults};
pub use posting::{PostCounts, PostError, Posting, Telling, Webhook};
pub use status::{Status, StatusRule, Statuses, TemplateNews, UnknownStatus};

use plan::Faults;
use server::Listening;
use status::{Delivery, Told, delivery};
use world::{World, unix_time};

/// How a simulator behaves from its start; most of it can be changed while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Accepted tokens; none means any that is not empty.
    pub tokens: Vec<String>,
    /// A header that may carry a bare token instead of `Authorization: Bearer`, as some providers want it.
    pub key_header: String,
    /// Refuse tokens that begin like Meta's own, so that nobody practises with a real one.
    pub refuse_real_tokens: bool,
    /// The `phone-number-id` meant by a path that names none.
    pub default_number: String,
    /// How long each send takes before it is answered.
    pub latency: Duration,
    /// Up to how much longer it takes, as the dice fall.
    pub jitter: Duration,
    /// Requests per second of each number; none is no limit. Meta's default is 80.
    pub rate_per_second: Option<u32>,
    /// Messages of each number to one recipient; none is no limit.
    pub pair_limit: Option<PairLimit>,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// Where status webhooks go; none is nowhere.
    pub webhook: Option<Webhook>,
    /// Which statuses an accepted message gets.
    pub statuses: Statuses,
    /// How webhooks are posted.
    pub posting: Posting,
    /// How much the ledger remembers.
    pub ledger: LedgerSettings,
    /// The On-Premises client at `/v1/`.
    pub on_premises: OnPremises,
}

/// How the On-Premises client behaves.
#[derive(Clone, Debug)]
pub struct OnPremises {
    /// `user:password` that it is logged in to with; none means any.
    pub password: Option<String>,
    /// How long the token of a login lasts. It is told in whole seconds.
    pub session_lifetime: Duration,
    /// Where its statuses go, without a signature; none is nowhere.
    pub webhook_url: Option<String>,
}

impl Default for OnPremises {
    /// Any password, sessions of seven days, no webhooks.
    fn default() -> Self {
        Self {
            password: None,
            session_lifetime: Duration::from_secs(7 * 24 * 60 * 60),
            webhook_url: None,
        }
    }
}

impl Default for Settings {
    /// Any free port, any made-up token, no limits, no faults, no webhooks.
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            tokens: Vec::new(),
            key_header: "D360-API-KEY".to_owned(),
            refuse_real_tokens: true,
            default_number: "106540352242922".to_owned(),
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            rate_per_second: None,
            pair_limit: None,
            faults: FaultPlan::default(),
            webhook: None,
            statuses: Statuses::default(),
            posting: Posting::default(),
            ledger: LedgerSettings::default(),
            on_premises: OnPremises::default(),
        }
    }
}

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not ours to take.
    #[error("the simulator could not listen on {address}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The client that posts webhooks could not be built.
    #[error("the simulator could not prepare to post webhooks")]
    Posting(#[source] reqwest::Error),
    /// A probability is none.
    #[error("the simulator was given a fault plan that cannot be: {0}")]
    Plan(String),
}

/// Why a status could not be told by hand.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The ledger has no such message.
    #[error("the ledger has no message with this id")]
    NoSuchMessage,
    /// It could not be posted.
    #[error("the status was not told")]
    Post(#[from] PostError),
}

/// A running simulator. Dropped, it stops on its own; [`Simulator::stop`] also waits for it.
#[derive(Debug)]
pub struct Simulator {
    world: Arc<World>,
    address: SocketAddr,
    listening: tokio::sync::Mutex<Option<Listening>>,
    stop: CancellationToken,
    posting: TaskTracker,
    _stops_when_dropped: DropGuard,
}

impl Simulator {
    /// Starts to listen, and to post webhooks.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let world = Arc::new(World::new(&settings)?);
        let stop = CancellationToken::new();
        let listening = Listening::start(world.clone(), settings.listen, &stop)
            .await
            .map_err(|source| StartError::Listen {
                address: settings.listen,
                source,
            })?;
        let posting = TaskTracker::new();
        posting.spawn(world.callbacks.clone().run(stop.clone(), posting.clone()));
        Ok(Self {
            world,
            address: listening.address,
            listening: tokio::sync::Mutex::new(Some(listening)),
            _stops_when_dropped: stop.clone().drop_guard(),
            stop,
            posting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to set as the API's base, without a version: `http://127.0.0.1:…`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The witness.
    pub fn ledger(&self) -> &Ledger {
        &self.world.ledger
    }

    /// All counts, as `GET /_sim/summary` gives them.
    pub fn summary(&self) -> Value {
        control::summary(&self.world)
    }

    /// The next request to this recipient meets this fault; called again, the one after it does too. A mark-as-read
    /// names no recipient: its faults are set for the empty one.
    pub fn fault_next(&self, recipient: &str, fault: Fault) {
        self.world.faults().of(recipient).next.push_back(fault);
    }

    /// Every request to this recipient meets this fault; `None` ends it.
    pub fn fault_always(&self, recipient: &str, fault: Option<Fault>) {
        self.world.faults().of(recipient).always = fault;
    }

    /// The status webhooks of the next message to this recipient meet this fault.
    pub fn webhook_fault_next(&self, recipient: &str, fault: WebhookFault) {
        self.world
            .faults()
            .of(recipient)
            .webhook_next
            .push_back(fault);
    }

    /// The status webhooks of every message to this recipient meet this fault; `None` ends it.
    pub fn webhook_fault_always(&self, recipient: &str, fault: Option<WebhookFault>) {
        self.world.faults().of(recipient).webhook_always = fault;
    }

    /// Replaces the whole plan: seed, probabilities and what is set for recipients.
    pub fn set_faults(&self, plan: FaultPlan) {
        *self.world.faults() = Faults::new(plan);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.world.faults().clear();
    }

    /// Closes the next connections before anything is read from them; on one that is open already, its next request
    /// is met so.
    pub fn close_next_connections(&self, count: u64) {
        self.world.faults().close_connections(count);
    }

    /// Closes the listener and all connections: from now on a connection is refused.
    pub async fn go_away(&self) {
        if let Some(listening) = self.listening.lock().await.take() {
            listening.stop().await;
        }
    }

    /// Listens again, at the same address.
    pub async fn come_back(&self) -> Result<(), StartError> {
        let mut listening = self.listening.lock().await;
        if listening.is_none() {
            let again = Listening::start(self.world.clone(), self.address, &self.stop).await;
            *listening = Some(again.map_err(|source| StartError::Listen {
                address: self.address,
                source,
            })?);
        }
        Ok(())
    }

    /// Requests per second of every number; `None` is no limit.
    pub fn set_rate(&self, per_second: Option<u32>) {
        self.world.mood().rate = per_second;
    }

    /// Requests per second of this number, whatever holds for the others.
    pub fn set_rate_of(&self, number: &str, per_second: Option<u32>) {
        self.world
            .mood()
            .rate_of
            .insert(number.to_owned(), per_second);
    }

    /// Messages of each number to one recipient; `None` is no limit.
    pub fn set_pair_limit(&self, limit: Option<PairLimit>) {
        self.world.mood().pair = limit;
    }

    /// How long each send takes, and up to how much longer.
    pub fn set_latency(&self, latency: Duration, jitter: Duration) {
        let mut mood = self.world.mood();
        (mood.latency, mood.jitter) = (latency, jitter);
    }

    /// Which statuses messages accepted from now on get.
    pub fn set_statuses(&self, statuses: Statuses) {
        self.world.mood().statuses = statuses;
    }

    /// Where webhooks go from now on. Messages accepted while there was nowhere to post to are not told of.
    pub fn set_webhook(&self, url: impl Into<String>, app_secret: impl Into<String>) {
        self.world.callbacks.set_receiver(Some(Webhook {
            url: url.into(),
            app_secret: app_secret.into(),
        }));
    }

    /// Where statuses of the On-Premises client's messages go from now on, without a signature.
    pub fn set_bare_webhook(&self, url: impl Into<String>) {
        self.world.callbacks.set_bare_receiver(Some(url.into()));
    }

    /// How long the tokens of the On-Premises client's logins last from now on.
    pub fn set_session_lifetime(&self, lifetime: Duration) {
        self.world.sessions().lifetime = lifetime;
    }

    /// Which `user:password` the On-Premises client lets in from now on; `None` is any.
    pub fn set_password(&self, password: Option<&str>) {
        self.world.sessions().password = password.map(str::to_owned);
    }

    /// Ends every session of the On-Premises client: what comes with its token is refused from now on.
    pub fn end_sessions(&self) {
        self.world.sessions().end_all();
    }

    /// From now on uploads are answered with 131016 (service unavailable), or taken again.
    pub fn refuse_uploads(&self, refuse: bool) {
        self.world.refuses_uploads.store(refuse, Ordering::Relaxed);
    }

    /// From now on uploads are answered like this, or as usual again.
    pub fn answer_uploads(&self, answer: Option<UploadAnswer>) {
        let mut now = (self.world.upload_answer.lock()).unwrap_or_else(PoisonError::into_inner);
        *now = answer;
    }

    /// Requests that brought a file, taken or not.
    pub fn upload_requests(&self) -> u64 {
        self.world.upload_requests.load(Ordering::Relaxed)
    }

    /// What every token may do from now on.
    pub fn set_token_scopes(&self, scopes: &[&str]) {
        self.world.grants().scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    }

    /// When every token is said to end, in seconds since 1970; 0 is never.
    pub fn set_token_expiry(&self, at_s: u64) {
        self.world.grants().expires_at_s = at_s;
    }

    /// Whether the app is said to hear of the account.
    pub fn set_subscribed(&self, is_subscribed: bool) {
        self.world.grants().is_subscribed = is_subscribed;
    }

    /// The files that were uploaded, in their order.
    pub fn uploads(&self) -> Vec<Upload> {
        self.world.uploads().clone()
    }

    /// Logins to the On-Premises client that were answered with a token.
    pub fn logins(&self) -> u64 {
        self.world.sessions().logins
    }

    /// Logins to it that were refused.
    pub fn refused_logins(&self) -> u64 {
        self.world.sessions().refused
    }

    /// Tells a status of an accepted message now, once; gives the HTTP status of the answer.
    pub async fn tell(&self, wamid: &str, status: Status) -> Result<u16, TellError> {
        let entry = self
            .world
            .ledger
            .find(wamid)
            .ok_or(TellError::NoSuchMessage)?;
        self.tell_together(&[(entry, status)]).await
    }

    /// Tells statuses of accepted messages of the ledger now, in one delivery, once; gives the HTTP status of the answer.
    pub async fn tell_together(&self, news: &[(Arc<Entry>, Status)]) -> Result<u16, TellError> {
        let told = news.iter().map(|(entry, status)| {
            let wamid = entry.wamid().ok_or(TellError::NoSuchMessage)?;
            Ok((Arc::new(Told::of_entry(entry, wamid)), *status))
        });
        let told = told.collect::<Result<Vec<_>, TellError>>()?;
        self.world.callbacks.note(&told);
        Ok(self
            .world
            .callbacks
            .post(&delivery(&told, unix_time().as_secs()))
            .await?)
    }

    /// Posts any body, signed, once; gives the HTTP status of the answer.
    pub async fn send_raw_webhook(&self, body: impl Into<String>) -> Result<u16, PostError> {
        self.world
            .callbacks
            .post(&Delivery::signed(body.into()))
            .await
    }

    /// Posts news of a template, once; gives the HTTP status of the answer.
    pub async fn tell_template(&self, news: &TemplateNews) -> Result<u16, PostError> {
        let body = news.delivery(unix_time().as_secs());
        self.world.callbacks.post(&Delivery::signed(body)).await
    }

    /// Which statuses were told, and when, in order; nothing unless [`LedgerSettings::tellings`] asks for them.
    pub fn tellings(&self) -> Vec<Telling> {
        self.world.callbacks.tellings()
    }

    /// What has become of the webhooks.
    pub fn webhooks(&self) -> PostCounts {
        self.world.callbacks.counts()
    }

    /// Waits until every status that is to come has been posted, or given up.
    pub async fn webhooks_settled(&self) {
        self.wait_for_webhooks(|counts| counts.pending == 0).await;
    }

    /// Waits until the counts of webhooks are as wanted; looks at every change, and never sleeps.
    pub async fn wait_for_webhooks(&self, wanted: impl Fn(&PostCounts) -> bool) {
        self.world.callbacks.wait_until(wanted).await;
    }

    /// Stops listening and posting, and waits until both have ended. Statuses still to come are not told.
    pub async fn stop(self) {
        self.go_away().await;
        self.stop.cancel();
        self.posting.close();
        self.posting.wait().await;
    }
}
