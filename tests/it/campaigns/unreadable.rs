//! What Postgres can keep and no program can read: it is refused or means nothing, and what is there all the same costs only itself.

use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use wa_outbox::domain::ramp::Ramp;
use wa_outbox::store::campaign::CampaignVerb;

use super::PROMO;
use crate::support::make::{ALICE, a_text};
use crate::support::world::{SENDER, World};

/// No time that a program can read; the first is for ever where there may be none.
const TIMES: [&str; 4] = [
    "infinity",
    "-infinity",
    "10000-01-01 00:00Z",
    "1969-12-31 23:59Z",
];

impl World {
    /// Does this with no more rights than a role has; the error with its hint where it is refused.
    async fn does(&self, role: &str, statement: &str) -> Result<(), String> {
        let mut connection = PgConnection::connect(&self.database.url_as(role))
            .await
            .expect("it answers");
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await;
        match done {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error)) => {
                let error = error.downcast::<sqlx::postgres::PgDatabaseError>();
                let said = (error.column(), error.message(), error.hint());
                Err(format!("{said:?}"))
            }
            Err(error) => panic!("`{statement}`: {error}"),
        }
    }

    async fn everything_can_be_read(&self) {
        for command in [
            &["campaign", "list"][..],
            &["sender", "list"],
            &["suppress", "list"],
            &["template", "list"],
        ] {
            self.says(command).await;
        }
    }

    /// As it was before there was such a check.
    async fn is_unchecked(&self, table: &str, trigger: &str) {
        self.run_sql(&format!("alter table wa.{table} disable trigger {trigger}"))
            .await;
    }
}

#[tokio::test]
async fn a_time_that_no_program_can_read_is_for_ever_or_refused() {
    let world = World::at_rest().await;
    let campaign = world.a_draft("spring").await;
    let by_function = |column: &str, time: &str| {
        format!(r#"select wa.set_campaign({campaign}, '{{"{column}":"{time}"}}')"#)
    };
    let owner = &world.text("select current_user::text").await;
    for time in TIMES {
        let never_ends = [
            ("ends_at", "wa_producer", by_function("ends_at", time)),
            (
                "ends_at",
                "wa_producer",
                format!(
                    "insert into wa.campaigns (name, payload, ends_at) values ('summer', '{PROMO}', '{time}')"
                ),
            ),
            (
                "held_until",
                owner,
                format!(
                    "update wa.senders set held_reason = 'rest', held_by = 'ada', held_until = '{time}'"
                ),
            ),
            (
                "held_until",
                owner,
                format!(
                    "insert into wa.template_holds (sender, template, cause, reason, held_by, held_until)
                     values ('{SENDER}', 'promo', 'operator', 'rest', 'ada', '{time}')"
                ),
            ),
            (
                "expires_at",
                "wa_producer",
                format!(
                    "insert into wa.suppressions (recipient, reason, expires_at) values ('{ALICE}', 'asked', '{time}')"
                ),
            ),
        ];
        for (column, role, statement) in never_ends {
            match world.does(role, &statement).await {
                Ok(()) => assert_eq!(time, "infinity", "{statement}"),
                Err(said) => {
                    assert_ne!(time, "infinity", "{statement}: {said}");
                    assert!(said.contains(&format!("{column} is ")), "{said}");
                    assert!(said.contains("1970 to the end of 9999, or leave"), "{said}");
                }
            }
        }
        let has_a_time = [
            ("starts_at", "wa_producer", by_function("starts_at", time)),
            (
                "preflight_at",
                "wa_producer",
                format!("update wa.campaigns set preflight_at = '{time}'"),
            ),
            (
                "created_at",
                "wa_producer",
                format!(
                    "insert into wa.suppressions (recipient, reason, created_at) values ('{ALICE}', 'asked', '{time}')"
                ),
            ),
            (
                "held_until",
                owner,
                format!(
                    "insert into wa.template_holds (sender, template, cause, reason, held_by, held_until)
                     values ('{SENDER}', 'other', 'answer', 'paused', 'wa-outbox', '{time}')"
                ),
            ),
        ];
        for (column, role, statement) in has_a_time {
            let said = world.does(role, &statement).await;
            let said = said.expect_err(&statement);
            assert!(said.contains(&format!("{column} is ")), "{said}");
            assert!(said.contains("1970 to the end of 9999\""), "{said}");
        }
    }
    for none in [
        "wa.campaigns where name = 'spring' and ends_at is null",
        "wa.campaigns where name = 'summer' and ends_at is null",
        "wa.senders where held_reason = 'rest' and held_until is null",
        "wa.template_holds where held_until is null",
        "wa.suppressions where expires_at is null",
    ] {
        assert_eq!(world.count(none).await, 1, "{none}");
    }
    world.everything_can_be_read().await;
}

#[tokio::test]
async fn a_campaign_that_is_to_end_at_infinity_is_sent_by_a_worker_that_lives() {
    let world = World::start().await;
    let campaign = world.a_draft("spring").await;
    let messages = world.add_recipients(campaign, 1).await;
    let led = format!(
        r#"select wa.set_campaign({campaign}, '{{"ends_at":"infinity"}}'); select wa.start_campaign({campaign})"#
    );
    world.does("wa_producer", &led).await.expect("it is done");
    world.until_state(messages[0], "accepted").await;
}

#[tokio::test]
async fn what_was_written_before_it_was_refused_is_mended_as_it_was_meant() {
    let world = World::at_rest().await;
    for name in ["spring", "summer", "autumn"] {
        world.a_draft(name).await;
    }
    for (table, triggers) in [
        (
            "campaigns",
            &["a_time_can_be_read", "campaign_is_checked"][..],
        ),
        ("senders", &["a_time_can_be_read"]),
        ("suppressions", &["a_time_can_be_read"]),
        (
            "template_holds",
            &["a_time_can_be_read", "a_time_of_a_probe_can_be_read"],
        ),
    ] {
        for trigger in triggers {
            world.is_unchecked(table, trigger).await;
        }
    }
    let hours = r#"[{"per_hour":"100","for_hours":719,"note":1e400},{"per_hour":1000,"for_hours":2},{"per_hour":5000}]"#;
    for statement in [
        format!("update wa.campaigns set ends_at = 'infinity', ramp = '{hours}' where name = 'spring'"),
        "update wa.campaigns set starts_at = 'infinity', preflight_at = '-infinity' where name = 'summer'".to_owned(),
        "update wa.campaigns set starts_at = '-infinity', ends_at = '1960-01-01' where name = 'autumn'".to_owned(),
        "update wa.senders set held_reason = 'rest', held_by = 'ada', held_until = 'infinity'".to_owned(),
        format!("insert into wa.suppressions (recipient, reason, expires_at, created_at) values ('{ALICE}', 'asked', '11000-01-01', '-infinity')"),
        format!(
            "insert into wa.template_holds (sender, template, cause, reason, held_by, held_until) values
             ('{SENDER}', 'promo', 'operator', 'rest', 'ada', 'infinity'), ('{SENDER}', 'other', 'operator', 'rest', 'ada', '-infinity'),
             ('{SENDER}', 'third', 'answer', 'paused', 'wa-outbox', 'infinity')"
        ),
        "alter table wa.campaigns enable trigger campaign_is_checked".to_owned(),
        "delete from wa.migrations where description = 'times and ramps'".to_owned(),
    ] {
        world.run_sql(&statement).await;
    }

    world.says(&["migrate"]).await;

    world.everything_can_be_read().await;
    for mended in [
        r#"wa.campaigns where name = 'spring' and ends_at is null
           and ramp = '[{"per_hour":100,"for_hours":719},{"per_hour":1000,"for_hours":1}]'"#,
        "wa.campaigns where name = 'summer' and starts_at = '9999-12-31 00:00Z' and preflight_at = 'epoch'",
        "wa.campaigns where name = 'autumn' and starts_at is null and ends_at = 'epoch'",
        "wa.senders where held_reason = 'rest' and held_until is null",
        "wa.suppressions where expires_at is null and created_at = 'epoch'",
        "wa.template_holds where template = 'promo' and held_until is null",
        "wa.template_holds where template = 'other' and held_until = 'epoch'",
        "wa.template_holds where template = 'third' and held_until = '9999-12-31 00:00Z'",
    ] {
        assert_eq!(world.count(mended).await, 1, "{mended}");
    }
}

#[tokio::test]
async fn a_campaign_that_cannot_be_read_is_paused_and_costs_no_other_anything() {
    let world = World::start().await;
    for name in ["spring", "summer"] {
        world.a_draft(name).await;
    }
    world.is_unchecked("campaigns", "campaign_is_checked").await;
    for statement in [
        r#"update wa.campaigns set ramp = '[{"per_hour":100,"for_hours":721}]' where name = 'spring'"#,
        r#"update wa.campaigns set ramp = '[{"per_hour":100,"note":1e400}]' where name = 'summer'"#,
    ] {
        world.run_sql(statement).await;
    }
    world
        .run_sql("alter table wa.campaigns enable trigger campaign_is_checked")
        .await;
    let good = world.a_draft("autumn").await;
    let messages = world.add_recipients(good, 1).await;
    world
        .run_sql("select wa.start_campaign(id) from wa.campaigns order by id")
        .await;

    world.until_state(messages[0], "accepted").await;
    let paused = "wa.campaigns where state = 'paused' and state_reason like 'its ramp cannot be read: %' and state_changed_by = 'wa-outbox'";
    world
        .until_true("they are paused", async || world.count(paused).await == 2)
        .await;
    assert_eq!(world.campaign_state(good).await, "running");
}

#[tokio::test]
async fn a_campaign_that_runs_and_was_never_started_is_paused_and_costs_no_other_anything() {
    let world = World::start().await;
    for name in ["spring", "summer"] {
        world.a_draft(name).await;
    }
    let endless = world.a_draft("winter").await;
    let messages = world.add_recipients(endless, 1).await;
    world.is_unchecked("campaigns", "a_time_can_be_read").await;
    for statement in [
        "update wa.campaigns set state = 'running' where name = 'spring'",
        "update wa.campaigns set state = 'running', started_at = 'infinity' where name = 'summer'",
        "update wa.campaigns set state = 'running', started_at = now(), ends_at = 'infinity' where name = 'winter'",
    ] {
        world.run_sql(statement).await;
    }

    world.until_state(messages[0], "accepted").await;
    let paused = "wa.campaigns where state = 'paused' and state_reason = 'it runs, and nobody has started it'";
    world
        .until_true("they are paused", async || world.count(paused).await == 2)
        .await;
    assert_eq!(world.campaign_state(endless).await, "running");
}

#[tokio::test]
async fn a_campaign_of_before_whose_language_is_a_variable_is_paused_and_nothing_of_it_leaves() {
    let world = World::start().await;
    let campaign = world.a_draft("spring").await;
    let rows = world.add_recipients(campaign, 1).await;
    world.is_unchecked("campaigns", "campaign_is_checked").await;
    world
        .run_sql(r#"update wa.campaigns set payload = replace(payload::text, 'en_US', '{{first_name}}')::json"#)
        .await;
    world.lead(campaign, CampaignVerb::Start).await;
    world
        .until_true("it is paused", async || {
            world.campaign_state(campaign).await == "paused"
        })
        .await;
    let why = world.text("select state_reason from wa.campaigns").await;
    let says = "its template cannot be used: /template/language/code is a variable; make a campaign for each template and language";
    assert_eq!(why, says);
    assert_eq!(world.state_of(rows[0]).await, "queued");
}

#[tokio::test]
async fn a_campaign_that_can_be_neither_read_nor_paused_keeps_no_hold_from_being_taken_up() {
    let world = World::start().await;
    let campaign = world.a_draft("spring").await;
    world.is_unchecked("campaigns", "campaign_is_checked").await;
    for statement in [
        r#"update wa.campaigns set ramp = '[]'"#,
        "alter table wa.campaigns add constraint nobody_pauses check (state <> 'paused') not valid",
    ] {
        world.run_sql(statement).await;
    }
    world.lead(campaign, CampaignVerb::Start).await;
    let before = world.enqueue(a_text().to(ALICE)).await;
    world.until_state(before, "accepted").await;

    let hold = "update wa.senders set held_reason = 'rest', held_by = 'ada'";
    world.run_sql(hold).await;
    world
        .until_true("the worker has taken it up", async || {
            let after = world.enqueue(a_text().to(ALICE)).await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            world.state_of(after).await == "queued"
        })
        .await;
}

#[tokio::test]
async fn the_database_takes_those_ramps_that_the_program_takes() {
    let world = World::at_rest().await;
    let mut taken = 0;
    for written in [
        r#"[{"per_hour":100}]"#,
        r#"[{"per_hour":1e2,"for_hours":720}]"#,
        r#"[{"per_hour":4294967295}]"#,
        r#"[{"per_hour":100,"for_hours":719},{"per_hour":1000,"for_hours":1}]"#,
        r#"[{"per_hour":4294967296}]"#,
        r#"[{"per_hour":99999999999999999999}]"#,
        r#"[{"per_hour":100,"for_hours":720},{"per_hour":1000,"for_hours":1}]"#,
        r#"[{"per_hour":100,"for_hours":720},{"per_hour":1000}]"#,
        r#"[{"per_hour":100,"for_hours":721}]"#,
        r#"[{"per_hour":100,"for_hours":4294967296}]"#,
        r#"[{"per_hour":"100"}]"#,
        r#"[{"per_hour":100,"for_hours":"1"}]"#,
        r#"[{"per_hour":100,"for_hours":null}]"#,
        r#"[{"per_hour":100,"note":"x"}]"#,
        r#"[{"per_hour":100.0}]"#,
        r#"[{"per_hour":100.5}]"#,
        r#"[{"per_hour":0}]"#,
        r#"[{"per_hour":-1}]"#,
        r#"[{"per_hour":null}]"#,
        r#"[{"per_hour":100,"for_hours":0}]"#,
        r#"[{"for_hours":1}]"#,
        r#"[{}]"#,
        r#"["100/h"]"#,
        r#"[100]"#,
        r#"[null]"#,
        r#"[]"#,
        r#"{}"#,
        r#"{"per_hour":100}"#,
        r#""100/h""#,
        r#"null"#,
    ] {
        let (is_sound, kept): (bool, Value) =
            sqlx::query_as("select wa.campaign_ramp_is_sound(r), r from (select $1::jsonb as r) r")
                .bind(written)
                .fetch_one(&world.database.pool)
                .await
                .unwrap_or_else(|error| panic!("{written}: {error}"));
        let read = serde_json::from_value::<Ramp>(kept);
        assert_eq!(is_sound, read.is_ok(), "{written}: {read:?}");
        taken += usize::from(is_sound);
    }
    assert_eq!(taken, 4);
}
