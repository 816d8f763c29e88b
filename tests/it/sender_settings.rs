//! Settings of a sender, as they are given and taken away.

use wa_outbox::store::sender::{SenderChange, Unset};

use crate::support::world::{SENDER, World};

#[tokio::test]
async fn a_setting_that_was_given_can_be_taken_away_again_and_alone() {
    let world = World::at_rest().await;
    let given = SenderChange {
        path: Some("/v1/messages".to_owned()),
        max_in_flight: Some(7),
        on_uncertain: Some("hold".to_owned()),
        reconcile_window_s: Some(60),
        ..SenderChange::default()
    };
    let settings = async || {
        let sender = world.store.senders().await.expect("the senders").remove(0);
        let set = [
            sender.path.is_some(),
            sender.max_in_flight.is_some(),
            sender.on_uncertain.is_some(),
            sender.reconcile_window_s.is_some(),
        ];
        (set, sender.is_default, sender.pair_period_ms)
    };
    let all = [
        Unset::Path,
        Unset::MaxInFlight,
        Unset::OnUncertain,
        Unset::ReconcileWindow,
    ];
    for (at, one) in all.into_iter().enumerate() {
        world.change_sender(SENDER, given.clone()).await;
        assert_eq!(settings().await, ([true; 4], true, 0));

        let taken_away = SenderChange {
            unset: vec![one],
            ..SenderChange::default()
        };
        world.change_sender(SENDER, taken_away).await;

        let mut left = [true; 4];
        left[at] = false;
        assert_eq!(settings().await, (left, true, 0), "{one:?}");
    }
}
