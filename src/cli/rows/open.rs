//! Opens a file of rows, or standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{BadFile, Format, Reader, Schema};
use crate::cli::failure::Problem;

const READ_AT_ONCE: usize = 1 << 18;

/// A file that can be read.
pub(in crate::cli) struct Opened<S> {
    pub(in crate::cli) reader: Reader<Box<dyn BufRead + Send>, S>,
    /// How far it was read, in bytes.
    pub(in crate::cli) read: Arc<AtomicU64>,
    /// How long it is, where that is known.
    pub(in crate::cli) size: Option<u64>,
}

/// Whether standard input is meant.
pub(in crate::cli) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens a file, `-` for standard input, and reads its header.
pub(in crate::cli) fn open<S: Schema>(
    path: &Path,
    format: Option<Format>,
    schema: S,
) -> Result<Opened<S>, Problem> {
    let place = path.display();
    let read = Arc::new(AtomicU64::new(0));
    let (source, size): (Box<dyn Read + Send>, _) = if is_stdin(path) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).map_err(|error| {
            let fix = "see that the file is there and may be read";
            Problem::failed(format!("could not open {place}"), fix).because(error)
        })?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file);
        (Box::new(file), size.map(|data| data.len()))
    };
    let counted = Counted {
        source,
        read: Arc::clone(&read),
    };
    let source: Box<dyn BufRead + Send> = Box::new(BufReader::with_capacity(READ_AT_ONCE, counted));
    let format = format.unwrap_or_else(|| by_name(path));
    let reader = Reader::new(source, format, schema).map_err(|error| {
        let fix = match &error {
            BadFile::NoColumn { fix, .. } => (*fix).to_owned(),
            BadFile::StrangeColumn { fix, .. } => fix.clone(),
            BadFile::LineEnds => "convert them: tr '\\r' '\\n' < FILE > NEW_FILE".to_owned(),
            BadFile::Read(_)
            | BadFile::Empty
            | BadFile::Utf16
            | BadFile::Header(_)
            | BadFile::Changed(_) => format!("see what it must look like: {}", S::HELP),
        };
        Problem::failed(format!("could not use {place}"), fix).because(error)
    })?;
    Ok(Opened { reader, read, size })
}

fn by_name(path: &Path) -> Format {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl" | "ndjson" | "json") => Format::Jsonl,
        Some(_) | None => Format::Csv,
    }
}

/// Counts what is read, for the progress.
struct Counted {
    source: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.source.read(buffer)?;
        self.read.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }
}
