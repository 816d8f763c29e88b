//! A campaign leaves as its sender's other messages do: filled in for each recipient, at its share, after what is more urgent; and
//! not at all while it is paused.

use serde_json::{Value, json};
use wa_outbox::domain::id::MessageId;
use wa_outbox::store::campaign::{CampaignSettings, CampaignVerb};
use wa_outbox::store::message::Message;
use wa_outbox::store::sender::SenderChange;

use crate::support::make::{ALICE, BOB, a_text};
use crate::support::wire::{BEGIN, Mishap, Wire};
use crate::support::world::{SENDER, World};

const TEMPLATE: &str = r#"{"type":"template","template":{"name":"offer","language":{"code":"en_US"},"components":[{"type":"body","parameters":[
  {"type":"text","text":"Dear {{first_name}}"},{"type":"currency","currency":"{{price}}"}]}]}}"#;

impl World {
    async fn add(&self, campaign: i64, recipient: &str, variables: Value) -> MessageId {
        let id: i64 = sqlx::query_scalar(
            "insert into wa.outbox (campaign_id, recipient, variables) values ($1, $2, $3) returning id",
        )
        .bind(campaign)
        .bind(recipient)
        .bind(variables)
        .fetch_one(self.store.pool())
        .await
        .expect("it is written");
        MessageId(id)
    }

    async fn rate(&self, per_second: f64) {
        self.change_sender(
            SENDER,
            SenderChange {
                rate_per_second: Some(per_second),
                ..SenderChange::default()
            },
        )
        .await;
    }
}

fn says(template: &str) -> CampaignSettings {
    let payload = serde_json::from_str(template).expect("json");
    CampaignSettings {
        payload: Some(payload),
        ..CampaignSettings::default()
    }
}

fn at_most(per_second: f64) -> CampaignSettings {
    CampaignSettings {
        max_per_second: Some(Some(per_second)),
        ..CampaignSettings::default()
    }
}

impl World {
    /// Takes the campaign's own limit away.
    async fn unlimited(&self, campaign: i64) {
        let unlimited = CampaignSettings {
            max_per_second: Some(None),
            ..CampaignSettings::default()
        };
        let set = self.store.set_campaign(campaign, &unlimited, "ada", None);
        set.await.expect("it is set");
    }
}

#[tokio::test]
async fn each_recipient_of_a_campaign_gets_the_template_with_its_own_variables() {
    let world = World::start().await;
    let campaign = world.a_draft_with("spring", says(TEMPLATE)).await;
    let price = |amount: i64| json!({"code": "EUR", "amount_1000": amount, "fallback_value": "€"});
    let mut messages = Vec::new();
    for (recipient, amount) in [(ALICE, 1), (BOB, 2)] {
        let variables = json!({"first_name": format!("\"{recipient}\" {{{{price}}}} 🎉"), "price": price(amount)});
        messages.push((
            world.add(campaign, recipient, variables).await,
            recipient,
            amount,
        ));
    }
    world.lead(campaign, CampaignVerb::Start).await;

    for (id, recipient, amount) in messages {
        let message = world.until_status(id, "read").await;
        assert_eq!(message.state, "accepted");
        let entry = &world.simulator.ledger().accepted_for(recipient)[0];
        let body: Value = serde_json::from_slice(&entry.body).expect("json");
        let parameters = &body["template"]["components"][0]["parameters"];
        let greeting = format!("Dear \"{recipient}\" {{{{price}}}} 🎉");
        assert_eq!(parameters[0]["text"], greeting);
        assert_eq!(parameters[1]["currency"], price(amount));
    }
}

#[tokio::test]
async fn nothing_of_a_draft_leaves_and_a_paused_campaign_goes_on_when_it_is_resumed() {
    let world = World::start().await;
    // The first leaves at once, the next in a quarter of an hour.
    let campaign = world.a_draft_with("spring", at_most(0.001)).await;
    let messages = world.add_recipients(campaign, 5).await;
    // What comes later leaves, and nothing of the draft.
    let ordinary = world.enqueue(a_text().to(BOB)).await;
    world.until_state(ordinary, "accepted").await;
    assert_eq!(world.requests(), 1);

    world.lead(campaign, CampaignVerb::Start).await;
    world.simulator.ledger().wait_for_requests(2).await;
    world.lead(campaign, CampaignVerb::Pause).await;
    world.unlimited(campaign).await;
    // Nothing but the pause keeps them, and what comes later leaves.
    let ordinary = world.enqueue(a_text().to(BOB)).await;
    world.until_state(ordinary, "accepted").await;
    assert_eq!(world.requests(), 3);
    let waits = world.message(messages[4]).await;
    assert_eq!(waits.state, "queued");
    let why = waits.waiting_for.expect("it says why");
    assert!(why.contains("paused"), "{why}");
    let says = "has nothing due; what it has queued (4) waits for a campaign that does not run now";
    world
        .until_true("why says what its queue waits for", async || {
            world.says(&["why", "sender", SENDER]).await.contains(says)
        })
        .await;

    world.lead(campaign, CampaignVerb::Resume).await;
    for id in messages {
        world.until_state(id, "accepted").await;
    }
    assert_eq!(world.requests(), 7);
}

#[tokio::test]
async fn a_row_whose_variable_is_missing_is_refused_by_its_name_and_costs_no_request() {
    let world = World::start().await;
    let campaign = world.a_draft("spring").await;
    let lacks = world.add(campaign, BOB, json!({"name": "Bob"})).await;
    world.lead(campaign, CampaignVerb::Start).await;

    let refused = world.until_state(lacks, "failed").await;
    let why = refused.error_message.expect("it says why");
    assert!(
        why.contains("first_name") && why.contains("missing"),
        "{why}"
    );
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn what_is_urgent_leaves_in_the_middle_of_a_campaign() {
    let world = World::start().await;
    world.rate(40.0).await;
    let campaign = world.a_draft("spring").await;
    let rows = world.add_recipients(campaign, 400).await;
    world.lead(campaign, CampaignVerb::Start).await;
    world.simulator.ledger().wait_for_requests(10).await;

    let urgent = world.enqueue(a_text().to(BOB).with_priority(0)).await;
    world.until_state(urgent, "accepted").await;

    // Behind the whole campaign it would have been the last.
    let last = rows.last().expect("there are some");
    assert_eq!(world.state_of(*last).await, "queued");
    let ledger = world.simulator.ledger();
    assert!(ledger.request_count() < 200, "{}", ledger.request_count());
}

#[tokio::test]
async fn a_campaign_keeps_its_limit_and_its_sender_goes_on_at_its_own() {
    let world = World::start().await;
    // The first leaves at once, the next in a quarter of an hour.
    let campaign = world.a_draft_with("slow", at_most(0.001)).await;
    world.add_recipients(campaign, 12).await;
    world.lead(campaign, CampaignVerb::Start).await;
    world.simulator.ledger().wait_for_requests(1).await;
    for _ in 0..40 {
        world.enqueue(a_text().to(BOB)).await;
    }
    world.simulator.ledger().wait_for_requests(41).await;
    let of_the_campaign = || {
        let all = world.simulator.ledger().all();
        all.iter().filter(|entry| entry.kind == "template").count()
    };
    assert_eq!(of_the_campaign(), 1);

    world.unlimited(campaign).await;
    world.simulator.ledger().wait_for_requests(52).await;
    assert_eq!(of_the_campaign(), 12);
}

/// A message of the campaign *night*, which is put off because its recipient sleeps.
async fn a_sleeping_recipient(world: &World) -> Message {
    // All day but for a minute, by whatever clock: it has begun an hour ago.
    let quiet: String = sqlx::query_scalar(
        "select to_char(now() at time zone 'Asia/Tokyo' - interval '1 hour', 'HH24:MI') || '-'
           || to_char(now() at time zone 'Asia/Tokyo' - interval '61 minutes', 'HH24:MI')",
    )
    .fetch_one(world.store.pool())
    .await
    .expect("a clock");
    let settings = CampaignSettings {
        quiet_hours: Some(Some(quiet)),
        ..CampaignSettings::default()
    };
    let campaign = world.a_draft_with("night", settings).await;
    let variables = json!({"first_name": "Yui", "time_zone": "Asia/Tokyo"});
    let sleeps = world.add(campaign, "+81312345678", variables).await;
    world.lead(campaign, CampaignVerb::Start).await;

    world
        .until(sleeps, "to be put off", |message| {
            let why = message.waiting_for.as_deref().unwrap_or_default();
            message.due_at > message.created_at && why.contains("quiet hours")
        })
        .await
}

#[tokio::test]
async fn in_its_quiet_hours_a_campaign_lets_its_recipients_sleep() {
    let world = World::start().await;
    let put_off = a_sleeping_recipient(&world).await;
    assert_eq!(put_off.state, "queued");
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn who_was_put_off_is_written_to_when_there_are_no_quiet_hours_any_more() {
    let world = World::start().await;
    let put_off = a_sleeping_recipient(&world).await;

    let lift = ["campaign", "set", "night", "--quiet-hours", "none"];
    world.says(&lift).await;

    world.until_state(MessageId(put_off.id), "accepted").await;
}

#[tokio::test]
async fn a_campaign_whose_template_cannot_be_read_is_paused_with_the_reason() {
    let world = World::start().await;
    let campaign = world.a_draft("spring").await;
    // The command refuses this; plain SQL may write it.
    world
        .run_sql("update wa.campaigns set payload = replace(payload::text, 'first_name}}', 'first_name')::json")
        .await;
    world.add_recipients(campaign, 1).await;
    world.lead(campaign, CampaignVerb::Start).await;
    world
        .until_true("the campaign is paused", async || {
            world.campaign_state(campaign).await == "paused"
        })
        .await;
    let why = world
        .text("select state_changed_by || ': ' || state_reason from wa.campaigns")
        .await;
    assert!(
        why.starts_with("wa-outbox: its template cannot be used: "),
        "{why}"
    );
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn what_is_being_begun_when_its_campaign_is_paused_does_not_leave() {
    let mut world = World::at_rest().await;
    let wire = Wire::to(&world.database.url);
    world.start_service_over(&wire).await;
    let begin = wire.set(BEGIN, Mishap::AnswerLate);
    let campaign = world.a_draft("spring").await;
    let message = world.add_recipients(campaign, 1).await[0];
    world.lead(campaign, CampaignVerb::Start).await;
    begin.reached().await;

    world.lead(campaign, CampaignVerb::Pause).await;
    // Whoever renews again after that has taken it up.
    for _ in 0..3 {
        world.until_every_worker_has_renewed().await;
    }
    begin.let_go().await;

    world.until_state(message, "queued").await;
    assert_eq!(world.message(message).await.attempts, 0);
    assert_eq!(world.requests(), 0);
}
