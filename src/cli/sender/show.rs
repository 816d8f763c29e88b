//! Senders as people and scripts read them.

use std::collections::HashMap;

use serde::Serialize;
use time::OffsetDateTime;

use crate::cli::failure::Problem;
use crate::cli::table::{Table, numbers, words};
use crate::cli::template::TemplateHoldJson;
use crate::cli::{Context, output};
use crate::domain::id::SenderId;
use crate::domain::mask::Eyes;
use crate::provider::{Capabilities, Echo, ProviderKind};
use crate::standing::facts::Facts;
use crate::standing::sender::{Reading, StandingJson};
use crate::standing::time::{moment, span};
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::sender::Sender;
use crate::store::summary::SenderOwner;

pub(super) const LIST_HELP: &str =
    "With --json an array of objects with the columns of wa.senders (delivery_timeout_s in seconds), and worker and \
problem: who works it, and what stands in its way.

Example:
  wa-outbox sender list";

pub(super) const HELP: &str = "With --json the object of `sender list --json` with standing and templates: standing says \
what the sender does (doing, sentence), how fast, who works it and what waits; its counts end at counted_at_most. templates \
are its holds of templates.

Example:
  wa-outbox sender show 106540352242922";

/// Which senders there are.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One of them.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// The sender
    #[arg(value_name = "ID")]
    sender: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let senders = all(context.store().await?).await?;
        if self.json {
            let senders: Vec<_> = senders.iter().map(SenderJson::of).collect();
            return output::print_json(&senders);
        }
        if senders.is_empty() {
            return output::print(
                "There is no sender yet. Add one: wa-outbox sender add PHONE_NUMBER_ID --credential env:NAME",
            );
        }
        let now = context.clock().now();
        let mut table = Table::new([
            words("SENDER"),
            words("DEFAULT"),
            words("PROVIDER"),
            numbers("RATE/S"),
            words("WORKER"),
            words("STANDS"),
        ]);
        for found in &senders {
            let owner = found.owner.as_ref();
            table.row([
                found.sender.sender.clone(),
                if found.sender.is_default { "yes" } else { "" }.to_owned(),
                found.sender.provider.clone(),
                found.sender.rate_per_second.to_string(),
                owner
                    .and_then(|owner| owner.worker.clone())
                    .unwrap_or_default(),
                stands(&found.sender, owner, now),
            ]);
        }
        output::print(&table.render(context.colours()))
    }
}

impl Show {
    /// Says how the sender stands, and with what settings.
    pub(in crate::cli) async fn run(self, context: &Context) -> anyhow::Result<()> {
        self.say(context, true).await
    }

    /// Says how the sender stands, without its settings.
    pub(in crate::cli) async fn run_why(self, context: &Context) -> anyhow::Result<()> {
        self.say(context, false).await
    }

    async fn say(self, context: &Context, with_settings: bool) -> anyhow::Result<()> {
        let store = context.store().await?;
        let id = SenderId::from(self.sender);
        let found = find(store, &id).await?;
        let standing = store.sender_standings(Some(&id)).await?.pop();
        let standing = standing.veiled(Eyes::CLOSED).ok_or_else(|| unknown(&id))?;
        let templates = store.template_holds(std::slice::from_ref(&id)).await?;
        let templates = templates.veiled(Eyes::CLOSED);
        if self.json {
            return output::print_json(&ShownJson {
                sender: SenderJson::of(&found),
                standing: StandingJson::of(&standing),
                templates: templates.iter().map(TemplateHoldJson::of).collect(),
            });
        }
        let reading = Reading(&standing);
        let mut facts = Facts::default();
        reading.facts(&mut facts, &templates);
        if with_settings {
            settings(&mut facts, &found.sender);
        }
        let sentence = reading.sentence();
        let sentence = output::bold(&output::plain(&sentence), context.colours());
        output::print(&format!("{sentence}\n\n{}", facts.render()))
    }
}

/// A sender and who works it.
pub(in crate::cli) struct Found {
    pub(in crate::cli) sender: Sender,
    owner: Option<SenderOwner>,
}

async fn all(store: &Store) -> anyhow::Result<Vec<Found>> {
    let owners = store.sender_owners().await?;
    let mut owners: HashMap<String, SenderOwner> = owners
        .into_iter()
        .map(|owner| (owner.sender.clone(), owner))
        .collect();
    let senders = store.senders().await?.veiled(Eyes::CLOSED);
    let found = senders.into_iter().map(|sender| Found {
        owner: owners.remove(&sender.sender),
        sender,
    });
    Ok(found.collect())
}

/// One sender.
pub(in crate::cli) async fn find(store: &Store, id: &SenderId) -> anyhow::Result<Found> {
    let senders = all(store).await?;
    let found = senders.into_iter().find(|found| found.sender.id() == *id);
    found.ok_or_else(|| unknown(id).into())
}

/// Refuses a sender that is named and does not exist. Who may not see the senders (`wa_producer`) is not stopped.
pub(in crate::cli) async fn must_exist(store: &Store, named: Option<&str>) -> anyhow::Result<()> {
    let Some(named) = named else {
        return Ok(());
    };
    let senders = match store.senders().await {
        Err(error) if error.is_missing_right() => return Ok(()),
        read => read?,
    };
    match senders.iter().any(|sender| sender.sender == named) {
        true => Ok(()),
        false => Err(unknown(&SenderId::from(named)).into()),
    }
}

/// What is said of a sender that does not exist.
pub(super) fn unknown(sender: &SenderId) -> Problem {
    Problem::failed(
        format!("there is no sender {sender}"),
        "see which there are: wa-outbox sender list",
    )
}

/// Whether it can send, in a few words.
pub(super) fn stands(sender: &Sender, owner: Option<&SenderOwner>, now: OffsetDateTime) -> String {
    if let Some(reason) = sender.hold_at(now) {
        let by = sender.held_by.as_deref().unwrap_or("someone");
        let until = sender.held_until.map_or_else(String::new, |until| {
            format!(" until {}", moment(until, now))
        });
        return format!("held by {by}{until}: {reason}");
    }
    match owner.map(|owner| (&owner.problem, &owner.worker)) {
        Some((Some(problem), _)) => format!("stopped: {problem}"),
        Some((None, Some(_))) => "working".to_owned(),
        Some((None, None)) | None => "waiting for a worker".to_owned(),
    }
}

/// What is set for a sender.
fn settings(facts: &mut Facts, sender: &Sender) {
    let by_worker = |value: Option<String>| value.unwrap_or_else(|| "the worker's setting".into());
    facts.add("provider", &sender.provider);
    facts.add("base url", &sender.base_url);
    facts.add_some("path", sender.path.as_ref());
    if capabilities(sender).is_some_and(|can| can.has_api_version) {
        facts.add("api version", &sender.api_version);
    }
    facts.add("credential", &sender.credential);
    facts.add("auth header", &sender.auth_header);
    facts.add_some("auth scheme", sender.auth_scheme.as_ref());
    facts.add_some("ca file", sender.ca_file.as_ref());
    facts.add("callback echo", echo_in_words(sender));
    facts.add("rate set", format!("{} a second", sender.rate_per_second));
    facts.add("pair limit", pair_limit(sender));
    facts.add(
        "in flight at most",
        by_worker(sender.max_in_flight.map(|n| n.to_string())),
    );
    facts.add("on uncertain", by_worker(sender.on_uncertain.clone()));
    let window = sender.reconcile_window_s.map(|s| format!("{s} s"));
    facts.add("window", by_worker(window));
    facts.add("validate", validation(sender));
    facts.add("on failure", by_worker(sender.on_failure.clone()));
    let timeout = sender.delivery_timeout_s.map(time::Duration::seconds_f64);
    facts.add("delivery timeout", by_worker(timeout.map(span)));
    facts.add("on timeout", by_worker(sender.on_timeout.clone()));
    let country = sender.default_country.as_deref();
    facts.add(
        "numbers without +",
        country.map_or_else(
            || "refused".to_owned(),
            |country| format!("as dialled in {country}"),
        ),
    );
    facts.add("default", if sender.is_default { "yes" } else { "no" });
}

fn validation(sender: &Sender) -> String {
    let strict = match sender.strict {
        true => ", strict",
        false => "",
    };
    format!("{}{strict}", sender.validate)
}

fn capabilities(sender: &Sender) -> Option<Capabilities> {
    let kind: Option<ProviderKind> = sender.provider.parse().ok();
    kind.map(ProviderKind::capabilities)
}

/// Whether statuses bring our callback data back, as far as its settings say.
fn echo_in_words(sender: &Sender) -> &'static str {
    match (
        sender.callback_echo,
        capabilities(sender).map(|can| can.echo),
    ) {
        (Some(true), _) => "yes, by its setting",
        (Some(false), _) => "no, by its setting",
        (None, Some(Echo::Always)) => "yes",
        (None, Some(Echo::WhenSeen)) => "once it was seen to",
        (None, Some(Echo::Never) | None) => "no",
    }
}

fn pair_limit(sender: &Sender) -> String {
    match sender.pair_period_ms {
        0 => "none".to_owned(),
        period => format!(
            "one message per {period} ms to one recipient, {} at once",
            sender.pair_burst
        ),
    }
}

/// A sender as scripts read it: the columns of `wa.senders`, and who works it.
#[derive(Serialize)]
struct SenderJson<'a> {
    #[serde(flatten)]
    sender: &'a Sender,
    worker: Option<&'a str>,
    problem: Option<&'a str>,
}

/// A sender as scripts read it, with how it stands.
#[derive(Serialize)]
struct ShownJson<'a> {
    #[serde(flatten)]
    sender: SenderJson<'a>,
    standing: StandingJson<'a>,
    templates: Vec<TemplateHoldJson<'a>>,
}

impl<'a> SenderJson<'a> {
    fn of(found: &'a Found) -> Self {
        let owner = found.owner.as_ref();
        Self {
            sender: &found.sender,
            worker: owner.and_then(|owner| owner.worker.as_deref()),
            problem: owner.and_then(|owner| owner.problem.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn held(until: Option<OffsetDateTime>) -> Sender {
        Sender {
            sender: "4711".into(),
            provider: "cloud_api".into(),
            base_url: "https://graph.facebook.com".into(),
            path: None,
            api_version: "v23.0".into(),
            credential: "env:TOKEN".into(),
            auth_header: "Authorization".into(),
            auth_scheme: None,
            ca_file: None,
            callback_echo: None,
            rate_per_second: 80.0,
            pair_period_ms: 6000,
            pair_burst: 45,
            max_in_flight: None,
            on_uncertain: None,
            reconcile_window_s: None,
            validate: "refuse".into(),
            strict: false,
            on_failure: None,
            delivery_timeout_s: None,
            on_timeout: None,
            default_country: None,
            is_default: false,
            held_reason: Some("under review".into()),
            held_until: until,
            held_by: Some("ada".into()),
        }
    }

    fn owner(worker: Option<&str>, problem: Option<&str>) -> SenderOwner {
        SenderOwner {
            sender: "4711".into(),
            worker: worker.map(str::to_owned),
            problem: problem.map(str::to_owned),
        }
    }

    #[test]
    fn a_sender_stands_as_its_hold_then_its_owner_says() {
        let over = held(Some(NOW));
        let working = owner(Some("w1"), None);
        assert_eq!(
            stands(&held(None), Some(&working), NOW),
            "held by ada: under review"
        );
        assert_eq!(
            stands(&held(Some(NOW + time::Duration::HOUR)), None, NOW),
            "held by ada until 2026-03-01 13:00:00 UTC (in 60 min): under review"
        );
        assert_eq!(stands(&over, Some(&working), NOW), "working");
        let stuck = owner(Some("w1"), Some("its token cannot be read"));
        assert_eq!(
            stands(&over, Some(&stuck), NOW),
            "stopped: its token cannot be read"
        );
        assert_eq!(
            stands(&over, Some(&owner(None, None)), NOW),
            "waiting for a worker"
        );
    }
}
