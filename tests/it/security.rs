//! `SECURITY.md` names tests and limits: they exist.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(file: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder whose name ends so.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// The rows of the table under a heading, without its head.
fn table<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = page
        .split_once(heading)
        .unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

fn in_code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_threat_has_a_test_and_the_test_exists() {
    let page = read("SECURITY.md");
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        files(&Path::new(ROOT).join(folder), ".rs", &mut sources);
    }
    let sources: String = sources.into_iter().map(read).collect();
    let threats = table(&page, "\n## Threats\n");
    assert!(threats.len() >= 15, "{} threats", threats.len());
    for threat in threats {
        let [what, _, tests] = threat[..] else {
            panic!("{threat:?} has not three cells");
        };
        let mut count = 0;
        for test in in_code(tests) {
            let exists = match test.strip_prefix("scripts/") {
                Some(script) => Path::new(ROOT).join("scripts").join(script).exists(),
                None => sources.contains(&format!("fn {test}(")),
            };
            assert!(exists, "{what}: there is no test {test}");
            count += 1;
        }
        assert!(count > 0, "{what} has no test");
    }
}

#[test]
fn every_limit_stands_where_the_page_says() {
    let page = read("SECURITY.md");
    let limits = table(&page, "\n## Limits\n");
    assert!(limits.len() >= 30, "{} limits", limits.len());
    for limit in limits {
        let place = limit.last().expect("a cell");
        let file = in_code(place)
            .next()
            .unwrap_or_else(|| panic!("{limit:?} names no file"));
        let name = place.rsplit(' ').next().expect("a word");
        let text = read(file);
        let mut words = text.split(|one: char| !one.is_alphanumeric() && one != '_');
        assert!(words.any(|word| word == name), "{file} has no {name}");
    }
}
