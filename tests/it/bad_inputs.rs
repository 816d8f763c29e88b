//! What is wrong is said: `docs/bad-inputs.md` has bad inputs of all kinds, each put to the real thing, and the message that it gets.
//!
//! Made anew with `WRITE_DOCS=1 cargo test --test it bad_inputs`. Read it as somebody who got that message: it must name what is
//! wrong, show it unless it is personal, and say what to do.

mod answers;
mod commands;
mod files;
mod rows;
mod settings;
mod webhooks;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::support::world::World;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bad-inputs.md");
const HEAD: &str = "# Bad inputs, and what they get

Each was put to the program, the database or a listener when this page was made, and a test compares. A message names the field, shows
the value unless it is personal or secret, and says what to do.
";

/// A bad input and the message that it gets.
struct Bad {
    input: String,
    says: String,
}

impl Bad {
    fn new(input: impl Into<String>, says: impl Into<String>) -> Self {
        let (input, says) = (input.into(), says.into());
        assert!(!says.trim().is_empty(), "{input} gets no message");
        Self { input, says }
    }
}

/// A row of a table in Markdown.
fn row(cells: &[&str]) -> String {
    let cell = |text: &&str| text.trim().replace('|', "\\|").replace('\n', "<br>");
    let cells: Vec<String> = cells.iter().map(cell).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// As code, whatever quotes stand in it.
fn code(text: &str) -> String {
    let lines = text.trim().lines().map(|line| match line.trim() {
        "" => String::new(),
        line if line.contains('`') => format!("`` {line} ``"),
        line => format!("`{line}`"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_page_of_bad_inputs_says_what_each_gets() {
    let mut page = HEAD.to_owned();
    let mut count = 0;
    for (title, told, bad) in [
        rows::section().await,
        settings::section().await,
        commands::section().await,
        files::section().await,
        webhooks::section().await,
        answers::section().await,
    ] {
        count += bad.len();
        write!(
            page,
            "\n## {title}\n{told}\n\n| input | message |\n|---|---|\n"
        )
        .expect("text");
        for Bad { input, says } in bad {
            page.push_str(&row(&[&code(&input), &code(&says)]));
        }
    }
    assert!(count >= 60, "{count} bad inputs");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &page).expect("the page is written");
    }
    let written = std::fs::read_to_string(PAGE).expect("the page");
    let said: Vec<&str> = page
        .lines()
        .filter(|line| !written.contains(line))
        .collect();
    assert!(
        written == page,
        "docs/bad-inputs.md is not what is said; make it anew: WRITE_DOCS=1 cargo test --test it bad_inputs; it lacks {said:#?}"
    );
}

/// A heading, what is to be known of all of it, and the inputs.
type Section = (&'static str, &'static str, Vec<Bad>);

/// The program, run in a folder with these variables and nothing else. It gives its exit code and what it said on standard error.
async fn run(folder: &Path, env: &[(&str, &str)], arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("USER", "ada")
        .env("TZ", "UTC")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the program starts");
    let code = output.status.code().expect("it ends by itself");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // Not what it logs.
    let lines = said.lines().filter(|line| !line.starts_with('{'));
    (code, lines.collect::<Vec<_>>().join("\n"))
}

/// The same as words are typed, on the database of a world.
async fn typed(world: &World, folder: &Path, line: &str) -> (i32, String) {
    let url = world.database.url.clone();
    let words = words(line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run(folder, &[("DATABASE_URL", &url)], &words).await
}

/// A line's words; what stands in quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}
