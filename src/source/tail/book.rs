//! All bookmarks of one source: which files were met, and up to where each was read.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::mark::{Mark, read_time, write_time};
use crate::{
    store::Kept,
    units::{Span, Time},
};

/// How many files of one path are remembered that were read to their end, so that a rotated or
/// compressed copy is known when it is met again.
const DONE_MAX: usize = 128;

/// The part under which it is kept when the source was first read.
const STARTED: &str = "";

/// By how much a file system's stamps and those in names may lie behind the clock.
const COARSE: Span = Span::from_micros(100_000);

#[derive(Serialize, Deserialize)]
struct Started {
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    started: Time,
}

/// What is to be kept of one part; without a value it is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) part: Box<str>,
    pub(super) value: Option<String>,
}

/// The bookmarks of one source. Files are numbered in the order in which their contents were
/// met: the number says which is older, and is the part under which a bookmark is kept.
#[derive(Debug)]
pub(super) struct Book {
    marks: BTreeMap<u64, Mark>,
    next: u64,
    /// What changed without a block that could carry it.
    notes: VecDeque<Note>,
    is_first: bool,
    started: Time,
}

impl Book {
    /// Takes up what was kept, and says what of it cannot be read.
    pub(super) fn restore(kept: &Kept, now: Time) -> (Self, Vec<String>) {
        let started = kept
            .get(STARTED)
            .and_then(|value| serde_json::from_str(value).ok());
        let mut book = Self {
            marks: BTreeMap::new(),
            next: 1,
            notes: VecDeque::new(),
            is_first: kept.is_empty(),
            started: started.map_or(now, |Started { started }| started),
        };
        let mut problems = Vec::new();
        for (part, value) in kept.iter().filter(|(part, _)| &***part != STARTED) {
            let serial = part.parse::<u64>().ok().filter(|serial| *serial < u64::MAX);
            match (serial, serde_json::from_str(value)) {
                (Some(serial), Ok(mark)) => {
                    book.next = book.next.max(serial + 1);
                    book.marks.insert(serial, mark);
                }
                (_, read) => {
                    let why = read
                        .err()
                        .map_or_else(String::new, |why| format!(": {why}"));
                    problems.push(format!("`{part}`{why}"));
                    book.note(part, None);
                }
            }
        }
        if book.is_first {
            let started = serde_json::to_string(&Started { started: now });
            book.note(STARTED, started.ok());
        }
        (book, problems)
    }

    /// Whether the source was never read before.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Since when files that were rotated away unseen are missed.
    pub(super) fn started(&self) -> Time {
        self.started.minus(COARSE)
    }

    /// The marks of a path's files, oldest first.
    pub(super) fn of<'b>(&'b self, path: &'b str) -> impl Iterator<Item = (u64, &'b Mark)> {
        self.all().filter(move |(_, mark)| mark.path == path)
    }

    /// All marks, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &Mark)> {
        self.marks.iter().map(|(serial, mark)| (*serial, mark))
    }

    pub(super) fn get(&self, serial: u64) -> Option<&Mark> {
        self.marks.get(&serial)
    }

    /// A content that was not met before.
    pub(super) fn add(&mut self, mark: Mark) -> u64 {
        let serial = self.next;
        self.next += 1;
        self.marks.insert(serial, mark);
        self.keep(serial);
        serial
    }

    /// Changes a mark; the note of it is for the block that goes with it.
    #[must_use]
    pub(super) fn change(&mut self, serial: u64, change: impl FnOnce(&mut Mark)) -> Option<Note> {
        let mark = self.marks.get_mut(&serial)?;
        change(mark);
        Some(Note {
            part: serial.to_string().into(),
            value: mark.json(),
        })
    }

    /// A file was read to its end. The oldest of those is forgotten when there are too many.
    pub(super) fn done(&mut self, serial: u64, change: impl FnOnce(&mut Mark)) {
        let note = self.change(serial, |mark| {
            change(mark);
            mark.done = true;
        });
        self.notes.extend(note);
        let Some(path) = self.get(serial).map(|mark| mark.path.clone()) else {
            return;
        };
        let done: Vec<u64> = self
            .of(&path)
            .filter_map(|(serial, mark)| mark.done.then_some(serial))
            .collect();
        for serial in &done[..done.len().saturating_sub(DONE_MAX)] {
            self.forget(*serial);
        }
    }

    pub(super) fn forget(&mut self, serial: u64) {
        if self.marks.remove(&serial).is_some() {
            self.note(&serial.to_string(), None);
        }
    }

    /// What changed since the last call and was not given to a block.
    pub(super) fn take_notes(&mut self) -> impl Iterator<Item = Note> {
        self.notes.drain(..)
    }

    /// Keeps a mark as it is, without a block.
    pub(super) fn keep(&mut self, serial: u64) {
        let note = self.change(serial, |_| {});
        self.notes.extend(note);
    }

    fn note(&mut self, part: &str, value: Option<String>) {
        let part = part.into();
        self.notes.push_back(Note { part, value });
    }
}
