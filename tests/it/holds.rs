//! Holds: who is held, what is tried again and when, and what ends it. Here as the database keeps them, by the functions that
//! every worker and every command goes through.

mod at_work;
mod senders;
mod shown;
mod templates;

use serde_json::json;
use wa_outbox::domain::hold::{Cause, TemplateKey, template_rest};
use wa_outbox::domain::id::SenderId;
use wa_outbox::store::hold::{NewHold, SenderHold};
use wa_outbox::store::lease::WorkerId;
use wa_outbox::store::template_hold::{NewTemplateHold, TemplateCause, TemplateHold};

use crate::support::make::{Draft, a_message};
use crate::support::world::{SENDER, World};

/// The sender of every world.
fn the_sender() -> SenderId {
    SenderId::from(SENDER)
}

/// What an expired token leads to.
fn an_expired_token<'a>() -> NewHold<'a> {
    NewHold {
        cause: Cause::Token,
        reason: "(190) Access token has expired",
        by: "wa-outbox",
        until: None,
        code: Some(190),
        fingerprint: None,
    }
}

/// What a person says.
fn a_persons_word<'a>() -> NewHold<'a> {
    NewHold {
        cause: Cause::Operator,
        reason: "under review",
        by: "ada",
        until: None,
        code: None,
        fingerprint: None,
    }
}

/// A message of this template to Alice.
fn a_template(name: &str, language: &str) -> Draft {
    a_message(
        json!({"type": "template", "template": {"name": name, "language": {"code": language}}}),
    )
}

impl World {
    /// A worker of the test's own, which holds every sender that nobody holds.
    async fn a_worker(&self) -> WorkerId {
        let lease = std::time::Duration::from_secs(3_600);
        let worker = self.store.register_worker("of the test", lease).await;
        let worker = worker.expect("a worker");
        self.store.take_senders(worker).await.expect("its senders");
        worker
    }

    async fn hold(&self, hold: &NewHold<'_>) -> bool {
        let held = self.store.hold_sender_for(&the_sender(), hold).await;
        held.expect("the hold is written")
    }

    /// The sender's hold, if it is held.
    async fn standing_hold(&self) -> Option<SenderHold> {
        let holds = self.store.sender_holds(&[the_sender()]).await;
        holds.expect("the holds").pop()
    }

    async fn release(&self, by: &str, why: &str) -> bool {
        let sender = the_sender();
        let released = self.store.release_sender_by(&sender, by, why).await;
        released.expect("it is released")
    }

    /// Ends the holds whose time is over, and says how many.
    async fn end_what_is_over(&self) -> u64 {
        let senders = [the_sender()];
        let of_senders = self.store.end_sender_holds(&senders).await;
        let of_templates = self.store.end_template_holds(&senders).await;
        of_senders.expect("it is asked") + of_templates.expect("it is asked")
    }

    /// Holds a template of the sender as an answer with this code does, or as a person does.
    async fn hold_template(&self, template: &TemplateKey, code: Option<i64>) -> bool {
        let (cause, by) = match code {
            Some(_) => (TemplateCause::Answer, "wa-outbox"),
            None => (TemplateCause::Operator, "ada"),
        };
        let hold = NewTemplateHold {
            sender: &the_sender(),
            template,
            cause,
            reason: "Template is Paused",
            by,
            code,
            rest: code.map(|code| template_rest(Some(code))),
        };
        let held = self.store.hold_template(&hold).await;
        held.expect("the hold is written")
    }

    /// The sender's templates that are held.
    async fn held_templates(&self) -> Vec<TemplateHold> {
        let holds = self.store.template_holds(&[the_sender()]).await;
        holds.expect("the holds")
    }

    /// Makes due again whatever is to be.
    async fn bring_everything_back(&self) {
        while self.store.bring_back(2).await.expect("it is brought back") {}
    }

    /// One value of a statement of the test's own.
    async fn value<T>(&self, statement: &str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement.to_owned()))
            .fetch_one(&self.database.pool)
            .await
            .unwrap_or_else(|error| panic!("`{statement}`: {error}"))
    }
}

#[tokio::test]
async fn what_has_been_begun_is_not_set_aside() {
    let world = World::at_rest().await;
    let message = world.enqueue(a_template("promo", "en_US")).await;
    world.run_sql("update wa.queue set state = 'sending', attempt = 1, epoch = 1, begun_at = now(), deadline = now()").await;
    world
        .hold_template(&TemplateKey::new("promo", Some("en_US")), None)
        .await;
    let hold = world.held_templates().await[0].hold;

    let aside = world.store.put_off_for_template(&[(message, hold)]).await;
    assert_eq!(aside.expect("an answer"), 0);
    assert_eq!(world.count("wa.queue where due_at <= now()").await, 1);
}
