//! `campaign`: one template to many, as its operator leads it.
//!
//! A verb writes one row, whatever the campaign's size, and acts within a second; what is out already comes to its end, and is
//! said. Recipients come from files ([`import`]) or by plain SQL; what is wrong with them is found before the start
//! ([`preflight`]), and how it goes is told in one screen ([`show`]).

mod import;
mod preflight;
mod settings;
mod show;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::value::RawValue;

use super::failure::Problem;
use super::text::must_be_name;
use super::{Context, output, send};
use crate::domain::mask::Eyes;
use crate::domain::placeholders::{Template, TemplateError};
use crate::standing::shell;
use crate::standing::veil::Veil;
use crate::store::Store;
use crate::store::campaign::{Campaign, CampaignKey, CampaignVerb, NewCampaign};

pub(super) use show::Why;

use import::Reading;
use preflight::Preflight;
use settings::Settings;

/// Send one template to many: create, import, check, start, pause, resume, cancel and watch campaigns
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, from a file to the last message:
  wa-outbox campaign create spring --template spring.json --recipients customers.csv
  wa-outbox campaign preflight spring
  wa-outbox campaign start spring
  wa-outbox campaign show spring --watch")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a campaign, as a draft: nothing leaves before it is started
    #[command(after_help = CREATE_HELP)]
    Create(Create),
    /// Take a file of recipients into a campaign
    #[command(after_help = IMPORT_HELP)]
    Import(Import),
    /// Check every recipient that waits, and say how long the campaign will take
    #[command(after_help = preflight::HELP)]
    Preflight(Preflight),
    /// Let a draft run
    #[command(after_help = "Example:
  wa-outbox campaign start spring")]
    Start(Verb),
    /// Let nothing more leave until it is resumed; what is out comes to its end
    #[command(after_help = "Example:
  wa-outbox campaign pause spring --reason \"wrong price\"")]
    Pause(Verb),
    /// Let a paused campaign go on
    #[command(after_help = "Example:
  wa-outbox campaign resume spring --reason \"the price was corrected\"")]
    Resume(Verb),
    /// End a campaign: what has not left is cancelled, for good
    #[command(after_help = "Example:
  wa-outbox campaign cancel spring --reason \"the offer was withdrawn\"")]
    Cancel(Verb),
    /// Change how a campaign is sent, also while it runs
    #[command(after_help = settings::HELP)]
    Set(Set),
    /// Show how a campaign goes: counts, rate, time left, failures and what to do about them
    #[command(after_help = show::HELP)]
    Show(show::Show),
    /// List the campaigns
    #[command(after_help = show::LIST_HELP)]
    List(show::List),
}

const CREATE_HELP: &str = "The template is the body of a template message, as for `send --payload`, with {{name}} wherever a \
recipient's variable belongs. A string that is nothing but {{name}} takes the variable as it is, so it may be a number or an \
object; {{{{ writes two braces. For the file of recipients see `campaign import --help`.

With --json an object: campaign, id, and, where recipients were given, import as in `campaign import --json`.

Examples:
  wa-outbox campaign create spring --template spring.json --recipients customers.csv
  wa-outbox campaign create spring --template spring.json --ramp 100/h,1000/h --slow-to 40
  wa-outbox campaign create spring --template spring.json --quiet-hours 21:00-09:00 --dry-run";

const IMPORT_HELP: &str = "A CSV file has a header; `,`, `;` or tabs stand between its fields. The column recipient or phone has \
the number, with + and country code; every other column is a variable of that name. Cells are texts; those of a column whose name \
ends in :json are JSON, for numbers and objects. A file of JSON lines has an object in each line: \
{\"recipient\":\"+…\",\"variables\":{…}}, or the variables beside the recipient. The line is kept as the variable _line.

A line that cannot be used is told in the file of faults, and the others are taken. An import that was cut off goes on when it is \
run again; run once more it takes only what was added at the end of the file. Under another name (--as) it is another file, and \
takes everything again.

Exit codes: 0 also where some lines could not be used, 1 where none of them could, 2 wrong usage.

With --json an object: campaign, source, recipients, faults, already, lines, seconds, faults_file.

Examples:
  wa-outbox campaign import spring customers.csv
  wa-outbox campaign import spring customers.csv --dry-run
  psql -c \"copy (select …) to stdout csv header\" | wa-outbox campaign import spring - --as customers";

#[derive(Debug, clap::Args)]
struct Create {
    /// Its name: words, not a number
    #[arg(value_name = "NAME")]
    name: String,
    /// The template message as JSON, from a file or from standard input (-)
    #[arg(long, value_name = "FILE")]
    template: PathBuf,
    /// Take this file of recipients into it; - for standard input
    #[arg(long, value_name = "FILE")]
    recipients: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    /// From this sender [default: the only or the default one]
    #[arg(long, value_name = "ID")]
    sender: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Only check the template and the file; write nothing but the file of faults
    #[arg(long)]
    dry_run: bool,
    /// Who makes it [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// The campaign, by its name or number
    #[arg(value_name = "CAMPAIGN")]
    campaign: String,
    /// The file of recipients; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Only read the file; write nothing but the file of faults
    #[arg(long)]
    dry_run: bool,
    /// Who imports it [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Verb {
    /// The campaign, by its name or number
    #[arg(value_name = "CAMPAIGN")]
    campaign: String,
    /// Why, for those who look later; to pause or cancel without it is refused
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who says so [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Set {
    /// The campaign, by its name or number
    #[arg(value_name = "CAMPAIGN")]
    campaign: String,
    #[command(flatten)]
    settings: Settings,
    /// Another template message, from a file or from standard input (-); only before the first start
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who sets it [default: user@host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Options {
    /// Does what was asked.
    ///
    /// # Errors
    /// When there is no such campaign, a file cannot be used, or the database refuses.
    pub async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.action {
            Action::Create(create) => create.run(context).await,
            Action::Import(import) => import.run(context).await,
            Action::Preflight(preflight) => preflight.run(context).await,
            Action::Start(verb) => verb.run(context, CampaignVerb::Start).await,
            Action::Pause(verb) => verb.run(context, CampaignVerb::Pause).await,
            Action::Resume(verb) => verb.run(context, CampaignVerb::Resume).await,
            Action::Cancel(verb) => verb.run(context, CampaignVerb::Cancel).await,
            Action::Set(set) => set.run(context).await,
            Action::Show(show) => show.run(context).await,
            Action::List(list) => list.run(context).await,
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        if [Some(&self.template), self.recipients.as_ref()]
            .iter()
            .flatten()
            .filter(|path| path.as_os_str() == "-")
            .count()
            > 1
        {
            let fix = "give one of them as a file";
            return Err(Problem::usage(
                "standard input cannot be both template and recipients",
                fix,
            )
            .into());
        }
        let fix = "give it one of 1 to 100 characters, such as spring";
        must_be_name("the campaign's name", &self.name, 100, fix)?;
        let payload = send::read_payload(&self.template)?;
        let template = template(&payload)?;
        let file = match &self.recipients {
            Some(path) => {
                self.reading.must_spare(path, &self.template)?;
                let file = self.reading.open(path)?;
                file.must_fill(&template)?;
                Some(file)
            }
            None => None,
        };
        let settings = self
            .settings
            .change(context.clock().now(), "write a later time, or leave it out")?;
        if self.dry_run {
            let checked = match file {
                Some(mut file) => {
                    let store = context.store().await?;
                    file.dialled_by_its_sender(store, self.sender.as_deref())
                        .await?;
                    Some(file.check(context).await?)
                }
                None => None,
            };
            if self.json {
                return output::print_json(
                    &serde_json::json!({ "campaign": self.name, "id": null, "import": checked }),
                );
            }
            let names = match template.names() {
                [] => "no variable".to_owned(),
                names => names.join(", "),
            };
            let file =
                checked.map_or_else(String::new, |checked| format!("\n{}", checked.in_words()));
            return output::print(&format!(
                "The template can be used; it wants {names}. Campaign {} was not made.{file}",
                self.name
            ));
        }
        let by = context.author(self.by)?;
        let store = context.store().await?;
        if let Some(known) = store
            .campaign(&CampaignKey::Name(self.name.clone()))
            .await?
        {
            let fix = format!(
                "to go on with its recipients: wa-outbox campaign import {0} FILE; to look at it: wa-outbox campaign show {0}",
                shell::word(&known.name)
            );
            return Err(Problem::failed(
                format!("there is a campaign {} already", known.name),
                fix,
            )
            .into());
        }
        let new = NewCampaign {
            name: self.name,
            payload,
            sender: self.sender,
            settings,
            by: by.clone(),
        };
        let id = store.create_campaign(&new).await?;
        let campaign = find(store, &id.to_string()).await?;
        if !self.json {
            output::print(&format!(
                "Campaign {} is a draft: number {id}, from sender {}.",
                campaign.name, campaign.sender
            ))?;
        }
        let imported = match file {
            Some(file) => Some(file.import(context, store, &campaign, &by).await?),
            None => None,
        };
        if self.json {
            return output::print_json(
                &serde_json::json!({ "campaign": campaign.name, "id": id, "import": imported }),
            );
        }
        if let Some(imported) = imported {
            output::print(imported.in_words())?;
        }
        output::print(&format!(
            "Check it: wa-outbox campaign preflight {0}; then start it: wa-outbox campaign start {0}",
            shell::word(&campaign.name)
        ))
    }
}

impl Import {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let campaign = find(store, &self.campaign).await?;
        let mut file = self.reading.open(&self.file)?;
        file.must_fill(&template(&campaign.payload)?)?;
        let imported = if self.dry_run {
            file.dialled_by(store, &campaign.sender).await?;
            file.check(context).await?
        } else {
            file.import(context, store, &campaign, &by).await?
        };
        if self.json {
            output::print_json(&imported)?;
        } else {
            output::print(imported.in_words())?;
        }
        imported.must_have_used_some()
    }
}

impl Verb {
    async fn run(self, context: &Context, verb: CampaignVerb) -> anyhow::Result<()> {
        if self.reason.is_none() && matches!(verb, CampaignVerb::Pause | CampaignVerb::Cancel) {
            let fix = "say why, for those who find it so: --reason TEXT";
            return Err(Problem::usage("there is no reason", fix).into());
        }
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let campaign = find(store, &self.campaign).await?;
        let lost = store.campaign_lost_answers(campaign.id).await?;
        let is_changed = store
            .lead_campaign(campaign.id, verb, &by, self.reason.as_deref())
            .await?;
        let counts = store.campaign_counts(campaign.id).await?;
        let mut says = crate::standing::campaign::after(&campaign, verb, is_changed, &counts, lost);
        if verb == CampaignVerb::Start && is_changed && campaign.preflight_at.is_none() {
            says += &format!(
                "\nIts recipients were not checked; it is not too late: wa-outbox campaign preflight {}",
                shell::word(&campaign.name)
            );
        }
        output::print(&says)
    }
}

impl Set {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let to_end_it = format!(
            "write a later time; to end it: wa-outbox campaign cancel {} --reason …",
            shell::word(&self.campaign)
        );
        let mut change = self.settings.change(context.clock().now(), &to_end_it)?;
        if let Some(path) = &self.template {
            let payload = send::read_payload(path)?;
            template(&payload)?;
            change.payload = Some(RawValue::from_string(payload)?);
        } else if self.settings == Settings::default() {
            let fix = "name what to change; see: wa-outbox campaign set --help";
            return Err(Problem::usage("there is nothing to change", fix).into());
        }
        let by = context.author(self.by)?;
        let store = context.store().await?;
        let campaign = find(store, &self.campaign).await?;
        store
            .set_campaign(campaign.id, &change, &by, self.reason.as_deref())
            .await?;
        output::print(&format!("Campaign {} was changed.", campaign.name))
    }
}

/// A template as a person has written it, or the reason why it is none.
fn template(payload: &str) -> anyhow::Result<Template> {
    Template::parse(payload).map_err(|error| {
        let fix = match error {
            TemplateError::NotJson { .. } => "correct it there",
            TemplateError::Unclosed { .. } | TemplateError::BadName { .. } => {
                "see: wa-outbox campaign create --help"
            }
        };
        Problem::failed("the template cannot be used", fix)
            .because(error)
            .into()
    })
}

/// The campaign of that name or number.
async fn find(store: &Store, named: &str) -> anyhow::Result<Campaign> {
    store
        .campaign(&CampaignKey::from(named))
        .await?
        .veiled(Eyes::CLOSED)
        .ok_or_else(|| {
            let fix = "see which there are: wa-outbox campaign list";
            Problem::failed(format!("there is no campaign {named}"), fix).into()
        })
}
