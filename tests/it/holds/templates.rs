//! Holds of templates.

use serde_json::json;
use time::OffsetDateTime;
use wa_outbox::domain::hold::TemplateKey;
use wa_outbox::domain::id::{MessageId, SenderId};
use wa_outbox::simulator::{Fault, Statuses, TemplateNews, WebhookFault};
use wa_outbox::store::template_hold::{TemplateProbeEnd, TemplateRelease};

use super::a_template;
use crate::support::callbacks::a_status;
use crate::support::make::{ALICE, a_text};
use crate::support::world::World;

/// Somebody in this database waits for somebody else's lock.
const LOCK_WAITS: &str =
    "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

fn promo() -> TemplateKey {
    TemplateKey::new("promo", Some("en_US"))
}

impl World {
    async fn release_template(&self, template: &TemplateKey) -> u64 {
        let release = TemplateRelease {
            sender: None,
            template,
            by: "ada",
            why: "corrected",
        };
        let released = self.store.release_template(&release).await;
        released.expect("it is released")
    }

    async fn set_aside(&self, messages: &[MessageId], hold: i64) -> u64 {
        let messages: Vec<_> = messages.iter().map(|id| (*id, hold)).collect();
        let aside = self.store.put_off_for_template(&messages).await;
        aside.expect("they are set aside")
    }

    async fn waits_for(&self, id: MessageId) -> String {
        self.message(id).await.waiting_for.unwrap_or_default()
    }

    async fn due_messages(&self) -> i64 {
        self.count("wa.queue where due_at <= now()").await
    }

    async fn let_it_be_tried(&self) {
        self.run_sql("update wa.template_holds set held_until = now()")
            .await;
    }
}

#[tokio::test]
async fn a_held_template_holds_its_whole_backlog_at_once_and_nothing_else() {
    let world = World::at_rest().await;
    world.a_worker().await;
    let held = world.enqueue(a_template("promo", "en_US")).await;
    let other_language = world.enqueue(a_template("promo", "de")).await;
    let other_template = world.enqueue(a_template("order", "en_US")).await;
    let text = world.enqueue(a_text()).await;

    assert!(world.hold_template(&promo(), Some(132015)).await);

    assert_eq!(
        world.waits_for(held).await,
        "its template promo, held: Template is Paused"
    );
    for free in [other_language, other_template, text] {
        assert_eq!(world.waits_for(free).await, "its turn");
    }
    let message = world.message(held).await;
    assert_eq!((message.state.as_str(), message.attempts), ("queued", 0));
    let holds = world.held_templates().await;
    assert!(holds[0].covers(&TemplateKey::new("promo", Some("en-US"))));
    assert!(!holds[0].covers(&TemplateKey::new("promo", Some("de"))));
}

#[tokio::test]
async fn a_hold_without_a_language_is_for_every_language() {
    let world = World::at_rest().await;
    world.a_worker().await;
    world
        .hold_template(&TemplateKey::new("promo", None), None)
        .await;
    for language in ["en_US", "de"] {
        let message = world.enqueue(a_template("promo", language)).await;
        assert!(world.waits_for(message).await.contains("promo, held"));
        let key = TemplateKey::new("promo", Some(language));
        assert!(world.held_templates().await[0].covers(&key));
    }
}

#[tokio::test]
async fn a_template_is_held_once_and_a_person_takes_over_a_machines_hold() {
    let world = World::at_rest().await;
    assert!(world.hold_template(&promo(), Some(132015)).await);
    assert!(!world.hold_template(&promo(), Some(132001)).await);
    assert!(world.hold_template(&promo(), None).await);
    assert!(!world.hold_template(&promo(), None).await);
    assert!(!world.hold_template(&promo(), Some(132015)).await);

    let holds = world.held_templates().await;
    assert_eq!(holds.len(), 1);
    assert_eq!(
        (holds[0].cause.as_str(), holds[0].held_until),
        ("operator", None)
    );
}

#[tokio::test]
async fn what_is_set_aside_is_out_of_the_way_and_comes_back_to_its_place() {
    let world = World::at_rest().await;
    world.a_worker().await;
    let mut messages = Vec::new();
    for priority in [0, 5, 5, 9, 9] {
        let draft = a_template("promo", "en_US").with_priority(priority);
        messages.push(world.enqueue(draft).await);
    }
    let text = world.enqueue(a_text()).await;
    let before: Vec<OffsetDateTime> = world.due_times().await;
    world.hold_template(&promo(), Some(132015)).await;
    let hold = world.held_templates().await[0].hold;

    assert_eq!(world.set_aside(&messages, hold).await, 5);
    assert_eq!(world.due_messages().await, 1);
    assert_eq!(world.waits_for(text).await, "its turn");
    let aside = world.message(messages[0]).await;
    assert_eq!(aside.due_at, before[0]);
    assert_eq!(
        aside.waiting_for.as_deref(),
        Some("its template promo, held: Template is Paused")
    );

    assert_eq!(world.release_template(&promo()).await, 1);
    world.bring_everything_back().await;

    assert_eq!(world.due_times().await, before);
    assert_eq!(world.waits_for(messages[0]).await, "its turn");
    let open = world
        .count("wa.template_holds where brought_back_at is null")
        .await;
    assert_eq!(open, 0);
}

#[tokio::test]
async fn a_message_for_the_year_9999_is_no_message_set_aside() {
    let world = World::at_rest().await;
    let message = world.enqueue(a_template("promo", "en_US")).await;
    world.hold_template(&promo(), Some(132015)).await;
    let hold = world.held_templates().await[0].hold;
    let mut far = a_text();
    far.0.due_at = Some(
        world
            .value(&format!("select wa.set_aside_at({hold})"))
            .await,
    );
    let far = world.enqueue(far).await;
    assert_eq!(world.waits_for(far).await, "its due time");
    world.set_aside(&[message], hold).await;

    world.release_template(&promo()).await;
    world.bring_everything_back().await;

    assert_eq!(world.due_messages().await, 1);
    assert_eq!(world.waits_for(far).await, "its due time");
}

#[tokio::test]
async fn what_is_set_aside_can_be_cancelled() {
    let world = World::at_rest().await;
    let message = world.enqueue(a_template("promo", "en_US")).await;
    world.hold_template(&promo(), Some(132015)).await;
    let hold = world.held_templates().await[0].hold;
    world.set_aside(&[message], hold).await;

    world.store.cancel(message).await.expect("it is cancelled");

    assert_eq!(world.state_of(message).await, "cancelled");
}

#[tokio::test]
async fn only_what_its_own_hold_had_set_aside_comes_back() {
    let world = World::at_rest().await;
    let (one, other) = (
        world.enqueue(a_template("promo", "en_US")).await,
        world.enqueue(a_template("order", "en_US")).await,
    );
    world.hold_template(&promo(), None).await;
    world
        .hold_template(&TemplateKey::new("order", None), None)
        .await;
    for hold in world.held_templates().await {
        let message = if hold.template == "promo" { one } else { other };
        world.set_aside(&[message], hold.hold).await;
    }

    world.release_template(&promo()).await;
    world.bring_everything_back().await;

    assert_eq!(world.due_messages().await, 1);
    assert!(world.waits_for(other).await.contains("order, held"));
}

#[tokio::test]
async fn after_a_release_nothing_is_set_aside_any_more() {
    let world = World::at_rest().await;
    let message = world.enqueue(a_template("promo", "en_US")).await;
    world.hold_template(&promo(), None).await;
    let hold = world.held_templates().await[0].hold;
    // A release that is not committed yet when a worker that has read the hold sets its messages aside.
    let mut releasing = world.database.pool.begin().await.expect("a transaction");
    sqlx::query("update wa.template_holds set released_at = now(), released_by = 'ada', released_why = 'corrected'")
        .execute(&mut *releasing)
        .await
        .expect("it is released");
    let store = world.store.clone();
    let setting_aside =
        tokio::spawn(async move { store.put_off_for_template(&[(message, hold)]).await });
    world
        .until_true("the worker waits for the release, or has not", async || {
            setting_aside.is_finished() || world.count(LOCK_WAITS).await > 0
        })
        .await;
    releasing.commit().await.expect("it is committed");

    let aside = setting_aside.await.expect("it ends").expect("it is asked");
    assert_eq!(aside, 0);
    assert_eq!(world.due_messages().await, 1);
}

#[tokio::test]
async fn a_probe_makes_one_message_due_that_was_set_aside_and_is_begun_once() {
    let world = World::at_rest().await;
    let (owner, other) = (world.a_worker().await, world.a_worker().await);
    let mut messages = Vec::new();
    for priority in [5, 0, 5] {
        let draft = a_template("promo", "en_US").with_priority(priority);
        messages.push(world.enqueue(draft).await);
    }
    world.hold_template(&promo(), Some(132015)).await;
    let hold = world.held_templates().await[0].hold;
    world.set_aside(&messages, hold).await;
    let begin = async |worker| {
        let begun = world.store.begin_template_probe(worker, hold).await;
        begun.expect("it is asked")
    };

    assert!(!begin(owner).await, "it is not time yet");
    world.let_it_be_tried().await;
    assert!(!begin(other).await, "it is another's sender");
    assert!(begin(owner).await);
    assert!(!begin(owner).await, "one is being tried");

    let due: Vec<i64> = sqlx::query_scalar("select id from wa.queue where due_at <= now()")
        .fetch_all(&world.database.pool)
        .await
        .expect("the queue");
    assert_eq!(due, [messages[1].0]);
}

#[tokio::test]
async fn a_probe_that_began_before_anything_was_set_aside_finds_one_message_due() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    assert!(world.hold_template(&promo(), Some(132_015)).await);
    let hold = world.held_templates().await[0].hold;
    world.let_it_be_tried().await;
    let messages = [
        world.enqueue(a_template("promo", "en_US")).await,
        world.enqueue(a_template("promo", "en_US")).await,
    ];
    let begun = world.store.begin_template_probe(worker, hold).await;
    assert!(begun.expect("it is asked"));

    // They were read before the probe, and are set aside after it.
    assert_eq!(world.set_aside(&messages, hold).await, 1);

    assert_eq!(world.due_messages().await, 1);
}

#[tokio::test]
async fn a_probe_that_begins_while_all_its_messages_are_being_set_aside_makes_one_due() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    world.enqueue(a_template("promo", "en_US")).await;
    assert!(world.hold_template(&promo(), Some(132_015)).await);
    let hold = world.held_templates().await[0].hold;
    world.let_it_be_tried().await;
    // As `put_off_for_template` does it, and not committed yet when the probe begins.
    let mut setting_aside = world.database.pool.begin().await.expect("a transaction");
    for statement in [
        "select hold from wa.template_holds for share",
        "update wa.queue set due_at = wa.set_aside_at((select hold from wa.template_holds))",
    ] {
        let done = sqlx::query(statement).execute(&mut *setting_aside).await;
        done.expect("it is done");
    }
    let store = world.store.clone();
    let beginning = tokio::spawn(async move { store.begin_template_probe(worker, hold).await });
    world
        .until_true("the probe waits for it, or does not", async || {
            beginning.is_finished() || world.count(LOCK_WAITS).await > 0
        })
        .await;
    setting_aside.commit().await.expect("it is committed");

    let begun = beginning.await.expect("it ends");
    assert!(begun.expect("it is asked"));
    assert_eq!(world.due_messages().await, 1);
}

#[tokio::test]
async fn a_probe_prolongs_or_ends_the_hold_as_it_is_answered() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    world.hold_template(&promo(), Some(132015)).await;
    let hold = world.held_templates().await[0].hold;
    let probe = async |end| {
        world.let_it_be_tried().await;
        let begun = world.store.begin_template_probe(worker, hold).await;
        assert!(begun.expect("it is asked"));
        let ended = world.store.end_template_probe(hold, end).await;
        assert!(ended.expect("it is ended"));
    };

    let again = TemplateProbeEnd::HeldAgain {
        reason: "Template is Disabled",
        code: Some(132016),
        rest: std::time::Duration::from_secs(3_600),
    };
    probe(again).await;
    let held = world.held_templates().await.remove(0);
    assert_eq!((held.probes, held.code), (1, Some(132016)));
    assert!(!held.is_probing && !held.is_probe_due);

    probe(TemplateProbeEnd::Nothing).await;
    assert!(world.held_templates().await[0].is_probing);
    world
        .run_sql("update wa.template_holds set probing_until = now()")
        .await;
    assert!(world.held_templates().await[0].is_probe_due);

    probe(TemplateProbeEnd::Accepted).await;
    assert!(world.held_templates().await.is_empty());
    let late = world.store.end_template_probe(hold, again).await;
    assert!(!late.expect("it is asked"));
    let said: String = world
        .value("select released_by || ': ' || released_why from wa.template_holds")
        .await;
    assert_eq!(said, "wa-outbox: the probe was accepted");
}

#[tokio::test]
async fn a_persons_hold_is_not_tried_and_ends_when_its_time_is_over() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    let message = world.enqueue(a_template("promo", "en_US")).await;
    world.hold_template(&promo(), None).await;
    let hold = world.held_templates().await[0].hold;
    world.set_aside(&[message], hold).await;
    world.let_it_be_tried().await;
    let begun = world.store.begin_template_probe(worker, hold).await;
    assert!(!begun.expect("it is asked"));

    assert_eq!(world.end_what_is_over().await, 1);
    world.bring_everything_back().await;

    assert_eq!(world.due_messages().await, 1);
}

#[tokio::test]
async fn a_webhook_holds_a_template_for_those_who_used_it_and_releases_it_again() {
    let mut world = World::at_rest().await;
    world.add_sender("2").await;
    world
        .run_sql("update wa.senders set held_reason = 'not yet', held_by = 'test'")
        .await;
    let message = world.enqueue(a_template("promo", "en_US")).await;
    let mut others = a_template("promo", "de");
    others.0.sender = Some("2".to_owned());
    world.enqueue(others).await;
    world.start_service().await;
    let news = |event: &str| TemplateNews {
        name: "promo".to_owned(),
        language: "en-US".to_owned(),
        event: event.to_owned(),
        reason: "NONE".to_owned(),
    };
    let tell = async |event| {
        let answer = world.simulator.tell_template(&news(event)).await;
        assert_eq!(answer.expect("it is posted"), 200);
        world.until_webhooks_are_applied().await;
    };

    tell("PAUSED").await;
    let holds = world.held_templates().await;
    assert_eq!(
        (holds[0].template.as_str(), holds[0].language.as_deref()),
        ("promo", Some("en_US"))
    );
    assert_eq!(holds[0].reason, "WhatsApp says PAUSED");
    let of_the_other = world.store.template_holds(&[SenderId::from("2")]).await;
    assert!(of_the_other.expect("the holds").is_empty());
    world.set_aside(&[message], holds[0].hold).await;

    tell("PENDING").await;
    assert_eq!(world.held_templates().await.len(), 1);

    tell("APPROVED").await;
    assert!(world.held_templates().await.is_empty());
    world
        .until_true("its message is due again", async || {
            world.due_messages().await == 2
        })
        .await;
}

#[tokio::test]
async fn no_webhook_releases_what_a_person_holds() {
    let world = World::start().await;
    world.hold_template(&promo(), None).await;
    let news = TemplateNews {
        name: "promo".to_owned(),
        language: "en_US".to_owned(),
        event: "APPROVED".to_owned(),
        reason: "NONE".to_owned(),
    };
    world
        .simulator
        .tell_template(&news)
        .await
        .expect("it is posted");
    world.until_webhooks_are_applied().await;
    assert_eq!(world.held_templates().await.len(), 1);
}

#[tokio::test]
async fn a_message_that_was_taken_and_failed_for_its_template_holds_it_as_a_refusal_does() {
    let mut refused = Vec::new();
    for fault in [None, Some(WebhookFault::Failed(132015))] {
        let mut world = World::start().await;
        match fault {
            None => world.simulator.fault_next(ALICE, Fault::Error(132015)),
            Some(fault) => world.simulator.webhook_fault_next(ALICE, fault),
        }
        world.enqueue(a_template("promo", "en-US")).await;
        world
            .until_true("the template is held", async || {
                !world.held_templates().await.is_empty()
            })
            .await;

        let hold = world.held_templates().await.remove(0);
        let rest = hold.held_until.expect("an end") - hold.held_at;
        assert!(
            hold.reason.contains("Template is Paused"),
            "{}",
            hold.reason
        );
        assert!(world.stop_service().await);
        let next = world.enqueue(a_template("promo", "en_US")).await;
        let waits_for = world.waits_for(next).await;
        assert!(waits_for.contains("promo, held"), "{waits_for}");
        let rest = (rest.as_seconds_f64() / 60.0).round();
        let told = (
            hold.template,
            hold.language,
            hold.cause,
            hold.code,
            hold.held_by,
        );
        refused.push((told, rest));
    }
    assert_eq!(refused[0], refused[1]);
    assert_eq!(refused[0].1, 180.0);
}

#[tokio::test]
async fn a_failure_that_is_told_late_or_again_does_not_hold_its_template_once_more() {
    let world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    let mut wamids = Vec::new();
    for draft in [a_template("promo", "en_US"), a_text()] {
        let id = world.enqueue(draft).await;
        let message = world.until_state(id, "accepted").await;
        wamids.push(message.wamid.expect("a wamid"));
    }
    let failed = |wamid: &str, code: i64, hours_ago: i64| {
        let now = wa_outbox::clock::Clock::system().now();
        let at = now.unix_timestamp() - hours_ago * 3_600;
        let mut status = a_status(wamid, "failed", at);
        status["errors"] = json!([{"code": code, "title": "Template is Paused"}]);
        [status]
    };

    world.deliver(&failed(&wamids[0], 131026, 0)).await;
    world.deliver(&failed(&wamids[1], 132015, 0)).await;
    world.deliver(&failed(&wamids[0], 132015, 4)).await;
    assert!(world.held_templates().await.is_empty(), "its rest is over");

    world.deliver(&failed(&wamids[0], 132015, 1)).await;
    let hold = world.held_templates().await.remove(0);
    let rest = hold.held_until.expect("an end") - hold.held_at;
    assert_eq!((rest.as_seconds_f64() / 60.0).round(), 120.0);

    assert_eq!(world.release_template(&promo()).await, 1);
    world.deliver(&failed(&wamids[0], 132015, 1)).await;
    assert!(
        world.held_templates().await.is_empty(),
        "it was released since"
    );
}

impl World {
    /// When each message is due, in the order they were written.
    async fn due_times(&self) -> Vec<OffsetDateTime> {
        sqlx::query_scalar("select due_at from wa.queue order by id")
            .fetch_all(&self.database.pool)
            .await
            .expect("the queue")
    }
}
