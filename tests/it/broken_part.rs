//! A part that panics is not missed in silence: the process is told to end, instead of renewing leases and sending nothing.

use std::time::Duration;

use crate::support::make::a_text;
use crate::support::world::{PATIENCE, World, quick_settings};

#[tokio::test]
async fn a_service_tells_that_a_part_broke_off_and_still_stops_in_order() {
    let mut config = quick_settings();
    // No settings file can say this. Twice as long is beyond any clock, and the keeper of leases breaks off over it.
    config.worker.heartbeat = Duration::MAX;
    let mut world = World::start_with(config).await;

    let service = world.service.as_ref().expect("it runs");
    let part = tokio::time::timeout(PATIENCE, service.broken()).await;
    assert_eq!(part.expect("it is told"), "keeper of leases");

    assert!(world.stop_service().await, "nothing was out");
    let message = world.enqueue(a_text()).await;
    world.config.worker.heartbeat = Duration::from_millis(300);
    world.start_service().await;
    world.until_state(message, "accepted").await;
}
