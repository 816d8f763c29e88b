//! `check`: looks at bodies offline, before anything is sent: requests by the documented rules, answers by what a worker would make
//! of them, webhooks by what they hold.
//!
//! Nothing is sent and no database is asked. No text of a body is printed, so the output may be shown to others.

mod documents;
mod judged;
mod shape;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use super::failure::Problem;
use super::table::{Table, numbers, words};
use super::{Context, output};
use crate::message::rules::{self, To};
use documents::Source;
use judged::{Fate, Said, Terms};
use shape::Shape;

/// Look at request bodies, answers and webhooks, without sending anything
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// Files, folders, or - for standard input. A file holds a document, a list of them, or one a line
    #[arg(value_name = "FILE", required_unless_present = "rules")]
    files: Vec<PathBuf>,
    /// What the documents are [default: told by their shape]
    #[arg(long = "as", value_name = "KIND")]
    shape: Option<Shape>,
    /// Refuse fields that the documentation does not have, as the Cloud API does
    #[arg(long)]
    strict: bool,
    /// To whom the requests go [default: as they say themselves]
    #[arg(long, value_name = "KIND")]
    to: Option<Kind>,
    /// The HTTP status of the answers [default: 400 for an error, else 200]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(100..=599))]
    http_status: Option<u16>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print all rules, in Markdown
    #[arg(long, conflicts_with_all = ["files", "json"])]
    rules: bool,
}

const HELP: &str = "A request is refused where WhatsApp is sure to reject it, and warned of where it may. It is a row of wa.outbox or a \
whole request; nothing of it is printed but where, how long, and what is allowed.

An answer is accepted or refused as the worker would take it; warned are the others: slow down, held, tried again, uncertain. A \
webhook is warned of where a part cannot be read. The rules are listed by --rules.

With --json an object: documents (place, taken_for, fate, and what was found), folders (folder, documents, accepted, warned, refused).

Exit codes: 0 no request would be refused and all could be read, 1 some would, 2 wrong usage.

Examples:
  wa-outbox check order_shipped.json
  wa-outbox check --strict --to group payloads/
  echo '{\"type\":\"text\",\"text\":{\"body\":\"\"}}' | wa-outbox check -
  wa-outbox check --as response --http-status 429 answer.json";

/// To whom.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Phone,
    User,
    Group,
}

/// One document, looked at.
#[derive(Serialize)]
struct Looked {
    place: String,
    taken_for: Option<Shape>,
    fate: Fate,
    #[serde(flatten)]
    said: Said,
    #[serde(skip)]
    is_named: bool,
}

/// What a folder comes to.
#[derive(Default, Serialize)]
struct Count {
    documents: usize,
    accepted: usize,
    warned: usize,
    refused: usize,
}

#[derive(Serialize)]
struct FolderJson<'a> {
    folder: &'a str,
    #[serde(flatten)]
    count: &'a Count,
}

#[derive(Serialize)]
struct ReportJson<'a> {
    documents: &'a [Looked],
    folders: Vec<FolderJson<'a>>,
}

impl Options {
    /// Looks at everything, and says what was found.
    ///
    /// # Errors
    /// When a file cannot be read, or a request would be refused.
    pub fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.rules {
            return output::print(&rules::document());
        }
        let terms = Terms {
            to: self.to.map(|kind| match kind {
                Kind::Phone => To::Phone,
                Kind::User => To::User,
                Kind::Group => To::Group,
            }),
            strict: self.strict,
            http_status: self.http_status,
        };
        let mut looked = Vec::new();
        let mut folders = BTreeMap::<String, Count>::new();
        for source in Source::all(&self.files)? {
            let count = folders.entry(source.folder()).or_default();
            for document in source.documents()? {
                let one = look(document, source.is_named, self.shape, &terms);
                count.add(one.fate);
                looked.push(one);
            }
        }
        if self.json {
            let folders = folders.iter();
            let folders = folders.map(|(folder, count)| FolderJson { folder, count });
            output::print_json(&ReportJson {
                documents: &looked,
                folders: folders.collect(),
            })?;
        } else {
            output::print(&in_words(&looked, &folders, context.colours()))?;
        }
        verdict(&looked)
    }
}

fn look(
    document: documents::Document,
    is_named: bool,
    shape: Option<Shape>,
    terms: &Terms,
) -> Looked {
    let (taken_for, (fate, said)) = match document.content {
        Ok(content) => {
            let shape = shape.unwrap_or_else(|| Shape::of(&content));
            (Some(shape), Said::of(&content, shape, terms))
        }
        Err(error) => (None, (Fate::Refused, Said::NotJson { error })),
    };
    Looked {
        place: document.place,
        taken_for,
        fate,
        said,
        is_named,
    }
}

/// Nothing, or the error that gives the exit code.
fn verdict(looked: &[Looked]) -> anyhow::Result<()> {
    let is_bad = |one: &&Looked| {
        one.fate == Fate::Refused && one.taken_for.is_none_or(|shape| shape != Shape::Response)
    };
    let bad = looked.iter().filter(is_bad).count();
    if bad == 0 {
        return Ok(());
    }
    let what = match bad {
        1 => "1 document would be refused, or cannot be read".to_owned(),
        bad => format!("{bad} documents would be refused, or cannot be read"),
    };
    let fix = "each line above says what to change; all rules: wa-outbox check --rules";
    Err(Problem::failed(what, fix).into())
}

impl Count {
    fn add(&mut self, fate: Fate) {
        self.documents += 1;
        match fate {
            Fate::Accepted => self.accepted += 1,
            Fate::Warned => self.warned += 1,
            Fate::Refused => self.refused += 1,
        }
    }
}

/// What was found, document by document, and the counts where there are several.
fn in_words(looked: &[Looked], folders: &BTreeMap<String, Count>, colours: bool) -> String {
    let mut text = String::new();
    for one in looked {
        // Among many what is in order is only counted.
        if one.is_named && looked.len() <= 20 || one.fate != Fate::Accepted {
            text += &one.in_words(colours);
        }
    }
    if looked.len() == 1 {
        return text;
    }
    let columns = [
        words("FOLDER"),
        numbers("DOCUMENTS"),
        numbers("ACCEPTED"),
        numbers("WARNED"),
        numbers("REFUSED"),
    ];
    let mut table = Table::new(columns);
    for (folder, count) in folders {
        let counts = [count.documents, count.accepted, count.warned, count.refused];
        let [documents, accepted, warned, refused] = counts.map(|count| count.to_string());
        table.row([folder.clone(), documents, accepted, warned, refused]);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text + &table.render(colours)
}

impl Looked {
    fn in_words(&self, colours: bool) -> String {
        let shape = self.taken_for.map_or("no JSON", Shape::name);
        let fate = self.fate.name();
        let place = output::plain(&self.place);
        match &self.said {
            Said::Request { kind, findings } => {
                let mut text = format!("{place}: {shape} ({kind}), {fate}\n");
                if !findings.is_empty() {
                    text += &indented(&table_of(findings).render(colours));
                }
                text
            }
            Said::Response {
                http_status,
                outcome,
                then,
            } => {
                let then = output::plain(then);
                format!("{place}: {shape} (HTTP {http_status}), {outcome}\n  {then}\n")
            }
            Said::Webhook {
                statuses,
                template_updates,
                preferences,
                ignored,
                bad,
            } => {
                let mut parts: Vec<_> = statuses
                    .iter()
                    .map(|(name, count)| format!("{count} {name}"))
                    .collect();
                let others = [
                    (*template_updates, "of templates"),
                    (*preferences, "of preferences"),
                    (*ignored, "ignored"),
                    (bad.len(), "bad"),
                ];
                let others = others.into_iter().filter(|(count, _)| *count > 0);
                parts.extend(others.map(|(count, what)| format!("{count} {what}")));
                let mut text = format!("{place}: {shape}, {}\n", parts.join(", "));
                for bad in bad {
                    text += &format!("  {} {}\n", output::plain(&bad.pointer), bad.reason);
                }
                text
            }
            Said::NotJson { error } => format!("{place}: {shape}, {fate}\n  {error}\n"),
        }
    }
}

fn table_of(findings: &[judged::FindingJson]) -> Table<6> {
    let columns = ["CLASS", "FIELD", "FOUND", "ALLOWED", "FIX", "RULE"];
    let mut table = Table::new(columns.map(words));
    for finding in findings {
        let field = match finding.pointer.as_str() {
            "" => "the whole",
            pointer => pointer,
        };
        table.row([
            finding.class.name().to_owned(),
            field.to_owned(),
            finding.found.clone(),
            finding.limit.clone(),
            finding.fix.to_owned(),
            finding.rule.to_owned(),
        ]);
    }
    table
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
