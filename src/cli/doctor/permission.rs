//! What a sender's token may do, and whether WhatsApp tells this app anything about its account.

use time::{Duration, OffsetDateTime};

use super::Findings;
use crate::provider::permission::{MANAGEMENT, MESSAGING, TokenFacts};
use crate::provider::{Endpoint, Provider};
use crate::standing::time::stamp;

/// A token that ends sooner should be replaced now.
const ENDS_SOON: Duration = Duration::days(7);

/// One sender that its provider lets in.
pub(super) struct Asked<'a> {
    pub(super) provider: &'a Provider,
    pub(super) endpoint: &'a Endpoint,
    /// Where its token is read from.
    pub(super) credential: &'a str,
    /// Its account, where a webhook has named it.
    pub(super) account: Option<&'a str>,
    pub(super) now: OffsetDateTime,
}

impl Asked<'_> {
    /// Checks the token, and the subscription of the account. Says nothing where the provider cannot be asked.
    pub(super) async fn check(&self, found: &mut Findings) {
        let Some(said) = self.provider.token_facts(self.endpoint).await else {
            return;
        };
        let facts = match said {
            Ok(facts) => {
                self.token(&facts, found);
                Some(facts)
            }
            Err(why) => {
                let fix = "look it up in Meta's access token debugger";
                found.note(
                    "token",
                    format!("it lets us in; what else it may do is not told: {why}"),
                    fix,
                );
                None
            }
        };
        self.subscription(facts.as_ref(), found).await;
    }

    fn token(&self, facts: &TokenFacts, found: &mut Findings) {
        let fix = format!(
            "make one for a system user with {MESSAGING} and {MANAGEMENT}, and put it where {} leads",
            self.credential
        );
        let may = |scope: &str| facts.scopes.iter().any(|one| one == scope);
        let left = facts.expires_at.map(|at| (at, at - self.now));
        match left {
            _ if !facts.is_valid => found.broken("token", "Meta calls it invalid", fix),
            _ if !may(MESSAGING) => found.broken(
                "token",
                format!("it lacks {MESSAGING}, without which nothing is sent"),
                fix,
            ),
            Some((at, left)) if left <= ENDS_SOON => found.note(
                "token",
                format!("it ends at {}: then nothing leaves until there is another", stamp(at)),
                fix,
            ),
            _ if !may(MANAGEMENT) => found.note(
                "token",
                format!("it may send, and lacks {MANAGEMENT}: whether webhooks are subscribed cannot be asked with it"),
                fix,
            ),
            Some((at, _)) => found.fine("token", format!("it may send, until {}", stamp(at))),
            None => found.fine("token", "it may send, and does not end"),
        }
    }

    async fn subscription(&self, token: Option<&TokenFacts>, found: &mut Findings) {
        let known = self.account.or_else(|| token?.account.as_deref());
        let Some(account) = known else {
            let words = "which account the sender belongs to is not known before its first webhook";
            return found.note("subscription", words, "send one message and look again");
        };
        let Some(said) = self.provider.subscribed_apps(self.endpoint, account).await else {
            return;
        };
        let subscribe = format!(
            "subscribe the app, with its token: POST …/{account}/subscribed_apps (Meta, \"Subscribed Apps\")"
        );
        let ours = token.and_then(|token| token.app.as_deref());
        match said {
            Err(why) => found.note(
                "subscription",
                format!("whether one hears of account {account} is not told: {why}"),
                subscribe,
            ),
            Ok(apps) if apps.is_empty() => found.broken(
                "subscription",
                format!("no app hears of account {account}, so no webhook comes"),
                subscribe,
            ),
            Ok(apps) if ours.is_some_and(|ours| apps.iter().all(|app| app != ours)) => found.note(
                "subscription",
                format!("another app than the token's hears of account {account}"),
                subscribe,
            ),
            Ok(_) => found.fine("subscription", format!("an app hears of account {account}")),
        }
    }
}
