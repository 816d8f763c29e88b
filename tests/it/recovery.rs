//! A database that went back in time: nothing that it has forgotten is sent again by itself. Real backups, real standbys.
//!
//! G1, G2 and G4 hold through it: no message is lost or taken for another one, none is sent whose acceptance is known, and what may
//! have been sent is settled by evidence, else by its policy.

mod by_hand;
mod gone_back;
mod guards;
mod lost_ids;
mod promoted;
mod restored;

use wa_outbox::config::Config;
use wa_outbox::domain::id::MessageId;
use wa_outbox::simulator::{Status, Statuses};
use wa_outbox::store::{ConnectSettings, Store};

use crate::support::cluster::Cluster;
use crate::support::database::TestDatabase;
use crate::support::make::{Draft, a_text};
use crate::support::world::{PATIENCE, SENDER, World, quick_settings};

/// A recipient for each thing that a test watches.
const EVIDENCE: &str = "+16505552001";
const SILENT: &str = "+16505552002";
const KEPT: &str = "+16505552003";
/// A sender that nothing was sent from before.
const OTHER: &str = "106540352249999";
const AFTERWARDS: &str = "+16505552099";

/// A world at rest on a cluster of its own. WhatsApp tells nothing by itself.
async fn a_world_on(cluster: &Cluster) -> World {
    a_world_with(cluster, quick_settings()).await
}

async fn a_world_with(cluster: &Cluster, config: Config) -> World {
    let store = Store::connect(&ConnectSettings::new(cluster.url()))
        .await
        .expect("the cluster answers");
    store.migrate().await.expect("the migrations run");
    store.close().await;
    let world = World::on(TestDatabase::at(&cluster.url()), config).await;
    world.simulator.set_statuses(Statuses::none());
    world
}

impl World {
    /// The test looks at the database of another cluster from now on, and what is started now works there.
    fn moves_to(&mut self, cluster: &Cluster) {
        self.database = TestDatabase::at(&cluster.url());
        self.store = Store::over(self.database.pool.clone());
    }

    /// Waits until the sender is held because the database went back, and gives the reason.
    async fn until_held_for_a_restore(&self) -> String {
        self.until_true("the sender is held for a restore", async || {
            self.count(&format!(
                "wa.senders where sender = '{SENDER}' and held_cause = 'restore'"
            ))
            .await
                == 1
        })
        .await;
        let reason =
            sqlx::query_scalar("select held_reason from wa.senders where sender = $1").bind(SENDER);
        reason
            .fetch_one(&self.database.pool)
            .await
            .expect("a reason")
    }

    /// A worker has taken up a sender that was added after the database went back, too, and sends for it no more than for others.
    async fn until_others_are_held_too(&self) {
        self.add_sender(OTHER).await;
        let mut draft = a_text().to(AFTERWARDS);
        draft.0.sender = Some(OTHER.to_owned());
        let message = self.enqueue(draft).await;
        self.until_true("the new sender is taken up, and held", async || {
            self.count(&format!(
                "wa.senders s join wa.leases l using (sender)
                 where sender = '{OTHER}' and s.held_cause = 'restore' and l.worker is not null"
            ))
            .await
                == 1
        })
        .await;
        self.pulse_goes_on().await;
        assert_eq!(self.state_of(message).await, "queued");
        assert_eq!(self.taken_for(AFTERWARDS), 0);
        self.run_sql(&format!("select wa.cancel({message})")).await;
    }

    /// The worker has taken everything up, and sends for a sender that nothing was sent from before: so what it does not send, it does
    /// not send on purpose.
    async fn until_the_worker_sends_for_others(&self) {
        let other = format!("wa.senders where sender = '{OTHER}'");
        if self.count(&other).await == 0 {
            self.add_sender(OTHER).await;
        }
        let before = self.simulator.ledger().accepted_for(AFTERWARDS).len();
        for _ in 0..3 {
            let mut draft = a_text().to(AFTERWARDS);
            draft.0.sender = Some(OTHER.to_owned());
            let message = self.enqueue(draft).await;
            self.until_state(message, "accepted").await;
        }
        let sent = self.simulator.ledger().accepted_for(AFTERWARDS).len();
        assert_eq!(sent, before + 3);
    }

    /// So often WhatsApp took something for that recipient.
    fn taken_for(&self, recipient: &str) -> usize {
        self.simulator.ledger().accepted_for(recipient).len()
    }

    /// A worker has been there and has gone: the database knows where it lives.
    async fn has_been_worked(&mut self) {
        self.start_service().await;
        assert!(self.stop_service().await, "the stop is clean");
    }

    async fn pulse_goes_on(&self) {
        let now = "select tick from wa.pulse";
        let tick: i64 = sqlx::query_scalar(now)
            .fetch_one(&self.database.pool)
            .await
            .expect("a tick");
        self.until_true("it beats", async || {
            self.count(&format!("wa.pulse where tick > {tick}")).await == 1
        })
        .await;
    }

    /// WhatsApp tells of the first message that it took for that recipient.
    async fn is_told(&self, recipient: &str, status: Status) {
        self.is_told_of(0, recipient, status).await;
    }

    /// WhatsApp tells of the last message that it took for that recipient.
    async fn last_is_told(&self, recipient: &str, status: Status) {
        self.is_told_of(self.taken_for(recipient) - 1, recipient, status)
            .await;
    }

    async fn is_told_of(&self, which: usize, recipient: &str, status: Status) {
        let entries = self.simulator.ledger().accepted_for(recipient);
        let wamid = entries[which].wamid().expect("a wamid").to_owned();
        let answer = self.simulator.tell(&wamid, status).await;
        assert_eq!(answer.expect("the webhook is taken"), 200);
        self.until_webhooks_are_applied().await;
    }

    async fn pulse_has_seen(&self, message: MessageId) {
        self.until_true("a beat has seen the message", async || {
            self.count(&format!("wa.pulse where last_id >= {message}"))
                .await
                == 1
        })
        .await;
    }

    /// What `recover --json` tells of a sender: what may have been sent and would be sent again, left to a person, behind in sequences.
    async fn foreseen(&self, arguments: &[&str]) -> [i64; 3] {
        let line = [&["recover", "--json"], arguments].concat();
        let report = self.says_json(&line).await;
        let none = serde_json::json!({});
        let senders = report["senders"].as_array().expect("senders");
        let ours = senders.iter().find(|one| one["sender"] == SENDER);
        let ours = ours.unwrap_or(&none);
        [
            "sent_again_if_silent",
            "for_a_person_if_silent",
            "in_sequences",
        ]
        .map(|field| ours[field].as_i64().unwrap_or_default())
    }
}

/// The database is found to have gone back, as if to this moment.
async fn begin_an_era(world: &World) {
    world
        .run_sql(
            "select wa.begin_era(max(era), 'operator', 'it was restored', 'ada', 0, clock_timestamp()) from wa.eras",
        )
        .await;
}

/// Not longer than the tests are patient, whatever hangs.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE * 2, work)
        .await
        .expect("the test ends in time")
}

/// A message of a person's own words, to be told apart.
fn to(recipient: &str) -> Draft {
    a_text().to(recipient)
}
