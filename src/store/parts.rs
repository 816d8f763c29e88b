//! Writes many rows at once and still tells which of them the database refuses.
//!
//! A row that it refuses costs the others nothing: what is refused as a whole is halved until the bad row stands alone.

use std::ops::Range;

use sqlx::Executor as _;

use super::StoreError;
use super::connections::Transaction;
use super::error::Doing;

/// A row that the database refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// Its place among the rows.
    pub place: usize,
    /// The column at fault, where one was named.
    pub field: Option<String>,
    /// In the schema's words.
    pub reason: String,
    /// What to do, where it says so.
    pub fix: Option<String>,
}

/// Writes so many rows, all but those that the database refuses: `write` writes a range of them, in one statement. An error that is
/// the fault of no row, as `blames_all` knows some, ends it.
pub(super) async fn in_parts(
    transaction: &mut Transaction,
    rows: usize,
    blames_all: impl Fn(&StoreError) -> bool,
    mut write: impl AsyncFnMut(&mut Transaction, Range<usize>) -> Result<(), StoreError>,
) -> Result<Vec<RefusedRow>, StoreError> {
    let mut refused = Vec::new();
    // From the back, so that the parts come in the order of the rows.
    let all = 0..rows;
    let mut parts = Vec::from([all]);
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let doing = "write a part of the rows";
        let begun = (&mut **transaction).execute("savepoint part").await;
        begun.doing(doing)?;
        let written = write(transaction, part.clone()).await;
        let end = match written {
            Ok(()) => "release part",
            Err(_) => "rollback to part",
        };
        let ended = (&mut **transaction).execute(end).await;
        let Err(error) = written else {
            ended.doing(doing)?;
            continue;
        };
        if !error.may_go_in_parts() || blames_all(&error) {
            return Err(error);
        }
        ended.doing(doing)?;
        if part.len() > 1 {
            let middle = part.start + part.len() / 2;
            parts.push(middle..part.end);
            parts.push(part.start..middle);
            continue;
        }
        let Some((reason, _)) = error.refusal() else {
            return Err(error);
        };
        refused.push(RefusedRow {
            place: part.start,
            field: error.refused_column().map(str::to_owned),
            reason,
            fix: error.fix().map(str::to_owned),
        });
    }
    Ok(refused)
}
