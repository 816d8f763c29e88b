//! Builds every part from the settings, starts them in order, stops them in reverse.
//!
//! Stopping is in order too (G9): nothing new is begun; the senders are handed over to other workers; what is in flight gets
//! its answer; every answer is written; then the rest ends. So after a clean stop no message is uncertain. The time it may take is the
//! response timeout and a little: an answer cannot come later.

mod listener;
mod operators;
mod supervision;
mod telling;
mod watching;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use listener::LIMITS;
use operators::{admin_access, shared_secrets};
use supervision::Supervision;
use watching::{progress_of, watch_over};

use crate::admin;
use crate::admin::activity::Teller;
use crate::admin::tail::Relay;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Environment, OnUncertain, Reconcile};
use crate::dispatch::campaign_work;
use crate::dispatch::checking::Doubts;
use crate::dispatch::desk::DeskSettings;
use crate::dispatch::dispatcher::{DispatchSettings, Dispatcher};
use crate::dispatch::media::Media;
use crate::dispatch::ownership::{LEAVES_WITHIN, Ownership, OwnershipSettings};
use crate::dispatch::reconciler::Reconciler;
use crate::dispatch::recorder::{Backlog, Recorder, RecorderSettings};
use crate::dispatch::sending::{LEAVE_WITHIN, Sending};
use crate::dispatch::signals::Signals;
use crate::dispatch::wake;
use crate::domain::hold::FingerprintKey;
use crate::domain::retry::RetryPolicy;
use crate::domain::token::TokenKey;
use crate::metrics::Metrics;
use crate::provider::{HttpSettings, Provider, ProviderError};
use crate::recovery::watch::Watch;
use crate::retention::keeper::Keeper;
use crate::secret::shared::ShortSecret;
use crate::store::sequence::SequenceDefaults;
use crate::store::uncertain::UncertainPolicy;
use crate::store::{ConnectSettings, Store, StoreError};
use crate::tail::Tail;
use crate::traces::{CollectorError, Traces};
use crate::webhook::applier::Applier;
use crate::webhook::receiver::{self, ReceiverSettings};
use crate::webhook::signature::{AppSecrets, EmptyAppSecret};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sends, and settles what is uncertain.
    Worker,
    /// Receives webhooks and applies them.
    Webhook,
    /// Answers operators.
    Admin,
}

/// Why a service could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// HTTPS.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// An app secret is there and empty.
    #[error("webhook.app_secrets")]
    AppSecret(#[from] EmptyAppSecret),
    /// A shared secret is too short.
    #[error("{setting}")]
    ShortSecret {
        /// The setting.
        setting: &'static str,
        /// What to do about it.
        source: ShortSecret,
    },
    /// Traces.
    #[error(transparent)]
    Traces(#[from] CollectorError),
    /// An address that cannot be listened on.
    #[error("could not listen on {address} ({setting}); is another process there?")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl ServiceError {
    /// Whether other settings are what it takes.
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::AppSecret(_)
            | Self::ShortSecret { .. }
            | Self::Traces(CollectorError::Header { .. }) => true,
            Self::Store(_)
            | Self::Provider(_)
            | Self::Traces(CollectorError::Setup(_))
            | Self::Listen { .. } => false,
        }
    }
}

/// A running service.
pub struct Service {
    /// The database it works on.
    pub store: Store,
    /// Where webhooks are received, if they are.
    pub webhook_address: Option<SocketAddr>,
    /// Where operators ask, if they may.
    pub admin_address: Option<SocketAddr>,
    /// Nothing new is begun.
    stop_sending: CancellationToken,
    /// Nothing is in flight any more: the worker may be forgotten.
    release: CancellationToken,
    /// Everything else ends.
    stop: CancellationToken,
    metrics: Arc<Metrics>,
    traces: Traces,
    tail: Tail,
    signals: Option<Arc<Signals>>,
    dispatcher: Option<JoinHandle<()>>,
    recorder: Option<JoinHandle<()>>,
    backlog: Option<Arc<Backlog>>,
    ownership: Option<JoinHandle<()>>,
    tasks: TaskTracker,
    parts: Supervision,
    grace: Duration,
}

/// Connects to the database that the settings name.
pub async fn connect(config: &Config, env: &Environment) -> Result<Store, ServiceError> {
    use secrecy::ExposeSecret;
    let url = config.database_url(env)?;
    let settings = connect_settings(config, url.expose_secret());
    Ok(Store::connect(&settings).await?)
}

/// How a process that works connects to its database: so that one silent connection does not cost its lease.
pub fn connect_settings(config: &Config, url: &str) -> ConnectSettings {
    let statement_timeout = config.statement_limit();
    ConnectSettings {
        url: url.to_owned(),
        max_connections: config.database.max_connections,
        statement_timeout,
        lock_timeout: config.database.lock_timeout.min(statement_timeout),
        by_key: true,
    }
}

/// What becomes of lost answers where neither message nor sender says.
pub fn uncertain_policy(settings: &Reconcile) -> UncertainPolicy {
    UncertainPolicy {
        window_s: settings.window.as_secs().try_into().unwrap_or(i32::MAX),
        max_resends: settings.max_resends.try_into().unwrap_or(i32::MAX),
        hold: settings.on_uncertain == OnUncertain::Hold,
    }
}

/// How a process makes requests.
pub fn http_settings(config: &Config) -> HttpSettings {
    HttpSettings {
        connect_timeout: config.http.connect_timeout,
        response_timeout: config.http.response_timeout,
        pool_idle_timeout: config.http.pool_idle_timeout,
        ..HttpSettings::default()
    }
}

impl Service {
    /// Starts the parts that `roles` ask for on a database that has every migration.
    pub async fn start(
        store: Store,
        config: &Config,
        env: &Environment,
        roles: &BTreeSet<Role>,
    ) -> Result<Self, ServiceError> {
        let name = config.worker.name.clone().unwrap_or_else(default_name);
        let watch = Watch::new(store.clone(), name.clone(), config.worker.heartbeat);
        // Before anything else: where the database has gone back, all senders are held first.
        watch.look().await?;
        // Before anything is sent: a worker must not be ended by what its listener lacks.
        let access = admin_access(config, env)?;
        let token_key = match config.token_key(env)? {
            Some(key) => key,
            None => TokenKey::from_bytes(&store.callback_token_key().await?),
        };
        if roles.contains(&Role::Worker) || roles.contains(&Role::Webhook) {
            let fingerprint = token_key.fingerprint();
            store.use_token_key(&fingerprint, &name).await?;
        }
        let mut service = Self {
            store,
            webhook_address: None,
            admin_address: None,
            stop_sending: CancellationToken::new(),
            release: CancellationToken::new(),
            stop: CancellationToken::new(),
            metrics: Arc::default(),
            traces: Traces::default(),
            tail: Tail::new(Clock::system()),
            signals: None,
            dispatcher: None,
            recorder: None,
            backlog: None,
            ownership: None,
            tasks: TaskTracker::new(),
            parts: Supervision::default(),
            grace: config.shutdown(),
        };
        service.tell_traces(config, env).await?;
        let sequence = &config.sequence;
        let defaults = SequenceDefaults {
            on_failure: sequence.on_failure.as_str(),
            delivery_timeout: sequence.delivery_timeout,
            on_timeout: sequence.on_timeout.as_str(),
        };
        if roles.contains(&Role::Worker) && service.store.set_sequence_defaults(&defaults).await? {
            info!("The settings [sequence] of this worker count from now on");
        }
        if roles.contains(&Role::Webhook) {
            service
                .receive_webhooks(config, env, token_key.clone())
                .await?;
        }
        let mut health = admin::Health {
            store: service.store.clone(),
            clock: Clock::system(),
            may_send: None,
            progress: None,
            stuck: None,
            unwritten: None,
        };
        if roles.contains(&Role::Worker) {
            let key = service.store.callback_token_key().await?;
            let fingerprints = FingerprintKey::from_bytes(&key);
            service.work(config, token_key, fingerprints, &mut health)?;
        }
        let watching = watch.run(service.stop.clone());
        service
            .tasks
            .spawn(service.parts.of("watch over the database", watching));
        service.tell_the_fleet(config);
        if roles.contains(&Role::Admin) {
            service.answer_operators(config, access, health).await?;
        }
        Ok(service)
    }

    /// Has it told what this process does: each step, and to those who watch.
    fn tell_the_fleet(&self, config: &Config) {
        let name = config.worker.name.clone().unwrap_or_else(default_name);
        let (store, tail) = (self.store.clone(), self.tail.clone());
        let relay = Relay::new(store.clone(), tail.clone(), name.clone());
        let relaying = relay.run(self.stop.clone());
        self.tasks
            .spawn(self.parts.of("relay to those who watch", relaying));
        let teller = Teller::new(store, Arc::clone(&self.metrics), tail, name);
        let telling = teller.run(self.stop.clone());
        self.tasks
            .spawn(self.parts.of("teller of activity", telling));
    }

    async fn receive_webhooks(
        &mut self,
        config: &Config,
        env: &Environment,
        token_key: TokenKey,
    ) -> Result<(), ServiceError> {
        let app_secrets = AppSecrets::new(config.app_secrets(env)?)?;
        let unsigned_secrets =
            shared_secrets("webhook.unsigned_secrets", config.unsigned_secrets(env)?)?;
        if app_secrets.is_empty() && unsigned_secrets.is_empty() {
            warn!(
                "No app secret is set, so every webhook is refused; set WHATSAPP_APP_SECRET to the secret of your Meta app"
            );
        }
        let settings = ReceiverSettings {
            app_secrets,
            unsigned_secrets,
            verify_token: config.verify_token(env)?,
        };
        let stored = Arc::new(Notify::new());
        let metrics = &self.metrics;
        let (routes, writer) = receiver::routes(
            self.store.clone(),
            settings,
            Arc::clone(&stored),
            Arc::clone(metrics),
            self.traces.clone(),
        );
        self.webhook_address = Some(
            self.listen("webhook.listen", config.webhook.listen, routes)
                .await?,
        );
        self.tasks
            .spawn(self.parts.of("writer of webhook deliveries", writer.run()));
        let applier = Applier::new(
            self.store.clone(),
            token_key,
            config.webhook.apply_batch,
            Arc::clone(&self.metrics),
            self.traces.clone(),
            self.tail.clone(),
        );
        let applying = applier.run(stored, self.stop.clone());
        self.tasks
            .spawn(self.parts.of("applier of webhooks", applying));
        Ok(())
    }

    fn work(
        &mut self,
        config: &Config,
        token_key: TokenKey,
        fingerprints: FingerprintKey,
        health: &mut admin::Health,
    ) -> Result<(), ServiceError> {
        let clock = Clock::system();
        let provider = Arc::new(Provider::new(&http_settings(config), clock.clone())?);
        let folder = media_folder(config)?;
        let media = Media::new(folder, self.store.clone(), Arc::clone(&provider));
        let ownership = Ownership::new(
            self.store.clone(),
            clock.clone(),
            fingerprints,
            OwnershipSettings {
                name: config.worker.name.clone().unwrap_or_else(default_name),
                heartbeat: config.worker.heartbeat,
                lease: config.worker.lease,
                leaves_within: LEAVES_WITHIN,
            },
        );
        let (trust, holding) = (ownership.trust(), ownership.holding());
        let departures = ownership.departures();
        let leases = ownership.called();
        let (recorder, queue) = Recorder::new(
            self.store.clone(),
            RecorderSettings {
                linger: config.worker.record_delay,
                batch: config.worker.record_batch as usize,
            },
            Arc::clone(&self.metrics),
            self.tail.clone(),
        );
        let sending = Arc::new(Sending {
            provider,
            media,
            token_key,
            retry: RetryPolicy {
                first_delay: config.retry.first_delay,
                factor: config.retry.factor,
                max_delay: config.retry.max_delay,
                jitter: config.retry.jitter,
                max_attempts: config.retry.max_attempts,
            },
            clock: clock.clone(),
            trust: Arc::clone(&trust),
            doubts: Doubts::default(),
            metrics: Arc::clone(&self.metrics),
            traces: self.traces.clone(),
            tail: self.tail.clone(),
        });
        let signals = Arc::new(Signals::default());
        let max_in_flight = config.worker.max_in_flight as usize;
        let max_unwritten = max_in_flight * 16;
        let backlog = queue.backlog();
        let settings = DispatchSettings {
            tick: config.worker.tick,
            idle_poll: config.worker.idle_poll,
            // The whole exchange, and before it the time in which it may still start.
            answer_due_in: LEAVE_WITHIN + config.http.response_timeout + Duration::from_secs(1),
            max_unwritten,
            desk: DeskSettings {
                read_ahead: config.worker.read_ahead as usize,
                max_in_flight,
                urgent_share: config.worker.urgent_share,
            },
        };
        let dispatcher = Dispatcher::new(
            self.store.clone(),
            settings,
            sending,
            holding.clone(),
            queue,
            departures,
            Arc::clone(&signals),
        );
        let reconciler = Reconciler::new(
            self.store.clone(),
            uncertain_policy(&config.reconcile),
            Arc::clone(&self.metrics),
            self.tail.clone(),
        );
        let parts = &self.parts;
        let owning = ownership.run(self.stop_sending.clone(), self.release.clone());
        self.ownership = Some(tokio::spawn(parts.of("keeper of leases", owning)));
        self.recorder = Some(tokio::spawn(parts.of("recorder", recorder.run())));
        let dispatching = dispatcher.run(self.stop_sending.clone());
        self.dispatcher = Some(tokio::spawn(parts.of("dispatcher", dispatching)));
        let watching = watch_over(
            Arc::clone(&signals),
            clock.clone(),
            self.stop_sending.clone(),
        );
        self.tasks
            .spawn(parts.of("watch over the dispatcher", watching));
        self.signals = Some(Arc::clone(&signals));
        health.progress = Some(progress_of(Arc::clone(&signals), clock));
        self.backlog = Some(Arc::clone(&backlog));
        let unwritten = Arc::clone(&backlog);
        health.unwritten = Some(Arc::new(move || unwritten.unwritten()));
        health.stuck = Some(Arc::new(move || {
            let unwritten = backlog.unwritten();
            (backlog.is_failing() && unwritten > max_unwritten).then_some(unwritten)
        }));
        health.may_send = Some(Arc::new(move |clock| trust.holds_at(clock.boot())));
        let settling = reconciler.run(holding.clone(), Arc::clone(&signals), self.stop.clone());
        self.tasks.spawn(parts.of("reconciler", settling));
        let campaigns = campaign_work::run(self.store.clone(), holding.clone(), self.stop.clone());
        self.tasks.spawn(parts.of("campaigns", campaigns));
        let keeper = Keeper::new(
            self.store.clone(),
            config.retention.spans(),
            Clock::system(),
            Arc::clone(&self.metrics),
            self.stop.clone(),
        );
        self.tasks
            .spawn(parts.of("keeper of what has ended", keeper.run()));
        let listening = wake::run(
            self.store.clone(),
            holding,
            signals,
            leases,
            self.tail.clone(),
            self.stop.clone(),
        );
        self.tasks.spawn(parts.of("listener for calls", listening));
        Ok(())
    }

    async fn listen(
        &self,
        setting: &'static str,
        address: SocketAddr,
        routes: Router,
    ) -> Result<SocketAddr, ServiceError> {
        let failed = |source| ServiceError::Listen {
            setting,
            address,
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let serving = listener::serve(listener, routes, LIMITS, self.stop.clone());
        self.tasks
            .spawn(self.parts.of("listener on a port", serving));
        info!("Listening on {address} ({setting})");
        Ok(address)
    }

    /// Waits until everything that is due and may leave has left and every outcome is written; for ever where this process does not
    /// send.
    pub async fn drained(&self) {
        match &self.signals {
            Some(signals) => {
                // The sender of the signal is in `signals`, so it cannot be gone.
                let _ = signals
                    .nothing_due
                    .subscribe()
                    .wait_for(|nothing_due| *nothing_due)
                    .await;
            }
            None => std::future::pending().await,
        }
    }

    /// Waits until a part has broken off, and names it. The service is of no use any more: stop it, and end the process.
    pub async fn broken(&self) -> &'static str {
        self.parts.broken().await
    }

    /// Stops in order. `true`: every request had its answer and every answer is written.
    pub async fn stop(mut self) -> bool {
        self.stop_sending.cancel();
        let mut all_answered = false;
        let in_time = tokio::time::timeout(self.grace, async {
            // The dispatcher ends with its last answer, and with it the last way to the recorder.
            ended(self.dispatcher.take()).await;
            all_answered = true;
            ended(self.recorder.take()).await;
        })
        .await
        .is_ok();
        if !in_time {
            let what = match all_answered {
                true => "answer could be written",
                false => "request had its answer",
            };
            warn!(
                "Not every {what} in time; those messages will be swept to uncertain by the next worker"
            );
        }
        let backlog = self.backlog.take();
        let clean = in_time && backlog.is_none_or(|backlog| backlog.unwritten() == 0);
        self.release.cancel();
        ended(self.ownership.take()).await;
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.grace, self.tasks.wait())
            .await
            .is_err()
        {
            warn!("Not everything ended in time");
        }
        self.store.close().await;
        clean
    }
}

async fn ended(task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        // Its panic was told already.
        let _ = task.await;
    }
}

/// The folder of files that messages may name: without it each of them would fail, one by one.
fn media_folder(config: &Config) -> Result<Option<PathBuf>, ConfigError> {
    let folder = config.media.folder.clone();
    match &folder {
        Some(missing) if !missing.is_dir() => Err(ConfigError::refused(
            "media.folder",
            missing.display(),
            "is no folder that can be read here",
            "make it, mount it before the start, or leave the setting out",
        )),
        Some(_) | None => Ok(folder),
    }
}

fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!(
        "{}-{}",
        if host.is_empty() { "worker" } else { host },
        std::process::id()
    )
}
