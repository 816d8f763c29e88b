//! G7, one owner: a sender is worked by one process at a time, all processes work equally many, and whoever was cut off can
//! start nothing once its sender is another's.

mod fence;
mod load;
mod sharing;
mod sweep;
mod told;
mod trust;

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use wa_outbox::domain::id::{AttemptNumber, Epoch, MessageId, SenderId};
use wa_outbox::service::Service;
use wa_outbox::store::claim::{Begun, Claim};
use wa_outbox::store::lease::{HandOver, WorkerId};

use crate::support::make::Draft;
use crate::support::world::{SENDER, World};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

async fn stop_all(services: impl IntoIterator<Item = Service>) {
    for service in services {
        assert!(service.stop().await, "a clean stop");
    }
}

impl Draft {
    fn from(mut self, sender: &str) -> Self {
        self.0.sender = Some(sender.to_owned());
        self
    }
}

impl World {
    /// So many more senders; gives all there are.
    async fn add_senders(&self, more: usize) -> Vec<String> {
        let mut senders = vec![SENDER.to_owned()];
        for number in 0..more {
            let sender = format!("2000000000000{number:02}");
            self.add_sender(&sender).await;
            senders.push(sender);
        }
        senders
    }

    /// How many senders each living worker holds, the fewest first.
    async fn shares(&self) -> Vec<i64> {
        sqlx::query_scalar(
            "select count(l.sender) as held from wa.workers w left join wa.leases l using (worker)
             where w.expires_at > now() group by w.worker order by held",
        )
        .fetch_all(&self.database.pool)
        .await
        .expect("the shares")
    }

    async fn until_shares_are(&self, shares: &[i64]) {
        self.until_true(&format!("the shares are {shares:?}"), async || {
            self.shares().await == shares
        })
        .await;
    }

    /// Who holds each sender, under which epoch.
    async fn leases(&self) -> BTreeMap<String, (Option<WorkerId>, Epoch)> {
        let rows: Vec<(String, Option<i64>, i64)> =
            sqlx::query_as("select sender, worker, epoch from wa.leases")
                .fetch_all(&self.database.pool)
                .await
                .expect("the leases");
        rows.into_iter()
            .map(|(sender, worker, epoch)| (sender, (worker.map(WorkerId), Epoch(epoch))))
            .collect()
    }

    /// The same for the world's first sender.
    async fn lease(&self) -> (Option<WorkerId>, Epoch) {
        self.leases().await[SENDER]
    }

    async fn worker_named(&self, name: &str) -> WorkerId {
        let worker = sqlx::query_scalar("select worker from wa.workers where name = $1")
            .bind(name)
            .fetch_one(&self.database.pool);
        WorkerId(worker.await.expect("there is such a worker"))
    }

    async fn renewed_at(&self) -> time::OffsetDateTime {
        sqlx::query_scalar("select min(renewed_at) from wa.workers")
            .fetch_one(&self.database.pool)
            .await
            .expect("a worker")
    }

    /// Waits until every worker has renewed its lease once more, and so looked once more.
    pub(crate) async fn until_every_worker_has_renewed(&self) {
        let now: time::OffsetDateTime = sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(&self.database.pool)
            .await
            .expect("the time");
        self.until_true("every worker has renewed", async || {
            self.renewed_at().await > now
        })
        .await;
    }

    /// Waits until so many statements wait for a lock in this database.
    async fn until_waiting_for_locks(&self, count: i64) {
        self.until_true(&format!("{count} statements wait for a lock"), async || {
            self.count(
                "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
            .await
                == count
        })
        .await;
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.database.url)
            .await
            .expect("a connection")
    }

    /// A worker whose every step the test takes itself.
    async fn registers(&self, name: &str) -> WorkerId {
        self.store
            .register_worker(name, LONG)
            .await
            .expect("a worker")
    }

    async fn plan_of(&self, worker: WorkerId) -> Vec<HandOver> {
        self.store
            .plan_hand_over(worker, LONG)
            .await
            .expect("a plan")
    }

    /// Hands the world's first sender over.
    async fn hands_over(&self, giver: WorkerId, receiver: WorkerId) {
        let (_, epoch) = self.lease().await;
        let plan = [HandOver {
            sender: SenderId::from(SENDER),
            epoch,
            receiver,
        }];
        let given = self.store.hand_over(giver, &plan).await;
        assert_eq!(given.expect("it is handed over"), 1);
    }

    async fn begins(&self, worker: WorkerId, id: MessageId, epoch: Epoch) -> Vec<Begun> {
        let claim = Claim {
            id,
            sender: SenderId::from(SENDER),
            epoch,
            attempt: AttemptNumber(1),
        };
        self.store
            .begin(worker, &[claim], LONG)
            .await
            .expect("begin is answered")
    }
}
