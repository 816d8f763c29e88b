//! What a campaign's operator does: files of recipients, the check before the start, and the verbs.

mod import;
mod preflight;
mod settings;
mod verbs;

use serde_json::{Value, json};

use crate::support::desk::Desk;
use crate::support::world::World;

impl Desk {
    /// A template that greets by name.
    fn greeting(&self) -> String {
        self.template(&json!([{"type": "text", "text": "{{name}}"}]))
    }

    /// A template whose body has these parameters.
    fn template(&self, parameters: &Value) -> String {
        let template = json!({"type": "template", "template": {"name": "spring_sale", "language": {"code": "en_US"},
            "components": [{"type": "body", "parameters": parameters}]}});
        self.file("template.json", template.to_string())
    }
}

impl World {
    /// A draft that greets by name.
    async fn drafts(&self, desk: &Desk, name: &str) {
        self.says(&["campaign", "create", name, "--template", &desk.greeting()])
            .await;
    }

    /// The recipients of all campaigns with one of their variables, in the order they were written.
    async fn recipients(&self, variable: &str) -> Vec<(String, Option<String>)> {
        sqlx::query_as("select recipient, variables ->> $1 from wa.outbox where campaign_id is not null order by id")
            .bind(variable)
            .fetch_all(&self.database.pool)
            .await
            .expect("an answer")
    }
}

/// The n-th of many numbers that can exist.
fn number(n: usize) -> String {
    format!("+49151{:08}", 20_000_000 + n)
}

/// A file of so many recipients with a name.
fn people(count: usize) -> String {
    let rows = (0..count).map(|n| format!("{},Person {n}\n", number(n)));
    std::iter::once("phone,name\n".to_owned())
        .chain(rows)
        .collect()
}
