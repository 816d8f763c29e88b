//! Choices behind a button.

use serde::{Deserialize, Serialize};

use super::super::Fields;
use super::prompt::is_interactive;
use super::{Prompt, TakesFooter, TakesTextHeader};

/// Up to ten choices in up to ten sections (Meta, "Interactive list messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// What the button says: at most 20 characters.
    pub button: String,
    /// The sections.
    pub sections: Vec<Section>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Choices under a title.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// At most 24 characters; needed when there are several sections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The choices; all sections together have at most ten.
    pub rows: Vec<Row>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Comes back when it is chosen: at most 200 characters, once in a message.
    pub id: String,
    /// At most 24 characters.
    pub title: String,
    /// At most 72 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

impl TakesTextHeader for Choices {}
impl TakesFooter for Choices {}
is_interactive!(Choices => List);

/// A text with choices behind a button that says `button`.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message::{self, interactive::Row};
///
/// let list = message::list("How shall we ship it?", "Ways")
///     .section("Fast", [Row::new("express", "Express").description("Tomorrow")])
///     .section("Cheap", [Row::new("mail", "Mail")]);
/// assert_eq!(
///     serde_json::to_value(&list)?["action"],
///     json!({"button": "Ways", "sections": [
///         {"title": "Fast", "rows": [{"id": "express", "title": "Express", "description": "Tomorrow"}]},
///         {"title": "Cheap", "rows": [{"id": "mail", "title": "Mail"}]}
///     ]})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn list(body: impl Into<String>, button: impl Into<String>) -> Prompt<Choices> {
    Prompt::saying(
        body,
        Choices {
            button: button.into(),
            sections: Vec::new(),
            other: Fields::new(),
        },
    )
}

impl Prompt<Choices> {
    /// With choices under a title.
    pub fn section(
        mut self,
        title: impl Into<String>,
        rows: impl IntoIterator<Item = Row>,
    ) -> Self {
        self.action.sections.push(Section {
            title: Some(title.into()),
            rows: rows.into_iter().collect(),
            other: Fields::new(),
        });
        self
    }

    /// With choices that need no title, because they are the only ones.
    pub fn rows(mut self, rows: impl IntoIterator<Item = Row>) -> Self {
        self.action.sections.push(Section {
            title: None,
            rows: rows.into_iter().collect(),
            other: Fields::new(),
        });
        self
    }
}

impl Row {
    /// A choice: what comes back, and what it says.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            description: None,
            other: Fields::new(),
        }
    }

    /// With more words.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }
}
