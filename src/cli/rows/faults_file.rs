//! The file that tells which lines could not be used: line, field, reason, as CSV. It shows no value of any line.
//!
//! It is made with the first fault. A run that goes on cuts it back to what was told when the last batch became durable, so no
//! fault stands in it twice.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::Context as _;

use super::Fault;
use crate::cli::output::csv_cell;

pub(in crate::cli) struct FaultsFile {
    path: PathBuf,
    /// What an earlier run has told for good, in bytes.
    told: u64,
    open: Option<Open>,
    written: u64,
}

struct Open {
    file: File,
    length: u64,
}

const HEADER: &str = "line,field,reason\n";

impl FaultsFile {
    pub(in crate::cli) fn new(path: PathBuf, told: u64) -> Self {
        Self {
            path,
            told,
            open: None,
            written: 0,
        }
    }

    /// Tells of faults, all or an error.
    pub(in crate::cli) fn write(&mut self, faults: &[Fault]) -> anyhow::Result<()> {
        if faults.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for Fault {
            line,
            field,
            reason,
        } in faults
        {
            text += &format!("{line},{},{}\n", csv_cell(field), csv_cell(reason));
        }
        self.append(&text)
            .with_context(|| format!("could not write into {}", self.path.display()))?;
        self.written += faults.len() as u64;
        Ok(())
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::new(&self.path, self.told)?),
        };
        open.file.write_all(text.as_bytes())?;
        open.length += text.len() as u64;
        Ok(())
    }

    /// Its length, in bytes; of what counts where nothing was written yet.
    pub(in crate::cli) fn length(&self) -> u64 {
        self.open.as_ref().map_or(self.told, |open| open.length)
    }

    /// Faults that this run has told.
    pub(in crate::cli) fn written(&self) -> u64 {
        self.written
    }

    /// Where it is, if there is one.
    pub(in crate::cli) fn finish(self) -> Option<PathBuf> {
        (self.open.is_some() || self.told > 0).then_some(self.path)
    }
}

impl Open {
    fn new(path: &PathBuf, told: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        // Shorter, it is not the one that was told into.
        let kept = if file.metadata()?.len() < told {
            0
        } else {
            told
        };
        file.set_len(kept)?;
        file.seek(SeekFrom::Start(kept))?;
        if kept == 0 {
            file.write_all(HEADER.as_bytes())?;
        }
        Ok(Self {
            file,
            length: kept.max(HEADER.len() as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: u64) -> Fault {
        Fault {
            line,
            field: "name".into(),
            reason: "it has a \"quote\", not closed".into(),
        }
    }

    #[test]
    fn a_run_that_goes_on_cuts_the_file_back_to_what_was_told_for_good() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("faults.csv");
        let told = |faults: &FaultsFile| {
            let text = std::fs::read_to_string(&path).expect("is there");
            assert_eq!(text.len() as u64, faults.length());
            text.lines().count()
        };

        let mut first = FaultsFile::new(path.clone(), 0);
        first.write(&[]).expect("writes");
        assert!(!path.exists());
        first.write(&[fault(2), fault(3)]).expect("writes");
        let durable = first.length();
        first.write(&[fault(9)]).expect("writes");
        assert_eq!(told(&first), 4);

        let mut second = FaultsFile::new(path.clone(), durable);
        assert_eq!(second.length(), durable);
        second.write(&[fault(9)]).expect("writes");
        assert_eq!(told(&second), 4);
        let text = std::fs::read_to_string(&path).expect("is there");
        assert!(
            text.ends_with("9,name,\"it has a \"\"quote\"\", not closed\"\n"),
            "{text}"
        );

        let mut anew = FaultsFile::new(path.clone(), 0);
        anew.write(&[fault(4)]).expect("writes");
        assert_eq!(told(&anew), 2);
    }
}
