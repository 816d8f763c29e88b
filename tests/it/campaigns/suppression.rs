//! A suppressed recipient's row ends before any request, whoever suppressed them and when.

use serde_json::json;
use wa_outbox::store::campaign::CampaignSettings;
use wa_outbox::store::suppression::{NewSuppression, SuppressionFilter};

use super::{refused, wamid_of};
use crate::support::callbacks::{a_delivery, a_status};
use crate::support::make::{ALICE, a_text};
use crate::support::world::{SENDER, World};

const AT: i64 = 1_700_000_000;
/// "User has stopped marketing messages" (Meta, Error codes).
const STOPPED: i64 = 131_050;

/// The recipient that [`World::add_recipients`] writes as its `n`th.
fn recipient(n: i64) -> String {
    format!("+1650555{}", 1_000 + n)
}

fn nobody() -> NewSuppression {
    NewSuppression {
        reason: "asked us to stop".to_owned(),
        ..NewSuppression::default()
    }
}

/// A `user_preferences` webhook as Meta writes it.
fn a_preference(wa_id: &str, value: &str, at: i64) -> String {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": [{
        "field": "user_preferences",
        "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": SENDER},
            "contacts": [{"wa_id": wa_id}],
            "user_preferences": [{"wa_id": wa_id, "detail": "User requested it", "category": "marketing_messages",
              "value": value, "timestamp": at}],
        },
    }]}]})
    .to_string()
}

impl World {
    /// As each look of a worker does, of an older one, too.
    async fn notes_what_waits(&self) {
        let looked = self.store.look_after_sequences(&[], 10).await;
        looked.expect("a look");
    }

    async fn suppress(&self, suppression: NewSuppression) {
        let written = self.store.suppress(&[suppression], "operator", "ada").await;
        assert_eq!(written.expect("it is written"), 1);
    }

    /// Why nobody writes marketing to this recipient, if so.
    async fn suppressed(&self, recipient: &str) -> Option<String> {
        let recipients = [recipient.to_owned()];
        let found = self
            .store
            .suppressed_because(&recipients, SENDER, Some("marketing"))
            .await;
        found.expect("a look").remove(0)
    }
}

#[tokio::test]
async fn a_suppressed_recipient_ends_when_it_is_read_and_others_are_read_in_its_place() {
    let world = World::at_rest().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 30).await;
    for n in 1..=12 {
        world
            .suppress(NewSuppression {
                recipient: recipient(n),
                ..nobody()
            })
            .await;
    }
    let read = world.read_lane(campaign, 7, 5).await;
    assert_eq!(
        read.iter().map(|due| due.id).collect::<Vec<_>>(),
        rows[12..17]
    );
    let ended = world.message(rows[0]).await;
    assert_eq!((ended.state.as_str(), ended.attempts), ("cancelled", 0));
    assert_eq!(
        ended.error_message.as_deref(),
        Some("its recipient must not be messaged: asked us to stop")
    );
    let counts = world.counts(campaign).await;
    assert_eq!(
        (counts.suppressed, counts.cancelled, counts.queued),
        (12, 0, 18)
    );
}

#[tokio::test]
async fn one_suppressed_after_it_was_read_is_not_begun() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 2).await;
    assert_eq!(world.read_lane(campaign, 7, 5).await.len(), 2);
    world
        .suppress(NewSuppression {
            recipient: recipient(1),
            ..nobody()
        })
        .await;
    let begun = world.begin(&hand, &rows).await;
    assert_eq!(
        begun.iter().map(|begun| begun.id).collect::<Vec<_>>(),
        [rows[1]]
    );
}

#[tokio::test]
async fn one_suppressed_after_it_was_begun_is_left_to_its_answer() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 1).await;
    assert_eq!(world.begin(&hand, &rows).await.len(), 1);
    world
        .suppress(NewSuppression {
            recipient: recipient(1),
            ..nobody()
        })
        .await;
    let ended = world.store.end_suppressed(&rows).await;
    assert_eq!(ended.expect("an answer"), 0);
    assert_eq!(world.state_of(rows[0]).await, "sending");
}

#[tokio::test]
async fn a_suppression_counts_for_its_sender_its_category_and_its_time() {
    let world = World::at_rest().await;
    world.add_sender("2000").await;
    let utility = CampaignSettings {
        category: Some(Some("utility".into())),
        ..CampaignSettings::default()
    };
    let campaign = world.a_draft_with("spring", utility).await;
    world.add_recipients(campaign, 5).await;
    let hour = time::Duration::hours(1);
    let now = time::OffsetDateTime::from_unix_timestamp(
        world
            .text("select extract(epoch from now())::bigint::text")
            .await
            .parse()
            .expect("seconds"),
    );
    let now = now.expect("a time");
    for suppression in [
        NewSuppression {
            recipient: recipient(1),
            sender: Some("2000".into()),
            ..nobody()
        },
        NewSuppression {
            recipient: recipient(2),
            category: Some("marketing".into()),
            ..nobody()
        },
        NewSuppression {
            recipient: recipient(3),
            expires_at: Some(now - hour),
            ..nobody()
        },
        NewSuppression {
            recipient: "+1 (650) 555-1004".into(),
            expires_at: Some(now + hour),
            ..nobody()
        },
        NewSuppression {
            recipient: recipient(5),
            sender: Some(SENDER.into()),
            category: Some("utility".into()),
            ..nobody()
        },
    ] {
        world.suppress(suppression).await;
    }
    let read = world.read_lane(campaign, 7, 10).await;
    let left: Vec<String> = read.into_iter().map(|due| due.recipient).collect();
    assert_eq!(left, [recipient(1), recipient(2), recipient(3)]);
}

#[tokio::test]
async fn who_may_not_be_sent_campaigns_may_be_answered() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    world
        .suppress(NewSuppression {
            recipient: recipient(1),
            ..nobody()
        })
        .await;
    let answer = world.enqueue(a_text().to(&recipient(1))).await;
    assert_eq!(world.read_lane(0, 5, 5).await.len(), 1);
    assert_eq!(world.begin(&hand, &[answer]).await.len(), 1);
}

#[tokio::test]
async fn suppressions_are_listed_written_over_and_removed() {
    let world = World::at_rest().await;
    let two = [
        NewSuppression {
            recipient: recipient(1),
            ..nobody()
        },
        NewSuppression {
            recipient: recipient(1),
            reason: "moved".into(),
            ..nobody()
        },
        NewSuppression {
            recipient: recipient(2),
            ..nobody()
        },
    ];
    assert_eq!(
        world
            .store
            .suppress(&two, "import", "ada")
            .await
            .expect("they are written"),
        2
    );
    let all = world
        .store
        .suppressions(&SuppressionFilter::default(), 0, 10)
        .await
        .expect("a list");
    assert_eq!(
        all.iter()
            .map(|one| one.reason.as_str())
            .collect::<Vec<_>>(),
        ["moved", "asked us to stop"]
    );
    let one = SuppressionFilter {
        recipient: Some("+1 650 555 1001".into()),
        ..SuppressionFilter::default()
    };
    assert_eq!(
        world
            .store
            .remove_suppressions(&SuppressionFilter::default())
            .await
            .expect("none"),
        0
    );
    assert_eq!(world.store.remove_suppressions(&one).await.expect("one"), 1);
    assert_eq!(world.suppressed(&recipient(1)).await, None);
    let bad = NewSuppression {
        recipient: "+1650CALLME".into(),
        ..nobody()
    };
    let error = world
        .store
        .suppress(&[bad], "operator", "ada")
        .await
        .expect_err("no number");
    assert!(error.refusal().expect("in words").0.contains("letters"));
}

#[tokio::test]
async fn a_suppression_is_of_the_number_that_is_meant_or_is_refused() {
    let world = World::at_rest().await;
    let by_sql = async |text: &str, source: &str| {
        sqlx::query_scalar::<_, String>(
            "insert into wa.suppressions (recipient, reason, source) values ($1, 'x', $2) returning recipient",
        )
        .bind(text)
        .bind(source)
        .fetch_one(&world.database.pool)
        .await
        .map_err(|error| error.to_string())
    };
    let by_hand = async |text: &str| {
        let one = NewSuppression {
            recipient: text.into(),
            ..nobody()
        };
        let written = world.store.suppress(&[one], "operator", "ada").await;
        written.map_err(|error| error.refusal().expect("in words").0.to_owned())
    };

    for (n, before) in (1..).zip(["\u{a0}", "\u{202f} ", "\u{3000}(", "-"]) {
        let text = format!("{before}+1 650 555\u{a0}{}", 1_000 + n);
        assert_eq!(by_sql(&text, "operator").await, Ok(recipient(n)), "{text}");
        assert_eq!(by_hand(&text).await, Ok(1), "{text}");
        assert!(world.suppressed(&recipient(n)).await.is_some(), "{text}");
    }
    for (text, why) in [
        ("whatsapp:+16505551001", "no phone number"),
        ("tel:16505551001", "no phone number"),
        ("16505551001@c.us", "no phone number"),
        ("\u{200e}+16505551001", "no phone number"),
        ("\u{feff}+16505551001", "no phone number"),
        ("\u{202f}16505551001", "does not start with +"),
        ("(650) 555-1001", "does not start with +"),
        ("4.91512E+12", "no phone number"),
        ("4.91512E12", "no phone number"),
        ("+", "no phone number"),
        ("123", "no phone number"),
        ("US 1349", "no phone number"),
    ] {
        let refused = by_sql(text, "operator").await.expect_err(text);
        assert!(refused.contains(why), "{text}: {refused}");
        let refused = by_hand(text).await.expect_err(text);
        assert!(refused.contains(why), "{text}: {refused}");
    }
    for id in [
        "US.13491208655302741918",
        "Y2FwaV9ncm91cDoxNzA1OQ==",
        "12ab-C_d",
        "ada",
    ] {
        assert_eq!(by_sql(id, "operator").await.as_deref(), Ok(id));
        assert_eq!(by_hand(id).await, Ok(1), "{id}");
    }
    // What WhatsApp tells is kept, and whoever was written to by that id can be spoken of.
    assert_eq!(
        by_sql("a:b", "webhook").await.as_deref(),
        Ok("a:b"),
        "as it was told"
    );
    let group = "120363012345678901";
    by_hand(group).await.expect_err("nobody");
    world
        .run_sql(&format!(
            "insert into wa.outbox (recipient, recipient_kind, payload)
             values ('{group}', 'group', '{{\"type\":\"text\",\"text\":{{\"body\":\"a\"}}}}')"
        ))
        .await;
    assert_eq!(by_hand(group).await, Ok(1));
}

#[tokio::test]
async fn a_suppression_of_nobody_that_stands_can_be_ended() {
    let world = World::at_rest().await;
    for statement in [
        "alter table wa.suppressions disable trigger suppression_is_checked",
        "insert into wa.suppressions (recipient, reason) values ('whatsapp:+16505551001', 'x')",
        "alter table wa.suppressions enable trigger suppression_is_checked",
        "update wa.suppressions set expires_at = now()",
    ] {
        world.run_sql(statement).await;
    }
    assert_eq!(
        world
            .count("wa.suppressions where expires_at <= now()")
            .await,
        1
    );
}

#[tokio::test]
async fn an_answer_that_somebody_has_stopped_marketing_suppresses_them_for_that_sender() {
    let world = World::at_rest().await;
    world.add_sender("2000").await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 3).await;
    let begun = world.begin(&hand, &rows[..2]).await;
    world.record(&begun[0], refused(STOPPED)).await;
    world.record(&begun[1], refused(131_026)).await;
    assert!(world.suppressed(&recipient(1)).await.is_some());
    assert_eq!(world.suppressed(&recipient(2)).await, None);
    let other = world
        .store
        .suppressed_because(&[recipient(1)], "2000", Some("marketing"))
        .await;
    assert_eq!(other.expect("a look"), [None]);
    let utility = world
        .store
        .suppressed_because(&[recipient(1)], SENDER, Some("utility"))
        .await;
    assert_eq!(utility.expect("a look"), [None]);
}

#[tokio::test]
async fn a_failed_status_suppresses_once_and_not_again_when_it_is_repeated() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 1).await;
    world.send(&hand, rows[0]).await;
    let mut status = a_status(&wamid_of(rows[0]), "failed", AT);
    status["errors"] = json!([{"code": STOPPED, "title": "stopped"}]);
    let failed = a_delivery(&[status]);
    world.apply_deliveries(std::slice::from_ref(&failed)).await;
    assert!(world.suppressed(&recipient(1)).await.is_some());
    let filter = SuppressionFilter {
        recipient: Some(recipient(1)),
        ..SuppressionFilter::default()
    };
    world
        .store
        .remove_suppressions(&filter)
        .await
        .expect("it is removed");
    world.apply_deliveries(&[failed]).await;
    assert_eq!(world.suppressed(&recipient(1)).await, None);
}

#[tokio::test]
async fn of_what_somebody_chooses_in_whatsapp_the_latest_counts_in_whatever_order_it_comes() {
    let world = World::at_rest().await;
    let (ada, wa_id) = ("+16505551001", "16505551001");
    world
        .apply_deliveries(&[a_preference(wa_id, "stop", AT)])
        .await;
    assert!(world.suppressed(ada).await.is_some());
    world
        .apply_deliveries(&[a_preference(wa_id, "resume", AT + 10)])
        .await;
    assert_eq!(world.suppressed(ada).await, None);
    world
        .apply_deliveries(&[
            a_preference(wa_id, "stop", AT),
            a_preference(wa_id, "stop", AT + 5),
        ])
        .await;
    assert_eq!(world.suppressed(ada).await, None, "older words came late");
    world
        .apply_deliveries(&[
            a_preference(wa_id, "stop", AT + 20),
            a_preference(wa_id, "resume", AT + 15),
        ])
        .await;
    assert!(world.suppressed(ada).await.is_some());
    world
        .apply_deliveries(&[a_preference(wa_id, "signup", AT + 30)])
        .await;
    assert!(world.suppressed(ada).await.is_some());
}

#[tokio::test]
async fn what_a_person_has_suppressed_no_webhook_sets_free() {
    let world = World::at_rest().await;
    let ada = "+16505551001";
    let written = NewSuppression {
        recipient: ada.into(),
        sender: Some(SENDER.into()),
        category: Some("marketing".into()),
        ..nobody()
    };
    world.suppress(written).await;
    world
        .apply_deliveries(&[a_preference("16505551001", "resume", 4_000_000_000)])
        .await;
    assert_eq!(
        world.suppressed(ada).await.as_deref(),
        Some("asked us to stop")
    );
}

#[tokio::test]
async fn an_import_shortens_no_suppression_and_a_word_about_one_recipient_does() {
    let world = World::at_rest().await;
    let for_days = |days: Option<i64>| {
        let now = wa_outbox::clock::Clock::system().now();
        let until = days.map(|days| now + time::Duration::days(days));
        [NewSuppression {
            recipient: ALICE.to_owned(),
            reason: "asked us to stop".to_owned(),
            expires_at: until,
            ..NewSuppression::default()
        }]
    };
    let days = async |for_days: [NewSuppression; 1], source: &str| {
        let written = world.store.suppress(&for_days, source, "ada").await;
        assert_eq!(written.expect("it is written"), 1);
        world
            .text("select coalesce(round(extract(epoch from expires_at - now()) / 86400)::text, 'for good') from wa.suppressions")
            .await
    };
    assert_eq!(days(for_days(Some(30)), "operator").await, "30");
    assert_eq!(days(for_days(Some(10)), "import").await, "30");
    assert_eq!(days(for_days(Some(60)), "import").await, "60");
    assert_eq!(days(for_days(None), "import").await, "for good");
    assert_eq!(days(for_days(Some(10)), "import").await, "for good");
    assert_eq!(days(for_days(Some(10)), "operator").await, "10");
}

/// Whatever an application writes about the `n`th recipient, and has not committed.
async fn an_open_suppression(world: &World, n: i64) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut open = world.database.pool.begin().await.expect("a transaction");
    sqlx::query("insert into wa.suppressions (recipient, sender, category, reason) values ($1, $2, 'marketing', 'asked')")
        .bind(recipient(n))
        .bind(SENDER)
        .execute(&mut *open)
        .await
        .expect("it is written");
    open
}

#[tokio::test]
async fn what_somebody_chooses_keeps_no_delivery_back_while_an_application_has_their_suppression_open()
 {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 2).await;
    world.send(&hand, rows[1]).await;
    let open = an_open_suppression(&world, 1).await;

    let told = [
        a_preference("16505551001", "stop", AT),
        a_preference("16505551002", "stop", AT),
        a_delivery(&[a_status(&wamid_of(rows[1]), "delivered", AT)]),
    ];
    let applied = world.apply_deliveries(&told);
    tokio::time::timeout(std::time::Duration::from_secs(10), applied)
        .await
        .expect("nobody is waited for");
    let status = world.message(rows[1]).await.status;
    assert_eq!(status.as_deref(), Some("delivered"));
    assert!(world.suppressed(&recipient(2)).await.is_some());
    assert_eq!(world.count("wa.waiting_preferences").await, 1);
    world.notes_what_waits().await;
    assert_eq!(world.count("wa.waiting_preferences").await, 1);

    // What WhatsApp has told stands, though the application has thought better of it.
    open.rollback().await.expect("it is given up");
    world
        .run_sql("update wa.waiting_preferences set look_at = now()")
        .await;
    world.notes_what_waits().await;
    assert_eq!(world.count("wa.waiting_preferences").await, 0);
    assert!(world.suppressed(&recipient(1)).await.is_some());
    assert_eq!(world.count("wa.waiting_preferences").await, 0);
}

#[tokio::test]
async fn of_what_somebody_chooses_the_latest_counts_in_whatever_order_it_is_noted() {
    let world = World::at_rest().await;
    let hears = async |value: &str, at: i64| {
        let told = [a_preference("16505551001", value, at)];
        world.apply_deliveries(&told).await;
        world.suppressed(&recipient(1)).await.is_some()
    };
    assert!(hears("stop", AT).await);
    assert!(hears("stop", AT + 40).await);
    assert!(hears("resume", AT + 20).await, "of before the second stop");
    assert!(!hears("resume", AT + 60).await);
    assert!(!hears("stop", AT + 50).await);
    assert!(hears("stop", AT + 70).await);
}

#[tokio::test]
async fn an_answer_is_recorded_while_an_application_has_the_suppression_open_that_it_tells_of() {
    let world = World::at_rest().await;
    let hand = world.a_hand().await;
    let campaign = world.a_campaign("spring", 0).await;
    let rows = world.add_recipients(campaign, 1).await;
    let begun = world.begin(&hand, &rows).await;
    let open = an_open_suppression(&world, 1).await;
    let recorded = world.record(&begun[0], refused(STOPPED));
    tokio::time::timeout(std::time::Duration::from_secs(10), recorded)
        .await
        .expect("nobody is waited for");
    assert_eq!(world.state_of(rows[0]).await, "failed");
    open.rollback().await.expect("it is given up");
    world.notes_what_waits().await;
    assert_eq!(world.count("wa.waiting_preferences").await, 0);
    assert!(world.suppressed(&recipient(1)).await.is_some());
}
