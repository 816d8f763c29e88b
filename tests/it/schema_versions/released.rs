//! What the released version asks of the database it can still ask: each of its queries is prepared on the schema of now, and gives
//! the columns that it gave.
//!
//! `released.json` is that version's queries. With each release it is made anew, from `.sqlx`:
//! `WRITE_RELEASED=1 cargo test --test it schema_versions::released`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, SqlSafeStr as _, Statement as _,
    TypeInfo as _,
};

use crate::support::database::TestDatabase;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const RELEASED: &str = "tests/it/schema_versions/released.json";

#[derive(Debug, Deserialize, Serialize)]
struct Query {
    query: String,
    /// Their names and types.
    columns: Vec<(String, String)>,
}

/// The queries of this version, as they are now.
fn current() -> Vec<Value> {
    let files = fs::read_dir(Path::new(ROOT).join(".sqlx")).expect(".sqlx");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let read = |path| serde_json::from_slice(&fs::read(path).expect("a query")).expect("JSON");
    files.into_iter().map(read).collect()
}

async fn prepared(
    connection: &mut PgConnection,
    query: &str,
) -> Result<Vec<(String, String)>, String> {
    let query = AssertSqlSafe(query.to_owned()).into_sql_str();
    let statement = connection
        .prepare(query)
        .await
        .map_err(|error| error.to_string())?;
    let columns = statement.columns().iter();
    Ok(columns
        .map(|column| {
            (
                column.name().to_owned(),
                column.type_info().name().to_owned(),
            )
        })
        .collect())
}

#[tokio::test]
async fn every_query_of_the_released_version_works_with_the_schema_of_now() {
    let database = TestDatabase::create().await;
    let mut connection = PgConnection::connect(&database.url)
        .await
        .expect("it answers");
    let path = Path::new(ROOT).join(RELEASED);
    if std::env::var_os("WRITE_RELEASED").is_some() {
        let mut queries = Vec::new();
        for one in current() {
            let query = one["query"].as_str().expect("a text").to_owned();
            let columns = prepared(&mut connection, &query)
                .await
                .unwrap_or_else(|error| panic!("{query}: {error}"));
            queries.push(Query { query, columns });
        }
        let text: Vec<String> = queries
            .iter()
            .map(|query| serde_json::to_string(query).expect("JSON"))
            .collect();
        fs::write(&path, format!("[\n{}\n]\n", text.join(",\n"))).expect("it is written");
    }
    let released: Vec<Query> =
        serde_json::from_slice(&fs::read(&path).expect(RELEASED)).expect("JSON");
    assert!(released.len() > 150, "{} queries", released.len());
    let mut broken = Vec::new();
    for Query { query, columns } in released {
        match prepared(&mut connection, &query).await {
            Ok(found) if found == columns => {}
            Ok(found) => broken.push(format!("{query}\n  gives {found:?}, and gave {columns:?}")),
            Err(error) => broken.push(format!("{query}\n  {error}")),
        }
    }
    assert!(
        broken.is_empty(),
        "the released version could not run beside this one; add what is new, and take the old away in a later release \
         (migrations/README.md):\n{}",
        broken.join("\n")
    );
}
