//! Reads a journal in its order, from where the last run was committed and on, as it grows.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    entry::{HEAD_BYTES_MAX, Head, is_torn, next_head},
    metrics::Counts,
    segments::{self, Position},
    state::Shared,
};
use crate::units::Time;

/// About how much is read at a time: entries up to this much go together, a longer one alone.
const STRETCH_BYTES: u64 = 256 << 10;

/// How much is read at a time of what is no entry.
const DAMAGE_BYTES: u64 = 8 << 20;

/// More than is ever written at a time.
const TORN_BYTES_MAX: u64 = 128 << 20;

/// Whole entries that lie side by side, of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Their lines, head lines among them, which are lists without events.
    pub bytes: Bytes,
    /// The cluster that they are of; empty where damage has taken its name.
    pub cluster: Arc<str>,
    /// When the first of them came, as far as it can be read.
    pub received: Option<Time>,
    /// Where they begin.
    pub start: Position,
    /// Where to read on.
    pub end: Position,
    /// The disk has lost some of it: the lines may be anything.
    pub is_damaged: bool,
}

/// The end that gives out what is durable.
pub struct Reader {
    pub(super) folder: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) durable: watch::Receiver<Position>,
    pub(super) counts: Counts,
    pub(super) at: Position,
    pub(super) open: Option<(u64, File)>,
}

impl Reader {
    /// What comes next; `None` when everything durable was given out.
    ///
    /// # Errors
    /// The disk's. Reading goes on at the same place.
    pub fn next_stretch(&mut self) -> io::Result<Option<Stretch>> {
        self.durable.borrow_and_update();
        let Some(limit) = self.limit() else {
            return Ok(None);
        };
        let offset = self.at.offset;
        let found = match self.file() {
            Ok(file) => stretch_at(file, offset, limit)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.pass_over(limit);
                return self.next_stretch();
            }
            Err(error) => return Err(error),
        };
        let start = self.at;
        self.at.offset += found.bytes.len() as u64;
        if found.is_damaged {
            self.counts.damaged_bytes.inc_by(found.bytes.len() as u64);
            let path = segments::path(&self.folder, start.segment);
            let path = path.display();
            tracing::error!(%path, offset = start.offset, bytes = found.bytes.len(), "the journal is damaged here; what can still be read is evaluated");
        }
        Ok(Some(Stretch {
            bytes: found.bytes,
            cluster: found.cluster,
            received: found.received,
            start,
            end: self.at,
            is_damaged: found.is_damaged,
        }))
    }

    /// Waits until there may be more; says `false` when there will not be any.
    pub async fn grown(&mut self) -> bool {
        self.durable.changed().await.is_ok()
    }

    /// How many durable bytes were not given out yet.
    pub fn unread(&self) -> u64 {
        self.shared.bytes_from(self.at)
    }

    /// How far the segment goes that is being read; steps to the next one at its end. `None` at
    /// the end of all.
    fn limit(&mut self) -> Option<u64> {
        let segments = self.shared.segments();
        let mut rest = segments.range(self.at.segment..);
        rest.find_map(|(number, segment)| {
            if *number > self.at.segment {
                self.at = Position {
                    segment: *number,
                    offset: 0,
                };
            }
            (self.at.offset < segment.bytes).then_some(segment.bytes)
        })
    }

    fn file(&mut self) -> io::Result<&File> {
        let number = self.at.segment;
        if self.open.as_ref().is_none_or(|(held, _)| *held != number) {
            self.open = None;
        }
        let file = match self.open.take() {
            Some((_, file)) => file,
            None => File::open(segments::path(&self.folder, number))?,
        };
        Ok(&self.open.insert((number, file)).1)
    }

    /// Somebody has deleted a segment that was not read yet.
    fn pass_over(&mut self, limit: u64) {
        let bytes = limit - self.at.offset;
        self.counts.damaged_bytes.inc_by(bytes);
        let path = segments::path(&self.folder, self.at.segment);
        let path = path.display();
        tracing::error!(%path, bytes, "this segment of the journal is gone before it was evaluated");
        self.at.offset = limit;
    }
}

/// What lies at a place of a segment.
pub(super) struct Found {
    pub(super) bytes: Bytes,
    pub(super) cluster: Arc<str>,
    pub(super) received: Option<Time>,
    pub(super) is_damaged: bool,
}

/// Reads entries of one cluster from `offset` on, or what stands where there is no entry. At least
/// one byte; `offset` is below `limit`, which is where the segment ends.
pub(super) fn stretch_at(file: &File, offset: u64, limit: u64) -> io::Result<Found> {
    let (mut heads, mut end) = (Vec::<Head>::new(), offset);
    while end < limit && (heads.is_empty() || end - offset < STRETCH_BYTES) {
        let Some(head) = head_at(file, end, limit)? else {
            break;
        };
        let is_other = heads
            .first()
            .is_some_and(|first| first.cluster != head.cluster);
        if is_other || end + head.entry_bytes() > offset + STRETCH_BYTES && !heads.is_empty() {
            break;
        }
        end += head.entry_bytes();
        heads.push(head);
    }
    let Some(first) = heads.first() else {
        return damage_at(file, offset, limit);
    };
    let (cluster, received) = (
        Arc::from(first.cluster.as_str()),
        Time::parse(&first.received),
    );
    let mut bytes = read_at(file, offset, end - offset)?;
    let mut whole = 0;
    for head in &heads {
        let entry = whole + head.entry_bytes() as usize;
        if !bytes
            .get(whole + head.length..entry)
            .is_some_and(|lines| head.fits(lines))
        {
            break;
        }
        whole = entry;
    }
    if whole == 0 {
        return damage_at(file, offset, limit);
    }
    bytes.truncate(whole);
    Ok(Found {
        bytes: bytes.into(),
        cluster,
        received,
        is_damaged: false,
    })
}

/// The head at a place, of an entry that the segment is long enough for.
pub(super) fn head_at(file: &File, offset: u64, limit: u64) -> io::Result<Option<Head>> {
    let bytes = read_at(file, offset, (limit - offset).min(HEAD_BYTES_MAX as u64))?;
    let head = Head::read(&bytes);
    Ok(head.filter(|head| head.entry_bytes() <= limit - offset))
}

/// What is no entry, up to the next one.
fn damage_at(file: &File, offset: u64, limit: u64) -> io::Result<Found> {
    // A head that the end of the piece cuts through is found in the next piece, which begins
    // before it.
    let mut bytes = read_at(file, offset, (limit - offset).min(DAMAGE_BYTES))?;
    let end = offset + bytes.len() as u64;
    if let Some(next) = next_head(&bytes) {
        bytes.truncate(next);
    } else if end < limit {
        bytes.truncate(bytes.len() - HEAD_BYTES_MAX);
    }
    Ok(Found {
        bytes: bytes.into(),
        cluster: Arc::from(""),
        received: None,
        is_damaged: true,
    })
}

fn read_at(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Where the end of a segment begins that a crash has torn; `None` when there is none. What is
/// torn was never acknowledged. What is damaged in another way may have been.
pub(super) fn torn_from(path: &Path, from: u64, bytes: u64) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    let (mut at, mut whole) = (from, from);
    while at < bytes {
        let found = stretch_at(&file, at, bytes)?;
        at += found.bytes.len() as u64;
        if !found.is_damaged {
            whole = at;
        }
    }
    if whole == bytes || bytes - whole > TORN_BYTES_MAX {
        return Ok(None);
    }
    let tail = read_at(&file, whole, bytes - whole)?;
    Ok(is_torn(&tail).then_some(whole))
}
