//! Messages whose time has passed are in nobody's way, however many they are.

use std::sync::Arc;

use time::OffsetDateTime;
use wa_outbox::clock::Clock;
use wa_outbox::dispatch::ownership::Holding;
use wa_outbox::dispatch::reconciler::Reconciler;
use wa_outbox::domain::id::SenderId;
use wa_outbox::service::uncertain_policy;
use wa_outbox::store::claim::Ask;
use wa_outbox::tail::Tail;

use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

/// More than two statements end.
const MANY: i64 = 2_500;

#[tokio::test]
async fn many_that_expired_together_are_passed_over_and_end_in_one_look() {
    let world = World::at_rest().await;
    world
        .run_sql(&format!(
            r#"insert into wa.outbox (recipient, payload, due_at, expires_at)
               select '+1650' || (5550000 + n), '{{"type":"text","text":{{"body":"Hello"}}}}', now() - interval '2 hours', now() - interval '1 hour'
               from generate_series(1, {MANY}) n"#
        ))
        .await;
    let fresh = world.enqueue(a_text()).await;

    let ask = Ask {
        sender: SenderId::from(SENDER),
        campaign: 0,
        priority: 5,
        after: (OffsetDateTime::UNIX_EPOCH, 0),
        limit: 10,
        known: 0,
    };
    let read = world.store.read_ahead(&[ask], &[]).await.expect("a look");
    let read: Vec<_> = read.iter().map(|due| due.id).collect();
    assert_eq!(read, [fresh]);

    let policy = uncertain_policy(&world.config.reconcile);
    let tail = Tail::new(Clock::system());
    let mut reconciler = Reconciler::new(world.store.clone(), policy, Arc::default(), tail);
    let looked = reconciler.run_once(&Holding::default()).await;
    looked.expect("a look");
    assert_eq!(
        world.count("wa.results where state = 'expired'").await,
        MANY
    );
    assert_eq!(world.state_of(fresh).await, "queued");
}
