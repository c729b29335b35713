//! Decides what to do with the files of one path. Pure: no file call, no clock.
//!
//! The files that are held open stand in the order in which they appeared at the path. The newest
//! is the one at the path; the older ones were rotated away and are read until they have been
//! quiet for a while. Newer files are read meanwhile, so a rotation delays nothing.

use std::{collections::VecDeque, time::Duration};

use super::disk::Identity;

/// What a held file looks like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Length in bytes.
    pub len: u64,
    /// Whether its first bytes are no longer those that were read: truncated and grown again.
    pub rewritten: bool,
}

/// What there is to see at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// The file at the path; `None` when there is none.
    pub at_path: Option<Identity>,
    /// Each held file, oldest first.
    pub held: Vec<Seen>,
    /// Time since the start of the process; never goes back.
    pub now: Duration,
}

/// What to do next; an index counts held files from the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open the file at the path and hold it, then say so with [`Plan::opened`].
    Open,
    /// Read some of this file from where it stands, then say so with [`Plan::read`].
    Read(usize),
    /// This file was truncated or rewritten: it is another one from now on, so hold it no longer
    /// as the old one ([`Plan::closed`]).
    Restart(usize),
    /// This file was rotated away and has been quiet, or was removed long ago: its last line is
    /// whole, close it ([`Plan::closed`]).
    Close(usize),
    /// Nothing to do until something changes.
    Wait,
}

/// One held file.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    /// Which file.
    pub identity: Identity,
    /// Up to where it was read.
    pub offset: u64,
    /// Since when it has been at its end and no longer at the path.
    quiet_since: Option<Duration>,
}

/// The files of one path.
#[derive(Debug)]
pub struct Plan {
    held: VecDeque<Holding>,
    grace: Duration,
}

impl Plan {
    /// The most files of one path that are held open. More rotations than this while the pipeline
    /// is full leave the newest at the path until there is room.
    pub const HELD_MAX: usize = 64;

    /// How long a file is held that is no longer at the path while nothing has taken its place:
    /// a successor may be late, but a removed file must give its disk space back.
    pub const ORPHAN: Duration = Duration::from_secs(600);

    /// Nothing held. A rotated file is closed after `grace` without growth, because its writer
    /// may go on for a while before it opens the successor.
    pub fn new(grace: Duration) -> Self {
        Self {
            held: VecDeque::new(),
            grace,
        }
    }

    /// How long a rotated file must have been quiet.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// The held files, oldest first.
    pub fn held(&self) -> impl ExactSizeIterator<Item = &Holding> {
        self.held.iter()
    }

    /// What to do next. First it is settled which files are which: one that was overwritten is
    /// another, and a newcomer may be rotated away and removed while older files are read. Then
    /// files are read, oldest first.
    pub fn next(&mut self, look: &Look) -> Step {
        let mut pairs = self.held.iter().zip(&look.held);
        if let Some(index) = pairs.position(|(held, seen)| seen.len < held.offset || seen.rewritten)
        {
            return Step::Restart(index);
        }
        if let Some(identity) = look.at_path
            && self.has_room()
            && !self.held.iter().any(|held| held.identity == identity)
        {
            return Step::Open;
        }
        let newest = self.held.len().saturating_sub(1);
        for (index, (held, seen)) in self.held.iter_mut().zip(&look.held).enumerate() {
            if seen.len > held.offset {
                held.quiet_since = None;
                return Step::Read(index);
            }
            let patience = match look.at_path {
                Some(identity) if identity == held.identity => {
                    held.quiet_since = None;
                    continue;
                }
                None if index == newest => Self::ORPHAN.max(self.grace),
                _ => self.grace,
            };
            let since = *held.quiet_since.get_or_insert(look.now);
            if look.now.saturating_sub(since) >= patience {
                return Step::Close(index);
            }
        }
        Step::Wait
    }

    /// Whether another file may be held.
    pub fn has_room(&self) -> bool {
        self.held.len() < Self::HELD_MAX
    }

    /// A file is held now as the `index`th from the oldest, to be read from `offset`.
    pub fn opened(&mut self, index: usize, identity: Identity, offset: u64) {
        let holding = Holding {
            identity,
            offset,
            quiet_since: None,
        };
        self.held.insert(index.min(self.held.len()), holding);
    }

    /// Bytes of a held file were read.
    pub fn read(&mut self, index: usize, bytes: u64) {
        if let Some(held) = self.held.get_mut(index) {
            held.offset += bytes;
        }
    }

    /// A held file is held no longer.
    pub fn closed(&mut self, index: usize) {
        self.held.remove(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Identity = Identity {
        device: 1,
        inode: 1,
    };
    const B: Identity = Identity {
        device: 1,
        inode: 2,
    };

    fn look(at_path: Option<Identity>, lens: &[u64], seconds: u64) -> Look {
        let held = lens
            .iter()
            .map(|&len| Seen {
                len,
                rewritten: false,
            })
            .collect();
        Look {
            at_path,
            held,
            now: Duration::from_secs(seconds),
        }
    }

    fn holding_a(offset: u64) -> Plan {
        let mut plan = Plan::new(Duration::from_secs(10));
        assert_eq!(
            plan.next(&look(None, &[], 0)),
            Step::Wait,
            "absent at start"
        );
        assert_eq!(plan.next(&look(Some(A), &[], 0)), Step::Open);
        plan.opened(0, A, offset);
        plan
    }

    #[test]
    fn reads_what_grows() {
        let mut plan = holding_a(0);
        assert_eq!(plan.next(&look(Some(A), &[100], 1)), Step::Read(0));
        plan.read(0, 100);
        assert_eq!(plan.next(&look(Some(A), &[100], 2)), Step::Wait);
    }

    #[test]
    fn a_rotated_file_is_read_until_it_is_quiet_and_delays_nobody() {
        let mut plan = holding_a(100);
        assert_eq!(
            plan.next(&look(None, &[100], 1)),
            Step::Wait,
            "renamed, no successor yet"
        );
        assert_eq!(plan.next(&look(Some(B), &[100], 2)), Step::Open);
        plan.opened(1, B, 0);
        assert_eq!(plan.next(&look(Some(B), &[100, 50], 2)), Step::Read(1));
        plan.read(1, 50);
        assert_eq!(
            plan.next(&look(Some(B), &[130, 50], 8)),
            Step::Read(0),
            "old writer goes on"
        );
        plan.read(0, 30);
        assert_eq!(plan.next(&look(Some(B), &[130, 50], 9)), Step::Wait);
        assert_eq!(plan.next(&look(Some(B), &[130, 50], 18)), Step::Wait);
        assert_eq!(plan.next(&look(Some(B), &[130, 50], 19)), Step::Close(0));
        plan.closed(0);
        assert_eq!(plan.next(&look(Some(B), &[50], 19)), Step::Wait);
    }

    #[test]
    fn a_removed_file_is_given_back_in_the_end() {
        let mut plan = holding_a(100);
        assert_eq!(plan.next(&look(None, &[100], 5)), Step::Wait);
        assert_eq!(plan.next(&look(None, &[100], 604)), Step::Wait);
        assert_eq!(plan.next(&look(None, &[100], 605)), Step::Close(0));
    }

    #[test]
    fn truncated_and_rewritten_files_start_over() {
        let mut plan = holding_a(100);
        assert_eq!(plan.next(&look(Some(A), &[99], 1)), Step::Restart(0));
        let mut rewritten = look(Some(A), &[200], 2);
        rewritten.held[0].rewritten = true;
        assert_eq!(plan.next(&rewritten), Step::Restart(0));
        plan.closed(0);
        assert_eq!(plan.next(&look(Some(A), &[], 2)), Step::Open);
    }

    #[test]
    fn a_file_that_comes_back_is_not_opened_twice() {
        let mut plan = holding_a(10);
        plan.opened(1, B, 0);
        assert_eq!(plan.next(&look(Some(A), &[10, 0], 1)), Step::Wait);
        assert_eq!(plan.next(&look(Some(A), &[10, 0], 99)), Step::Close(1));
    }

    #[test]
    fn holds_a_bounded_number() {
        let mut plan = Plan::new(Duration::ZERO);
        for inode in 0..Plan::HELD_MAX as u64 {
            plan.opened(0, Identity { device: 1, inode }, 0);
        }
        let newcomer = Identity {
            device: 1,
            inode: 999,
        };
        assert_eq!(
            plan.next(&look(Some(newcomer), &[5; Plan::HELD_MAX], 1)),
            Step::Read(0)
        );
    }
}
