//! Files that a payload names, where WhatsApp wants the id of an upload: `"image": {"id": "file:catalog.jpg"}`.
//!
//! A reference is a string that begins with `file:` under the key `id` or `link`, wherever in the payload it stands (a header of a
//! template has its image deep inside). It becomes `"id": "…"`, and every other byte stays as the application wrote it.

use std::ops::Range;

/// How a reference begins.
const FILE: &str = "file:";
/// What no payload without a reference has; looked for first, because hardly any has one.
const MARK: &str = "\"file:";

/// A file that a payload names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReference {
    /// The file, below the folder of media.
    pub file: String,
    /// From the key's first quote to the value's last.
    place: Range<usize>,
}

/// The files that a payload (which is valid JSON) names, in their order.
pub fn file_references(payload: &str) -> Vec<FileReference> {
    if !payload.contains(MARK) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut key: Option<Range<usize>> = None;
    let mut rest = 0;
    while let Some(text) = next_string(payload, rest) {
        rest = text.end;
        let after = payload[rest..].trim_start();
        if after.starts_with(':') {
            key = Some(text);
            continue;
        }
        // A string that follows no key stands in a list.
        let Some(key) = key.take().filter(|key| is_value_of(payload, key, &text)) else {
            continue;
        };
        if !matches!(&payload[key.clone()], "\"id\"" | "\"link\"") {
            continue;
        }
        let value: Option<String> = serde_json::from_str(&payload[text.clone()]).ok();
        if let Some(file) = value.as_deref().and_then(|value| value.strip_prefix(FILE)) {
            found.push(FileReference {
                file: file.to_owned(),
                place: key.start..text.end,
            });
        }
    }
    found
}

/// The payload with an id in place of each reference.
///
/// # Errors
/// What `id_of` says of the first file that it has none for.
pub fn with_ids<E>(
    payload: &str,
    references: &[FileReference],
    mut id_of: impl FnMut(&str) -> Result<String, E>,
) -> Result<String, E> {
    let mut text = String::with_capacity(payload.len() + 64);
    let mut copied = 0;
    for reference in references {
        let id = id_of(&reference.file)?;
        text.push_str(&payload[copied..reference.place.start]);
        text.push_str("\"id\":");
        text.push_str(&serde_json::Value::String(id).to_string());
        copied = reference.place.end;
    }
    text.push_str(&payload[copied..]);
    Ok(text)
}

/// The next string of a JSON text at or behind `from`, with its quotes.
fn next_string(json: &str, from: usize) -> Option<Range<usize>> {
    let start = from + json[from..].find('"')?;
    let mut is_escaped = false;
    for (place, byte) in json.bytes().enumerate().skip(start + 1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(start..place + 1),
            _ => {}
        }
    }
    None
}

/// Whether nothing but a colon stands between them.
fn is_value_of(json: &str, key: &Range<usize>, text: &Range<usize>) -> bool {
    json[key.end..text.start].trim() == ":"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(payload: &str) -> String {
        let references = file_references(payload);
        let id = |file: &str| Ok::<_, ()>(format!("id of {file}"));
        with_ids(payload, &references, id).expect("an id for each")
    }

    #[test]
    fn each_file_becomes_an_id_and_every_other_byte_stays() {
        for (payload, expected) in [
            (
                r#"{"type":"image","image":{"id":"file:a.jpg", "caption":"1.0 \u00e9"}}"#,
                r#"{"type":"image","image":{"id":"id of a.jpg", "caption":"1.0 \u00e9"}}"#,
            ),
            (
                r#"{"document":{"filename":"file:x","link" : "file:\u0062 \"c\".pdf"}}"#,
                r#"{"document":{"filename":"file:x","id":"id of b \"c\".pdf"}}"#,
            ),
            (
                r#"{"a":[{"image":{"link":"file:a"}},{"video":{"id":"file:b"}}],"n":1.0}"#,
                r#"{"a":[{"image":{"id":"id of a"}},{"video":{"id":"id of b"}}],"n":1.0}"#,
            ),
        ] {
            assert_eq!(filled(payload), expected);
        }
    }

    #[test]
    fn what_only_looks_like_a_reference_stays() {
        for payload in [
            r#"{"type":"text","text":{"body":"\"id\":\"file:a.jpg\""}}"#,
            r#"{"text":{"body":"file:a.jpg"}}"#,
            r#"{"image":{"link":"https://example.com/file:a.jpg"}}"#,
            r#"{"id":["file:a.jpg"]}"#,
            r#"{"id":{"file:a.jpg":1}}"#,
            r#"{"id":7,"x":"file:a.jpg"}"#,
        ] {
            assert!(file_references(payload).is_empty(), "{payload}");
            assert_eq!(filled(payload), payload);
        }
    }
}
