//! Finds files again: after a restart, after a truncation that left a copy, and those that were
//! rotated away before anybody looked.

use std::{collections::BTreeSet, io, path::Path, time::Duration};

use super::{
    beside::{Beside, Kin, kin_of, look_beside},
    book::Book,
    choice::{Choice, NEWCOMER, Newcomer, Take},
    disk::{Disk, is_absence},
    follow::{Change, Follow, Given, Missing, Out, Reading},
    held::HeldFile,
    mark::Mark,
    plan::Plan,
    settings::Beginning,
    since,
};
use crate::{decode::Framer, units::Time};

/// How often files are looked for that are missing.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often it is looked, while nothing is at the path, whether a file came and went unseen.
const LOOK_EVERY_ABSENT: Duration = Duration::from_secs(5);

/// How often a look beside the path is tried again that was disturbed, at least.
const LOOKS: u32 = 5;

impl<D: Disk> Follow<D> {
    pub(super) fn is_to_look_beside(&self, now: Duration) -> bool {
        (!self.missing.is_empty() || !self.is_settled || self.at_path.is_none())
            && now >= self.look_beside_at
            && self.plan.has_room()
    }

    /// Holds all files of which more is to be read: those that were missing, those that were
    /// rotated away between the newest known one and now, and the newcomer at the path.
    ///
    /// Whatever cannot be held now is left for the next time; the newcomer waits behind it, so
    /// that files are read in their order.
    pub(super) fn take_in(
        &mut self,
        now: Duration,
        newcomer: Option<HeldFile<D::File>>,
        book: &mut Book,
        out: &mut Out,
    ) -> io::Result<()> {
        let marks: Vec<(u64, Mark)> = book
            .of(&self.name)
            .map(|(serial, mark)| (serial, mark.clone()))
            .collect();
        let kin = match &newcomer {
            Some(file) => kin_of(file, &marks)?,
            None => Kin::Unknown,
        };
        if let Kin::Same(serial) = kin {
            self.let_go(serial);
        }
        // A copy of the newcomer has nothing else in it.
        let mut known = marks.clone();
        known.extend(newcomer.as_ref().map(|file| {
            let mark = Mark::new(&self.name, file.looked(), file.fingerprint(), 0);
            (NEWCOMER, mark)
        }));
        let at_path = newcomer.as_ref().map(HeldFile::identity);
        let held = |identity| self.serial_of(identity);
        let beside = look_beside(&self.disk, &self.path, held, at_path, &known);
        let choice = Choice {
            beside: &beside,
            marks: &marks,
            missing: self.missing.iter().map(|missing| missing.serial).collect(),
            newcomer: newcomer.as_ref().map(|file| Newcomer {
                identity: file.identity(),
                len: file.looked().len,
                kin,
            }),
            is_sure: !self.is_disturbed(beside.is_shaky, now),
            doubtful: self.doubtful.values().min().copied(),
            since: match (marks.last(), self.from) {
                (Some((_, newest)), _) => newest.modified,
                (None, Beginning::Since(cutoff)) => cutoff,
                (None, _) => book.started(),
            },
        };
        let is_sure = choice.is_sure;
        let takes = choice.takes();
        let resumed: BTreeSet<u64> = takes.iter().filter_map(Take::serial).collect();
        if self.hold_all(takes, newcomer, book, out)? && is_sure {
            self.is_settled = !beside.is_shaky;
            for serial in std::mem::take(&mut self.doubtful).into_keys() {
                book.keep(serial);
            }
            self.settle_blanks(book);
            if !beside.is_shaky {
                forget_gone(&beside, &marks, &resumed, book);
            }
        }
        self.give_up(now, &beside, &resumed, book, out);
        let pause = if self.missing.is_empty() && self.is_settled {
            LOOK_EVERY_ABSENT
        } else {
            LOOK_EVERY
        };
        self.look_beside_at = now + pause;
        Ok(())
    }

    /// Holds a content no longer by the file it was found in: the one at the path has it, too, and
    /// will have what is written next.
    fn let_go(&mut self, serial: u64) {
        let held = self.held.iter().position(|held| held.serial == serial);
        if let Some(index) = held {
            let reading = self.held.remove(index);
            self.plan.closed(index);
            self.missing.push(Missing {
                serial,
                framer: Some(reading.framer),
                since: None,
            });
        }
    }

    /// Whether the look beside the path was disturbed and is worth another try.
    fn is_disturbed(&mut self, is_shaky: bool, now: Duration) -> bool {
        if !is_shaky {
            self.disturbed = None;
            return false;
        }
        let (since, times) = self.disturbed.get_or_insert((now, 0));
        *times += 1;
        *times < LOOKS || now.saturating_sub(*since) < self.plan.grace()
    }

    /// Holds the files in their order; false when some could not be held yet.
    fn hold_all(
        &mut self,
        takes: Vec<Take>,
        mut newcomer: Option<HeldFile<D::File>>,
        book: &mut Book,
        out: &mut Out,
    ) -> io::Result<bool> {
        for take in takes {
            if !self.plan.has_room() {
                return Ok(false);
            }
            let (file, path, serial, rotated) = match take {
                Take::Newcomer(serial) => match newcomer.take() {
                    Some(file) => (file, self.path.clone(), serial, None),
                    None => continue,
                },
                Take::Beside(found, serial) => {
                    let file = match HeldFile::open_rotated(&self.disk, &found.path) {
                        Ok(file) if file.identity() == found.identity => file,
                        // Names were moved on meanwhile.
                        Ok(_) => return Ok(false),
                        Err(error) if is_absence(&error) => return Ok(false),
                        Err(error) => return Err(error),
                    };
                    (file, found.path, serial, Some(found.when))
                }
            };
            match serial {
                Some(serial) => self.resume(file, serial, &path, book, out),
                None => self.begin(file, &path, rotated, book, out)?,
            }
        }
        Ok(true)
    }

    /// Reads a known content on from its mark.
    fn resume(
        &mut self,
        file: HeldFile<D::File>,
        serial: u64,
        path: &Path,
        book: &Book,
        out: &mut Out,
    ) {
        let offset = book.get(serial).map_or(0, |mark| mark.offset);
        self.missing.retain(|missing| missing.serial != serial);
        self.hold(file, serial, offset);
        out.changes.push(Change::Resumed {
            path: path.to_owned(),
            offset,
        });
    }

    /// Reads a content that was never met, and when it was rotated away, if it was.
    fn begin(
        &mut self,
        file: HeldFile<D::File>,
        path: &Path,
        rotated: Option<Time>,
        book: &mut Book,
        out: &mut Out,
    ) -> io::Result<()> {
        let mut file = file;
        let offset = match self.from {
            Beginning::Start => 0,
            Beginning::End => file.end_of_whole_lines()?,
            Beginning::Since(cutoff) => since::place(&mut file, cutoff, self.limits)?,
        };
        if rotated.is_none() {
            self.started();
        }
        let mut mark = Mark::new(&self.name, file.looked(), file.fingerprint(), offset);
        mark.trail = file.trail(offset)?;
        // A compressed copy is younger than what is in it, and what came next may be older.
        mark.modified = rotated.map_or(mark.modified, |when| when.min(mark.modified));
        let serial = book.add(mark);
        self.hold(file, serial, offset);
        out.changes.push(Change::Opened {
            path: path.to_owned(),
            offset,
            is_rotated: rotated.is_some(),
        });
        Ok(())
    }

    fn hold(&mut self, file: HeldFile<D::File>, serial: u64, offset: u64) {
        let younger = |held: &Reading<D::File>| held.serial > serial;
        let index = self
            .held
            .iter()
            .position(younger)
            .unwrap_or(self.held.len());
        self.plan.opened(index, file.identity(), offset);
        let framer = Framer::of_lines(self.limits, offset);
        let reading = Reading {
            file,
            framer,
            serial,
        };
        self.held.insert(index, reading);
    }

    /// Marks of files in which no whole line was seen are of no use once all files are held that
    /// may be theirs.
    fn settle_blanks(&mut self, book: &mut Book) {
        self.missing.retain(|missing| {
            let is_blank = book.get(missing.serial).is_some_and(Mark::is_blank);
            let was_watched = missing.framer.is_some();
            if is_blank && !was_watched {
                book.forget(missing.serial);
            }
            was_watched || !is_blank
        });
    }

    /// Ends the search for what was not found: nothing more will come, or it is lost.
    fn give_up(
        &mut self,
        now: Duration,
        beside: &Beside,
        resumed: &BTreeSet<u64>,
        book: &mut Book,
        out: &mut Out,
    ) {
        // A directory that is not there, or is empty, may be one that is not mounted yet.
        let is_deserted = self.held.is_empty() && beside.found.is_empty();
        let patience = if beside.is_shaky || is_deserted {
            Plan::ORPHAN
        } else {
            self.plan.grace()
        };
        for mut missing in std::mem::take(&mut self.missing) {
            let serial = missing.serial;
            let is_copied = beside.found.iter().any(|found| {
                found.kin == Kin::Shorter(serial)
                    && book
                        .get(serial)
                        .is_some_and(|mark| mark.file != found.identity)
            });
            let is_found = resumed.contains(&serial)
                || beside
                    .found
                    .iter()
                    .any(|found| found.kin == Kin::Same(serial));
            let since = *missing.since.get_or_insert(now);
            if is_found && !is_copied {
                missing.since = None;
            } else if is_copied || now.saturating_sub(since) >= patience {
                end(missing, is_copied, book, out);
                continue;
            }
            self.missing.push(missing);
        }
    }
}

/// Forgets files that were read to their end and are gone, but for the newest known one:
/// what was rotated away later is found by it.
fn forget_gone(beside: &Beside, marks: &[(u64, Mark)], resumed: &BTreeSet<u64>, book: &mut Book) {
    let is_there = |serial: u64| {
        resumed.contains(&serial)
            || beside
                .found
                .iter()
                .any(|found| [Kin::Same(serial), Kin::Shorter(serial)].contains(&found.kin))
    };
    let older = marks.split_last().map_or(&[][..], |(_, older)| older);
    for (serial, mark) in older {
        if mark.done && !is_there(*serial) {
            book.forget(*serial);
        }
    }
}

/// Nothing more of this content will come. A copy that is shorter than what was read has
/// nothing that was not read.
fn end(missing: Missing, is_copied: bool, book: &mut Book, out: &mut Out) {
    let serial = missing.serial;
    let was_watched = missing.framer.is_some();
    if let Some(mut framer) = missing.framer {
        framer.finish();
        while let Some(block) = framer.next_block() {
            let block = Some(block);
            out.given.push(Given { block, note: None });
        }
    }
    let Some(mark) = book.get(serial).cloned() else {
        return;
    };
    if is_copied {
        book.done(serial, |_| {});
        return;
    }
    let unread = mark.len.saturating_sub(mark.offset);
    if !was_watched || unread > 0 {
        out.changes.push(Change::Lost {
            offset: mark.offset,
            unread,
            since: mark.modified,
        });
    }
    book.forget(serial);
}
