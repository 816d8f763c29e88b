//! A wall clock of each process's own that can be made to jump, where libfaketime is installed.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where Debian and its kin (by architecture), Fedora and Homebrew put it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
];

/// The wall clocks of the processes of one run.
pub(super) struct WallClocks {
    library: &'static str,
    /// A file each, with how far it is off.
    folder: PathBuf,
}

impl WallClocks {
    /// None where the library is not installed.
    pub(super) fn find() -> anyhow::Result<Option<Self>> {
        let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).exists()) else {
            return Ok(None);
        };
        let folder = std::env::temp_dir().join(format!("wa-outbox-clocks-{}", std::process::id()));
        std::fs::create_dir_all(&folder).context("could not make a folder for the clocks")?;
        Ok(Some(Self { library, folder }))
    }

    /// What a process is to be started with so that its clock is this one. It goes right at first.
    pub(super) fn environment(&self, process: &str) -> anyhow::Result<[(&'static str, String); 4]> {
        self.jump(process, 0)?;
        Ok([
            ("LD_PRELOAD", self.library.to_owned()),
            (
                "FAKETIME_TIMESTAMP_FILE",
                self.file(process).to_string_lossy().into_owned(),
            ),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // The file is looked at once a second.
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ])
    }

    /// From now on this process's clock is off by so many seconds.
    pub(super) fn jump(&self, process: &str, off_by: i64) -> anyhow::Result<()> {
        // Whole at once: a half-written file would be no time.
        let next = self.folder.join("next");
        std::fs::write(&next, format!("{off_by:+}s\n"))
            .and_then(|()| std::fs::rename(&next, self.file(process)))
            .context("could not move a clock")
    }

    fn file(&self, process: &str) -> PathBuf {
        self.folder.join(process)
    }
}

impl Drop for WallClocks {
    fn drop(&mut self) {
        // It is in the folder for what is temporary.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
