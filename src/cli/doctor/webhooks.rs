//! Webhooks and what waits for a person.

use time::Duration;

use super::{Findings, READ_WITHIN, Told, read_within};
use crate::cli::Context;
use crate::config::Config;
use crate::domain::text::chain;
use crate::secret::shared::SharedSecrets;
use crate::standing::time::stamp;
use crate::store::Store;
use crate::store::checkup::WebhookFacts;

/// A delivery that waits longer than this is not being applied.
const APPLIED_WITHIN: Duration = Duration::minutes(1);

/// Checks the settings of webhooks, and with a database how they come in.
pub(super) async fn check(
    context: &Context,
    config: &Config,
    store: Option<&Store>,
    told: &mut Told,
) -> anyhow::Result<()> {
    let mut found = Findings::about("webhooks");
    secrets(context, config, &mut found).await;
    if let Some(store) = store {
        match store.webhook_facts().await {
            Ok(facts) => arrivals(&facts, &mut found),
            Err(error) => found.unanswered("arrivals", &error),
        }
    }
    told.tell(found)?;
    let Some(store) = store else { return Ok(()) };
    let mut found = Findings::about("messages");
    waiting(store, &mut found).await;
    told.tell(found)
}

async fn secrets(context: &Context, config: &Config, found: &mut Findings) {
    let (config, env) = (config.clone(), context.env().clone());
    let read = read_within(READ_WITHIN, move || {
        let secrets = (config.app_secrets(&env), config.unsigned_secrets(&env));
        (secrets, config.verify_token(&env))
    });
    let Some((secrets, verify_token)) = read.await else {
        let fix = "see that the disks work that the files named in [webhook] are on";
        return found.broken("secret", "a file that holds one gives no answer", fix);
    };
    match secrets {
        (Err(error), _) | (_, Err(error)) => {
            found.broken("secret", chain(&error), "put the secret where the setting says");
        }
        (Ok(signed), Ok(shared)) if signed.is_empty() && shared.is_empty() => found.broken(
            "secret",
            "no secret is set here, so every delivery is refused",
            "set WHATSAPP_APP_SECRET to the secret of your Meta app; for who signs nothing, webhook.unsigned_secrets",
        ),
        (Ok(signed), Ok(shared)) => {
            let (of_app, of_others) = (signed.len(), shared.len());
            match SharedSecrets::new(shared) {
                Ok(_) => found.fine("secret", format!("{of_app} of an app, {of_others} shared with who signs nothing")),
                Err(error) => found.broken("secret", format!("webhook.unsigned_secrets: {error}"), "make a longer one"),
            }
        }
    }
    match verify_token {
        Ok(Some(_)) => found.fine("verify token", "set"),
        Ok(None) => found.note(
            "verify token",
            "none is set, so Meta cannot be given this receiver's address",
            "set WHATSAPP_VERIFY_TOKEN, unless the address is subscribed already",
        ),
        Err(error) => found.broken(
            "verify token",
            chain(&error),
            "put it where the setting says",
        ),
    }
}

fn arrivals(facts: &WebhookFacts, found: &mut Findings) {
    match facts.is_listening {
        true => found.fine("receiver", "one listens"),
        false => found.note(
            "receiver",
            "none listens",
            "start one: wa-outbox run --roles webhook",
        ),
    }
    match facts.last_delivery_at {
        Some(at) => found.fine("last delivery", format!("came at {}", stamp(at))),
        None => found.note(
            "last delivery",
            "none has ever come",
            "subscribe this receiver's public address at your provider, field messages",
        ),
    }
    if let Some(oldest) = facts
        .oldest_pending_at
        .filter(|at| facts.now - *at > APPLIED_WITHIN)
    {
        let words = format!(
            "deliveries are not applied; the oldest came at {}",
            stamp(oldest)
        );
        found.broken(
            "inbox",
            words,
            "see the log of the receiver: wa-outbox run --roles webhook",
        );
    } else if facts.bad > 0 {
        let words = format!("{} deliveries could not be read as a whole", facts.bad);
        found.note(
            "inbox",
            words,
            "select * from wa.webhook_inbox where state = 'bad'",
        );
    } else {
        found.fine("inbox", "everything that came is applied");
    }
}

async fn waiting(store: &Store, found: &mut Findings) {
    match store.waiting_facts().await {
        Ok(facts) => {
            match facts.uncertain {
                0 => found.fine("uncertain", "none waits for a person"),
                count => found.note(
                    "uncertain",
                    format!("{count} wait for a person"),
                    "wa-outbox uncertain list",
                ),
            }
            match facts.held_templates {
                0 => found.fine("templates", "none is held"),
                count => found.note(
                    "templates",
                    format!("{count} are held: their messages wait"),
                    "wa-outbox template list",
                ),
            }
        }
        Err(error) => found.unanswered("waiting", &error),
    }
}
