//! A campaign in trouble pauses itself, and says why and how it is resumed.

use serde_json::json;
use wa_outbox::domain::hold::TemplateKey;
use wa_outbox::domain::id::SenderId;
use wa_outbox::store::campaign::{CampaignSettings, CampaignVerb, NewCampaign};
use wa_outbox::store::campaign_work::CampaignChange;
use wa_outbox::store::template_hold::{NewTemplateHold, TemplateCause};

use super::{Hand, PROMO, refused, the_sender, wamid_of};
use crate::support::callbacks::{a_delivery, a_status};
use crate::support::world::{SENDER, World};

/// Two other senders.
const OTHER: &str = "206540352242922";
const THIRD: &str = "306540352242922";

impl World {
    async fn paused(&self) -> Vec<CampaignChange> {
        self.fold().await;
        let paused = self.store.pause_troubled_campaigns(&[the_sender()]).await;
        paused.expect("a look")
    }

    /// Sends to new recipients of a campaign, of whom so many are refused.
    async fn have_answered(&self, hand: &Hand, campaign: i64, accepted: i64, failed: i64) {
        for id in self.add_recipients(campaign, accepted).await {
            self.send(hand, id).await;
        }
        for begun in self
            .begin(hand, &self.add_recipients(campaign, failed).await)
            .await
        {
            self.record(&begun, refused(131_026)).await;
        }
    }

    /// A campaign that runs and sends a template in a language.
    async fn a_campaign_of(&self, name: &str, sender: &str, template: &str, language: &str) -> i64 {
        let payload = PROMO.replace("promo", template).replace("en_US", language);
        let campaign = NewCampaign {
            name: name.to_owned(),
            payload,
            sender: Some(sender.to_owned()),
            by: "ada".to_owned(),
            ..NewCampaign::default()
        };
        let created = self.store.create_campaign(&campaign).await;
        let campaign = created.expect("it is created");
        self.lead(campaign, CampaignVerb::Start).await;
        campaign
    }

    /// The names of the campaigns of these senders that pause now.
    async fn paused_of(&self, senders: &[&str]) -> Vec<String> {
        let senders: Vec<SenderId> = senders.iter().copied().map(SenderId::from).collect();
        let paused = self.store.pause_troubled_campaigns(&senders).await;
        let mut names: Vec<String> = paused
            .expect("a look")
            .into_iter()
            .map(|one| one.name)
            .collect();
        names.sort();
        names
    }

    /// Each template that is held, with its sender.
    async fn held_templates_of_all(&self) -> String {
        self.text("select string_agg(concat_ws(' ', sender, template, language), ', ' order by sender, template, language) from wa.template_holds where released_at is null")
            .await
    }

    async fn hold_promo(&self, cause: TemplateCause, language: &str) {
        let hold = NewTemplateHold {
            sender: &the_sender(),
            template: &TemplateKey::new("promo", Some(language)),
            cause,
            reason: "Template is Paused",
            by: "wa-outbox",
            code: Some(132_015),
            rest: Some(std::time::Duration::from_secs(600)),
        };
        assert!(self.store.hold_template(&hold).await.expect("it is held"));
    }
}

/// Paused when half of at least ten have failed.
async fn a_careful_campaign(world: &World) -> i64 {
    let settings = CampaignSettings {
        pause_failure_share: Some(Some(0.5)),
        pause_at_least: Some(10),
        ..CampaignSettings::default()
    };
    let campaign = world.a_draft_with("spring", settings).await;
    world.lead(campaign, CampaignVerb::Start).await;
    campaign
}

#[tokio::test]
async fn too_many_failures_pause_a_campaign_and_what_was_before_a_resume_is_forgiven() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = a_careful_campaign(&world).await;
    world.have_answered(&hand, campaign, 0, 9).await;
    assert!(
        world.paused().await.is_empty(),
        "nine are too few to say anything"
    );
    world.have_answered(&hand, campaign, 3, 0).await;
    let paused = world.paused().await;
    assert_eq!(
        paused[0].reason,
        "9 of 12 answered within 5 min have failed, 75 %; most with code 131026"
    );
    assert_eq!(world.campaign_state(campaign).await, "paused");
    let waits = world.text("select max(waiting_for) from wa.messages where state = 'queued' and campaign_id is not null");
    world.add_recipients(campaign, 1).await;
    let waits = waits.await;
    assert!(
        waits.contains("75 %") && waits.contains("wa-outbox campaign resume spring"),
        "{waits}"
    );
    world.lead(campaign, CampaignVerb::Resume).await;
    assert!(world.paused().await.is_empty());
}

#[tokio::test]
async fn failures_below_the_share_do_not_pause_a_campaign() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = a_careful_campaign(&world).await;
    world.have_answered(&hand, campaign, 8, 7).await;
    assert!(world.paused().await.is_empty());
    let never = CampaignSettings {
        pause_failure_share: Some(None),
        ..CampaignSettings::default()
    };
    world
        .store
        .set_campaign(campaign, &never, "ada", None)
        .await
        .expect("it is set");
    world.have_answered(&hand, campaign, 0, 20).await;
    assert!(world.paused().await.is_empty(), "it was told not to");
}

#[tokio::test]
async fn a_campaign_whose_template_whatsapp_has_stopped_is_paused() {
    let world = World::at_rest().await;
    world.a_campaign("spring", 1).await;
    world.hold_promo(TemplateCause::Answer, "de").await;
    assert!(world.paused().await.is_empty(), "another language");
    world.hold_promo(TemplateCause::Answer, "en_US").await;
    assert_eq!(
        world.paused().await[0].reason,
        "its template promo is held: Template is Paused"
    );
}

#[tokio::test]
async fn a_campaign_that_was_resumed_is_not_paused_again_for_what_was_known_then() {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 1).await;
    world.hold_promo(TemplateCause::Answer, "en_US").await;
    assert_eq!(world.paused().await.len(), 1);
    world.lead(campaign, CampaignVerb::Resume).await;
    assert!(world.paused().await.is_empty());
}

#[tokio::test]
async fn rows_that_failed_for_their_template_pause_the_campaigns_that_send_it_from_their_sender() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    world.add_sender(OTHER).await;
    let spring = world
        .a_campaign_of("spring", SENDER, "promo", "en_US")
        .await;
    let winter = world
        .a_campaign_of("winter", SENDER, "promo", "en_US")
        .await;
    world.a_campaign_of("summer", SENDER, "promo", "de").await;
    world.a_campaign_of("autumn", SENDER, "news", "en_US").await;
    world.a_campaign_of("theirs", OTHER, "promo", "en_US").await;
    let failed = async |campaign: i64, code: i64| {
        let row = world.add_recipients(campaign, 1).await[0];
        world.send(&hand, row).await;
        let now = wa_outbox::clock::Clock::system().now().unix_timestamp();
        let mut status = a_status(&wamid_of(row), "failed", now);
        status["errors"] = json!([{"code": code, "title": "Template is Paused"}]);
        status
    };
    let other_fault = failed(winter, 131_026).await;
    world.apply_deliveries(&[a_delivery(&[other_fault])]).await;
    assert!(world.paused_of(&[SENDER, OTHER]).await.is_empty());

    // A row of each, in one delivery, holds it once.
    let both = [failed(spring, 132_015).await, failed(winter, 132_015).await];
    world.apply_deliveries(&[a_delivery(&both)]).await;
    assert_eq!(
        world.held_templates_of_all().await,
        format!("{SENDER} promo en_US")
    );
    assert_eq!(
        world.paused_of(&[SENDER, OTHER]).await,
        ["spring", "winter"]
    );
}

#[tokio::test]
async fn a_template_that_whatsapp_has_stopped_pauses_the_campaigns_of_its_account_that_send_it() {
    let world = World::at_rest().await;
    world.add_sender(OTHER).await;
    world.add_sender(THIRD).await;
    world
        .a_campaign_of("spring", SENDER, "promo", "en_US")
        .await;
    world.a_campaign_of("summer", SENDER, "promo", "de").await;
    world.a_campaign_of("autumn", SENDER, "news", "en_US").await;
    // The account of this sender is another one; that of the third is not known.
    world.a_campaign_of("theirs", OTHER, "promo", "en_US").await;
    world
        .a_campaign_of("perhaps", THIRD, "promo", "en_US")
        .await;
    let change = |account: &str, field: &str, value: serde_json::Value| {
        json!({"entry": [{"id": account, "changes": [{"field": field, "value": value}]}]})
            .to_string()
    };
    let messages = |account: &str, sender: &str| {
        change(
            account,
            "messages",
            json!({"metadata": {"phone_number_id": sender}, "messages": []}),
        )
    };
    let stopped = json!({"event": "PAUSED", "message_template_name": "promo", "message_template_language": "en-US"});
    world
        .apply_deliveries(&[
            messages("1001", SENDER),
            messages("1002", OTHER),
            change("1001", "message_template_status_update", stopped),
        ])
        .await;
    assert_eq!(
        world.held_templates_of_all().await,
        format!("{SENDER} promo en_US, {THIRD} promo en_US")
    );
    assert_eq!(
        world.paused_of(&[SENDER, OTHER, THIRD]).await,
        ["perhaps", "spring"]
    );
}

#[tokio::test]
async fn a_template_that_a_person_holds_pauses_nothing() {
    let world = World::at_rest().await;
    world.a_campaign("spring", 1).await;
    world.hold_promo(TemplateCause::Operator, "en_US").await;
    assert!(world.paused().await.is_empty());
}

#[tokio::test]
async fn a_campaign_whose_sender_whatsapp_has_stopped_for_what_it_sends_is_paused_until_a_person_resumes_it()
 {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 1).await;
    world
        .run_sql("update wa.senders set held_reason = 'Spam rate limit hit', held_by = 'wa-outbox', held_cause = 'token', held_at = clock_timestamp()")
        .await;
    assert!(
        world.paused().await.is_empty(),
        "a token says nothing of a campaign"
    );
    world
        .run_sql("update wa.senders set held_cause = 'policy', held_at = clock_timestamp()")
        .await;
    assert_eq!(
        world.paused().await[0].reason,
        "its sender is held: Spam rate limit hit"
    );
    world.lead(campaign, CampaignVerb::Resume).await;
    assert!(world.paused().await.is_empty());
}
