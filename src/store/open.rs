//! Opens a state folder, reads what was kept, and makes the keeper of it.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::channel},
};

use super::{
    Bookmark, Checkpoint, Commits, Loaded, Metrics, OpenError, Retention,
    database::{self, Database},
    keeper::Keeper,
    keeping::{Held, Keeping},
    trouble::Faults,
};
use crate::{telemetry::Part, window::Rows};

/// Where and how much to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory; made when it is not there.
    pub dir: PathBuf,
    /// How many messages the outbox holds at most, dead letters among them.
    pub outbox_max: usize,
    /// How long alerts that are over are kept, and how many.
    pub retention: Retention,
    /// For tests: the disk may be made to fail.
    pub faults: Faults,
}

impl Settings {
    /// How many messages the outbox holds unless set.
    pub const OUTBOX_MAX: usize = 50_000;

    /// A directory, and all else as it is unless set.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            outbox_max: Self::OUTBOX_MAX,
            retention: Retention::default(),
            faults: Faults::default(),
        }
    }
}

/// An open directory, ours alone as long as this, or the keeper made of it, lives.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    database: Database,
    lock: File,
}

impl Store {
    /// Opens a directory and reads what was kept. A file that is of no use is put aside; then the
    /// text says what was lost.
    ///
    /// # Errors
    /// When another process has the directory, or it cannot be used.
    pub fn open(settings: Settings) -> Result<(Self, Loaded, Option<String>), OpenError> {
        let lock = database::lock(&settings.dir)?;
        let (database, loaded, lost) = Database::open(&settings.dir, &settings.faults)?;
        let store = Self {
            settings,
            database,
            lock,
        };
        Ok((store, loaded, lost))
    }

    /// Puts the file aside, since what it held cannot be understood, and begins a new one. Says
    /// what was lost.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn begin_anew(self, why: &str) -> Result<(Self, String), OpenError> {
        let Self {
            settings,
            database,
            lock,
        } = self;
        let path = database.path().to_owned();
        drop(database);
        let told = Database::put_aside(&path, why).map_err(|error| OpenError::Unusable {
            dir: settings.dir.clone(),
            problem: error.to_string(),
        })?;
        let (database, _, _) = Database::open(&settings.dir, &settings.faults)?;
        let store = Self {
            settings,
            database,
            lock,
        };
        Ok((store, told))
    }

    /// Reads the state in a directory, which a running daemon may have, and changes nothing.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn look(dir: &Path) -> Result<Rows, OpenError> {
        Database::look(dir)
    }

    /// Writes rows of state on this thread, all or none.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, rows: Rows) -> Result<(), OpenError> {
        let checkpoint = Checkpoint {
            rows,
            ..Checkpoint::default()
        };
        let written = self.database.commit(
            Some(&checkpoint),
            &[],
            usize::MAX >> 1,
            self.settings.retention,
        );
        written.map(drop).map_err(|error| OpenError::Unusable {
            dir: self.settings.dir.clone(),
            problem: error.to_string(),
        })
    }

    /// Writes a checkpoint on this thread.
    #[cfg(test)]
    pub(super) fn commit(&mut self, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
        let written = self.database.commit(
            Some(checkpoint),
            &[],
            usize::MAX >> 1,
            self.settings.retention,
        );
        written.map(drop)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &rusqlite::Connection {
        &self.database.connection
    }

    /// The handle, and the thread to [start](Keeping::start). What waits for receivers that are
    /// not among `receivers` becomes dead letters.
    pub fn keeper(
        self,
        bookmarks: Vec<Bookmark>,
        receivers: BTreeSet<Arc<str>>,
        metrics: Metrics,
        part: Part,
    ) -> (Keeper, Keeping) {
        let (commands, inbox) = channel();
        let keeper = Keeper {
            commands,
            shared: Arc::default(),
            commits: Arc::new(Commits::new(bookmarks)),
        };
        let outbox_max = self.settings.outbox_max.max(1);
        let held = Held {
            database: self.database,
            lock: self.lock,
            outbox_max,
            retention: self.settings.retention,
        };
        let keeping = Keeping::new(held, receivers, metrics, part, &keeper, inbox);
        (keeper, keeping)
    }
}
