//! Holds of a running service: what leaves, what waits, and what sets it free.

use serde_json::json;
use wa_outbox::domain::hold::TemplateKey;
use wa_outbox::domain::id::SenderId;
use wa_outbox::simulator::Fault;
use wa_outbox::store::template_hold::TemplateRelease;

use super::{a_persons_word, a_template};
use crate::support::make::{ALICE, BOB, Draft, a_text};
use crate::support::wire::{BEGIN, Mishap, Wire};
use crate::support::world::World;

const PEOPLE: [&str; 5] = [ALICE, BOB, "+16505551003", "+16505551004", "+16505551005"];

impl World {
    /// Every request meets this fault; none ends it.
    fn meet_everyone_with(&self, fault: Option<Fault>) {
        for person in PEOPLE {
            self.simulator.fault_always(person, fault);
        }
    }

    async fn enqueue_to_everyone(&self, draft: &Draft) {
        for person in PEOPLE {
            self.enqueue(draft.clone().to(person)).await;
        }
    }

    async fn until_held(&self) {
        self.until_true("the sender is held and nothing is out", async || {
            self.standing_hold().await.is_some()
                && self.count("wa.queue where state = 'sending'").await == 0
        })
        .await;
    }

    async fn until_template_held(&self) {
        self.until_true("a template is held", async || {
            !self.held_templates().await.is_empty()
        })
        .await;
    }

    /// Puts another token where the sender's is.
    async fn change_the_token(&self) {
        let senders = self.store.senders().await.expect("the senders");
        let path = senders[0].credential.strip_prefix("file:");
        std::fs::write(path.expect("a file"), "another-token").expect("it is written");
    }
}

#[tokio::test]
async fn a_sender_whose_token_has_expired_lets_one_message_leave_a_probe_and_loses_none() {
    let world = World::start().await;
    world.meet_everyone_with(Some(Fault::Error(190)));
    world.enqueue_to_everyone(&a_text()).await;
    world.until_held().await;
    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!((hold.cause.as_str(), hold.code), ("token", Some(190)));
    let before = world.simulator.ledger().request_count();

    world
        .run_sql("update wa.senders set probe_at = now()")
        .await;
    world
        .until_true("the probe was refused", async || {
            world
                .standing_hold()
                .await
                .is_some_and(|hold| hold.probes == 1)
        })
        .await;
    assert_eq!(world.simulator.ledger().request_count(), before + 1);

    world.meet_everyone_with(None);
    world
        .run_sql("update wa.senders set probe_at = now()")
        .await;
    world.until_all_have_ended().await;
    assert_eq!(world.count("wa.results where state = 'accepted'").await, 5);
    let said: String = world
        .value("select released_by || ': ' || released_why from wa.senders")
        .await;
    assert_eq!(said, "wa-outbox: the probe was accepted");
}

#[tokio::test]
async fn a_new_token_is_tried_at_once() {
    let world = World::start().await;
    world.meet_everyone_with(Some(Fault::Error(190)));
    world.enqueue_to_everyone(&a_text()).await;
    world.until_held().await;
    world
        .run_sql("update wa.senders set probe_at = now() + interval '1 day'")
        .await;
    world.meet_everyone_with(None);

    world.change_the_token().await;

    world.until_all_have_ended().await;
    assert_eq!(world.count("wa.results where state = 'accepted'").await, 5);
}

#[tokio::test]
async fn a_process_that_drains_tries_a_new_token_before_it_ends() {
    let mut world = World::start().await;
    world.meet_everyone_with(Some(Fault::Error(190)));
    world.enqueue_to_everyone(&a_text()).await;
    world.until_held().await;
    world.stop_service().await;
    world.meet_everyone_with(None);
    world.change_the_token().await;
    // What came back waits a moment before it is due again.
    world.run_sql("update wa.queue set due_at = now()").await;

    let drained = world
        .command(&["run", "--drain", "--roles", "worker"])
        .await;

    let said = String::from_utf8_lossy(&drained.stderr);
    assert!(drained.status.success(), "{said}");
    let accepted = world.count("wa.results where state = 'accepted'").await;
    assert_eq!(accepted, 5, "{said}");
}

#[tokio::test]
async fn a_sender_whose_account_is_locked_waits_for_a_person() {
    let world = World::start().await;
    world.meet_everyone_with(Some(Fault::Error(131031)));
    world.enqueue_to_everyone(&a_text()).await;
    world.until_held().await;
    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!((hold.cause.as_str(), hold.probe_at), ("account", None));
    world.meet_everyone_with(None);

    assert!(world.release("ada", "unlocked").await);

    world.until_all_have_ended().await;
    assert_eq!(world.count("wa.results where state = 'accepted'").await, 5);
}

#[tokio::test]
async fn a_template_that_is_refused_waits_and_other_messages_go_on() {
    let world = World::start().await;
    world
        .simulator
        .fault_always(ALICE, Some(Fault::Error(132015)));
    let refused = world.enqueue(a_template("promo", "en_US")).await;
    world.until_template_held().await;
    world.simulator.fault_always(ALICE, None);
    let waiting = world.enqueue(a_template("promo", "en_US").to(BOB)).await;
    let text = world.enqueue(a_text().to(BOB)).await;
    let other_language = world.enqueue(a_template("promo", "de").to(BOB)).await;

    world.until_state(text, "accepted").await;
    world.until_state(other_language, "accepted").await;
    for held in [refused, waiting] {
        let message = world.message(held).await;
        let words = message.waiting_for.unwrap_or_default();
        assert_eq!((message.state.as_str(), message.attempts), ("queued", 0));
        assert!(
            words.contains("template") && words.contains("held"),
            "{words}"
        );
    }
    assert_eq!(world.simulator.ledger().requests_for(BOB).len(), 2);

    world
        .run_sql("update wa.template_holds set held_until = now()")
        .await;
    world
        .run_sql("update wa.queue set due_at = now() where due_at < '9999-01-01 00:00Z'")
        .await;
    world.until_all_have_ended().await;
    let said: String = world
        .value("select released_by || ': ' || released_why from wa.template_holds")
        .await;
    assert_eq!(said, "wa-outbox: the probe was accepted");
    assert_eq!(world.count("wa.results where state = 'accepted'").await, 4);
}

#[tokio::test]
async fn a_long_backlog_of_a_held_template_stands_in_nobodys_way() {
    let world = World::at_rest().await;
    let promo = TemplateKey::new("promo", Some("en_US"));
    world.hold_template(&promo, None).await;
    let payload =
        json!({"type": "template", "template": {"name": "promo", "language": {"code": "en_US"}}});
    world
        .run_sql(&format!(
            "insert into wa.outbox (recipient, payload) select '+1650555' || (2000 + n), '{payload}' from generate_series(1, 3000) n"
        ))
        .await;
    let text = world.enqueue(a_text().to(BOB)).await;
    let mut world = world;
    world.start_service().await;

    world.until_state(text, "accepted").await;
    assert_eq!(world.simulator.ledger().request_count(), 1);

    let release = TemplateRelease {
        sender: None::<&SenderId>,
        template: &promo,
        by: "ada",
        why: "corrected",
    };
    let released = world.store.release_template(&release).await;
    assert_eq!(released.expect("it is released"), 1);
    world.until_all_have_ended().await;
    assert_eq!(world.simulator.ledger().accepted_count(), 3_001);
}

#[tokio::test]
async fn five_messages_in_a_row_that_do_not_fit_their_template_hold_it_and_the_sixth_waits() {
    let world = World::start().await;
    world
        .simulator
        .fault_always(ALICE, Some(Fault::Error(132000)));
    for _ in 0..5 {
        let message = world.enqueue(a_template("promo", "en_US")).await;
        world.until_state(message, "failed").await;
    }
    world.until_template_held().await;
    let sixth = world.enqueue(a_template("promo", "en_US")).await;
    let text = world.enqueue(a_text().to(BOB)).await;

    world.until_state(text, "accepted").await;
    assert_eq!(world.state_of(sixth).await, "queued");
    assert_eq!(world.held_templates().await[0].cause, "mismatch");
}

#[tokio::test]
async fn a_probe_that_does_not_fit_its_template_either_prolongs_the_hold_for_mismatches() {
    let world = World::start().await;
    world
        .simulator
        .fault_always(ALICE, Some(Fault::Error(132012)));
    for _ in 0..5 {
        let message = world.enqueue(a_template("promo", "en_US")).await;
        world.until_state(message, "failed").await;
    }
    world.until_template_held().await;

    let probe = world.enqueue(a_template("promo", "en_US")).await;
    world
        .until_true("it is set aside", async || {
            world
                .count("wa.queue where due_at >= '9999-01-01 00:00Z'")
                .await
                == 1
        })
        .await;
    world
        .run_sql("update wa.template_holds set held_until = now()")
        .await;
    world.until_state(probe, "failed").await;

    world
        .until_true("the probe has ended", async || {
            world.held_templates().await[0].probes == 1
        })
        .await;
    let hold = world.held_templates().await.remove(0);
    assert_eq!((hold.code, hold.is_probe_due), (Some(132012), false));
}

#[tokio::test]
async fn a_refused_template_stops_before_its_hold_is_written() {
    let world = World::start().await;
    let refuses = "create function wa.refuse_hold() returns trigger language plpgsql as
                   $$ begin raise exception 'not now'; end $$";
    world.run_sql(refuses).await;
    let no_hold_is_written = "create trigger refuse_hold before insert on wa.template_holds
                              for each row execute function wa.refuse_hold()";
    world.run_sql(no_hold_is_written).await;
    world.simulator.fault_next(ALICE, Fault::Error(132015));
    let refused = world.enqueue(a_template("promo", "en_US")).await;
    world
        .until_true("its refusal is recorded", async || {
            !world.timeline(refused).await.attempts.is_empty()
        })
        .await;

    world.enqueue(a_template("promo", "en_US").to(BOB)).await;
    let text = world.enqueue(a_text().to(BOB)).await;
    world.until_state(text, "accepted").await;

    assert_eq!(world.simulator.ledger().requests_for(BOB).len(), 1);
    assert!(world.held_templates().await.is_empty());
}

#[tokio::test]
async fn what_is_being_begun_when_its_sender_is_held_does_not_leave() {
    let mut world = World::at_rest().await;
    let wire = Wire::to(&world.database.url);
    world.start_service_over(&wire).await;
    let begin = wire.set(BEGIN, Mishap::AnswerLate);
    let message = world.enqueue(a_text()).await;
    begin.reached().await;

    assert!(world.hold(&a_persons_word()).await);
    // Whoever renews again after that has taken it up.
    for _ in 0..3 {
        world.until_every_worker_has_renewed().await;
    }
    begin.let_go().await;

    world.until_state(message, "queued").await;
    assert_eq!(world.message(message).await.attempts, 0);
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn the_log_tells_a_hold_by_its_code_and_not_in_whatsapps_words() {
    let world = World::at_rest().await;
    let worker = world.start_process("one").await;
    world
        .simulator
        .fault_always(ALICE, Some(Fault::Error(132015)));
    world.enqueue(a_template("promo", "en_US")).await;
    worker
        .until_logged("held: WhatsApp refuses it (code 132015)")
        .await;
    world.simulator.fault_always(BOB, Some(Fault::Error(190)));
    world.enqueue(a_text().to(BOB)).await;
    worker
        .until_logged("held: its token is not accepted (code 190)")
        .await;
    for words in ["Template is Paused", "Access token has expired"] {
        assert_eq!(worker.count_logged(words), 0, "{words}");
    }
}

#[tokio::test]
async fn a_template_whose_language_is_no_code_is_held_and_one_that_cannot_be_held_fails_its_message()
 {
    let mut world = World::at_rest().await;
    world
        .run_sql("update wa.senders set validate = 'off'")
        .await;
    world.start_service().await;
    world.meet_everyone_with(Some(Fault::Error(132001)));
    let odd = world.enqueue(a_template("promo", "pt BR").to(ALICE)).await;
    world
        .until(odd, "wait for its template", |message| {
            let waits_for = message.waiting_for.as_deref().unwrap_or_default();
            waits_for.starts_with("its template promo, held")
        })
        .await;
    assert_eq!(world.simulator.ledger().requests_for(ALICE).len(), 1);

    let too_long = a_template("promo", &"x".repeat(65)).to(BOB);
    let nameless = world.enqueue(too_long).await;
    let failed = world.until_state(nameless, "failed").await;
    assert_eq!(failed.error_code, Some(132001));
    assert_eq!(world.simulator.ledger().requests_for(BOB).len(), 1);
}
