//! `suppress`: who must not be written to by campaigns.
//!
//! A suppression stops every row of every campaign to that recipient before any request, also of campaigns that run already. What
//! WhatsApp tells of itself (somebody has stopped marketing messages) is written here too.

mod file;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::duration::later;
use super::failure::Problem;
use super::rows::{Entry, Format, open};
use super::table::{Table, numbers, words};
use super::text::CATEGORIES;
use super::{Context, duration, output};
use crate::domain::mask::Eyes;
use crate::standing::time::age;
use crate::store::Store;
use crate::store::suppression::{NewSuppression, Suppression, SuppressionFilter};
use file::{Suppressions, kind_of};

/// Say who must not be written to by campaigns: add, remove, list, import, export
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wa-outbox suppress add +16505551234 --reason \"asked us to stop\"")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Suppress a recipient; one that is suppressed already gets the new reason and end
    #[command(after_help = "Examples:
  wa-outbox suppress add +16505551234 --reason \"asked us to stop\"
  wa-outbox suppress add +16505551234 --category marketing --for 90d --reason \"complained\"")]
    Add(Add),
    /// Take a recipient's suppressions away, whoever has written them
    #[command(after_help = "Example:
  wa-outbox suppress remove +16505551234 --category marketing")]
    Remove(Remove),
    /// List suppressions
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Suppress every recipient in a file: CSV or JSON lines, as for `campaign import`
    #[command(
        after_help = "Beside the recipient the columns sender, category, reason, expires_at (a time with its offset) and recipient_kind \
(phone, user or group) are read, as `suppress export` writes them; where a file has none of that name, or it is empty, the options count. \
Others are not looked at. What has ended is left out. A line that cannot be used is told on standard error with its number, and the \
others are taken; who is suppressed for longer already stays so. What is imported counts as a person's word, also where WhatsApp had told \
it: it does not end because somebody allows messages again.

Examples:
  wa-outbox suppress import stopped.csv --reason \"unsubscribed in the shop\"
  wa-outbox suppress export | wa-outbox --config other.toml suppress import - --reason \"moved\""
    )]
    Import(Import),
    /// Write all suppressions that have not ended to standard output as CSV, with whole numbers
    #[command(after_help = "Example:
  wa-outbox suppress export > suppressed.csv")]
    Export(Export),
}

const LIST_HELP: &str = "With --json an array of objects: suppression, recipient, sender (null: every sender), category (null: \
every category), reason, source (operator, import, answer, webhook), expires_at, created_at, created_by, stands.

Examples:
  wa-outbox suppress list --category marketing
  wa-outbox suppress list --recipient +16505551234 --reveal";

/// Suppressions written, or read, at once.
const AT_ONCE: usize = 5_000;

/// Where a suppression counts.
#[derive(Debug, clap::Args)]
struct Scope {
    /// Only from this sender [default: from every sender]
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// Only for templates of this category [default: of every category]
    #[arg(long, value_name = "CATEGORY", value_parser = CATEGORIES)]
    category: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Word {
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only for this span, such as 90d [default: until it is removed]
    #[arg(long = "for", value_name = "SPAN", value_parser = duration::parse)]
    span: Option<Duration>,
    /// Who says so [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The recipient: + and the number with its country code, or an id of WhatsApp's
    #[arg(value_name = "RECIPIENT", allow_hyphen_values = true)]
    recipient: String,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    word: Word,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// The recipient
    #[arg(value_name = "RECIPIENT", allow_hyphen_values = true)]
    recipient: String,
    #[command(flatten)]
    scope: Scope,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Of this recipient
    #[arg(long, value_name = "RECIPIENT", allow_hyphen_values = true)]
    recipient: Option<String>,
    #[command(flatten)]
    scope: Scope,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Show whole numbers
    #[arg(long)]
    reveal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How it is written [default: by the file's name, else csv]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The column with the phone number or the id [default: recipient, or phone]
    #[arg(long, value_name = "NAME")]
    recipient_column: Option<String>,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    word: Word,
}

#[derive(Debug, clap::Args)]
struct Export {
    #[command(flatten)]
    scope: Scope,
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When the database refuses, or a file cannot be used.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.action {
            Action::Add(add) => add.run(context).await,
            Action::Remove(remove) => remove.run(context).await,
            Action::List(list) => list.run(context).await,
            Action::Import(import) => import.run(context).await,
            Action::Export(export) => export.run(context).await,
        }
    }
}

impl Scope {
    fn filter(&self, recipient: Option<String>) -> SuppressionFilter {
        SuppressionFilter {
            recipient,
            sender: self.sender.clone(),
            category: self.category.clone(),
        }
    }

    fn of(
        &self,
        recipient: String,
        word: &Word,
        now: OffsetDateTime,
    ) -> anyhow::Result<NewSuppression> {
        Ok(NewSuppression {
            recipient,
            sender: self.sender.clone(),
            category: self.category.clone(),
            reason: word.reason.clone(),
            expires_at: word.span.map(|span| later(now, span)).transpose()?,
        })
    }

    fn in_words(&self) -> String {
        let sender = self.sender.as_ref().map_or_else(
            || "every sender".to_owned(),
            |sender| format!("sender {sender}"),
        );
        let category = self.category.as_deref().unwrap_or("every category");
        format!("{sender}, {category}")
    }
}

impl Add {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let suppression = self
            .scope
            .of(self.recipient, &self.word, context.clock().now())?;
        let by = context.author(self.word.by)?;
        let store = context.store().await?;
        store.suppress(&[suppression], "operator", &by).await?;
        let until = self.word.span.map_or_else(String::new, |span| {
            format!(
                " for {}",
                crate::standing::time::span(span.try_into().unwrap_or_default())
            )
        });
        output::print(&format!(
            "No campaign writes to this recipient{until} ({}).",
            self.scope.in_words()
        ))
    }
}

impl Remove {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let removed = store
            .remove_suppressions(&self.scope.filter(Some(self.recipient)))
            .await?;
        match removed {
            0 => {
                let what = format!(
                    "this recipient is not suppressed ({})",
                    self.scope.in_words()
                );
                Err(
                    Problem::failed(what, "see: wa-outbox suppress list --recipient RECIPIENT")
                        .into(),
                )
            }
            1 => output::print("One suppression was taken away."),
            many => output::print(&format!("{many} suppressions were taken away.")),
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let now = context.clock().now();
        let filter = self.scope.filter(self.recipient);
        let found = store
            .suppressions(&filter, 0, i64::from(self.limit))
            .await?;
        let eyes = Eyes {
            reveal: self.reveal,
        };
        if self.json {
            let rows: Vec<_> = found
                .iter()
                .map(|one| SuppressionJson::of(one, eyes))
                .collect();
            return output::print_json(&rows);
        }
        if found.is_empty() {
            return output::print("Nobody is suppressed.");
        }
        let mut table = Table::new([
            numbers("ID"),
            words("RECIPIENT"),
            words("SENDER"),
            words("CATEGORY"),
            words("SINCE"),
            words("ENDS"),
            words("SOURCE"),
            words("BY"),
            words("REASON"),
        ]);
        for one in &found {
            table.row([
                one.suppression.to_string(),
                eyes.recipient(&one.recipient).into_owned(),
                one.sender.clone().unwrap_or_else(|| "every".to_owned()),
                one.category.clone().unwrap_or_else(|| "every".to_owned()),
                age(one.created_at, now),
                one.expires_at.map_or_else(String::new, |at| age(at, now)),
                one.source.clone(),
                one.created_by.clone(),
                one.reason.clone(),
            ]);
        }
        output::print(&table.render(context.colours()))
    }
}

impl Import {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let now = context.clock().now();
        let by = context.author(self.word.by.clone())?;
        let store = context.store().await?;
        let schema = self.schema(store).await?;
        let file = open(&self.file, self.format, schema)?;
        let mut reader = file.reader;
        let (mut written, mut faults, mut batch) = (0, 0_u64, Vec::with_capacity(AT_ONCE));
        let (mut ended, mut ids, mut has_scopes) = (0_u64, 0_u64, false);
        loop {
            let entry = reader.next_entry()?;
            let is_end = entry.is_none();
            match entry {
                Some(Entry::Row(row)) if row.expires_at.is_some_and(|at| at <= now) => ended += 1,
                Some(Entry::Row(row)) => {
                    has_scopes |= row.sender.is_some() || row.category.is_some();
                    ids += u64::from(kind_of(&row.recipient) != "phone");
                    let usual = self.scope.of(row.recipient, &self.word, now)?;
                    batch.push(NewSuppression {
                        sender: row.sender.or(usual.sender),
                        category: row.category.or(usual.category),
                        reason: row.reason.unwrap_or(usual.reason),
                        expires_at: row.expires_at.or(usual.expires_at),
                        ..usual
                    });
                }
                Some(Entry::Fault(fault)) => {
                    faults += 1;
                    writeln!(
                        std::io::stderr(),
                        "line {}: {}: {}",
                        fault.line,
                        output::plain(&fault.field),
                        fault.reason
                    )?;
                }
                None => {}
            }
            if batch.len() == AT_ONCE || is_end {
                written += store.suppress(&batch, "import", &by).await?;
                batch.clear();
            }
            if is_end {
                break;
            }
        }
        let some = |count: u64, words: &str| match count {
            0 => String::new(),
            count => format!(" {count} {words}"),
        };
        let scope = match has_scopes {
            true => format!("as the file says, else {}", self.scope.in_words()),
            false => self.scope.in_words(),
        };
        output::print(&format!(
            "{written} recipients are suppressed ({scope}).{}{}{}",
            some(ids, "of them are ids, and no phone numbers."),
            some(ended, "had ended and were left out."),
            some(faults, "lines could not be used, see above.")
        ))
    }

    async fn schema(&self, store: &Store) -> anyhow::Result<Suppressions> {
        let senders = store.known_senders().await?;
        if let (Some(known), Some(sender)) = (&senders, &self.scope.sender)
            && !known.iter().any(|known| known.sender == *sender)
        {
            let fix = "see which there are: wa-outbox sender list";
            return Err(Problem::failed(format!("there is no sender {sender}"), fix).into());
        }
        let column = self.recipient_column.as_deref();
        Ok(Suppressions::new(column, senders.as_deref()))
    }
}

impl Export {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = context.store().await?;
        let filter = self.scope.filter(None);
        output::print(
            "recipient,sender,category,reason,source,expires_at,created_at,created_by,recipient_kind",
        )?;
        let mut after = 0;
        loop {
            let page = store
                .suppressions(&filter, after, i64::try_from(AT_ONCE)?)
                .await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.suppression;
            // What has ended would stand again where it is read by something that does not look.
            let lines: String = page.iter().filter(|one| one.stands).map(csv).collect();
            if !lines.is_empty() {
                output::print(&lines)?;
            }
        }
    }
}

fn csv(one: &Suppression) -> String {
    let moment = |at: OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
    let cells = [
        one.recipient.clone(),
        one.sender.clone().unwrap_or_default(),
        one.category.clone().unwrap_or_default(),
        one.reason.clone(),
        one.source.clone(),
        one.expires_at.map_or_else(String::new, moment),
        moment(one.created_at),
        one.created_by.clone(),
        kind_of(&one.recipient).to_owned(),
    ];
    cells.map(|text| output::csv_cell(&text)).join(",") + "\n"
}

#[derive(Serialize)]
struct SuppressionJson<'a> {
    suppression: i64,
    recipient: std::borrow::Cow<'a, str>,
    sender: Option<&'a str>,
    category: Option<&'a str>,
    reason: &'a str,
    source: &'a str,
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    created_by: &'a str,
    stands: bool,
}

impl<'a> SuppressionJson<'a> {
    fn of(one: &'a Suppression, eyes: Eyes) -> Self {
        Self {
            suppression: one.suppression,
            recipient: eyes.recipient(&one.recipient),
            sender: one.sender.as_deref(),
            category: one.category.as_deref(),
            reason: &one.reason,
            source: &one.source,
            expires_at: one.expires_at,
            created_at: one.created_at,
            created_by: &one.created_by,
            stands: one.stands,
        }
    }
}
