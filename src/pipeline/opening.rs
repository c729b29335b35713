//! Opens all sources, or says which cannot be opened.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::{
    source::{
        Intake, SourceError, SourceMetrics,
        tail::{TailSettings, Tailer},
        webhook::{Journals, Webhook, WebhookSettings},
    },
    store::{Commits, Kept},
    telemetry::Health,
};

/// What is needed to open sources.
pub(super) struct Opening {
    pub(super) intake: Intake,
    pub(super) metrics: SourceMetrics,
    /// Where webhooks keep their bodies; `None` when nothing is to survive.
    pub(super) journals: Option<Journals>,
    /// Where the sources read on after the last run; `None` when nothing is to survive.
    pub(super) commits: Option<Arc<Commits>>,
    pub(super) health: Arc<Health>,
    pub(super) stop: CancellationToken,
}

impl Opening {
    /// Opens all sources, or says which cannot be opened.
    pub(super) async fn open(
        mut self,
        files: Vec<TailSettings>,
        webhooks: Vec<WebhookSettings>,
    ) -> Result<(Vec<Tailer>, Vec<Webhook>), StartError> {
        let (mut tailers, mut hooks, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for file in files {
            let part = self.health.part(&format!("file {}", file.name));
            let feed = self.intake.feed(&file.bookmark_name());
            let kept = self
                .commits
                .as_ref()
                .map(|commits| commits.watch(feed.name()));
            let kept = kept.map_or_else(Kept::new, |kept| kept.borrow().clone());
            match Tailer::new(file, &kept, feed, &self.metrics, part, self.stop.clone()) {
                Ok(tailer) => tailers.push(tailer),
                Err(error) => errors.push(error),
            }
        }
        for hook in webhooks {
            match self.webhook(hook).await {
                Ok(hook) => hooks.push(hook),
                Err(error) => errors.push(error),
            }
        }
        if let Some(journals) = &self.journals {
            journals.tell_left_behind();
        }
        if errors.is_empty() {
            Ok((tailers, hooks))
        } else {
            Err(StartError::Sources(errors))
        }
    }
    async fn webhook(&mut self, settings: WebhookSettings) -> Result<Webhook, SourceError> {
        let part = self.health.part(&format!("webhook {}", settings.name));
        let feed = self.intake.feed(&format!("webhook:{}", settings.name));
        let journal = match &mut self.journals {
            None => None,
            Some(journals) => Some(journals.open(&settings, feed.name(), &self.health)?),
        };
        let stop = self.stop.clone();
        Webhook::bind(settings, feed, &self.metrics, part, stop, journal).await
    }
}
