//! Holds the senders this worker may send for, and shares them with the other workers.
//!
//! Each sender is worked by one worker at a time, and all hold the same number of them, or one more. What nobody alive holds is
//! taken, first by those who have less than their share. Who has more hands the excess over to one who has less: it stops
//! beginning for these senders, lets leave what it has begun, then changes worker and epoch in one statement and calls the
//! receiver. So a sender that changes hands pauses for some milliseconds. A worker that is told to stop hands over all it has in
//! the same way, and goes on renewing its row until every answer is recorded.
//!
//! Trust in a lease counts from when its renewal was *sent*: a slow answer must shorten it, never stretch it. It is measured
//! by a clock that counts suspend, so a worker that was frozen finds its trust gone and starts nothing; whatever it had begun
//! is swept by the next holder.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::campaign::{Campaign, Campaigns, Unusable};
use super::departures::Departures;
use super::reaching::{Reach, Reaching};
use crate::clock::{BootInstant, Clock, TimeTold};
use crate::crash::crash_point;
use crate::domain::hold::{Fingerprint, FingerprintKey};
use crate::domain::id::{Era, SenderId};
use crate::provider::Endpoint;
use crate::store::campaign::CampaignVerb;
use crate::store::hold::{MACHINE, SenderHold};
use crate::store::lease::{HandOver, HeldSender, Versions, WorkerId};
use crate::store::sender::Sender;
use crate::store::template_hold::TemplateHold;
use crate::store::{Store, StoreError};

/// How leases are kept.
#[derive(Clone, Debug)]
pub struct OwnershipSettings {
    /// The worker's name, for people.
    pub name: String,
    /// Between two renewals.
    pub heartbeat: Duration,
    /// A worker that has not renewed for this long has lost its senders.
    pub lease: Duration,
    /// What has been begun for a sender has this long to leave before the sender is handed over all the same.
    pub leaves_within: Duration,
}

/// How long the leases can still be trusted, shared with every request that is about to leave.
#[derive(Debug, Default)]
pub struct Trust(AtomicU64);

impl Trust {
    /// Whether a request may still leave.
    pub fn holds_at(&self, now: BootInstant) -> bool {
        (now.0.as_micros() as u64) < self.0.load(Ordering::Acquire)
    }

    /// Until when they can be trusted as far as is known now; a renewal may extend it.
    pub fn ends_at(&self) -> BootInstant {
        BootInstant(Duration::from_micros(self.0.load(Ordering::Acquire)))
    }

    pub(super) fn extend_to(&self, until: BootInstant) {
        self.0
            .fetch_max(until.0.as_micros() as u64, Ordering::AcqRel);
    }

    fn end(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// A sender this worker holds, and how its provider is reached.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its settings and epoch.
    pub held: Arc<HeldSender>,
    /// Where its requests go; none while its address or credential cannot be had.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Of the token that they carry.
    pub fingerprint: Option<Arc<Fingerprint>>,
    /// Why it is held, if it is.
    pub sender_hold: Option<SenderHold>,
    /// Which of its templates are held.
    pub template_holds: Vec<TemplateHold>,
    /// Its campaigns that run.
    pub campaigns: Vec<Arc<Campaign>>,
}

/// What this worker holds at the moment.
#[derive(Clone, Debug, Default)]
pub struct Holding {
    /// As this worker.
    pub worker: Option<WorkerId>,
    /// These senders.
    pub senders: Vec<Held>,
    /// What the database's clock said a moment ago: due times, ends of holds and expiries are by that one.
    pub told: Option<TimeTold>,
}

/// Keeps the leases of one worker.
pub struct Ownership {
    store: Store,
    clock: Clock,
    reaching: Reaching,
    settings: OwnershipSettings,
    trust: Arc<Trust>,
    holding: watch::Sender<Arc<Holding>>,
    departures: Departures,
    called: Arc<Notify>,
    last_renewal: Option<BootInstant>,
    /// The last look left senders that nobody holds: they are not waited for any longer.
    left_over: bool,
    looks: u64,
    /// What was read last.
    read: Option<(Versions, Vec<Arc<HeldSender>>)>,
    campaigns: Campaigns,
    /// The era that this worker is known in.
    era: Option<Era>,
}

/// Senders' settings are taken up, and free senders looked for, this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// By so much a pause is longer or shorter, so that workers that were started together do not look together.
const JITTER: f64 = 0.2;
/// What has been begun for a sender leaves within this time, or the sender is handed over all the same: what is left is nobody
/// else's to send, but may leave while the receiver is sending already.
pub const LEAVES_WITHIN: Duration = Duration::from_millis(500);
/// Files that credentials are in are waited for no longer, nor a quarter of what a look may take.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// Messages of released templates that one look makes due again.
const BROUGHT_BACK_AT_ONCE: i64 = 5_000;
/// Messages that are looked at in one statement, whether they were put off for what is loosened now.
const TIMES_GIVEN_BACK_AT_ONCE: i32 = 5_000;
/// Dead workers are forgotten once in so many looks.
const FORGET_EVERY: u64 = 60;

impl Ownership {
    /// Starts without holding anything.
    pub fn new(
        store: Store,
        clock: Clock,
        fingerprints: FingerprintKey,
        settings: OwnershipSettings,
    ) -> Self {
        Self {
            store,
            clock,
            reaching: Reaching::new(fingerprints, READ_WITHIN.min(settings.lease / 12)),
            settings,
            trust: Arc::default(),
            holding: watch::Sender::new(Arc::default()),
            departures: Departures::default(),
            called: Arc::default(),
            last_renewal: None,
            left_over: false,
            looks: 0,
            read: None,
            campaigns: Campaigns::default(),
            era: None,
        }
    }

    /// How long requests may leave.
    pub fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust)
    }

    /// What is held, as it changes.
    pub fn holding(&self) -> watch::Receiver<Arc<Holding>> {
        self.holding.subscribe()
    }

    /// Where is said what has been begun and has not left: a sender is not handed over before.
    pub fn departures(&self) -> Departures {
        self.departures.clone()
    }

    /// Has the leases looked at now: there may be a sender that was handed to this worker.
    pub fn called(&self) -> Arc<Notify> {
        Arc::clone(&self.called)
    }

    /// Renews and looks. Once `stop` says that nothing more is begun, it hands its senders over; it goes on renewing until
    /// `released`, so that what is in flight ends under a worker that is known, and leaves.
    pub async fn run(mut self, stop: CancellationToken, released: CancellationToken) {
        let mut called = false;
        let mut eras = self.store.era();
        while !released.is_cancelled() {
            let leaves = stop.is_cancelled();
            if let Err(error) = self.run_once(leaves, called).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not look after the leases; trying again"
                );
            }
            called = tokio::select! {
                () = released.cancelled() => false,
                () = stop.cancelled(), if !leaves => false,
                () = self.called.notified() => true,
                () = eras.other_than(self.era) => false,
                () = tokio::time::sleep(self.pause()) => false,
            };
        }
        self.trust.end();
        self.leave().await;
    }

    /// One look: renew, then share. What takes too long is given up, so that the next renewal is not late.
    async fn run_once(&mut self, leaves: bool, called: bool) -> Result<(), StoreError> {
        let worker = self.renewed().await?;
        let within = self.step();
        let look = async {
            if leaves {
                self.hand_over_all(worker).await
            } else {
                if called {
                    // What was handed over waits to be worked: before anything else.
                    self.publish_held(worker).await?;
                }
                self.share(worker).await
            }
        };
        match tokio::time::timeout(within, look).await {
            Ok(done) => done,
            Err(_) => {
                warn!("A look at the leases took longer than {within:?}; trying again");
                Ok(())
            }
        }
    }

    /// Hands over what is too much, takes what is missing, and publishes what is held.
    async fn share(&mut self, worker: WorkerId) -> Result<(), StoreError> {
        let sharing = self.store.sharing(worker).await?;
        if !sharing.known {
            // Somebody deleted the row: nothing is held and nothing may leave until there is another, at once.
            self.forget_itself();
            self.called.notify_one();
            return Ok(());
        }
        if sharing.has_others {
            let within = self.renewed_within();
            let excess = self.store.plan_hand_over(worker, within).await?;
            if !excess.is_empty() {
                self.hand_over(worker, &excess).await?;
            }
        }
        match sharing.some_are_free {
            true => self.take_free(worker).await?,
            false => self.left_over = false,
        }
        self.looks += 1;
        if self.looks.is_multiple_of(FORGET_EVERY) {
            self.store.forget_dead_workers().await?;
        }
        self.publish_held(worker).await
    }

    async fn take_free(&mut self, worker: WorkerId) -> Result<(), StoreError> {
        let share = self.store.take_share(worker, self.renewed_within()).await?;
        crash_point!("lease.taken");
        let mut taken = share.taken;
        if share.left_over > 0 && self.left_over {
            // Another worker's share, which it has not taken for a whole look: evenness comes after being worked at all.
            taken += self.store.take_senders(worker).await?;
        }
        self.left_over = share.left_over > 0;
        if taken > 0 {
            info!("Took {taken} senders that nobody held");
        }
        Ok(())
    }

    /// Stops beginning for these senders, lets leave what was begun, and hands them over.
    async fn hand_over(&self, worker: WorkerId, excess: &[HandOver]) -> Result<(), StoreError> {
        let going: HashSet<SenderId> = excess.iter().map(|one| one.sender.clone()).collect();
        self.holding.send_modify(|holding| {
            let mut staying = Holding::clone(holding);
            staying
                .senders
                .retain(|held| !going.contains(&held.held.sender.id()));
            *holding = Arc::new(staying);
        });
        self.departures
            .none_for(|sender| going.contains(sender), self.settings.leaves_within)
            .await;
        crash_point!("hand-over.asked");
        let given = self.store.hand_over(worker, excess).await?;
        crash_point!("hand-over.committed");
        info!("Handed {given} senders over to workers that have fewer");
        Ok(())
    }

    /// Publishes that nothing is held, lets leave what was begun, and hands everything over.
    async fn hand_over_all(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.holding.send_if_modified(|holding| {
            let held = !holding.senders.is_empty();
            if held {
                *holding = Arc::new(Holding {
                    worker: Some(worker),
                    senders: Vec::new(),
                    told: holding.told,
                });
            }
            held
        });
        self.departures
            .none_for(|_| true, self.settings.leaves_within)
            .await;
        let given = self
            .store
            .hand_over_all(worker, self.renewed_within())
            .await?;
        if given.given > 0 {
            info!("Stopping: handed {} senders over", given.given);
        }
        Ok(())
    }

    async fn leave(&self) {
        let Some(worker) = self.holding.borrow().worker else {
            return;
        };
        let leaving = self.store.leave(worker, self.renewed_within());
        match tokio::time::timeout(self.settings.lease, leaving).await {
            Ok(Ok(_)) => {
                crash_point!("leave.committed");
                info!("Gave all senders back");
            }
            Ok(Err(error)) => warn!(
                error = &error as &dyn std::error::Error,
                "Could not give the senders back; their leases will run out"
            ),
            Err(_) => {
                warn!("Could not give the senders back in time; their leases will run out")
            }
        }
    }

    /// What this worker holds. It is read anew when a row of it has changed: hundreds of senders are at rest for weeks.
    async fn held_senders(
        &mut self,
        worker: WorkerId,
    ) -> Result<(Vec<Arc<HeldSender>>, TimeTold), StoreError> {
        let asked_at = self.clock.boot();
        let (versions, said) = self.store.versions_of_held(worker).await?;
        let told = TimeTold::new(said, asked_at, self.clock.boot());
        let held = match &self.read {
            Some((known, held)) if *known == versions => held.clone(),
            _ => {
                let held = self.store.held_senders(worker).await?;
                let held: Vec<_> = held.into_iter().map(Arc::new).collect();
                self.read = Some((versions, held.clone()));
                held
            }
        };
        Ok((held, told))
    }

    async fn publish_held(&mut self, worker: WorkerId) -> Result<(), StoreError> {
        let (mut senders, mut said) = (Vec::new(), Vec::new());
        let (all, told) = self.held_senders(worker).await?;
        let ids: Vec<SenderId> = all.iter().map(|held| held.sender.id()).collect();
        let on_hold: Vec<SenderId> = (all.iter().map(|held| &held.sender))
            .filter(|sender| sender.held_reason.is_some())
            .map(Sender::id)
            .collect();
        let mut sender_holds = Vec::new();
        if !on_hold.is_empty() {
            self.store.end_sender_holds(&on_hold).await?;
            sender_holds = self.store.sender_holds(&on_hold).await?;
        }
        self.store.end_template_holds(&ids).await?;
        let mut template_holds = self.store.template_holds(&ids).await?;
        let (lanes, unread) = self.store.lanes(&ids).await?;
        let (mut campaigns, mut unusable) = self.campaigns.of(lanes);
        unusable.extend(unread.into_iter().map(Unusable::from));
        let before = Arc::clone(&self.holding.borrow());
        let before: HashMap<&str, &Held> = (before.senders.iter())
            .map(|held| (held.held.sender.sender.as_str(), held))
            .collect();
        let reaches = self.reaching.look(&all, &before).await;
        for (held, reach) in all.into_iter().zip(reaches) {
            let name = held.sender.sender.as_str();
            let Reach {
                endpoint,
                fingerprint,
                problem,
            } = reach;
            if problem != held.problem {
                if let Some(problem) = &problem {
                    warn!(
                        sender.id = held.sender.sender,
                        "Sender {} cannot be worked: {problem}", held.sender.sender
                    );
                }
                said.push((held.sender.sender.clone(), problem));
            }
            let sender_hold = sender_holds
                .extract_if(.., |hold| hold.sender == name)
                .next();
            let template_holds = template_holds
                .extract_if(.., |hold| hold.sender == name)
                .collect();
            let campaigns = campaigns
                .extract_if(.., |campaign| campaign.lane.sender.as_str() == name)
                .collect();
            senders.push(Held {
                campaigns,
                fingerprint,
                sender_hold,
                template_holds,
                held,
                endpoint,
            });
        }
        self.holding.send_replace(Arc::new(Holding {
            worker: Some(worker),
            senders,
            told: Some(told),
        }));
        for (sender, problem) in said {
            self.store
                .say_problem(worker, &sender, problem.as_deref())
                .await?;
        }
        for one in unusable {
            // It does not leave, paused or not: this look has more to do.
            if let Err(error) = self.pause_unusable(&one).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Campaign {} cannot be sent, and could not be paused; trying again: {}",
                    one.campaign,
                    one.why
                );
            }
        }
        // What is left is brought back by the next looks.
        self.store.bring_back(BROUGHT_BACK_AT_ONCE).await?;
        self.store.give_times_back(TIMES_GIVEN_BACK_AT_ONCE).await?;
        Ok(())
    }

    /// Pauses a campaign of which nothing can be sent: left running it would only look as if it did.
    async fn pause_unusable(&self, one: &Unusable) -> Result<(), StoreError> {
        let (campaign, reason) = (one.campaign, one.why.as_str());
        let pause = CampaignVerb::Pause;
        let paused = self
            .store
            .lead_campaign(campaign, pause, MACHINE, Some(reason));
        if paused.await? {
            warn!("Campaign {campaign} paused: {reason}");
        }
        Ok(())
    }

    /// The worker's row, renewed when it is time; a new one when it is gone.
    async fn renewed(&mut self) -> Result<WorkerId, StoreError> {
        let era = self.store.era().current();
        if era != self.era {
            // In this database it is nobody, whoever bears its number there.
            self.forget_itself();
            self.era = era;
        }
        // Before it is asked: a slow answer must shorten the trust, never stretch it.
        let asked_at = self.clock.boot();
        let known = self.holding.borrow().worker;
        let due = self
            .last_renewal
            .is_none_or(|last| asked_at.has_reached(last + self.settings.heartbeat));
        let lease = self.settings.lease;
        let worker = match known {
            Some(worker) if !due => return Ok(worker),
            Some(worker) if self.store.heartbeat(worker, lease, self.step()).await? => {
                crash_point!("lease.renewed");
                worker
            }
            Some(_) | None => {
                self.forget_itself();
                self.register().await?
            }
        };
        self.last_renewal = Some(asked_at);
        // A margin for the difference between the two machines' clocks running.
        self.trust.extend_to(asked_at + lease.mul_f64(0.9));
        Ok(worker)
    }

    async fn register(&self) -> Result<WorkerId, StoreError> {
        let settings = &self.settings;
        let worker = self
            .store
            .register_worker(&settings.name, settings.lease)
            .await?;
        info!(
            worker.id = worker.0,
            "Registered as worker {} ({})", worker.0, settings.name
        );
        self.holding.send_replace(Arc::new(Holding {
            worker: Some(worker),
            ..Holding::default()
        }));
        Ok(worker)
    }

    /// Holds nothing and is nobody from now on.
    fn forget_itself(&mut self) {
        self.trust.end();
        self.holding.send_replace(Arc::default());
        self.read = None;
        self.last_renewal = None;
    }

    /// A worker that has missed two renewals is handed nothing: it may be dead.
    fn renewed_within(&self) -> Duration {
        self.settings.heartbeat * 2
    }

    /// No step takes longer, so that a renewal can fail and the next still come in time.
    fn step(&self) -> Duration {
        self.settings.lease / 3
    }

    fn pause(&self) -> Duration {
        let by_chance = 1.0 + JITTER * (fastrand::f64() * 2.0 - 1.0);
        LOOK_EVERY.min(self.settings.heartbeat).mul_f64(by_chance)
    }
}
