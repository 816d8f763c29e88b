//! The dashboard in a real browser: what a person sees, clicks and types.

use serde_json::json;
use wa_outbox::message::OnUncertain;
use wa_outbox::simulator::Fault;
use wa_outbox::store::campaign::{CampaignKey, NewCampaign};

use crate::dashboard::{OPERATOR, PAGES, VIEWER, guarded};
use crate::support::chromium::Chromium;
use crate::support::make::{ALICE, a_text};
use crate::support::world::{SENDER, World};

impl Chromium {
    async fn goes_to(&self, world: &World, path: &str) {
        let address = world.admin_url(path);
        self.window.goto(&address).await.expect("a page");
    }

    /// Opens a page without a session, and logs in.
    async fn logs_in(&self, world: &World, path: &str, token: &str) {
        self.goes_to(world, path).await;
        self.types("input[name=name]", "ada").await;
        self.types("input[name=token]", token).await;
        self.clicks("Log in").await;
        // (Where it was has a #main, too.)
        let address = world.admin_url(path).parse().expect("an address");
        let arrived = self.window.wait().for_url(&address).await;
        arrived.expect("the page that was asked for");
        self.sees("#main").await;
    }

    /// Says why and does what the form offers.
    async fn confirms(&self, words: &str) {
        self.types("#reason", "by the plan").await;
        self.clicks(words).await;
    }
}

#[tokio::test]
async fn a_person_logs_in_finds_a_message_and_reads_its_timeline() {
    let Some(person) = Chromium::open(1280, 800).await else {
        return;
    };
    let world = guarded().await;
    let mut draft = a_text().saying("a word for Alice");
    draft.0.reference = Some("order-17".into());
    let id = world.enqueue(draft).await;
    world.until_status(id, "read").await;

    person.goes_to(&world, "/messages").await;
    person.types("input[name=name]", "ada").await;
    person.types("input[name=token]", "a guess").await;
    person.clicks("Log in").await;
    person.reads("That is not a token of this listener").await;
    person.logs_in(&world, "/messages", OPERATOR).await;
    assert_eq!(person.is_at().await, "/messages");

    // The key leads to the search, and Enter sends it.
    person.types("body", "/").await;
    let focused = person.asks("document.activeElement.id").await;
    assert_eq!(focused, "q");
    person.types("#q", "order-17\u{e007}").await;
    let page = format!("/messages/{id}");
    person.follows(&page).await;
    person.reads("+165…01").await;
    let timeline = person.sees(".timeline").await.text().await.expect("text");
    for word in ["accepted", "sent", "delivered", "read"] {
        assert!(timeline.to_lowercase().contains(word), "{word}: {timeline}");
    }
    let masked = person.text().await;
    assert!(!masked.contains(ALICE) && !masked.contains("a word for Alice"));

    person.clicks("Reveal recipient and content").await;
    person.confirms("Reveal it").await;
    person.reads(ALICE).await;
    person.reads("a word for Alice").await;
    person.goes_to(&world, "/audit").await;
    person.reads("by the plan").await;
    person.close().await;
}

#[tokio::test]
async fn a_person_pauses_a_campaign_and_resumes_it() {
    let Some(person) = Chromium::open(1280, 800).await else {
        return;
    };
    let world = guarded().await;
    let campaign = NewCampaign {
        name: "spring".into(),
        payload:
            r#"{"type":"template","template":{"name":"hello_world","language":{"code":"en_US"}}}"#
                .into(),
        by: "ada".into(),
        ..NewCampaign::default()
    };
    let id = world.store.create_campaign(&campaign).await.expect("one");
    let state = async || {
        let campaign = world.store.campaign(&CampaignKey::Id(id)).await;
        campaign.expect("an answer").expect("the campaign").state
    };
    person.logs_in(&world, "/campaigns", OPERATOR).await;
    let page = format!("/campaigns/{id}");
    person.follows(&page).await;
    for (words, says, becomes) in [
        ("Start it", "Start it", "running"),
        ("Pause it", "Pause it", "paused"),
        ("Resume it", "Resume it", "running"),
    ] {
        person.clicks(words).await;
        person.sees("form.confirm").await;
        // Whoever leaves the form has done nothing.
        let before = state().await;
        person.clicks("Leave it").await;
        assert_eq!(
            (person.is_at().await, state().await),
            (page.clone(), before)
        );
        person.clicks(words).await;
        person.sees("form.confirm").await;
        person.confirms(says).await;
        person.sees("#main[data-live]").await;
        assert_eq!(person.is_at().await, page);
        assert_eq!(state().await, becomes);
    }
    person.close().await;
}

#[tokio::test]
async fn a_person_resolves_an_uncertain_message() {
    let Some(person) = Chromium::open(1280, 800).await else {
        return;
    };
    let world = guarded().await;
    world.simulator.fault_next(ALICE, Fault::CloseAfterReading);
    let id = world
        .enqueue(a_text().on_uncertain(OnUncertain::Hold))
        .await;
    world.until_state(id, "uncertain").await;
    person.logs_in(&world, "/uncertain", OPERATOR).await;
    person.clicks("Not sent").await;
    person.sees("form.confirm").await;
    person.confirms("It was not sent").await;
    let ended = world.until_state(id, "failed").await;
    assert_eq!(
        ended.error_message.as_deref(),
        Some("not sent, says ada: by the plan")
    );
    person.close().await;
}

#[tokio::test]
async fn a_viewer_finds_nothing_to_click_and_is_refused_at_the_address() {
    let Some(person) = Chromium::open(1280, 800).await else {
        return;
    };
    let world = guarded().await;
    let page = format!("/senders/{SENDER}");
    person.logs_in(&world, &page, VIEWER).await;
    let off = person.sees("main .button.off").await;
    assert_eq!(off.text().await.expect("text"), "Hold it");
    off.click().await.expect("a click");
    assert_eq!(person.is_at().await, page);
    person
        .goes_to(&world, &format!("/confirm/hold-sender/{SENDER}"))
        .await;
    person.reads("Only an operator may do that").await;
    person.close().await;
}

#[tokio::test]
async fn a_page_changes_while_a_person_looks_at_it() {
    let Some(person) = Chromium::open(1280, 800).await else {
        return;
    };
    let world = World::start().await;
    let sender = SENDER.into();
    let held = world
        .store
        .hold_sender(&sender, "a test", "ada", None)
        .await;
    assert!(held.expect("an answer"));
    let id = world.enqueue(a_text()).await;
    person.goes_to(&world, &format!("/messages/{id}")).await;
    person.reads("Live").await;
    person.reads("a test").await;
    // It stays behind only where the page is not loaded again.
    person.asks("window.isTheSame = true").await;
    world.store.release_sender(&sender).await.expect("released");
    world.until_status(id, "read").await;
    person.sees("main .timeline").await;
    person.reads("accepted").await;
    assert_eq!(person.asks("window.isTheSame").await, true);
    person.close().await;
}

#[tokio::test]
async fn no_page_is_wider_than_a_phone() {
    let Some(person) = Chromium::open(390, 844).await else {
        return;
    };
    let world = World::start().await;
    let id = world.enqueue(a_text()).await;
    world.until_status(id, "read").await;
    let more = [format!("/messages/{id}"), format!("/senders/{SENDER}")];
    for path in PAGES.into_iter().chain(more.iter().map(String::as_str)) {
        person.goes_to(&world, path).await;
        let sizes = person
            .asks("[document.documentElement.scrollWidth, window.innerWidth]")
            .await;
        assert_eq!(sizes, json!([390, 390]), "{path}");
    }
    person.close().await;
}

#[tokio::test]
async fn a_word_without_an_end_makes_no_page_wider_and_stays_in_its_card() {
    let (width, height) = (375, 667);
    let Some(person) = Chromium::open(width, height).await else {
        return;
    };
    let world = World::start().await;
    let word = "W".repeat(300);
    let held = world
        .store
        .hold_sender(&SENDER.into(), &word, "ada", None)
        .await;
    assert!(held.expect("an answer"));
    let id = world.enqueue(a_text().in_sequence(&word[..90])).await;
    let name = &word[..100];
    world
        .run_sql(&format!(
            "select wa.create_campaign('{name}', '{{\"type\":\"template\",\"template\":{{\"name\":\"promo\",\"language\":{{\"code\":\"en_US\"}}}}}}',
               sender => '{SENDER}', author => '{name}')"
        ))
        .await;
    world
        .run_sql(&format!(
            "insert into wa.attempts (id, sender, attempt, outcome, error_code, error_title, note)
             values ({id}, '{SENDER}', 1, 'deferred', 130429, '{word}', '{word}')"
        ))
        .await;
    let campaign: i64 = sqlx::query_scalar("select max(id) from wa.campaigns")
        .fetch_one(&world.database.pool)
        .await
        .expect("the campaign");
    let more = [
        format!("/messages/{id}"),
        format!("/senders/{SENDER}"),
        format!("/sequences/of/{id}"),
        format!("/campaigns/{campaign}"),
        format!("/confirm/cancel-message/{id}"),
        format!("/messages?campaign={word}"),
    ];
    for path in PAGES.into_iter().chain(more.iter().map(String::as_str)) {
        person.goes_to(&world, path).await;
        let sizes = person
            .asks("[document.documentElement.scrollWidth, window.innerWidth]")
            .await;
        assert_eq!(sizes, json!([width, width]), "{path}");
        let out = person
            .asks(
                "[...document.querySelectorAll('p, li, dd, .card, .pill, h1, h2')].filter((one) => one.scrollWidth > one.clientWidth + 1 \
                 && getComputedStyle(one).display !== 'inline').map((one) => one.outerHTML.slice(0, 200))",
            )
            .await;
        assert_eq!(out, json!([]), "{path}");
    }
    person.close().await;
}
