//! How a campaign goes, on one screen or as JSON.
//!
//! Every figure is a sum that the books keep, so a look costs the same for ten recipients and for a million, and may be had each
//! second (`--watch`).

mod json;

use std::io::IsTerminal as _;
use std::time::Duration;

use time::OffsetDateTime;

use json::{CampaignJson, RowJson};

use super::find;
use crate::cli::rows::bar;
use crate::cli::table::{Table, numbers, words};
use crate::cli::watching::Pictures;
use crate::cli::{Context, duration, output};
use crate::domain::mask::Eyes;
use crate::standing::campaign::{Standing, ahead, per_second};
use crate::standing::facts::Facts;
use crate::standing::facts::thousands;
use crate::standing::failure::meaning;
use crate::standing::shell;
use crate::standing::time::{age, moment, span};
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::campaign::{Campaign, CampaignEvent};
use crate::store::campaign_progress::{CampaignCounts, CampaignProgress, FailureCount};

pub(super) const HELP: &str = "The counts add up to all recipients: each is in one place. Failures are grouped by WhatsApp's code, \
with what it means and what to do.

With --json one object: campaign, id, sender, state, state_reason, state_changed_at, state_changed_by, waiting_for, \
total, counts (queued, sending, uncertain, accepted, sent, delivered, read, undelivered, failed, expired, cancelled, suppressed), \
put_off (waiting_for, messages: counted up to 10,000), rate_per_second, limit_per_second, limit_by, time_left_s, failures (code, \
messages, title, remedy), history (happened_at, what, author, reason: the last 100), settings, preflight_at, first_answer_at, last_answer_at, last_status_at.

Examples:
  wa-outbox campaign show spring
  wa-outbox campaign show spring --watch";

pub(super) const LIST_HELP: &str = "With --json an array of objects: id, campaign, sender, state, state_reason, state_changed_at, \
recipients, open, taken, failed.

Example:
  wa-outbox campaign list";

const BAR: usize = 30;
/// Of what happened to it so much is told: on the screen, and as JSON.
const TOLD: i64 = 6;
const TOLD_AS_JSON: i64 = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The campaign, by its name or number
    #[arg(value_name = "CAMPAIGN")]
    campaign: String,
    /// Look again each second, until it is over; a database that is away for a while does not end it
    #[arg(long)]
    watch: bool,
    /// Look so often
    #[arg(long, value_name = "SPAN", value_parser = duration::parse_seconds, default_value = "1s", requires = "watch")]
    every: Duration,
    /// Print JSON; with --watch an object in each line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a campaign waits for, in a sentence.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Why {
    /// The campaign, by its name or number
    #[arg(value_name = "CAMPAIGN")]
    campaign: String,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let is_screen = self.watch && !self.json && std::io::stdout().is_terminal();
        let mut pictures = Pictures::new(is_screen);
        let mut look = Ok(self.look(store).await?);
        loop {
            match look {
                Ok(look) => {
                    pictures.show(self.picture(&look)?)?;
                    if !self.watch || look.is_over() {
                        return Ok(());
                    }
                }
                Err(error) => pictures.miss(error)?,
            }
            tokio::time::sleep(self.every).await;
            look = self.look(store).await;
        }
    }

    async fn look(&self, store: &Store) -> anyhow::Result<Look> {
        let campaign = find(store, &self.campaign).await?;
        let progress = progress(store, &campaign).await?;
        let at_most = if self.json { TOLD_AS_JSON } else { TOLD };
        let history = store.campaign_events(campaign.id, at_most).await?;
        let history = history.veiled(Eyes::CLOSED);
        Ok(Look {
            campaign,
            progress,
            history,
        })
    }

    fn picture(&self, look: &Look) -> anyhow::Result<String> {
        let (standing, history) = (look.standing(), &look.history);
        Ok(match (self.json, self.watch) {
            (true, false) => serde_json::to_string_pretty(&CampaignJson::of(standing, history))?,
            (true, true) => serde_json::to_string(&CampaignJson::of(standing, history))?,
            (false, _) => screen(standing, history),
        })
    }
}

/// What one look has found.
struct Look {
    campaign: Campaign,
    progress: CampaignProgress,
    history: Vec<CampaignEvent>,
}

impl Look {
    fn standing(&self) -> Standing<'_> {
        Standing {
            campaign: &self.campaign,
            progress: &self.progress,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.campaign.state.as_str(), "done" | "cancelled")
            && self.progress.counts.open() == 0
    }
}

impl Why {
    pub(in crate::cli) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let campaign = find(store, &self.campaign).await?;
        let progress = progress(store, &campaign).await?;
        let standing = Standing {
            campaign: &campaign,
            progress: &progress,
        };
        let put_off: String = put_off(&progress)
            .iter()
            .map(|line| format!("  {line}\n"))
            .collect();
        output::print(&format!(
            "{}\n{put_off}",
            output::plain(&standing.sentence())
        ))
    }
}

async fn progress(store: &Store, campaign: &Campaign) -> anyhow::Result<CampaignProgress> {
    let progress = store.campaign_progress(campaign.id).await?;
    let progress = progress.veiled(Eyes::CLOSED);
    progress.ok_or_else(|| anyhow::anyhow!("campaign {} is gone", campaign.name))
}

/// All of it, as a person reads it.
fn screen(standing: Standing<'_>, history: &[CampaignEvent]) -> String {
    let Standing { campaign, progress } = standing;
    let counts = &progress.counts;
    let mut parts = vec![format!("{}\n", output::plain(&standing.sentence()))];
    if counts.total() > 0 {
        parts.push(bars(counts));
    }
    parts.push(pace(standing).render());
    let put_off = put_off(progress);
    if !put_off.is_empty() {
        let lines: String = put_off.iter().map(|line| format!("  {line}\n")).collect();
        parts.push(format!("Put off:\n{lines}"));
    }
    if !counts.failures.is_empty() {
        let lines: String = counts.failures.iter().map(failure).collect();
        parts.push(format!("Failures:\n{lines}"));
    }
    if !history.is_empty() {
        let line = |event| happened(event, progress.now);
        let lines: String = history.iter().map(line).collect();
        parts.push(format!("History:\n{lines}"));
    }
    parts.push(settings(campaign, progress.now).render());
    parts.join("\n")
}

/// A line with a bar for each place where there are any.
fn bars(counts: &CampaignCounts) -> String {
    let all = counts.total();
    #[expect(clippy::cast_precision_loss)]
    let share = |count: i64| count as f64 / all as f64;
    let width = thousands(all).len();
    let line = |(name, count): (&str, i64)| {
        format!(
            "  {name:<11} {:>width$}  {} {:5.1} %\n",
            thousands(count),
            bar(share(count), BAR),
            100.0 * share(count)
        )
    };
    let shown = |(name, count): &(&str, i64)| {
        *count != 0 || matches!(*name, "queued" | "delivered" | "failed")
    };
    let lines: String = places(counts).into_iter().filter(shown).map(line).collect();
    format!("{lines}  {:<11} {:>width$}\n", "recipients", thousands(all))
}

fn places(counts: &CampaignCounts) -> [(&'static str, i64); 12] {
    [
        ("queued", counts.queued),
        ("sending", counts.sending),
        ("uncertain", counts.uncertain),
        ("accepted", counts.accepted),
        ("sent", counts.sent),
        ("delivered", counts.delivered),
        ("read", counts.read),
        ("undelivered", counts.undelivered),
        ("failed", counts.failed),
        ("expired", counts.expired),
        ("cancelled", counts.cancelled),
        ("suppressed", counts.suppressed),
    ]
}

fn pace(standing: Standing<'_>) -> Facts {
    let Standing { campaign, progress } = standing;
    let mut facts = Facts::default();
    let (limit, by) = standing.limit();
    let rate = standing.rate().map_or_else(|| "0".to_owned(), per_second);
    facts.add(
        "rate",
        format!(
            "{rate} a second in the last minute, of {} ({by})",
            per_second(limit)
        ),
    );
    facts.add_some(
        "time left",
        standing.time_left().map(|left| ahead(left, progress.now)),
    );
    let ago = |at: Option<OffsetDateTime>| at.map(|at| age(at, progress.now));
    facts.add_some("last answer", ago(progress.last_answer_at));
    facts.add_some("last status", ago(progress.last_status_at));
    if campaign.preflight_at.is_none() && campaign.state == "draft" {
        facts.add(
            "preflight",
            format!(
                "not yet; run it: wa-outbox campaign preflight {}",
                shell::word(&campaign.name)
            ),
        );
    }
    facts.add_some(
        "preflight",
        campaign.preflight_at.map(|at| moment(at, progress.now)),
    );
    facts
}

fn put_off(progress: &CampaignProgress) -> Vec<String> {
    let mut lines: Vec<String> = progress
        .put_off
        .iter()
        .map(|(why, count)| format!("{} wait for {}", thousands(*count), output::plain(why)))
        .collect();
    if let (Some(at), Some(last)) = (progress.next_due_at, lines.last_mut()) {
        *last += &format!("; the next of all is due {}", age(at, progress.now));
    }
    lines
}

fn happened(event: &CampaignEvent, now: OffsetDateTime) -> String {
    let why = event.reason.as_ref();
    let why = why.map_or_else(String::new, |why| format!(": {}", output::plain(why)));
    format!(
        "  {:<11} {} by {}{why}\n",
        event.what,
        age(event.happened_at, now),
        output::plain(&event.author)
    )
}

/// A code with what it means and what to do.
fn failure(failure: &FailureCount) -> String {
    let (title, remedy) = meaning(failure.code);
    let code = failure
        .code
        .map_or_else(String::new, |code| format!("{code} "));
    format!(
        "  {:>9}  {code}{title}\n{:13}{remedy}\n",
        thousands(failure.count),
        ""
    )
}

fn settings(campaign: &Campaign, now: OffsetDateTime) -> Facts {
    let mut facts = Facts::default();
    facts.add("number", campaign.id.to_string());
    facts.add("sender", &campaign.sender);
    facts.add("priority", campaign.priority.to_string());
    facts.add("rate share", campaign.rate_share.to_string());
    facts.add_some(
        "slow to",
        campaign
            .max_per_second
            .map(|rate| format!("{}/s", per_second(rate))),
    );
    facts.add_some("ramp", campaign.ramp.as_ref().map(ToString::to_string));
    facts.add_some("starts", campaign.starts_at.map(|at| moment(at, now)));
    facts.add_some("ends", campaign.ends_at.map(|at| moment(at, now)));
    let quiet = campaign.quiet_hours.as_ref();
    facts.add_some(
        "quiet hours",
        quiet.map(|hours| format!("{hours}, else in {}", campaign.time_zone)),
    );
    facts.add_some(
        "expires",
        campaign.expires_after_s.map(|seconds| {
            format!(
                "{} after it is due",
                span(time::Duration::seconds_f64(seconds))
            )
        }),
    );
    facts.add_some("category", campaign.category.as_ref());
    facts.add_some(
        "complete",
        campaign.complete.then_some("yes: no more recipients come"),
    );
    facts.add_some(
        "pauses itself",
        campaign.pause_failure_share.map(|share| {
            format!(
                "at {:.0} % failures within {}, of at least {} answered",
                100.0 * share,
                span(time::Duration::seconds_f64(campaign.pause_window_s)),
                campaign.pause_at_least
            )
        }),
    );
    facts.add(
        "made",
        format!(
            "{} by {}",
            moment(campaign.created_at, now),
            campaign.created_by
        ),
    );
    facts
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let now = context.clock().now();
        let mut rows = Vec::new();
        for campaign in store.campaigns().await?.veiled(Eyes::CLOSED) {
            let counts = store.campaign_counts(campaign.id).await?;
            rows.push((campaign, counts));
        }
        if self.json {
            let rows: Vec<_> = rows
                .iter()
                .map(|(campaign, counts)| RowJson::of(campaign, counts))
                .collect();
            return output::print_json(&rows);
        }
        if rows.is_empty() {
            return output::print(
                "There is no campaign yet; see: wa-outbox campaign create --help",
            );
        }
        let mut table = Table::new([
            numbers("ID"),
            words("CAMPAIGN"),
            words("SENDER"),
            words("STATE"),
            words("SINCE"),
            numbers("RECIPIENTS"),
            numbers("OPEN"),
            numbers("TAKEN"),
            numbers("FAILED"),
            words("WHY"),
        ]);
        for (campaign, counts) in &rows {
            table.row([
                campaign.id.to_string(),
                campaign.name.clone(),
                campaign.sender.clone(),
                campaign.state.clone(),
                age(campaign.state_changed_at, now),
                thousands(counts.total()),
                thousands(counts.open()),
                thousands(counts.taken()),
                thousands(counts.failed + counts.undelivered),
                campaign.state_reason.clone().unwrap_or_default(),
            ]);
        }
        output::print(&table.render(context.colours()))
    }
}
