//! Files that an operator has.

use std::path::PathBuf;

use tempfile::TempDir;

/// A folder with the files of an operator.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Where a file of that name is.
    pub(crate) fn path(&self, name: &str) -> String {
        self.at(name).to_str().expect("a path").to_owned()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and says where it is.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.at(name), content).expect("it is written");
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).expect("it can be read")
    }
}
