//! Asks Postgres how it would find what a statement of ours asks for.

use sqlx::{AssertSqlSafe, PgExecutor};

/// A statement of ours with its parameters filled in.
pub(crate) fn filled(statement: &str, parameters: &[&str]) -> String {
    // The last first: `$1` begins `$10`.
    let places = parameters.iter().enumerate().rev();
    places.fold(statement.to_owned(), |text, (place, value)| {
        text.replace(&format!("${}", place + 1), value)
    })
}

/// How it is carried out.
pub(crate) async fn plan_of(database: impl PgExecutor<'_>, statement: &str) -> String {
    let lines = sqlx::query_scalar(AssertSqlSafe(format!("explain {statement}")));
    let plan: Vec<String> = lines.fetch_all(database).await.expect("a plan");
    plan.join("\n")
}
