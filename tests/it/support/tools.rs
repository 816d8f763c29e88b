//! Programs of others that some tests need.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

/// Set where it is an error that one is missing.
const REQUIRED: &str = "WA_OUTBOX_TEST_TOOLS";

/// Whether this program is installed, as these Debian packages bring it. Where it is not, what needs it is left out, and says so.
pub(crate) fn has(program: &str, packages: &str) -> bool {
    let asked = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match asked {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "{program} is not installed: apt-get install {packages}"
            );
            eprintln!("{program} is not installed (Debian: {packages}); nothing was tested");
            false
        }
        Err(error) => panic!("{program}: {error}"),
    }
}
