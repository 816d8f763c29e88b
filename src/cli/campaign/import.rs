//! Takes a file of recipients into a campaign.
//!
//! The file is read by a thread of its own, a batch ahead of the database. A batch and the place that the file was read to are
//! one transaction, so an import that was cut off, by whatever, is simply run again: it reads over what it has written, sees by
//! the checksum that this is still the same, and goes on. Run once more it finds nothing to do; lines that were added meanwhile
//! are taken. What could not be used is told in a file of its own, which is cut back to the same place.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::Context;
use crate::cli::failure::Problem;
use crate::cli::import::Senders;
use crate::cli::recipients::{Recipients as Schema, Row};
use crate::cli::rows::{
    self, CORRECT_IT, Ended, Fault, FaultsFile, Format, Opened, Place, Run, must_have_used_some,
    names_of, parts,
};
use crate::domain::placeholders::Template;
use crate::standing::shell;
use crate::standing::time::stamp;
use crate::store::Store;
use crate::store::campaign::Campaign;
use crate::store::recipients::{Batch, ImportStanding, NewRecipient};

/// How a file is to be read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Reading {
    #[command(flatten)]
    file: rows::Reading,
    /// The column with the phone number [default: recipient, or phone]
    #[arg(long, value_name = "NAME")]
    recipient_column: Option<String>,
}

/// What became of a file.
#[derive(Debug, Serialize)]
pub(super) struct Imported {
    campaign: Option<String>,
    source: String,
    /// Written by this run; with --dry-run, that could be.
    pub(super) recipients: i64,
    faults: i64,
    /// Those of an earlier run.
    #[serde(skip)]
    faults_before: i64,
    /// Written by an earlier run.
    already: i64,
    lines: u64,
    seconds: f64,
    faults_file: Option<PathBuf>,
    #[serde(skip)]
    words: String,
}

/// A file that is about to be taken.
pub(super) struct Recipients {
    path: PathBuf,
    reading: rows::Reading,
    recipient_column: Option<String>,
    file: Opened<Schema>,
}

impl Reading {
    /// Refuses to tell of lines of this file in another one that is read.
    pub(super) fn must_spare(&self, path: &Path, read: &Path) -> Result<(), Problem> {
        self.file.must_spare(path, read)
    }

    /// Opens a file, `-` for standard input, and reads its header.
    pub(super) fn open(self, path: &Path) -> Result<Recipients, Problem> {
        let schema = Schema::in_column(self.recipient_column.as_deref());
        let mut file = self.file.open(path, schema)?;
        file.reader
            .schema_mut()
            .dialled_in(self.file.default_country);
        Ok(Recipients {
            path: path.to_owned(),
            reading: self.file,
            recipient_column: self.recipient_column,
            file,
        })
    }
}

impl Recipients {
    /// Refuses a file whose columns lack what the template wants. Where each row has its own variables only a look at every row
    /// can tell: the preflight.
    pub(super) fn must_fill(&self, template: &Template) -> anyhow::Result<()> {
        if self.file.reader.columns().is_none() {
            return Ok(());
        }
        let columns: Vec<&str> = self.file.reader.schema().variables().collect();
        let missing: Vec<&str> = template
            .names()
            .iter()
            .map(String::as_str)
            .filter(|name| !columns.contains(name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let what = format!(
            "the template wants {}, and {} has no such column",
            missing.join(", "),
            self.path.display()
        );
        let fix = format!(
            "it has: {}; correct the header or the template",
            names_of(&columns)
        );
        Err(Problem::failed(what, fix).into())
    }

    /// Reads it to its end and writes nothing but the file of faults.
    pub(super) async fn check(self, context: &Context) -> anyhow::Result<Imported> {
        let source = self.name();
        let mut run = self.run(context, 0);
        let mut recipients = 0;
        let mut parts = parts(self.file.reader, self.reading.strict);
        while let Some(part) = parts.recv().await {
            let part = part?;
            let rows = i64::try_from(part.rows.len())?;
            run.faults.write(&part.faults)?;
            recipients += rows;
            run.note(rows, &part.place);
            run.stop(part.stopped.as_ref(), CORRECT_IT)?;
        }
        Ok(Imported::of(run.end()?, source, recipients, None))
    }

    /// Has numbers without + read as this sender dials them, where the command names no country.
    pub(super) async fn dialled_by(&mut self, store: &Store, sender: &str) -> anyhow::Result<()> {
        if self.reading.default_country.is_none() {
            let country = store.default_country(sender).await?;
            let country = country.and_then(|country| country.parse().ok());
            self.file.reader.schema_mut().dialled_in(country);
        }
        Ok(())
    }

    /// The same for a campaign that is yet to be made, which names its sender or none.
    pub(super) async fn dialled_by_its_sender(
        &mut self,
        store: &Store,
        named: Option<&str>,
    ) -> anyhow::Result<()> {
        let senders = Senders::new(store.known_senders().await?, None);
        senders.must_have(named)?;
        match named.or(senders.usual()) {
            Some(sender) => self.dialled_by(store, sender).await,
            None => Ok(()),
        }
    }

    /// The command that goes on with it, also where the campaign was made by the same one that began.
    fn again(&self, campaign: &str) -> String {
        let mut command = format!(
            "wa-outbox campaign import {} {}",
            shell::word(campaign),
            shell::word(&self.path.to_string_lossy())
        );
        let country = self
            .reading
            .default_country
            .map(|country| country.to_string());
        let format = self.reading.format.map(|format| match format {
            Format::Csv => "csv".to_owned(),
            Format::Jsonl => "jsonl".to_owned(),
        });
        for (option, value) in [
            ("--format", format.as_ref()),
            ("--as", self.reading.name.as_ref()),
            ("--recipient-column", self.recipient_column.as_ref()),
            ("--default-country", country.as_ref()),
        ] {
            if let Some(value) = value {
                command += &format!(" {option} {}", shell::word(value));
            }
        }
        command
    }

    /// Takes it into a campaign, from where an earlier run has come to.
    pub(super) async fn import(
        mut self,
        context: &Context,
        store: &Store,
        campaign: &Campaign,
        by: &str,
    ) -> anyhow::Result<Imported> {
        self.dialled_by(store, &campaign.sender).await?;
        let fix = format!(
            "correct it and go on at that line: {} --strict; without --strict it is left out and told",
            self.again(&campaign.name)
        );
        let source = self.name();
        let before = store.begin_import(campaign.id, &source, by).await?;
        self.go_on(&before, &campaign.name)?;
        let mut run = self.run(context, u64::try_from(before.faults_bytes)?);
        let (mut recipients, mut lines_before) = (0, before.lines);
        let mut parts = parts(self.file.reader, self.reading.strict);
        while let Some(part) = parts.recv().await {
            let part = part?;
            let rows: Vec<NewRecipient> = part.rows.into_iter().map(new_recipient).collect();
            let lines = i64::try_from(part.place.lines)?;
            let batch = Batch {
                campaign: campaign.id,
                source: &source,
                lines_before,
                lines,
                checksum: &part.place.checksum,
                recipients: &rows,
                is_last: part.is_last,
            };
            let Some(written) = store.write_batch(&batch).await? else {
                let what = format!(
                    "another import of {source} into campaign {} is running",
                    campaign.name
                );
                return Err(
                    Problem::failed(what, "wait for it, or stop it; then run this again").into(),
                );
            };
            let mut faults = part.faults.clone();
            faults.extend(written.refused.iter().map(|refused| Fault {
                line: part.row_lines[refused.place],
                field: refused.field.clone().unwrap_or_else(|| "line".to_owned()),
                reason: refused.reason.clone(),
            }));
            faults.sort_by_key(|fault| fault.line);
            // Before it is durable: a fault may be told twice to nobody, but must not be lost.
            run.faults.write(&faults)?;
            let taken = written.recipients();
            written
                .commit(
                    i64::try_from(faults.len())?,
                    i64::try_from(run.faults.length())?,
                )
                .await?;
            lines_before = lines;
            recipients += taken;
            run.note(taken, &part.place);
            run.stop(part.stopped.as_ref(), &fix)?;
        }
        let into = Some((campaign.name.as_str(), &before));
        Ok(Imported::of(run.end()?, source, recipients, into))
    }

    /// Goes to where an earlier run has come.
    fn go_on(&mut self, before: &ImportStanding, campaign: &str) -> anyhow::Result<()> {
        if before.lines == 0 {
            return Ok(());
        }
        let place = Place {
            lines: u64::try_from(before.lines)?,
            checksum: before.checksum.clone(),
        };
        self.file.reader.go_to(&place).map_err(|error| {
            let what = format!("could not go on with {} in campaign {campaign}", self.path.display());
            let fix = "put the file back as it was; or import it as another one: --as NAME, without the lines that are there already";
            Problem::failed(what, fix).because(error).into()
        })
    }

    fn name(&self) -> String {
        self.reading.name_of(&self.path)
    }

    /// A run over it, of which an earlier one has told faults for good, in so many bytes.
    fn run<'a>(&self, context: &'a Context, told: u64) -> Run<'a> {
        let faults = FaultsFile::new(self.reading.faults_of(&self.path), told);
        let (size, read) = (self.file.size, self.file.read.clone());
        Run::new(context, "recipients", faults, size, read)
    }
}

fn new_recipient(row: Row) -> NewRecipient {
    NewRecipient {
        recipient: row.recipient,
        variables: row.variables,
    }
}

impl Imported {
    /// `into`: the campaign, and what an earlier run has made of that file.
    fn of(
        ended: Ended,
        source: String,
        recipients: i64,
        into: Option<(&str, &ImportStanding)>,
    ) -> Self {
        let count = crate::standing::facts::thousands;
        let (where_to, already) = match into {
            Some((campaign, before)) => (format!("are in campaign {campaign}"), before.recipients),
            None => ("could be imported; nothing was written".to_owned(), 0),
        };
        let of_earlier = match already {
            0 => String::new(),
            some => format!(" {} of an earlier run were there already.", count(some)),
        };
        let is_new = recipients + ended.faults > 0;
        let faults_before = into.map_or(0, |(_, before)| before.faults);
        let nothing = into
            .filter(|_| !is_new)
            .and_then(|(campaign, before)| nothing_new(&ended, &source, campaign, before));
        let words = nothing.unwrap_or_else(|| {
            format!(
                "{} recipients {where_to} ({}).{of_earlier}{}",
                count(recipients),
                ended.pace(recipients),
                ended.faults_in_words()
            )
        });
        Self {
            campaign: into.map(|(campaign, _)| campaign.to_owned()),
            source,
            recipients,
            faults: ended.faults,
            faults_before,
            already,
            lines: ended.lines,
            seconds: ended.seconds,
            faults_file: ended.faults_file,
            words,
        }
    }

    /// An error where no line of the file could be used.
    pub(super) fn must_have_used_some(&self) -> anyhow::Result<()> {
        must_have_used_some(
            self.recipients + self.already,
            self.faults + self.faults_before,
        )
    }

    /// In a sentence or two.
    pub(super) fn in_words(&self) -> &str {
        &self.words
    }
}

/// What a run says that finds nothing in a file which an earlier one has read to its end.
fn nothing_new(
    ended: &Ended,
    source: &str,
    campaign: &str,
    before: &ImportStanding,
) -> Option<String> {
    let count = crate::standing::facts::thousands;
    let mut words = format!(
        "Nothing is new: {source} was imported into campaign {campaign} {}, {} recipients.",
        stamp(before.finished_at?),
        count(before.recipients)
    );
    if before.faults > 0 {
        let told = ended.faults_file.as_ref();
        let told = told.map_or_else(String::new, |file| {
            format!("; each is told in {}", file.display())
        });
        words += &format!(
            " {} lines could not be used then and are not read again{told}.",
            count(before.faults)
        );
    }
    words += match (before.recipients, before.faults) {
        (0, 1..) => " To have the file read once more, give it another name: --as NAME",
        (_, 1..) => " Correct them in a file of their own, and import that.",
        _ => " To import it once more, give it another name: --as NAME",
    };
    Some(words)
}
