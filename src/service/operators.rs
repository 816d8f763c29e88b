//! The listener of operators: its figures, its guard, its routes.

use std::sync::Arc;

use secrecy::SecretString;

use super::{Service, ServiceError, uncertain_policy};
use crate::admin::sampler::Sampler;
use crate::admin::{self, figures};
use crate::config::{Config, Environment};
use crate::secret::shared::SharedSecrets;

impl Service {
    pub(super) async fn answer_operators(
        &mut self,
        config: &Config,
        access: admin::Access,
        health: admin::Health,
    ) -> Result<(), ServiceError> {
        let metrics = Arc::clone(&self.metrics);
        let sampler = Sampler::new(self.store.clone(), Arc::clone(&metrics));
        let health = Arc::new(health);
        figures::ask(&metrics, &health, &sampler);
        let sampling = sampler.run(self.stop.clone());
        self.tasks
            .spawn(self.parts.of("sampler of figures", sampling));
        let policy = uncertain_policy(&config.reconcile);
        let routes = admin::routes(health, metrics, access, policy, self.stop.clone());
        let listening = self.listen("admin.listen", config.admin.listen, routes);
        self.admin_address = Some(listening.await?);
        Ok(())
    }
}

/// Who may ask the admin listener. The settings were checked when they were read; whoever made them otherwise is told here.
pub(super) fn admin_access(
    config: &Config,
    env: &Environment,
) -> Result<admin::Access, ServiceError> {
    config.admin.check_guard()?;
    Ok(admin::Access {
        token: shared_secrets("admin.token", config.admin_token(env)?)?,
        viewer_token: shared_secrets("admin.viewer_token", config.viewer_token(env)?)?,
        metrics_token: shared_secrets("admin.metrics_token", config.metrics_token(env)?)?,
        metrics_open: config.admin.metrics_open,
    })
}

/// Secrets that are long enough to be one.
pub(super) fn shared_secrets(
    setting: &'static str,
    secrets: impl IntoIterator<Item = SecretString>,
) -> Result<SharedSecrets, ServiceError> {
    SharedSecrets::new(secrets).map_err(|source| ServiceError::ShortSecret { setting, source })
}
