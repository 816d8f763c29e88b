//! What the fuzzer has found so far holds (`fuzz/corpus`), and so do changes of it by chance. The fuzzer itself, which sees where its
//! inputs lead, is `scripts/fuzz`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use surfaces::{SURFACES, Surface};

mod database;

#[path = "../../fuzz/src/lib.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is a library of its own")]
mod surfaces;

/// Changes of each input. `scripts/fuzz` makes a hundred thousand in the time of these.
const CHANGES: usize = 60;
/// Inputs that a fault was found with are told up to this length.
const SHOWN: usize = 2_000;
/// What mends and breaks many of them.
const WORDS: [&[u8]; 16] = [
    b"\"",
    b"{",
    b"}",
    b"[]",
    b",",
    b":",
    b"\n",
    b"\\",
    b"\\u0000",
    b"\\ud83d",
    b"null",
    b"-1",
    b"99999999999999999999",
    b"+",
    b"\0",
    b"\xff",
];

/// The inputs of a surface, the same order everywhere.
fn corpus(surface: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(surface);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let input = fs::read(&path).expect("it can be read");
        (path, input)
    };
    files.into_iter().map(read).collect()
}

fn holds((surface, check): Surface, input: &[u8], from: &Path) {
    if catch_unwind(AssertUnwindSafe(|| check(input))).is_err() {
        let shown = String::from_utf8_lossy(&input[..input.len().min(SHOWN)]);
        panic!(
            "{surface} does not hold for a change of {}:\n{shown}",
            from.display()
        );
    }
}

/// A bit, a piece or a word is changed, taken out, put in, or taken from another input.
fn changed(input: &[u8], other: &[u8], chance: &mut Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=chance.usize(..3) {
        let place = chance.usize(..=bytes.len());
        let end = (place + chance.usize(..20)).min(bytes.len());
        let word = WORDS[chance.usize(..WORDS.len())];
        match chance.u8(..6) {
            0 if place < bytes.len() => bytes[place] ^= 1 << chance.u8(..8),
            1 => drop(bytes.drain(place..end)),
            2 => drop(bytes.splice(place..end, word.iter().copied())),
            3 => {
                let again = bytes[place..end].to_vec();
                bytes.splice(place..place, again);
            }
            4 => {
                let from = chance.usize(..=other.len());
                bytes.truncate(place);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => drop(bytes.splice(place..place, word.iter().copied())),
        }
    }
    bytes
}

#[test]
fn what_comes_from_outside_breaks_no_promise() {
    let mut chance = Rng::with_seed(4_711);
    for surface in SURFACES {
        let corpus = corpus(surface.0);
        assert!(
            corpus.len() >= 8,
            "{} has {} inputs",
            surface.0,
            corpus.len()
        );
        for (path, input) in &corpus {
            holds(surface, input, path);
            for _ in 0..CHANGES {
                let (_, other) = &corpus[chance.usize(..corpus.len())];
                holds(surface, &changed(input, other, &mut chance), path);
            }
        }
    }
}
