//! The journals of all webhooks, in one folder: which webhook has which.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Journaled, WebhookSettings};
use crate::{
    source::SourceError,
    store::{
        Commits,
        journal::{self, JournalMetrics},
    },
    telemetry::Health,
};

/// Opens the journals below a state folder.
pub struct Journals {
    folder: PathBuf,
    commits: Arc<Commits>,
    metrics: JournalMetrics,
    opened: BTreeSet<PathBuf>,
}

impl Journals {
    /// Journals in the folder `journal` of a state folder. `commits` tells them what is safe.
    pub fn new(state: &Path, commits: Arc<Commits>, metrics: JournalMetrics) -> Self {
        Self {
            folder: state.join("journal"),
            commits,
            metrics,
            opened: BTreeSet::new(),
        }
    }

    /// Opens the journal of a webhook. `source` is its name for bookmarks.
    ///
    /// # Errors
    /// When its folder cannot be made or read.
    pub fn open(
        &mut self,
        webhook: &WebhookSettings,
        source: &str,
        health: &Arc<Health>,
    ) -> Result<Journaled, SourceError> {
        let folder = self.folder.join(folder_name(&webhook.name));
        let (name, settings) = (&webhook.name, webhook.journal.clone());
        let kept = self.commits.watch(source);
        let part = health.part(&format!("journal {name}"));
        let ends = journal::open(&folder, settings, kept, name, &self.metrics, part)?;
        self.opened.insert(folder);
        let part = health.part(&format!("journal {name}, reading"));
        Ok(Journaled { ends, part })
    }

    /// Tells of journals that no webhook has: the name or address of theirs was changed, and what
    /// they hold may not have been evaluated.
    pub fn tell_left_behind(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
        for folder in folders.filter(|folder| folder.is_dir() && !self.opened.contains(folder)) {
            let folder = folder.display();
            tracing::warn!(%folder, "no webhook has this journal any more; look into it with `auditwatch replay`, then delete it");
        }
    }
}

/// What a folder may be called everywhere.
fn folder_name(webhook: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let name: String = webhook
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    // Hidden folders are left out of replays.
    name.replacen('.', "_", usize::from(name.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_are_plain() {
        for (webhook, folder) in [
            ("0.0.0.0:9443", "0.0.0.0_9443"),
            ("[::1]:9443", "___1__9443"),
            ("../x", "_._x"),
        ] {
            assert_eq!(folder_name(webhook), folder);
        }
    }
}
