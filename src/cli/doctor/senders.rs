//! The senders: does each have its address and credential, is its provider there, and does nothing hold it?

use super::permission::Asked;
use super::{Findings, READ_WITHIN, Told, read_within};
use crate::cli::Context;
use crate::config::Config;
use crate::domain::mask::Eyes;
use crate::domain::text::chain;
use crate::provider::{Endpoint, HttpSettings, Provider, ProviderKind, Trial};
use crate::standing::sender::{Doing, Reading};
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::checkup::FlowFacts;
use crate::store::sender::Sender;
use crate::store::summary::{SenderOwner, SenderStanding};

/// What Meta lets a number of `STANDARD` throughput send (Meta, Throughput).
const STANDARD_RATE: f64 = 80.0;
/// A status of a message accepted longer ago than this should have come.
pub(super) const STATUS_WITHIN_S: f64 = 600.0;

/// How the way to a provider ended.
enum Reached {
    /// It takes the credential; what Meta says of the number's throughput, where it says anything.
    LetIn { throughput: Option<String> },
    /// It does not, or that was not tried.
    Not,
}

/// All that is known of one sender.
struct Case<'a> {
    sender: &'a Sender,
    owner: Option<&'a SenderOwner>,
    flow: Option<&'a FlowFacts>,
}

/// Checks every sender.
pub(super) async fn check(
    context: &Context,
    config: &Config,
    store: &Store,
    told: &mut Told,
) -> anyhow::Result<()> {
    let mut found = Findings::about("senders");
    let read = async {
        let senders = store.senders().await?.veiled(Eyes::CLOSED);
        let owners = store.sender_owners().await?;
        let flows = store.flow_facts(STATUS_WITHIN_S).await?;
        Ok::<_, crate::store::StoreError>((senders, owners, flows))
    };
    let (senders, owners, flows) = match read.await {
        Ok(read) => read,
        Err(error) => {
            found.unanswered("list", &error);
            return told.tell(found);
        }
    };
    let http = HttpSettings {
        connect_timeout: config.http.connect_timeout,
        response_timeout: config.http.response_timeout,
        ..HttpSettings::default()
    };
    let provider = match Provider::new(&http, context.clock().clone()) {
        Ok(provider) => provider,
        Err(error) => {
            found.broken(
                "https",
                chain(&error),
                "install the system's CA certificates (ca-certificates)",
            );
            return told.tell(found);
        }
    };
    if senders.is_empty() {
        let fix = "add one: wa-outbox sender add PHONE_NUMBER_ID --credential env:NAME";
        found.broken("list", "there is no sender", fix);
    }
    told.tell(found)?;
    for sender in &senders {
        let case = Case {
            sender,
            owner: owners.iter().find(|owner| owner.sender == sender.sender),
            flow: flows.iter().find(|flow| flow.sender == sender.sender),
        };
        let mut found = Findings::about(format!("sender {}", sender.sender));
        case.check(context, store, &provider, &mut found).await;
        told.tell(found)?;
    }
    Ok(())
}

impl Case<'_> {
    async fn check(
        &self,
        context: &Context,
        store: &Store,
        provider: &Provider,
        found: &mut Findings,
    ) {
        self.stands(context, found);
        self.waits(store, found).await;
        let throughput = match self.endpoint(found).await {
            Some(endpoint) => {
                let reached = self.reaches(provider, &endpoint, found).await;
                if let Reached::LetIn { .. } = reached {
                    let asked = Asked {
                        provider,
                        endpoint: &endpoint,
                        credential: &self.sender.credential,
                        account: self.flow.and_then(|flow| flow.account.as_deref()),
                        now: context.clock().now(),
                    };
                    asked.check(found).await;
                }
                match reached {
                    Reached::LetIn { throughput } => throughput,
                    Reached::Not => None,
                }
            }
            None => None,
        };
        self.paces(throughput.as_deref(), found);
        self.echoes(found);
        self.hears(found);
    }

    fn is_worked(&self) -> bool {
        self.owner
            .is_some_and(|owner| owner.worker.is_some() && owner.problem.is_none())
    }

    /// Whether something holds it, or nobody works it.
    fn stands(&self, context: &Context, found: &mut Findings) {
        let id = &self.sender.sender;
        let release =
            format!("find out why: wa-outbox why {id}; then: wa-outbox sender release {id}");
        if let Some(reason) = self.sender.hold_at(context.clock().now()) {
            return found.broken("held", format!("nothing leaves: {reason}"), release);
        }
        match self.owner.map(|owner| (&owner.worker, &owner.problem)) {
            Some((_, Some(problem))) => {
                let fix =
                    format!("correct it where the worker runs, or: wa-outbox sender set {id} …");
                found.broken("worker", format!("its worker cannot send: {problem}"), fix);
            }
            Some((Some(worker), None)) => found.fine("worker", format!("worked by {worker}")),
            Some((None, None)) | None => {
                found.note("worker", "nobody works it", "start a worker: wa-outbox run");
            }
        }
    }

    /// Whether WhatsApp has asked for silence: then nothing leaves, though nothing is wrong.
    async fn waits(&self, store: &Store, found: &mut Findings) {
        let standings = match store.sender_standings(Some(&self.sender.id())).await {
            Ok(standings) => standings,
            Err(error) => return found.unanswered("pace", &error),
        };
        let is_slow = |standing: &&SenderStanding| Reading(standing).doing() == Doing::SlowedDown;
        if let Some(standing) = standings.iter().find(is_slow) {
            let fix = format!(
                "it goes on by itself; if the wait was asked for in error, end it: wa-outbox sender release {}",
                self.sender.sender
            );
            found.note("pace", format!("it {}", Reading(standing).says()), fix);
        }
    }

    /// Its address and credential, as far as this process can read them.
    async fn endpoint(&self, found: &mut Findings) -> Option<Endpoint> {
        let sender = self.sender.clone();
        let read = read_within(READ_WITHIN, move || {
            Endpoint::of(&sender.id(), &sender.address())
        });
        let read = match read.await {
            Some(read) => read.map_err(|error| error.in_words()),
            None => Err(self.sender.address().no_answer()),
        };
        match read {
            Ok(endpoint) => {
                found.fine(
                    "credential",
                    format!("read from {}", self.sender.credential),
                );
                Some(endpoint)
            }
            Err(why) if self.is_worked() => {
                let words = format!("not to be had here, though its worker has it: {why}");
                found.note(
                    "credential",
                    words,
                    "run doctor where the worker runs to have the provider tried",
                );
                None
            }
            Err(why) => {
                let fix = format!("correct it: wa-outbox sender set {} …", self.sender.sender);
                found.broken("credential", why, fix);
                None
            }
        }
    }

    /// Its provider.
    async fn reaches(
        &self,
        provider: &Provider,
        endpoint: &Endpoint,
        found: &mut Findings,
    ) -> Reached {
        let host = endpoint.url.host_str().unwrap_or_default();
        match provider.try_way(endpoint).await {
            Trial::LetIn {
                throughput,
                gateway,
            } => {
                match gateway.filter(|status| status != "connected") {
                    Some(status) => found.broken(
                        "provider",
                        format!("{host} lets us in, but is {status} from WhatsApp"),
                        "see the client's log",
                    ),
                    None => found.fine("provider", format!("{host} lets us in")),
                }
                Reached::LetIn { throughput }
            }
            Trial::Reached => {
                found.fine(
                    "provider",
                    format!(
                        "{host} answers; no call is known that would try the token and send nothing"
                    ),
                );
                Reached::Not
            }
            Trial::Refused(why) => {
                let fix = "give it a working credential at the place it is read from, or correct its id and address";
                found.broken("provider", format!("{host} refuses us: {why}"), fix);
                Reached::Not
            }
            Trial::NotReached(why) => {
                let fix = "see that base_url is right, that this machine may connect there, and who vouches for it (ca_file)";
                found.broken("provider", format!("{host} cannot be reached: {why}"), fix);
                Reached::Not
            }
        }
    }

    /// Its rate against what is documented.
    fn paces(&self, throughput: Option<&str>, found: &mut Findings) {
        let rate = self.sender.rate_per_second;
        let kind: Option<ProviderKind> = self.sender.provider.parse().ok();
        let highest = kind.and_then(|kind| kind.capabilities().highest_rate);
        let (limit, whose) = match throughput {
            Some("STANDARD") => (
                Some(STANDARD_RATE),
                "Meta gives this number (throughput STANDARD)",
            ),
            Some(_) | None => (highest, "is documented for such a provider"),
        };
        match limit.filter(|limit| rate > *limit) {
            Some(limit) => found.note(
                "rate",
                format!("{rate} a second, more than the {limit} that {whose}: it will be told to slow down"),
                format!("wa-outbox sender set {} --rate-per-second {limit}", self.sender.sender),
            ),
            None => found.fine("rate", format!("{rate} a second")),
        }
    }

    /// What becomes of lost answers.
    fn echoes(&self, found: &mut Findings) {
        let seen = self.flow.is_some_and(|flow| flow.echoes);
        let id = &self.sender.sender;
        match self
            .sender
            .echo_warning()
            .filter(|_| !seen || self.sender.callback_echo == Some(false))
        {
            Some(warning) => {
                let fix = format!(
                    "if double messages are better than late ones: wa-outbox sender set {id} --on-uncertain retry"
                );
                found.note("lost answers", warning, fix);
            }
            None => found.fine(
                "lost answers",
                "statuses bring our callback data back, which settles them",
            ),
        }
    }

    /// Whether statuses come at all.
    fn hears(&self, found: &mut Findings) {
        let Some(flow) = self.flow else { return };
        if flow.silent > 0 && flow.heard == 0 {
            let words = format!(
                "no status has come of its latest {} accepted messages",
                flow.silent
            );
            let fix = "see that its provider posts webhooks to this receiver's public address, field messages";
            return found.broken("statuses", words, fix);
        }
        match flow.last_status_at {
            Some(at) => found.fine(
                "statuses",
                format!("the last one came at {}", crate::standing::time::stamp(at)),
            ),
            None => found.note(
                "statuses",
                "none has come yet",
                "send one message and look again",
            ),
        }
    }
}
