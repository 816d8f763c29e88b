//! `import`: takes a file of messages into the outbox.
//!
//! A part of the file and the place that it was read to are one transaction, so an import that was cut off, by whatever, is simply run
//! again: it reads over what it has written, sees by the checksum that this is still the same, and goes on. Run once more it finds
//! nothing to do; lines that were added meanwhile are taken.

mod columns;
mod senders;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Serialize;

use super::failure::Problem;
use super::rows::{
    CORRECT_IT, Ended, Fault, FaultsFile, Opened, Place, Reading, Run, is_stdin,
    must_have_used_some, parts,
};
use super::{Context, output};
use crate::message::Outgoing;
use crate::standing::facts::thousands;
use crate::standing::time::stamp;
use crate::store::imports::{FileStanding, FileStep, WrittenMessages};
use crate::store::parts::RefusedRow;
use crate::store::{Store, StoreError};
use columns::{Messages, Row};
pub(super) use senders::Senders;

const HELP: &str = "A CSV file has a header; `,`, `;` or tabs stand between its fields. Its columns are those of wa.outbox: recipient (or \
phone), and text (a text message) or payload (JSON, the body of any message); if you like sender, sequence, due_at, expires_at (with \
their offset), priority, dedup_key, reference, on_uncertain, recipient_kind, or campaign_id and variables (JSON). An empty cell is as if \
its column were not there. A file of JSON lines has an object in each line, with the same names.

Messages leave as they come in. A line that cannot be used is told in the file of faults, and the others are taken. An import that was \
cut off goes on when it is run again; run once more it takes only what was added at the end of the file. Under another name (--as) it is \
another file, and takes everything again, but for rows whose dedup_key is there already. What comes from standard input is remembered \
only under such a name.

--dry-run has the database judge each row and keeps none, so a dedup_key that stands again further down may be counted as new.

Exit codes: 0 also where some lines could not be used, 1 where none of them could, 2 wrong usage.

With --json an object: source, messages, duplicates, faults, already, lines, seconds, faults_file.

Examples:
  wa-outbox import reminders.csv --dry-run
  wa-outbox import reminders.csv
  psql -c \"copy (select …) to stdout csv header\" | wa-outbox import - --as reminders";

/// Faults that are told on the screen, beside those in their file.
const TOLD_AT_ONCE: usize = 5;
/// A part that met a deadlock is written again so often.
const TRIES: u32 = 5;

/// Write a file of messages into the outbox: CSV or JSON lines
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Rows that name no sender are of this one [default: the only or the default one]
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    /// Columns that are not to be read
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    ignore: Vec<String>,
    #[command(flatten)]
    reading: Reading,
    /// Have each row judged, and write nothing but the file of faults
    #[arg(long)]
    dry_run: bool,
    /// Who imports it [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What became of a file.
#[derive(Debug, Serialize)]
struct Imported {
    source: String,
    /// Written by this run; with --dry-run, that could be.
    messages: i64,
    /// Left out: a message of their sender has their dedup key.
    duplicates: i64,
    faults: i64,
    /// Written by an earlier run.
    already: i64,
    lines: u64,
    seconds: f64,
    faults_file: Option<PathBuf>,
    #[serde(skip)]
    words: String,
}

/// A file that is being taken.
struct Import<'a> {
    store: &'a Store,
    /// Under which name it is remembered, if it is.
    source: Option<String>,
    strict: bool,
    dry: bool,
    messages: i64,
    duplicates: i64,
    /// Parts with dedup keys.
    keyed_parts: u32,
    /// The first faults, for the screen.
    told: Vec<Fault>,
}

impl Options {
    /// Takes the file.
    ///
    /// # Errors
    /// When the file cannot be used, or the database cannot be reached; with --strict, at the first line that cannot be used.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        let is_remembered = !is_stdin(&self.file) || self.reading.name.is_some();
        if self.reading.strict && !is_remembered && !self.dry_run {
            let what = "--strict stops in the middle of standard input, and without a name nobody would know where";
            let fix = "give it a name, by which another run goes on there: --as NAME; or leave out --strict";
            return Err(Problem::usage(what, fix).into());
        }
        let schema = Messages::new(self.ignore.clone(), self.reading.default_country);
        let mut file = self.reading.open(&self.file, schema)?;
        let by = context.author(self.by.clone())?;
        let store = context.store().await?;
        let senders = Senders::new(store.known_senders().await?, self.sender.clone());
        senders.must_have(self.sender.as_deref())?;
        file.reader.schema_mut().sent_by(senders);
        let name = self.reading.name_of(&self.file);
        let source = Some(name.clone()).filter(|_| is_remembered && !self.dry_run);
        let before = match &source {
            Some(source) => Some(store.begin_file(source, &by).await?),
            None => None,
        };
        if let Some(before) = &before {
            self.go_on(&mut file, before)?;
        }
        let told = before.as_ref().map_or(0, |before| before.faults_bytes);
        let faults = FaultsFile::new(self.reading.faults_of(&self.file), u64::try_from(told)?);
        let run = Run::new(context, "messages", faults, file.size, file.read.clone());
        let import = Import {
            store,
            source,
            strict: self.reading.strict,
            dry: self.dry_run,
            messages: 0,
            duplicates: 0,
            keyed_parts: 0,
            told: Vec::new(),
        };
        // What an earlier run has found stays wrong: run again, a bad file must not turn into a good one.
        let faults_before = before
            .as_ref()
            .map_or(0, |before| before.faults_bytes.min(1));
        let imported = import.take(file, run, name, before).await?;
        if self.json {
            output::print_json(&imported)?;
        } else {
            output::print(&imported.words)?;
        }
        let used = imported.messages + imported.duplicates + imported.already;
        must_have_used_some(used, imported.faults + faults_before)
    }

    /// Goes to where an earlier run has come.
    fn go_on(&self, file: &mut Opened<Messages>, before: &FileStanding) -> anyhow::Result<()> {
        if before.lines == 0 {
            return Ok(());
        }
        let place = Place {
            lines: u64::try_from(before.lines)?,
            checksum: before.checksum.clone(),
        };
        file.reader.go_to(&place).map_err(|error| {
            let what = format!("could not go on with {}", self.file.display());
            let fix = "put the file back as it was; or import it as another one: --as NAME, without the lines that are there already";
            Problem::failed(what, fix).because(error).into()
        })
    }
}

impl Import<'_> {
    async fn take(
        mut self,
        file: Opened<Messages>,
        mut run: Run<'_>,
        name: String,
        before: Option<FileStanding>,
    ) -> anyhow::Result<Imported> {
        let mut lines_before = before.as_ref().map_or(0, |before| before.lines);
        let mut parts = parts(file.reader, self.strict);
        while let Some(part) = parts.recv().await {
            let part = part?;
            let rows: Vec<Outgoing> = part.rows.into_iter().map(message_of).collect();
            self.keyed_parts += u32::from(rows.iter().any(|row| row.dedup_key.is_some()));
            let lines = i64::try_from(part.place.lines)?;
            let step = self.source.as_deref().map(|source| FileStep {
                source,
                lines_before,
                lines,
                checksum: &part.place.checksum,
                is_last: part.is_last,
            });
            let Some(written) = self.write(&rows, step).await? else {
                let what = format!("another import of {name} is running");
                let fix = "wait for it, or stop it; then run this again";
                return Err(Problem::failed(what, fix).into());
            };
            let mut faults = part.faults;
            let refused = written.refused.iter();
            faults.extend(refused.map(|row| fault_of(row, part.row_lines[row.place])));
            faults.sort_by_key(|fault| fault.line);
            if let (true, Some(first)) = (self.strict, faults.first()) {
                written.undo().await?;
                run.stop(Some(first), self.fix())?;
                return Ok(self.imported(run.end()?, name, before));
            }
            // Before it is durable: a fault may be told twice to nobody, but must not be lost.
            run.faults.write(&faults)?;
            let told = TOLD_AT_ONCE.saturating_sub(self.told.len());
            self.told.extend(faults.iter().take(told).cloned());
            let (taken, duplicates) = (written.messages, written.duplicates);
            match self.dry {
                true => written.undo().await?,
                false => {
                    let length = i64::try_from(run.faults.length())?;
                    written.commit(i64::try_from(faults.len())?, length).await?;
                }
            }
            lines_before = lines;
            self.messages += taken;
            self.duplicates += duplicates;
            run.note(taken, &part.place);
            run.stop(part.stopped.as_ref(), self.fix())?;
        }
        Ok(self.imported(run.end()?, name, before))
    }

    /// What to do about a line where it has stopped.
    fn fix(&self) -> &'static str {
        match self.dry {
            true => CORRECT_IT,
            false => {
                "correct it and run this again: it goes on at that line; or leave out --strict"
            }
        }
    }

    async fn write(
        &self,
        rows: &[Outgoing],
        step: Option<FileStep<'_>>,
    ) -> Result<Option<WrittenMessages>, StoreError> {
        let mut tries = 1;
        loop {
            match self.store.write_messages(rows, step).await {
                Err(error) if error.may_be_tried_again() && tries < TRIES => tries += 1,
                written => return written,
            }
        }
    }

    fn imported(self, ended: Ended, source: String, before: Option<FileStanding>) -> Imported {
        let already = before.as_ref().map_or(0, |before| before.messages);
        Imported {
            words: self.in_words(&ended, &source, before.as_ref()),
            source,
            messages: self.messages,
            duplicates: self.duplicates,
            faults: ended.faults,
            already,
            lines: ended.lines,
            seconds: ended.seconds,
            faults_file: ended.faults_file,
        }
    }

    /// In a sentence or two, and the first faults.
    fn in_words(&self, ended: &Ended, source: &str, before: Option<&FileStanding>) -> String {
        let is_new = self.messages + self.duplicates + ended.faults > 0;
        if let (Some(before), false) = (before, is_new)
            && let Some(at) = before.finished_at
        {
            let refused = ended.faults_file.as_ref().map_or_else(String::new, |file| {
                format!(
                    " What could not be used then is told in {}, and is not read again: import it, corrected, as a file of its own.",
                    file.display()
                )
            });
            return format!(
                "Nothing is new: {} imported {source} {}, {} messages.{refused} To import it once more, give it another name: --as NAME",
                before.started_by,
                stamp(at),
                thousands(before.messages)
            );
        }
        let where_to = match self.dry {
            true => "could be imported; nothing was written",
            false => "are in the outbox",
        };
        // Each part is undone before the next one is judged.
        let unseen = match self.dry && self.keyed_parts > 1 {
            true => " A dedup_key that stands again in another part of the file is counted as new.",
            false => "",
        };
        let some = |count: i64, words: &str| match count {
            0 => String::new(),
            count => format!(" {} {words}", thousands(count)),
        };
        let mut words = format!(
            "{} messages {where_to} ({}).{}{}{unseen}{}",
            thousands(self.messages),
            ended.pace(self.messages),
            some(self.duplicates, "were there already, by their dedup_key."),
            some(
                before.map_or(0, |before| before.messages),
                "of an earlier run were there already."
            ),
            ended.faults_in_words()
        );
        for Fault {
            line,
            field,
            reason,
        } in &self.told
        {
            let told = format!("line {line}: {field}: {reason}");
            words += &format!("\n  {}", output::plain(&told));
        }
        let more = ended.faults - i64::try_from(self.told.len()).unwrap_or_default();
        words + &some(more, "more").replacen(' ', "\n  … ", 1)
    }
}

fn message_of(row: Row) -> Outgoing {
    row.message
}

/// What the database refuses. What it says of a recipient may name it, so there only the fix is told.
fn fault_of(row: &RefusedRow, line: u64) -> Fault {
    let field = row.field.clone().unwrap_or_else(|| "line".to_owned());
    let is_personal = field == "recipient";
    let reason = match &row.fix {
        Some(fix) if is_personal => format!("it cannot be used; {fix}"),
        None if is_personal => "it cannot be used".to_owned(),
        Some(fix) => format!("{}; {fix}", row.reason),
        None => row.reason.clone(),
    };
    Fault {
        line,
        field,
        reason,
    }
}
