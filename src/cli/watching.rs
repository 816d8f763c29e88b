//! A look that is taken again and again, for somebody who watches.
//!
//! Only the first one must succeed. A database that is away for a while must not end what hangs on a wall: the last good look stays,
//! what went wrong is told, and the next look comes as usual.

use super::{failure, output};
use crate::store::StoreError;

/// Clears the screen, and stands at its beginning.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// What is shown of one look after the other.
pub(super) struct Pictures {
    /// Each takes the place of the one before; else they follow each other, and what goes wrong goes to standard error.
    is_screen: bool,
    last: String,
}

impl Pictures {
    pub(super) fn new(is_screen: bool) -> Self {
        Self {
            is_screen,
            last: String::new(),
        }
    }

    /// A look that succeeded.
    pub(super) fn show(&mut self, picture: String) -> anyhow::Result<()> {
        let clear = if self.is_screen { CLEAR } else { "" };
        output::print(&format!("{clear}{picture}"))?;
        self.last = picture;
        Ok(())
    }

    /// A look that failed.
    ///
    /// # Errors
    /// What failed, where that does not pass: it is not of the database.
    pub(super) fn miss(&self, error: anyhow::Error) -> anyhow::Result<()> {
        if !error.is::<StoreError>() {
            return Err(error);
        }
        if self.is_screen {
            let (last, words) = (&self.last, failure::words(&error));
            return output::print(&format!("{CLEAR}{last}\n{words}It is looked again.\n"));
        }
        failure::say(&error);
        Ok(())
    }
}
