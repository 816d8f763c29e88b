//! A world whose service reaches its database by a way that can be cut. The tests' own way stays whole.

use wa_outbox::cli::bench::cable::Cable;
use wa_outbox::config::Config;

use super::callbacks::{Answer, get};
use super::world::World;

impl World {
    /// A world whose service runs at the far end of a cable.
    pub(crate) async fn start_on_a_cable_with(config: Config) -> (Self, Cable) {
        let mut world = Self::at_rest_with(config).await;
        let cable = Cable::to(&world.database.url)
            .await
            .expect("a cable to the database");
        world.start_service_by(&cable.url()).await;
        (world, cable)
    }

    /// What the service says of itself to those who ask whether it can work.
    pub(crate) async fn readiness(&self) -> Answer {
        let service = self.service.as_ref().expect("a running service");
        let address = service.admin_address.expect("it answers operators");
        get(format!("http://{address}/readyz")).await
    }

    /// Waits until the service says that it can work, or that it cannot.
    pub(crate) async fn until_ready_is(&self, ready: bool) {
        let status = if ready { 200 } else { 503 };
        self.until_true("/readyz says so", async || {
            self.readiness().await.status == status
        })
        .await;
    }
}
