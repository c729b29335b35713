//! Archives: which files a replay reads, and what each of them begins with.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    decode::{self, Decoded, Framer, Limits},
    event::{Context, Event},
    units::Time,
};

/// One input of a replay: a file, or a stream that can be read only once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// `None`: standard input.
    path: Option<PathBuf>,
    /// Size of a regular file as it lies on the disk; `None` for a stream.
    size: Option<u64>,
    first: Option<Time>,
}

/// What [`find`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What is to be read, in the order of the arguments and of names.
    pub archives: Vec<Archive>,
    /// Files that are left out, each with the reason: empty ones, and files in directories that
    /// are no audit logs.
    pub skipped: Vec<Problem>,
}

/// An input that cannot be read: which, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{input}: {what}\n  help: {help}")]
pub struct Problem {
    /// The path or pattern as it was given.
    pub input: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl Problem {
    fn new(input: &impl fmt::Display, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            input: input.to_string(),
            what: what.into(),
            help: help.into(),
        }
    }

    /// What an error of the operating system means for whoever wants to read `input`.
    pub fn unreadable(input: &impl fmt::Display, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::new(
                input,
                "there is no such file or directory",
                "check the spelling; a pattern such as `logs/audit-*.log` works too",
            ),
            io::ErrorKind::PermissionDenied => Self::new(
                input,
                "no permission to read it",
                "API servers write audit logs readable by root alone: read as root, or copy it",
            ),
            _ => Self::new(
                input,
                format!("cannot be read: {error}"),
                "check the disk and that the file can be copied",
            ),
        }
    }
}

impl Archive {
    /// The archive of standard input.
    pub fn stdin() -> Self {
        Self {
            path: None,
            size: None,
            first: None,
        }
    }

    /// How people know it: its path, or `standard input`.
    pub fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "standard input".to_owned(),
        }
    }

    /// Its size as it lies on the disk, compressed or not; `None` for a stream.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The earliest event time in its first events; `None` when it has no event there, or is a
    /// stream that was not looked into.
    pub fn first(&self) -> Option<Time> {
        self.first
    }

    /// Opens it for reading from its beginning.
    ///
    /// # Errors
    /// The problem to show, when the operating system refuses.
    pub fn open(&self) -> Result<Box<dyn Read + Send>, Problem> {
        match &self.path {
            None => Ok(Box::new(io::stdin())),
            Some(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(Problem::unreadable(&self.name(), &error)),
            },
        }
    }
}

/// Finds what the arguments of a replay name: files, directories (with everything below, hidden
/// names left out), patterns, and `-` for standard input.
///
/// # Errors
/// All problems at once: what does not exist or cannot be read, what is no log, and a directory
/// or pattern in which there is no log. An answer from half of the input would be a wrong answer.
pub fn find(arguments: &[PathBuf]) -> Result<Found, Vec<Problem>> {
    let mut search = Search::default();
    for argument in arguments {
        search.argument(argument);
    }
    if search.problems.is_empty() && search.found.archives.is_empty() {
        search.problems.append(&mut search.found.skipped);
    }
    if search.problems.is_empty() {
        Ok(search.found)
    } else {
        Err(search.problems)
    }
}

#[derive(Default)]
struct Search {
    found: Found,
    problems: Vec<Problem>,
    /// Files seen, so that one that two arguments name is read once.
    seen: BTreeSet<PathBuf>,
}

impl Search {
    fn argument(&mut self, argument: &Path) {
        let text = argument.to_string_lossy();
        if text == "-" {
            if self.seen.insert(PathBuf::from("-")) {
                self.found.archives.push(Archive::stdin());
            }
            return;
        }
        match fs::metadata(argument) {
            Ok(metadata) if metadata.is_dir() => self.directory(argument),
            Ok(_) => self.file(argument, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_pattern(&text) => {
                self.pattern(&text);
            }
            Err(error) => self
                .problems
                .push(Problem::unreadable(&argument.display(), &error)),
        }
    }

    fn pattern(&mut self, pattern: &str) {
        let paths = match glob::glob(pattern) {
            Ok(paths) => paths,
            Err(error) => {
                let help = "`*`, `?`, `[a-z]` and `**` are understood";
                self.problems.push(Problem::new(
                    &pattern,
                    format!("bad pattern: {error}"),
                    help,
                ));
                return;
            }
        };
        let mut count = 0;
        for path in paths {
            match path {
                Ok(path) if path.is_dir() => continue,
                Ok(path) => self.file(&path, true),
                Err(error) => {
                    let name = error.path().display();
                    self.problems
                        .push(Problem::unreadable(&name, error.error()));
                }
            }
            count += 1;
        }
        if count == 0 {
            let help = "check it with `ls`; quote it so that the shell leaves it alone";
            self.problems
                .push(Problem::new(&pattern, "no file matches the pattern", help));
        }
    }

    fn directory(&mut self, directory: &Path) {
        let before = (
            self.found.archives.len(),
            self.problems.len(),
            self.seen.len(),
        );
        self.walk(directory);
        let is_fruitless = before.0 == self.found.archives.len()
            && before.1 == self.problems.len()
            // All of its files may have been named before.
            && (before.2 < self.seen.len() || self.seen.is_empty());
        if is_fruitless {
            self.problems.push(Problem::new(
                &directory.display(),
                "there is no audit log in this directory",
                "name the directory that the API server's --audit-log-path points into",
            ));
        }
    }

    fn walk(&mut self, directory: &Path) {
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.problems
                    .push(Problem::unreadable(&directory.display(), &error));
                return;
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // Links to files are followed, links to directories are not: they may lead around.
            let kind = entry.file_type().ok();
            if kind.is_some_and(|kind| kind.is_dir()) {
                self.walk(&path);
            } else if !path.is_dir() {
                self.file(&path, false);
            }
        }
    }

    /// Takes a file. One that was named by itself must be a log or text; one that was met in a
    /// directory is left out when there is no event in its beginning.
    fn file(&mut self, path: &Path, is_named: bool) {
        let shown = path.display();
        let metadata = match fs::metadata(path).and_then(|m| Ok((m, fs::canonicalize(path)?))) {
            Ok((metadata, canonical)) => {
                if !self.seen.insert(canonical) {
                    return;
                }
                metadata
            }
            Err(error) => {
                self.problems.push(Problem::unreadable(&shown, &error));
                return;
            }
        };
        if !metadata.is_file() {
            let stream = Archive {
                path: Some(path.to_owned()),
                size: None,
                first: None,
            };
            if is_named {
                self.found.archives.push(stream);
            }
            return;
        }
        match File::open(path).and_then(look) {
            Err(error) => self.problems.push(Problem::unreadable(&shown, &error)),
            Ok(Beginning::Empty) => {
                let help = "nothing to do, unless the API server should have written to it";
                self.found
                    .skipped
                    .push(Problem::new(&shown, "the file is empty", help));
            }
            Ok(Beginning::Binary(help)) => {
                let problem =
                    Problem::new(&shown, "this is not an audit log but binary data", help);
                let list = if is_named {
                    &mut self.problems
                } else {
                    &mut self.found.skipped
                };
                list.push(problem);
            }
            Ok(Beginning::Text) if !is_named => {
                let help = "name the file itself to have it read all the same";
                let what = "there is no audit event in its beginning";
                self.found.skipped.push(Problem::new(&shown, what, help));
            }
            Ok(Beginning::Text | Beginning::Damaged) => self.take(path, metadata.len(), None),
            Ok(Beginning::Event(first)) => self.take(path, metadata.len(), first),
        }
    }

    fn take(&mut self, path: &Path, size: u64, first: Option<Time>) {
        let path = Some(path.to_owned());
        self.found.archives.push(Archive {
            path,
            size: Some(size),
            first,
        });
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// What a file begins with.
enum Beginning {
    Empty,
    /// Audit events, the earliest of the first ones at this time.
    Event(Option<Time>),
    /// Text without an audit event.
    Text,
    /// Compressed data that broke before the first event; reading it counts that.
    Damaged,
    /// No text at all; says what to do.
    Binary(&'static str),
}

/// How much of a file is looked at for its first event, unless a record is longer.
const LOOK_BYTES: u64 = 1 << 20;

fn look(file: File) -> io::Result<Beginning> {
    let mut reader = decode::open(file)?;
    let mut head = Vec::new();
    let is_damaged = match reader.by_ref().take(4096).read_to_end(&mut head) {
        Ok(_) => false,
        Err(error) if decode::is_corruption(&error) => true,
        Err(error) => return Err(error),
    };
    if let Some(help) = foreign_format(&head) {
        return Ok(Beginning::Binary(help));
    }
    let mut framer = Framer::new(Limits {
        block_bytes: 64 << 10,
        ..Limits::default()
    });
    framer.feed(&head);
    let mut read = head.len() as u64;
    let mut is_done = is_damaged;
    loop {
        if !is_done {
            match framer.read_from(&mut reader) {
                Ok(count) => {
                    read += count as u64;
                    is_done = count == 0;
                }
                Err(error) if decode::is_corruption(&error) => is_done = true,
                Err(error) => return Err(error),
            }
        }
        if is_done {
            framer.finish();
        }
        let mut seen = Seen::default();
        while let Some(block) = framer.next_block() {
            seen.take(&block);
        }
        if seen.has_event {
            return Ok(Beginning::Event(seen.first));
        }
        if is_done || (read > LOOK_BYTES && (framer.held() as u64) < LOOK_BYTES / 2) {
            break;
        }
    }
    Ok(if is_damaged {
        Beginning::Damaged
    } else if head.is_empty() {
        Beginning::Empty
    } else if is_binary(&head) {
        Beginning::Binary("give files as the API server writes them, plain, gzip or zstd")
    } else {
        Beginning::Text
    })
}

#[derive(Default)]
struct Seen {
    has_event: bool,
    first: Option<Time>,
}

impl Seen {
    fn take(&mut self, block: &decode::Block) {
        let context = Context::default();
        decode::each_event(block, &mut |decoded| {
            if let Decoded::Event(slots, raw) = decoded {
                let stamped = Event::new(slots, raw, &context).stamped();
                self.has_event = true;
                self.first = [self.first, stamped].into_iter().flatten().min();
            }
        });
    }
}

/// Packings that hold logs but must be opened by other tools first.
fn foreign_format(head: &[u8]) -> Option<&'static str> {
    if head.get(257..262) == Some(b"ustar") {
        return Some("this is a tar archive: unpack it with `tar -xf` and name the directory");
    }
    [
        (
            &b"\xfd7zXZ\0"[..],
            "this is xz: unpack it with `xz -dc FILE | auditwatch replay -`",
        ),
        (
            b"BZh",
            "this is bzip2: unpack it with `bzip2 -dc FILE | auditwatch replay -`",
        ),
        (
            b"PK\x03\x04",
            "this is a zip archive: unpack it with `unzip` and name the directory",
        ),
        (
            b"\x04\x22\x4d\x18",
            "this is lz4: unpack it with `lz4 -dc FILE | auditwatch replay -`",
        ),
    ]
    .into_iter()
    .find_map(|(magic, help)| head.starts_with(magic).then_some(help))
}

/// Whether bytes are no text: NUL inside of it, or many control characters or broken UTF-8.
fn is_binary(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let text = &text[text.iter().take_while(|byte| **byte == 0).count()..];
    let lossy = String::from_utf8_lossy(text);
    let is_odd = |c: &char| *c == '\u{fffd}' || (c.is_control() && !c.is_whitespace());
    let odd = lossy.chars().filter(is_odd).count();
    text.contains(&0) || odd * 20 > lossy.chars().count()
}

#[cfg(test)]
mod tests;
