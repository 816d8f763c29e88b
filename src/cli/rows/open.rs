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
        size: size.unwrap_or_default(),
        read: Arc::clone(&read),
    };
    let source: Box<dyn BufRead + Send> = Box::new(BufReader::with_capacity(READ_AT_ONCE, counted));
    let format = format.unwrap_or_else(|| by_name(path));
    let reader = Reader::new(source, format, schema).map_err(|error| {
        let fix = match &error {
            BadFile::NoColumn { fix, .. } => (*fix).to_owned(),
            BadFile::StrangeColumn { fix, .. } => fix.clone(),
            BadFile::Compressed { fix, .. } => (*fix).to_owned(),
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

/// Counts what is read: for the progress, and because what was cut off meanwhile has not come to its end.
struct Counted {
    source: Box<dyn Read + Send>,
    /// It was so long when it was opened.
    size: u64,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.source.read(buffer)?;
        let before = self.read.fetch_add(taken as u64, Ordering::Relaxed);
        if taken == 0 && before < self.size {
            return Err(io::Error::other("it got shorter while it was read"));
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_off_while_it_is_read_does_not_end_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("people.csv");
        std::fs::write(&path, "phone,text\n").expect("a file");
        let mut counted = Counted {
            source: Box::new(File::open(&path).expect("it is there")),
            size: 11,
            read: Arc::default(),
        };
        counted.read_exact(&mut [0; 6]).expect("it is read");
        let file = File::options().write(true).open(&path);
        let cut_off = file.and_then(|file| file.set_len(6));
        cut_off.expect("it is cut off");
        let error = counted.read(&mut [0; 6]).expect_err("it has an end");
        assert!(error.to_string().contains("got shorter"), "{error}");

        std::fs::write(&path, "phone,text\n+").expect("a longer file");
        let mut rest = String::new();
        counted.read_to_string(&mut rest).expect("it is read");
        assert_eq!(rest, "text\n+");
    }
}
