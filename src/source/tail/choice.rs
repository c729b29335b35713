//! Which files to hold next, given what is known and what lies there. Pure.

use std::collections::{BTreeMap, BTreeSet};

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
    /// The mark of the held file that is at the path: all others are older.
    pub(super) live: Option<u64>,
    /// Whether all files were seen. What is chosen by its place between others waits for that.
    pub(super) is_sure: bool,
    /// Whether files may have been rotated away unseen.
    pub(super) may_have_missed: bool,
    /// Contents that may not be the first ones that their file had since a moment.
    pub(super) doubtful: &'c BTreeMap<u64, Time>,
    /// Files that were rotated away since then are missed when none is known by which to tell.
    pub(super) since: Time,
}

/// What was chosen.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// What to hold, in this order.
    pub(super) takes: Vec<Take>,
    /// Marks that are of no use once all of that is held: they told nothing of their contents,
    /// and all files that may have been meant are among those that were taken.
    pub(super) settled: Vec<u64>,
}

impl Choice<'_> {
    /// Chooses.
    pub(super) fn choose(&self) -> Chosen {
        let mut chosen = Chosen::default();
        let mut newcomer_is = None;
        for (serial, mark) in self.marks.iter().filter(|(_, mark)| !mark.is_blank()) {
            let (found, is_newcomer) = self.same(*serial, mark);
            if is_newcomer && newcomer_is.is_none() {
                newcomer_is = Some(*serial);
            } else if let Some(found) = found {
                let take = Take::Beside(found.clone(), Some(*serial));
                chosen.takes.push(take);
            }
        }
        let mut missed: BTreeSet<Identity> = BTreeSet::new();
        for (serial, mark) in self.unfound() {
            let gap = self.after(Some(*serial), mark.modified);
            let gap: Vec<Identity> = gap.map(|found| found.identity).collect();
            let is_newcomer = self
                .newcomer
                .is_some_and(|newcomer| newcomer.identity == mark.file);
            // It may have been taken before, and only the word of it was lost in a crash.
            let is_there = (self.beside.found.iter()).any(|found| found.identity == mark.file)
                || (self.marks.iter())
                    .any(|(other, later)| other > serial && later.file == mark.file);
            if mark.is_blank() && (is_newcomer || is_there || !gap.is_empty()) {
                chosen.settled.push(*serial);
            }
            missed.extend(gap);
        }
        let doubtful = self.doubtful.iter().filter(|_| self.is_sure);
        for (serial, since) in doubtful {
            missed.extend(
                self.after(Some(*serial), *since)
                    .map(|found| found.identity),
            );
        }
        // When the newest known content is there still, nothing was rotated away since.
        let newest = self.marks.last().map(|(serial, _)| *serial);
        let is_newest_at_path = newcomer_is.is_some() && newcomer_is == newest;
        if self.may_have_missed && self.is_sure && !is_newest_at_path {
            missed.extend(self.after(None, self.since).map(|found| found.identity));
        }
        let missed = (self.beside.found.iter()).filter(|found| missed.contains(&found.identity));
        let missed = missed.map(|found| Take::Beside(found.clone(), None));
        chosen.takes.extend(missed);
        if self.newcomer.is_some() && (self.is_sure || newcomer_is.is_some()) {
            chosen.takes.push(Take::Newcomer(newcomer_is));
        }
        chosen
    }

    /// The missing contents that no file has: nothing is known of them but when they were met,
    /// or they were overwritten, and their file has another content that nobody saw. Files that
    /// may be theirs are read.
    fn unfound(&self) -> impl Iterator<Item = &(u64, Mark)> {
        let is_found =
            |serial| (self.beside.found.iter()).any(|found| found.kin == Kin::Same(serial));
        self.marks.iter().filter(move |(serial, _)| {
            self.is_sure && self.missing.contains(serial) && !is_found(*serial)
        })
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

    /// The rotated files that were never met and come after all known ones; those that come
    /// between the contents before and behind `serial`, if one is given. Where nothing is known
    /// by which to tell, those that were rotated away since a moment.
    fn after(&self, serial: Option<u64>, since: Time) -> impl Iterator<Item = &Found> {
        let rotated: Vec<&Found> = (self.beside.found.iter())
            .filter(|found| found.generation.is_some())
            .collect();
        let limit = serial.or(self.live).unwrap_or(NEWCOMER);
        let is_before = |found: &&Found| found.kin.serial().is_some_and(|known| known < limit);
        let is_behind = |found: &Found| found.kin.serial().is_some_and(|known| known > limit);
        let known = rotated.iter().rposition(is_before);
        let first = known.map_or(0, |known| known + 1);
        let end = (first..rotated.len())
            .find(|index| is_behind(rotated[*index]))
            .unwrap_or(rotated.len());
        let between = move |index: usize, found: &Found| {
            (first..end).contains(&index) && (known.is_some() || found.when >= since)
        };
        rotated
            .into_iter()
            .enumerate()
            .filter(move |(index, found)| found.kin == Kin::Unknown && between(*index, found))
            .map(|(_, found)| found)
    }
}
