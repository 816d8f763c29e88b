//! Holds of senders.

use wa_outbox::domain::hold::{Cause, Fingerprint, FingerprintKey, cause_of};
use wa_outbox::domain::outcome::HoldScope;
use wa_outbox::provider::codes::{Class, Dialect, table};
use wa_outbox::store::hold::{NewHold, ProbeEnd};

use super::{a_persons_word, an_expired_token, the_sender};
use crate::support::world::{SENDER, World};

fn fingerprint(token: &str) -> Fingerprint {
    FingerprintKey::from_bytes(&[1; 32]).fingerprint(token)
}

impl World {
    /// Its time for a probe comes.
    async fn let_a_probe_be_due(&self) {
        self.run_sql("update wa.senders set probe_at = now() where held_reason is not null")
            .await;
    }

    async fn end_probe(&self, end: ProbeEnd<'_>) -> bool {
        let ended = self.store.end_probe(&the_sender(), end).await;
        ended.expect("the probe is ended")
    }

    /// For how many minutes, rounded, no probe will be tried.
    async fn minutes_to_the_next_probe(&self) -> i32 {
        self.value("select round(extract(epoch from probe_at - clock_timestamp()) / 60)::int from wa.senders")
            .await
    }
}

#[test]
fn every_code_that_holds_a_sender_has_a_cause_of_its_own() {
    for dialect in [Dialect::Cloud, Dialect::OnPremises] {
        for entry in table(dialect) {
            // The On-Premises client without a webhook address is like nothing else.
            if entry.class == Class::Held(HoldScope::Sender) && entry.first != 1022 {
                for code in [entry.first, entry.last] {
                    let cause = cause_of(Some(code), None);
                    assert_ne!(cause, Cause::Other, "{code} {}", entry.title);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_hold_tells_its_cause_its_author_and_its_code() {
    let world = World::at_rest().await;
    assert!(world.hold(&an_expired_token()).await);

    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!(
        (hold.cause, hold.code, hold.by.as_str()),
        (Cause::Token, Some(190), "wa-outbox")
    );
    assert_eq!(hold.reason, "(190) Access token has expired");
    assert!(hold.probe_at.is_some_and(|at| at > hold.since));
    assert!(!hold.is_probe_due && !hold.is_probing);
}

#[tokio::test]
async fn a_hold_keeps_its_reason_unless_a_person_takes_it_over() {
    let world = World::at_rest().await;
    assert!(world.hold(&an_expired_token()).await);
    let another = NewHold {
        reason: "(10) Permission Denied",
        cause: Cause::Permission,
        ..an_expired_token()
    };
    assert!(!world.hold(&another).await);
    assert!(world.hold(&a_persons_word()).await);
    assert!(!world.hold(&another).await);

    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!((hold.cause, hold.by.as_str()), (Cause::Operator, "ada"));
    assert_eq!((hold.code, hold.probe_at), (None, None));
}

#[tokio::test]
async fn of_many_that_find_a_probe_due_one_begins_it() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    world.hold(&an_expired_token()).await;
    world.let_a_probe_be_due().await;

    let begins = (0..8).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move { store.begin_probe(worker, &the_sender(), None).await })
    });
    let mut begun = 0;
    for begin in begins.collect::<Vec<_>>() {
        begun += u32::from(begin.await.expect("it ends").expect("it is asked"));
    }

    assert_eq!(begun, 1);
    let hold = world.standing_hold().await.expect("it is held");
    assert!(hold.is_probing && !hold.wants_probe(None));
}

#[tokio::test]
async fn a_probe_is_begun_when_its_time_has_come_or_the_token_is_another() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    let (old, new) = (fingerprint("old"), fingerprint("new"));
    let refused = NewHold {
        fingerprint: Some(&old),
        ..an_expired_token()
    };
    world.hold(&refused).await;
    let hold = world.standing_hold().await.expect("it is held");
    let begin = async |token| {
        let begun = world.store.begin_probe(worker, &the_sender(), token).await;
        begun.expect("it is asked")
    };

    for token in [None, Some(&old)] {
        assert!(!hold.wants_probe(token));
        assert!(!begin(token).await);
    }
    assert!(hold.wants_probe(Some(&new)));
    assert!(begin(Some(&new)).await);

    world
        .run_sql("update wa.senders set probing_until = now()")
        .await;
    assert!(!begin(Some(&old)).await);
    world.let_a_probe_be_due().await;
    assert!(begin(Some(&old)).await);
}

#[tokio::test]
async fn who_does_not_hold_the_lease_begins_no_probe() {
    let world = World::at_rest().await;
    let owner = world.a_worker().await;
    let other = world.a_worker().await;
    world.hold(&an_expired_token()).await;
    world.let_a_probe_be_due().await;

    let begin = async |worker| world.store.begin_probe(worker, &the_sender(), None).await;
    assert!(!begin(other).await.expect("it is asked"));
    assert!(begin(owner).await.expect("it is asked"));
}

#[tokio::test]
async fn a_probe_of_which_nothing_is_heard_is_given_up() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    world.hold(&an_expired_token()).await;
    world.let_a_probe_be_due().await;
    let begin = async || {
        let begun = world.store.begin_probe(worker, &the_sender(), None).await;
        begun.expect("it is asked")
    };
    assert!(begin().await);
    assert!(!begin().await);

    world
        .run_sql("update wa.senders set probing_until = now()")
        .await;

    assert!(begin().await);
}

#[tokio::test]
async fn each_refused_probe_doubles_the_wait_up_to_half_an_hour() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    world.hold(&an_expired_token()).await;
    let mut waits = vec![world.minutes_to_the_next_probe().await];
    for _ in 0..6 {
        world.let_a_probe_be_due().await;
        let begun = world.store.begin_probe(worker, &the_sender(), None).await;
        assert!(begun.expect("it is asked"));
        assert!(
            world
                .end_probe(ProbeEnd::HeldAgain(&an_expired_token()))
                .await
        );
        waits.push(world.minutes_to_the_next_probe().await);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!((hold.probes, hold.is_probing), (6, false));
    assert_eq!(hold.cause, Cause::Token);
}

#[tokio::test]
async fn with_a_new_token_that_is_refused_too_the_waits_start_anew() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    let (old, new) = (fingerprint("old"), fingerprint("new"));
    let refused = |token| NewHold {
        fingerprint: Some(token),
        ..an_expired_token()
    };
    world.hold(&refused(&old)).await;
    for token in [&old, &old, &new] {
        world.let_a_probe_be_due().await;
        let begun = world
            .store
            .begin_probe(worker, &the_sender(), Some(token))
            .await;
        assert!(begun.expect("it is asked"));
        assert!(world.end_probe(ProbeEnd::HeldAgain(&refused(token))).await);
    }

    assert_eq!(world.minutes_to_the_next_probe().await, 1);
    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!(hold.cause, Cause::Token);
    assert!(!hold.wants_probe(Some(&new)) && hold.wants_probe(Some(&old)));
}

#[tokio::test]
async fn a_probe_that_finds_the_account_at_fault_leaves_it_to_a_person() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    world.hold(&an_expired_token()).await;
    world.let_a_probe_be_due().await;
    let begun = world.store.begin_probe(worker, &the_sender(), None).await;
    assert!(begun.expect("it is asked"));

    let locked = NewHold {
        cause: Cause::Account,
        reason: "(131031) Account has been locked",
        code: Some(131031),
        ..an_expired_token()
    };
    assert!(world.end_probe(ProbeEnd::HeldAgain(&locked)).await);

    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!((hold.cause, hold.probe_at), (Cause::Account, None));
}

#[tokio::test]
async fn a_probe_that_taught_nothing_is_tried_again_and_lengthens_no_wait() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    world.hold(&an_expired_token()).await;
    world.let_a_probe_be_due().await;
    let begun = world.store.begin_probe(worker, &the_sender(), None).await;
    assert!(begun.expect("it is asked"));

    assert!(world.end_probe(ProbeEnd::Nothing).await);

    let hold = world.standing_hold().await.expect("it is held");
    assert!(hold.is_probe_due && hold.probes == 0);
}

#[tokio::test]
async fn an_accepted_probe_releases_the_sender_and_says_so() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    world.hold(&an_expired_token()).await;
    world.let_a_probe_be_due().await;
    let begun = world.store.begin_probe(worker, &the_sender(), None).await;
    assert!(begun.expect("it is asked"));

    assert!(world.end_probe(ProbeEnd::Accepted).await);

    assert!(world.standing_hold().await.is_none());
    let said: String = world
        .value("select released_by || ': ' || released_why from wa.senders")
        .await;
    assert_eq!(said, "wa-outbox: the probe was accepted");
}

#[tokio::test]
async fn a_probe_that_ends_late_changes_nothing_that_a_person_did_meanwhile() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    let begin = async || {
        world.hold(&an_expired_token()).await;
        world.let_a_probe_be_due().await;
        let begun = world.store.begin_probe(worker, &the_sender(), None).await;
        assert!(begun.expect("it is asked"));
    };

    begin().await;
    assert!(world.hold(&a_persons_word()).await);
    assert!(!world.end_probe(ProbeEnd::Accepted).await);
    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!(hold.by, "ada");

    assert!(world.release("ada", "reviewed").await);
    begin().await;
    assert!(world.release("ada", "reviewed").await);
    assert!(
        !world
            .end_probe(ProbeEnd::HeldAgain(&an_expired_token()))
            .await
    );
    assert!(world.standing_hold().await.is_none());
}

#[tokio::test]
async fn what_a_person_holds_is_never_tried() {
    let world = World::at_rest().await;
    let worker = world.a_worker().await;
    world.hold(&a_persons_word()).await;
    world.let_a_probe_be_due().await;

    let hold = world.standing_hold().await.expect("it is held");
    assert!(!hold.wants_probe(Some(&fingerprint("new"))));
    let begun = world
        .store
        .begin_probe(worker, &the_sender(), Some(&fingerprint("new")))
        .await;
    assert!(!begun.expect("it is asked"));
}

#[tokio::test]
async fn a_hold_whose_time_is_over_ends_with_a_word_about_it() {
    let world = World::at_rest().await;
    world.hold(&a_persons_word()).await;
    assert_eq!(world.end_what_is_over().await, 0);

    world
        .run_sql("update wa.senders set held_until = now()")
        .await;
    assert!(world.standing_hold().await.is_none());
    assert_eq!(world.end_what_is_over().await, 1);

    let said: String = world
        .value("select released_by || ': ' || released_why from wa.senders")
        .await;
    assert_eq!(said, "wa-outbox: its time was over");
}

#[tokio::test]
async fn a_hold_that_is_written_and_ended_by_hand_is_a_whole_one() {
    let world = World::at_rest().await;
    world.hold(&an_expired_token()).await;
    let by_hand = format!(
        "update wa.senders set held_reason = 'stop', held_by = 'eve' where sender = '{SENDER}'"
    );
    world.run_sql(&by_hand).await;
    let hold = world.standing_hold().await.expect("it is held");
    assert_eq!((hold.cause, hold.by.as_str()), (Cause::Operator, "eve"));
    assert_eq!((hold.code, hold.probe_at), (None, None));

    world
        .run_sql("update wa.senders set held_reason = null, held_by = null")
        .await;

    assert!(world.standing_hold().await.is_none());
    let rest = world
        .count("wa.senders where num_nonnulls(held_at, held_until, held_cause, held_code, probe_at) > 0")
        .await;
    assert_eq!(rest, 0);
    assert_eq!(
        world
            .count("wa.senders where released_why = 'released by SQL'")
            .await,
        1
    );
}
