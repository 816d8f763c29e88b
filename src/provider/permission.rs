//! What a token may do and who hears of an account, as the Graph API tells it. Sends nothing.

use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::address::Endpoint;
use super::client::Provider;
use super::kind::HarmlessCall;

/// The permission without which no message is sent (Meta, "Permissions").
pub const MESSAGING: &str = "whatsapp_business_messaging";
/// The one without which nothing is told of accounts, templates and subscriptions.
pub const MANAGEMENT: &str = "whatsapp_business_management";

/// What Meta says of a token (Meta, "Debug-Token").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// Whether it lets in.
    pub is_valid: bool,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it ends; none where it does not.
    pub expires_at: Option<OffsetDateTime>,
    /// The app that it was made for.
    pub app: Option<String>,
    /// The one account that it is for, where it is for one.
    pub account: Option<String>,
}

#[derive(Deserialize)]
struct Debugged {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    is_valid: bool,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    expires_at: i64,
    app_id: Option<String>,
    #[serde(default)]
    granular_scopes: Vec<Granular>,
}

#[derive(Deserialize)]
struct Granular {
    scope: String,
    #[serde(default)]
    target_ids: Vec<String>,
}

impl Provider {
    /// What the token of `endpoint` may do; `None` where nobody can be asked that.
    ///
    /// # Errors
    /// In the provider's words, when it does not say.
    pub async fn token_facts(&self, endpoint: &Endpoint) -> Option<Result<TokenFacts, String>> {
        let mut url = graph(endpoint, &["debug_token"])?;
        url.query_pairs_mut()
            .append_pair("input_token", endpoint.credential.expose_secret());
        Some(
            self.ask(endpoint, url)
                .await
                .and_then(|answer| facts(&answer)),
        )
    }

    /// The ids of the apps that hear of an account; `None` where nobody can be asked that.
    ///
    /// # Errors
    /// In the provider's words, when it does not say.
    pub async fn subscribed_apps(
        &self,
        endpoint: &Endpoint,
        account: &str,
    ) -> Option<Result<Vec<String>, String>> {
        let url = graph(endpoint, &[account, "subscribed_apps"])?;
        let apps = |answer: Value| {
            let all = answer.get("data").and_then(Value::as_array).cloned();
            let id = |app: &Value| {
                let id = app.pointer("/whatsapp_business_api_data/id")?;
                id.as_str().map(str::to_owned)
            };
            all.map(|all| all.iter().filter_map(id).collect())
                .ok_or_else(|| "nothing that can be read".to_owned())
        };
        Some(self.ask(endpoint, url).await.and_then(apps))
    }
}

/// A place of the Graph API that the endpoint's sender is at; `None` where it is at none.
fn graph(endpoint: &Endpoint, place: &[&str]) -> Option<Url> {
    let call = endpoint.kind.capabilities().harmless_call;
    if call != Some(HarmlessCall::ReadNumber) {
        return None;
    }
    let mut url = endpoint.url.clone();
    // Behind the version stand the number and what is posted to.
    let mut segments = url.path_segments_mut().ok()?;
    segments.pop().pop().extend(place);
    drop(segments);
    Some(url)
}

fn facts(answer: &Value) -> Result<TokenFacts, String> {
    let read = Debugged::deserialize(answer);
    let Debugged { data } = read.map_err(|_| "nothing that can be read".to_owned())?;
    let of_messaging = data
        .granular_scopes
        .iter()
        .find(|one| one.scope == MESSAGING);
    let account = of_messaging.and_then(|one| match one.target_ids.as_slice() {
        [account] => Some(account.clone()),
        _ => None,
    });
    Ok(TokenFacts {
        is_valid: data.is_valid,
        scopes: data.scopes,
        expires_at: Some(data.expires_at)
            .filter(|at| *at > 0)
            .and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()),
        app: data.app_id,
        account,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_without_an_end_and_for_one_account_is_understood() {
        let answer = json!({"data": {"app_id": "7", "type": "SYSTEM_USER", "is_valid": true, "expires_at": 0,
            "scopes": [MANAGEMENT, MESSAGING], "granular_scopes": [{"scope": MESSAGING, "target_ids": ["102"]}]}});
        let expected = TokenFacts {
            is_valid: true,
            scopes: vec![MANAGEMENT.to_owned(), MESSAGING.to_owned()],
            expires_at: None,
            app: Some("7".to_owned()),
            account: Some("102".to_owned()),
        };
        assert_eq!(facts(&answer), Ok(expected));
        assert!(facts(&json!({"data": []})).is_err());
    }

    #[test]
    fn the_graph_is_asked_below_its_version() {
        let endpoint = Endpoint::for_tests("https://graph.facebook.com/v23.0/1065/messages");
        let url = graph(&endpoint, &["102", "subscribed_apps"]).expect("an address");
        assert_eq!(url.path(), "/v23.0/102/subscribed_apps");
    }
}
