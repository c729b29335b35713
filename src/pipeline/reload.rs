//! Takes new rules on while everything runs: all of them, or none and the old ones stay.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use prometheus::{IntGauge, Result};
use tokio::{
    sync::{Mutex, mpsc},
    task::spawn_blocking,
};
use xxhash_rust::xxh3::Xxh3Default;

use super::{settings::RuleFiles, worker::clock};
use crate::{
    rule::{Loaded, RuleSet},
    telemetry::{Metrics, catalogue},
};

/// How often the rule folders are looked at; tests have less patience.
const LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// How deep folders are looked into, and at how many entries.
const DEPTH_MAX: usize = 16;
const ENTRIES_MAX: usize = 20_000;

/// Reads rules again and hands them to the pipeline.
pub(super) struct Reloader {
    files: Arc<RuleFiles>,
    pipeline: mpsc::Sender<Arc<RuleSet>>,
    /// What the folders looked like before the last load. Held while rules are loaded: one load
    /// at a time.
    taken: Mutex<u64>,
    successful: IntGauge,
    succeeded_at: IntGauge,
}

impl Reloader {
    pub(super) fn new(
        files: Arc<RuleFiles>,
        first_look: u64,
        pipeline: mpsc::Sender<Arc<RuleSet>>,
        metrics: &Metrics,
    ) -> Result<Self> {
        let reloader = Self {
            files,
            pipeline,
            taken: Mutex::new(first_look),
            successful: metrics.gauge(&catalogue::CONFIG_LAST_RELOAD_SUCCESSFUL)?,
            succeeded_at: metrics.gauge(&catalogue::CONFIG_LAST_RELOAD_SECONDS)?,
        };
        reloader.succeeded();
        Ok(reloader)
    }

    /// Reads all rules. Says how many there are, or what is wrong; then the old ones stay.
    pub(super) async fn reload(&self) -> std::result::Result<usize, String> {
        let mut taken = self.taken.lock().await;
        *taken = self.look().await;
        let files = Arc::clone(&self.files);
        let loaded = spawn_blocking(move || (files.read)()).await;
        let loaded = loaded
            .map_err(|error| error.to_string())
            .and_then(|loaded| loaded);
        let Loaded { set, warnings } = loaded.inspect_err(|error| {
            self.successful.set(0);
            tracing::error!("the rules were not reloaded, the old ones stay:\n{error}");
        })?;
        let rules = set.rules.len() + set.correlations.len();
        if self.pipeline.send(Arc::new(set)).await.is_err() {
            return Err("auditwatch is stopping".to_owned());
        }
        self.succeeded();
        if warnings.is_empty() {
            tracing::info!(rules, "reloaded the rules");
        } else {
            tracing::warn!(rules, "reloaded the rules, with warnings:\n{warnings}");
        }
        Ok(rules)
    }

    fn succeeded(&self) {
        self.successful.set(1);
        self.succeeded_at.set(clock().micros() / 1_000_000);
    }

    /// Reloads whenever the user's folders have changed and then stood still for one look, so
    /// that files which are being copied are not read half.
    pub(super) async fn watch(&self) {
        let mut before = *self.taken.lock().await;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.look().await;
            let is_new = now != *self.taken.lock().await;
            if is_new && now == before {
                // What is wrong was told and counted there.
                let _ = self.reload().await;
            }
            before = now;
        }
    }

    async fn look(&self) -> u64 {
        let files = Arc::clone(&self.files);
        spawn_blocking(move || look(&files.paths))
            .await
            .unwrap_or_default()
    }
}

/// A number that changes when a file appears, disappears or is written in one of the folders.
pub(super) fn look(paths: &[PathBuf]) -> u64 {
    let mut hash = Xxh3Default::new();
    let mut entries = 0;
    for path in paths {
        look_at(path, DEPTH_MAX, &mut entries, &mut hash);
    }
    hash.digest()
}

fn look_at(path: &Path, depth: usize, entries: &mut usize, hash: &mut Xxh3Default) {
    hash.update(path.as_os_str().as_encoded_bytes());
    *entries += 1;
    let Ok(metadata) = fs::metadata(path) else {
        hash.update(b"gone");
        return;
    };
    if !metadata.is_dir() {
        let modified = metadata.modified().ok();
        let since = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        hash.update(&since.unwrap_or_default().as_nanos().to_le_bytes());
        hash.update(&metadata.len().to_le_bytes());
        return;
    }
    let Ok(directory) = fs::read_dir(path) else {
        return;
    };
    let mut children: Vec<PathBuf> = directory
        .filter_map(|entry| Some(entry.ok()?.path()))
        // A mounted ConfigMap keeps its versions under hidden names beside the links to them.
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        })
        .collect();
    children.sort_unstable();
    for child in children {
        if depth > 0 && *entries < ENTRIES_MAX {
            look_at(&child, depth - 1, entries, hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("rules")];
        let mut looks = vec![look(&paths)];
        fs::create_dir_all(paths[0].join("deep")).unwrap();
        looks.push(look(&paths));
        fs::write(paths[0].join("deep/a.yml"), "a").unwrap();
        looks.push(look(&paths));
        fs::write(paths[0].join("deep/a.yml"), "ab").unwrap();
        looks.push(look(&paths));
        fs::rename(paths[0].join("deep/a.yml"), paths[0].join("b.yml")).unwrap();
        looks.push(look(&paths));
        let seen = looks.len();
        looks.sort_unstable();
        looks.dedup();
        assert_eq!(looks.len(), seen, "each look differs");
        let before = look(&paths);
        fs::write(paths[0].join(".hidden"), "x").unwrap();
        assert_eq!(look(&paths), before);
    }
}
