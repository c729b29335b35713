//! The file system's word that something has changed. A hint: files are polled in any case.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches directories.
pub(super) struct Watch {
    wake: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches nothing yet. Where the system offers no events, there never are any.
    pub(super) fn new(source: &str) -> Self {
        let wake = Arc::new(Notify::new());
        let watcher = watcher(&wake)
            .inspect_err(|error| {
                tracing::info!(source, %error, "no file system events, polling only");
            })
            .ok();
        Self {
            wake,
            watcher,
            watched: BTreeSet::new(),
        }
    }

    /// Waits until something may have changed.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Watches the directories of the files, through symbolic links those of their targets, and
    /// `also`; no others any more. What cannot be watched now is tried again at the next call.
    pub(super) fn directories_of<'p>(
        &mut self,
        paths: impl Iterator<Item = &'p Path>,
        also: Option<PathBuf>,
    ) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut wanted: BTreeSet<PathBuf> = also.into_iter().collect();
        for path in paths {
            wanted.extend(directory_of(path));
            wanted.extend(path.canonicalize().ok().as_deref().and_then(directory_of));
        }
        for gone in self.watched.difference(&wanted) {
            // An error means that the directory is gone, and the watch with it.
            let _ = watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for directory in wanted {
            if self.watched.contains(&directory)
                || watcher
                    .watch(&directory, RecursiveMode::NonRecursive)
                    .is_ok()
            {
                watched.insert(directory);
            }
        }
        self.watched = watched;
    }
}

fn watcher(wake: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let wake = Arc::clone(wake);
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is an event too; only what changes a file is worth a look. An error, such as an
        // overflow, means that something was missed.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            wake.notify_one();
        }
    })
}

/// The directory that a path lies in.
pub(super) fn directory_of(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        parent.to_owned()
    })
}
