//! Posts the status webhooks: signed, batched, again and again until they are answered with 200.
//!
//! The statuses of one message are posted one after the other: the next comes its delay after the first try to
//! post the one before. So they arrive in order unless a fault asks for disorder, or the receiver fails: what it did
//! not take is posted again later, and is overtaken by then, as in life.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::status::{Delivery, Status, Step, Style, Told, delivery};
use super::world::unix_time;

/// Where webhooks go.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The receiver's address.
    pub url: String,
    /// What they are signed with.
    pub app_secret: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// How webhooks are posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Most statuses in one delivery; Meta sends up to 1,000.
    pub batch: usize,
    /// Most deliveries under way at once.
    pub concurrent: usize,
    /// How long one may take to be answered.
    pub timeout: Duration,
    /// How often one is tried before it is given up; Meta goes on for seven days.
    pub tries: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Posting {
    fn default() -> Self {
        Self {
            batch: 100,
            concurrent: 16,
            timeout: Duration::from_secs(10),
            tries: 20,
            pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// What has become of the webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PostCounts {
    /// Deliveries answered with 200.
    pub answered: u64,
    /// Tries that were not.
    pub failed_tries: u64,
    /// Deliveries given up.
    pub given_up: u64,
    /// Messages that still have statuses to come, and deliveries to be tried again.
    pub pending: u64,
}

impl PostCounts {
    pub(super) fn to_json(self) -> Value {
        json!({
            "answered": self.answered,
            "failed_tries": self.failed_tries,
            "given_up": self.given_up,
            "pending": self.pending,
        })
    }
}

/// A status was told: from this moment its receiver may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Of this message.
    pub wamid: String,
    /// What was told.
    pub status: Status,
    /// When its first post began, on the ledger's clock.
    pub at: Duration,
}

/// Why a webhook could not be posted.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// There is nowhere to post to.
    #[error("no webhook address is set")]
    NoReceiver,
    /// The receiver did not answer.
    #[error("could not post the webhook")]
    NoAnswer(#[source] reqwest::Error),
}

/// News of a message that are not told yet. They are told from when this is dropped: so they are, the first one its
/// delay later, whatever ends the connection of the message's sender.
#[derive(Debug)]
pub(super) struct News {
    callbacks: Callbacks,
    chain: Chain,
    early: bool,
}

impl News {
    /// If these are early news, tells the first status now and waits until it is answered.
    pub(super) async fn tell_early(&mut self) {
        let first = self.early.then(|| self.chain.first()).flatten();
        let Some(first) = first else { return };
        self.chain.steps.pop_front();
        let news = [first];
        self.callbacks.note(&news);
        let delivery = delivery(&news, unix_time().as_secs());
        if !self.callbacks.post_once(&delivery).await {
            self.callbacks.try_later(delivery);
        }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        let chain = Chain {
            told: self.chain.told.clone(),
            steps: std::mem::take(&mut self.chain.steps),
        };
        self.callbacks.queue(chain);
    }
}

/// The statuses of one message that are still to come.
#[derive(Debug)]
struct Chain {
    told: Arc<Told>,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
enum Errand {
    /// Tell the first step of a chain.
    Tell(Chain),
    /// Post a body again that was not answered with 200.
    Again { delivery: Delivery, tries: u32 },
}

#[derive(Debug)]
struct Due {
    at: Instant,
    order: u64,
    errand: Errand,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What can be posted at once.
enum Load {
    News(Vec<Chain>),
    Again { delivery: Delivery, tries: u32 },
}

/// Posts webhooks in the background; clones are the same poster.
#[derive(Clone, Debug)]
pub(super) struct Callbacks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    receivers: Mutex<Receivers>,
    posting: Posting,
    plain: reqwest::Client,
    /// Made when it is first needed: to read the machine's certificates takes longer than to start all the rest.
    secure: OnceLock<reqwest::Client>,
    agenda: Mutex<Agenda>,
    more: Notify,
    free: Arc<Semaphore>,
    counts: watch::Sender<PostCounts>,
    started: Instant,
    /// Kept only when asked for.
    tellings: Option<Mutex<Vec<Telling>>>,
}

/// Where deliveries go, by their style.
#[derive(Debug)]
struct Receivers {
    signed: Option<Webhook>,
    bare: Option<String>,
}

#[derive(Debug, Default)]
struct Agenda {
    due: BinaryHeap<Reverse<Due>>,
    entered: u64,
}

impl Callbacks {
    pub(super) fn new(
        signed: Option<Webhook>,
        bare: Option<String>,
        posting: Posting,
        started: Instant,
        keep_tellings: bool,
    ) -> Result<Self, reqwest::Error> {
        let plain = client(posting).tls_certs_only([]).build()?;
        let inner = Inner {
            receivers: Mutex::new(Receivers { signed, bare }),
            posting,
            plain,
            secure: OnceLock::new(),
            agenda: Mutex::default(),
            more: Notify::new(),
            free: Arc::new(Semaphore::new(posting.concurrent.max(1))),
            counts: watch::Sender::default(),
            started,
            tellings: keep_tellings.then(Mutex::default),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub(super) fn set_receiver(&self, receiver: Option<Webhook>) {
        self.receivers().signed = receiver;
    }

    pub(super) fn set_bare_receiver(&self, url: Option<String>) {
        self.receivers().bare = url;
    }

    pub(super) fn has_receiver(&self, style: Style) -> bool {
        let receivers = self.receivers();
        match style {
            Style::Meta => receivers.signed.is_some(),
            Style::Bare => receivers.bare.is_some(),
        }
    }

    pub(super) fn counts(&self) -> PostCounts {
        *self.inner.counts.borrow()
    }

    /// Waits until the counts are as wanted.
    pub(super) async fn wait_until(&self, wanted: impl Fn(&PostCounts) -> bool) {
        let mut counts = self.inner.counts.subscribe();
        // The sender lives in `self`, so the wait cannot be cut off.
        let _ = counts.wait_for(wanted).await;
    }

    /// News of a message to come; counted as pending from now on.
    pub(super) fn news(&self, told: Arc<Told>, steps: Vec<Step>, early: bool) -> News {
        self.inner.counts.send_modify(|counts| counts.pending += 1);
        News {
            callbacks: self.clone(),
            chain: Chain {
                told,
                steps: steps.into(),
            },
            early,
        }
    }

    /// What has been told, in the order in which it was posted; nothing where it is not kept.
    pub(super) fn tellings(&self) -> Vec<Telling> {
        let kept = self.inner.tellings.as_ref().map(kept);
        kept.map_or_else(Vec::new, |tellings| tellings.clone())
    }

    /// A delivery with these is about to be posted.
    pub(super) fn note(&self, news: &[(Arc<Told>, Status)]) {
        let Some(tellings) = &self.inner.tellings else {
            return;
        };
        let at = self.inner.started.elapsed();
        kept(tellings).extend(news.iter().map(|(told, status)| Telling {
            wamid: told.wamid.clone(),
            status: *status,
            at,
        }));
    }

    /// Posts this now, once, and gives the HTTP status of the answer.
    pub(super) async fn post(&self, delivery: &Delivery) -> Result<u16, PostError> {
        let body = &delivery.body;
        let (url, signature) = match delivery.style {
            Style::Meta => {
                let receiver = self.receivers().signed.clone();
                let receiver = receiver.ok_or(PostError::NoReceiver)?;
                let signature = signature(&receiver.app_secret, body.as_bytes());
                (receiver.url, Some(signature))
            }
            Style::Bare => {
                let url = self.receivers().bare.clone();
                (url.ok_or(PostError::NoReceiver)?, None)
            }
        };
        let mut post = self
            .client_for(&url)?
            .post(&url)
            .header("Content-Type", "application/json");
        if let Some(signature) = signature {
            post = post.header("X-Hub-Signature-256", signature);
        }
        let answer = post.body(body.clone()).send().await;
        let answer = answer.map_err(PostError::NoAnswer)?;
        let status = answer.status().as_u16();
        // Read to the end, so that the connection can be used again; what it says does not matter.
        let _ = answer.bytes().await;
        Ok(status)
    }

    fn client_for(&self, url: &str) -> Result<reqwest::Client, PostError> {
        if !url.starts_with("https:") {
            return Ok(self.inner.plain.clone());
        }
        if let Some(secure) = self.inner.secure.get() {
            return Ok(secure.clone());
        }
        let secure = client(self.inner.posting)
            .build()
            .map_err(PostError::NoAnswer)?;
        Ok(self.inner.secure.get_or_init(|| secure).clone())
    }

    /// Posts what is due until told to stop.
    pub(super) async fn run(self, stop: CancellationToken, tasks: TaskTracker) {
        loop {
            if !self.is_due() {
                let next = self.agenda().due.peek().map(|due| due.0.at);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.inner.more.notified() => {}
                    () = sleep_until(next) => {}
                }
                continue;
            }
            // First a place, then the load: what falls due while we wait for the place goes with it.
            let free = tokio::select! {
                () = stop.cancelled() => return,
                free = self.inner.free.clone().acquire_owned() => free,
            };
            let Some(load) = self.take_due() else {
                continue;
            };
            let (callbacks, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                let _free = free;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = callbacks.deliver(load) => {}
                }
            });
        }
    }

    async fn deliver(&self, load: Load) {
        match load {
            Load::News(chains) => {
                let news: Vec<_> = chains.iter().filter_map(Chain::first).collect();
                self.note(&news);
                let delivery = delivery(&news, unix_time().as_secs());
                if !self.post_once(&delivery).await {
                    self.try_later(delivery);
                }
                self.go_on(chains);
            }
            Load::Again { delivery, tries } => {
                if self.post_once(&delivery).await {
                    self.inner.counts.send_modify(|counts| counts.pending -= 1);
                } else {
                    self.try_again(delivery, tries + 1);
                }
            }
        }
    }

    async fn post_once(&self, delivery: &Delivery) -> bool {
        // Only 200 acknowledges (Meta, Create a webhook endpoint).
        let answered = matches!(self.post(delivery).await, Ok(200));
        self.inner.counts.send_modify(|counts| match answered {
            true => counts.answered += 1,
            false => counts.failed_tries += 1,
        });
        answered
    }

    fn try_later(&self, delivery: Delivery) {
        self.inner.counts.send_modify(|counts| counts.pending += 1);
        self.try_again(delivery, 1);
    }

    fn try_again(&self, delivery: Delivery, tries: u32) {
        let Posting {
            pause,
            longest_pause,
            tries: most,
            ..
        } = self.inner.posting;
        if tries >= most {
            self.inner.counts.send_modify(|counts| {
                counts.given_up += 1;
                counts.pending -= 1;
            });
            return;
        }
        let pause = pause
            .saturating_mul(1 << (tries - 1).min(16))
            .min(longest_pause);
        self.put(pause, Errand::Again { delivery, tries });
    }

    fn go_on(&self, chains: Vec<Chain>) {
        for mut chain in chains {
            chain.steps.pop_front();
            self.queue(chain);
        }
    }

    fn queue(&self, chain: Chain) {
        match chain.steps.front() {
            Some(next) => self.put(next.delay, Errand::Tell(chain)),
            None => self.inner.counts.send_modify(|counts| counts.pending -= 1),
        }
    }

    fn put(&self, delay: Duration, errand: Errand) {
        let mut agenda = self.agenda();
        agenda.entered += 1;
        let order = agenda.entered;
        agenda.due.push(Reverse(Due {
            at: Instant::now() + delay,
            order,
            errand,
        }));
        drop(agenda);
        self.inner.more.notify_one();
    }

    fn is_due(&self) -> bool {
        self.agenda()
            .due
            .peek()
            .is_some_and(|due| due.0.at <= Instant::now())
    }

    /// Takes what is due: as many news of one style as fit one delivery, or one that is to be posted again.
    fn take_due(&self) -> Option<Load> {
        let now = Instant::now();
        let mut agenda = self.agenda();
        let mut chains: Vec<Chain> = Vec::new();
        while chains.len() < self.inner.posting.batch.max(1) {
            if agenda.due.peek().is_none_or(|due| due.0.at > now) {
                break;
            }
            let Some(Reverse(due)) = agenda.due.pop() else {
                break;
            };
            let style = chains.first().map(|chain| chain.told.style);
            match due.errand {
                Errand::Tell(chain) if style.is_none_or(|style| style == chain.told.style) => {
                    chains.push(chain);
                }
                Errand::Again { delivery, tries } if chains.is_empty() => {
                    return Some(Load::Again { delivery, tries });
                }
                errand @ (Errand::Tell(_) | Errand::Again { .. }) => {
                    agenda.due.push(Reverse(Due { errand, ..due }));
                    break;
                }
            }
        }
        (!chains.is_empty()).then_some(Load::News(chains))
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.inner
            .agenda
            .lock()
            .expect("nobody panics with the agenda open")
    }

    fn receivers(&self) -> MutexGuard<'_, Receivers> {
        self.inner
            .receivers
            .lock()
            .expect("nobody panics with the receivers open")
    }
}

impl Chain {
    fn first(&self) -> Option<(Arc<Told>, Status)> {
        self.steps
            .front()
            .map(|step| (self.told.clone(), step.status))
    }
}

fn kept(tellings: &Mutex<Vec<Telling>>) -> MutexGuard<'_, Vec<Telling>> {
    tellings
        .lock()
        .expect("nobody panics with the tellings open")
}

fn client(posting: Posting) -> reqwest::ClientBuilder {
    // Neither a proxy from the environment nor a redirect may lead a signed body elsewhere.
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    builder.timeout(posting.timeout)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// `X-Hub-Signature-256` of a body.
fn signature(app_secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.as_bytes());
    format!(
        "sha256={}",
        HEXLOWER.encode(hmac::sign(&key, body).as_ref())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_published_one() {
        // RFC 4231, test case 2.
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", b"what do ya want for nothing?"), expected);
    }
}
