//! One run over a file: it is read by a thread of its own, a part ahead of the database, and each part is told of once it is durable.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::{Entry, Fault, FaultsFile, Place, Progress, Reader, Schema};
use crate::cli::Context;
use crate::cli::failure::Problem;

/// Rows written at once: enough that a round trip is nothing, few enough to be written within a second.
const ROWS_AT_ONCE: usize = 5_000;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Parts that are read ahead.
const AHEAD: usize = 2;

/// A part of a file.
pub(in crate::cli) struct Part<T> {
    /// What can be used.
    pub(in crate::cli) rows: Vec<T>,
    /// The line of each row.
    pub(in crate::cli) row_lines: Vec<u64>,
    /// What cannot.
    pub(in crate::cli) faults: Vec<Fault>,
    /// Its end.
    pub(in crate::cli) place: Place,
    /// Whether the file ends with it.
    pub(in crate::cli) is_last: bool,
    /// Where `--strict` has stopped.
    pub(in crate::cli) stopped: Option<Fault>,
}

/// Reads on in a thread of its own: standard input may not come for as long as it likes, and must not keep anything.
pub(in crate::cli) fn parts<S: Schema>(
    mut reader: Reader<Box<dyn BufRead + Send>, S>,
    strict: bool,
) -> mpsc::Receiver<Result<Part<S::Row>, Problem>> {
    let (parts, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        loop {
            let part = Part::read(&mut reader, strict).map_err(|error| {
                let fix = "see that nobody changes it meanwhile, and run this again";
                Problem::failed("could not read the file to its end", fix).because(error)
            });
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

impl<T> Part<T> {
    fn read<S: Schema<Row = T>>(
        reader: &mut Reader<Box<dyn BufRead + Send>, S>,
        strict: bool,
    ) -> io::Result<Self> {
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
            match reader.next_entry()? {
                None => {
                    part.is_last = true;
                    break;
                }
                Some(Entry::Row(row)) => {
                    bytes += S::bytes(&row);
                    part.row_lines.push(S::line(&row));
                    part.rows.push(row);
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

/// What to do about a line where `--strict` has stopped a run that writes nothing.
pub(in crate::cli) const CORRECT_IT: &str = "correct it, or leave out --strict";

/// A file of which some lines cannot be used is taken for the others; one of which none can was not what was meant, and a script must
/// hear of it.
pub(in crate::cli) fn must_have_used_some(used: i64, faults: i64) -> anyhow::Result<()> {
    if used > 0 || faults == 0 {
        return Ok(());
    }
    let fix = "correct it, and import it under another name: --as NAME";
    Err(Problem::failed("no line of the file could be used", fix).into())
}

/// What a run tells of while it goes on.
pub(in crate::cli) struct Run<'a> {
    context: &'a Context,
    /// Where lines that cannot be used are told.
    pub(in crate::cli) faults: FaultsFile,
    progress: Progress,
    read: Arc<AtomicU64>,
    begun: crate::clock::BootInstant,
    done: u64,
    lines: u64,
}

/// How a run has ended.
pub(in crate::cli) struct Ended {
    /// Lines that could not be used.
    pub(in crate::cli) faults: i64,
    /// Where they are told, if there are any.
    pub(in crate::cli) faults_file: Option<PathBuf>,
    /// Lines of the file that were read.
    pub(in crate::cli) lines: u64,
    /// How long it took.
    pub(in crate::cli) seconds: f64,
}

impl<'a> Run<'a> {
    /// Over a file of that size, of which `read` tells how far it was read.
    pub(in crate::cli) fn new(
        context: &'a Context,
        what: &'static str,
        faults: FaultsFile,
        size: Option<u64>,
        read: Arc<AtomicU64>,
    ) -> Self {
        let begun = context.clock().boot();
        Self {
            context,
            faults,
            progress: Progress::new(what, size, begun),
            read,
            begun,
            done: 0,
            lines: 0,
        }
    }

    /// So many more are done, up to this place.
    pub(in crate::cli) fn note(&mut self, done: i64, place: &Place) {
        self.done += u64::try_from(done).unwrap_or_default();
        self.lines = place.lines;
        let read = self.read.load(Ordering::Relaxed);
        let now = self.context.clock().boot();
        self.progress
            .show(self.done, read, self.faults.written(), now);
    }

    /// Ends it where `--strict` has stopped.
    pub(in crate::cli) fn stop(&mut self, at: Option<&Fault>, fix: &str) -> anyhow::Result<()> {
        let Some(fault) = at else { return Ok(()) };
        self.progress.clear();
        let Fault {
            line,
            field,
            reason,
        } = fault;
        let what = match field.as_str() {
            "line" => format!("line {line} cannot be used: {reason}"),
            field => format!("line {line} cannot be used: {field}: {reason}"),
        };
        Err(Problem::failed(what, fix).into())
    }

    /// It has come to its end.
    pub(in crate::cli) fn end(mut self) -> anyhow::Result<Ended> {
        self.progress.clear();
        Ok(Ended {
            faults: i64::try_from(self.faults.written())?,
            lines: self.lines,
            seconds: self.begun.until(self.context.clock().boot()).as_secs_f64(),
            faults_file: self.faults.finish(),
        })
    }
}

impl Ended {
    /// What is to be said of lines that could not be used, as a sentence behind another one.
    pub(in crate::cli) fn faults_in_words(&self) -> String {
        let count = crate::standing::facts::thousands;
        match (&self.faults_file, self.faults) {
            (Some(file), 1..) => format!(
                " {} lines could not be used; each is told in {}.",
                count(self.faults),
                file.display()
            ),
            _ => String::new(),
        }
    }

    /// So many of something in so much time.
    pub(in crate::cli) fn pace(&self, done: i64) -> String {
        let rate = done as f64 / self.seconds.max(0.001);
        format!(
            "{:.1} s, {} a second",
            self.seconds,
            crate::standing::facts::thousands(rate as i64)
        )
    }
}
