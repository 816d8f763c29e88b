//! A campaign in trouble pauses itself, and says why and how it is resumed.

use wa_outbox::domain::hold::TemplateKey;
use wa_outbox::store::campaign::{CampaignSettings, CampaignVerb};
use wa_outbox::store::campaign_work::CampaignChange;
use wa_outbox::store::template_hold::{NewTemplateHold, TemplateCause};

use super::{Hand, refused, the_sender};
use crate::support::world::World;

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
        "9 of 12 answered within 00:05:00 have failed, 75 %; most with code 131026"
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
