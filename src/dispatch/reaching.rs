//! Finds out how the providers of senders are reached, and lets none of them hold up the others.
//!
//! A credential may be in a file, and a file on a disk that has gone away: whoever reads it stands still. So files are read by threads
//! beside the runtime, all are waited for no longer than a moment, and none that stands still is asked a second time. Until its file
//! answers, a sender is worked as it was before, and one that is new cannot be worked; the others go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use secrecy::ExposeSecret;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Instant, timeout_at};

use super::ownership::Held;
use crate::domain::hold::{Fingerprint, FingerprintKey};
use crate::provider::{AddressError, Endpoint};
use crate::store::lease::HeldSender;

/// Threads that read at once: enough that a few slow files delay nobody, few for a machine with hundreds of senders.
const AT_ONCE: usize = 16;
/// Files that a thread reads: to start one takes as long as to read some of them, and each second all are read.
const A_THREAD: usize = 32;

/// How a sender's provider is reached.
#[derive(Clone, Default)]
pub(super) struct Reach {
    pub(super) endpoint: Option<Arc<Endpoint>>,
    pub(super) fingerprint: Option<Arc<Fingerprint>>,
    /// Why it is not.
    pub(super) problem: Option<String>,
}

impl Reach {
    fn not(problem: String) -> Self {
        Self {
            problem: Some(problem),
            ..Self::default()
        }
    }

    /// As it was until now, where nothing of the settings has changed.
    fn known_of(before: &Held, now: &HeldSender) -> Option<Self> {
        let is_same = before.held.sender.address() == now.sender.address();
        let endpoint = before.endpoint.as_ref().filter(|_| is_same)?;
        Some(Self {
            endpoint: Some(Arc::clone(endpoint)),
            fingerprint: before.fingerprint.clone(),
            problem: None,
        })
    }
}

/// What reading a sender's settings came to.
enum Found {
    /// All is as it was: so it mostly is, and there may be hundreds of senders.
    Unchanged,
    /// The file has not answered yet, or nobody has had the time to ask it.
    Waits(Option<Answer>),
    Anew(Box<Result<Endpoint, AddressError>>),
}

/// What a thread will say.
type Answer = oneshot::Receiver<Found>;

/// A sender and the places that its credential and its certificates are read from.
type Asked = (String, String, Option<String>);

fn asked_of(held: &HeldSender) -> Asked {
    let address = held.sender.address();
    let (credential, ca_file) = (address.credential, address.ca_file);
    (
        held.sender.sender.clone(),
        credential.to_owned(),
        ca_file.map(str::to_owned),
    )
}

/// A sender to look at.
struct Question {
    held: Arc<HeldSender>,
    known: Option<Arc<Endpoint>>,
}

impl Question {
    /// Reads here and now; blocks where a file is named.
    fn read(self) -> Found {
        let address = self.held.sender.address();
        if self.known.is_some_and(|known| known.is_current(&address)) {
            return Found::Unchanged;
        }
        let read = Endpoint::of(&self.held.sender.id(), &address);
        Found::Anew(Box::new(read))
    }
}

/// Does work beside the runtime, one after the other, and waits for it until then. Where one stands still, those behind it are left.
async fn on_a_thread<W>(until: Instant, work: Vec<W>) -> Vec<Found>
where
    W: FnOnce() -> Found + Send + 'static,
{
    let (tells, answers): (Vec<_>, Vec<_>) = work.iter().map(|_| oneshot::channel()).unzip();
    let over = Arc::new(AtomicBool::new(Instant::now() >= until));
    let is_over = Arc::clone(&over);
    // Not a thread of the runtime's: the end of the process would wait for it.
    let started = std::thread::Builder::new().spawn(move || {
        for (one, tell) in work.into_iter().zip(tells) {
            if is_over.load(Ordering::Acquire) {
                return;
            }
            let _ = tell.send(one());
        }
    });
    let mut found = Vec::with_capacity(answers.len());
    for mut answer in answers {
        if started.is_err() || over.load(Ordering::Acquire) {
            found.push(Found::Waits(None));
            continue;
        }
        found.push(match timeout_at(until, &mut answer).await {
            Ok(Ok(found)) => found,
            // It panicked: the next look asks again.
            Ok(Err(_)) => Found::Waits(None),
            Err(_) => {
                over.store(true, Ordering::Release);
                Found::Waits(Some(answer))
            }
        });
    }
    found
}

/// Knows how senders are reached, and whose files have not answered.
pub(super) struct Reaching {
    fingerprints: FingerprintKey,
    within: Duration,
    /// Once its settings name other places, a sender is asked there.
    late: HashMap<Asked, Answer>,
}

impl Reaching {
    /// One look takes so long at most.
    pub(super) fn new(fingerprints: FingerprintKey, within: Duration) -> Self {
        Self {
            fingerprints,
            within,
            late: HashMap::new(),
        }
    }

    /// How each of `senders` is reached now, in their order. `before`: as they were worked until now.
    pub(super) async fn look(
        &mut self,
        senders: &[Arc<HeldSender>],
        before: &HashMap<&str, &Held>,
    ) -> Vec<Reach> {
        self.late
            .retain(|_, answer| matches!(answer.try_recv(), Err(TryRecvError::Empty)));
        let known: Vec<_> = (senders.iter())
            .map(|now| Reach::known_of(before.get(now.sender.sender.as_str())?, now))
            .collect();
        let found = self.ask(senders, &known).await;
        let all = senders.iter().zip(known).zip(found);
        all.map(|((held, known), found)| self.reach(held, known, found))
            .collect()
    }

    async fn ask(&self, senders: &[Arc<HeldSender>], known: &[Option<Reach>]) -> Vec<Found> {
        let until = Instant::now() + self.within;
        let mut all: Vec<Found> = senders.iter().map(|_| Found::Waits(None)).collect();
        let (mut places, mut in_files) = (Vec::new(), Vec::new());
        for (place, (held, known)) in senders.iter().zip(known).enumerate() {
            if self.late.contains_key(&asked_of(held)) {
                continue;
            }
            let question = Question {
                held: Arc::clone(held),
                known: known.as_ref().and_then(|known| known.endpoint.clone()),
            };
            if held.sender.address().name_a_file() {
                places.push(place);
                in_files.push(move || question.read());
            } else {
                all[place] = question.read();
            }
        }
        let mut in_files = in_files.into_iter().peekable();
        let mut threads = Vec::new();
        while in_files.peek().is_some() {
            threads.push(on_a_thread(
                until,
                in_files.by_ref().take(A_THREAD).collect(),
            ));
        }
        let found: Vec<Vec<Found>> = stream::iter(threads).buffered(AT_ONCE).collect().await;
        for (place, found) in places.into_iter().zip(found.into_iter().flatten()) {
            all[place] = found;
        }
        all
    }

    fn reach(&mut self, held: &HeldSender, known: Option<Reach>, found: Found) -> Reach {
        match found {
            Found::Unchanged => known.unwrap_or_default(),
            Found::Waits(answer) => {
                self.late
                    .extend(answer.map(|answer| (asked_of(held), answer)));
                known.unwrap_or_else(|| Reach::not(held.sender.address().no_answer()))
            }
            Found::Anew(read) => match *read {
                Ok(endpoint) => {
                    let credential = endpoint.credential().expose_secret();
                    Reach {
                        fingerprint: Some(Arc::new(self.fingerprints.fingerprint(credential))),
                        endpoint: Some(Arc::new(endpoint)),
                        problem: None,
                    }
                }
                Err(error) => Reach::not(error.in_words()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::desk;

    #[tokio::test]
    async fn a_file_that_does_not_answer_is_waited_for_no_longer_than_agreed_nor_are_those_behind_it()
     {
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let answers = || Box::new(|| Found::Unchanged) as Box<dyn FnOnce() -> Found + Send>;
        let stands_still = Box::new(move || {
            gate.recv().expect("is opened");
            Found::Unchanged
        });
        let until = Instant::now() + Duration::from_millis(200);
        let mut found = on_a_thread(until, vec![answers(), stands_still, answers()]).await;
        assert!(matches!(found.pop(), Some(Found::Waits(None))));
        let Some(Found::Waits(Some(answer))) = found.pop() else {
            panic!("it has not answered");
        };
        assert!(matches!(found.pop(), Some(Found::Unchanged)));

        open.send(()).expect("it still reads");
        assert!(matches!(answer.await, Ok(Found::Unchanged)));
    }

    #[tokio::test]
    async fn when_the_time_is_over_nothing_is_read() {
        let (reads, read) = std::sync::mpsc::channel();
        let ask = move || {
            reads.send(()).expect("somebody listens");
            Found::Unchanged
        };
        let found = on_a_thread(Instant::now(), vec![ask]).await;
        assert!(matches!(found.as_slice(), [Found::Waits(None)]));
        // The thread has let go of it.
        assert!(read.recv().is_err());
    }

    #[tokio::test]
    async fn a_sender_whose_file_has_not_answered_is_asked_where_it_is_read_from_instead() {
        let mut held = Arc::clone(&desk::tests::held().held);
        let fingerprints = FingerprintKey::from_bytes(&[7; 32]);
        let mut reaching = Reaching::new(fingerprints, Duration::from_secs(60));
        let (_stands_still, answer) = oneshot::channel();
        reaching.late.insert(asked_of(&held), answer);
        let said = reaching.look(&[Arc::clone(&held)], &HashMap::new()).await;
        let problem = said[0].problem.as_deref().expect("it cannot be worked");
        assert!(problem.contains("no answer yet"), "{problem}");

        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "EAAB").expect("is written");
        let sender = &mut Arc::make_mut(&mut held).sender;
        sender.base_url = "https://graph.facebook.com".to_owned();
        sender.api_version = "v23.0".to_owned();
        sender.credential = format!("file:{}", token.display());
        let said = reaching.look(&[held], &HashMap::new()).await;
        assert_eq!(said[0].problem, None);
        assert!(said[0].endpoint.is_some());
    }
}
