//! `wa-outbox simulate`: a WhatsApp to practise on, as a program.
//!
//! It is for made-up tokens on this machine: it listens on the loopback unless told otherwise in so many words, and
//! refuses an access token that looks like one of Meta's.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Url;
use tokio::signal::unix::{SignalKind, signal};

use crate::simulator::{
    Fault, FaultPlan, LedgerSettings, OnPremises, PairLimit, Posting, Settings, Simulator, Status,
    Statuses, Webhook, WebhookFault,
};

/// Holds the secret that webhooks are signed with.
const SECRET_VARIABLE: &str = "WHATSAPP_APP_SECRET";

/// Run a WhatsApp to practise on: the Cloud API, providers before it and the On-Premises client, with faults on demand.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,

    /// Allow an address that other machines can reach. Anyone who reaches it can read the ledger.
    #[arg(long)]
    allow_public: bool,

    /// Where to post status webhooks, such as http://127.0.0.1:8080/webhook. They are signed with
    /// WHATSAPP_APP_SECRET, or else with a secret made up and shown at the start.
    #[arg(long, value_name = "URL", value_parser = address)]
    webhook_url: Option<String>,

    /// Where to post the bare statuses of the On-Premises client's messages, such as
    /// http://127.0.0.1:8080/webhook/unsigned/SECRET. They carry no signature.
    #[arg(long, value_name = "URL", value_parser = address)]
    bare_webhook_url: Option<String>,

    /// Which statuses an accepted message gets: sent, delivered, read, played (voice only).
    #[arg(
        long,
        value_name = "STATUS,…",
        value_delimiter = ',',
        default_value = "sent,delivered,read"
    )]
    statuses: Vec<Status>,

    /// Most statuses in one webhook.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    webhook_batch: u16,

    /// How long each send takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,

    /// Up to how much longer it takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    jitter_ms: u64,

    /// Requests per second of each number, beyond which 130429 is answered; 0 is no limit.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 80)]
    rate: u32,

    /// Meta's limit of messages to one recipient: 45 at once, one in six seconds; beyond it 131056.
    #[arg(long, value_name = "on|off", default_value = "on")]
    pair_limit: Switch,

    /// What the dice for faults are cast from: the same seed, the same faults.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// A fault and its share of requests, from 0 to 1; may be given again.
    #[arg(long, value_name = "NAME=PROBABILITY", value_parser = share::<Fault>)]
    fault: Vec<(Fault, f64)>,

    /// A fault of the status webhooks and its share of accepted messages; may be given again.
    #[arg(long, value_name = "NAME=PROBABILITY", value_parser = share::<WebhookFault>)]
    webhook_fault: Vec<(WebhookFault, f64)>,

    /// How many requests the ledger keeps; beyond it the oldest are dropped.
    #[arg(long, value_name = "COUNT", default_value_t = 200_000)]
    ledger_size: usize,

    /// Keep no bodies in the ledger.
    #[arg(long)]
    compact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Options {
    /// Runs until interrupted, then says what happened.
    pub async fn run(self) -> anyhow::Result<()> {
        let given = std::env::var(SECRET_VARIABLE)
            .ok()
            .filter(|secret| !secret.is_empty());
        let made_up = given.is_none() && self.webhook_url.is_some();
        let secret = given.unwrap_or_else(|| format!("practice-{:016x}", fastrand::u64(..)));
        let simulator = Simulator::start(self.settings(&secret)?)
            .await
            .context("the simulator did not start")?;
        print!(
            "{}",
            self.welcome(&simulator.base_url(), made_up.then_some(secret.as_str()))
        );
        interrupted()
            .await
            .context("could not wait for a signal to end")?;
        println!("\n{:#}", simulator.summary());
        simulator.stop().await;
        Ok(())
    }

    fn settings(&self, app_secret: &str) -> anyhow::Result<Settings> {
        if !self.listen.ip().is_loopback() && !self.allow_public {
            bail!(
                "{} can be reached from other machines, and what the simulator is sent could be read there: \
                 listen on 127.0.0.1, or add --allow-public",
                self.listen.ip()
            );
        }
        let webhook = self.webhook_url.clone().map(|url| Webhook {
            url,
            app_secret: app_secret.to_owned(),
        });
        Ok(Settings {
            listen: self.listen,
            refuse_real_tokens: true,
            latency: Duration::from_millis(self.latency_ms),
            jitter: Duration::from_millis(self.jitter_ms),
            rate_per_second: (self.rate > 0).then_some(self.rate),
            pair_limit: (self.pair_limit == Switch::On).then_some(PairLimit::META),
            faults: FaultPlan {
                seed: self.seed,
                probabilities: self.fault.clone(),
                webhook_probabilities: self.webhook_fault.clone(),
                ..FaultPlan::default()
            },
            webhook,
            statuses: Statuses::only(&self.statuses),
            posting: Posting {
                batch: self.webhook_batch.into(),
                ..Posting::default()
            },
            ledger: LedgerSettings {
                capacity: self.ledger_size,
                compact: self.compact,
                tellings: false,
            },
            on_premises: OnPremises {
                webhook_url: self.bare_webhook_url.clone(),
                ..OnPremises::default()
            },
            ..Settings::default()
        })
    }

    fn welcome(&self, base_url: &str, made_up_secret: Option<&str>) -> String {
        let mut text = format!("The simulator listens on {base_url}. Point wa-outbox at it:\n\n");
        let mut line = |line: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        line(format!("  export WHATSAPP_API_BASE={base_url}"));
        line("  export WHATSAPP_PHONE_NUMBER_ID=106540352242922".to_owned());
        line("  export WHATSAPP_ACCESS_TOKEN=practice".to_owned());
        if let Some(secret) = made_up_secret {
            line(format!("  export {SECRET_VARIABLE}={secret}"));
        }
        line(String::new());
        match &self.webhook_url {
            Some(url) => line(format!("Status webhooks go to {url}.")),
            None => line("No status webhooks: give --webhook-url to get them.".to_owned()),
        }
        line(format!(
            "What it took: {base_url}/_sim/ledger and {base_url}/_sim/summary. End with ctrl-c."
        ));
        text
    }
}

/// Waits for ctrl-c, or for the SIGTERM that a container is stopped with.
async fn interrupted() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

/// An address that can be posted to.
fn address(given: &str) -> Result<String, &'static str> {
    match Url::parse(given) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(given.to_owned())
        }
        Ok(_) | Err(_) => Err("write an address such as http://127.0.0.1:8080/webhook"),
    }
}

/// Reads `NAME=PROBABILITY`.
fn share<F: FromStr>(given: &str) -> Result<(F, f64), String>
where
    F::Err: ToString,
{
    let (name, share) = given
        .split_once('=')
        .ok_or("write NAME=PROBABILITY, such as hang=0.01")?;
    let fault = name.parse().map_err(|error: F::Err| error.to_string())?;
    match share.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok((fault, share)),
        Ok(_) | Err(_) => Err(format!(
            "{share:?} is no probability: give a number from 0 to 1"
        )),
    }
}

fn after_help() -> String {
    let list = |names: Vec<String>| names.join(", ");
    format!(
        "Faults: {}.\n\nWebhook faults: {}.\n\n\
         A number behind a colon is an error code, for too_many_requests seconds, for late milliseconds.\n\n\
         Paths: /v23.0/ID/messages and /v23.0/ID/marketing_messages (Cloud API), /messages and /ID/messages (a BSP),\n\
         /v1/users/login, /v1/messages and /v1/health (On-Premises client; DELETE /_sim/sessions ends its sessions),\n\
         /x/v1/messages (a BSP that answers like that client, as Turn does).\n\n\
         Example: a busy day with a bad network\n  \
         wa-outbox simulate --webhook-url http://127.0.0.1:8080/webhook --latency-ms 80 --jitter-ms 120 \\\n    \
         --fault accept_then_drop_answer=0.01 --fault error:131026=0.02 --webhook-fault doubled=0.05\n\n\
         Example: one fault for the next request to one recipient, while it runs\n  \
         curl http://127.0.0.1:8090/_sim/faults -d '{{\"recipient\":\"+16505551234\",\"next\":[\"hang\"]}}'",
        list(Fault::ALL.iter().map(Fault::to_string).collect()),
        list(
            WebhookFault::ALL
                .iter()
                .map(WebhookFault::to_string)
                .collect()
        ),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        Line::try_parse_from(["simulate"].iter().chain(arguments)).map(|line| line.options)
    }

    #[test]
    fn options_become_settings() {
        let given = [
            "--fault",
            "error:131026=0.25",
            "--fault",
            "hang=0.5",
            "--rate",
            "0",
            "--pair-limit",
            "off",
        ];
        let settings = options(&given)
            .expect("options")
            .settings("secret")
            .expect("settings");
        assert_eq!(
            settings.faults.probabilities,
            [(Fault::Error(131026), 0.25), (Fault::Hang, 0.5)]
        );
        assert_eq!(
            (settings.rate_per_second, settings.pair_limit),
            (None, None)
        );

        let usual = options(&[])
            .expect("options")
            .settings("secret")
            .expect("settings");
        assert_eq!(
            (usual.rate_per_second, usual.pair_limit),
            (Some(80), Some(PairLimit::META))
        );
        assert!(usual.refuse_real_tokens && usual.webhook.is_none());
    }

    #[test]
    fn a_public_address_is_refused_unless_it_is_allowed() {
        let refused = options(&["--listen", "0.0.0.0:8090"])
            .expect("options")
            .settings("secret");
        assert!(
            refused
                .expect_err("public")
                .to_string()
                .contains("--allow-public")
        );
        let allowed = options(&["--listen", "0.0.0.0:8090", "--allow-public"])
            .expect("options")
            .settings("secret");
        assert!(allowed.is_ok());
    }

    #[test]
    fn a_wrong_fault_or_share_is_refused_with_what_is_right() {
        let error = |fault| {
            options(&["--fault", fault])
                .expect_err("refused")
                .to_string()
        };
        assert!(error("explode=0.1").contains("accept_then_drop_answer"));
        assert!(error("hang=2").contains("from 0 to 1"));
        assert!(error("hang").contains("NAME=PROBABILITY"));
    }

    #[test]
    fn webhooks_go_to_an_address() {
        for flag in ["--webhook-url", "--bare-webhook-url"] {
            for wrong in [
                "notaurl",
                "localhost:8080/webhook",
                "ftp://127.0.0.1/x",
                "http://",
            ] {
                let said = options(&[flag, wrong]).expect_err("refused").to_string();
                assert!(
                    said.contains(&format!("invalid value '{wrong}' for '{flag} <URL>'"))
                        && said.contains("such as http://127.0.0.1:8080/webhook"),
                    "{said}"
                );
            }
            assert!(options(&[flag, "https://app.example.com/webhook"]).is_ok());
        }
    }

    #[test]
    fn a_given_secret_is_not_shown_and_a_made_up_one_is() {
        let options = options(&["--webhook-url", "http://127.0.0.1:1/webhook"]).expect("options");
        assert!(!options.welcome("http://x", None).contains(SECRET_VARIABLE));
        assert!(
            options
                .welcome("http://x", Some("made-up"))
                .contains("WHATSAPP_APP_SECRET=made-up")
        );
        assert!(
            options
                .welcome("http://x", None)
                .contains("WHATSAPP_API_BASE=http://x")
        );
    }
}
