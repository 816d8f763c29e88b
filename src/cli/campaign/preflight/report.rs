//! What a preflight has found, as it is kept, printed and told line by line.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use time::OffsetDateTime;

use super::{Check, Fault, Found, Kind, Sample, line_of};
use crate::cli::output;
use crate::domain::forecast::{Binding, Forecast, Plan};
use crate::domain::placeholders::Variables;
use crate::standing::campaign::{ahead, per_second};
use crate::standing::facts::thousands;
use crate::standing::time::span;
use crate::store::campaign::Campaign;
use crate::store::recipients::QueuedRecipient;

/// The file of all faults, where one is wanted.
pub(super) struct FaultsFile(Option<(PathBuf, BufWriter<File>)>);

impl FaultsFile {
    pub(super) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self(None));
        };
        let file =
            File::create(&path).with_context(|| format!("could not make {}", path.display()))?;
        let mut file = BufWriter::new(file);
        file.write_all(b"line,message,kind,field,reason\n")?;
        Ok(Self(Some((path, file))))
    }

    pub(super) fn write(&mut self, row: &QueuedRecipient, faults: &[Fault]) -> anyhow::Result<()> {
        let Some((path, file)) = &mut self.0 else {
            return Ok(());
        };
        for fault in faults {
            let line = Variables::parse(&row.variables)
                .ok()
                .and_then(|variables| line_of(&variables));
            let line = line.map_or_else(String::new, |line| line.to_string());
            let kind = serde_json::to_value(fault.kind)?;
            let (what, fix) = fault.kind.in_words();
            let reason = match fault.kind {
                Kind::Rule(_) if fault.is_doubt() => format!("it is not sure that {what}; {fix}"),
                Kind::Rule(_) => format!("it is wanted that {what}; {fix}"),
                _ => format!("{what}; {fix}"),
            };
            writeln!(
                file,
                "{line},{},{},{},{}",
                row.id,
                kind.as_str().unwrap_or_default(),
                output::csv_cell(&fault.field),
                output::csv_cell(&reason)
            )
            .with_context(|| format!("could not write into {}", path.display()))?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> anyhow::Result<Option<PathBuf>> {
        let Some((path, mut file)) = self.0 else {
            return Ok(None);
        };
        file.flush()
            .with_context(|| format!("could not write into {}", path.display()))?;
        Ok(Some(path))
    }
}

/// What is kept, and printed as JSON.
#[derive(Serialize)]
pub(super) struct Report {
    campaign: String,
    rows: i64,
    good: i64,
    suppressed: i64,
    faults: Vec<FaultJson>,
    doubts: Vec<FaultJson>,
    forecast: ForecastJson,
    faults_file: Option<PathBuf>,
    left_out: Option<i64>,
}

#[derive(Serialize)]
struct FaultJson {
    kind: Kind,
    field: String,
    rows: i64,
    what: &'static str,
    fix: &'static str,
    samples: Vec<Sample>,
}

#[derive(Serialize)]
struct ForecastJson {
    #[serde(with = "time::serde::rfc3339::option")]
    done_at: Option<OffsetDateTime>,
    seconds: Option<i64>,
    binding: Binding,
    per_second: f64,
    too_late: u64,
}

impl Report {
    pub(super) fn new(
        check: &Check<'_>,
        plan: &Plan,
        faults_file: Option<PathBuf>,
        left_out: Option<i64>,
    ) -> Self {
        let fault = |(fault, group): (&Fault, &Found)| {
            let (what, fix) = fault.kind.in_words();
            FaultJson {
                kind: fault.kind,
                field: fault.field.clone(),
                rows: group.rows,
                what,
                fix,
                samples: group.samples.clone(),
            }
        };
        let sorted = |are_doubts: bool| {
            let wanted = |(fault, _): &(&Fault, &Found)| fault.is_doubt() == are_doubts;
            let mut faults: Vec<_> = check.groups.iter().filter(wanted).map(fault).collect();
            faults.sort_by_key(|fault| -fault.rows);
            faults
        };
        let (faults, doubts) = (sorted(false), sorted(true));
        let Forecast {
            done_at,
            binding,
            too_late,
        } = plan.forecast();
        Self {
            campaign: check.campaign.name.clone(),
            rows: check.rows,
            good: check.rows - check.faulty,
            suppressed: check.suppressed,
            faults,
            doubts,
            forecast: ForecastJson {
                done_at,
                seconds: done_at.map(|at| (at - check.now).whole_seconds()),
                binding,
                per_second: plan.per_second,
                // Who expires before the campaign ends is too late for both.
                too_late: too_late.max(check.too_late),
            },
            faults_file,
            left_out,
        }
    }

    pub(super) fn in_words(&self, campaign: &Campaign, check: &Check<'_>, plan: &Plan) -> String {
        let mut text = format!(
            "{} of {} recipients have no fault.\n",
            thousands(self.good),
            thousands(self.rows)
        );
        if self.suppressed > 0 {
            text += &format!(
                "{} are suppressed, and will be left out.\n",
                thousands(self.suppressed)
            );
        }
        text.extend(self.faults.iter().map(FaultJson::in_words));
        if !self.doubts.is_empty() {
            text += "\nOf these it is not sure that WhatsApp takes them; they are sent:\n";
            text.extend(self.doubts.iter().map(FaultJson::in_words));
        }
        if let Some(left_out) = self.left_out {
            text += &format!(
                "\n{} were cancelled; the others stay.\n",
                thousands(left_out)
            );
        }
        if let Some(file) = &self.faults_file {
            text += &format!("\nEach fault is told in {}.\n", file.display());
        }
        text + &self.time(campaign, check, plan)
    }

    fn time(&self, campaign: &Campaign, check: &Check<'_>, plan: &Plan) -> String {
        let forecast = &self.forecast;
        let rate = per_second(plan.per_second);
        let because = match forecast.binding {
            Binding::Rate
                if campaign
                    .max_per_second
                    .is_some_and(|most| most <= plan.per_second) =>
            {
                format!("--slow-to allows {rate} a second")
            }
            Binding::Rate if campaign.rate_share < 1.0 => {
                format!("its share of the sender's rate is {rate} a second")
            }
            Binding::Rate => format!("the sender's rate is {rate} a second"),
            Binding::Ramp => "it begins slowly (--ramp)".to_owned(),
            Binding::QuietHours => "of the quiet hours".to_owned(),
            Binding::Pair => format!("one recipient has {} messages", thousands(check.to_one)),
        };
        let mut text = match forecast.done_at {
            Some(at) => format!(
                "\nIt takes at least {}, because {because}.\n",
                ahead(at - check.now, check.now)
            ),
            None => format!("\nIt takes longer than 60 days, because {because}.\n"),
        };
        let many = |rows: u64| thousands(i64::try_from(rows).unwrap_or(i64::MAX));
        if forecast.too_late > check.too_late {
            text += &format!(
                "When it ends, about {} will not have left, and expire.\n",
                many(forecast.too_late)
            );
        } else if check.too_late > 0 {
            text += &format!(
                "At least {} expire before their turn (--expires-after counts from the import): begin earlier, or send faster.\n",
                many(check.too_late)
            );
        }
        let quiet = plan.quiet.map(|hours| hours.last().as_secs_f64());
        if let (Some(quiet), Some(after)) = (quiet, campaign.expires_after_s)
            && after <= quiet
        {
            let in_words = |seconds| span(time::Duration::saturating_seconds_f64(seconds));
            text += &format!(
                "Who is due within the quiet hours expires before they end: they last {}, and --expires-after is {}.\n",
                in_words(quiet),
                in_words(after)
            );
        }
        text
    }
}

impl FaultJson {
    fn in_words(&self) -> String {
        let what = self.kind.sentence();
        let (rows, field) = (thousands(self.rows), output::plain(&self.field));
        let indent = "";
        format!(
            "\n  {rows:>9}  {field}: {what}\n{indent:13}{}\n{indent:13}{}\n",
            self.fix,
            samples(self)
        )
    }
}

fn samples(fault: &FaultJson) -> String {
    let sample = |sample: &Sample| match sample.line {
        Some(line) => format!("line {line} (message {})", sample.message),
        None => format!("message {}", sample.message),
    };
    let samples: Vec<String> = fault.samples.iter().map(sample).collect();
    format!("e.g. {}", samples.join(", "))
}
