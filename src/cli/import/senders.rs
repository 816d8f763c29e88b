//! Who sends a row: as it says, else as the command says, else the only or the default sender.

use std::collections::BTreeMap;

use crate::cli::failure::Problem;
use crate::cli::rows::Fault;
use crate::domain::numbering::Country;
use crate::store::imports::KnownSender;

/// The senders, as far as they may be known. The default knows none, and leaves all to the database.
#[derive(Default)]
pub(in crate::cli) struct Senders {
    /// With the country in which their numbers without + are dialled.
    known: Option<BTreeMap<String, Option<Country>>>,
    /// Who sends what names no sender.
    usual: Option<String>,
}

impl Senders {
    /// `usual`: who sends what names no sender, where the command says so.
    pub(in crate::cli) fn new(known: Option<Vec<KnownSender>>, usual: Option<String>) -> Self {
        let Some(known) = known else {
            return Self { known: None, usual };
        };
        let mut default = known.iter().filter(|sender| sender.is_default);
        let default = match (default.next(), known.as_slice()) {
            (Some(default), _) | (None, [default]) => Some(default.sender.clone()),
            (None, _) => None,
        };
        let country = |sender: &KnownSender| sender.default_country.as_ref()?.parse().ok();
        let known = known
            .into_iter()
            .map(|sender| (sender.sender.clone(), country(&sender)));
        Self {
            known: Some(known.collect()),
            usual: usual.or(default),
        }
    }

    /// Who sends what names no sender; none where nobody is meant.
    pub(in crate::cli) fn usual(&self) -> Option<&str> {
        self.usual.as_deref()
    }

    /// Refuses a sender of the command's that does not exist: every row would be refused for it.
    pub(in crate::cli) fn must_have(&self, sender: Option<&str>) -> Result<(), Problem> {
        let (Some(known), Some(sender)) = (&self.known, sender) else {
            return Ok(());
        };
        if known.contains_key(sender) {
            return Ok(());
        }
        let fix = match known.is_empty() {
            true => "add it: wa-outbox sender add".to_owned(),
            false => {
                let known: Vec<&str> = known.keys().map(String::as_str).collect();
                format!("known senders: {}", known.join(", "))
            }
        };
        Err(Problem::failed(format!("there is no sender {sender}"), fix))
    }

    /// The sender of a row that names this one, or none.
    pub(super) fn of_row(&self, named: Option<String>, line: u64) -> Result<Option<String>, Fault> {
        let refused = |reason: String| Err(Fault::new(line, "sender", reason));
        let named = named.map(|named| named.trim().to_owned());
        let sender = named.or_else(|| self.usual.clone());
        match (&self.known, sender) {
            (Some(known), Some(sender)) if !known.contains_key(&sender) => {
                // Else it may be a recipient who has slipped into a wrong column.
                let is_id = !sender.starts_with('+') && sender.chars().count() <= 40;
                let shown = if is_id { format!(" {sender}") } else { String::new() };
                refused(format!(
                    "there is no such sender{shown}; see which there are: wa-outbox sender list"
                ))
            }
            (Some(known), None) if known.is_empty() => {
                refused("there is no sender yet; add one: wa-outbox sender add".to_owned())
            }
            (Some(_), None) => refused(
                "it is missing, and of several senders none is the default; name it, or: --sender ID"
                    .to_owned(),
            ),
            (_, sender) => Ok(sender),
        }
    }

    /// Whether only the database knows them, and in which countries they are: a producer may not look.
    pub(super) fn are_unknown(&self) -> bool {
        self.known.is_none()
    }

    /// In which country its numbers without + are dialled.
    pub(super) fn country_of(&self, sender: Option<&str>) -> Option<Country> {
        self.known.as_ref()?.get(sender?).copied().flatten()
    }
}
