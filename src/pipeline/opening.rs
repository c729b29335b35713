//! Opens all sources, or says which cannot be opened.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::{
    source::{
        Intake, SourceMetrics,
        tail::{TailSettings, Tailer},
        webhook::{Webhook, WebhookSettings},
    },
    store::Kept,
    telemetry::Health,
};

/// What is needed to open sources.
pub(super) struct Opening {
    pub(super) intake: Intake,
    pub(super) metrics: SourceMetrics,
    pub(super) health: Arc<Health>,
    pub(super) stop: CancellationToken,
}

impl Opening {
    /// Opens all sources, or says which cannot be opened.
    pub(super) async fn open(
        self,
        files: Vec<TailSettings>,
        webhooks: Vec<WebhookSettings>,
    ) -> Result<(Vec<Tailer>, Vec<Webhook>), StartError> {
        let (mut tailers, mut hooks, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for file in files {
            let part = self.health.part(&format!("file {}", file.name));
            let feed = self.intake.feed(&file.bookmark_name());
            let kept = Kept::new();
            match Tailer::new(file, &kept, feed, &self.metrics, part, self.stop.clone()) {
                Ok(tailer) => tailers.push(tailer),
                Err(error) => errors.push(error),
            }
        }
        for hook in webhooks {
            let part = self.health.part(&format!("webhook {}", hook.name));
            let feed = self.intake.feed(&format!("webhook:{}", hook.name));
            match Webhook::bind(hook, feed, &self.metrics, part, self.stop.clone()).await {
                Ok(hook) => hooks.push(hook),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok((tailers, hooks))
        } else {
            Err(StartError::Sources(errors))
        }
    }
}
