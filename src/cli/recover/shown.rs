//! What `recover` says, for people and for scripts.

use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cli::table::{Table, numbers, words};
use crate::standing::facts::thousands;
use crate::store::recovery::{Preview, Recovery, ReleasedSender};

/// Where the database stands, and what would become of what it may have sent.
pub(super) struct Report<'a> {
    recovery: &'a Recovery,
    /// What settling would do.
    pub(super) senders: Vec<Preview>,
    /// Sequences whose delivery may have been told to the lost database.
    pub(super) sequences_that_wait: i64,
}

impl<'a> Report<'a> {
    pub(super) fn of(recovery: &'a Recovery) -> Self {
        Self {
            recovery,
            senders: Vec::new(),
            sequences_that_wait: 0,
        }
    }

    pub(super) fn json(&self) -> ReportJson<'_> {
        let it = self.recovery;
        ReportJson {
            settled: it.is_settled(),
            era: it.era,
            began_at: it.began_at,
            cause: &it.cause,
            what: &it.what,
            noticed_by: &it.noticed_by,
            complete_until: it.complete_until,
            is_exact: it.is_exact,
            held_senders: it.held_senders,
            settled_at: it.settled_at,
            settled_how: it.settled_how.as_deref(),
            settled_by: it.settled_by.as_deref(),
            settled_why: it.settled_why.as_deref(),
            doubted: it.doubted,
            uncertain: it.uncertain,
            for_a_person: it.for_a_person,
            sequences_that_wait: self.sequences_that_wait,
            senders: self.senders.iter().map(PreviewJson::of).collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ReportJson<'a> {
    settled: bool,
    era: i64,
    #[serde(with = "time::serde::rfc3339")]
    began_at: OffsetDateTime,
    cause: &'a str,
    what: &'a str,
    noticed_by: &'a str,
    #[serde(with = "time::serde::rfc3339::option")]
    complete_until: Option<OffsetDateTime>,
    is_exact: bool,
    held_senders: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    settled_at: Option<OffsetDateTime>,
    settled_how: Option<&'a str>,
    settled_by: Option<&'a str>,
    settled_why: Option<&'a str>,
    doubted: i64,
    uncertain: i64,
    for_a_person: i64,
    sequences_that_wait: i64,
    senders: Vec<PreviewJson<'a>>,
}

#[derive(Serialize)]
struct PreviewJson<'a> {
    sender: &'a str,
    sent_again_if_silent: i64,
    for_a_person_if_silent: i64,
    in_sequences: i64,
}

impl<'a> PreviewJson<'a> {
    fn of(preview: &'a Preview) -> Self {
        Self {
            sender: &preview.sender,
            sent_again_if_silent: preview.again,
            for_a_person_if_silent: preview.for_a_person,
            in_sequences: preview.in_sequences,
        }
    }
}

/// The report in sentences. `when` tells a moment.
pub(super) fn report_in_words(
    report: &Report<'_>,
    when: &dyn Fn(OffsetDateTime) -> String,
    colours: bool,
) -> String {
    let it = report.recovery;
    let mut text = String::new();
    if it.cause == "first" {
        text += "This database has not gone back, as far as anybody has noticed.\n";
    } else {
        text += &format!(
            "The database went back: {}.\nNoticed {} by {}. {}\n",
            it.what,
            when(it.began_at),
            it.noticed_by,
            complete(it, when)
        );
    }
    if let Some(unreadable) = &it.unreadable {
        text += &format!(
            "This server does not tell all of what a restore is noticed by: {unreadable}\n"
        );
    }
    text += &preview_in_words(report, colours);
    text += &match it.settled_at {
        Some(at) if it.cause != "first" => settled(it, &when(at)),
        Some(_) => String::new(),
        None => unsettled(it),
    };
    text
}

fn complete(it: &Recovery, when: &dyn Fn(OffsetDateTime) -> String) -> String {
    match it.complete_until {
        Some(until) if it.is_exact => format!("It is complete up to {}.", when(until)),
        Some(until) => format!(
            "It is complete up to about {}, by its last pulse; if you know better, say --since TIME.",
            when(until)
        ),
        None => "Nobody knows how far back it is; if you do, say --since TIME.".to_owned(),
    }
}

fn preview_in_words(report: &Report<'_>, colours: bool) -> String {
    let mut text = String::new();
    if !report.senders.is_empty() {
        let mut table = Table::new([
            words("SENDER"),
            numbers("MAY HAVE BEEN SENT"),
            numbers("IF SILENT: AGAIN"),
            numbers("A PERSON"),
            numbers("BEHIND IN SEQUENCES"),
        ]);
        for sender in &report.senders {
            table.row([
                sender.sender.clone(),
                thousands(sender.again + sender.for_a_person),
                thousands(sender.again),
                thousands(sender.for_a_person),
                thousands(sender.in_sequences),
            ]);
        }
        text += &format!("\n{}\n", table.render(colours));
    }
    if report.sequences_that_wait > 0 {
        text += &format!(
            "{} sequences wait for a delivery, which may have been told to the lost database; see: wa-outbox sequence list --all\n",
            thousands(report.sequences_that_wait)
        );
    }
    text
}

fn unsettled(it: &Recovery) -> String {
    let mut text = match it.failed_at {
        Some(_) => format!(
            "{} messages are in doubt so far: it was begun to settle this. Go on with: wa-outbox recover --yes --reason TEXT\n",
            thousands(it.doubted)
        ),
        None => "Nothing was changed. If nothing was lost: wa-outbox recover --nothing-lost --reason TEXT\n\
                 Else put in doubt what may have been sent: wa-outbox recover --yes --reason TEXT\n"
            .to_owned(),
    };
    text += &format!(
        "{} senders are held until then. What is in doubt is settled by webhooks, else as the table says; statuses that were told to \
         the lost database do not come again, so silence means little where much time was lost (--hold, --wait, --replay).\n",
        thousands(it.held_senders)
    );
    text
}

fn settled(it: &Recovery, when: &str) -> String {
    let by = it.settled_by.as_deref().unwrap_or_default();
    let why = it.settled_why.as_deref().unwrap_or_default();
    let how = match it.settled_how.as_deref() {
        Some("nothing_lost") => "nothing was lost".to_owned(),
        _ => format!(
            "{} messages were put in doubt; {} of them are not settled, {} of those wait for a person",
            thousands(it.doubted),
            thousands(it.uncertain),
            thousands(it.for_a_person)
        ),
    };
    let mut text = format!("Settled {when} by {by} ({why}): {how}.\n");
    if it.held_senders > 0 {
        text += &format!(
            "{} senders are still held; release them: wa-outbox recover --release --reason TEXT\n",
            thousands(it.held_senders)
        );
    }
    text
}

/// Which senders go on.
pub(super) fn released_in_words(released: &[ReleasedSender]) -> String {
    if released.is_empty() {
        return "No sender is held because the database went back.".to_owned();
    }
    let mut text = String::new();
    for one in released {
        text += &match (&one.held_reason, &one.held_by) {
            (Some(reason), Some(by)) => format!(
                "Sender {} is held again as before, by {by}: {reason}\n",
                one.sender
            ),
            _ => format!("Sender {} goes on.\n", one.sender),
        };
    }
    text
}

/// The same for scripts.
pub(super) fn released_json(released: &[ReleasedSender]) -> Value {
    let released: Vec<_> = released
        .iter()
        .map(|one| json!({"sender": one.sender, "held_reason": one.held_reason, "held_by": one.held_by}))
        .collect();
    json!({ "released": released })
}
