//! All paths of one source: which there are, and what is known of their files. Neither a thread
//! nor a clock, so that a simulation can run it.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    beside::{Kin, kin_of},
    book::Book,
    disk::Disk,
    follow::{Follow, Out, Progress},
    held::HeldFile,
    mark::Mark,
    pattern,
    settings::{Beginning, TailSettings},
};
use crate::{decode::Limits, store::Kept, units::Time};

/// The most files that one pattern follows.
const FOLLOWS_MAX: usize = 256;

/// The paths of one source.
pub(super) struct Files<D: Disk> {
    disk: D,
    path: String,
    grace: Duration,
    limits: Limits,
    from: Beginning,
    follows: Vec<Follow<D>>,
    book: Book,
}

/// What could not be taken up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany(pub(super) PathBuf);

impl<D: Disk> Files<D> {
    /// Goes on where `kept` says, or begins where the settings do when it says nothing; also
    /// tells what of it cannot be read.
    pub(super) fn new(
        disk: D,
        settings: &TailSettings,
        limits: Limits,
        now: Time,
        kept: &Kept,
    ) -> (Self, Vec<String>) {
        let (book, problems) = Book::restore(kept, now);
        let from = if book.is_first() {
            settings.from.at(now)
        } else {
            Beginning::Start
        };
        let mut files = Self {
            disk,
            path: settings.path.clone(),
            grace: settings.grace,
            limits,
            from,
            follows: Vec::new(),
            book,
        };
        if pattern::is_pattern(&files.path) {
            // A file that was met may be there under its rotated names alone.
            let met: BTreeSet<String> = (files.book.all())
                .filter(|(_, mark)| !mark.done)
                .map(|(_, mark)| mark.path.clone())
                .collect();
            for path in met.into_iter().take(FOLLOWS_MAX) {
                files.follow(PathBuf::from(path));
            }
        } else {
            files.follow(PathBuf::from(&files.path));
        }
        (files, problems)
    }

    pub(super) fn follows(&self) -> &[Follow<D>] {
        &self.follows
    }

    /// From now on files that appear are read from their beginning.
    pub(super) fn started(&mut self) {
        self.from = Beginning::Start;
        for follow in &mut self.follows {
            follow.started();
        }
    }

    /// Does one thing for a path.
    pub(super) fn step(
        &mut self,
        index: usize,
        now: Duration,
        out: &mut Out,
    ) -> io::Result<Progress> {
        let Some(follow) = self.follows.get_mut(index) else {
            return Ok(Progress::Idle);
        };
        let progress = follow.step(now, &mut self.book, out);
        out.notes(&mut self.book);
        progress
    }

    /// Opens what is new at a path and says how many bytes wait there, without reading.
    pub(super) fn look(&mut self, index: usize, now: Duration, out: &mut Out) -> io::Result<u64> {
        let Some(follow) = self.follows.get_mut(index) else {
            return Ok(0);
        };
        let unread = follow.look(now, &mut self.book, out);
        out.notes(&mut self.book);
        unread
    }

    /// Finds new matches of a pattern.
    ///
    /// # Errors
    /// The first match for which there is no room.
    pub(super) fn search(&mut self) -> Result<(), TooMany> {
        if !pattern::is_pattern(&self.path) {
            return Ok(());
        }
        for path in self.disk.matches(&self.path) {
            if !self.is_new(&path) {
                continue;
            }
            if self.follows.len() >= FOLLOWS_MAX {
                return Err(TooMany(path));
            }
            self.follow(path);
        }
        Ok(())
    }

    /// Forgets matches of a pattern whose file is gone and was read to its end.
    pub(super) fn drop_gone(&mut self) {
        if pattern::is_pattern(&self.path) {
            let disk = self.disk.clone();
            self.follows
                .retain(|follow| !follow.is_over() || disk.look(follow.path()).is_ok());
        }
    }

    fn follow(&mut self, path: PathBuf) {
        self.follows.push(Follow::new(
            self.disk.clone(),
            path,
            self.from,
            self.grace,
            self.limits,
            &self.book,
        ));
    }

    /// Whether nobody follows this path, and its file is none that was met under another name.
    fn is_new(&self, path: &Path) -> bool {
        if self.follows.iter().any(|follow| follow.path() == path) {
            return false;
        }
        let Ok(looked) = self.disk.look(path) else {
            return false;
        };
        if (self.follows.iter()).any(|follow| follow.holds(looked.identity)) {
            return false;
        }
        let marks: Vec<(u64, Mark)> = (self.book.all())
            .map(|(serial, mark)| (serial, mark.clone()))
            .collect();
        let name = path.to_string_lossy();
        let met_elsewhere = |kin| match kin {
            Kin::Same(serial) | Kin::Shorter(serial) => {
                self.book.get(serial).is_some_and(|mark| mark.path != name)
            }
            Kin::Held(_) | Kin::Unknown => false,
        };
        match HeldFile::open(&self.disk, path).and_then(|file| kin_of(&file, &marks)) {
            Ok(kin) => !met_elsewhere(kin),
            // Whoever follows it tells why it cannot be read.
            Err(_) => true,
        }
    }
}
