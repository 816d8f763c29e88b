//! A world of one's own for each test: our service, its database, a simulator of WhatsApp.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use tempfile::NamedTempFile;
use wa_outbox::config::{Config, Environment};
use wa_outbox::domain::id::{MessageId, SenderId};
use wa_outbox::service::{self, Role, Service};
use wa_outbox::simulator::{Settings, Simulator};
use wa_outbox::store::Store;
use wa_outbox::store::message::{Message, Reach, Timeline};
use wa_outbox::store::sender::SenderChange;

use super::database::TestDatabase;
use super::make::Draft;

/// The sender of every world.
pub(crate) const SENDER: &str = "106540352242922";
/// What WhatsApp signs its webhooks with.
pub(crate) const APP_SECRET: &str = "app-secret-of-the-tests";
/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Our service, its database, and a WhatsApp.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    /// The tests' own way to the database.
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) env: Environment,
    pub(crate) service: Option<Service>,
    pub(crate) database: TestDatabase,
    _token: NamedTempFile,
}

/// Settings that make waiting short. What they are does not matter to any promise.
pub(crate) fn quick_settings() -> Config {
    let mut config = Config::default();
    config.database.max_connections = 6;
    config.database.statement_timeout = Duration::from_secs(2);
    config.database.lock_timeout = Duration::from_secs(1);
    config.http.connect_timeout = Duration::from_millis(500);
    config.http.response_timeout = Duration::from_secs(1);
    config.worker.heartbeat = Duration::from_millis(300);
    config.worker.lease = Duration::from_secs(2);
    config.worker.shutdown = Some(Duration::from_secs(10));
    config.retry.first_delay = Duration::from_millis(50);
    config.retry.max_delay = Duration::from_millis(400);
    config.reconcile.window = Duration::from_secs(1);
    config.webhook.listen = "127.0.0.1:0".parse().expect("an address");
    config.admin.listen = "127.0.0.1:0".parse().expect("an address");
    config
}

impl World {
    /// A world with one sender, whose service runs.
    pub(crate) async fn start() -> Self {
        Self::start_with(quick_settings()).await
    }

    /// The same with settings of one's own.
    pub(crate) async fn start_with(config: Config) -> Self {
        let mut world = Self::at_rest_with(config).await;
        world.start_service().await;
        world
    }

    /// A world whose service has not been started.
    pub(crate) async fn at_rest() -> Self {
        Self::at_rest_with(quick_settings()).await
    }

    /// The same with settings of one's own.
    pub(crate) async fn at_rest_with(config: Config) -> Self {
        Self::on(TestDatabase::create().await, config).await
    }

    /// A world at rest on a database of one's own, which has all migrations.
    pub(crate) async fn on(database: TestDatabase, config: Config) -> Self {
        let store = Store::over(database.pool.clone());
        let simulator = Simulator::start(Settings::default())
            .await
            .expect("a simulator");
        let mut token = NamedTempFile::new().expect("a file for the token");
        token
            .write_all(b"test-token")
            .expect("the token is written");
        let env = Environment::from([("WHATSAPP_APP_SECRET".to_owned(), APP_SECRET.to_owned())]);
        let world = Self {
            simulator,
            store,
            config,
            env,
            service: None,
            database,
            _token: token,
        };
        world.add_sender(SENDER).await;
        world
            .change_sender(
                SENDER,
                SenderChange {
                    is_default: Some(true),
                    ..SenderChange::default()
                },
            )
            .await;
        world
    }

    /// Adds a sender that WhatsApp's limits do not slow down.
    pub(crate) async fn add_sender(&self, sender: &str) {
        let credential = format!("file:{}", self._token.path().display());
        let settings = SenderChange {
            base_url: Some(self.simulator.base_url()),
            rate_per_second: Some(5_000.0),
            pair_period_ms: Some(0),
            ..SenderChange::default()
        };
        let added = self
            .store
            .add_sender(&SenderId::from(sender), &credential, &settings)
            .await;
        assert!(added.expect("a sender is added"));
    }

    pub(crate) async fn change_sender(&self, sender: &str, change: SenderChange) {
        assert!(
            self.store
                .change_sender(&SenderId::from(sender), &change)
                .await
                .expect("a sender is changed")
        );
    }

    /// Starts the service (again). Webhooks go to it from now on.
    pub(crate) async fn start_service(&mut self) {
        let url = self.database.url.clone();
        self.start_service_by(&url).await;
    }

    /// The same, with another way to the database.
    pub(crate) async fn start_service_by(&mut self, database_url: &str) {
        let service = self.another_service_by(database_url).await;
        let webhooks = service.webhook_address.expect("it receives webhooks");
        self.simulator
            .set_webhook(format!("http://{webhooks}/webhook"), APP_SECRET);
        self.service = Some(service);
    }

    /// One more service on the same database.
    pub(crate) async fn another_service(&self) -> Service {
        self.another_service_by(&self.database.url).await
    }

    async fn another_service_by(&self, database_url: &str) -> Service {
        let settings = service::connect_settings(&self.config, database_url);
        let store = Store::connect(&settings)
            .await
            .expect("the database answers");
        let roles = BTreeSet::from([Role::Worker, Role::Webhook, Role::Admin]);
        Service::start(store, &self.config, &self.env, &roles)
            .await
            .expect("the service starts")
    }

    /// Stops the service in order. Says whether it was clean.
    pub(crate) async fn stop_service(&mut self) -> bool {
        self.service.take().expect("a running service").stop().await
    }

    pub(crate) async fn enqueue(&self, draft: Draft) -> MessageId {
        self.store
            .enqueue(&draft.0)
            .await
            .expect("the message is taken")
    }

    pub(crate) async fn timeline(&self, id: MessageId) -> Timeline {
        self.store
            .timeline(id, Reach::Whole)
            .await
            .expect("the message can be read")
            .expect("there is such a message")
    }

    pub(crate) async fn message(&self, id: MessageId) -> Message {
        self.timeline(id).await.message
    }

    pub(crate) async fn state_of(&self, id: MessageId) -> String {
        self.message(id).await.state
    }

    /// Waits until the message is in a state, and gives it back.
    pub(crate) async fn until_state(&self, id: MessageId, state: &str) -> Message {
        self.until(id, &format!("state {state}"), |message| {
            message.state == state
        })
        .await
    }

    /// Waits until WhatsApp has said this of the message.
    pub(crate) async fn until_status(&self, id: MessageId, status: &str) -> Message {
        self.until(id, &format!("status {status}"), |message| {
            message.status.as_deref() == Some(status)
        })
        .await
    }

    /// Requests that WhatsApp has got.
    pub(crate) fn requests(&self) -> u64 {
        self.simulator.ledger().request_count()
    }

    /// Waits until something is true of a message.
    pub(crate) async fn until(
        &self,
        id: MessageId,
        what: &str,
        is_true: impl Fn(&Message) -> bool,
    ) -> Message {
        let mut last = None;
        let waiting = async {
            loop {
                let message = self.message(id).await;
                if is_true(&message) {
                    return message;
                }
                last = Some(message);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(message) => message,
            Err(_) => panic!("message {id} never reached {what}; it is {last:?}"),
        }
    }

    /// Waits until no message is queued, waiting, sending or uncertain.
    pub(crate) async fn until_all_have_ended(&self) {
        let all_have_ended = async {
            while self.store.open_messages().await.expect("a count") > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all_have_ended)
            .await
            .is_err()
        {
            panic!("these have not ended: {:#?}", self.open_messages().await);
        }
    }

    /// Where each message stands that has not ended, and the holds, for whoever asks why it has not.
    async fn open_messages(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select to_jsonb(q)::text from wa.queue q union all select to_jsonb(w)::text from wa.waiting w
             union all select to_jsonb(u)::text from wa.uncertain u union all select to_jsonb(h)::text from wa.template_holds h",
        )
        .fetch_all(self.store.pool())
        .await
        .expect("an answer")
    }

    /// Waits until every webhook was delivered and applied.
    pub(crate) async fn until_webhooks_are_applied(&self) {
        tokio::time::timeout(PATIENCE, self.simulator.webhooks_settled())
            .await
            .expect("the webhooks are delivered");
        self.until_true("the inbox is empty", async || {
            self.store.inbox_summary().await.expect("a count").pending == 0
        })
        .await;
    }

    /// Waits until something is true of the world.
    pub(crate) async fn until_true(&self, what: &str, is_true: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_true().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("it never came true that {what}");
        }
    }
}
