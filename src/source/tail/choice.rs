//! Which files to hold next, given what is known and what lies there. Pure.

use std::collections::BTreeSet;

use super::{
    beside::{Beside, Found, Kin},
    disk::Identity,
    mark::Mark,
};
use crate::units::Time;

/// A file to hold, and the mark of its content; without one it is new.
#[derive(Debug)]
pub(super) enum Take {
    /// One beside the path.
    Beside(Found, Option<u64>),
    /// The one that was opened at the path.
    Newcomer(Option<u64>),
}

impl Take {
    pub(super) fn serial(&self) -> Option<u64> {
        match self {
            Self::Beside(_, serial) | Self::Newcomer(serial) => *serial,
        }
    }
}

/// The mark that copies of the newcomer are of.
pub(super) const NEWCOMER: u64 = u64::MAX;

/// A file that was opened at the path and is not held yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) identity: Identity,
    pub(super) len: u64,
    pub(super) kin: Kin,
}

/// What there is to choose from.
pub(super) struct Choice<'c> {
    pub(super) beside: &'c Beside,
    /// What is known of the path, oldest first.
    pub(super) marks: &'c [(u64, Mark)],
    /// The marks of contents that have to be found again.
    pub(super) missing: BTreeSet<u64>,
    pub(super) newcomer: Option<Newcomer>,
    /// Whether files may have been rotated away unseen.
    pub(super) may_have_missed: bool,
    /// Files that were rotated away since then are missed when none is known by which to tell.
    pub(super) since: Time,
}

impl Choice<'_> {
    /// What to hold, in the order of the contents.
    pub(super) fn takes(&self) -> Vec<Take> {
        let mut takes = Vec::new();
        let mut used = BTreeSet::new();
        let (mut newcomer_is, mut is_newest_at_path) = (None, false);
        for (serial, mark) in self.marks {
            let (found, is_newcomer) = if self.missing.contains(serial) && mark.is_blank() {
                self.blank(*serial, mark, &used)
            } else {
                self.same(*serial, mark)
            };
            if is_newcomer && newcomer_is.is_none() {
                newcomer_is = Some(*serial);
                // When the newest known content is there still, nothing was rotated away since.
                let newest = self.marks.last().map(|(serial, _)| *serial);
                is_newest_at_path = newest == newcomer_is && !mark.is_blank();
            } else if let Some(found) = found {
                used.insert(found.identity);
                takes.push(Take::Beside(found.clone(), Some(*serial)));
            }
        }
        if self.may_have_missed && !is_newest_at_path {
            let missed = self.after(None, self.since);
            let missed = missed.filter(|found| !used.contains(&found.identity));
            takes.extend(missed.map(|found| Take::Beside(found.clone(), None)));
        }
        if self.newcomer.is_some() {
            takes.push(Take::Newcomer(newcomer_is));
        }
        takes
    }

    /// The file that has more of a known content, if it is to be read: one beside the path, or
    /// whether it is the newcomer.
    fn same(&self, serial: u64, mark: &Mark) -> (Option<&Found>, bool) {
        // A writer may have gone on after its file was closed.
        let has_more = |identity: Identity, len: Option<u64>| {
            self.missing.contains(&serial)
                || (mark.done && identity == mark.file && len.is_some_and(|len| len > mark.offset))
        };
        let best = (self.beside.found.iter())
            .filter(|found| found.kin == Kin::Same(serial) && has_more(found.identity, found.len))
            .min_by_key(|found| found.identity != mark.file);
        let is_newcomer = self.newcomer.is_some_and(|newcomer| {
            newcomer.kin == Kin::Same(serial) && has_more(newcomer.identity, Some(newcomer.len))
        });
        let is_itself = best.is_some_and(|found| found.identity == mark.file);
        (best, is_newcomer && !is_itself)
    }

    /// The file that had no line yet when it was marked, so that nothing tells it but its place
    /// between the others. Its inode may be that of another file by now.
    fn blank(
        &self,
        serial: u64,
        mark: &Mark,
        used: &BTreeSet<Identity>,
    ) -> (Option<&Found>, bool) {
        let gap: Vec<&Found> = self
            .after(Some(serial), mark.modified)
            .filter(|found| !used.contains(&found.identity))
            .collect();
        let is_itself = |found: &&&Found| found.identity == mark.file;
        let found = gap.iter().find(is_itself).or(gap.first()).copied();
        // It may be at the path still, when no other was met there since.
        let is_newest = self.marks.last().is_some_and(|(newest, _)| *newest == serial);
        let is_newcomer = self.newcomer.is_some_and(|newcomer| {
            newcomer.kin == Kin::Unknown && newcomer.identity == mark.file
        });
        (found, found.is_none() && is_newest && is_newcomer)
    }

    /// The rotated files that were never met and come after all known ones; those that come
    /// between the contents before and behind `serial`, if one is given. Where nothing is known
    /// by which to tell, those that were rotated away since a moment.
    fn after(&self, serial: Option<u64>, since: Time) -> impl Iterator<Item = &Found> {
        let rotated: Vec<&Found> = (self.beside.found.iter())
            .filter(|found| found.generation.is_some())
            .collect();
        let before = |found: &&Found| {
            let known = found.kin.serial();
            known.is_some_and(|known| known < serial.unwrap_or(NEWCOMER))
        };
        let behind = |found: &&Found| {
            let known = found.kin.serial();
            known.is_some_and(|known| serial.is_some_and(|serial| known > serial))
        };
        let known = rotated.iter().rposition(before);
        let end = rotated.iter().position(behind).unwrap_or(rotated.len());
        let between = move |index: usize, found: &Found| {
            index < end && known.map_or(found.when >= since, |known| index > known)
        };
        rotated
            .into_iter()
            .enumerate()
            .filter(move |(index, found)| found.kin == Kin::Unknown && between(*index, found))
            .map(|(_, found)| found)
    }
}
