//! How fast a file of recipients comes into a campaign, beside a bare COPY of the same rows.
//!
//! The import is the command itself, as a process of its own, from its start to its end. The COPY goes into a table that has
//! the columns written, a key, and nothing else. Both are durable, in one server, in turns that begin with the one and with the other
//! by turns, each after a checkpoint: so neither pays for what the other has left behind.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

use super::SENDER;
use super::scene::Scene;
use crate::store::campaign::NewCampaign;

const ROUNDS: usize = 3;
const BY: &str = "bench";

/// What was measured; rows a second.
#[derive(Debug, Serialize)]
pub(super) struct Imports {
    rows: u32,
    /// Median of the rounds.
    import_per_second: f64,
    copy_per_second: f64,
    /// Import beside COPY: median of the rounds' ratios.
    share_of_copy: f64,
    rounds: Vec<Round>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    import_per_second: f64,
    copy_per_second: f64,
}

/// Measures imports of so many rows.
pub(super) async fn measure(scene: &Scene, rows: u32, template: &str) -> anyhow::Result<Imports> {
    let folder = Folder::with_file(rows)?;
    let copied = rows_as_copied(rows);
    let mut connection = PgConnection::connect(scene.database_url()).await?;
    let mut rounds = Vec::new();
    for number in 0..ROUNDS {
        let name = format!("import-{number}");
        let campaign = NewCampaign {
            name: name.clone(),
            payload: template.to_owned(),
            sender: Some(SENDER.to_owned()),
            by: BY.to_owned(),
            ..NewCampaign::default()
        };
        scene.store.create_campaign(&campaign).await?;
        let (import, copy);
        if number % 2 == 0 {
            copy = bare_copy(&mut connection, &copied, rows).await?;
            import = imported(scene, &mut connection, &name, &folder.file, rows).await?;
        } else {
            import = imported(scene, &mut connection, &name, &folder.file, rows).await?;
            copy = bare_copy(&mut connection, &copied, rows).await?;
        }
        rounds.push(Round {
            import_per_second: import,
            copy_per_second: copy,
        });
    }
    connection.close().await?;
    Ok(Imports::of(rows, rounds))
}

/// A folder with the file; gone with this value.
struct Folder {
    path: PathBuf,
    file: PathBuf,
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl Folder {
    fn with_file(rows: u32) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("wa-outbox-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).context("could not make a folder for the file")?;
        let file = path.join("recipients.csv");
        let folder = Self { path, file };
        let mut text = String::from("phone,name,code,link\n");
        for n in 1..=rows {
            let (phone, name, code, link) = row(n);
            text += &format!("{phone},{name},{code},{link}\n");
        }
        std::fs::write(&folder.file, text).context("could not write the file of recipients")?;
        Ok(folder)
    }
}

fn row(n: u32) -> (String, String, String, String) {
    (
        format!("+1650{}", 1_000_000 + n),
        format!("Recipient {n}"),
        format!("SPRING{n}"),
        format!("https://example.com/o/{n}"),
    )
}

/// What the import makes of the file, as COPY takes it.
fn rows_as_copied(rows: u32) -> Vec<u8> {
    let mut text = String::new();
    for n in 1..=rows {
        let (phone, name, code, link) = row(n);
        // The header is line 1.
        let line = n + 1;
        let variables = json!({"_line": line, "name": name, "code": code, "link": link});
        text += &format!("1\t{phone}\t{variables}\n");
    }
    text.into_bytes()
}

async fn bare_copy(connection: &mut PgConnection, rows: &[u8], count: u32) -> anyhow::Result<f64> {
    sqlx::query("create table public.bare (id bigint generated always as identity primary key, campaign_id bigint, recipient text, variables jsonb)")
        .execute(&mut *connection)
        .await?;
    sqlx::query("checkpoint").execute(&mut *connection).await?;
    let asked = Instant::now();
    let mut into = connection
        .copy_in_raw("copy public.bare (campaign_id, recipient, variables) from stdin")
        .await?;
    into.send(rows).await?;
    let copied = into.finish().await?;
    let per_second = f64::from(count) / asked.elapsed().as_secs_f64();
    anyhow::ensure!(copied == u64::from(count), "{copied} rows were copied");
    sqlx::query("drop table public.bare")
        .execute(connection)
        .await?;
    Ok(per_second)
}

async fn imported(
    scene: &Scene,
    connection: &mut PgConnection,
    campaign: &str,
    file: &Path,
    count: u32,
) -> anyhow::Result<f64> {
    sqlx::query("checkpoint").execute(connection).await?;
    let file = file.to_str().context("the path is no text")?;
    let asked = Instant::now();
    let told = scene
        .command(&["campaign", "import", campaign, file, "--by", BY, "--json"])
        .await?;
    let per_second = f64::from(count) / asked.elapsed().as_secs_f64();
    let told: Value = serde_json::from_slice(&told).context("the import printed no JSON")?;
    anyhow::ensure!(told["recipients"] == count, "the import says {told}");
    Ok(per_second)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

impl Imports {
    fn of(rows: u32, rounds: Vec<Round>) -> Self {
        let median_of = |pick: fn(&Round) -> f64| median(rounds.iter().map(pick).collect());
        Self {
            rows,
            import_per_second: median_of(|round| round.import_per_second),
            copy_per_second: median_of(|round| round.copy_per_second),
            share_of_copy: median_of(|round| round.import_per_second / round.copy_per_second),
            rounds,
        }
    }

    pub(super) fn print(&self) {
        println!(
            "  imported: {:.0} rows/s of {} (a bare COPY {:.0}): {:.1} %, medians of {ROUNDS} rounds",
            self.import_per_second,
            self.rows,
            self.copy_per_second,
            self.share_of_copy * 100.0
        );
        for (number, round) in self.rounds.iter().enumerate() {
            println!(
                "    round {}: {:.0} and {:.0}",
                number + 1,
                round.import_per_second,
                round.copy_per_second
            );
        }
    }
}
