//! `bench campaign`: one template to very many, and what its operator does meanwhile.
//!
//! First a file of recipients is imported, beside a bare COPY ([`recipients`]). Those that are sent are written by one
//! INSERT … SELECT, and the same rows into a bare table for comparison. While the campaign runs,
//! urgent messages are written once a second; it is paused, resumed and at the end cancelled. What leaves when is told by the
//! ledger, on the clock of this process.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::recipients::{self, Imports};
use super::scene::{Plan, Scene};
use super::{Options, SENDER, WORKER};
use crate::domain::id::SenderId;
use crate::simulator::Entry;
use crate::store::campaign::{CampaignSettings, CampaignVerb, NewCampaign};
use crate::store::sender::SenderChange;

const RATE: f64 = 1_000.0;
const BY: &str = "bench";
/// Recipients, into the outbox and into a bare table.
const RECIPIENTS: &str = "insert into wa.outbox (campaign_id, recipient, variables)
  select $1, '+1650' || (1000000 + n), jsonb_build_object('name', 'Recipient ' || n, 'code', 'SPRING' || n, 'link', 'https://example.com/o/' || n)
  from generate_series(1, $2) n";
const BARE: &str = "insert into public.bare (campaign_id, recipient, variables)
  select $1, '+1650' || (1000000 + n), jsonb_build_object('name', 'Recipient ' || n, 'code', 'SPRING' || n, 'link', 'https://example.com/o/' || n)
  from generate_series(1, $2) n";
const TEMPLATE: &str = r#"{"type":"template","template":{"name":"spring_offer","language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"{{name}}"},{"type":"text","text":"Your code: {{code}}"},{"type":"text","text":"{{link}}"}]}]}}"#;
/// A paused campaign is watched for so long.
const REST: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
struct Report {
    recipients: u32,
    imports: Option<Imports>,
    written_per_second: f64,
    bare_rows_per_second: f64,
    bytes_per_recipient: f64,
    seconds: f64,
    rate: f64,
    /// Requests of the campaign and its sender in any second.
    most_in_one_second: usize,
    /// Of the rate, while it was not paused.
    share_of_rate: f64,
    /// From the word until the last request of the campaign came; 0: none came after it.
    pause_ms: f64,
    resume_ms: f64,
    cancel_ms: f64,
    urgent: usize,
    urgent_median_ms: f64,
    urgent_most_ms: f64,
    /// What `campaign show` reads, while it runs.
    show_median_ms: f64,
    show_most_ms: f64,
    /// A row that had not left is told as cancelled, so long after the word.
    told_cancelled_ms: f64,
    worker_peak_mib: f64,
    duplicates: u64,
}

/// Runs it and prints what it shows.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    options.tell(&report, Report::print)?;
    anyhow::ensure!(
        report.duplicates == 0 && report.most_in_one_second as f64 <= RATE,
        "a promise was broken: see the counts above"
    );
    Ok(())
}

async fn scene(options: &Options) -> anyhow::Result<Scene> {
    let change = SenderChange {
        rate_per_second: Some(RATE),
        max_in_flight: Some(options.in_flight.max(256).try_into()?),
        ..SenderChange::default()
    };
    Scene::set(Plan {
        senders: vec![(SenderId::from(SENDER), change)],
        latency: options.latency(),
        settings: [
            super::settings(3_600),
            vec![("WA_OUTBOX__WORKER__READ_AHEAD", "1000".to_owned())],
        ]
        .concat(),
        pooler: options.pooler.map(super::PoolerMode::mode),
        ..Plan::default()
    })
    .await
}

/// A run while it goes on.
struct Run {
    scene: Scene,
    campaign: i64,
    /// When each urgent message was committed, by its reference.
    urgent: Vec<(String, Duration)>,
    shows: Vec<Duration>,
}

impl Run {
    fn now(&self) -> Duration {
        self.scene.started.elapsed()
    }

    async fn lead(&self, verb: CampaignVerb) -> anyhow::Result<Duration> {
        self.scene
            .store
            .lead_campaign(self.campaign, verb, BY, Some("measured"))
            .await?;
        Ok(self.now())
    }

    /// Writes an urgent message and looks at the campaign, once a second.
    async fn go_on_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            if Instant::now() >= until {
                return Ok(());
            }
            let recipient = format!("+1651{:07}", self.urgent.len() + 1);
            sqlx::query(
                r#"insert into wa.outbox (sender, recipient, priority, payload)
                   values ($1, $2, 0, '{"type":"text","text":{"body":"Your code is 4711"}}')"#,
            )
            .bind(SENDER)
            .bind(&recipient)
            .execute(self.scene.store.pool())
            .await?;
            self.urgent.push((recipient, self.now()));
            let asked = Instant::now();
            self.scene.store.campaign_progress(self.campaign).await?;
            self.shows.push(asked.elapsed());
        }
    }

    /// When the campaign's requests came.
    fn of_campaign(&self) -> Vec<Duration> {
        let is_of_campaign = |entry: &&std::sync::Arc<Entry>| entry.kind == "template";
        let all = self.scene.simulator.ledger().all();
        let mut times: Vec<_> = all
            .iter()
            .filter(is_of_campaign)
            .map(|one| one.at)
            .collect();
        times.sort_unstable();
        times
    }

    /// How long after each urgent message was committed its request came.
    fn urgent_delays(&self) -> Vec<Duration> {
        let ledger = self.scene.simulator.ledger();
        let came: HashMap<String, Duration> = ledger
            .all()
            .iter()
            .filter(|entry| entry.kind == "text")
            .map(|entry| (entry.recipient.clone(), entry.at))
            .collect();
        self.urgent
            .iter()
            .filter_map(|(recipient, at)| Some(came.get(recipient)?.saturating_sub(*at)))
            .collect()
    }
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let imports = match options.import_rows {
        0 => None,
        rows => {
            options.say(&format!("importing {rows} recipients, three times"));
            // Of a scene of its own: what lies in the queue afterwards is nothing to the rest.
            let scene = scene(options).await?;
            let imports = recipients::measure(&scene, rows, TEMPLATE).await?;
            scene.strike().await?;
            Some(imports)
        }
    };
    let scene = scene(options).await?;
    let campaign = NewCampaign {
        name: "spring".to_owned(),
        payload: TEMPLATE.to_owned(),
        sender: Some(SENDER.to_owned()),
        settings: CampaignSettings::default(),
        by: BY.to_owned(),
    };
    let campaign = scene.store.create_campaign(&campaign).await?;
    options.say(&format!("writing {} recipients", options.messages));
    let bare = bare_rows(&scene, options.messages).await?;
    let before = size(&scene).await?;
    let asked = Instant::now();
    sqlx::query(RECIPIENTS)
        .bind(campaign)
        .bind(i32::try_from(options.messages)?)
        .execute(scene.store.pool())
        .await?;
    let written_per_second = f64::from(options.messages) / asked.elapsed().as_secs_f64();
    let bytes_per_recipient = (size(&scene).await? - before) / f64::from(options.messages);
    scene.vacuum().await?;

    let mut run = Run {
        scene,
        campaign,
        urgent: Vec::new(),
        shows: Vec::new(),
    };
    run.scene.start_worker(WORKER, "worker,webhook,admin")?;
    run.lead(CampaignVerb::Start).await?;
    run.scene.simulator.ledger().wait_for_requests(1).await;
    let (from, half) = (run.now(), Duration::from_secs(options.seconds.into()) / 2);
    options.say("it runs");
    run.go_on_for(half).await?;
    options.say("it is paused");
    let paused = run.lead(CampaignVerb::Pause).await?;
    run.go_on_for(REST).await?;
    options.say("it is resumed");
    let resumed = run.lead(CampaignVerb::Resume).await?;
    run.go_on_for(half).await?;
    options.say("it is cancelled");
    let cancelled = run.lead(CampaignVerb::Cancel).await?;
    let told_cancelled_ms = until_told_cancelled(&run).await?;
    run.go_on_for(REST).await?;
    let report = Report {
        recipients: options.messages,
        imports,
        written_per_second,
        bare_rows_per_second: bare,
        bytes_per_recipient,
        told_cancelled_ms,
        worker_peak_mib: run.scene.workers[WORKER].used()?.peak_mib,
        ..Report::of(&run, from, paused, resumed, cancelled)
    };
    run.scene.stop_worker(WORKER).await?;
    run.scene.strike().await?;
    Ok(report)
}

/// The same rows into a table that has these columns and a key, and nothing else: rows a second.
async fn bare_rows(scene: &Scene, rows: u32) -> anyhow::Result<f64> {
    let pool = scene.store.pool();
    sqlx::query(
        "create table public.bare (id bigint generated always as identity primary key, campaign_id bigint, recipient text, variables jsonb)",
    )
    .execute(pool)
    .await?;
    let asked = Instant::now();
    sqlx::query(BARE)
        .bind(1_i64)
        .bind(i32::try_from(rows)?)
        .execute(pool)
        .await?;
    let per_second = f64::from(rows) / asked.elapsed().as_secs_f64();
    sqlx::query("drop table public.bare").execute(pool).await?;
    Ok(per_second)
}

async fn size(scene: &Scene) -> anyhow::Result<f64> {
    let bytes: i64 = sqlx::query_scalar(
        "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c
         join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'wa' and c.relkind = 'r'",
    )
    .fetch_one(scene.store.pool())
    .await?;
    Ok(bytes as f64)
}

/// Until the last recipient is told as cancelled: milliseconds; none left in the queue: 0.
async fn until_told_cancelled(run: &Run) -> anyhow::Result<f64> {
    let since = Instant::now();
    loop {
        let open: bool = sqlx::query_scalar(
            "select exists (select from wa.messages m where m.id = (select max(id) from wa.outbox where campaign_id = $1)
               and m.state in ('queued', 'sending'))",
        )
        .bind(run.campaign)
        .fetch_one(run.scene.store.pool())
        .await?;
        if !open {
            return Ok(since.elapsed().as_secs_f64() * 1_000.0);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Median and most, in milliseconds.
fn spread(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    (ms(median), ms(times.last().copied().unwrap_or_default()))
}

impl Report {
    fn of(
        run: &Run,
        from: Duration,
        paused: Duration,
        resumed: Duration,
        cancelled: Duration,
    ) -> Self {
        let times = run.of_campaign();
        let last_within = |from: Duration, until: Duration| {
            let within = times.iter().filter(|at| (from..until).contains(*at));
            within.max().map_or(0.0, |last| ms(*last - from))
        };
        let first_after = times.iter().find(|at| **at >= resumed);
        let ledger = run.scene.simulator.ledger();
        let second = Duration::from_secs(1);
        let ran = (paused - from) + (cancelled - resumed);
        let (urgent_median_ms, urgent_most_ms) = spread(&mut run.urgent_delays());
        let (show_median_ms, show_most_ms) = spread(&mut run.shows.clone());
        Self {
            seconds: ran.as_secs_f64(),
            rate: RATE,
            most_in_one_second: ledger.max_in_any_window(SENDER, second),
            share_of_rate: times.len() as f64 / (RATE * ran.as_secs_f64()),
            pause_ms: last_within(paused, resumed),
            resume_ms: first_after.map_or(f64::NAN, |first| ms(*first - resumed)),
            cancel_ms: last_within(cancelled, run.now()),
            urgent: run.urgent_delays().len(),
            urgent_median_ms,
            urgent_most_ms,
            show_median_ms,
            show_most_ms,
            duplicates: ledger.duplicates().len() as u64,
            recipients: 0,
            imports: None,
            written_per_second: 0.0,
            bare_rows_per_second: 0.0,
            bytes_per_recipient: 0.0,
            told_cancelled_ms: 0.0,
            worker_peak_mib: 0.0,
        }
    }

    fn print(&self) {
        println!(
            "campaign: {} recipients, {:.0} s at {} a second",
            self.recipients, self.seconds, self.rate
        );
        if let Some(imports) = &self.imports {
            imports.print();
        }
        println!(
            "  written: {:.0} rows/s (the bare table took {:.0}), {:.0} bytes each",
            self.written_per_second, self.bare_rows_per_second, self.bytes_per_recipient
        );
        println!(
            "  of the rate {:.1} %, most in any second {}",
            self.share_of_rate * 100.0,
            self.most_in_one_second
        );
        println!(
            "  last request {:.0} ms after pause, {:.0} ms after cancel; first {:.0} ms after resume",
            self.pause_ms, self.cancel_ms, self.resume_ms
        );
        println!(
            "  what had not left was told as cancelled {:.0} ms after the word",
            self.told_cancelled_ms
        );
        println!(
            "  {} urgent messages left {:.1} ms after their commit (median), {:.1} at most",
            self.urgent, self.urgent_median_ms, self.urgent_most_ms
        );
        println!(
            "  show took {:.1} ms (median), {:.1} at most; worker peak {:.1} MiB; duplicates {}",
            self.show_median_ms, self.show_most_ms, self.worker_peak_mib, self.duplicates
        );
    }
}
