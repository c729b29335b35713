//! The one thread that writes: group commit, what to do when the disk fails, upkeep.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    disk::{Disk, Output, advice, reason, write_all},
    entry::Entry,
    metrics::Counts,
    open::position,
    reader::head_at,
    segments::{self, Position, Segment},
    settings::{GROUP_BYTES, JournalSettings, UPKEEP_EVERY},
    state::{Refused, Shared, Waiting},
};
use crate::{
    store::Kept,
    telemetry::Part,
    units::{ByteSize, Time},
};

/// Entries shorter than this are written together in one step.
const BUFFER_BYTES: usize = 64 << 10;

/// The file with which a disk that had failed is tried.
const PROBE: &str = ".probe";
const PROBE_BYTES_MAX: u64 = 8 << 20;

/// The end that writes.
pub struct Writer {
    pub(super) folder: PathBuf,
    pub(super) settings: JournalSettings,
    pub(super) disk: Box<dyn Disk>,
    pub(super) inbox: Receiver<Waiting>,
    pub(super) shared: Arc<Shared>,
    pub(super) durable: watch::Sender<Position>,
    pub(super) kept: watch::Receiver<Kept>,
    /// Everything before it is committed.
    pub(super) settled: Position,
    pub(super) counts: Counts,
    pub(super) part: Part,
    pub(super) current: Option<Current>,
    /// The number of the next segment.
    pub(super) next: u64,
    pub(super) trouble: Option<Trouble>,
    pub(super) upkept: Instant,
}

/// The segment that is being written.
pub(super) struct Current {
    number: u64,
    output: Box<dyn Output>,
    /// How much of it is durable.
    bytes: u64,
    begun: Instant,
}

/// The disk has failed.
pub(super) struct Trouble {
    reason: &'static str,
    /// How many bytes it did not take; as many are tried.
    bytes: u64,
}

impl Writer {
    /// Writes until nobody has entries any more.
    pub fn run(mut self) {
        loop {
            match self.inbox.recv_timeout(UPKEEP_EVERY) {
                Ok(first) => self.commit(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.upkept.elapsed() >= UPKEEP_EVERY {
                self.upkeep();
                self.upkept = Instant::now();
            }
        }
    }

    /// Writes the first entry and all others that wait, asks the disk once to keep them, and answers them all.
    pub(super) fn commit(&mut self, first: Waiting) {
        let (mut group, mut bytes) = (Vec::new(), 0);
        let mut room = self.settings.backlog_max.0.saturating_sub(self.backlog());
        let mut next = Some(first);
        while let Some(waiting) = next.take().or_else(|| self.inbox.try_recv().ok()) {
            let size = waiting.entry.bytes();
            if let Some(trouble) = &self.trouble {
                self.counts.refused(trouble.reason, 1);
                answer(waiting, Err(Refused::Broken));
            } else if size > room {
                self.counts.refused("backlog", 1);
                self.is_full();
                answer(waiting, Err(Refused::Full));
            } else {
                room -= size;
                bytes += size;
                group.push(waiting);
                if bytes >= GROUP_BYTES {
                    break;
                }
            }
        }
        if group.is_empty() {
            return;
        }
        let outcome = match self.write(&group, bytes) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.fail(&error, bytes);
                self.counts.refused(reason(&error), group.len());
                Err(Refused::Broken)
            }
        };
        for waiting in group {
            answer(waiting, outcome);
        }
    }

    fn write(&mut self, group: &[Waiting], bytes: u64) -> io::Result<()> {
        let current = self.current()?;
        let mut buffer = Vec::new();
        for waiting in group {
            write_entry(current.output.as_mut(), &mut buffer, &waiting.entry)?;
        }
        write_all(current.output.as_mut(), &buffer)?;
        let asked = Instant::now();
        current.output.sync()?;
        let took = asked.elapsed();
        current.bytes += bytes;
        let end = Position {
            segment: current.number,
            offset: current.bytes,
        };
        self.counts.sync_seconds.observe(took.as_secs_f64());
        self.counts.group_bodies.observe(group.len() as f64);
        self.counts.written_bytes.inc_by(bytes);
        let segment = Segment {
            bytes: end.offset,
            written: SystemTime::now(),
        };
        self.shared.segments().insert(end.segment, segment);
        self.durable.send_replace(end);
        Ok(())
    }

    /// The segment to write to; a new one where the old one is full, old or not trusted.
    fn current(&mut self) -> io::Result<&mut Current> {
        if self
            .current
            .as_ref()
            .is_some_and(|current| self.is_done(current))
        {
            self.current = None;
        }
        let current = match self.current.take() {
            Some(current) => current,
            None => self.begin()?,
        };
        Ok(self.current.insert(current))
    }

    fn is_done(&self, current: &Current) -> bool {
        current.bytes >= self.settings.segment_bytes.0
            || current.begun.elapsed() >= self.settings.segment_age.to_std()
    }

    fn begin(&mut self) -> io::Result<Current> {
        let number = self.next;
        // Taken even when what follows fails: no number is given twice.
        self.next += 1;
        let path = segments::path(&self.folder, number);
        let output = self.disk.create(&path)?;
        if let Err(error) = self.disk.sync_folder(&self.folder) {
            // Left behind it would be an empty segment, which says nothing.
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        Ok(Current {
            number,
            output,
            bytes: 0,
            begun: Instant::now(),
        })
    }

    /// The disk did not take a group. What it has of it is in doubt, and what it says of the
    /// segment from now on too: a failed fsync may have dropped the data and forgotten that it
    /// did. So the segment ends with what was durable before, and nothing of the group counts.
    fn fail(&mut self, error: &io::Error, bytes: u64) {
        if let Some(mut current) = self.current.take() {
            // A tail that stays all the same is found at the next start; it is read then, and
            // counts once however often it is sent again.
            let _ = current.output.truncate(current.bytes);
            if current.bytes == 0 {
                let _ = self
                    .disk
                    .remove(&segments::path(&self.folder, current.number));
            }
        }
        self.trouble = Some(Trouble {
            reason: reason(error),
            bytes,
        });
        self.shared.is_broken.store(true, Ordering::Relaxed);
        self.tell_trouble(error);
    }

    fn tell_trouble(&self, error: &io::Error) {
        let (folder, advice) = (self.folder.display(), advice(error));
        tracing::error!(%folder, %error, advice, "cannot write the journal; webhook batches are refused until it works");
        self.part.not_ready(&format!(
            "cannot write the journal in {folder}: {error}; {advice}; until then batches are refused with 503"
        ));
    }

    /// More waits to be evaluated and committed than may.
    fn is_full(&self) {
        if self.shared.is_full.swap(true, Ordering::Relaxed) {
            return;
        }
        let waits = ByteSize(self.backlog());
        let most = self.settings.backlog_max;
        tracing::error!(%waits, %most, "the journal's backlog is full; webhook batches are refused");
        self.part.not_ready(&format!(
            "{waits} in the journal wait to be evaluated and committed, and `backlog_max` is {most}; \
             until then batches are refused with 503"
        ));
    }

    fn backlog(&self) -> u64 {
        self.shared.bytes_from(self.settled)
    }

    /// What is due from time to time.
    pub(super) fn upkeep(&mut self) {
        if let Some(committed) = position(&self.kept.borrow_and_update()) {
            self.settled = self.settled.max(committed);
        }
        if self
            .current
            .as_ref()
            .is_some_and(|current| self.is_done(current))
        {
            self.current = None;
        }
        self.delete_old();
        if let Some(Trouble { bytes, .. }) = self.trouble {
            match self.probe(bytes) {
                Err(error) => self.tell_trouble(&error),
                Ok(()) => self.recover(),
            }
        }
        let backlog = self.backlog();
        // Some way below the limit, so that it does not flicker.
        if backlog <= self.settings.backlog_max.0 / 10 * 9
            && self.shared.is_full.swap(false, Ordering::Relaxed)
            && self.trouble.is_none()
        {
            tracing::info!("the journal's backlog has room again");
            self.part.ready();
        }
        self.measure(backlog);
    }

    fn recover(&mut self) {
        self.trouble = None;
        self.shared.is_broken.store(false, Ordering::Relaxed);
        tracing::info!(folder = %self.folder.display(), "the journal can be written again");
        if !self.shared.is_full.load(Ordering::Relaxed) {
            self.part.ready();
        }
    }

    /// Whether the disk takes as much again as it did not take.
    fn probe(&self, bytes: u64) -> io::Result<()> {
        let path = self.folder.join(PROBE);
        // One that was left behind is in the way.
        let _ = self.disk.remove(&path);
        let mut output = self.disk.create(&path)?;
        let zeros = vec![0; bytes.min(PROBE_BYTES_MAX) as usize];
        let taken = write_all(output.as_mut(), &zeros).and_then(|()| output.sync());
        let _ = self.disk.remove(&path);
        taken
    }

    /// Deletes the oldest segments that are committed and past their retention.
    fn delete_old(&mut self) {
        let now = SystemTime::now();
        let JournalSettings {
            retain_age,
            retain_bytes,
            ..
        } = &self.settings;
        let mut segments = self.shared.segments();
        let settled = |number: u64, segment: Segment| {
            let Position {
                segment: at,
                offset,
            } = self.settled;
            let is_current = self
                .current
                .as_ref()
                .is_some_and(|current| current.number == number);
            !is_current && (number < at || number == at && offset >= segment.bytes)
        };
        let mut kept: u64 = segments
            .iter()
            .filter(|(number, segment)| settled(**number, **segment))
            .map(|(_, segment)| segment.bytes)
            .sum();
        while let Some((&number, &segment)) = segments.first_key_value() {
            let age = now.duration_since(segment.written).unwrap_or_default();
            let is_over = age >= retain_age.to_std() || kept > retain_bytes.0;
            if !settled(number, segment) || !is_over {
                break;
            }
            let path = segments::path(&self.folder, number);
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "cannot delete an old segment of the journal");
                    break;
                }
                Ok(()) | Err(_) => {
                    kept -= segment.bytes;
                    segments.remove(&number);
                }
            }
        }
    }

    fn measure(&self, backlog: u64) {
        let (count, bytes) = {
            let segments = self.shared.segments();
            let bytes: u64 = segments.values().map(|segment| segment.bytes).sum();
            (segments.len(), bytes)
        };
        self.counts.segments.set(count as i64);
        self.counts.bytes.set(bytes as i64);
        self.counts.backlog_bytes.set(backlog as i64);
        self.counts
            .backlog_seconds
            .set(self.backlog_seconds().unwrap_or(0));
    }

    /// For how long the oldest entry that is not committed has been waiting; `None` when there is
    /// none, or it cannot be read.
    fn backlog_seconds(&self) -> Option<i64> {
        let (number, offset, bytes) = {
            let segments = self.shared.segments();
            let Position {
                segment: at,
                offset,
            } = self.settled;
            segments.range(at..).find_map(|(number, segment)| {
                let offset = if *number == at { offset } else { 0 };
                (offset < segment.bytes).then_some((*number, offset, segment.bytes))
            })?
        };
        let file = File::open(segments::path(&self.folder, number)).ok()?;
        let head = head_at(&file, offset, bytes).ok()??;
        let waits = now().since(Time::parse(&head.received)?);
        Some(waits.micros() / 1_000_000)
    }
}

impl Drop for Writer {
    /// Whatever ends it, a panic too: nothing is taken any more.
    fn drop(&mut self) {
        self.shared.is_broken.store(true, Ordering::Relaxed);
        self.part.not_ready("has stopped");
    }
}

/// The clock's time.
fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::from_micros(since.unwrap_or_default().as_micros() as i64)
}

/// Whoever does not wait any more is not told.
fn answer(waiting: Waiting, outcome: Result<(), Refused>) {
    let _ = waiting.answer.send(outcome);
}

/// Small pieces are gathered in `buffer`, great ones are written as they lie.
fn write_entry(output: &mut dyn Output, buffer: &mut Vec<u8>, entry: &Entry) -> io::Result<()> {
    buffer.extend_from_slice(&entry.head);
    for piece in &entry.lines {
        if piece.len() < BUFFER_BYTES {
            buffer.extend_from_slice(piece);
        }
        if buffer.len() >= BUFFER_BYTES || piece.len() >= BUFFER_BYTES {
            write_all(output, buffer)?;
            buffer.clear();
        }
        if piece.len() >= BUFFER_BYTES {
            write_all(output, piece)?;
        }
    }
    Ok(())
}
