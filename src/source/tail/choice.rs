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
    /// Whether all files were seen. What is chosen by its place between others waits for that.
    pub(super) is_sure: bool,
    /// Since when a content may have come and gone unseen, if that is known better than by
    /// [`Choice::since`].
    pub(super) doubtful: Option<Time>,
    /// Files that were rotated away since then are new when none is known by which to tell.
    pub(super) since: Time,
}

impl Choice<'_> {
    /// What to hold, in the order of the contents: what has more of a known content, then what
    /// was never met, then the newcomer.
    pub(super) fn takes(&self) -> Vec<Take> {
        let mut takes = Vec::new();
        let mut newcomer_is = None;
        for (serial, mark) in self.marks {
            let (found, is_newcomer) = self.same(*serial, mark);
            if is_newcomer && newcomer_is.is_none() {
                newcomer_is = Some(*serial);
            } else if let Some(found) = found {
                takes.push(Take::Beside(found.clone(), Some(*serial)));
            }
        }
        if self.is_sure {
            let missed = self.missed();
            takes.extend(missed.map(|found| Take::Beside(found.clone(), None)));
        }
        if self.newcomer.is_some() && (self.is_sure || newcomer_is.is_some()) {
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
        // What is at the path goes on, but a copy that is put there may have less.
        let has_less = |newcomer: Newcomer| {
            best.is_some_and(|found| {
                found.identity == mark.file && found.len.is_some_and(|len| len > newcomer.len)
            })
        };
        let is_newcomer = is_newcomer && !self.newcomer.is_some_and(has_less);
        (best, is_newcomer)
    }

    /// The rotated files that were never met, though they were rotated away after the source was
    /// first read: those that come behind any known one, and those that are young enough.
    fn missed(&self) -> impl Iterator<Item = &Found> {
        let rotated = || {
            let found = self.beside.found.iter();
            found.filter(|found| found.generation.is_some())
        };
        let is_known = |found: &Found| found.kin.serial().is_some_and(|serial| serial != NEWCOMER);
        let known = rotated().position(is_known);
        // Where a content was overwritten or copied away, the next one was met by nobody.
        let overwritten = (self.marks.iter())
            .filter(|(serial, _)| self.missing.contains(serial))
            .map(|(_, mark)| mark.modified);
        let doubtful = overwritten.chain(self.doubtful).min();
        let since = match known {
            Some(_) => doubtful,
            None => Some(doubtful.map_or(self.since, |doubtful| doubtful.min(self.since))),
        };
        rotated().enumerate().filter_map(move |(index, found)| {
            let is_behind = known.is_some_and(|known| index > known);
            let is_young = since.is_some_and(|since| found.when >= since);
            (found.kin == Kin::Unknown && (is_behind || is_young)).then_some(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::source::tail::{disk::Looked, mark::Print};

    const LIVE: Identity = Identity {
        device: 1,
        inode: 1,
    };
    const COPY: Identity = Identity {
        device: 1,
        inode: 2,
    };

    /// What is taken when a content was last read from its copy, and the file at the path has
    /// that content too, and is this long.
    fn takes(newcomer_len: u64) -> Vec<Option<u64>> {
        let looked = Looked {
            identity: COPY,
            is_file: true,
            len: 100,
            modified: Time::from_micros(0),
        };
        let mark = Mark::new("audit.log", looked, Print::default(), 60);
        let beside = Beside {
            found: vec![Found {
                path: PathBuf::from("audit.log.1"),
                identity: COPY,
                len: Some(100),
                when: Time::from_micros(0),
                generation: None,
                kin: Kin::Same(4),
            }],
            is_shaky: false,
        };
        let choice = Choice {
            beside: &beside,
            marks: &[(4, mark)],
            missing: BTreeSet::from([4]),
            newcomer: Some(Newcomer {
                identity: LIVE,
                len: newcomer_len,
                kin: Kin::Same(4),
            }),
            is_sure: true,
            doubtful: None,
            since: Time::from_micros(0),
        };
        let takes = choice.takes();
        takes.iter().map(Take::serial).collect()
    }

    #[test]
    fn the_file_at_the_path_goes_on_where_its_copy_was_read() {
        assert_eq!(takes(100), [Some(4)], "just copied");
        assert_eq!(takes(180), [Some(4)], "copied and written on");
        assert_eq!(takes(80), [Some(4), None], "an older copy was put there");
    }
}
