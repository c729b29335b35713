//! Opens a journal: what is there, where to read on, what a crash has torn.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::sync_channel},
    time::Instant,
};

use tokio::sync::watch;

use super::{
    Journal, JournalMetrics, JournalSettings, Position, Reader, Writer,
    disk::{Disk, RealDisk, advice},
    metrics::Counts,
    reader::torn_from,
    segments::{self, Segments},
    settings::WAITING_MAX,
    state::Shared,
};
use crate::{store::Kept, telemetry::Part};

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep a journal in `{}`: {error}; {}", folder.display(), advice(error))]
pub struct OpenError {
    folder: PathBuf,
    #[source]
    error: io::Error,
}

/// The three ends of an open journal.
pub struct Ends {
    /// Takes entries.
    pub journal: Journal,
    /// Writes them, on a thread of its own.
    pub writer: Writer,
    /// Gives out what is durable.
    pub reader: Reader,
}

/// Opens the journal in a folder, which is made if it is not there, and cuts what a crash has
/// torn. `kept` says what is committed: reading goes on there, and segments before it may be
/// deleted once their retention is over. When nothing was committed, reading begins with the
/// oldest segment: all of it was acknowledged, and without a state nothing of it was evaluated.
///
/// # Errors
/// When the folder cannot be read or made.
pub fn open(
    folder: &Path,
    settings: JournalSettings,
    kept: watch::Receiver<Kept>,
    source: &str,
    metrics: &JournalMetrics,
    part: Part,
) -> Result<Ends, OpenError> {
    open_on(
        Box::new(RealDisk),
        folder,
        settings,
        kept,
        metrics.of(source),
        part,
    )
}

/// Like [`open`], on any disk.
pub(super) fn open_on(
    disk: Box<dyn Disk>,
    folder: &Path,
    settings: JournalSettings,
    kept: watch::Receiver<Kept>,
    counts: Counts,
    part: Part,
) -> Result<Ends, OpenError> {
    let wrong = |error| OpenError {
        folder: folder.to_owned(),
        error,
    };
    make_folder(folder).map_err(wrong)?;
    let mut found = segments::list(folder).map_err(wrong)?;
    let committed = position(&kept.borrow());
    let start = start(&found, committed);
    cut_torn(folder, &mut found, start);
    let newest = found.keys().next_back().copied().unwrap_or_default();
    let next = newest.max(committed.map_or(0, |at| at.segment)) + 1;
    let shared = Arc::new(Shared::default());
    *shared.segments() = found;
    let backlog = shared.bytes_from(start);
    if backlog > 0 {
        let folder = folder.display();
        tracing::info!(%folder, bytes = backlog, "reading on in the journal where the last run was committed");
    }
    let (inbox, waiting) = sync_channel(WAITING_MAX);
    let (durable, grows) = watch::channel(start);
    let journal = Journal {
        inbox,
        shared: Arc::clone(&shared),
    };
    let reader = Reader {
        folder: folder.to_owned(),
        shared: Arc::clone(&shared),
        durable: grows,
        counts: counts.clone(),
        at: start,
        open: None,
    };
    let writer = Writer {
        folder: folder.to_owned(),
        settings,
        disk,
        inbox: waiting,
        shared,
        durable,
        kept,
        settled: start,
        counts,
        part,
        current: None,
        next,
        trouble: None,
        upkept: Instant::now(),
    };
    writer.part.ready();
    Ok(Ends {
        journal,
        writer,
        reader,
    })
}

/// Makes the folder, and its name durable: data in a folder that a crash takes away is gone too.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let mut parents = folder.ancestors().skip(1);
    // The outermost of them may not be ours to open.
    let _ = parents.try_for_each(|parent| File::open(parent)?.sync_all());
    Ok(())
}

/// The position that was committed last.
pub(super) fn position(kept: &Kept) -> Option<Position> {
    let value = kept.get("")?;
    let position = Position::from_json(value);
    if position.is_none() {
        tracing::error!(value, "the journal's bookmark cannot be read");
    }
    position
}

/// Where to read on.
fn start(found: &Segments, committed: Option<Position>) -> Position {
    let Some(at) = committed else {
        let oldest = found.keys().next().copied().unwrap_or_default();
        return Position {
            segment: oldest,
            offset: 0,
        };
    };
    match found.get(&at.segment) {
        Some(segment) if segment.bytes < at.offset => {
            tracing::error!(
                segment = at.segment,
                bytes = segment.bytes,
                committed = at.offset,
                "this segment of the journal is shorter than what was read of it"
            );
            Position {
                offset: segment.bytes,
                ..at
            }
        }
        _ => at,
    }
}

/// Cuts off what a crash has torn: it was never acknowledged. A segment that cannot be read now, or
/// that is damaged in another way, stays as it is; the reader tells of it.
fn cut_torn(folder: &Path, found: &mut Segments, start: Position) {
    for (number, segment) in found.range_mut(start.segment..) {
        let path = segments::path(folder, *number);
        let from = if *number == start.segment {
            start.offset
        } else {
            0
        };
        let Ok(Some(whole)) = torn_from(&path, from, segment.bytes) else {
            continue;
        };
        let torn = segment.bytes - whole;
        segment.bytes = whole;
        let cut = OpenOptions::new().write(true).open(&path);
        let cut = cut.and_then(|file| {
            file.set_len(whole)?;
            file.sync_all()
        });
        let path = path.display();
        match cut {
            Ok(()) => {
                tracing::info!(%path, torn, "cut off what a crash had torn; it was not acknowledged");
            }
            Err(error) => {
                tracing::warn!(%path, torn, %error, "a crash has torn the end, which is left out");
            }
        }
    }
    found.retain(|number, segment| {
        segment.bytes > 0 || fs::remove_file(segments::path(folder, *number)).is_err()
    });
}
