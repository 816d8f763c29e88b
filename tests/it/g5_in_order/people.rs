//! What people are told of sequences, and what they may do about them: the verbs, as they are typed.

use wa_outbox::domain::id::MessageId;
use wa_outbox::simulator::{Fault, Status};

use super::{a_silent_world, part};
use crate::support::make::ALICE;
use crate::support::world::{SENDER, World};

/// Says a verb about the story to Alice.
fn about<'a>(verb: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let story = [SENDER, "+1 (650) 555-1001", "story"];
    [verb, &story, more].concat()
}

const WHY: [&str; 2] = ["--reason", "told by phone"];

/// Three parts of which the first was refused.
async fn a_halted_story() -> (World, [MessageId; 3]) {
    let world = a_silent_world().await;
    world.simulator.fault_next(ALICE, Fault::Error(131026));
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    let third = world.enqueue(part(3)).await;
    world.until_state(first, "failed").await;
    (world, [first, second, third])
}

#[tokio::test]
async fn a_halt_is_found_explained_and_lifted_by_verb() {
    let (world, [first, second, third]) = a_halted_story().await;

    let list = world.says(&["sequence", "list"]).await;
    assert!(list.contains("+165…01") && list.contains("story"), "{list}");
    assert!(
        list.contains(&format!("message {first} failed: (#131026)")),
        "{list}"
    );
    assert!(!list.contains("5551001"), "{list}");
    let halted = "is halted, since 20";
    for (question, halted) in [
        (about(&["why", "sequence"], &[]), halted),
        (about(&["sequence", "show"], &[]), halted),
        (
            vec!["why", "message", &second.to_string()],
            "is halted since ",
        ),
    ] {
        let says = world.says(&question).await;
        let sentence = says.lines().next().expect("a sentence");
        assert!(sentence.contains(halted), "{says}");
        assert!(
            sentence.contains(&format!("message {first} failed: (#131026)")),
            "{says}"
        );
        assert!(!says.contains("5551001"), "{says}");
    }

    let no_reason = world.refuses(&about(&["sequence", "resume"], &[])).await;
    assert!(no_reason.contains("--reason"), "{no_reason}");
    let says = world.says(&about(&["sequence", "resume"], &WHY)).await;
    assert_eq!(says, "Sequence 'story' goes on.\n");
    world.until_state(second, "accepted").await;
    assert_eq!(world.state_of(third).await, "waiting");

    let shown = world
        .says_json(&about(&["sequence", "show"], &["--json"]))
        .await;
    let events = shown["events"].as_array().expect("events");
    assert_eq!(events[0]["what"], "resumed");
    assert_eq!(
        (&events[0]["author"], &events[0]["reason"]),
        (&"ada".into(), &"told by phone".into())
    );
    assert_eq!(
        (&events[1]["what"], &events[1]["member"]),
        (&"halted".into(), &first.0.into())
    );
    assert_eq!(shown["recipient"], "+165…01");
    let not_halted = world.refuses(&about(&["sequence", "resume"], &WHY)).await;
    assert!(
        not_halted.contains("sequence 'story' is not halted"),
        "{not_halted}"
    );
}

#[tokio::test]
async fn why_names_the_message_waited_for_what_releases_it_and_when_it_is_overdue() {
    let world = a_silent_world().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    world.until_state(first, "accepted").await;

    let of_message = world.says(&["why", "message", &second.to_string()]).await;
    let of_sequence = world.says(&about(&["why", "sequence"], &[])).await;
    let (message, sequence) = (
        of_message.lines().next().expect("a sentence"),
        of_sequence.lines().next().expect("a sentence"),
    );
    assert!(
        message.starts_with(&format!(
            "Message {second} waits behind message {first} in sequence 'story': {first} was accepted "
        )),
        "{message}"
    );
    assert!(
        message.ends_with(
            ", no status has come yet, and must be delivered or read; if it is not, the sequence halts in 30 days."
        ),
        "{message}"
    );
    assert!(
        sequence.starts_with(&format!(
            "Sequence 'story' to +165…01 waits for message {first}"
        )),
        "{sequence}"
    );
    assert!(
        sequence.contains("to be delivered or read, since its acceptance at 20"),
        "{sequence}"
    );
    assert!(sequence.contains("the timeout comes 20"), "{sequence}");
    assert!(
        sequence.contains("(in 30 days), then it halts"),
        "{sequence}"
    );

    world
        .says(&[
            "sequence",
            "set",
            "--of",
            &second.to_string(),
            "--delivery-timeout",
            "2h",
            "--on-timeout",
            "proceed",
        ])
        .await;
    let says = world
        .says(&["why", "sequence", "--of", &second.to_string()])
        .await;
    assert!(
        says.contains("then the next one leaves all the same"),
        "{says}"
    );
    let json = world
        .says_json(&["why", "sequence", "--of", &second.to_string(), "--json"])
        .await;
    assert_eq!(
        (&json["delivery_timeout_s"], &json["on_timeout"]),
        (&7_200.0.into(), &"proceed".into())
    );
}

#[tokio::test]
async fn a_message_that_has_left_is_skipped_and_no_longer_waited_for() {
    let world = a_silent_world().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    let third = world.enqueue(part(3)).await;
    let first = world.until_state(first, "accepted").await;

    let says = world.says(&about(&["sequence", "skip"], &WHY)).await;
    assert!(says.contains("is no longer waited for"), "{says}");
    world.until_state(second, "accepted").await;

    // Whatever is told of it now, it is behind the others.
    world.hear(&first, Status::Failed(131026)).await;
    world.hear(&first, Status::Delivered).await;
    assert_eq!(world.state_of(third).await, "waiting");
    assert!(
        !world
            .message(third)
            .await
            .waiting_for
            .expect("words")
            .contains("halted")
    );
}

#[tokio::test]
async fn a_message_that_has_not_left_is_cancelled_when_it_is_skipped() {
    let world = World::at_rest().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;

    let says = world.says(&about(&["sequence", "skip"], &WHY)).await;
    assert!(says.contains("had not left and is cancelled"), "{says}");
    let first = world.message(first).await;
    assert_eq!(
        (first.state.as_str(), first.error_message.as_deref()),
        ("cancelled", Some("cancelled by ada: told by phone"))
    );
    assert_eq!(world.state_of(second).await, "queued");
}

#[tokio::test]
async fn a_message_whose_request_is_out_cannot_be_skipped() {
    let world = a_silent_world().await;
    world.simulator.fault_next(ALICE, Fault::AcceptThenHang);
    world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    world.until_asked(1).await;

    let refusal = world.refuses(&about(&["sequence", "skip"], &WHY)).await;
    assert!(refusal.contains("is out"), "{refusal}");
    assert_eq!(world.state_of(second).await, "waiting");
    assert_eq!(world.count("wa.sequence_events").await, 0);
}

#[tokio::test]
async fn a_cancelled_sequence_keeps_what_has_left_and_starts_anew() {
    let (world, [first, second, third]) = a_halted_story().await;

    let says = world.says(&about(&["sequence", "cancel"], &WHY)).await;
    assert_eq!(says, "Sequence 'story': 2 messages are cancelled.\n");
    assert_eq!(world.state_of(first).await, "failed");
    for id in [second, third] {
        assert_eq!(world.state_of(id).await, "cancelled");
    }
    let fourth = world.enqueue(part(4)).await;
    world.until_state(fourth, "accepted").await;
    let fifth = world.enqueue(part(5)).await;
    assert_eq!(world.state_of(fifth).await, "waiting");

    world.says(&about(&["sequence", "cancel"], &WHY)).await;
    assert_eq!(world.state_of(fifth).await, "cancelled");
    // What has left is still waited for.
    let sixth = world.enqueue(part(6)).await;
    assert_eq!(world.state_of(sixth).await, "waiting");
}

#[tokio::test]
async fn an_application_sets_leads_and_reads_its_sequences_by_sql() {
    let (world, [_, second, _]) = a_halted_story().await;
    world
        .run_sql(&format!(
            "do $$ begin
               set local role wa_producer;
               perform wa.set_sequence('{SENDER}', '{ALICE}', 'story', on_failure => 'skip', delivery_timeout => '1 hour');
               perform wa.resume_sequence('{SENDER}', '{ALICE}', 'story', 'the shop', 'the customer was told');
               set local role wa_viewer;
               if (select s.on_failure from wa.sequence_standings s
                   where s.recipient = wa.plain_recipient('+1 650 555 1001')) is distinct from 'skip' then
                 raise 'it is not read as it was set';
               end if;
             end $$"
        ))
        .await;
    world.until_state(second, "accepted").await;

    let wrong = sqlx::query("select wa.set_sequence($1, $2, 'story', on_failure => 'stop')")
        .bind(SENDER)
        .bind(ALICE)
        .execute(&world.database.pool)
        .await
        .expect_err("there is no such policy");
    assert!(
        wrong.to_string().contains("on_failure is \"stop\""),
        "{wrong}"
    );
}

#[tokio::test]
async fn a_sequence_that_does_not_exist_is_said_not_to_without_its_number() {
    let world = World::at_rest().await;
    for verb in [["sequence", "show"], ["why", "sequence"]] {
        let refusal = world.refuses(&about(&verb, &[])).await;
        assert!(
            refusal.contains("there is no sequence 'story'"),
            "{refusal}"
        );
        assert!(!refusal.contains("5551001"), "{refusal}");
    }
    for verb in ["resume", "skip", "cancel"] {
        let refusal = world.refuses(&about(&["sequence", verb], &WHY)).await;
        assert!(
            refusal.contains("there is no sequence \"story\""),
            "{refusal}"
        );
        assert!(!refusal.contains("5551001"), "{refusal}");
    }
    assert_eq!(
        world.says(&["sequence", "list"]).await,
        "No sequence is halted.\n"
    );
}

#[tokio::test]
async fn what_is_no_recipient_is_refused_wherever_a_person_writes_one() {
    let world = World::at_rest().await;
    let somebody = ["suppress", "add", "+1 650 555 1001", "--reason", "asked"];
    world.says(&somebody).await;
    for (recipient, why) in [
        ("16505551001", "does not start with +"),
        ("0650 5551001", "does not start with +"),
        ("garbage <x>", "is no user id"),
    ] {
        let set = [
            "sequence",
            "set",
            SENDER,
            recipient,
            "story",
            "--on-failure",
            "skip",
        ];
        for line in [
            &[&set[..], &WHY].concat()[..],
            &["suppress", "list", "--recipient", recipient],
            &["suppress", "remove", recipient],
        ] {
            let refusal = world.refuses(line).await;
            assert!(
                refusal.contains(why) && refusal.contains("fix: write "),
                "{line:?}: {refusal}"
            );
        }
    }
    assert_eq!(world.count("wa.sequences").await, 0);
    let id = [
        "sequence",
        "set",
        SENDER,
        "US.13491208655302741918",
        "story",
        "--on-failure",
        "skip",
    ];
    world.says(&[&id[..], &WHY].concat()).await;
    assert_eq!(
        world
            .count("wa.sequences where recipient = 'US.13491208655302741918'")
            .await,
        1
    );
}

#[tokio::test]
async fn what_is_written_after_a_cancellation_leaves_whoever_had_halted_it() {
    let world = a_silent_world().await;
    world.simulator.fault_next(ALICE, Fault::Error(131026));
    let hold = ["sender", "hold", SENDER, "--reason", "for a moment"];
    world.says(&hold).await;
    let head = world.enqueue(part(1)).await;
    let behind = world.enqueue(part(2)).await;
    // The one behind halts the sequence, and the head fails meanwhile.
    world
        .says(&["message", "cancel", &behind.to_string()])
        .await;
    world.says(&["sender", "release", SENDER]).await;
    world.until_state(head, "failed").await;

    world.says(&about(&["sequence", "cancel"], &WHY)).await;
    let anew = world.enqueue(part(3)).await;
    world.until_state(anew, "accepted").await;
}

#[tokio::test]
async fn messages_of_no_campaign_are_not_left_out_of_one() {
    let world = World::at_rest().await;
    let head = world.enqueue(part(1)).await;
    let left_out: i64 = sqlx::query_scalar("select wa.leave_out(0, array[$1], array['x'])")
        .bind(head.0)
        .fetch_one(&world.database.pool)
        .await
        .expect("an answer");
    assert_eq!(
        (left_out, world.state_of(head).await.as_str()),
        (0, "queued")
    );
}

#[tokio::test]
async fn a_default_that_is_shortened_counts_for_who_comes_to_the_front_and_why_says_so() {
    let world = a_silent_world().await;
    let first = world.enqueue(part(1)).await;
    let second = world.enqueue(part(2)).await;
    let third = world.enqueue(part(3)).await;
    world.until_state(first, "accepted").await;
    let shorten = [
        "sender",
        "set",
        SENDER,
        "--delivery-timeout",
        "1s",
        "--on-timeout",
        "proceed",
    ];
    world.says(&shorten).await;
    // By now it would have been overdue.
    world
        .until_true("a second is over", async || {
            let over =
                format!("wa.results where id = {first} and ended_at < now() - interval '1 second'");
            world.count(&over).await == 1
        })
        .await;

    let second_id = second.to_string();
    let says = world.says(&["why", "message", &second_id]).await;
    let sentence = says.lines().next().expect("a sentence");
    assert!(
        sentence.ends_with(
            "if it is not, the next one leaves all the same in 30 days, for the timeout was longer when it came to the front."
        ),
        "{says}"
    );
    assert_eq!(world.state_of(second).await, "waiting");

    // Who sets the sequence itself has it taken up at once; who comes to the front then waits as long as the default says.
    let set = [
        "sequence",
        "set",
        "--of",
        &second_id,
        "--delivery-timeout",
        "1s",
    ];
    world.says(&set).await;
    world.until_state(second, "accepted").await;
    world.until_state(third, "accepted").await;
}
