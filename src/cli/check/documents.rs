//! The documents of files: one, a list, or one a line; and of folders all that end in .json, .jsonl or .ndjson.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::failure::Problem;

/// A file to be read, or standard input.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Whether it was named itself, or found in a folder.
    pub(super) is_named: bool,
}

/// One document.
pub(super) struct Document {
    /// Where it is: a file, with the line or the place in a list where there are several.
    pub(super) place: String,
    /// What it holds; where it is no JSON, why not.
    pub(super) content: Result<Value, String>,
}

const STDIN: &str = "-";
/// What is read of a folder.
const ENDINGS: [&str; 3] = ["json", "jsonl", "ndjson"];

impl Source {
    /// The files under these paths, in the order of their names within each.
    pub(super) fn all(paths: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        let mut found = Vec::new();
        for path in paths {
            if path.as_os_str() == STDIN || path.is_file() {
                found.push(Self {
                    path: path.clone(),
                    is_named: true,
                });
            } else if path.is_dir() {
                gather(path, &mut found)?;
            } else {
                let what = format!("there is no file {}", path.display());
                let fix = "name a file, a folder, or - for standard input";
                return Err(Problem::usage(what, fix).into());
            }
        }
        Ok(found)
    }

    /// The folder that it counts to.
    pub(super) fn folder(&self) -> String {
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        match folder.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => folder.display().to_string(),
        }
    }

    pub(super) fn documents(&self) -> anyhow::Result<Vec<Document>> {
        let name = self.path.display().to_string();
        if self.path.as_os_str() != STDIN {
            let bytes = fs::read(&self.path).with_context(|| format!("could not read {name}"))?;
            return Ok(split(&name, &String::from_utf8_lossy(&bytes)));
        }
        let mut bytes = Vec::new();
        io::stdin()
            .read_to_end(&mut bytes)
            .context("could not read standard input")?;
        Ok(split("stdin", &String::from_utf8_lossy(&bytes)))
    }
}

fn gather(folder: &Path, found: &mut Vec<Source>) -> anyhow::Result<()> {
    let could_not = || format!("could not read the folder {}", folder.display());
    let mut paths = fs::read_dir(folder)
        .with_context(could_not)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(could_not)?;
    paths.sort();
    for path in paths {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            gather(&path, found)?;
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            let is_named = false;
            found.push(Source { path, is_named });
        }
    }
    Ok(())
}

fn split(name: &str, text: &str) -> Vec<Document> {
    let one = |place: String, content| Document { place, content };
    let text = text.trim_start_matches('\u{feff}');
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| one(format!("{name}[{index}]"), Ok(item)))
            .collect(),
        Ok(document) => vec![one(name.to_owned(), Ok(document))],
        Err(error) => {
            let lines: Vec<_> = text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(index, line)| (index + 1, serde_json::from_str::<Value>(line)))
                .collect();
            // Lines are documents if any is one by itself; else the file is one that is broken.
            let is_lines = |(_, line): &(usize, serde_json::Result<Value>)| {
                line.as_ref().is_ok_and(|value| value.is_object())
            };
            if !lines.iter().any(is_lines) {
                return vec![one(name.to_owned(), Err(error.to_string()))];
            }
            lines
                .into_iter()
                .map(|(number, line)| {
                    let content = line.map_err(|error| error.to_string());
                    one(format!("{name}:{number}"), content)
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(String, bool)> {
        split("f", text)
            .into_iter()
            .map(|document| (document.place, document.content.is_ok()))
            .collect()
    }

    #[test]
    fn a_file_holds_one_document_a_list_or_one_a_line() {
        let is = |place: &str, ok| (place.to_owned(), ok);
        assert_eq!(places("{\n \"type\": 1}"), [is("f", true)]);
        assert_eq!(places("[{},{}]"), [is("f[0]", true), is("f[1]", true)]);
        assert_eq!(
            places("{}\n\n{\"a\"}\n{}\n"),
            [is("f:1", true), is("f:3", false), is("f:4", true)]
        );
        assert_eq!(places("{ \"a\": 1,\n }"), [is("f", false)]);
        assert_eq!(places(""), [is("f", false)]);
    }
}
