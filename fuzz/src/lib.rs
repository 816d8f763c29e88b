//! What must be true of any bytes that reach us from outside. One function a surface; each takes bytes and panics where a promise
//! does not hold.
//!
//! Two things run them: the fuzzer, which looks for new ways through the code (`scripts/fuzz`), and `cargo test`, which runs what
//! the fuzzer has found so far and changes of it (`tests/it/fuzz.rs`). They call the library as everybody may.
//!
//! An input is text that a person can read and write: where a surface takes several things, they stand in lines of their own, the
//! longest last.

mod answer;
mod payload;
mod phone;
mod recipients;
mod signature;
mod template;
mod token;
mod webhook;

/// A surface, by its name: that of its target and of its folder of inputs.
pub type Surface = (&'static str, fn(&[u8]));

/// All of them.
pub const SURFACES: [Surface; 8] = [
    ("answer", answer::check),
    ("payload", payload::check),
    ("phone", phone::check),
    ("recipients", recipients::check),
    ("signature", signature::check),
    ("template", template::check),
    ("token", token::check),
    ("webhook", webhook::check),
];

/// Runs one input through a surface.
///
/// # Panics
/// Where a promise does not hold, and where there is no such surface.
pub fn check(surface: &str, input: &[u8]) {
    let known = SURFACES.iter().find(|(name, _)| *name == surface);
    let (_, check) = known.expect("a surface of this name");
    check(input);
}

/// The first line, and what stands behind its break.
fn line(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    match end {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[]),
    }
}

/// Whether Postgres can keep it.
fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// Whether it is a phone number as the outbox keeps it.
fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
