//! A model of writers, rotators and a reader over a file system in memory, all taking turns as a
//! seed says. The reader is the real one: everything below the thread of `tailer`.
//!
//! It checks what `docs/operating.md` promises: state and bookmarks are committed together, so
//! in what survives each line stands exactly once, whatever happens to the files and the reader,
//! but for lines that nobody could have read.
//!
//! `AUDITWATCH_SCHEDULES=100000 cargo test --release simulation` runs more of them,
//! `AUDITWATCH_SEED=17` runs one and tells what happens in it.

mod chance;
mod server;
mod world;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use self::{
    chance::Chance,
    server::{STYLES, Server, lines_in},
    world::{FakeDisk, World},
};
use super::{
    book::Note,
    files::Files,
    follow::{Change, Out, Progress},
    mark::{Mark, Print},
    settings::TailSettings,
};
use crate::{decode::Limits, store::Kept};

/// How many schedules an ordinary test run has.
const SCHEDULES: u64 = 2_000;

/// Lines that are not to be read: they were rotated away before the first start.
const OLD: u64 = 1_000_000_000;

struct Run {
    disk: FakeDisk,
    settings: TailSettings,
    chance: Chance,
    servers: Vec<Server>,
    reader: Option<Files<FakeDisk>>,
    /// When the reader was started, in microseconds.
    started: i64,
    /// What was handed on: lines and bookmarks, in order.
    ledger: Vec<(Vec<u64>, Option<Note>)>,
    /// How much of the ledger is committed.
    safe: usize,
    read: BTreeMap<u64, u32>,
    next: u64,
    /// Lines that vanished before they were read, or read and committed.
    gone: BTreeSet<u64>,
    /// Lines that had been rotated away before their file was met for the first time.
    old: BTreeSet<u64>,
    /// Who wrote each line.
    writers: BTreeMap<u64, usize>,
    is_violent: bool,
    /// Lines vanished that the reader can know of.
    must_tell: bool,
    lost: u32,
    truncated: u32,
    story: Option<String>,
}

impl Run {
    fn new(seed: u64, is_told: bool) -> Self {
        let mut chance = Chance::new(seed);
        let mut world = World::new(1_700_000_000_000_000);
        let is_gentle = chance.once_in(3);
        let style = STYLES[chance.below(STYLES.len())];
        let mut servers = vec![Server::new("/log/a", style, is_gentle)];
        let mut path = "/log/a/audit.log";
        if chance.once_in(4) {
            let style = STYLES[chance.below(STYLES.len())];
            servers.push(Server::new("/log/b", style, is_gentle));
            path = "/log/*/audit.log";
        }
        world.make_directory(&PathBuf::from("/log"));
        if chance.once_in(3) {
            for (server, line) in servers.iter_mut().zip(OLD..) {
                server.lay_old_file(&mut world, line);
            }
        }
        let mut settings = TailSettings::new(path);
        settings.grace = Duration::from_secs(1);
        let is_troubled = chance.once_in(2);
        Self {
            disk: FakeDisk {
                world: Rc::new(RefCell::new(world)),
                trouble: Rc::new(RefCell::new(Chance::new(!seed))),
                is_troubled: Rc::new(Cell::new(is_troubled)),
            },
            settings,
            chance,
            servers,
            reader: None,
            started: 0,
            ledger: Vec::new(),
            safe: 0,
            read: BTreeMap::new(),
            next: 0,
            gone: BTreeSet::new(),
            old: BTreeSet::new(),
            writers: BTreeMap::new(),
            is_violent: false,
            must_tell: false,
            lost: 0,
            truncated: 0,
            story: is_told.then(String::new),
        }
    }

    fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let what = what(self);
            let now = self.disk.world.borrow().now();
            if let Some(story) = &mut self.story {
                writeln!(story, "{now} {what}").unwrap();
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..60 + self.chance.below(140) {
            if self.chance.below(10) < 4 {
                self.let_server_act();
            } else {
                self.let_reader_act();
            }
            self.note_vanished(false);
        }
        self.drain();
    }

    fn let_server_act(&mut self) {
        let index = self.chance.below(self.servers.len());
        let before = self.next;
        let act = {
            let mut world = self.disk.world.borrow_mut();
            self.servers[index].act(&mut world, &mut self.chance, &mut self.next)
        };
        self.is_violent |= act.is_violent;
        self.note_vanished(act.is_copied);
        self.writers
            .extend((before + 1..=self.next).map(|line| (line, index)));
        self.tell(|run| {
            let world = run.disk.world.borrow();
            format!(
                "server {index}: {act:?}, lines {}..={}, now {}",
                before + 1,
                run.next,
                world.describe()
            )
        });
    }

    fn let_reader_act(&mut self) {
        self.disk
            .world
            .borrow_mut()
            .pass(1 + self.chance.below(50_000) as i64);
        if self.reader.is_none() {
            if self.chance.once_in(6) {
                self.start();
            }
            return;
        }
        match self.chance.below(40) {
            0 => self.crash(),
            1 => {
                // A clean stop has committed all that was handed on.
                self.safe = self.ledger.len();
                self.crash();
            }
            2..6 => self.safe += self.chance.below(self.ledger.len() - self.safe + 1),
            6..10 => self.search(),
            10..14 => self.look(),
            _ => {
                let follows = self
                    .reader
                    .as_ref()
                    .map_or(0, |reader| reader.follows().len());
                if follows > 0 {
                    let index = self.chance.below(follows);
                    self.step(index);
                }
            }
        }
    }

    fn start(&mut self) {
        let mut kept = Kept::new();
        for note in self.ledger.iter().filter_map(|(_, note)| note.clone()) {
            match note.value {
                Some(value) => kept.insert(note.part, value),
                None => kept.remove(&note.part),
            };
        }
        if self.ledger.is_empty() {
            for server in &mut self.servers {
                server.leave_rotated(&mut self.disk.world.borrow_mut());
            }
            let world = self.disk.world.borrow();
            self.old = world.written().iter().copied().collect();
            for server in &self.servers {
                for line in world.lines(&server.path) {
                    self.old.remove(line);
                }
            }
        }
        let now = self.disk.world.borrow().now();
        let limits = Limits {
            block_bytes: 2048,
            record_bytes_max: 64 << 10,
        };
        let (reader, problems) = Files::new(self.disk.clone(), &self.settings, limits, now, &kept);
        assert_eq!(problems, [""; 0]);
        self.started = now.micros();
        self.reader = Some(reader);
        self.tell(|run| {
            let notes = run.ledger.iter().filter_map(|(_, note)| note.as_ref());
            let notes = notes.map(brief).collect::<Vec<_>>();
            format!("reader starts with {}", notes.join("; "))
        });
        // What is there at the very first start is known as soon as it is opened.
        let is_troubled = self.disk.is_troubled.get();
        self.disk.is_troubled.set(is_troubled && !kept.is_empty());
        self.search();
        self.look();
        self.step(0);
        self.disk.is_troubled.set(is_troubled);
        // The first commit is that of the start itself.
        self.safe = self.safe.max(1).min(self.ledger.len());
    }

    fn now(&self) -> Duration {
        let now = self.disk.world.borrow().now().micros();
        Duration::from_micros((now - self.started) as u64)
    }

    fn search(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.search().unwrap();
            reader.drop_gone();
        }
    }

    fn look(&mut self) {
        let now = self.now();
        let Some(reader) = &mut self.reader else {
            return;
        };
        for index in 0..reader.follows().len() {
            let mut out = Out::default();
            let _ = reader.look(index, now, &mut out);
            Self::take(&mut self.ledger, &mut self.read, &mut out);
            for change in &out.changes {
                self.lost += u32::from(is_lost(change));
                self.truncated += u32::from(*change == Change::Truncated);
            }
        }
    }

    fn step(&mut self, index: usize) -> Option<Progress> {
        let now = self.now();
        let before = self.ledger.len();
        let reader = self.reader.as_mut()?;
        let mut out = Out::default();
        let progress = reader.step(index, now, &mut out);
        Self::take(&mut self.ledger, &mut self.read, &mut out);
        for change in &out.changes {
            self.lost += u32::from(is_lost(change));
            self.truncated += u32::from(*change == Change::Truncated);
        }
        let told = out.changes;
        self.tell(|run| {
            let last = run.ledger[before..].iter().map(|(lines, note)| {
                format!(
                    "{lines:?} {}",
                    note.as_ref().map_or_else(String::new, brief)
                )
            });
            let last = last.collect::<Vec<_>>().join("; ");
            format!("reader {index}: {progress:?} {told:?} {last}")
        });
        progress.ok()
    }

    fn take(
        ledger: &mut Vec<(Vec<u64>, Option<Note>)>,
        read: &mut BTreeMap<u64, u32>,
        out: &mut Out,
    ) {
        for given in out.given.drain(..) {
            let lines = given
                .block
                .map_or_else(Vec::new, |block| lines_in(&block.bytes));
            for line in &lines {
                *read.entry(*line).or_default() += 1;
            }
            ledger.push((lines, given.note));
        }
    }

    /// What was not committed is as if it had never been.
    fn crash(&mut self) {
        self.tell(|run| format!("crash, {} of {} are safe", run.safe, run.ledger.len()));
        self.reader = None;
        // A log of which nothing is committed is met for the first time the next time, too.
        let committed: BTreeSet<String> = self.ledger[..self.safe]
            .iter()
            .filter_map(|(_, note)| serde_json::from_str(note.as_ref()?.value.as_ref()?).ok())
            .map(|mark: Mark| mark.path)
            .collect();
        for (line, writer) in &self.writers {
            let path = self.servers[*writer].path.to_string_lossy();
            if !committed.contains(&*path) {
                self.old.insert(*line);
            }
        }
        for (lines, _) in self.ledger.drain(self.safe..) {
            for line in lines {
                let count = self.read.get_mut(&line).unwrap();
                *count -= 1;
                if *count == 0 && !self.disk.world.borrow().has_line(line) {
                    self.gone.insert(line);
                }
            }
        }
    }

    fn note_vanished(&mut self, is_copied: bool) {
        let vanished = self.disk.world.borrow_mut().take_vanished();
        for (line, print) in vanished {
            if self.read.get(&line).is_none_or(|count| *count == 0) {
                self.gone.insert(line);
                self.must_tell |= !is_copied && self.has_met(print);
            }
        }
    }

    /// Whether the reader will know, whatever happens, that it has not read to its end what
    /// begins like this.
    fn has_met(&self, print: Print) -> bool {
        let mut marks = BTreeMap::new();
        let safe = &self.ledger[..self.safe];
        for note in safe.iter().filter_map(|(_, note)| note.as_ref()) {
            let mark = note.value.as_deref();
            let mark = mark.and_then(|mark| serde_json::from_str::<Mark>(mark).ok());
            marks.insert(&note.part, mark);
        }
        let is_it = |mark: &Mark| mark.fingerprint == print && !mark.done;
        print.bytes > 0 && marks.values().flatten().any(is_it)
    }

    /// Everything rests; the reader comes to the end of everything.
    fn drain(&mut self) {
        self.disk.is_troubled.set(false);
        let mut lost = Vec::new();
        for server in &mut self.servers {
            let mut world = self.disk.world.borrow_mut();
            let act = server.write_last(&mut world, &mut self.chance, &mut self.next);
            self.is_violent |= act.is_violent;
            drop(world);
            let vanished = self.disk.world.borrow_mut().take_vanished();
            lost.extend(vanished.into_iter().map(|(line, _)| line));
        }
        lost.retain(|line| self.read.get(line).is_none_or(|count| *count == 0));
        self.gone.extend(lost);
        if self.reader.is_none() {
            self.start();
        }
        for pause in [100_000, 700_000_000, 100_000] {
            for _ in 0..20 {
                self.disk.world.borrow_mut().pass(pause);
                self.search();
                let follows = self
                    .reader
                    .as_ref()
                    .map_or(0, |reader| reader.follows().len());
                for index in 0..follows {
                    let mut steps = 0;
                    while self
                        .step(index)
                        .is_some_and(|progress| progress != Progress::Idle)
                    {
                        steps += 1;
                        assert!(steps < 10_000, "the reader does not come to rest");
                    }
                }
                self.note_vanished(false);
            }
        }
    }

    /// What is wrong with the outcome.
    fn verdict(&self) -> Result<(), String> {
        let world = self.disk.world.borrow();
        let mut missing = Vec::new();
        for line in world.written() {
            match self.read.get(line).copied().unwrap_or_default() {
                1 => {}
                0 if self.old.contains(line) => {}
                0 if self.gone.contains(line) => missing.push(*line),
                0 => return Err(format!("line {line} was never read, and could have been")),
                count => return Err(format!("line {line} was read {count} times")),
            }
        }
        if let Some((line, _)) = self.read.range(OLD..).find(|(_, count)| **count > 0) {
            return Err(format!("old line {line} was read"));
        }
        if self.must_tell && self.lost + self.truncated == 0 {
            return Err(format!("{missing:?} are lost, and nobody was told"));
        }
        if !self.is_violent && (self.lost > 0 || !missing.is_empty()) {
            return Err(format!("{} lost, but nothing can have been", self.lost));
        }
        Ok(())
    }
}

/// A bookmark for people: which part, which file, up to where.
fn brief(note: &Note) -> String {
    let value = note.value.as_deref().unwrap_or("null");
    match serde_json::from_str::<Mark>(value) {
        Ok(mark) => format!(
            "{}: inode {} {} of {} print {}{}",
            note.part,
            mark.file.inode,
            mark.offset,
            mark.len,
            mark.fingerprint.bytes,
            if mark.done { " done" } else { "" }
        ),
        Err(_) => format!("{}: {value}", note.part),
    }
}

fn is_lost(change: &Change) -> bool {
    matches!(change, Change::Lost { .. })
}

/// Runs one schedule and says what went wrong in it.
fn schedule(seed: u64, is_told: bool) -> Result<(), String> {
    let mut run = Run::new(seed, is_told);
    run.run();
    let verdict = run.verdict();
    if let Some(story) = &run.story {
        println!("{story}\n{}", run.disk.world.borrow().describe());
    }
    verdict.map_err(|problem| {
        let styles: Vec<_> = run.servers.iter().map(|server| server.style).collect();
        format!("{problem}; {styles:?}; run it alone with AUDITWATCH_SEED={seed}")
    })
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a whole number"))
}

#[test]
fn rotation_simulation() {
    if let Some(seed) = variable("AUDITWATCH_SEED") {
        schedule(seed, true).unwrap();
        return;
    }
    let schedules = variable("AUDITWATCH_SCHEDULES").unwrap_or(SCHEDULES);
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    let mut seeds = (worker..schedules).step_by(threads as usize);
                    seeds.find_map(|seed| {
                        let result = std::panic::catch_unwind(|| schedule(seed, false));
                        let result = result.unwrap_or_else(|_| {
                            Err(format!("panic; run it alone with AUDITWATCH_SEED={seed}"))
                        });
                        result.err()
                    })
                })
            })
            .collect();
        let results = workers.into_iter().map(|worker| worker.join().unwrap());
        results.flatten().collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
