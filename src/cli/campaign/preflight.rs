//! Checks every recipient of a campaign that waits, before the first message leaves.
//!
//! A fault is certain: a variable that is missing, what WhatsApp is sure to reject, a number that cannot exist, somebody written to
//! twice. A doubt is not (see [`rules`]), so it is told and nobody is left out for it. Rows are read page by page and none is kept, so it takes the same memory for a million as for ten. The result
//! is kept with the campaign, without a number or a name in it: a sample is a line and a message's id.

mod report;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use time::OffsetDateTime;

use super::find;
use crate::cli::failure::Problem;
use crate::cli::recipients::LINE;
use crate::cli::rows::Progress;
use crate::cli::{Context, output};
use crate::domain::forecast::{Group, Plan, Turns};
use crate::domain::id::MessageId;
use crate::domain::numbering;
use crate::domain::placeholders::{FillError, Template, Variables};
use crate::domain::quiet_hours::{Quiet, QuietHours, Zones};
use crate::message::rules::{self, Class, Finding, To};
use crate::standing::facts::thousands;
use crate::standing::shell;
use crate::store::Store;
use crate::store::campaign::Campaign;
use crate::store::campaign_progress::CampaignCounts;
use crate::store::recipients::QueuedRecipient;
use crate::store::sender::Sender;
use report::{FaultsFile, Report};

pub(super) const HELP: &str = "Each recipient that waits is looked at: whether its variables fill the template, whether what comes \
out keeps the rules of WhatsApp's documentation (wa-outbox check --rules), whether its number can exist (by the numbering plan of its country) and stands once, whether \
its time zone is one and its time has not passed and will not before the campaign begins. Suppressed recipients are counted; they are left out by themselves.

The time it will take is the least: without pauses, retries and the sender's other messages. Where a country has several time zones \
a message leaves when it is outside the quiet hours in all of them; a variable time_zone decides instead.

With --json an object: campaign, rows, good, suppressed, faults and doubts (kind, field, rows, what, fix, samples of line and message), forecast \
(done_at, seconds, binding, per_second, too_late), faults_file, left_out. It is also kept in wa.campaigns.preflight.

Examples:
  wa-outbox campaign preflight spring
  wa-outbox campaign preflight spring --faults spring.faults.csv --leave-out";

const PAGE: i64 = 5_000;
const SAMPLES: usize = 5;
/// Kinds of faults that are told apart; a template has no more places than that.
const KINDS: usize = 200;
/// The variable that gives a recipient's time zone.
const TIME_ZONE: &str = "time_zone";

#[derive(Debug, clap::Args)]
pub(super) struct Preflight {
    /// The campaign, by its name or number
    #[arg(value_name = "CAMPAIGN")]
    campaign: String,
    /// Tell every fault in this file, as CSV
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Cancel the recipients with faults; the others stay
    #[arg(long)]
    leave_out: bool,
    /// Who checks [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is wrong with a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    MissingVariable,
    VariableIsNoText,
    InvalidNumber,
    Duplicate,
    UnknownTimeZone,
    Expired,
    ExpiresBeforeStart,
    #[serde(untagged)]
    Rule(Broken),
}

/// A rule that what would be sent breaks. As JSON its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Broken {
    rule: &'static str,
    class: Class,
    demand: &'static str,
    fix: &'static str,
}

impl Serialize for Broken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.rule)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    kind: Kind,
    /// A variable, a column, or a JSON pointer.
    field: String,
}

impl Fault {
    /// Whether it is none that is certain.
    fn is_doubt(&self) -> bool {
        matches!(self.kind, Kind::Rule(broken) if broken.class == Class::Doubtful)
    }
}

impl From<Finding> for Fault {
    fn from(finding: Finding) -> Self {
        let rule = finding.rule;
        let broken = Broken {
            rule: rule.id,
            class: finding.class,
            demand: rule.demand,
            fix: rule.fix,
        };
        Self {
            kind: Kind::Rule(broken),
            field: finding.pointer,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Sample {
    line: Option<u64>,
    message: i64,
}

#[derive(Default)]
struct Found {
    rows: i64,
    samples: Vec<Sample>,
}

impl Preflight {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let campaign = find(store, &self.campaign).await?;
        if matches!(campaign.state.as_str(), "done" | "cancelled") {
            let what = format!("campaign {} is {}", campaign.name, campaign.state);
            return Err(Problem::failed(what, "nothing of it is left to be checked").into());
        }
        let template = super::template(&campaign.payload)?;
        let sender = sender(store, &campaign).await?;
        let mut check = Check::new(&campaign, template, &sender, context.clock().now());
        let mut file = FaultsFile::open(self.faults)?;
        let counts = store.campaign_counts(campaign.id).await?;
        let clock = context.clock();
        let mut progress =
            Progress::new("checked", u64::try_from(counts.queued).ok(), clock.boot());
        let mut left_out = 0;
        let mut after = None;
        loop {
            let mut page = store.queued_recipients(campaign.id, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.due_at, last.id));
            let mut faulty = Vec::new();
            let mut gone: HashMap<String, i64> = HashMap::new();
            for row in &mut page {
                // Somebody whose first row is left out has not been written to: the next one is no duplicate.
                row.earlier -= gone.get(&row.recipient).copied().unwrap_or_default();
                let faults = check.row(row);
                file.write(row, &faults)?;
                // A suppressed one is left out by itself, with the reason.
                if self.leave_out && are_certain(&faults) && !row.is_suppressed {
                    faulty.push((MessageId(row.id), reason_of(&faults, &by)));
                    *gone.entry(row.recipient.clone()).or_default() += 1;
                }
            }
            left_out += store.leave_out(campaign.id, &faulty).await?;
            let (rows, faulty) = (check.rows.unsigned_abs(), check.faulty.unsigned_abs());
            progress.show(rows, rows, faulty, clock.boot());
        }
        progress.clear();
        let plan = check.plan(self.leave_out);
        let report = Report::new(
            &check,
            &plan,
            file.finish()?,
            self.leave_out.then_some(left_out),
        );
        let done = (left_out > 0).then(|| format!("{} left out", thousands(left_out)));
        store
            .keep_preflight(
                campaign.id,
                &serde_json::to_value(&report)?,
                &by,
                done.as_deref(),
            )
            .await?;
        if self.json {
            return output::print_json(&report);
        }
        if check.rows == 0 {
            return output::print(&none_waits(&campaign, &counts));
        }
        output::print(&report.in_words(&campaign, &check, &plan))
    }
}

/// There was nobody to look at.
fn none_waits(campaign: &Campaign, counts: &CampaignCounts) -> String {
    let name = shell::word(&campaign.name);
    let all = thousands(counts.total());
    match counts.total() {
        0 => format!("It has no recipients yet: wa-outbox campaign import {name} FILE"),
        total if total == counts.expired => format!(
            "No recipient waits any more: all {all} have expired. Set a longer --expires-after (it counts from the import), and import them again, --as another file."
        ),
        _ => format!(
            "No recipient waits any more; what became of all {all}: wa-outbox campaign show {name}"
        ),
    }
}

async fn sender(store: &Store, campaign: &Campaign) -> anyhow::Result<Sender> {
    let mut senders = store.senders().await?.into_iter();
    let found = senders.find(|sender| sender.sender == campaign.sender);
    found.with_context(|| format!("sender {} is gone", campaign.sender))
}

/// A look at all rows, and what it has found.
struct Check<'a> {
    campaign: &'a Campaign,
    template: Template,
    sender: &'a Sender,
    now: OffsetDateTime,
    quiet: Option<QuietHours>,
    own_zone: Zones,
    turns: Turns,
    /// Without a fault, and expired before their turn.
    too_late: u64,
    rows: i64,
    faulty: i64,
    suppressed: i64,
    groups: BTreeMap<Fault, Found>,
    /// Of what may be sent: by calling code, or by time zone where one is given.
    clocks: BTreeMap<String, u64>,
    /// The same of what has a fault.
    faulty_clocks: BTreeMap<String, u64>,
    to_one: i64,
}

impl<'a> Check<'a> {
    fn new(
        campaign: &'a Campaign,
        template: Template,
        sender: &'a Sender,
        now: OffsetDateTime,
    ) -> Self {
        let quiet = campaign.quiet_hours.as_deref();
        Self {
            campaign,
            template,
            sender,
            now,
            quiet: quiet.and_then(|hours| hours.parse().ok()),
            own_zone: Zones::named(&campaign.time_zone).unwrap_or_else(|_| Zones::utc()),
            turns: turns(campaign, sender, now),
            too_late: 0,
            rows: 0,
            faulty: 0,
            suppressed: 0,
            groups: BTreeMap::new(),
            clocks: BTreeMap::new(),
            faulty_clocks: BTreeMap::new(),
            to_one: 1,
        }
    }

    /// Looks at one, and gives its faults.
    fn row(&mut self, row: &QueuedRecipient) -> Vec<Fault> {
        self.rows += 1;
        self.to_one = self.to_one.max(row.earlier + 1);
        let Ok(variables) = Variables::parse(&row.variables) else {
            // The schema lets only objects in.
            return Vec::new();
        };
        let zone = variables
            .get(TIME_ZONE)
            .and_then(|raw| serde_json::from_str::<String>(raw).ok());
        let mut faults = self.content(&variables, &row.recipient_kind);
        faults.extend(self.address(row, zone.as_deref()));
        if row.is_suppressed {
            self.suppressed += 1;
        } else {
            let clocks = match are_certain(&faults) {
                true => &mut self.faulty_clocks,
                false => &mut self.clocks,
            };
            let quiet = (self.quiet).map(|hours| Quiet::new(hours, self.own_zone.clone()));
            let awake = |at| {
                quiet.as_ref().map_or(at, |quiet| {
                    quiet.next_allowed(at, &row.recipient, zone.as_deref())
                })
            };
            if !are_certain(&faults) && !self.turns.take(row.expires_at, awake) {
                self.too_late += 1;
            }
            *clocks.entry(clock_of(row, zone)).or_default() += 1;
        }
        self.faulty += i64::from(are_certain(&faults));
        for fault in &faults {
            self.note(fault, row, &variables);
        }
        faults
    }

    /// What is wrong with what it says.
    fn content(&self, variables: &Variables<'_>, recipient_kind: &str) -> Vec<Fault> {
        let unfilled = self.template.faults(variables);
        if !unfilled.is_empty() {
            let fault = |error: FillError| Fault {
                kind: match error {
                    FillError::Missing { .. } => Kind::MissingVariable,
                    FillError::NotText { .. } => Kind::VariableIsNoText,
                },
                field: error.name().to_owned(),
            };
            return unfilled.into_iter().map(fault).collect();
        }
        let filled = self.template.fill(variables);
        let body = filled.map(|payload| serde_json::from_str(&payload));
        let Ok(Ok(body)) = body else {
            return Vec::new();
        };
        let to = match recipient_kind {
            "user" => To::User,
            "group" => To::Group,
            _ => To::Phone,
        };
        let found = rules::check(&body, Some(to), self.sender.strict);
        found.into_iter().map(Fault::from).collect()
    }

    /// What is wrong with whom it goes to, and when.
    fn address(&self, row: &QueuedRecipient, zone: Option<&str>) -> Vec<Fault> {
        let is_number = row.recipient_kind == "phone";
        let expires_by = |at| row.expires_at.is_some_and(|expires| expires <= at);
        let found = [
            (
                is_number && !numbering::can_exist(&row.recipient),
                Kind::InvalidNumber,
                "recipient",
            ),
            (row.earlier > 0, Kind::Duplicate, "recipient"),
            (
                zone.is_some_and(|zone| Zones::named(zone).is_err()),
                Kind::UnknownTimeZone,
                TIME_ZONE,
            ),
            (expires_by(self.now), Kind::Expired, "expires_at"),
            (
                !expires_by(self.now) && expires_by(self.turns.begins),
                Kind::ExpiresBeforeStart,
                "expires_at",
            ),
        ];
        let fault = |(_, kind, field): (bool, Kind, &str)| Fault {
            kind,
            field: field.to_owned(),
        };
        found
            .into_iter()
            .filter(|(is_so, ..)| *is_so)
            .map(fault)
            .collect()
    }

    fn note(&mut self, fault: &Fault, row: &QueuedRecipient, variables: &Variables<'_>) {
        if !self.groups.contains_key(fault) && self.groups.len() >= KINDS {
            return;
        }
        let group = self.groups.entry(fault.clone()).or_default();
        group.rows += 1;
        if group.samples.len() < SAMPLES {
            group.samples.push(Sample {
                line: line_of(variables),
                message: row.id,
            });
        }
    }

    /// What is to be sent, and under which limits.
    fn plan(&self, without_faulty: bool) -> Plan {
        let (campaign, sender) = (self.campaign, self.sender);
        let faulty = (!without_faulty).then_some(&self.faulty_clocks);
        let mut clocks = self.clocks.clone();
        for (clock, count) in faulty.into_iter().flatten() {
            *clocks.entry(clock.clone()).or_default() += count;
        }
        let group = |(clock, count): (String, u64)| Group {
            zones: zones_of(&clock).unwrap_or_else(|| self.own_zone.clone()),
            count,
        };
        Plan {
            begins: self.turns.begins,
            ends: campaign.ends_at,
            per_second: self.turns.per_second,
            ramp: self.turns.ramp.clone(),
            quiet: self.quiet,
            groups: clocks.into_iter().map(group).collect(),
            own_zone: self.own_zone.clone(),
            to_one: self.to_one.unsigned_abs(),
            pair_burst: u64::from(sender.pair_burst.unsigned_abs()),
            pair_period: Duration::from_millis(sender.pair_period_ms.unsigned_abs().into()),
        }
    }
}

/// When its rows may leave at the earliest.
fn turns(campaign: &Campaign, sender: &Sender, now: OffsetDateTime) -> Turns {
    let begins = campaign.starts_at.map_or(now, |at| at.max(now));
    let ran = campaign
        .started_at
        .map_or(time::Duration::ZERO, |at| begins - at);
    let ran = ran.try_into().unwrap_or_default();
    let share = sender.rate_per_second * campaign.rate_share;
    let per_second = campaign
        .max_per_second
        .map_or(share, |most| most.min(share));
    let ramp = campaign.ramp.clone().map(|ramp| (ramp, ran));
    Turns::new(begins, per_second, ramp)
}

/// Whether one of them is certain.
fn are_certain(faults: &[Fault]) -> bool {
    !faults.iter().all(Fault::is_doubt)
}

/// Why a recipient was left out.
fn reason_of(faults: &[Fault], by: &str) -> String {
    let sentence = |fault: &Fault| format!("{} {}", fault.field, fault.kind.sentence());
    let sentences: Vec<String> = faults.iter().map(sentence).collect();
    format!("left out by {by}: {}", sentences.join("; "))
}

fn line_of(variables: &Variables<'_>) -> Option<u64> {
    variables.get(LINE)?.parse().ok()
}

/// By what a recipient's clock is known: a zone that its row names, else its calling code.
fn clock_of(row: &QueuedRecipient, zone: Option<String>) -> String {
    let zone = zone.filter(|zone| Zones::named(zone).is_ok());
    let code = || Zones::code_of(&row.recipient).map(|code| format!("+{code}"));
    zone.or_else(code).unwrap_or_default()
}

fn zones_of(clock: &str) -> Option<Zones> {
    match clock.starts_with('+') {
        true => Zones::of_phone(clock),
        false => Zones::named(clock).ok(),
    }
}

impl Kind {
    /// What is wrong with a field, to stand behind its name. Of a rule, what it demands would read as if it were kept.
    fn sentence(self) -> String {
        match self {
            Self::Rule(broken) => format!("breaks the rule {}: {}", broken.rule, broken.demand),
            _ => self.in_words().0.to_owned(),
        }
    }

    /// What it is, to stand behind the field, and what to do.
    fn in_words(self) -> (&'static str, &'static str) {
        match self {
            Self::MissingVariable => (
                "is missing",
                "add it to their rows, or take it out of the template",
            ),
            Self::VariableIsNoText => (
                "is an object or a list where text is wanted",
                "write it as text, or let the placeholder be the whole string",
            ),
            Self::Rule(broken) => (broken.demand, broken.fix),
            Self::InvalidNumber => (
                "has a number that its country's plan does not have",
                "correct it; nobody can be reached under it",
            ),
            Self::Duplicate => (
                "is in the campaign already",
                "leave them out, or that person is written to again",
            ),
            Self::UnknownTimeZone => (
                "is none that exists",
                "write an IANA name such as Europe/Berlin",
            ),
            Self::Expired => ("has passed", "give them a later expires_at"),
            Self::ExpiresBeforeStart => (
                "is before the campaign begins (--starts-at)",
                "begin earlier; or leave them out, set a longer --expires-after (it counts from the import) and import them again, --as another file",
            ),
        }
    }
}
