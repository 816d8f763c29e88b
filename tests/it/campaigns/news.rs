//! What WhatsApp says of a number, an account or a template pauses the campaigns that it is about, and no others.

use serde_json::{Value, json};
use sqlx::postgres::PgListener;
use time::{Duration, OffsetDateTime};
use wa_outbox::store::campaign::{CampaignVerb, NewCampaign};

use super::PROMO;
use crate::support::world::{SENDER, World};

const ACCOUNT: &str = "102290129340398";
const NUMBER: &str = "15550783881";
/// Another sender of the same account, and one of another account.
const SISTER: &str = "106540352242923";
const STRANGER: &str = "206540352242922";

fn change(account: &str, at: OffsetDateTime, field: &str, value: &Value) -> String {
    json!({"object": "whatsapp_business_account", "entry": [{"id": account, "time": at.unix_timestamp(),
        "changes": [{"field": field, "value": value}]}]})
    .to_string()
}

fn flagged(at: OffsetDateTime) -> String {
    let value =
        json!({"display_phone_number": NUMBER, "event": "FLAGGED", "current_limit": "TIER_10K"});
    change(ACCOUNT, at, "phone_number_quality_update", &value)
}

fn updated(at: OffsetDateTime, value: &Value) -> String {
    change(ACCOUNT, at, "account_update", value)
}

fn banned(at: OffsetDateTime, state: &str) -> String {
    let value = json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": state}});
    updated(at, &value)
}

/// A webhook about a message that tells what a number is called.
fn named(account: &str, number: &str, sender: &str) -> String {
    let metadata = json!({"display_phone_number": number, "phone_number_id": sender});
    let value = json!({"metadata": metadata, "messages": [{"from": "16505551234"}]});
    change(account, OffsetDateTime::UNIX_EPOCH, "messages", &value)
}

impl World {
    /// Three senders that webhooks have named, and a campaign of each that runs since an hour; gives the time too.
    async fn three_campaigns(&self) -> ([i64; 3], OffsetDateTime) {
        self.add_sender(SISTER).await;
        self.add_sender(STRANGER).await;
        self.apply_deliveries(&[
            named(ACCOUNT, NUMBER, SENDER),
            named(ACCOUNT, "15550783882", SISTER),
            named("202290129340398", "15550783883", STRANGER),
        ])
        .await;
        let campaigns = [
            self.an_old_campaign("own", SENDER).await,
            self.an_old_campaign("sisters", SISTER).await,
            self.an_old_campaign("strangers", STRANGER).await,
        ];
        (campaigns, self.now().await)
    }

    /// A campaign that was started an hour ago.
    async fn an_old_campaign(&self, name: &str, sender: &str) -> i64 {
        let campaign = NewCampaign {
            name: name.to_owned(),
            payload: PROMO.to_owned(),
            sender: Some(sender.to_owned()),
            by: "ada".to_owned(),
            ..NewCampaign::default()
        };
        let created = self.store.create_campaign(&campaign).await;
        let campaign = created.expect("it is created");
        self.lead(campaign, CampaignVerb::Start).await;
        self.run_sql(&format!("update wa.campaigns set state_changed_at = clock_timestamp() - interval '1 hour' where id = {campaign}"))
            .await;
        campaign
    }

    async fn now(&self) -> OffsetDateTime {
        sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(&self.database.pool)
            .await
            .expect("the time")
    }

    async fn states(&self, campaigns: [i64; 3]) -> [String; 3] {
        let [own, sisters, strangers] = campaigns;
        [
            self.campaign_state(own).await,
            self.campaign_state(sisters).await,
            self.campaign_state(strangers).await,
        ]
    }

    /// Why each held sender is held.
    async fn held(&self) -> String {
        self.text("select coalesce(string_agg(sender || ' ' || held_cause || ': ' || held_reason, ', ' order by sender), '') from wa.senders where held_reason is not null")
            .await
    }
}

#[tokio::test]
async fn a_flagged_number_pauses_its_campaigns_and_no_other_s_once() {
    let world = World::at_rest().await;
    let (campaigns, now) = world.three_campaigns().await;
    world.apply_deliveries(&[flagged(now), flagged(now)]).await;
    assert_eq!(
        world.states(campaigns).await,
        ["paused", "running", "running"]
    );
    let why = "WhatsApp has flagged its number: the quality of what it sends is low";
    assert_eq!(
        world
            .text(&format!("select string_agg(author || ': ' || reason, '; ') from wa.campaign_events where what = 'paused' and campaign = {}", campaigns[0]))
            .await,
        format!("wa-outbox: {why}")
    );
    assert_eq!(
        world
            .text(&format!(
                "select wa.campaign_hold_in_words(c) from wa.campaigns c where id = {}",
                campaigns[0]
            ))
            .await,
        format!(
            "its campaign, paused by wa-outbox: {why}; resume it: wa-outbox campaign resume own"
        )
    );
    assert_eq!(world.held().await, "", "it may still answer");

    world.lead(campaigns[0], CampaignVerb::Resume).await;
    world.apply_deliveries(&[flagged(now)]).await;
    assert_eq!(world.campaign_state(campaigns[0]).await, "running");
}

#[tokio::test]
async fn the_owner_is_called_when_news_has_paused_a_campaign() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    world
        .apply_deliveries(&[named(ACCOUNT, NUMBER, SENDER)])
        .await;
    world.an_old_campaign("own", SENDER).await;
    let listener = PgListener::connect(&world.database.url).await;
    let mut listener = listener.expect("a listener");
    listener.listen("wa_campaign").await.expect("it listens");
    world.apply_deliveries(&[flagged(world.now().await)]).await;
    assert_eq!(
        world.hear_call(&mut listener).await,
        hand.worker.0.to_string()
    );
}

#[tokio::test]
async fn news_that_comes_a_week_late_pauses_nothing_that_was_started_since() {
    let world = World::at_rest().await;
    let (campaigns, now) = world.three_campaigns().await;
    let late = now - Duration::days(7);
    world
        .apply_deliveries(&[flagged(late), banned(late, "SCHEDULE_FOR_DISABLE")])
        .await;
    assert_eq!(
        world.states(campaigns).await,
        ["running", "running", "running"]
    );
    // Half an hour ago it ran already.
    world
        .apply_deliveries(&[flagged(now - Duration::minutes(30))])
        .await;
    assert_eq!(world.campaign_state(campaigns[0]).await, "paused");
}

#[tokio::test]
async fn good_news_and_news_that_we_do_not_know_pause_nothing() {
    let world = World::at_rest().await;
    let (campaigns, now) = world.three_campaigns().await;
    let quality = |event: &str| {
        let value =
            json!({"display_phone_number": NUMBER, "event": event, "current_limit": "TIER_100K"});
        change(ACCOUNT, now, "phone_number_quality_update", &value)
    };
    world
        .apply_deliveries(&[
            quality("UPGRADE"),
            quality("THROUGHPUT_UPGRADE"),
            quality("UNFLAGGED"),
            quality("SOMETHING_NEW"),
            banned(now, "REINSTATE"),
            updated(
                now,
                &json!({"event": "VERIFIED_ACCOUNT", "phone_number": NUMBER}),
            ),
            updated(now, &json!({"event": "SOMETHING_NEW"})),
        ])
        .await;
    assert_eq!(
        world.states(campaigns).await,
        ["running", "running", "running"]
    );
    assert_eq!(
        world.count("wa.webhook_inbox where state = 'stored'").await,
        10
    );
    assert_eq!(world.count("wa.waiting_deliveries").await, 0);
}

#[tokio::test]
async fn a_restricted_account_pauses_the_campaigns_of_all_its_senders() {
    let world = World::at_rest().await;
    let (campaigns, now) = world.three_campaigns().await;
    let kind = "RESTRICTED_BIZ_INITIATED_MESSAGING";
    let value = json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": [{"restriction_type": kind, "expiration": 1}]});
    world.apply_deliveries(&[updated(now, &value)]).await;
    assert_eq!(
        world.states(campaigns).await,
        ["paused", "paused", "running"]
    );
    assert_eq!(world.held().await, "", "it may still answer");
}

#[tokio::test]
async fn a_restriction_that_is_over_still_pauses_and_holds_nobody() {
    let world = World::at_rest().await;
    let (campaigns, now) = world.three_campaigns().await;
    let kind =
        |kind: &str| json!({"restriction_type": kind, "expiration": now.unix_timestamp() - 60});
    let both = [
        kind("RESTRICTED_BIZ_INITIATED_MESSAGING"),
        kind("RESTRICTED_CUSTOMER_INITIATED_MESSAGING"),
    ];
    let value = json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": both});
    world.apply_deliveries(&[updated(now, &value)]).await;
    assert_eq!(world.campaign_state(campaigns[0]).await, "paused");
    assert_eq!(world.held().await, "");
}

#[tokio::test]
async fn where_somebody_is_known_to_be_meant_nobody_else_is() {
    let world = World::at_rest().await;
    world.add_sender(STRANGER).await;
    world
        .apply_deliveries(&[named(ACCOUNT, NUMBER, SENDER)])
        .await;
    let own = world.an_old_campaign("own", SENDER).await;
    let unknown = world.an_old_campaign("unknown", STRANGER).await;
    world.apply_deliveries(&[flagged(world.now().await)]).await;
    assert_eq!(world.campaign_state(own).await, "paused");
    assert_eq!(world.campaign_state(unknown).await, "running");
}

#[tokio::test]
async fn a_disabled_account_holds_its_senders_until_it_is_reinstated_or_a_person_releases_them() {
    let world = World::at_rest().await;
    let (campaigns, now) = world.three_campaigns().await;
    world.apply_deliveries(&[banned(now, "DISABLE")]).await;
    let both = format!(
        "{SENDER} account: WhatsApp has disabled its account, {SISTER} account: WhatsApp has disabled its account"
    );
    assert_eq!(world.held().await, both);

    // A person's word counts, and the same webhook again says nothing new.
    world
        .says(&["sender", "release", SENDER, "--reason", "we know better"])
        .await;
    world.apply_deliveries(&[banned(now, "DISABLE")]).await;
    assert!(world.held().await.starts_with(SISTER));

    let later = now + Duration::seconds(2);
    world.apply_deliveries(&[banned(later, "REINSTATE")]).await;
    assert_eq!(world.held().await, "");
    // The ban, repeated after its end.
    world.apply_deliveries(&[banned(now, "DISABLE")]).await;
    assert_eq!(world.held().await, "");
    assert_eq!(
        world.states(campaigns).await,
        ["paused", "paused", "running"],
        "a person resumes them"
    );
}

#[tokio::test]
async fn a_ban_that_is_told_after_its_end_changes_nothing() {
    let world = World::at_rest().await;
    let (campaigns, now) = world.three_campaigns().await;
    let before = now - Duration::minutes(10);
    world
        .apply_deliveries(&[banned(now, "REINSTATE"), banned(before, "DISABLE")])
        .await;
    assert_eq!(
        world.states(campaigns).await,
        ["running", "running", "running"]
    );
    assert_eq!(world.held().await, "");
}

#[tokio::test]
async fn an_account_that_has_taken_messages_since_is_not_held_for_an_old_ban() {
    let world = World::at_rest().await;
    let (_, now) = world.three_campaigns().await;
    world
        .run_sql(&format!("insert into wa.webhook_flow (sender, last_status_at, accepted_watermark) values ('{SENDER}', now(), now())"))
        .await;
    let late = now - Duration::days(1);
    world.apply_deliveries(&[banned(late, "DISABLE")]).await;
    assert!(world.held().await.starts_with(SISTER));
}

#[tokio::test]
async fn what_a_person_holds_is_not_released_by_a_reinstatement() {
    let world = World::at_rest().await;
    let (_, now) = world.three_campaigns().await;
    world
        .says(&["sender", "hold", SENDER, "--reason", "moving"])
        .await;
    let soon = now + Duration::minutes(1);
    world.apply_deliveries(&[banned(soon, "REINSTATE")]).await;
    assert_eq!(world.held().await, format!("{SENDER} operator: moving"));
}

#[tokio::test]
async fn a_template_that_is_rated_red_pauses_the_campaigns_of_its_account_that_send_it() {
    let world = World::at_rest().await;
    let (campaigns, now) = world.three_campaigns().await;
    let rated = |name: &str, language: &str| {
        let value = json!({"previous_quality_score": "YELLOW", "new_quality_score": "RED", "message_template_name": name,
            "message_template_language": language});
        change(ACCOUNT, now, "message_template_quality_update", &value)
    };
    world
        .apply_deliveries(&[rated("other", "en_US"), rated("promo", "de")])
        .await;
    assert_eq!(
        world.states(campaigns).await,
        ["running", "running", "running"]
    );
    world.apply_deliveries(&[rated("promo", "en-US")]).await;
    assert_eq!(
        world.states(campaigns).await,
        ["paused", "paused", "running"]
    );
}

#[tokio::test]
async fn where_nobody_is_known_to_be_meant_whoever_may_be_is_paused_and_nobody_is_held() {
    let world = World::at_rest().await;
    world.add_sender(STRANGER).await;
    world
        .apply_deliveries(&[named("202290129340398", "15550783883", STRANGER)])
        .await;
    let own = world.an_old_campaign("own", SENDER).await;
    let strangers = world.an_old_campaign("strangers", STRANGER).await;
    world
        .apply_deliveries(&[banned(world.now().await, "DISABLE")])
        .await;
    assert_eq!(world.campaign_state(own).await, "paused");
    assert_eq!(world.campaign_state(strangers).await, "running");
    assert_eq!(world.held().await, "");
}
