//! What the Graph API tells of tokens and accounts (Meta, "Debug-Token" and "Subscribed Apps").

use serde_json::json;

use super::door::authorise;
use super::http::{Request, Response};
use super::status::ACCOUNT;
use super::world::World;

/// The app that all tokens are taken to be of.
const APP: &str = "670843887433847";

/// What tokens may do, and whether the app hears of the account.
#[derive(Clone, Debug)]
pub(super) struct Grants {
    pub(super) scopes: Vec<String>,
    /// In seconds since 1970; 0 is never.
    pub(super) expires_at_s: u64,
    pub(super) is_subscribed: bool,
}

impl Default for Grants {
    fn default() -> Self {
        let scopes = [
            "whatsapp_business_management",
            "whatsapp_business_messaging",
        ];
        Self {
            scopes: scopes.map(str::to_owned).to_vec(),
            expires_at_s: 0,
            is_subscribed: true,
        }
    }
}

/// `GET /{version}/debug_token` and `GET /{version}/{account}/subscribed_apps`; `None` if the path is neither.
pub(super) fn answer(world: &World, request: &Request) -> Option<Response> {
    let (version, place) = request.path.strip_prefix('/')?.split_once('/')?;
    if !version.starts_with('v') {
        return None;
    }
    let grants = world.grants().clone();
    let body = match place.split_once('/') {
        None if place == "debug_token" => json!({
            "data": {
                "app_id": APP,
                "type": "SYSTEM_USER",
                "is_valid": true,
                "expires_at": grants.expires_at_s,
                "scopes": grants.scopes,
            }
        }),
        Some((account, "subscribed_apps")) => {
            let app = json!({ "whatsapp_business_api_data": { "id": APP, "name": "Practice" } });
            let is_heard = grants.is_subscribed && account == ACCOUNT;
            json!({ "data": if is_heard { vec![app] } else { Vec::new() } })
        }
        None | Some(_) => return None,
    };
    Some(match authorise(world, request) {
        Ok(()) => Response::json(200, &body),
        Err(error) => error.response(0),
    })
}
