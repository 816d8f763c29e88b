//! Lines of a file, with a checksum over all that were used up.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use aws_lc_rs::digest::{self, Context, SHA256};

use super::BadFile;

/// A line is kept up to this many bytes; the rest of a longer one is read over.
const LONGEST: u64 = 1 << 20;

/// How files begin that were packed, by what, and what to do.
const PACKED: [(&[u8], &str, &str); 3] = [
    (b"\x1f\x8b", "gzip", "unpack it: gunzip -c FILE > NEW_FILE"),
    (
        b"\x28\xb5\x2f\xfd",
        "zstd",
        "unpack it: zstd -dc FILE > NEW_FILE",
    ),
    (
        b"PK\x03\x04",
        "zip",
        "unpack it: unzip FILE; a spreadsheet is saved as CSV by its own program",
    ),
];

/// How far a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Lines that were used up.
    pub lines: u64,
    /// SHA-256 over the SHA-256 of each of them.
    pub checksum: Vec<u8>,
}

/// A line, with its line break.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    /// Its end was cut off.
    pub(super) too_long: bool,
    checksum: digest::Digest,
}

pub(super) struct Lines<R> {
    source: R,
    /// Read, and handed back to be read again.
    again: VecDeque<Line>,
    read: u64,
    used: u64,
    checksum: Context,
}

impl<R: BufRead> Lines<R> {
    /// Begins behind the mark that some programs write first.
    pub(super) fn new(source: R) -> Result<Self, BadFile> {
        let mut lines = Self {
            source,
            again: VecDeque::new(),
            read: 0,
            used: 0,
            checksum: Context::new(&SHA256),
        };
        if let Some(mut first) = lines.read_line()? {
            if let Some((_, by, fix)) = PACKED
                .iter()
                .find(|(mark, ..)| first.bytes.starts_with(mark))
            {
                return Err(BadFile::Compressed { by, fix });
            }
            if first.bytes.starts_with(b"\xff\xfe") || first.bytes.starts_with(b"\xfe\xff") {
                return Err(BadFile::Utf16);
            }
            if first.bytes.starts_with(b"\xef\xbb\xbf") {
                first.bytes.drain(..3);
            }
            lines.again.push_back(first);
        }
        Ok(lines)
    }

    /// The next line; `None` at the end. It counts as used only when [`Lines::used`] is told so.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        match self.again.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.read_line(),
        }
    }

    fn read_line(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let mut within = self.source.by_ref().take(LONGEST);
        within.read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.read += 1;
        let mut checksum = Context::new(&SHA256);
        checksum.update(&bytes);
        let too_long = bytes.len() as u64 == LONGEST && !bytes.ends_with(b"\n");
        if too_long {
            self.read_over(&mut checksum)?;
        }
        Ok(Some(Line {
            number: self.read,
            bytes,
            too_long,
            checksum: checksum.finish(),
        }))
    }

    /// Reads to the end of a line that is too long to be kept.
    fn read_over(&mut self, checksum: &mut Context) -> io::Result<()> {
        loop {
            let buffer = self.source.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(buffer.len(), |at| at + 1);
            checksum.update(&buffer[..taken]);
            self.source.consume(taken);
            if end.is_some() || taken == 0 {
                return Ok(());
            }
        }
    }

    /// Hands lines back, to be read again in that order.
    pub(super) fn hand_back(&mut self, lines: impl DoubleEndedIterator<Item = Line>) {
        for line in lines.rev() {
            self.again.push_front(line);
        }
    }

    /// Says that a line has been dealt with, in the order of the file.
    pub(super) fn used(&mut self, line: &Line) {
        self.used = line.number;
        self.checksum.update(line.checksum.as_ref());
    }

    pub(super) fn place(&self) -> Place {
        Place {
            lines: self.used,
            checksum: self.checksum.clone().finish().as_ref().to_vec(),
        }
    }

    /// Reads on to a place behind this one. False when what stands before it is not what stood there. The last line may have got a
    /// line break since, as it does when something is added to a file that had none at its end.
    pub(super) fn go_to(&mut self, place: &Place) -> io::Result<bool> {
        let mut without_break = Vec::new();
        while self.used < place.lines {
            let Some(line) = self.next()? else {
                return Ok(false);
            };
            if line.number == place.lines {
                without_break = self.checksums_without_break(&line);
            }
            self.used(&line);
        }
        Ok(self.place() == *place || without_break.contains(&place.checksum))
    }

    /// What the checksum would be with this line, if it had no line break.
    fn checksums_without_break(&self, line: &Line) -> Vec<Vec<u8>> {
        let breaks = [&b"\n"[..], b"\r\n"].into_iter().filter(|_| !line.too_long);
        let bare = breaks.filter_map(|end| line.bytes.strip_suffix(end));
        bare.map(|bytes| {
            let mut checksum = self.checksum.clone();
            checksum.update(digest::digest(&SHA256, bytes).as_ref());
            checksum.finish().as_ref().to_vec()
        })
        .collect()
    }
}

impl Line {
    /// Whether nothing stands in it.
    pub(super) fn is_blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }
}
