//! What WhatsApp, or something before it, answers to a request.

use wa_outbox::simulator::{Fault, Statuses};

use super::{Bad, Section};
use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

pub(super) async fn section() -> Section {
    let mut bad = Vec::new();
    let world = World::start().await;
    world.simulator.set_statuses(Statuses::none());
    for (place, (input, fault)) in [
        ("400 with code 100", Fault::Error(100)),
        ("400 with code 131026", Fault::Error(131_026)),
        ("400 with code 131047", Fault::Error(131_047)),
        ("400 with code 131051", Fault::Error(131_051)),
        ("400 with code 132000", Fault::Error(132_000)),
        (
            "200 with code 131026 among its errors",
            Fault::ErrorsWith200(131_026),
        ),
        ("200 with a page of HTML", Fault::AcceptThenAnswerHtml),
        ("200 without an id", Fault::AcceptThenAnswerWithoutId),
        ("200 that names another recipient", Fault::EchoAnother),
        (
            "200, and the connection ends in the middle",
            Fault::AcceptThenTruncateAnswer,
        ),
        ("500 with code 131000", Fault::Error(131_000)),
        ("502 with a gateway's page", Fault::GatewayPage),
        ("408", Fault::RequestTimeout),
        ("no answer: the connection ends", Fault::CloseAfterReading),
        ("no answer in time", Fault::Hang),
    ]
    .into_iter()
    .enumerate()
    {
        bad.push(Bad::new(input, told(&world, place, fault).await));
    }
    for (input, fault) in [
        ("401 with code 190", Fault::Error(190)),
        ("403 with code 10", Fault::Error(10)),
        ("400 with code 131042", Fault::Error(131_042)),
        (
            "404 with code 132001, for a template",
            Fault::Error(132_001),
        ),
    ] {
        let world = World::start().await;
        bad.push(Bad::new(input, told_of_a_hold(&world, fault).await));
    }
    (
        "Answers",
        "State of the message, and what `wa.messages` and `wa.attempts` say of it; of a sender or a template that is held, why.",
        bad,
    )
}

async fn told(world: &World, place: usize, fault: Fault) -> String {
    let recipient = format!("+16505551{place:03}");
    world.simulator.fault_next(&recipient, fault);
    let id = world.enqueue(a_text().to(&recipient)).await;
    world
        .until_true("its attempt is written down", async || {
            !world.timeline(id).await.attempts.is_empty()
        })
        .await;
    world
        .until(id, "failed or uncertain", |message| {
            ["failed", "uncertain"].contains(&message.state.as_str())
        })
        .await;
    let timeline = world.timeline(id).await;
    let attempt = &timeline.attempts[0];
    let message = &timeline.message;
    let words = [message.error_message.as_deref(), attempt.note.as_deref()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n");
    let code = message
        .error_code
        .map(|code| format!(" {code}"))
        .unwrap_or_default();
    format!("{}{code}\n{words}", message.state)
}

async fn told_of_a_hold(world: &World, fault: Fault) -> String {
    world.simulator.set_statuses(Statuses::none());
    let recipient = "+16505551000";
    world.simulator.fault_next(recipient, fault);
    let draft = crate::support::make::a_message(
        serde_json::json!({"type": "template", "template": {"name": "promo", "language": {"code": "en_US"}}}),
    );
    let id = world.enqueue(draft.to(recipient)).await;
    let held = async || -> Option<String> {
        let ask = "select held_reason from wa.senders where sender = $1 and held_reason is not null
                   union all select reason from wa.template_holds";
        sqlx::query_scalar(ask)
            .bind(SENDER)
            .fetch_optional(&world.database.pool)
            .await
            .expect("an answer")
    };
    world
        .until_true("something is held", async || held().await.is_some())
        .await;
    format!(
        "{}\n{}",
        world.until_state(id, "queued").await.state,
        held().await.expect("a reason")
    )
}
