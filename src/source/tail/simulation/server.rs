//! An API server and whoever rotates its log, one small act at a time.

use std::{fmt::Write as _, path::PathBuf};

use super::super::rotated::without_packing;
use super::{
    chance::Chance,
    world::{Packing, World},
};

/// Who rotates, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// kube-apiserver itself: renames to a stamp, compresses behind.
    Stamps,
    /// logrotate's `create`: numbers, the writer goes on in the old file for a while.
    Numbers,
    /// logrotate with `dateext`.
    Dates,
    /// logrotate's `copytruncate`; the writer appends.
    Copies,
    /// The same; the writer writes where it was, which leaves a hole.
    Holes,
    /// The path is a link that is switched to the next file.
    Links,
}

pub(super) const STYLES: [Style; 6] = [
    Style::Stamps,
    Style::Numbers,
    Style::Dates,
    Style::Copies,
    Style::Holes,
    Style::Links,
];

/// An open file of the writer.
#[derive(Clone, Copy, Debug)]
struct Pen {
    inode: u64,
    at: usize,
}

#[derive(Debug)]
pub(super) struct Server {
    directory: PathBuf,
    pub(super) path: PathBuf,
    pub(super) style: Style,
    /// Acts that can destroy lines are left out.
    is_gentle: bool,
    pen: Option<Pen>,
    /// A line that was begun: its number and what is still to be written.
    half: Option<(u64, Vec<u8>)>,
    /// The copy that `copytruncate` has made before it truncates.
    copied: bool,
    /// A file that is being compressed.
    packing: Option<(PathBuf, PathBuf, Packing)>,
    generation: u32,
    /// When the live file was last renamed.
    moved: i64,
}

/// How long a writer goes on in a file that was renamed, in microseconds.
const GOES_ON: i64 = 500_000;

/// What an act destroyed on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Act {
    /// A live file lost its content or its name.
    pub(super) is_violent: bool,
    /// There is a copy, so nobody can know of what was written between copy and truncation.
    pub(super) is_copied: bool,
}

const VIOLENT: Act = Act {
    is_violent: true,
    is_copied: false,
};

impl Server {
    pub(super) fn new(directory: &str, style: Style, is_gentle: bool) -> Self {
        let directory = PathBuf::from(directory);
        let path = directory.join("audit.log");
        Self {
            directory,
            path,
            style,
            is_gentle,
            pen: None,
            half: None,
            copied: false,
            packing: None,
            generation: 0,
            moved: 0,
        }
    }

    /// A file that was rotated away before anybody read this log.
    pub(super) fn lay_old_file(&mut self, world: &mut World, line: u64) {
        let path = self.rotated_name(world);
        let inode = world.create(&path);
        let text = text(line, 140, true);
        world.write(inode, 0, &text, None);
        world.pass(5_000_000);
    }

    /// Does one thing. `next` numbers the lines.
    pub(super) fn act(&mut self, world: &mut World, chance: &mut Chance, next: &mut u64) -> Act {
        world.pass(1 + chance.below(200_000) as i64);
        if world.now().micros() - self.moved > GOES_ON {
            self.leave_rotated(world);
        }
        if self.copied {
            // Nothing comes between but writes.
            return if chance.once_in(3) {
                self.write(world, chance, next);
                Act::default()
            } else {
                self.truncate_behind_copy(world)
            };
        }
        match chance.below(20) {
            0..8 => {
                self.write(world, chance, next);
                Act::default()
            }
            8 | 9 => {
                self.write_half(world, chance, next);
                Act::default()
            }
            10..14 => self.rotate(world, chance),
            14..16 => {
                self.pack(world, chance);
                Act::default()
            }
            16 => self.prune(world),
            17 => {
                // The next process appends behind what this one left.
                self.half = None;
                Act::default()
            }
            18 => self.lose_power(world, chance),
            _ => self.be_violent(world, chance, next),
        }
    }

    /// Goes on in the live file from now on.
    pub(super) fn leave_rotated(&mut self, world: &mut World) {
        let live = world.inode(&self.path);
        if self.pen.is_some_and(|pen| live != Some(pen.inode)) {
            self.put_down(world);
        }
    }

    /// Writes a last line, so that there is a live file in the end.
    pub(super) fn write_last(
        &mut self,
        world: &mut World,
        chance: &mut Chance,
        next: &mut u64,
    ) -> Act {
        let act = if self.copied {
            self.truncate_behind_copy(world)
        } else {
            Act::default()
        };
        self.put_down(world);
        self.write(world, chance, next);
        act
    }

    /// The pen, on the live file.
    fn pen(&mut self, world: &mut World) -> Pen {
        if let Some(pen) = self.pen {
            return pen;
        }
        world.make_directory(&self.directory);
        let inode = match world.inode(&self.path) {
            Some(inode) => inode,
            None if self.style == Style::Links => {
                let target = self.rotated_name(world);
                let inode = world.create(&target);
                world.link(&self.path, &target);
                inode
            }
            None => world.create(&self.path),
        };
        world.take_pen(inode);
        let pen = Pen {
            inode,
            at: world.len(inode),
        };
        self.pen = Some(pen);
        pen
    }

    fn put_down(&mut self, world: &mut World) {
        self.half = None;
        if let Some(pen) = self.pen.take() {
            world.put_down_pen(pen.inode);
        }
    }

    fn put(&mut self, world: &mut World, bytes: &[u8], line: Option<u64>) {
        let pen = self.pen(world);
        let at = if self.style == Style::Holes {
            pen.at
        } else {
            world.len(pen.inode)
        };
        world.write(pen.inode, at, bytes, line);
        let at = at + bytes.len();
        self.pen = Some(Pen { at, ..pen });
    }

    fn write(&mut self, world: &mut World, chance: &mut Chance, next: &mut u64) {
        if let Some((line, rest)) = self.half.take() {
            self.put(world, &rest, Some(line));
        }
        for _ in 0..=chance.below(5) {
            *next += 1;
            let text = some_text(*next, chance);
            self.put(world, &text, Some(*next));
        }
    }

    fn write_half(&mut self, world: &mut World, chance: &mut Chance, next: &mut u64) {
        if self.half.is_some() {
            return self.write(world, chance, next);
        }
        *next += 1;
        let text = some_text(*next, chance);
        let (first, rest) = text.split_at(1 + chance.below(text.len() - 1));
        self.put(world, first, None);
        self.half = Some((*next, rest.to_owned()));
    }

    fn rotated_name(&mut self, world: &World) -> PathBuf {
        self.generation += 1;
        let name = match self.style {
            Style::Stamps => {
                let stamp = world.now().to_string();
                format!("audit-{}.log", stamp[..23].replace(':', "-"))
            }
            Style::Dates | Style::Links => format!("audit.log-{}", 20_260_000 + self.generation),
            Style::Numbers | Style::Copies | Style::Holes => "audit.log.1".to_owned(),
        };
        self.directory.join(name)
    }

    /// Moves `audit.log.1` and all behind it on by one.
    fn shift(&self, world: &mut World) {
        let numbered =
            |number: u32, ending: &str| self.directory.join(format!("audit.log.{number}{ending}"));
        for number in (1..=self.generation).rev() {
            for ending in ["", ".gz", ".zst"] {
                let from = numbered(number, ending);
                if world.inode(&from).is_some() {
                    world.rename(&from, &numbered(number + 1, ending));
                }
            }
        }
    }

    fn rotate(&mut self, world: &mut World, chance: &mut Chance) -> Act {
        // logrotate waits for its own compression; a shift would break its names.
        let is_numbered = matches!(self.style, Style::Numbers | Style::Copies | Style::Holes);
        if self.packing.is_some() && is_numbered {
            self.pack(world, chance);
            self.packing = None;
        }
        let Some(live) = world.inode(&self.path) else {
            return Act::default();
        };
        world.pass(1_000);
        if is_numbered {
            self.shift(world);
        }
        let rotated = self.rotated_name(world);
        match self.style {
            Style::Copies | Style::Holes => {
                world.copy(live, &rotated);
                self.copied = true;
            }
            Style::Links => {
                self.put_down(world);
                world.create(&rotated);
                world.link(&self.path, &rotated);
            }
            Style::Stamps => {
                self.put_down(world);
                world.rename(&self.path, &rotated);
                self.pen(world);
            }
            Style::Numbers | Style::Dates => {
                world.rename(&self.path, &rotated);
                self.moved = world.now().micros();
                // The writer is told some time later, and the new file may come as late.
                if chance.once_in(2) {
                    world.create(&self.path);
                }
                if chance.once_in(2) {
                    self.put_down(world);
                }
            }
        }
        Act::default()
    }

    fn truncate_behind_copy(&mut self, world: &mut World) -> Act {
        self.copied = false;
        self.half = None;
        if let Some(live) = world.inode(&self.path) {
            world.truncate(live);
        }
        Act {
            is_violent: true,
            is_copied: true,
        }
    }

    /// The oldest rotated file that is not the live one.
    fn oldest(&self, world: &World, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
        let live = world.inode(&self.path);
        let mut names: Vec<PathBuf> = world
            .names_in(&self.directory)
            .into_iter()
            .filter(|path| *path != self.path && world.inode(path) != live)
            .filter(|path| Some(world.inode(path)) != self.pen.map(|pen| Some(pen.inode)))
            .filter(|path| wanted(&path.to_string_lossy()))
            .collect();
        let number = |path: &PathBuf| {
            let name = path.to_string_lossy();
            let number = name.split("audit.log.").nth(1)?.split('.').next()?;
            number.parse::<u32>().ok()
        };
        names.sort_by_key(|path| (std::cmp::Reverse(number(path)), path.clone()));
        names.into_iter().next()
    }

    /// One step of compressing the oldest file: begin, complete, remove the original.
    fn pack(&mut self, world: &mut World, chance: &mut Chance) {
        if let Some((from, to, packing)) = self.packing.take() {
            if let Some(inode) = world.inode(&from) {
                let keeps_time = self.style != Style::Stamps;
                world.pack(inode, &to, packing, keeps_time);
                world.remove(&from);
            }
            return;
        }
        let is_plain = |name: &str| without_packing(name).is_none();
        let Some(from) = self.oldest(world, is_plain) else {
            return;
        };
        let packing = if chance.once_in(2) {
            Packing::Gzip
        } else {
            Packing::Zstd
        };
        let mut name = from.clone().into_os_string();
        name.push(packing.ending());
        let to = PathBuf::from(name);
        if let Some(inode) = world.inode(&from) {
            world.begin_packing(inode, &to, packing);
            self.packing = Some((from, to, packing));
        }
    }

    fn prune(&mut self, world: &mut World) -> Act {
        if self.is_gentle || self.packing.is_some() {
            return Act::default();
        }
        let Some(oldest) = self.oldest(world, |_| true) else {
            return Act::default();
        };
        world.remove(&oldest);
        VIOLENT
    }

    /// The end of the file was never written to the disk.
    fn lose_power(&mut self, world: &mut World, chance: &mut Chance) -> Act {
        let nuls = vec![0; 1 + chance.below(3000)];
        self.put(world, &nuls, None);
        self.half = None;
        Act::default()
    }

    fn be_violent(&mut self, world: &mut World, chance: &mut Chance, next: &mut u64) -> Act {
        if self.is_gentle {
            return Act::default();
        }
        let Some(live) = world.inode(&self.path) else {
            return Act::default();
        };
        match chance.below(3) {
            0 => {
                self.half = None;
                world.truncate(live);
            }
            1 => {
                self.put_down(world);
                world.remove(&self.path);
            }
            _ => {
                // Another file takes its place, shorter or longer.
                let draft = self.directory.join("draft");
                self.put_down(world);
                let inode = world.create(&draft);
                let mut at = 0;
                for _ in 0..chance.below(12) {
                    *next += 1;
                    let text = some_text(*next, chance);
                    world.write(inode, at, &text, Some(*next));
                    at += text.len();
                }
                world.rename(&draft, &self.path);
            }
        }
        VIOLENT
    }
}

fn some_text(line: u64, chance: &mut Chance) -> Vec<u8> {
    let filler = match chance.below(12) {
        0 => 1500,
        1 => 5000,
        _ => 120 + chance.below(100),
    };
    text(line, filler, chance.once_in(2))
}

/// A line. What a caller chose stands before what the server says, and may be the same each time.
fn text(line: u64, filler: usize, is_same: bool) -> Vec<u8> {
    let mut text = String::from(r#"{"uri":"/"#);
    for at in 0..filler {
        let letter = if is_same { 0 } else { (line + at as u64) % 26 };
        text.push((b'a' + letter as u8) as char);
    }
    writeln!(text, r#"","id":{line}}}"#).unwrap();
    text.into_bytes()
}

/// The numbers of the lines whose end stands in these bytes.
pub(super) fn lines_in(bytes: &[u8]) -> Vec<u64> {
    let mut lines = Vec::new();
    for at in memchr::memmem::find_iter(bytes, br#""id":"#) {
        let rest = &bytes[at + 5..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 && rest.get(digits..digits + 2) == Some(b"}\n") {
            let number = std::str::from_utf8(&rest[..digits]).unwrap();
            lines.push(number.parse().unwrap());
        }
    }
    lines
}
