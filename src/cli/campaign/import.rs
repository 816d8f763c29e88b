//! Takes a file of recipients into a campaign.
//!
//! The file is read by a thread of its own, a batch ahead of the database. A batch and the place that the file was read to are
//! one transaction, so an import that was cut off, by whatever, is simply run again: it reads over what it has written, sees by
//! the checksum that this is still the same, and goes on. Run once more it finds nothing to do; lines that were added meanwhile
//! are taken. What could not be used is told in a file of its own, which is cut back to the same place.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::mpsc;

use super::faults_file::FaultsFile;
use crate::cli::Context;
use crate::cli::failure::Problem;
use crate::cli::progress::Progress;
use crate::cli::recipients::{Entry, Fault, Format, Opened, Place, Reader, is_stdin, open};
use crate::domain::numbering::Country;
use crate::domain::placeholders::Template;
use crate::store::Store;
use crate::store::campaign::Campaign;
use crate::store::recipients::{Batch, ImportStanding, NewRecipient};

/// Rows written at once: enough that a round trip is nothing, few enough to be written within a second.
const ROWS_AT_ONCE: usize = 5_000;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Batches that are read ahead.
const AHEAD: usize = 2;

/// How a file is to be read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Reading {
    /// How it is written [default: by the file's name, else csv]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The column with the phone number [default: recipient, or phone]
    #[arg(long, value_name = "NAME")]
    recipient_column: Option<String>,
    /// Read numbers without + as they are dialled in this country (two letters, such as DE) [default: the sender's default
    /// country; without one they cannot be used]
    #[arg(long, value_name = "COUNTRY")]
    default_country: Option<Country>,
    /// Under which name the import is remembered [default: the file's name; stdin]
    #[arg(long = "as", id = "as", value_name = "NAME")]
    name: Option<String>,
    /// Where lines that cannot be used are told, as CSV [default: the file's name and .faults.csv]
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Stop at the first line that cannot be used
    #[arg(long)]
    strict: bool,
}

/// What became of a file.
#[derive(Debug, Serialize)]
pub(super) struct Imported {
    campaign: Option<String>,
    source: String,
    /// Written by this run; with --dry-run, that could be.
    pub(super) recipients: i64,
    faults: i64,
    /// Written by an earlier run.
    already: i64,
    lines: u64,
    seconds: f64,
    faults_file: Option<PathBuf>,
    #[serde(skip)]
    dry: bool,
}

/// A file that is about to be taken.
pub(super) struct Recipients {
    path: PathBuf,
    reading: Reading,
    file: Opened,
}

/// A part of the file.
struct Part {
    rows: Vec<NewRecipient>,
    /// The line of each row.
    row_lines: Vec<u64>,
    faults: Vec<Fault>,
    place: Place,
    is_last: bool,
    /// Where `--strict` has stopped.
    stopped: Option<Fault>,
}

impl Reading {
    /// Opens a file, `-` for standard input, and reads its header.
    pub(super) fn open(self, path: &Path) -> Result<Recipients, Problem> {
        let mut file = open(path, self.format, self.recipient_column.as_deref())?;
        file.reader.dialled_in(self.default_country);
        Ok(Recipients {
            path: path.to_owned(),
            reading: self,
            file,
        })
    }
}

impl Recipients {
    /// Refuses a file whose columns lack what the template wants. Where each row has its own variables only a look at every row
    /// can tell: the preflight.
    pub(super) fn must_fill(&self, template: &Template) -> anyhow::Result<()> {
        let Some(columns) = self.file.reader.columns() else {
            return Ok(());
        };
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
            columns.join(", ")
        );
        Err(Problem::failed(what, fix).into())
    }

    /// Reads it to its end and writes nothing but the file of faults.
    pub(super) async fn check(self, context: &Context) -> anyhow::Result<Imported> {
        let mut run = Run::new(context, &self, None)?;
        let mut parts = self.parts();
        while let Some(part) = parts.recv().await {
            let part = part?;
            run.faults.write(&part.faults)?;
            run.note(i64::try_from(part.rows.len())?, &part);
            run.stop(part.stopped)?;
        }
        run.end()
    }

    /// Takes it into a campaign, from where an earlier run has come to.
    pub(super) async fn import(
        mut self,
        context: &Context,
        store: &Store,
        campaign: &Campaign,
        by: &str,
    ) -> anyhow::Result<Imported> {
        if self.reading.default_country.is_none() {
            let country = store.default_country(&campaign.sender).await?;
            let country = country.and_then(|country| country.parse().ok());
            self.file.reader.dialled_in(country);
        }
        let source = self.name();
        let before = store.begin_import(campaign.id, &source, by).await?;
        self.go_on(&before, &campaign.name)?;
        let mut run = Run::new(context, &self, Some((campaign, &before)))?;
        let mut lines_before = before.lines;
        let mut parts = self.parts();
        while let Some(part) = parts.recv().await {
            let part = part?;
            let lines = i64::try_from(part.place.lines)?;
            let batch = Batch {
                campaign: campaign.id,
                source: &source,
                lines_before,
                lines,
                checksum: &part.place.checksum,
                recipients: &part.rows,
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
            let recipients = written.recipients();
            written
                .commit(
                    i64::try_from(faults.len())?,
                    i64::try_from(run.faults.length())?,
                )
                .await?;
            lines_before = lines;
            run.note(recipients, &part);
            run.stop(part.stopped)?;
        }
        run.end()
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
        let of_file = || {
            self.path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        match &self.reading.name {
            Some(name) => name.clone(),
            None if is_stdin(&self.path) => "stdin".to_owned(),
            None => of_file().unwrap_or_else(|| self.path.display().to_string()),
        }
    }

    fn faults_path(&self) -> PathBuf {
        if let Some(path) = &self.reading.faults {
            return path.clone();
        }
        let mut path = if is_stdin(&self.path) {
            PathBuf::from(self.name())
        } else {
            self.path.clone()
        };
        path.as_mut_os_string().push(".faults.csv");
        path
    }

    /// Reads on in a thread of its own: standard input may not come for as long as it likes, and must not keep anything.
    fn parts(self) -> mpsc::Receiver<io::Result<Part>> {
        let (parts, receiver) = mpsc::channel(AHEAD);
        let strict = self.reading.strict;
        let mut reader = self.file.reader;
        std::thread::spawn(move || {
            loop {
                let part = Part::read(&mut reader, strict);
                let is_over = part
                    .as_ref()
                    .map_or(true, |part| part.is_last || part.stopped.is_some());
                if parts.blocking_send(part).is_err() || is_over {
                    return;
                }
            }
        });
        receiver
    }
}

impl Part {
    fn read(reader: &mut Reader<Box<dyn BufRead + Send>>, strict: bool) -> io::Result<Self> {
        let mut part = Self {
            rows: Vec::with_capacity(ROWS_AT_ONCE),
            row_lines: Vec::with_capacity(ROWS_AT_ONCE),
            faults: Vec::new(),
            place: reader.place(),
            is_last: false,
            stopped: None,
        };
        let mut bytes = 0;
        while part.rows.len() < ROWS_AT_ONCE
            && part.faults.len() < ROWS_AT_ONCE
            && bytes < BYTES_AT_ONCE
        {
            match reader.next()? {
                None => {
                    part.is_last = true;
                    break;
                }
                Some(Entry::Row(row)) => {
                    bytes += row.variables.len();
                    part.row_lines.push(row.line);
                    part.rows.push(NewRecipient {
                        recipient: row.recipient,
                        variables: row.variables,
                    });
                    if strict {
                        part.place = reader.place();
                    }
                }
                Some(Entry::Fault(fault)) if strict => {
                    // Its place is in front of the fault: once that is mended, the next run begins there.
                    part.stopped = Some(fault);
                    return Ok(part);
                }
                Some(Entry::Fault(fault)) => part.faults.push(fault),
            }
        }
        part.place = reader.place();
        Ok(part)
    }
}

/// One run over a file.
struct Run<'a> {
    context: &'a Context,
    imported: Imported,
    faults: FaultsFile,
    progress: Progress,
    read: Arc<AtomicU64>,
    begun: crate::clock::BootInstant,
}

impl<'a> Run<'a> {
    fn new(
        context: &'a Context,
        file: &Recipients,
        into: Option<(&Campaign, &ImportStanding)>,
    ) -> anyhow::Result<Self> {
        let told = into.map_or(0, |(_, before)| before.faults_bytes);
        let begun = context.clock().boot();
        Ok(Self {
            context,
            imported: Imported {
                campaign: into.map(|(campaign, _)| campaign.name.clone()),
                source: file.name(),
                recipients: 0,
                faults: 0,
                already: into.map_or(0, |(_, before)| before.recipients),
                lines: 0,
                seconds: 0.0,
                faults_file: None,
                dry: into.is_none(),
            },
            faults: FaultsFile::new(file.faults_path(), u64::try_from(told)?),
            progress: Progress::new("recipients", file.file.size, begun),
            read: Arc::clone(&file.file.read),
            begun,
        })
    }

    fn note(&mut self, recipients: i64, part: &Part) {
        self.imported.recipients += recipients;
        self.imported.lines = part.place.lines;
        let read = self.read.load(Ordering::Relaxed);
        let done = u64::try_from(self.imported.recipients).unwrap_or_default();
        self.progress.show(
            done,
            read,
            self.faults.written(),
            self.context.clock().boot(),
        );
    }

    fn stop(&mut self, at: Option<Fault>) -> anyhow::Result<()> {
        let Some(fault) = at else { return Ok(()) };
        self.progress.clear();
        let what = format!(
            "line {} cannot be used: {}: {}",
            fault.line, fault.field, fault.reason
        );
        let fix = match self.imported.dry {
            true => "correct it, or leave out --strict",
            false => {
                "correct it and run this again: it goes on at that line; or leave out --strict"
            }
        };
        Err(Problem::failed(what, fix).into())
    }

    fn end(mut self) -> anyhow::Result<Imported> {
        self.progress.clear();
        self.imported.faults = i64::try_from(self.faults.written())?;
        self.imported.seconds = self.begun.until(self.context.clock().boot()).as_secs_f64();
        self.imported.faults_file = self.faults.finish();
        Ok(self.imported)
    }
}

impl Imported {
    /// In a sentence or two.
    pub(super) fn in_words(&self) -> String {
        let count = crate::standing::facts::thousands;
        let into = match &self.campaign {
            Some(campaign) => format!("are in campaign {campaign}"),
            None => "could be imported; nothing was written".to_owned(),
        };
        let rate = self.recipients as f64 / self.seconds.max(0.001);
        let already = match self.already {
            0 => String::new(),
            some => format!(" {} of an earlier run were there already.", count(some)),
        };
        let faults = match (&self.faults_file, self.faults) {
            (Some(file), 1..) => format!(
                " {} lines could not be used; each is told in {}.",
                count(self.faults),
                file.display()
            ),
            _ => String::new(),
        };
        format!(
            "{} recipients {into} ({:.1} s, {} a second).{already}{faults}",
            count(self.recipients),
            self.seconds,
            count(rate as i64),
        )
    }
}
