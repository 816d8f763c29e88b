//! A world whose service reaches its database by a way that can be cut. The tests' own way stays whole.

use wa_outbox::cli::bench::cable::Cable;
use wa_outbox::config::Config;

use super::world::World;

impl World {
    /// A world, and the cable that a service must be started on (see [`World::start_service_by`]).
    pub(crate) async fn on_a_cable_with(config: Config) -> (Self, Cable) {
        let world = Self::at_rest_with(config).await;
        let cable = Cable::to(&world.database.url)
            .await
            .expect("a cable to the database");
        (world, cable)
    }
}
