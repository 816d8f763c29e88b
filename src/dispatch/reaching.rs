//! Finds out how the providers of senders are reached, and lets none of them hold up the others.
//!
//! A credential may be in a file, and a file on a disk that has gone away. So files are read by threads beside the runtime ([`on_a_thread`]),
//! all are waited for no longer than a moment, and none that stands still is asked a second time. Until its file answers, a sender is
//! worked as it was before, and one that is new cannot be worked; the others go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::beside::{Answer, hangs, on_a_thread};
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
    Anew(Box<Result<Endpoint, AddressError>>),
}

/// What was found, or who will tell it: the file has not answered yet, or nobody has had the time to ask it.
type Looked = Result<Found, Option<Answer<Found>>>;

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

/// Knows how senders are reached, and whose files have not answered.
pub(super) struct Reaching {
    fingerprints: FingerprintKey,
    within: Duration,
    /// Once its settings name other places, a sender is asked there.
    late: HashMap<Asked, Answer<Found>>,
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
        self.late.retain(|_, answer| hangs(answer));
        let known: Vec<_> = (senders.iter())
            .map(|now| Reach::known_of(before.get(now.sender.sender.as_str())?, now))
            .collect();
        let found = self.ask(senders, &known).await;
        let all = senders.iter().zip(known).zip(found);
        all.map(|((held, known), found)| self.reach(held, known, found))
            .collect()
    }

    async fn ask(&self, senders: &[Arc<HeldSender>], known: &[Option<Reach>]) -> Vec<Looked> {
        let until = Instant::now() + self.within;
        let mut all: Vec<Looked> = senders.iter().map(|_| Err(None)).collect();
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
                all[place] = Ok(question.read());
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
        let found: Vec<Vec<Looked>> = stream::iter(threads).buffered(AT_ONCE).collect().await;
        for (place, found) in places.into_iter().zip(found.into_iter().flatten()) {
            all[place] = found;
        }
        all
    }

    fn reach(&mut self, held: &HeldSender, known: Option<Reach>, found: Looked) -> Reach {
        match found {
            Ok(Found::Unchanged) => known.unwrap_or_default(),
            Err(answer) => {
                self.late
                    .extend(answer.map(|answer| (asked_of(held), answer)));
                known.unwrap_or_else(|| Reach::not(held.sender.address().no_answer()))
            }
            Ok(Found::Anew(read)) => match *read {
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
    use tokio::sync::oneshot;

    use super::*;
    use crate::dispatch::desk;

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
