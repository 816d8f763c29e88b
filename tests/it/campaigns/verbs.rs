//! Start, pause, resume, cancel and set: one row is written, and every recipient is told at once.

use serde_json::value::RawValue;
use sqlx::postgres::PgListener;
use wa_outbox::store::campaign::{CampaignKey, CampaignSettings, CampaignVerb};

use crate::support::world::World;

impl World {
    /// Tells whether any row of the queue was written since: its place and its writer.
    async fn queue_rows(&self) -> String {
        self.text(
            "select string_agg(ctid::text || ' ' || xmin::text, ',' order by id) from wa.queue",
        )
        .await
    }

    /// What all recipients of a campaign show, which must be the same.
    async fn shown(&self, campaign: i64) -> (String, Option<String>, Option<String>) {
        let mut shown: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
            "select distinct state, waiting_for, error_message from wa.messages where campaign_id = $1",
        )
        .bind(campaign)
        .fetch_all(&self.database.pool)
        .await
        .expect("its messages");
        assert_eq!(shown.len(), 1, "{shown:?}");
        shown.remove(0)
    }

    async fn waits(&self, campaign: i64) -> String {
        let (state, waiting_for, _) = self.shown(campaign).await;
        assert_eq!(state, "queued");
        waiting_for.expect("it waits for something")
    }

    pub(super) async fn hear_call(&self, listener: &mut PgListener) -> String {
        let heard = tokio::time::timeout(crate::support::world::PATIENCE, listener.recv()).await;
        heard
            .expect("a call")
            .expect("a connection")
            .payload()
            .to_owned()
    }
}

#[tokio::test]
async fn pause_resume_and_cancel_rewrite_no_recipient_and_are_told_of_each_at_once() {
    let world = World::at_rest().await;
    world.a_hand().await;
    let campaign = world.a_draft("spring").await;
    world.add_recipients(campaign, 500).await;
    let before = world.queue_rows().await;
    assert_eq!(
        world.waits(campaign).await,
        "its campaign to be started: wa-outbox campaign start spring"
    );
    world.lead(campaign, CampaignVerb::Start).await;
    assert_eq!(world.waits(campaign).await, "its turn");
    world.lead(campaign, CampaignVerb::Pause).await;
    let paused =
        "its campaign, paused by ada: wrong price; resume it: wa-outbox campaign resume spring";
    assert_eq!(world.waits(campaign).await, paused);
    world.lead(campaign, CampaignVerb::Resume).await;
    assert_eq!(world.waits(campaign).await, "its turn");
    world.lead(campaign, CampaignVerb::Cancel).await;
    let why = "its campaign was cancelled by ada: wrong price";
    assert_eq!(
        world.shown(campaign).await,
        ("cancelled".to_owned(), None, Some(why.to_owned()))
    );
    assert_eq!(world.queue_rows().await, before);
    assert_eq!(world.count("wa.results").await, 0);
    let counts = world.counts(campaign).await;
    assert_eq!((counts.queued, counts.cancelled), (0, 500));
}

#[tokio::test]
async fn a_campaign_that_has_not_begun_or_is_over_says_so_of_each_recipient() {
    let world = World::at_rest().await;
    world.a_hand().await;
    let campaign = world.a_campaign("spring", 3).await;
    world
        .run_sql("update wa.campaigns set starts_at = '2999-01-01 00:00Z'")
        .await;
    assert_eq!(
        world.waits(campaign).await,
        "its campaign to begin at 2999-01-01 00:00:00Z"
    );
    world
        .run_sql("update wa.campaigns set starts_at = null, quiet_hours = '21:00-08:00'")
        .await;
    assert_eq!(
        world.waits(campaign).await,
        "its turn, outside the quiet hours 21:00-08:00 of its campaign"
    );
    world
        .run_sql("update wa.campaigns set ends_at = now()")
        .await;
    let why = "its campaign ended before it could leave";
    assert_eq!(
        world.shown(campaign).await,
        ("expired".to_owned(), None, Some(why.to_owned()))
    );
    assert_eq!(world.counts(campaign).await.expired, 3);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_what_to_do_instead() {
    let world = World::at_rest().await;
    let campaign = world.a_draft("spring").await;
    let refused = async |verb, said: &str, fix: &str| {
        let error = world
            .store
            .lead_campaign(campaign, verb, "ada", None)
            .await
            .expect_err(said);
        let (message, hint) = error.refusal().expect("a refusal in words");
        assert_eq!(message, said);
        assert!(hint.expect("a hint").contains(fix));
    };
    refused(
        CampaignVerb::Pause,
        "campaign spring is draft",
        "campaign start spring",
    )
    .await;
    world.lead(campaign, CampaignVerb::Start).await;
    assert!(
        !world.lead(campaign, CampaignVerb::Start).await,
        "it runs already"
    );
    world.lead(campaign, CampaignVerb::Pause).await;
    refused(
        CampaignVerb::Start,
        "campaign spring is paused",
        "campaign resume spring",
    )
    .await;
    world.lead(campaign, CampaignVerb::Cancel).await;
    refused(
        CampaignVerb::Resume,
        "campaign spring is cancelled",
        "make a new campaign",
    )
    .await;
    assert!(!world.lead(campaign, CampaignVerb::Cancel).await);
}

#[tokio::test]
async fn each_change_is_kept_with_author_and_reason_and_calls_the_owner() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let mut listener = PgListener::connect(&world.database.url)
        .await
        .expect("a listener");
    listener.listen("wa_campaign").await.expect("it listens");
    let campaign = world.a_campaign("spring", 1).await;
    assert_eq!(
        world.hear_call(&mut listener).await,
        hand.worker.0.to_string()
    );
    world.lead(campaign, CampaignVerb::Pause).await;
    world.hear_call(&mut listener).await;
    let slower = CampaignSettings {
        max_per_second: Some(Some(2.5)),
        ..CampaignSettings::default()
    };
    world
        .store
        .set_campaign(campaign, &slower, "bob", Some("complaints"))
        .await
        .expect("it is set");
    world.hear_call(&mut listener).await;
    let events = world
        .store
        .campaign_events(campaign, 100)
        .await
        .expect("its events");
    let told: Vec<String> = events
        .into_iter()
        .map(|event| {
            format!(
                "{} {} {}",
                event.what,
                event.author,
                event.reason.unwrap_or_default()
            )
        })
        .collect();
    let expected = [
        "created ada ",
        "started ada wrong price",
        "paused ada wrong price",
        "set bob {\"max_per_second\": 2.5}: complaints",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn settings_are_written_one_by_one_and_the_content_only_before_the_start() {
    let world = World::at_rest().await;
    let ramp = "100/h,1000/h:2h".parse().expect("a ramp");
    let settings = CampaignSettings {
        ramp: Some(Some(ramp)),
        quiet_hours: Some(Some("21:00-08:00".into())),
        time_zone: Some("Europe/Berlin".into()),
        ..CampaignSettings::default()
    };
    let campaign = world.a_draft_with("spring", settings).await;
    let change = CampaignSettings {
        quiet_hours: Some(None),
        rate_share: Some(0.5),
        ..CampaignSettings::default()
    };
    world
        .store
        .set_campaign(campaign, &change, "ada", None)
        .await
        .expect("it is set");
    let found = world
        .store
        .campaign(&CampaignKey::from("spring"))
        .await
        .expect("a look")
        .expect("a campaign");
    assert_eq!(found.id, campaign);
    assert_eq!(
        (
            found.quiet_hours,
            found.rate_share,
            found.time_zone.as_str()
        ),
        (None, 0.5, "Europe/Berlin")
    );
    assert_eq!(found.ramp.expect("its ramp").steps().len(), 2);
    assert_eq!(found.payload, super::PROMO);

    world.lead(campaign, CampaignVerb::Start).await;
    let other = CampaignSettings {
        payload: Some(RawValue::from_string("{}".to_owned()).expect("JSON")),
        ..CampaignSettings::default()
    };
    let error = world
        .store
        .set_campaign(campaign, &other, "ada", None)
        .await
        .expect_err("it was started");
    assert!(error.refusal().expect("in words").0.contains("was started"));
}

#[tokio::test]
async fn a_content_keeps_its_bytes_whether_it_is_given_at_first_or_set() {
    let world = World::at_rest().await;
    let campaign = world.a_draft("spring").await;
    let content = r#"{"type": "template",  "template": {"name": "promo", "language": {"code": "en_US"},
        "components": [{"type": "body", "parameters": [{"type": "location", "location": {"longitude": 13.0, "latitude": 5e1}}]}]}}"#;
    let change = CampaignSettings {
        payload: Some(RawValue::from_string(content.to_owned()).expect("JSON")),
        priority: Some(3),
        ..CampaignSettings::default()
    };
    world
        .store
        .set_campaign(campaign, &change, "ada", None)
        .await
        .expect("it is set");
    let kept = "select priority || payload::text from wa.campaigns";
    assert_eq!(world.text(kept).await, format!("3{content}"));
    assert_eq!(
        world
            .text("select reason from wa.campaign_events where what = 'set'")
            .await,
        r#"{"payload": "another", "priority": 3}"#
    );
    // By SQL, in both ways.
    world
        .run_sql(&format!(
            "select wa.set_campaign({campaign}, '{{\"payload\": {}, \"priority\": 4}}')",
            super::PROMO
        ))
        .await;
    assert_eq!(world.text(kept).await, format!("4{}", super::PROMO));
    let other = format!(
        "select wa.create_campaign('summer', '{}', '{{\"payload\": {content}}}')::text",
        super::PROMO
    );
    world.text(&other).await;
    assert_eq!(
        world
            .text("select payload::text from wa.campaigns where name = 'summer'")
            .await,
        content
    );
}

#[tokio::test]
async fn another_priority_counts_for_every_recipient_at_once() {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 20).await;
    let before = world.queue_rows().await;
    let change = CampaignSettings {
        priority: Some(2),
        ..CampaignSettings::default()
    };
    world
        .store
        .set_campaign(campaign, &change, "ada", None)
        .await
        .expect("it is set");
    let (lanes, _) = world
        .store
        .lanes(&[super::the_sender()])
        .await
        .expect("the lanes");
    assert_eq!(lanes[0].priority, 2);
    let read = world.read_lane(campaign, 2, 50).await;
    assert!(read.len() == 20 && read.iter().all(|due| due.priority == 2));
    assert_eq!(world.count("wa.messages where priority = 2").await, 20);
    assert_eq!(world.queue_rows().await, before);
}
