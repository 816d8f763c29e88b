//! How a file of rows is to be read: what commands that take one have in common.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Format, Opened, Schema, is_stdin, open};
use crate::cli::failure::Problem;
use crate::cli::text::must_be_name;
use crate::domain::numbering::Country;

/// How a file is to be read.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(in crate::cli) struct Reading {
    /// How it is written [default: by the file's name, else csv]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(in crate::cli) format: Option<Format>,
    /// Read numbers without + as they are dialled in this country (two letters, such as DE) [default: the sender's default
    /// country; without one they cannot be used]
    #[arg(long, value_name = "COUNTRY")]
    pub(in crate::cli) default_country: Option<Country>,
    /// Under which name the import is remembered [default: the file's name]
    #[arg(long = "as", id = "as", value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    /// Where lines that cannot be used are told, as CSV [default: the file's name and .faults.csv]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) faults: Option<PathBuf>,
    /// Stop at the first line that cannot be used
    #[arg(long)]
    pub(in crate::cli) strict: bool,
}

impl Reading {
    /// Opens a file, `-` for standard input, and reads its header.
    pub(in crate::cli) fn open<S: Schema>(
        &self,
        path: &Path,
        schema: S,
    ) -> Result<Opened<S>, Problem> {
        let name = self.name_of(path);
        let field = match &self.name {
            Some(_) => "--as",
            None => "the import's name",
        };
        must_be_name(
            field,
            &name,
            200,
            "name it in 1 to 200 characters: --as NAME",
        )?;
        self.must_spare(path, path)?;
        open(path, self.format, schema)
    }

    /// Refuses to tell of lines of this file in a file that is read itself, by whatever name: it would be cut off.
    pub(in crate::cli) fn must_spare(&self, path: &Path, read: &Path) -> Result<(), Problem> {
        let faults = self.faults_of(path);
        let same_place = |written: &Metadata, read: &Metadata| {
            read.is_file() && (written.dev(), written.ino()) == (read.dev(), read.ino())
        };
        // What is not there is opened, and complained of, by who needs it.
        match (faults.metadata(), metadata_of(read)) {
            (Ok(written), Ok(read)) if same_place(&written, &read) => {
                let what = format!(
                    "faults would be told in {}, which is the file that is read",
                    faults.display()
                );
                let fix = "name another one: --faults FILE";
                Err(Problem::usage(what, fix))
            }
            _ => Ok(()),
        }
    }

    /// Under which name the import of this file is remembered.
    pub(in crate::cli) fn name_of(&self, path: &Path) -> String {
        let of_file = || {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        match &self.name {
            Some(name) => name.clone(),
            None if is_stdin(path) => "stdin".to_owned(),
            None => of_file().unwrap_or_else(|| path.display().to_string()),
        }
    }

    /// Where lines of this file that cannot be used are told.
    pub(in crate::cli) fn faults_of(&self, path: &Path) -> PathBuf {
        if let Some(path) = &self.faults {
            return path.clone();
        }
        let mut path = if is_stdin(path) {
            PathBuf::from(self.name_of(path))
        } else {
            path.to_owned()
        };
        path.as_mut_os_string().push(".faults.csv");
        path
    }
}

fn metadata_of(path: &Path) -> io::Result<Metadata> {
    if is_stdin(path) {
        return File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata();
    }
    path.metadata()
}
