//! Reads a small file at once, or not at all.
//!
//! A path comes from settings that somebody wrote, and may lead anywhere. A pipe that nobody writes to would be waited for, and
//! `/dev/zero` never ends; so what is no ordinary file, or too large, is refused. What a disk that has gone away costs is
//! the caller's to bound.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// What is in the file, if it is an ordinary one of `at_most` bytes.
///
/// # Errors
/// When it cannot be read, is no ordinary file, or is larger.
pub fn bytes(path: &Path, at_most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    opened(path)?.take(at_most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > at_most {
        let said = format!("it is larger than {} kB", at_most / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, said));
    }
    Ok(content)
}

/// The same as text.
///
/// # Errors
/// When it cannot be read, is no ordinary file, is larger, or no UTF-8.
pub fn text(path: &Path, at_most: u64) -> io::Result<String> {
    // The bytes themselves may be a secret, so the error that holds them is let go.
    String::from_utf8(bytes(path, at_most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// An ordinary file, to be read.
///
/// # Errors
/// When it cannot be opened, or is no ordinary file.
pub fn opened(path: &Path) -> io::Result<File> {
    // Asked before it is opened, for to open some devices is to do something; and asked again of what was opened.
    ordinary(&std::fs::metadata(path)?)?;
    let file = open(path)?;
    ordinary(&file.metadata()?)?;
    Ok(file)
}

/// Opens it without waiting for anybody at the other end.
fn open(path: &Path) -> io::Result<File> {
    let at_once = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .custom_flags(at_once)
        .open(path)
}

fn ordinary(found: &Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let said = "it is no ordinary file (a pipe, a device or a folder)";
    Err(io::Error::new(io::ErrorKind::InvalidInput, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ordinary_file_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo runs").success());
        for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
            let refused = bytes(path, 10).expect_err("is refused").to_string();
            assert!(refused.contains("no ordinary file"), "{refused}");
        }
        // Whoever could put a pipe there after we have asked does not have us wait either.
        open(&pipe).expect("is opened at once");
    }

    #[test]
    fn a_file_may_be_so_large_and_no_larger() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, [b'x'; 1024]).expect("is written");
        assert_eq!(text(&path, 1024).expect("is read").len(), 1024);
        let refused = text(&path, 1023).expect_err("is refused").to_string();
        assert!(refused.contains("larger than"), "{refused}");
    }

    #[test]
    fn what_is_no_text_is_not_repeated() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"hunter2\xff").expect("is written");
        let refused = text(&path, 1024).expect_err("is refused");
        assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
    }
}
