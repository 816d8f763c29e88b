//! Files: recipients, templates, bodies.

use std::fs;

use tempfile::TempDir;

use super::{Bad, Section, typed};
use crate::support::world::World;

const TEMPLATE: &str = r#"{"type":"template","template":{"name":"promo","language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"{{name}}"}]}]}}"#;

pub(super) async fn section() -> Section {
    let world = World::at_rest().await;
    let folder = TempDir::new().expect("a folder");
    let mut bad = Vec::new();
    fs::write(folder.path().join("promo.json"), TEMPLATE).expect("a file");
    let (code, says) = typed(
        &world,
        folder.path(),
        "campaign create spring --template promo.json",
    )
    .await;
    assert_eq!(code, 0, "{says}");
    for (name, text, line) in [
        ("people.csv", "", "campaign import spring people.csv"),
        (
            "people.csv",
            "name,city\nAda,London\n",
            "campaign import spring people.csv",
        ),
        (
            "people.csv",
            "phone,name,name\n+16505551234,Ada,Bo\n",
            "campaign import spring people.csv",
        ),
        (
            "people.csv",
            "+16505551234,Ada\n",
            "campaign import spring people.csv",
        ),
        (
            "people.csv",
            "phone,name\n16505551234,Ada\n",
            "campaign import spring people.csv --faults people.csv",
        ),
        (
            "people.csv",
            "PK\u{3}\u{4}…",
            "campaign import spring people.csv",
        ),
        (
            "people.csv",
            "phone,na\0me\n+16505551234,Ada\n",
            "campaign import spring people.csv",
        ),
        (
            "people.csv",
            "phone,name\n16505551234,Ada\n",
            "campaign import spring people.csv --strict",
        ),
        (
            "people.csv",
            "phone,name\n4.91512E+12,Ada\n",
            "campaign import spring people.csv --strict",
        ),
        (
            "people.csv",
            "phone,name\n+16505551234,\"Ada\n",
            "campaign import spring people.csv --strict",
        ),
        (
            "people.csv",
            "phone,name\n+16505551234,Ada,Lovelace\n",
            "campaign import spring people.csv --strict",
        ),
        (
            "people.csv",
            "phone,town\n+16505551234,London\n",
            "campaign import spring people.csv --strict",
        ),
        (
            "people.jsonl",
            "{\"phone\":5}\n",
            "campaign import spring people.jsonl --strict",
        ),
        (
            "people.jsonl",
            "{\"phone\":\"+16505551234\",\"name\":\"Ada\",\"name\":\"Bo\"}\n",
            "campaign import spring people.jsonl --strict",
        ),
        (
            "people.jsonl",
            "{\"phone\":\"+16505551234\",\n",
            "campaign import spring people.jsonl --strict",
        ),
        (
            "people.jsonl",
            "[\"+16505551234\"]\n",
            "campaign import spring people.jsonl --strict",
        ),
        (
            "template.json",
            "{\"type\":",
            "campaign create summer --template template.json",
        ),
        (
            "template.json",
            "{\"type\":\"text\",\"text\":{\"body\":\"Hi\"}}",
            "campaign create summer --template template.json",
        ),
        (
            "template.json",
            "{\"type\":\"template\",\"template\":{\"name\":\"promo\",\"language\":{\"code\":\"{{language\"}}}",
            "campaign create summer --template template.json",
        ),
        (
            "template.json",
            TEMPLATE,
            "campaign create summer --template template.json --quiet-hours 25:00-9:00",
        ),
        (
            "template.json",
            TEMPLATE,
            "campaign create summer --template template.json --ramp fast",
        ),
        (
            "template.json",
            TEMPLATE,
            "campaign create spring --template template.json",
        ),
        (
            "body.json",
            "{\"type\":\"text\"",
            "send --to +16505551234 --payload body.json",
        ),
        (
            "body.json",
            "{\"type\":\"text\",\"text\":{\"body\":\"\"}}",
            "check body.json",
        ),
        (
            "body.json",
            "{\"type\":\"interactive\",\"interactive\":{\"type\":\"button\",\"body\":{\"text\":\"Sure?\"},\"action\":{\"buttons\":[{\"type\":\"reply\",\"reply\":{\"id\":\"1\",\"title\":\"A title that is far too long\"}}]}}}",
            "check body.json",
        ),
        ("body.json", "Hello", "check body.json"),
        (
            "stopped.csv",
            "name\nAda\n",
            "suppress import stopped.csv --reason x",
        ),
    ] {
        fs::write(folder.path().join(name), text).expect("a file");
        let (code, says) = typed(&world, folder.path(), line).await;
        if !(code == 1 || code == 2) {
            eprintln!("panicked-ish {line}: {code}: {says}");
        }
        let shown = text.trim_end().replace('\0', "␀");
        let shown = shown.replace('\u{3}', "␃").replace('\u{4}', "␄");
        bad.push(Bad::new(format!("{line}\n{shown}"), says));
    }
    (
        "Files",
        "`wa-outbox` and the first line, with a file that holds the rest.",
        bad,
    )
}
