//! A recipient is a row of the outbox, which the INSERT itself fills or refuses.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgDatabaseError};
use sqlx::{AssertSqlSafe, Connection as _};
use wa_outbox::domain::id::MessageId;
use wa_outbox::store::campaign::{CampaignSettings, CampaignVerb, NewCampaign};

use super::PROMO;
use crate::support::world::{SENDER, World};

/// A connection that may do what a producer may, and nothing else.
async fn a_producer(world: &World) -> PgConnection {
    let mut connection = PgConnection::connect(&world.database.url)
        .await
        .expect("a connection");
    let role = sqlx::query("set role wa_producer")
        .execute(&mut connection)
        .await;
    role.expect("the role is there");
    connection
}

/// Message and hint of a statement that is refused.
async fn refusal(connection: &mut PgConnection, statement: &str) -> (String, String) {
    match sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
    {
        Err(sqlx::Error::Database(error)) => {
            let hint = error
                .downcast_ref::<PgDatabaseError>()
                .hint()
                .unwrap_or_default();
            (error.message().to_owned(), hint.to_owned())
        }
        other => panic!("not refused but {other:?}: {statement}"),
    }
}

#[tokio::test]
async fn a_producer_makes_a_campaign_and_its_recipients_in_plain_sql() {
    let world = World::at_rest().await;
    let mut producer = a_producer(&world).await;
    let made = format!(
        "select wa.create_campaign('spring', '{PROMO}', '{{\"priority\": 8, \"expires_after\": \"2 hours\"}}', author => 'ada')"
    );
    let campaign: i64 = sqlx::query_scalar(AssertSqlSafe(made))
        .fetch_one(&mut producer)
        .await
        .expect("a campaign");
    let written = format!(
        "insert into wa.outbox (campaign_id, recipient, variables) values
           ({campaign}, '+1 (650) 555-1001', '{{\"first_name\":\"Ada\"}}'), ({campaign}, '+16505551002', null)"
    );
    sqlx::query(AssertSqlSafe(written))
        .execute(&mut producer)
        .await
        .expect("recipients");
    let filled = "sender || ' ' || recipient || ' ' || priority || ' ' || variables::text || ' ' || (expires_at - due_at)::text";
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select {filled} from wa.outbox order by id"
    )))
    .fetch_all(&mut producer)
    .await
    .expect("the rows");
    let expected = [
        format!("{SENDER} +16505551001 8 {{\"first_name\": \"Ada\"}} 02:00:00"),
        format!("{SENDER} +16505551002 8 {{}} 02:00:00"),
    ];
    assert_eq!(rows, expected);
    sqlx::query("select wa.start_campaign($1, 'ada')")
        .bind(campaign)
        .execute(&mut producer)
        .await
        .expect("it is started");
    assert_eq!(world.campaign_state(campaign).await, "running");
}

#[tokio::test]
async fn recipients_may_be_written_into_a_draft_a_running_and_a_paused_campaign() {
    let world = World::at_rest().await;
    let campaign = world.a_draft("spring").await;
    world.add_recipients(campaign, 1).await;
    world.lead(campaign, CampaignVerb::Start).await;
    world.add_recipients(campaign, 1).await;
    world.lead(campaign, CampaignVerb::Pause).await;
    world.add_recipients(campaign, 1).await;
    assert_eq!(world.counts(campaign).await.queued, 3);
}

#[tokio::test]
async fn a_bad_recipient_is_refused_with_field_value_and_fix() {
    let world = World::at_rest().await;
    world.add_sender("2000").await;
    let (campaign, over) = (world.a_draft("spring").await, world.a_draft("winter").await);
    world.lead(over, CampaignVerb::Cancel).await;
    let done = world.a_draft("autumn").await;
    world
        .run_sql("update wa.campaigns set state = 'done' where name = 'autumn'")
        .await;
    let mut producer = a_producer(&world).await;
    let given = format!("{campaign}, '+16505551001'");
    let nothing = "campaign_id, recipient";
    let cases = [
        (
            nothing,
            "999, '+16505551001'".to_owned(),
            "campaign_id is 999: there is no such campaign",
            "campaign list",
        ),
        (
            nothing,
            format!("{over}, '+16505551001'"),
            "campaign winter is cancelled",
            "make a new campaign",
        ),
        (
            nothing,
            format!("{done}, '+16505551001'"),
            "campaign autumn is done",
            "campaign start autumn",
        ),
        (
            nothing,
            format!("{campaign}, '16505551001'"),
            "recipient \"16505551001\" does not start with +",
            "country code",
        ),
        (
            "campaign_id, recipient, variables",
            format!("{given}, '[1]'"),
            "variables is array, not an object",
            "first_name",
        ),
        (
            "campaign_id, recipient, payload",
            format!("{given}, '{PROMO}'"),
            "payload is given together with campaign_id",
            "leave it out",
        ),
        (
            "campaign_id, recipient, sequence",
            format!("{given}, 's'"),
            "sequence is given together with campaign_id",
            "leave one of them out",
        ),
        (
            "campaign_id, recipient, sender",
            format!("{given}, '2000'"),
            "sender \"2000\" is not the campaign's",
            "leave it out",
        ),
        (
            "campaign_id, recipient, priority",
            format!("{given}, 1"),
            "priority is 1 and the campaign's is 7",
            "leave it out",
        ),
        (
            "recipient, variables",
            "'+16505551001', '{}'".to_owned(),
            "variables is given without campaign_id",
            "name the campaign",
        ),
    ];
    for (columns, values, message, fix) in cases {
        let statement = format!("insert into wa.outbox ({columns}) values ({values})");
        let (said, hint) = refusal(&mut producer, &statement).await;
        assert!(
            said.contains(message) && hint.contains(fix),
            "{statement}: {said} / {hint}"
        );
    }
    assert_eq!(world.count("wa.outbox").await, 0);
}

#[tokio::test]
async fn a_campaign_that_cannot_work_is_refused_in_words() {
    let world = World::at_rest().await;
    let draft = |name: &str, payload: &str, settings| NewCampaign {
        name: name.to_owned(),
        payload: payload.to_owned(),
        settings,
        by: "ada".to_owned(),
        ..NewCampaign::default()
    };
    let text = r#"{"type":"text","text":{"body":"Hello"}}"#;
    let none = CampaignSettings::default;
    let cases = [
        (draft("spring", text, none()), "payload.type is \"text\""),
        (
            draft("spring", r#"{"type":"template","template":{}}"#, none()),
            "payload.template.name is missing",
        ),
        (
            draft("spring", &PROMO.replace("promo", "promo_{{kind}}"), none()),
            "payload.template.name is \"promo_{{kind}}\"",
        ),
        (
            draft("spring", &PROMO.replace("en_US", "{{language}}"), none()),
            "payload.template.language is \"{{language}}\"",
        ),
        (
            draft(
                "spring",
                &PROMO.replace(r#"{"code":"en_US"}"#, r#""\u007b{language}}""#),
                none(),
            ),
            "payload.template.language is \"{{language}}\"",
        ),
        (
            draft("17", PROMO, none()),
            "the_name_of_a_campaign_is_no_number",
        ),
        (
            draft(
                "spring",
                PROMO,
                CampaignSettings {
                    time_zone: Some("CEST".into()),
                    ..none()
                },
            ),
            "time_zone is \"CEST\"",
        ),
        (
            draft(
                "spring",
                PROMO,
                CampaignSettings {
                    time_zone: Some("Europe/Nowhere".into()),
                    ..none()
                },
            ),
            "time_zone is \"Europe/Nowhere\"",
        ),
        (
            draft(
                "spring",
                PROMO,
                CampaignSettings {
                    rate_share: Some(1.5),
                    ..none()
                },
            ),
            "rate_share_is_above_0_and_at_most_1",
        ),
        (
            draft(
                "spring",
                PROMO,
                CampaignSettings {
                    max_per_second: Some(Some(0.0)),
                    ..none()
                },
            ),
            "max_per_second_is_above_0",
        ),
        (
            draft(
                "spring",
                PROMO,
                CampaignSettings {
                    max_per_second: Some(Some(1e-18)),
                    ..none()
                },
            ),
            "max_per_second_is_at_least_0_0001",
        ),
        (
            draft(
                "spring",
                PROMO,
                CampaignSettings {
                    quiet_hours: Some(Some("9-21".into())),
                    ..none()
                },
            ),
            "quiet_hours_are_written_like_21_00_08_00",
        ),
        (
            draft(
                "spring",
                PROMO,
                CampaignSettings {
                    expires_after: Some(Some(Duration::ZERO)),
                    ..none()
                },
            ),
            "expires_after_is_above_0",
        ),
    ];
    for (campaign, named) in cases {
        let error = world
            .store
            .create_campaign(&campaign)
            .await
            .expect_err(named);
        let (said, _) = error.refusal().expect("a refusal in words");
        assert!(said.contains(named), "{said}");
    }
    assert_eq!(world.count("wa.campaigns").await, 0);
}

#[tokio::test]
async fn recipients_are_left_out_each_for_its_reason_and_none_that_is_on_its_way_or_of_another_campaign()
 {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 4).await;
    let other = world.a_campaign("summer", 0).await;
    let stranger = world.add_recipients(other, 1).await[0];
    world.begin(&hand, &rows[..1]).await;
    let asked: Vec<(MessageId, String)> = [rows[0], rows[1], rows[2], stranger]
        .into_iter()
        .map(|id| (id, format!("left out by ada: {id} is wrong")))
        .collect();
    let leave_out = async || {
        world
            .store
            .leave_out(campaign, &asked)
            .await
            .expect("a count")
    };
    assert_eq!(leave_out().await, 2);
    assert_eq!(leave_out().await, 0, "they have ended");
    let told = world
        .text("select string_agg(state || coalesce(' ' || error_message, ''), '; ' order by id) from wa.messages")
        .await;
    let why = |id| format!("cancelled left out by ada: {id} is wrong");
    assert_eq!(
        told,
        format!(
            "sending; {}; {}; queued; queued",
            why(rows[1]),
            why(rows[2])
        )
    );
    assert_eq!(world.counts(campaign).await.cancelled, 2);
}

#[tokio::test]
async fn the_content_of_a_recipient_is_told_as_it_is_sent() {
    let world = World::at_rest().await;
    let campaign = world.a_draft("spring").await;
    let message = world.add_recipients(campaign, 1).await[0];
    let payload = world.store.payload(message).await.expect("a look");
    assert_eq!(
        payload.expect("its content"),
        PROMO.replace("{{first_name}}", "Ada")
    );
    let says = world
        .says(&["message", "show", &message.to_string(), "--reveal"])
        .await;
    assert!(says.contains(r#""text":"Ada""#), "{says}");
    // What cannot be filled is told with its placeholders.
    world
        .run_sql("insert into wa.outbox (campaign_id, recipient) select id, '+16505551001' from wa.campaigns")
        .await;
    let unfilled = MessageId(message.0 + 1);
    let payload = world.store.payload(unfilled).await.expect("a look");
    assert_eq!(payload.expect("its content"), PROMO);
}
