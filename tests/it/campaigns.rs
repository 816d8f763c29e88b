//! Campaigns: one template to many, led by writing one row and counted without being looked at.

mod at_work;
mod counts;
mod ending;
mod news;
mod progress;
mod reading;
mod recipients;
mod suppression;
mod trouble;
mod unreadable;
mod verbs;

use std::time::Duration;

use time::OffsetDateTime;
use wa_outbox::domain::id::{AttemptNumber, Epoch, MessageId, SenderId, Wamid};
use wa_outbox::domain::outcome::Acceptance;
use wa_outbox::domain::transition::Transition;
use wa_outbox::store::campaign::{CampaignSettings, CampaignVerb, NewCampaign};
use wa_outbox::store::campaign_progress::CampaignCounts;
use wa_outbox::store::claim::{Ask, Begun, Claim, Due};
use wa_outbox::store::lease::WorkerId;
use wa_outbox::store::record::Record;

use crate::support::make::an_applier;
use crate::support::world::{SENDER, World};

/// A template with one placeholder.
const PROMO: &str = r#"{"type":"template","template":{"name":"promo","language":{"code":"en_US"},
  "components":[{"type":"body","parameters":[{"type":"text","text":"{{first_name}}"}]}]}}"#;

fn the_sender() -> SenderId {
    SenderId::from(SENDER)
}

/// A worker whose every step the test takes itself.
struct Hand {
    worker: WorkerId,
    epoch: Epoch,
}

impl World {
    /// A campaign that was not started.
    async fn a_draft(&self, name: &str) -> i64 {
        self.a_draft_with(name, CampaignSettings::default()).await
    }

    async fn a_draft_with(&self, name: &str, settings: CampaignSettings) -> i64 {
        let campaign = NewCampaign {
            name: name.to_owned(),
            payload: PROMO.to_owned(),
            settings,
            by: "ada".to_owned(),
            ..NewCampaign::default()
        };
        let created = self.store.create_campaign(&campaign).await;
        created.expect("it is created")
    }

    /// A campaign that runs, with so many recipients.
    async fn a_campaign(&self, name: &str, recipients: i64) -> i64 {
        let campaign = self.a_draft(name).await;
        self.add_recipients(campaign, recipients).await;
        assert!(self.lead(campaign, CampaignVerb::Start).await);
        campaign
    }

    /// Writes recipients as an application does; gives their messages in the order of their ids.
    async fn add_recipients(&self, campaign: i64, recipients: i64) -> Vec<MessageId> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "insert into wa.outbox (campaign_id, recipient, variables)
             select $1, '+1650555' || (1000 + n), '{\"first_name\":\"Ada\"}' from generate_series(1, $2) n returning id",
        )
        .bind(campaign)
        .bind(recipients)
        .fetch_all(&self.database.pool)
        .await
        .expect("recipients are written");
        ids.into_iter().map(MessageId).collect()
    }

    async fn lead(&self, campaign: i64, verb: CampaignVerb) -> bool {
        let led = self
            .store
            .lead_campaign(campaign, verb, "ada", Some("wrong price"))
            .await;
        led.expect("the verb is done")
    }

    async fn campaign_state(&self, campaign: i64) -> String {
        self.text(&format!(
            "select state from wa.campaigns where id = {campaign}"
        ))
        .await
    }

    async fn counts(&self, campaign: i64) -> CampaignCounts {
        let counts = self.store.campaign_counts(campaign).await;
        counts.expect("the counts")
    }

    async fn fold(&self) -> i64 {
        self.store
            .fold_campaign_counts(10_000)
            .await
            .expect("they are added up")
    }

    /// Takes the sender, as a worker does.
    async fn a_hand(&self) -> Hand {
        let lease = Duration::from_secs(3_600);
        let worker = self.store.register_worker("of the test", lease).await;
        let worker = worker.expect("a worker");
        self.store.take_senders(worker).await.expect("its senders");
        let held = self
            .store
            .held_senders(worker)
            .await
            .expect("what it holds");
        Hand {
            worker,
            epoch: held[0].epoch,
        }
    }

    /// What a look at a lane from its front finds; 0 is the ordinary lane.
    async fn read_lane(&self, campaign: i64, priority: i16, limit: i64) -> Vec<Due> {
        let ask = Ask {
            sender: the_sender(),
            campaign,
            priority,
            after: (OffsetDateTime::UNIX_EPOCH, 0),
            limit,
            known: 0,
        };
        self.store
            .read_ahead(&[ask], &[])
            .await
            .expect("a look ahead")
    }

    async fn begin(&self, hand: &Hand, messages: &[MessageId]) -> Vec<Begun> {
        let claims: Vec<Claim> = messages.iter().map(|id| claim(hand, *id, 1)).collect();
        let begun = self
            .store
            .begin(hand.worker, &claims, Duration::from_secs(60))
            .await;
        begun.expect("they are begun")
    }

    async fn record(&self, begun: &Begun, transition: Transition) {
        let record = Record {
            id: begun.id,
            sender: the_sender(),
            attempt: begun.attempt,
            begun_at: begun.begun_at,
            era: begun.era,
            transition,
            account: None,
        };
        self.store.record(&[record]).await.expect("it is recorded");
    }

    /// Begins a message and has it accepted under a wamid of its number.
    async fn send(&self, hand: &Hand, message: MessageId) {
        let begun = self.begin(hand, &[message]).await;
        self.record(&begun[0], accepted(message)).await;
    }

    /// Stores deliveries and applies them.
    async fn apply_deliveries(&self, deliveries: &[String]) {
        let bodies: Vec<Vec<u8>> = deliveries
            .iter()
            .map(|body| body.clone().into_bytes())
            .collect();
        self.store
            .store_deliveries(&bodies)
            .await
            .expect("they are stored");
        let mut applier = an_applier(&self.store, 100).await;
        applier.run_once().await.expect("they are applied");
    }
}

fn claim(hand: &Hand, id: MessageId, attempt: i32) -> Claim {
    Claim {
        id,
        sender: the_sender(),
        epoch: hand.epoch,
        attempt: AttemptNumber(attempt),
    }
}

fn wamid_of(message: MessageId) -> String {
    format!("wamid.{message}")
}

fn accepted(message: MessageId) -> Transition {
    Transition::Accept(Acceptance {
        wamid: Some(Wamid::from(wamid_of(message).as_str())),
        ..Acceptance::default()
    })
}

fn refused(code: i64) -> Transition {
    Transition::Fail {
        code: Some(code),
        message: "refused".to_owned(),
    }
}

fn doubtful() -> Transition {
    Transition::Doubt {
        doubt: "no answer".to_owned(),
        may_resend: true,
    }
}

fn put_back() -> Transition {
    Transition::Requeue {
        after: Duration::ZERO,
        spent: false,
        waiting_for: "its turn again".to_owned(),
    }
}
