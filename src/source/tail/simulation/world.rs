//! A file system in memory: names, inodes that are used again, links, and who holds what open.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use flate2::{Compression, write::GzEncoder};

use super::super::{
    disk::{Disk, DiskFile, Identity, Looked},
    mark::{Head, Print},
    rotated::is_rotated_name,
};
use super::chance::Chance;
use crate::units::Time;

/// How a file is compressed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        }
    }
}

#[derive(Debug, Default)]
struct Node {
    bytes: Vec<u8>,
    modified: i64,
    links: u32,
    /// How often the reader holds it open.
    handles: u32,
    /// How often a writer does.
    pens: u32,
    /// The lines that it has whole.
    lines: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Entry {
    File(u64),
    Link(PathBuf),
}

#[derive(Debug)]
pub(super) struct World {
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<PathBuf, Entry>,
    directories: BTreeSet<PathBuf>,
    /// Microseconds.
    now: i64,
    /// How many files each line stands in.
    copies: BTreeMap<u64, u32>,
    /// Lines that nobody can read any more, and how the file began that they stood in last.
    vanished: Vec<(u64, Print)>,
    written: Vec<u64>,
}

/// The world as the tailer sees it: now and then a call fails or gives less than was asked for.
#[derive(Clone)]
pub(super) struct FakeDisk {
    pub(super) world: Rc<RefCell<World>>,
    pub(super) trouble: Rc<RefCell<Chance>>,
    pub(super) is_troubled: Rc<Cell<bool>>,
}

pub(super) struct FakeFile {
    disk: FakeDisk,
    inode: u64,
}

impl World {
    pub(super) fn new(now: i64) -> Self {
        Self {
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            directories: BTreeSet::new(),
            now,
            copies: BTreeMap::new(),
            vanished: Vec::new(),
            written: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Time {
        Time::from_micros(self.now)
    }

    pub(super) fn pass(&mut self, micros: i64) {
        self.now += micros;
    }

    pub(super) fn make_directory(&mut self, path: &Path) {
        self.directories.insert(path.to_owned());
    }

    /// Where a path leads.
    fn resolve(&self, path: &Path) -> Option<(PathBuf, u64)> {
        let mut path = path.to_owned();
        for _ in 0..4 {
            match self.names.get(&path)? {
                Entry::File(inode) => return Some((path, *inode)),
                Entry::Link(target) => path.clone_from(target),
            }
        }
        None
    }

    pub(super) fn inode(&self, path: &Path) -> Option<u64> {
        self.resolve(path).map(|(_, inode)| inode)
    }

    /// Makes an empty file, in the place of what was there. The lowest free inode is used.
    pub(super) fn create(&mut self, path: &Path) -> u64 {
        let inode = (1..u64::MAX)
            .find(|inode| !self.nodes.contains_key(inode))
            .unwrap();
        let node = Node {
            modified: self.now,
            ..Node::default()
        };
        self.nodes.insert(inode, node);
        self.put(path, Entry::File(inode));
        inode
    }

    /// Lets `path` be a symbolic link.
    pub(super) fn link(&mut self, path: &Path, target: &Path) {
        self.put(path, Entry::Link(target.to_owned()));
    }

    fn put(&mut self, path: &Path, entry: Entry) {
        if let Entry::File(inode) = entry {
            self.nodes.get_mut(&inode).unwrap().links += 1;
        }
        if let Some(Entry::File(old)) = self.names.insert(path.to_owned(), entry) {
            self.unlink(old);
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(entry) = self.names.get(from).cloned() {
            self.put(to, entry);
            self.remove(from);
        }
    }

    pub(super) fn remove(&mut self, path: &Path) {
        if let Some(Entry::File(inode)) = self.names.remove(path) {
            self.unlink(inode);
        }
    }

    fn unlink(&mut self, inode: u64) {
        self.nodes.get_mut(&inode).unwrap().links -= 1;
        self.free_if_unused(inode);
    }

    fn free_if_unused(&mut self, inode: u64) {
        let node = &self.nodes[&inode];
        if node.links > 0 || node.handles > 0 {
            return;
        }
        let is_written = node.pens > 0;
        self.forget_lines(inode);
        if !is_written {
            self.nodes.remove(&inode);
        }
    }

    fn forget_lines(&mut self, inode: u64) {
        let node = self.nodes.get_mut(&inode).unwrap();
        let mut bytes = &node.bytes[..];
        let print = Head::read(|into, _| bytes.read(into)).unwrap().print();
        for line in std::mem::take(&mut node.lines) {
            let copies = self.copies.get_mut(&line).unwrap();
            *copies -= 1;
            if *copies == 0 {
                self.vanished.push((line, print));
            }
        }
    }

    /// A writer keeps it open, so its inode is not used again.
    pub(super) fn take_pen(&mut self, inode: u64) {
        self.nodes.get_mut(&inode).unwrap().pens += 1;
    }

    pub(super) fn put_down_pen(&mut self, inode: u64) {
        self.nodes.get_mut(&inode).unwrap().pens -= 1;
        self.free_if_unused(inode);
    }

    /// Writes at an offset, over a hole of NULs if need be. `line` is whole with these bytes.
    pub(super) fn write(&mut self, inode: u64, offset: usize, bytes: &[u8], line: Option<u64>) {
        let now = self.now;
        let node = self.nodes.get_mut(&inode).unwrap();
        let len = node.bytes.len().max(offset + bytes.len());
        node.bytes.resize(len, 0);
        node.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        node.modified = now;
        let Some(line) = line else {
            return;
        };
        self.written.push(line);
        if node.links == 0 && node.handles == 0 {
            self.vanished.push((line, Print::default()));
        } else {
            node.lines.push(line);
            *self.copies.entry(line).or_default() += 1;
        }
    }

    pub(super) fn truncate(&mut self, inode: u64) {
        self.forget_lines(inode);
        let now = self.now;
        let node = self.nodes.get_mut(&inode).unwrap();
        node.bytes.clear();
        node.modified = now;
    }

    pub(super) fn len(&self, inode: u64) -> usize {
        self.nodes[&inode].bytes.len()
    }

    /// Copies what a file has now to another path.
    pub(super) fn copy(&mut self, inode: u64, to: &Path) {
        let bytes = self.nodes[&inode].bytes.clone();
        self.fill(inode, to, bytes);
    }

    /// Compresses a file, as its packer does it in the end: with the file's own time.
    pub(super) fn pack(&mut self, inode: u64, to: &Path, packing: Packing, keeps_time: bool) {
        let node = &self.nodes[&inode];
        let (bytes, modified) = (packing.pack(&node.bytes), node.modified);
        let packed = self.fill(inode, to, bytes);
        if keeps_time {
            self.nodes.get_mut(&packed).unwrap().modified = modified;
        }
    }

    /// The beginning of a packed file that is not complete.
    pub(super) fn begin_packing(&mut self, inode: u64, to: &Path, packing: Packing) {
        let mut bytes = packing.pack(&self.nodes[&inode].bytes);
        bytes.truncate(bytes.len() / 2);
        let packed = self.create(to);
        self.nodes.get_mut(&packed).unwrap().bytes = bytes;
    }

    fn fill(&mut self, from: u64, to: &Path, bytes: Vec<u8>) -> u64 {
        let lines = self.nodes[&from].lines.clone();
        for line in &lines {
            *self.copies.get_mut(line).unwrap() += 1;
        }
        let inode = self.create(to);
        let node = self.nodes.get_mut(&inode).unwrap();
        (node.bytes, node.lines) = (bytes, lines);
        inode
    }

    /// The names in a directory.
    pub(super) fn names_in(&self, directory: &Path) -> Vec<PathBuf> {
        let names = self.names.keys();
        names
            .filter(|path| path.parent() == Some(directory))
            .cloned()
            .collect()
    }

    /// Every name with its file, for people.
    pub(super) fn describe(&self) -> String {
        let names = self.names.iter().map(|(path, entry)| match entry {
            Entry::Link(target) => format!("{} -> {}", path.display(), target.display()),
            Entry::File(inode) => {
                let node = &self.nodes[inode];
                let (first, last) = (node.lines.first(), node.lines.last());
                let len = node.bytes.len();
                format!("{}={inode} {len}B {first:?}..{last:?}", path.display())
            }
        });
        names.collect::<Vec<_>>().join(", ")
    }

    /// The lines that the file at a path has whole.
    pub(super) fn lines(&self, path: &Path) -> &[u64] {
        match self.inode(path) {
            Some(inode) => &self.nodes[&inode].lines,
            None => &[],
        }
    }

    /// All lines that were ever written whole.
    pub(super) fn written(&self) -> &[u64] {
        &self.written
    }

    /// Whether a line stands anywhere.
    pub(super) fn has_line(&self, line: u64) -> bool {
        self.copies.get(&line).is_some_and(|copies| *copies > 0)
    }

    /// The lines that were removed from their last place since the last call, each with how
    /// that began.
    pub(super) fn take_vanished(&mut self) -> Vec<(u64, Print)> {
        std::mem::take(&mut self.vanished)
    }

    fn looked(&self, inode: u64) -> Looked {
        let node = &self.nodes[&inode];
        Looked {
            identity: Identity { device: 1, inode },
            len: node.bytes.len() as u64,
            modified: Time::from_micros(node.modified),
            is_file: true,
        }
    }
}

impl FakeDisk {
    fn stumble(&self) -> io::Result<()> {
        if self.is_troubled.get() && self.trouble.borrow_mut().once_in(150) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }
}

fn absent() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for FakeDisk {
    type File = FakeFile;

    fn look(&self, path: &Path) -> io::Result<Looked> {
        self.stumble()?;
        let world = self.world.borrow();
        let inode = world.inode(path).ok_or_else(absent)?;
        Ok(world.looked(inode))
    }

    fn open(&self, path: &Path) -> io::Result<FakeFile> {
        self.stumble()?;
        let mut world = self.world.borrow_mut();
        let inode = world.inode(path).ok_or_else(absent)?;
        world.nodes.get_mut(&inode).unwrap().handles += 1;
        Ok(FakeFile {
            disk: self.clone(),
            inode,
        })
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.stumble()?;
        let world = self.world.borrow();
        if !world.directories.contains(directory) {
            return Err(absent());
        }
        let names = world.names_in(directory);
        Ok(names
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_owned()))
            .collect())
    }

    fn target(&self, path: &Path) -> io::Result<PathBuf> {
        let world = self.world.borrow();
        world.resolve(path).map(|(path, _)| path).ok_or_else(absent)
    }

    fn matches(&self, pattern: &str) -> Vec<PathBuf> {
        let pattern = glob::Pattern::new(pattern).unwrap();
        let world = self.world.borrow();
        let paths = world.names.keys().filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            pattern.matches_path(path) && !is_rotated_name(&name)
        });
        paths.cloned().collect()
    }
}

impl DiskFile for FakeFile {
    fn look(&self) -> io::Result<Looked> {
        self.disk.stumble()?;
        Ok(self.disk.world.borrow().looked(self.inode))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.stumble()?;
        let world = self.disk.world.borrow();
        let bytes = &world.nodes[&self.inode].bytes;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let mut len = rest.len().min(into.len());
        if len > 1 && self.disk.is_troubled.get() {
            let mut trouble = self.disk.trouble.borrow_mut();
            if trouble.once_in(4) {
                len = 1 + trouble.below(len);
            }
        }
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        let mut world = self.disk.world.borrow_mut();
        world.nodes.get_mut(&self.inode).unwrap().handles -= 1;
        world.free_if_unused(self.inode);
    }
}
