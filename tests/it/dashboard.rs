//! The dashboard: who may look and act, what a page shows and hides, and that every deed is written down.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::json;
use wa_outbox::config::{Config, SecretRef};
use wa_outbox::message::OnUncertain;
use wa_outbox::service::{Role, Service};
use wa_outbox::simulator::{Fault, Statuses};
use wa_outbox::store::campaign::{CampaignKey, NewCampaign};

use crate::support::callbacks::a_status;
use crate::support::make::{ALICE, a_text};
use crate::support::said::{self, HIDDEN, MASKED};
use crate::support::world::{SENDER, World, quick_settings};

pub(crate) const OPERATOR: &str = "token-of-the-operators";
pub(crate) const VIEWER: &str = "token-of-the-viewers";

/// Somebody with a browser that follows nothing by itself.
struct Browser<'a> {
    world: &'a World,
    cookie: Option<String>,
}

struct Seen {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Seen {
    fn leads_to(&self) -> &str {
        self.headers
            .get(LOCATION)
            .map_or("", |to| to.to_str().expect("text"))
    }

    /// The word that the page's forms carry.
    fn form_word(&self) -> &str {
        let (_, rest) = self
            .text
            .split_once("name=\"form\" value=\"")
            .expect("a form of the session");
        rest.split('"').next().expect("its end")
    }
}

impl<'a> Browser<'a> {
    fn new(world: &'a World) -> Self {
        Self {
            world,
            cookie: None,
        }
    }

    /// One that has logged in.
    async fn logged_in(world: &'a World, name: &str, token: &str) -> Self {
        let mut browser = Self::new(world);
        let seen = browser
            .post(
                "/login",
                &[("name", name), ("token", token), ("next", "/senders")],
            )
            .await;
        assert_eq!(
            (seen.status, seen.leads_to()),
            (303, "/senders"),
            "{}",
            seen.text
        );
        browser
    }

    async fn get(&mut self, path: &str) -> Seen {
        let request = client()
            .get(self.world.admin_url(path))
            .header("Accept", "text/html");
        self.ask(request).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let fields: BTreeMap<_, _> = fields.iter().copied().collect();
        let request = client()
            .post(self.world.admin_url(path))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(serde_urlencoded::to_string(&fields).expect("a form"));
        self.ask(request).await
    }

    async fn ask(&mut self, mut request: reqwest::RequestBuilder) -> Seen {
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let answer = request.send().await.expect("an answer");
        let headers = answer.headers().clone();
        if let Some(set) = headers.get(SET_COOKIE) {
            let set = set.to_str().expect("text");
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        Seen {
            status: answer.status().as_u16(),
            headers,
            text: answer.text().await.expect("a body"),
        }
    }

    /// Does something as a person does: opens the form, fills it in, sends it.
    async fn does(&mut self, deed: &str, fields: &[(&str, &str)]) -> Seen {
        let form = self.get(&format!("/confirm/{deed}")).await;
        assert_eq!(form.status, 200, "{}", form.text);
        let word = form.form_word().to_owned();
        let mut fields = fields.to_vec();
        fields.push(("form", &word));
        self.post(&format!("/confirm/{deed}"), &fields).await
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .tls_certs_only([])
        .redirect(Policy::none())
        .build()
        .expect("a client")
}

/// A world whose listener knows an operator's and a viewer's token.
pub(crate) async fn guarded() -> World {
    let mut config: Config = quick_settings();
    config.admin.token = Some(SecretRef::Env("OPERATORS".to_owned()));
    config.admin.viewer_token = Some(SecretRef::Env("VIEWERS".to_owned()));
    let mut world = World::at_rest_with(config).await;
    world.env.extend([
        ("OPERATORS".to_owned(), OPERATOR.to_owned()),
        ("VIEWERS".to_owned(), VIEWER.to_owned()),
    ]);
    world.start_service().await;
    world
}

async fn hold(world: &World) {
    let held = world
        .store
        .hold_sender(&SENDER.into(), "a test", "ada", None)
        .await;
    assert!(held.expect("an answer"));
}

/// Every page that needs nothing to exist.
pub(crate) const PAGES: [&str; 12] = [
    "/",
    "/?span=24h",
    "/senders",
    "/messages",
    "/messages?state=failed",
    "/campaigns",
    "/sequences",
    "/sequences?all=yes",
    "/failures",
    "/uncertain",
    "/webhooks",
    "/audit",
];

#[tokio::test]
async fn every_page_is_there_and_lets_no_foreign_script_run() {
    let world = World::start().await;
    let id = world.enqueue(a_text()).await;
    world.until_status(id, "read").await;
    let mut browser = Browser::new(&world);
    let more = [format!("/messages/{id}"), format!("/senders/{SENDER}")];
    for path in PAGES.into_iter().chain(more.iter().map(String::as_str)) {
        let seen = browser.get(path).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.text);
        let policy = seen.headers["content-security-policy"]
            .to_str()
            .expect("text");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(
            !seen.text.contains(" style=") && !seen.text.contains(" onclick="),
            "{path}"
        );
        assert_eq!(seen.headers["cache-control"], "no-store");
    }
    for path in [
        "/nothing",
        "/messages/999999",
        "/senders/nobody",
        "/campaigns/7",
        "/sequences/of/1",
    ] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_recipient_is_masked_until_an_operator_reveals_it_and_that_is_written_down() {
    let world = World::start().await;
    hold(&world).await;
    let id = world.enqueue(a_text().saying("a word for Alice")).await;
    let mut browser = Browser::new(&world);
    let page = format!("/messages/{id}");
    for path in [page.as_str(), "/messages"] {
        let seen = browser.get(path).await;
        assert!(seen.text.contains("+165…01"), "{}", seen.text);
        assert!(!seen.text.contains(ALICE) && !seen.text.contains("a word for Alice"));
    }
    let done = browser
        .does(
            &format!("reveal/{id}"),
            &[("reason", "she called"), ("by", "ada")],
        )
        .await;
    assert_eq!((done.status, done.leads_to()), (303, page.as_str()));
    let seen = browser.get(&page).await;
    assert!(seen.text.contains(ALICE) && seen.text.contains("a word for Alice"));
    // To this session only, and only this message.
    let other = Browser::new(&world).get(&page).await;
    assert!(!other.text.contains(ALICE));
    assert!(!browser.get("/messages").await.text.contains(ALICE));
    let audit = browser.get("/audit").await;
    assert!(audit.text.contains("she called") && audit.text.contains("ada (operator)"));
    assert!(!audit.text.contains(ALICE));
}

#[tokio::test]
async fn a_message_is_found_by_what_somebody_has_of_it_and_the_number_stands_in_no_address() {
    let world = World::start().await;
    let mut draft = a_text();
    draft.0.reference = Some("order-17".into());
    let id = world.enqueue(draft).await;
    let wamid = world.until_status(id, "read").await.wamid.expect("a wamid");
    let mut browser = Browser::new(&world);
    let word = browser.get("/").await.form_word().to_owned();
    for sought in [ALICE, "+1 650-555 1001", "order-17", wamid.as_str()] {
        let seen = browser
            .post("/search", &[("q", sought), ("form", &word)])
            .await;
        assert!(seen.leads_to().starts_with("/messages?search="), "{sought}");
        let found = browser.get(seen.leads_to()).await;
        assert!(
            found.text.contains(&format!("/messages/{id}\"")),
            "{sought}: {}",
            found.text
        );
    }
    let by_id = browser
        .post("/search", &[("q", &format!("#{id}")), ("form", &word)])
        .await;
    assert_eq!(by_id.leads_to(), format!("/messages/{id}"));
    let nothing = browser
        .post("/search", &[("q", "order-18"), ("form", &word)])
        .await;
    let found = browser.get(nothing.leads_to()).await;
    assert!(found.text.contains("No message has that"), "{}", found.text);
}

#[tokio::test]
async fn a_deed_is_done_by_a_form_of_the_session_with_a_reason_and_by_nothing_else() {
    let world = World::start().await;
    let mut browser = Browser::new(&world);
    let deed = format!("hold-sender/{SENDER}");
    let path = format!("/confirm/{deed}");
    let word = browser.get(&path).await.form_word().to_owned();
    let foreign = Browser::new(&world).get(&path).await.form_word().to_owned();
    for (fields, status) in [
        (vec![("reason", "why"), ("by", "ada")], 403),
        (
            vec![("reason", "why"), ("by", "ada"), ("form", foreign.as_str())],
            403,
        ),
        (vec![("by", "ada"), ("form", word.as_str())], 409),
        (vec![("reason", "why"), ("form", word.as_str())], 409),
        (
            vec![
                ("reason", "why"),
                ("by", "ada"),
                ("minutes", "-1"),
                ("form", word.as_str()),
            ],
            409,
        ),
    ] {
        assert_eq!(
            browser.post(&path, &fields).await.status,
            status,
            "{fields:?}"
        );
    }
    let standing = async || {
        world
            .store
            .sender_standings(None)
            .await
            .expect("senders")
            .pop()
            .expect("one")
    };
    assert_eq!(standing().await.held_reason, None);
    let done = browser
        .does(&deed, &[("reason", "under review"), ("by", "ada")])
        .await;
    assert_eq!(done.leads_to(), format!("/senders/{SENDER}"));
    let held = standing().await;
    assert_eq!(
        (held.held_reason.as_deref(), held.held_by.as_deref()),
        (Some("under review"), Some("ada"))
    );
    // Who they are is known from now on.
    let done = browser
        .does(
            &format!("release-sender/{SENDER}"),
            &[("reason", "reviewed")],
        )
        .await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(standing().await.held_reason, None);
    let told: Vec<_> = world
        .store
        .audit(None, 10)
        .await
        .expect("the audit")
        .into_iter()
        .map(|event| (event.what, event.succeeded))
        .collect();
    assert_eq!(
        told,
        [
            ("release-sender".to_owned(), Some(true)),
            ("hold-sender".to_owned(), Some(true)),
            ("hold-sender".to_owned(), Some(false)),
        ]
    );
}

#[tokio::test]
async fn a_viewer_looks_and_does_nothing() {
    let world = guarded().await;
    let mut viewer = Browser::logged_in(&world, "eve", VIEWER).await;
    for path in PAGES {
        assert_eq!(viewer.get(path).await.status, 200, "{path}");
    }
    let path = format!("/confirm/hold-sender/{SENDER}");
    assert_eq!(viewer.get(&path).await.status, 403);
    let word = viewer.get("/").await.form_word().to_owned();
    let tried = viewer
        .post(&path, &[("reason", "why"), ("form", &word)])
        .await;
    assert_eq!(tried.status, 403);
    assert!(
        world
            .store
            .audit(None, 1)
            .await
            .expect("the audit")
            .is_empty()
    );
    let mut operator = Browser::logged_in(&world, "ada", OPERATOR).await;
    let done = operator
        .does(&format!("hold-sender/{SENDER}"), &[("reason", "why")])
        .await;
    assert_eq!(done.status, 303, "{}", done.text);
}

#[tokio::test]
async fn a_browser_without_a_session_is_led_to_the_login_and_back() {
    let world = guarded().await;
    let mut browser = Browser::new(&world);
    let seen = browser.get("/messages?state=failed").await;
    assert_eq!(
        (seen.status, seen.leads_to()),
        (303, "/login?next=%2Fmessages%3Fstate%3Dfailed")
    );
    let login = browser.get(seen.leads_to()).await;
    assert!(
        login.text.contains("value=\"/messages?state=failed\""),
        "{}",
        login.text
    );
    let wrong = browser
        .post("/login", &[("name", "ada"), ("token", "guess")])
        .await;
    assert_eq!(wrong.status, 401);
    // Nobody is led elsewhere by a link to the login.
    let away = browser
        .post(
            "/login",
            &[
                ("name", "ada"),
                ("token", OPERATOR),
                ("next", "//evil.example/"),
            ],
        )
        .await;
    assert_eq!((away.status, away.leads_to()), (303, "/"));
    let cookie = away.headers[SET_COOKIE].to_str().expect("text");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    let word = browser.get("/").await.form_word().to_owned();
    assert_eq!(
        browser.post("/logout", &[("form", &word)]).await.leads_to(),
        "/login"
    );
    assert_eq!(browser.get("/senders").await.status, 303);
}

#[tokio::test]
async fn a_logout_by_a_form_of_others_leaves_session_and_cookie_as_they_are() {
    let world = guarded().await;
    let mut browser = Browser::logged_in(&world, "ada", OPERATOR).await;
    for fields in [&[("form", "guess")][..], &[]] {
        let tried = browser.post("/logout", fields).await;
        assert_eq!(tried.status, 403, "{}", tried.text);
        assert!(!tried.headers.contains_key(SET_COOKIE));
    }
    assert_eq!(browser.get("/senders").await.status, 200);
    let word = browser.get("/").await.form_word().to_owned();
    let kept = browser.cookie.clone();
    let ended = browser.post("/logout", &[("form", &word)]).await;
    assert!(
        ended.headers[SET_COOKIE]
            .to_str()
            .expect("text")
            .contains("Max-Age=0")
    );
    browser.cookie = kept;
    assert_eq!(
        browser.get("/senders").await.leads_to(),
        "/login?next=%2Fsenders"
    );
}

#[tokio::test]
async fn a_text_that_cannot_be_stored_is_not_told_as_an_outage() {
    let world = World::start().await;
    let mut browser = Browser::new(&world);
    for path in [
        "/messages?sender=%00",
        "/messages?state=failed%00&status=%00read",
        "/failures?sender=a%00b",
        "/sequences?all=yes&sender=%00",
        "/uncertain?before=%00",
        "/live?at=%2Fnothing%3Fsender%3D%2500",
    ] {
        let seen = browser.get(path).await;
        assert_ne!(seen.status, 503, "{path}: {}", seen.text);
    }
    let word = browser.get("/").await.form_word().to_owned();
    for sought in ["\0", "order\0-17", "wamid.\0"] {
        let seen = browser
            .post("/search", &[("q", sought), ("form", &word)])
            .await;
        assert_eq!(seen.status, 303, "{}", seen.text);
        assert_eq!(browser.get(seen.leads_to()).await.status, 200, "{sought:?}");
    }
    let reason = browser
        .post(
            &format!("/confirm/hold-sender/{SENDER}"),
            &[("reason", "wh\0y"), ("by", "ada"), ("form", &word)],
        )
        .await;
    assert_eq!(reason.status, 409, "{}", reason.text);
}

#[tokio::test]
async fn who_does_something_is_one_short_line_in_log_and_audit() {
    let world = World::start().await;
    let mut browser = Browser::new(&world);
    let by = format!("eve\n\u{1b}[31m WARN FORGED \0{}", "x".repeat(60_000));
    let done = browser
        .does(
            &format!("hold-sender/{SENDER}"),
            &[("reason", "why"), ("by", &by)],
        )
        .await;
    assert_eq!(done.status, 303, "{}", done.text);
    let author = world
        .store
        .audit(None, 1)
        .await
        .expect("the audit")
        .remove(0)
        .author;
    assert!(author.starts_with("eve[31m WARN FORGED xxx"), "{author:?}");
    assert_eq!(author.chars().count(), 80);
    let word = browser.get("/").await.form_word().to_owned();
    // What it is done to stands in the same line.
    let forged = browser
        .post(
            &format!("/confirm/hold-sender/{SENDER}%0aWARN"),
            &[("reason", "why"), ("by", "ada"), ("form", &word)],
        )
        .await;
    assert_eq!(forged.status, 404, "{}", forged.text);
    let nobody = Browser::new(&world)
        .does(
            &format!("hold-sender/{SENDER}"),
            &[("reason", "why"), ("by", "\n\0")],
        )
        .await;
    assert_eq!(nobody.status, 409, "{}", nobody.text);
}

#[tokio::test]
async fn a_number_in_a_text_of_whatsapps_is_masked_like_the_recipient() {
    let world = guarded().await;
    world.simulator.set_statuses(Statuses::none());
    let id = world.enqueue(a_text()).await;
    let wamid = world
        .until_state(id, "accepted")
        .await
        .wamid
        .expect("a wamid");
    let number = ALICE.trim_start_matches('+');
    let mut failed = a_status(&wamid, "failed", 1_800_000_000);
    failed["errors"] = json!([{
        "code": 131_026,
        "title": format!("Message to {number} undeliverable"),
        "message": format!("Message to {number} undeliverable"),
        "error_data": {"details": format!("The number +{number} is not on WhatsApp")},
    }]);
    world.deliver(&[failed]).await;
    let mut viewer = Browser::logged_in(&world, "eve", VIEWER).await;
    let page = format!("/messages/{id}");
    for path in [page.as_str(), "/messages", "/failures"] {
        let seen = viewer.get(path).await;
        assert!(!seen.text.contains(number), "{path}: {}", seen.text);
        assert!(seen.text.contains("165…01"), "{path}: {}", seen.text);
    }
    let mut operator = Browser::logged_in(&world, "ada", OPERATOR).await;
    let done = operator
        .does(&format!("reveal/{id}"), &[("reason", "she called")])
        .await;
    assert_eq!(done.status, 303, "{}", done.text);
    let seen = operator.get(&page).await;
    assert!(
        seen.text.contains(&format!("The number +{number} is not")),
        "{}",
        seen.text
    );
}

#[tokio::test]
async fn no_page_shows_a_number_that_whatsapp_names_or_is_steered_by_its_words() {
    let mut world = World::at_rest().await;
    let told = said::everywhere(&world).await;
    let store = world.store.clone();
    let admin = Service::start(
        store,
        &world.config,
        &world.env,
        &BTreeSet::from([Role::Admin]),
    )
    .await;
    world.service = Some(admin.expect("it starts"));
    let mut browser = Browser::new(&world);
    let telling = [
        "/".to_owned(),
        "/senders".to_owned(),
        format!("/senders/{SENDER}"),
        format!("/senders/{}", said::UNHELD),
        "/messages".to_owned(),
        format!("/messages/{}", told.queued),
        format!("/messages/{}", told.waiting),
        format!("/messages/{}", told.failed),
        "/campaigns".to_owned(),
        "/campaigns/1".to_owned(),
        "/sequences".to_owned(),
        format!("/sequences/of/{}", told.waiting),
        "/failures?since=all".to_owned(),
        "/uncertain".to_owned(),
        format!("/confirm/release-sender/{SENDER}"),
        format!("/confirm/resume-sequence/{}", told.waiting),
        format!("/confirm/cancel-message/{}", told.queued),
    ];
    for path in telling.iter().map(String::as_str).chain(PAGES) {
        let seen = browser.get(path).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.text);
        for hidden in HIDDEN {
            assert!(
                !seen.text.contains(hidden),
                "{path} shows {hidden:?}: {}",
                seen.text
            );
        }
        let tells = telling.iter().any(|one| one == path);
        assert!(
            seen.text.contains(MASKED) || !tells,
            "{path}: {}",
            seen.text
        );
    }
}

#[tokio::test]
async fn tokens_cannot_be_guessed_at_the_login_without_end() {
    let world = guarded().await;
    let mut browser = Browser::new(&world);
    for guess in 0..10 {
        let tried = browser
            .post(
                "/login",
                &[("name", "eve"), ("token", &format!("guess-{guess}"))],
            )
            .await;
        assert_eq!(tried.status, 401);
    }
    let right = browser
        .post("/login", &[("name", "eve"), ("token", OPERATOR)])
        .await;
    assert_eq!(right.status, 429);
}

#[tokio::test]
async fn without_a_token_the_listener_answers_to_this_machines_names_only() {
    let world = World::start().await;
    let named = async |host: &'static str| {
        let request = client().get(world.admin_url("/senders")).header(
            HeaderName::from_static("host"),
            HeaderValue::from_static(host),
        );
        request.send().await.expect("an answer").status().as_u16()
    };
    for host in ["localhost:8081", "127.0.0.1", "[::1]:8081", "LOCALHOST"] {
        assert_eq!(named(host).await, 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:8081",
        "localhost.evil.example",
    ] {
        assert_eq!(named(host).await, 421, "{host}");
    }
}

#[tokio::test]
async fn a_live_page_sends_what_has_changed_and_ends_with_the_service() {
    let mut world = World::start().await;
    let request = client().get(world.admin_url("/live?at=%2Fmessages"));
    let mut events = request.send().await.expect("an answer");
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut until = async |words: &str| {
        let reading = async {
            while !text.contains(words) {
                let chunk = events
                    .chunk()
                    .await
                    .expect("it goes on")
                    .expect("it goes on");
                text += std::str::from_utf8(&chunk).expect("text");
            }
        };
        tokio::time::timeout(crate::support::world::PATIENCE, reading)
            .await
            .unwrap_or_else(|_| panic!("it never told {words:?}"));
    };
    until("No message is like that").await;
    let id = world.enqueue(a_text()).await;
    until(&format!("/messages/{id}\\\"")).await;
    assert!(world.stop_service().await);
    while let Ok(Some(_)) = events.chunk().await {}
}

#[tokio::test]
async fn an_uncertain_message_is_resolved_by_what_a_person_knows() {
    let world = World::start().await;
    world.simulator.fault_next(ALICE, Fault::CloseAfterReading);
    let id = world
        .enqueue(a_text().on_uncertain(OnUncertain::Hold))
        .await;
    world.until_state(id, "uncertain").await;
    let mut browser = Browser::new(&world);
    let listed = browser.get("/uncertain").await;
    assert!(
        listed.text.contains(&format!("/confirm/not-sent/{id}")),
        "{}",
        listed.text
    );
    let no_wamid = browser
        .does(
            &format!("accepted/{id}"),
            &[("reason", "seen"), ("by", "ada"), ("wamid", "4711")],
        )
        .await;
    assert_eq!(no_wamid.status, 409, "{}", no_wamid.text);
    let done = browser
        .does(&format!("not-sent/{id}"), &[("reason", "nothing came")])
        .await;
    assert_eq!(done.status, 303, "{}", done.text);
    let ended = world.until_state(id, "failed").await;
    assert_eq!(
        ended.error_message.as_deref(),
        Some("not sent, says ada: nothing came")
    );
    let word = done_word(&mut browser).await;
    let again = browser
        .post(
            &format!("/confirm/not-sent/{id}"),
            &[("reason", "again"), ("form", &word)],
        )
        .await;
    assert_eq!(again.status, 409, "{}", again.text);
}

async fn done_word(browser: &mut Browser<'_>) -> String {
    browser.get("/").await.form_word().to_owned()
}

#[tokio::test]
async fn a_campaign_is_started_paused_and_resumed_by_a_person() {
    let world = World::start().await;
    let campaign = NewCampaign {
        name: "spring".into(),
        payload:
            r#"{"type":"template","template":{"name":"hello_world","language":{"code":"en_US"}}}"#
                .into(),
        by: "ada".into(),
        ..NewCampaign::default()
    };
    let id = world
        .store
        .create_campaign(&campaign)
        .await
        .expect("a campaign");
    let mut browser = Browser::new(&world);
    for (verb, state) in [
        ("start", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("cancel", "cancelled"),
    ] {
        let done = browser
            .does(
                &format!("{verb}-campaign/{id}"),
                &[("reason", "by the plan"), ("by", "ada")],
            )
            .await;
        assert_eq!(
            done.leads_to(),
            format!("/campaigns/{id}"),
            "{verb}: {}",
            done.text
        );
        let found = world
            .store
            .campaign(&CampaignKey::Id(id))
            .await
            .expect("an answer")
            .expect("the campaign");
        assert_eq!(
            (found.state.as_str(), found.state_changed_by.as_str()),
            (state, "ada")
        );
        let page = browser.get(&format!("/campaigns/{id}")).await;
        assert!(page.text.contains("by the plan"), "{}", page.text);
    }
}

#[tokio::test]
async fn the_page_of_a_message_that_was_throttled_for_days_stays_small() {
    let world = World::start().await;
    hold(&world).await;
    let id = world.enqueue(a_text()).await;
    world
        .run_sql(&format!(
            "insert into wa.attempts (id, sender, attempt, begun_at, outcome, error_code)
             select {id}, '{SENDER}', n, now(), 'deferred', 130429 from generate_series(1, 5000) as n"
        ))
        .await;
    let seen = Browser::new(&world).get(&format!("/messages/{id}")).await;
    assert_eq!(seen.status, 200);
    assert!(seen.text.contains("… 4,880 more requests;"));
    assert!(seen.text.len() < 100_000, "{} bytes", seen.text.len());
}

#[tokio::test]
async fn a_page_that_the_database_kept_from_being_made_is_asked_for_again_by_itself() {
    let world = World::start().await;
    let mut browser = Browser::new(&world);
    let word = browser.get("/messages").await.form_word().to_owned();
    // It answers, and every look fails.
    world.run_sql("alter schema wa rename to elsewhere").await;
    let promise = "tries again by itself";
    for path in ["/messages", "/", "/confirm/hold-sender/4711"] {
        let seen = browser.get(path).await;
        assert_eq!(seen.status, 503, "{path}: {}", seen.text);
        assert_eq!(seen.headers["refresh"], "5", "{path}");
        assert!(seen.text.contains(promise), "{path}: {}", seen.text);
    }
    let posted = browser
        .post("/search", &[("q", "17"), ("form", &word)])
        .await;
    assert_eq!(posted.status, 503, "{}", posted.text);
    assert!(!posted.headers.contains_key("refresh") && !posted.text.contains(promise));
    world.run_sql("alter schema elsewhere rename to wa").await;
    let seen = browser.get("/messages").await;
    assert_eq!(seen.status, 200);
    assert!(!seen.headers.contains_key("refresh"));
}

#[tokio::test]
async fn who_opens_no_page_takes_no_session_of_those_who_look() {
    let world = World::start().await;
    let mut browser = Browser::new(&world);
    let word = browser.get("/messages").await.form_word().to_owned();
    for (path, name, value) in [
        ("/assets/app.js", "Accept", "text/html"),
        ("/messages", "Accept", "*/*"),
        ("/live?at=/messages", "Accept", "text/event-stream"),
        ("/messages", "Sec-Fetch-Dest", "iframe"),
    ] {
        let request = client().get(world.admin_url(path)).header(name, value);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        assert!(!answer.headers().contains_key(SET_COOKIE), "{path}");
    }
    // A form of another page carries no cookie, so it has no session whose word it could know.
    let mut other = Browser::new(&world);
    let fields = [("reason", "x"), ("by", "eve"), ("form", &word)];
    let deed = format!("/confirm/hold-sender/{SENDER}");
    let refused = other.post(&deed, &fields).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(other.cookie.is_none());

    let done = browser.post(&deed, &fields).await;
    assert_eq!(done.status, 303, "{}", done.text);
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_shows_no_rows_and_says_what_could_be() {
    let world = World::start().await;
    hold(&world).await;
    let id = world.enqueue(a_text()).await;
    let (row, mut browser) = (format!("/messages/{id}\""), Browser::new(&world));
    for (query, says) in [
        ("code=13x", "13x is no code of WhatsApp's. Write a number"),
        ("before=x", "x is no message to go on before"),
        ("state=gone", "There is no state gone. There are: queued,"),
        ("status=seen", "There is no status seen. There are: "),
        (
            "campaign=spring",
            "There is no campaign spring. Write its name or its number",
        ),
        ("search=7", "not known any more"),
    ] {
        let seen = browser.get(&format!("/messages?{query}")).await;
        assert_eq!(seen.status, 200, "{query}");
        assert!(seen.text.contains(says), "{query}: {}", seen.text);
        assert!(!seen.text.contains(&row), "{query}");
    }
    for query in ["", "?state=queued&code=&campaign="] {
        let seen = browser.get(&format!("/messages{query}")).await;
        assert!(seen.text.contains(&row), "{query}: {}", seen.text);
    }
}

#[tokio::test]
async fn messages_of_a_campaign_are_found_by_its_name_and_by_its_number() {
    let world = World::start().await;
    hold(&world).await;
    let campaign = NewCampaign {
        name: "spring sale".into(),
        payload:
            r#"{"type":"template","template":{"name":"hello_world","language":{"code":"en_US"}}}"#
                .into(),
        by: "ada".into(),
        ..NewCampaign::default()
    };
    let id = world.store.create_campaign(&campaign).await.expect("one");
    world
        .run_sql(&format!(
            "insert into wa.outbox (recipient, campaign_id, variables) values ('{ALICE}', {id}, '{{}}')"
        ))
        .await;
    let other = world.enqueue(a_text()).await.0;
    let mut browser = Browser::new(&world);
    for campaign in ["spring+sale", &id.to_string()] {
        let seen = browser.get(&format!("/messages?campaign={campaign}")).await;
        let lists = |id: i64| seen.text.contains(&format!("/messages/{id}\""));
        assert!(lists(other - 1) && !lists(other), "{}", seen.text);
    }
}
