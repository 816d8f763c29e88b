//! Worlds whose sender is reached through another provider than the Cloud API.

use std::io::{Seek as _, Write as _};

use tempfile::NamedTempFile;
use wa_outbox::config::{Config, SecretRef};
use wa_outbox::store::sender::SenderChange;

use super::world::{SENDER, World, quick_settings};

/// What unsigned deliveries prove themselves with.
pub(crate) const SHARED_SECRET: &str = "shared-secret-of-the-tests";
/// What the On-Premises client is logged in to with.
pub(crate) const LOGIN: &str = "admin:practice";

/// A world, and the file with its sender's credential.
pub(crate) struct Provided {
    pub(crate) world: World,
    credential: NamedTempFile,
}

impl std::ops::Deref for Provided {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Provided {
    /// A world whose sender has these settings and this credential, with its service running and both kinds of webhooks
    /// going to it.
    pub(crate) async fn start(settings: SenderChange, credential: &str) -> Self {
        let mut provided = Self::at_rest_with(quick_settings(), settings, credential).await;
        provided.start_service().await;
        provided
    }

    /// A BSP at this path.
    pub(crate) async fn bsp(path: &str) -> Self {
        Self::start(bsp(path), "practice").await
    }

    /// An On-Premises client.
    pub(crate) async fn on_premises() -> Self {
        Self::start(on_premises(), LOGIN).await
    }

    /// The same before the service is started.
    pub(crate) async fn at_rest_with(
        config: Config,
        settings: SenderChange,
        credential: &str,
    ) -> Self {
        let mut world = World::at_rest_with(config).await;
        let mut file = NamedTempFile::new().expect("a file for the credential");
        file.write_all(credential.as_bytes()).expect("is written");
        let change = SenderChange {
            credential: Some(format!("file:{}", file.path().display())),
            ..settings
        };
        world.change_sender(SENDER, change).await;
        world.config.webhook.unsigned_secrets = vec![SecretRef::Env("SHARED".to_owned())];
        world
            .env
            .insert("SHARED".to_owned(), SHARED_SECRET.to_owned());
        Self {
            world,
            credential: file,
        }
    }

    /// Starts the service (again).
    pub(crate) async fn start_service(&mut self) {
        self.world.start_service().await;
        let address = self.webhooks();
        self.simulator
            .set_bare_webhook(format!("{address}/unsigned/{SHARED_SECRET}"));
    }

    /// The address that signed webhooks go to.
    pub(crate) fn webhooks(&self) -> String {
        let service = self.world.service.as_ref().expect("it runs");
        let address = service.webhook_address.expect("it receives webhooks");
        format!("http://{address}/webhook")
    }

    /// Puts another credential into the file.
    pub(crate) fn rotate(&mut self, credential: &str) {
        let file = self.credential.as_file_mut();
        file.set_len(0).expect("is emptied");
        file.rewind().expect("from the front");
        file.write_all(credential.as_bytes()).expect("is written");
    }

    /// How often each kind of answer was given to requests that were refused: their HTTP statuses.
    pub(crate) fn refusals(&self) -> Vec<u16> {
        let status = |entry: &wa_outbox::simulator::Entry| match entry.decision {
            wa_outbox::simulator::Decision::Refused { http_status, .. } => Some(http_status),
            _ => None,
        };
        let entries = self.simulator.ledger().all();
        entries.iter().filter_map(|entry| status(entry)).collect()
    }
}

/// A BSP at this path, with a bearer token.
pub(crate) fn bsp(path: &str) -> SenderChange {
    SenderChange {
        provider: Some("bsp".to_owned()),
        path: Some(path.to_owned()),
        ..SenderChange::default()
    }
}

/// An On-Premises client.
pub(crate) fn on_premises() -> SenderChange {
    SenderChange {
        provider: Some("on_premises".to_owned()),
        ..SenderChange::default()
    }
}
