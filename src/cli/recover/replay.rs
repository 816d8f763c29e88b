//! Webhooks that another place has kept, as evidence: the log of a reverse proxy, or the inbox of the database that was lost.
//!
//! A file has a delivery on each line, as JSON: `body` (the text that was posted) or `body_base64`, and `signature` (the header
//! `X-Hub-Signature-256`). All files are read and proved before anything is stored, and read again to be stored, so that no file has
//! to fit into memory. Applied twice, a delivery changes nothing.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use data_encoding::BASE64;
use serde::Deserialize;

use crate::cli::Context;
use crate::cli::failure::Problem;
use crate::domain::token::TokenKey;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::tail::Tail;
use crate::traces::Traces;
use crate::webhook::applier::Applier;
use crate::webhook::signature::AppSecrets;

/// Deliveries stored at once, and applied together.
const AT_ONCE: usize = 100;

/// Files whose every line can be used.
pub(super) struct Replay {
    files: Vec<PathBuf>,
    deliveries: usize,
}

/// A delivery as it was kept.
#[derive(Deserialize)]
struct Kept {
    body: Option<String>,
    body_base64: Option<String>,
    signature: Option<String>,
}

impl Kept {
    fn body(self) -> Result<Vec<u8>, &'static str> {
        match (self.body, self.body_base64) {
            (Some(body), None) => Ok(body.into_bytes()),
            (None, Some(encoded)) => BASE64
                .decode(encoded.trim().as_bytes())
                .map_err(|_| "body_base64 is no base64"),
            (Some(_), Some(_)) => Err("it has both body and body_base64"),
            (None, None) => Err("it has neither body nor body_base64"),
        }
    }
}

/// Why a line counts.
enum Proof {
    /// One of these secrets has signed it.
    Signature(AppSecrets),
    /// The operator knows where it is from.
    Word,
}

impl Replay {
    /// Reads the files, and proves each line.
    pub(super) fn read(
        files: &[PathBuf],
        unsigned: bool,
        context: &Context,
    ) -> anyhow::Result<Self> {
        if files.is_empty() {
            return Ok(Self {
                files: Vec::new(),
                deliveries: 0,
            });
        }
        let proof = if unsigned {
            Proof::Word
        } else {
            let secrets = AppSecrets::new(context.config()?.app_secrets(context.env())?)?;
            if secrets.is_empty() {
                let fix = "set WHATSAPP_APP_SECRET, or say --unsigned if you know where the files come from";
                let what = "no app secret is set, so no signature can be proved";
                return Err(Problem::usage(what, fix).into());
            }
            Proof::Signature(secrets)
        };
        let mut deliveries = 0;
        for file in files {
            for kept in kept_in(file)? {
                let (line, kept) = kept?;
                prove(kept, &proof).map_err(|why| bad(file, line, why))?;
                deliveries += 1;
            }
        }
        Ok(Self {
            files: files.to_vec(),
            deliveries,
        })
    }

    /// Stores the deliveries, and applies them and whatever else waits to be applied. Says what it did; nothing where no files were
    /// given.
    pub(super) async fn apply(&self, store: &Store, context: &Context) -> anyhow::Result<String> {
        let mut bodies = Vec::new();
        for file in &self.files {
            for kept in kept_in(file)? {
                let (line, kept) = kept?;
                bodies.push(kept.body().map_err(|why| bad(file, line, why))?);
                if bodies.len() == AT_ONCE {
                    store.store_deliveries(&bodies).await?;
                    bodies.clear();
                }
            }
        }
        if !bodies.is_empty() {
            store.store_deliveries(&bodies).await?;
        }
        let config = context.config()?;
        let key = match config.token_key(context.env())? {
            Some(key) => key,
            None => TokenKey::from_bytes(&store.callback_token_key().await?),
        };
        let (metrics, traces) = (Arc::<Metrics>::default(), Traces::default());
        let tail = Tail::new(context.clock().clone());
        let mut applier = Applier::new(
            store.clone(),
            key,
            config.webhook.apply_batch,
            metrics,
            traces,
            tail,
        );
        let mut settled = 0;
        loop {
            let report = applier.run_once().await?;
            settled += report.statuses.learned;
            if report.deliveries == 0 && !report.more_may_wait {
                break;
            }
        }
        Ok(match self.files.is_empty() {
            true => String::new(),
            false => format!(
                "{} deliveries were replayed; with what waited to be applied they told that {settled} messages had been accepted.",
                self.deliveries
            ),
        })
    }
}

fn prove(kept: Kept, proof: &Proof) -> Result<(), &'static str> {
    let signature = kept.signature.clone();
    let body = kept.body()?;
    match proof {
        Proof::Word => Ok(()),
        Proof::Signature(secrets) => secrets
            .verify(signature.as_deref().map(str::as_bytes), &body)
            .map_err(|_| "its signature is missing, or not made with the app secret"),
    }
}

/// Each line with its number; empty ones are passed over.
fn kept_in(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<(usize, Kept)>>> {
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    let lines = BufReader::new(file).lines().zip(1..);
    Ok(lines.filter_map(move |(line, number)| {
        let line = match line.with_context(|| format!("could not read {}", path.display())) {
            Ok(line) if line.trim().is_empty() => return None,
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        // What a line holds may be personal, so the error does not repeat it.
        let kept = serde_json::from_str(&line).map_err(|_| {
            let why = "it is no JSON object of strings";
            anyhow::Error::from(bad(path, number, why))
        });
        Some(kept.map(|kept| (number, kept)))
    }))
}

fn bad(path: &Path, line: usize, why: &str) -> Problem {
    Problem::usage(
        format!("line {line} of {}: {why}", path.display()),
        r#"write a delivery on each line: {"body": "…", "signature": "sha256=…"}"#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(line: &str) -> Result<Vec<u8>, &'static str> {
        serde_json::from_str::<Kept>(line)
            .expect("an object")
            .body()
    }

    #[test]
    fn a_body_is_text_or_base64_and_not_both() {
        assert_eq!(body(r#"{"body":"{\"a\":1}"}"#), Ok(br#"{"a":1}"#.to_vec()));
        assert_eq!(body(r#"{"body_base64":"e30=","at":7}"#), Ok(b"{}".to_vec()));
        assert!(body(r#"{"body":"{}","body_base64":"e30="}"#).is_err());
        assert!(body(r#"{"signature":"sha256=00"}"#).is_err());
        assert!(body(r#"{"body_base64":"?"}"#).is_err());
    }
}
