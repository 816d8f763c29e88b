//! Takes deliveries from the inbox and applies what they say.
//!
//! Apart from receiving, so that WhatsApp never waits for it, and repeatable: a batch is one transaction, and applying the
//! same status twice changes nothing. One delivery that the database refuses is put aside and shown; one that fails otherwise is tried
//! again later. Neither keeps back what came after it.
//!
//! Safe to run in every process at once: deliveries that one applier has taken are skipped by the others.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::payload::{Delivery, TemplateEffect, TemplateUpdate};
use super::place::Place;
use crate::crash::crash_point;
use crate::domain::account_news::{AccountNews, OurNumber};
use crate::domain::era::Eras;
use crate::domain::event::{Event, EventKind};
use crate::domain::hold::TemplateKey;
use crate::domain::id::{AttemptNumber, MessageId};
use crate::domain::mask::Eyes;
use crate::domain::status::Status;
use crate::domain::token::{Callback, TokenKey};
use crate::domain::transition::in_words;
use crate::metrics::Metrics;
use crate::standing::shell;
use crate::store::account_news::NewsApplied;
use crate::store::campaign_work::CampaignChange;
use crate::store::era::Amiss;
use crate::store::inbox::{self, FRONT, Groups, Handled, InboxBatch};
use crate::store::status::{Applied, StatusSeen, Told};
use crate::store::suppression::Preference;
use crate::store::template_hold::TemplateNews;
use crate::store::{Store, StoreError};
use crate::tail::Tail;
use crate::traces::Traces;

/// A status may come a moment before the answer that tells its wamid: those are looked at again often, for a minute.
const JUST_NOW: time::Duration = time::Duration::minutes(1);
const MATCH_EVERY: Duration = Duration::from_secs(1);
/// Older ones are looked at again seldom, for as long as WhatsApp repeats its webhooks (Meta, "Throughput": seven days). Many
/// may never match: another system may send from the same number.
const MATCH_FOR: time::Duration = time::Duration::days(7);
const MATCH_ALL_EVERY: Duration = Duration::from_secs(5 * 60);

/// Between two looks at the inbox when nothing has told us to look: what a process has stored its own applier is told, so only what was
/// left by one that has ended waits for that …
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// … but what failed, and a status whose wamid was unknown, for this.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// From one look to the next, unless more is known to wait: what comes alone is applied at once, what comes in a stream many at a time. A look
/// costs what it costs to apply some thirty statuses.
const LOOKS_APART: Duration = Duration::from_millis(20);

/// Groups of deliveries in a batch: as many as fill it where each has a few.
const DELIVERIES_A_GROUP: i64 = 8;

/// Messages of released templates that are made due again in one statement.
const BRING_BACK_AT_ONCE: i64 = 5_000;

/// Applies deliveries.
pub struct Applier {
    store: Store,
    token_key: TokenKey,
    batch: i64,
    place: Place,
    metrics: Arc<Metrics>,
    traces: Traces,
    tail: Tail,
}

/// What one look did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Deliveries taken from the inbox.
    pub deliveries: usize,
    /// There may be more.
    pub more_may_wait: bool,
    /// What their statuses did.
    pub statuses: Applied,
    /// Holds of templates that they released.
    pub released_templates: u64,
    /// Campaigns that they paused.
    pub paused_campaigns: usize,
    /// Suppressions that came or went by what people have chosen in WhatsApp.
    pub preferences: u64,
    /// Tokens that were not made with our key.
    pub forged: usize,
    /// Tokens of messages that were lost when the database went back.
    pub lost: usize,
    /// Deliveries, or parts of them, that could not be read.
    pub bad: usize,
}

/// What was read from the deliveries of a batch.
#[derive(Default)]
struct Found {
    statuses: Vec<StatusSeen>,
    templates: Vec<TemplateNews>,
    preferences: Vec<Preference>,
    numbers: Vec<OurNumber>,
    account_news: Vec<(AccountNews, OffsetDateTime)>,
    /// Of the statuses, the requests of this era that they name.
    of_now: Vec<(MessageId, AttemptNumber)>,
}

/// What a token proves that names a request which was never begun.
const NEVER_BEGUN: &str = "a webhook tells of a message that was sent and that it has never sent: an earlier copy of it was put in its place";

/// A batch that could not be applied.
struct Failure {
    error: StoreError,
    /// What waited together, and the deliveries.
    batch: (Groups, Vec<i64>),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self {
            error,
            batch: <_>::default(),
        }
    }
}

impl Applier {
    /// Applies up to `batch` deliveries at a time.
    pub fn new(
        store: Store,
        token_key: TokenKey,
        batch: u32,
        metrics: Arc<Metrics>,
        traces: Traces,
        tail: Tail,
    ) -> Self {
        Self {
            store,
            token_key,
            batch: i64::from(batch.max(1)),
            place: Place::new(Instant::now()),
            metrics,
            traces,
            tail,
        }
    }

    /// Applies deliveries as they come. `stored` makes it look sooner.
    pub async fn run(mut self, stored: Arc<Notify>, stop: CancellationToken) {
        let (mut match_at, mut match_all_at) = (Instant::now(), Instant::now());
        let mut something_is_open_until = Instant::now();
        while !stop.is_cancelled() {
            let looked_at = Instant::now();
            match self.run_once().await {
                Ok(report) => {
                    if report.statuses.unmatched > 0 {
                        something_is_open_until = looked_at + JUST_NOW.unsigned_abs();
                    }
                    if report.more_may_wait {
                        continue;
                    }
                }
                Err(error) => {
                    something_is_open_until = Instant::now() + LOOK_EVERY;
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not apply webhook deliveries; trying again"
                    );
                }
            }
            let now = Instant::now();
            if now >= match_at {
                match_at = now + MATCH_EVERY;
                let mut no_older_than = JUST_NOW;
                if now >= match_all_at {
                    (match_all_at, no_older_than) = (now + MATCH_ALL_EVERY, MATCH_FOR);
                }
                match self.store.match_again(no_older_than).await {
                    Ok(told) => {
                        let matched = told.len() as u64;
                        self.metrics.webhooks.matched_later.inc_by(matched);
                        self.tell(&told);
                    }
                    Err(error) => warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not match early statuses; trying again"
                    ),
                }
            }
            let look_again_in = match now < something_is_open_until {
                true => TRY_AGAIN,
                false => LOOK_EVERY,
            };
            let until_more_has_come = async {
                let _ = tokio::time::timeout(look_again_in, stored.notified()).await;
                tokio::time::sleep_until(looked_at + LOOKS_APART).await;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = until_more_has_come => {}
            }
        }
    }

    /// Applies the oldest deliveries.
    pub async fn run_once(&mut self) -> Result<Report, StoreError> {
        let many = ((self.batch / DELIVERIES_A_GROUP).max(1), self.batch);
        match self.apply(many).await {
            Err(failure) if may_go_alone(&failure.error) => {}
            done => return done.map_err(|failure| failure.error),
        }
        // One of them holds what the database refuses, or needs what somebody keeps locked, or all of them take too long. Alone, it shows
        // itself or is done; there may be more behind it.
        let report = match self.apply((1, 1)).await {
            Ok(report) => report,
            Err(Failure {
                error,
                batch: (group, deliveries),
            }) => match deliveries.as_slice() {
                [_, _, ..] if may_go_alone(&error) => {
                    self.store.part_deliveries(&group).await?;
                    Report::default()
                }
                [id] if error.is_refusal_of_data() => {
                    // Without the server's words: what it refuses may stand in them.
                    warn!(
                        error.code = error.code().as_deref(),
                        "Webhook delivery {id} cannot be applied; it was put aside"
                    );
                    let why = "the database refuses what it holds";
                    self.store.mark_bad(&group, *id, why).await?;
                    self.metrics.webhooks.bad.inc();
                    Report::default()
                }
                [id] if may_go_alone(&error) && self.leave(&group) => {
                    warn!(
                        error.code = error.code().as_deref(),
                        "Webhook delivery {id} could not be applied; it is tried again later, and others go before it"
                    );
                    Report::default()
                }
                _ => return Err(error),
            },
        };
        Ok(Report {
            more_may_wait: true,
            ..report
        })
    }

    fn leave(&mut self, groups: &Groups) -> bool {
        let now = Instant::now();
        groups
            .ids()
            .iter()
            .all(|group| self.place.leave(*group, now))
    }

    async fn apply(&mut self, at_most: (i64, i64)) -> Result<Report, Failure> {
        let Some(batch) = self.take(at_most).await? else {
            return Ok(Report::default());
        };
        let groups = batch.groups().clone();
        let deliveries = batch.deliveries.iter().map(|one| one.id).collect();
        let last = groups.last_received_at();
        let more_may_wait =
            groups.count() as i64 >= at_most.0 || batch.deliveries.len() as i64 >= at_most.1;
        let report = match self.apply_batch(batch).await {
            Ok(report) => report,
            Err(error) => {
                let batch = (groups, deliveries);
                return Err(Failure { error, batch });
            }
        };
        // Not before: what was not applied is found where it was.
        last.into_iter().for_each(|last| self.place.passed(last));
        self.place.applied(groups.ids());
        Ok(Report {
            more_may_wait,
            ..report
        })
    }

    async fn take(&mut self, at_most: (i64, i64)) -> Result<Option<InboxBatch>, StoreError> {
        let now = Instant::now();
        let (mut after, left) = (self.place.after(now), self.place.left(now));
        loop {
            let since = Instant::now();
            let batch = self.store.take_deliveries(at_most, after, &left).await?;
            let from_the_front = after == FRONT;
            if from_the_front {
                self.place.looked_from_the_front(since, Instant::now());
            }
            if batch.is_some() {
                return Ok(batch);
            }
            let look_from_the_front = self.place.found_nothing(after);
            if from_the_front && self.store.adopt_deliveries().await? {
                continue;
            }
            if !look_from_the_front {
                return Ok(None);
            }
            after = FRONT;
        }
    }

    async fn apply_batch(&self, mut batch: InboxBatch) -> Result<Report, StoreError> {
        crash_point!("apply.taken");
        let taken = Instant::now();
        let mut report = Report {
            deliveries: batch.deliveries.len(),
            ..Report::default()
        };
        let mut found = Found::default();
        let mut handled = Vec::with_capacity(batch.deliveries.len());
        let mut traced = Vec::new();
        let eras = self.store.known_eras();
        for delivery in &batch.deliveries {
            let before = found.statuses.len();
            handled.push(self.read(delivery, &eras, &mut found, &mut report));
            let statuses = &found.statuses[before..];
            let named = statuses.iter().filter_map(|status| status.named);
            let (body, came) = (&delivery.body, delivery.received_at);
            traced.extend(self.traces.delivery(body, came, statuses.len(), named));
        }
        batch.expect_begun(found.of_now);
        batch.expect_numbers(found.numbers);
        report.statuses = batch.apply(&found.statuses).await?;
        crash_point!("apply.statuses");
        // Before the news, which is about whoever is known by then.
        batch.learn_numbers().await?;
        report.released_templates = batch.apply_template_news(&found.templates).await?;
        report.preferences = batch.apply_preferences(&found.preferences).await?;
        let applied = batch.apply_account_news(&found.account_news).await?;
        report.paused_campaigns = applied.paused.len();
        let (sent_delays, told) = (batch.sent_delays(), batch.told());
        crash_point!("apply.asked");
        batch.commit(&handled).await?;
        crash_point!("apply.committed");
        self.traces.applied(traced, taken, Instant::now());
        self.count(&report, &sent_delays);
        self.tell(&told);
        say(&applied);
        if report.lost > 0 {
            warn!(
                "{} statuses are about messages that were lost when the database went back",
                report.lost
            );
        }
        if report.statuses.never_begun > 0 && self.store.era().is_settled() {
            self.store.report(Amiss {
                era: eras.current(),
                cause: "told_by_webhook".to_owned(),
                what: NEVER_BEGUN.to_owned(),
            });
        }
        if report.statuses.held_templates > 0 {
            warn!(
                "{} templates held: WhatsApp took messages of them and failed them for it",
                report.statuses.held_templates
            );
        }
        if report.released_templates > 0 {
            // Not in that transaction: there may be many. Whatever is left when this fails is brought back by their owners.
            while self.store.bring_back(BRING_BACK_AT_ONCE).await? {}
        }
        debug!(
            "Applied {} webhook deliveries: {} statuses of ours, {} unknown",
            report.deliveries, report.statuses.matched, report.statuses.unmatched
        );
        Ok(report)
    }

    /// What was applied, once it is durable.
    fn count(&self, report: &Report, sent_delays: &[Duration]) {
        let counted = &self.metrics.webhooks;
        counted.applied.inc_by(report.deliveries as u64);
        counted.matched.inc_by(report.statuses.matched);
        counted.unmatched.inc_by(report.statuses.unmatched);
        counted.bad.inc_by(report.bad as u64);
        counted.forged.inc_by(report.forged as u64);
        for (counter, told) in counted.told.iter().zip(report.statuses.told) {
            counter.inc_by(told);
        }
        counted.echoed.inc_by(report.statuses.echoed);
        let learned = report.statuses.learned;
        self.metrics.messages.accepted.inc_by(learned);
        let settled = report.statuses.settled;
        self.metrics.settled.webhook.inc_by(settled);
        for delay in sent_delays {
            self.metrics.took.sent_status.observe(*delay);
        }
    }

    /// Tells those who watch, once it is durable.
    fn tell(&self, told: &[Told]) {
        self.tail.tell(|at| {
            let event = |one: &Told| Event {
                message: Some(one.id.0),
                attempt: Some(one.attempt.0),
                code: one.error.as_ref().and_then(|error| error.code),
                text: match one.status {
                    None => Some("a status webhook told it before its answer".to_owned()),
                    Some(_) => one.error.as_ref().map(in_words),
                },
                ..Event::new(at, kind_of(one.status), one.sender.as_str())
            };
            told.iter().map(event).collect::<Vec<_>>()
        });
    }

    /// The request that callback data names, by the key of the era it was made in; and the application's own value.
    ///
    /// A message that was lost when the database went back is named by nobody: whatever bears its id now is another one.
    fn named(
        &self,
        data: String,
        eras: &Eras,
        found: &mut Found,
        report: &mut Report,
    ) -> (Option<(MessageId, AttemptNumber)>, Option<String>) {
        for era in eras.latest_first() {
            match self.token_key.in_era(era).verify(&data) {
                Callback::Verified {
                    message,
                    attempt,
                    app,
                } => {
                    let named = Some((message, attempt)).filter(|_| eras.remember(message, era));
                    report.lost += usize::from(named.is_none());
                    if era == eras.current() {
                        found.of_now.extend(named);
                    }
                    return (named, app);
                }
                Callback::Foreign => return (None, Some(data)),
                Callback::Forged => {}
            }
        }
        report.forged += 1;
        (None, None)
    }

    fn read(
        &self,
        delivery: &inbox::Delivery,
        eras: &Eras,
        found: &mut Found,
        report: &mut Report,
    ) -> Handled {
        let Ok(read) = Delivery::read(&delivery.body) else {
            warn!(
                "Webhook delivery {} is no JSON object; it is kept as it came",
                delivery.id
            );
            report.bad += 1;
            return Handled {
                id: delivery.id,
                statuses: 0,
                bad_entries: None,
                unreadable: true,
            };
        };
        let templates = read.template_updates.iter().filter_map(news_of);
        found.templates.extend(templates);
        found.numbers.extend(read.numbers);
        let dated = |news: AccountNews| {
            let at = news.at.unwrap_or(delivery.received_at);
            (news, at)
        };
        found
            .account_news
            .extend(read.account_news.into_iter().map(dated));
        found
            .preferences
            .extend(read.preferences.into_iter().map(|one| Preference {
                sender: one.sender,
                recipient: one.recipient,
                stops: one.stops,
                at: one.at.unwrap_or(delivery.received_at),
            }));
        let statuses = read.statuses.len() as i32;
        for status in read.statuses {
            let (named, callback_data) = match status.callback_data {
                Some(data) => self.named(data, eras, found, report),
                None => (None, None),
            };
            found.statuses.push(StatusSeen {
                inbox_id: delivery.id,
                received_at: delivery.received_at,
                sender: status.sender,
                wamid: status.wamid,
                status: status.status,
                occurred_at: status.at.unwrap_or(delivery.received_at),
                named,
                callback_data,
                error: status.error,
            });
        }
        let bad = read.bad.len() + read.more_bad;
        report.bad += bad;
        let bad_entries = (bad > 0).then(|| {
            warn!(
                "Webhook delivery {} has {bad} parts that cannot be read; the rest was applied",
                delivery.id
            );
            let told =
                (read.bad.iter()).map(|bad| json!({"place": bad.path, "reason": bad.reason}));
            let more = (read.more_bad > 0).then(
                || json!({"place": "", "reason": format!("and {} more parts", read.more_bad)}),
            );
            json!(told.chain(more).collect::<Vec<_>>()).to_string()
        });
        Handled {
            id: delivery.id,
            statuses,
            bad_entries,
            unreadable: false,
        }
    }
}

/// Whether what failed in a batch may keep back what would not fail without it.
fn may_go_alone(error: &StoreError) -> bool {
    error.may_go_in_parts() || error.is_in_the_way()
}

fn kind_of(status: Option<Status>) -> EventKind {
    match status {
        None => EventKind::Accepted,
        Some(Status::Sent) => EventKind::Sent,
        Some(Status::Delivered) => EventKind::Delivered,
        Some(Status::Read) => EventKind::Read,
        Some(Status::Played) => EventKind::Played,
        Some(Status::Failed) => EventKind::Undelivered,
    }
}

fn say(applied: &NewsApplied) {
    for change in &applied.paused {
        let CampaignChange {
            campaign,
            name,
            reason,
            ..
        } = change;
        let reason = Eyes::CLOSED.text(reason);
        warn!(
            sender.id = change.sender,
            "Campaign {campaign} ({name}) paused: {reason}; resume it with: wa-outbox campaign resume {}",
            shell::word(name)
        );
    }
    for (sender, reason) in &applied.held {
        let reason = Eyes::CLOSED.text(reason);
        warn!(sender.id = %sender, "Sender {sender} held: {reason}; release it with: wa-outbox sender release {sender}");
    }
    for sender in &applied.released {
        info!(sender.id = %sender, "Sender {sender} released: WhatsApp has reinstated its account");
    }
}

/// What an update of a template means for sending; nothing where it means nothing.
fn news_of(update: &TemplateUpdate) -> Option<TemplateNews> {
    let is_usable = match update.effect {
        TemplateEffect::Usable => true,
        TemplateEffect::Unusable => false,
        TemplateEffect::Unchanged => return None,
    };
    let reason = update
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    Some(TemplateNews {
        account: update.account.clone(),
        template: TemplateKey::new(update.name.as_str(), update.language.as_deref()),
        reason: format!("WhatsApp says {}{reason}", update.event),
        is_usable,
    })
}
