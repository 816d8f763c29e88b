//! The dashboard: pages inside the program, for whoever must know what the queue does and act on it.
//!
//! A page is made by the server and is whole without a script. A live page asks for its parts by one connection (server-sent events):
//! every two seconds the parts are made anew, and those that have changed are sent. Every look is bounded, so a page costs the same
//! whatever is queued. A deed has a page of its own that says what it concerns; it is done by a form of the session that asked, with a
//! reason, and is written into the audit first.

mod action;
mod assets;
mod chart;
mod layout;
mod live;
mod page;
mod pages;
pub(super) mod session;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use maud::{Markup, html};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use action::{Action, Given, NotDone, Preview};
use layout::{Shown, bare, framed, verdict};
use page::Page;
use session::{Role, Sessions, Visitor, cleaned};

use crate::clock::Clock;
use crate::domain::id::MessageId;
use crate::domain::mask::Eyes;
use crate::standing::facts::plain;
use crate::standing::reason::Reason;
use crate::standing::veil::Veil;
use crate::store::audit::Deed;
use crate::store::uncertain::UncertainPolicy;
use crate::store::{Store, StoreError};

/// Live pages at once, of all who look.
const LIVE_AT_MOST: usize = 64;
/// Of these, of one session, or of one address without any.
const LIVE_OF_ONE: usize = 16;
/// A page that the database kept from being made is asked for again.
const TRIED_AGAIN_AFTER_S: u16 = 5;
/// A reason is read by people.
const REASON_AT_MOST: usize = 500;

/// What the pages need.
pub(super) struct Dashboard {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) sessions: Arc<Sessions>,
    /// What workers do with lost answers where neither message nor sender says.
    pub(super) policy: UncertainPolicy,
    /// Ends what would go on for ever.
    pub(super) stop: CancellationToken,
    live: Arc<live::Places>,
}

type Fields = BTreeMap<String, String>;

impl Dashboard {
    pub(super) fn new(
        store: Store,
        clock: Clock,
        sessions: Arc<Sessions>,
        policy: UncertainPolicy,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            clock,
            sessions,
            policy,
            stop,
            live: Arc::default(),
        }
    }

    /// Where a message stands and why.
    async fn sentence(&self, id: i64) -> Result<String, NotDone> {
        let Some(message) = self.store.message(MessageId(id)).await? else {
            return Err(NotDone::Because(format!("there is no message {id}")));
        };
        let (message, eyes) = (message.veiled(Eyes::CLOSED), Eyes::CLOSED);
        let reason = Reason::of(&self.store, self.policy, &message, eyes).await?;
        Ok(reason.sentence(&message, self.clock.now()))
    }

    fn form_word(&self, visitor: &Visitor) -> Option<String> {
        visitor
            .session
            .and_then(|session| self.sessions.form_word(session))
    }

    /// Whether a form comes from a page of ours: it carries its session's word. A script that shows its token needs none, for no page
    /// of others can make a browser show it.
    fn is_ours(&self, visitor: &Visitor, fields: &Fields) -> bool {
        visitor.session.map_or(visitor.shows_token, |session| {
            let word = fields.get("form").map_or("", String::as_str);
            self.sessions.knows_form(session, word)
        })
    }

    fn page(
        &self,
        status: StatusCode,
        visitor: &Visitor,
        shown: &Shown,
        heading: &str,
        live: Option<&str>,
    ) -> Response {
        let word = self.form_word(visitor);
        let body = framed(visitor, word.as_deref(), shown, heading, live);
        (status, Html(body.into_string())).into_response()
    }

    /// Instead of a page that was asked for. Where only the database was away the browser asks again by itself, and needs no script
    /// for that; what was posted is for a person to repeat.
    fn no_page(&self, visitor: &Visitor, trouble: Trouble) -> Response {
        let comes_back = matches!(&trouble, Trouble::Store(error) if !error.is_missing_right());
        if !comes_back {
            return self.trouble(visitor, trouble);
        }
        let mut response = self.told(visitor, trouble, " This page tries again by itself.");
        let headers = response.headers_mut();
        headers.insert(header::REFRESH, HeaderValue::from(TRIED_AGAIN_AFTER_S));
        response
    }

    fn trouble(&self, visitor: &Visitor, trouble: Trouble) -> Response {
        self.told(visitor, trouble, "")
    }

    /// `then`: what comes after an error of the database.
    fn told(&self, visitor: &Visitor, trouble: Trouble, then: &str) -> Response {
        let (status, title, words) = match trouble {
            Trouble::NotThere(words) => (StatusCode::NOT_FOUND, "Not there", words),
            Trouble::NotAllowed => (
                StatusCode::FORBIDDEN,
                "Not allowed",
                "Only an operator may do that. Log out, and log in with the token of operators.".to_owned(),
            ),
            Trouble::NotOurs => (
                StatusCode::FORBIDDEN,
                "Not done",
                "The form was not one of your session, or the session has ended meanwhile. Open the page again and repeat it.".to_owned(),
            ),
            Trouble::NotDone(words) => (StatusCode::CONFLICT, "Not done", format!("Nothing was done: {words}.")),
            Trouble::Store(error) => {
                warn!(error = &error as &dyn std::error::Error, "A page of the dashboard could not be made");
                let words = match error.is_missing_right() {
                    true => "The role that this process has in the database may not read that.".to_owned(),
                    false => format!("The database did not answer as it should: {error}.{then}"),
                };
                (StatusCode::SERVICE_UNAVAILABLE, "The database does not answer", words)
            }
        };
        let shown = Shown::new(title).section("trouble", verdict(layout::Tone::Bad, &words));
        self.page(status, visitor, &shown, "", None)
    }
}

/// Why a page cannot be shown, or a deed not be done.
enum Trouble {
    NotThere(String),
    NotAllowed,
    NotOurs,
    NotDone(String),
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotDone> for Trouble {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Because(words) => Self::NotDone(words.trim_end_matches('.').to_owned()),
            NotDone::Store(error) => Self::Store(error),
        }
    }
}

/// The routes of the dashboard. Who may ask was looked at before.
pub(super) fn routes(dashboard: Arc<Dashboard>) -> Router {
    Router::new()
        .route("/assets/{name}", get(assets::asset))
        .route("/live", get(live::live))
        .route("/search", post(search))
        .route("/confirm/{verb}/{target}", get(confirm).post(act))
        .fallback(get(show))
        .layer(map_response(guarded_headers))
        .with_state(dashboard)
}

/// Nothing of another origin is loaded, framed or told where we were; no script but ours runs.
pub(super) async fn guarded_headers(mut response: Response) -> Response {
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
             frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    // What is personal is not kept by a browser; files of ours say themselves how long they may be.
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A page.
async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    visitor: Option<Extension<Visitor>>,
    uri: Uri,
) -> Response {
    // Below the open files nobody was asked who they are, and no page lies there.
    let Some(Extension(visitor)) = visitor else {
        return assets::not_there();
    };
    let Some(page) = Page::at(&uri) else {
        let words = "There is no page at this address.".to_owned();
        return dashboard.no_page(&visitor, Trouble::NotThere(words));
    };
    match pages::make(&dashboard, &visitor, &page).await {
        Ok(shown) => {
            let address = uri
                .path_and_query()
                .map(axum::http::uri::PathAndQuery::as_str);
            dashboard.page(StatusCode::OK, &visitor, &shown, page.heading(), address)
        }
        Err(trouble) => dashboard.no_page(&visitor, trouble),
    }
}

/// What is searched for may be a number, so it is posted, and stands in no address.
async fn search(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(visitor): Extension<Visitor>,
    Form(fields): Form<Fields>,
) -> Response {
    if !dashboard.is_ours(&visitor, &fields) {
        return dashboard.trouble(&visitor, Trouble::NotOurs);
    }
    let sought = fields.get("q").map_or("", |text| text.trim());
    let sought = if is_storable(sought) { sought } else { "" };
    let id = sought.strip_prefix('#').unwrap_or(sought);
    if sought.is_empty() {
        return Redirect::to("/messages").into_response();
    }
    if let Ok(id) = id.parse::<i64>() {
        match dashboard.store.message(MessageId(id)).await {
            Ok(Some(_)) => return Redirect::to(&format!("/messages/{id}")).into_response(),
            Ok(None) => {}
            Err(error) => return dashboard.trouble(&visitor, error.into()),
        }
    }
    let number = visitor
        .session
        .and_then(|session| dashboard.sessions.remember(session, sought));
    match number {
        Some(number) => Redirect::to(&format!("/messages?search={number}")).into_response(),
        None => dashboard.trouble(&visitor, Trouble::NotOurs),
    }
}

/// What a deed would do, and the form that does it.
async fn confirm(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(visitor): Extension<Visitor>,
    Path((verb, target)): Path<(String, String)>,
) -> Response {
    let made = async {
        let action = Action::parse(&verb, &target)
            .ok_or_else(|| Trouble::NotThere("There is no such deed.".to_owned()))?;
        if visitor.role != Role::Operator {
            return Err(Trouble::NotAllowed);
        }
        let preview = action.preview(&dashboard).await?;
        Ok((action, preview))
    };
    match made.await {
        Ok((action, preview)) => {
            let word = dashboard.form_word(&visitor).unwrap_or_default();
            let shown = Shown::new(preview.title.clone())
                .section("confirm", confirmation(&action, &preview, &visitor, &word));
            dashboard.page(StatusCode::OK, &visitor, &shown, "", None)
        }
        Err(trouble) => dashboard.no_page(&visitor, trouble),
    }
}

fn confirmation(action: &Action, preview: &Preview, visitor: &Visitor, word: &str) -> Markup {
    html! {
        @for (place, sentence) in preview.says.iter().enumerate() {
            @if place == 0 { (verdict(preview.tone, sentence)) } @else { p { (plain(sentence)) } }
        }
        form.confirm method="post" {
            input type="hidden" name="form" value=(word);
            @if let Some(asks) = &preview.asks { (asks) }
            label for="reason" { "Why, for those who read it later" }
            input #reason name="reason" required maxlength=(REASON_AT_MOST) autocomplete="off";
            @if visitor.name.is_none() {
                label for="by" { "Who you are" }
                input #by name="by" required maxlength="80" autocomplete="name";
            }
            div.buttons {
                button class={ "do " (preview.tone.class()) } { (preview.button) }
                a.button href=(action.page()) { "Leave it" }
            }
        }
    }
}

/// Does it.
async fn act(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(visitor): Extension<Visitor>,
    Path((verb, target)): Path<(String, String)>,
    Form(fields): Form<Fields>,
) -> Response {
    match done(&dashboard, &visitor, &verb, &target, &fields).await {
        Ok(page) => Redirect::to(&page).into_response(),
        Err(trouble) => dashboard.trouble(&visitor, trouble),
    }
}

async fn done(
    dashboard: &Dashboard,
    visitor: &Visitor,
    verb: &str,
    target: &str,
    fields: &Fields,
) -> Result<String, Trouble> {
    let action = Action::parse(verb, target)
        .ok_or_else(|| Trouble::NotThere("There is no such deed.".to_owned()))?;
    if !dashboard.is_ours(visitor, fields) {
        return Err(Trouble::NotOurs);
    }
    if visitor.role != Role::Operator {
        return Err(Trouble::NotAllowed);
    }
    let given = |name: &str| {
        fields
            .get(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty() && is_storable(text))
    };
    let Some(reason) = given("reason").filter(|reason| reason.chars().count() <= REASON_AT_MOST)
    else {
        return Err(Trouble::NotDone(format!(
            "say why, in 1 to {REASON_AT_MOST} characters"
        )));
    };
    let by = || fields.get("by").and_then(|by| cleaned(by));
    let Some(by) = visitor.name.clone().or_else(by) else {
        return Err(Trouble::NotDone("say who you are".to_owned()));
    };
    if let (Some(session), None) = (visitor.session, &visitor.name) {
        dashboard.sessions.call(session, &by);
    }
    let deed = Deed {
        author: &by,
        role: visitor.role.as_str(),
        address: &visitor.address.to_string(),
        what: action.verb(),
        target: &action.target(),
        reason: &reason,
    };
    let event = dashboard.store.begin_deed(&deed).await?;
    let ran = action
        .run(
            dashboard,
            &Given {
                visitor,
                by: &by,
                reason: &reason,
                fields,
            },
        )
        .await;
    let (outcome, succeeded) = match &ran {
        Ok(says) => (says.clone(), true),
        Err(NotDone::Because(words)) => (words.clone(), false),
        Err(NotDone::Store(error)) => (error.to_string(), false),
    };
    info!(
        "{by} did {} to {} by the dashboard ({})",
        action.verb(),
        action.target(),
        if succeeded { "done" } else { "not done" }
    );
    dashboard.store.end_deed(event, &outcome, succeeded).await?;
    ran?;
    Ok(action.page())
}

/// The login. `next`: the page that was asked for; `wrong`: what was wrong with the last try.
pub(super) fn login_page(next: &str, wrong: Option<&str>) -> Response {
    let body = html! {
        main #main.login {
            h1 { span.mark aria-hidden="true" { "▶" } " wa-outbox" }
            @if let Some(wrong) = wrong { (verdict(layout::Tone::Bad, wrong)) }
            form action="/login" method="post" {
                input type="hidden" name="next" value=(next);
                label for="name" { "Your name, for the audit" }
                input #name name="name" required maxlength="80" autocomplete="username" autofocus;
                label for="token" { "Token of operators or viewers" }
                input #token name="token" type="password" required autocomplete="current-password";
                button { "Log in" }
            }
            p.nothing { "The token is what WA_OUTBOX_ADMIN_TOKEN or the setting admin.viewer_token leads to." }
        }
    };
    let status = if wrong.is_some() {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::OK
    };
    (status, Html(bare("Log in", body).into_string())).into_response()
}

/// Whether Postgres has such a text at all: none holds a NUL, and a look for one would end as if the database were away.
fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// A page of ours to go to, whatever was asked for.
pub(super) fn page_of_ours(next: &str) -> &str {
    let is_ours = next
        .parse::<Uri>()
        .is_ok_and(|uri| uri.authority().is_none() && Page::at(&uri).is_some());
    if is_ours && next.starts_with('/') && !next.starts_with("//") {
        next
    } else {
        "/"
    }
}
