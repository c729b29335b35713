//! Replay: archives through the engine, in the order of event time, at any number of threads.
//!
//! Each archive is a stream of blocks. Worker threads decode and observe blocks in parallel; the
//! calling thread reads them, takes what the workers made of them in order, and owns the engine.
//! Archives whose times overlap (several API servers, a log dealt out to several files) are
//! merged event by event and count as one source, so that it does not matter how the same events
//! are spread over files. An archive is opened when the merge comes to its first event.

mod counts;
mod input;
mod workers;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub use counts::{Counts, RejectSample};
use input::Input;
use workers::{Decoder, Workers};

use crate::{
    decode::Limits,
    detect::{Detection, Engine, Observation, SourceId},
    event::Context,
    rule::RuleSet,
    source::archive::{Archive, Problem},
    units::Time,
};

/// How to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many threads decode and match. With 1 everything is done on the calling thread, with
    /// more the calling thread only reads and counts. 0 is taken for 1.
    pub threads: usize,
    /// Events of requests received before this are dropped.
    pub from: Option<Time>,
    /// Events of requests received at this moment or later are dropped.
    pub to: Option<Time>,
    /// Where the events come from.
    pub context: Arc<Context>,
    /// Set this to end the replay early; what was found until then stands.
    pub cancel: Arc<AtomicBool>,
    /// Block and record sizes.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 1,
            from: None,
            to: None,
            context: Arc::default(),
            cancel: Arc::default(),
            limits: Limits::default(),
        }
    }
}

/// Hears of what a replay finds, while it goes on. Calls come on the calling thread, in order.
pub trait Listener {
    /// An event was taken in. It may have completed detections, which the listener may take out;
    /// `watermark` is how far the replay has come in event time.
    fn advanced(&mut self, detections: &mut Vec<Detection>, watermark: Time);

    /// Some more was read. Comes about every block.
    fn progressed(&mut self, progress: &Progress) {
        let _ = progress;
    }
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read of the files, as they lie on the disk.
    pub bytes: u64,
    /// Bytes of all files; `None` when a stream is among them.
    pub total: Option<u64>,
    /// Events and rejects taken in.
    pub received: u64,
}

/// What a replay read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What became of everything that was taken in.
    pub counts: Counts,
    /// The earliest and the latest event time among the events that rules looked at.
    pub span: Option<(Time, Time)>,
    /// The first few rejects of each reason and where they are.
    pub samples: Vec<RejectSample>,
    /// Archives that could not be read, or not to their end.
    pub problems: Vec<Problem>,
    /// The replay was ended early.
    pub is_cancelled: bool,
}

/// All archives are one source: how events are spread over files must not matter.
const SOURCE: SourceId = SourceId(0);

/// Reads archives through the engine and tells the listener what it finds. The engine must have
/// the same rules; it may have seen other archives before (to learn), and keeps its state.
pub fn replay(
    archives: Vec<Archive>,
    rules: &Arc<RuleSet>,
    engine: &mut Engine,
    options: &Options,
    listener: &mut dyn Listener,
) -> Report {
    let total = archives.iter().map(Archive::size).sum();
    // Last is next: archives without a first event go first, then by time, then as given.
    let mut pending = archives;
    pending.sort_by_key(Archive::first);
    pending.reverse();
    let decoders = || Decoder::new(Arc::clone(rules), options);
    let mut merge = Merge {
        options,
        engine,
        listener,
        workers: Workers::new(options.threads, decoders),
        pending,
        inputs: Vec::new(),
        heads: BinaryHeap::new(),
        detections: Vec::new(),
        progress: Progress {
            total,
            ..Progress::default()
        },
        closed_bytes: 0,
        report: Report::default(),
    };
    if merge.run().is_break() {
        merge.report.is_cancelled = true;
    } else {
        merge.finish();
    }
    merge.report
}

/// A replay under way.
struct Merge<'a> {
    options: &'a Options,
    engine: &'a mut Engine,
    listener: &'a mut dyn Listener,
    workers: Workers,
    /// Archives not opened yet; the last is next.
    pending: Vec<Archive>,
    /// Archives opened; `None` once read to the end.
    inputs: Vec<Option<Input>>,
    /// Where each open archive stands: the stamp of its next event. The least comes first, of
    /// equal ones the archive that was opened first.
    heads: BinaryHeap<Reverse<(Time, usize)>>,
    detections: Vec<Detection>,
    progress: Progress,
    /// Bytes read of archives that are closed again.
    closed_bytes: u64,
    report: Report,
}

impl Merge<'_> {
    /// Reads everything in order; breaks off when it is cancelled.
    fn run(&mut self) -> ControlFlow<()> {
        loop {
            self.open_due()?;
            let Some(Reverse((_, index))) = self.heads.pop() else {
                return ControlFlow::Continue(());
            };
            let rival = self.heads.peek().map(|Reverse(head)| *head);
            let due = self.pending.last().map(first_of);
            // This archive goes on for as long as it is the earliest.
            while let Some(observation) = self.take(index) {
                self.admit(&observation);
                let Some(head) = self.head(index)? else { break };
                let is_behind = rival.is_some_and(|rival| rival < (head, index));
                if is_behind || due.is_some_and(|due| due <= head) {
                    self.heads.push(Reverse((head, index)));
                    break;
                }
            }
        }
    }

    /// Opens the archives that begin before, or at, what is to be read next.
    fn open_due(&mut self) -> ControlFlow<()> {
        while let Some(next) = self.pending.last() {
            let is_due = match self.heads.peek() {
                Some(Reverse((head, _))) => first_of(next) <= *head,
                None => true,
            };
            if !is_due {
                break;
            }
            if let Some(archive) = self.pending.pop() {
                match Input::open(archive, self.options.limits) {
                    Ok(input) => self.inputs.push(Some(input)),
                    Err(problem) => {
                        self.report.problems.push(problem);
                        continue;
                    }
                }
                let index = self.inputs.len() - 1;
                if let Some(head) = self.head(index)? {
                    self.heads.push(Reverse((head, index)));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self, index: usize) -> Option<Observation> {
        self.inputs[index].as_mut()?.take()
    }

    /// The stamp of an archive's next event, for which more of it is read when need be; `None`
    /// at its end.
    fn head(&mut self, index: usize) -> ControlFlow<(), Option<Time>> {
        while let Some(input) = &mut self.inputs[index] {
            if let Some(head) = input.head() {
                return ControlFlow::Continue(Some(head));
            }
            if self.options.cancel.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            self.read_ahead(index);
            let Some(input) = &mut self.inputs[index] else {
                break;
            };
            if let Some(mut batch) = input.next_batch() {
                let name = input.name();
                self.report.counts.add(&batch);
                counts::keep(&mut self.report.samples, &mut batch.rejects, &name);
                input.begin(batch);
            } else if input.is_ended() {
                self.report.problems.extend(input.take_problem());
                self.closed_bytes += input.bytes();
                self.inputs[index] = None;
            }
            self.tell_progress();
        }
        ControlFlow::Continue(None)
    }

    /// Gives the workers blocks of an archive, so that they have work while its present events
    /// are counted, and waits until the archive has a batch or is at its end.
    fn read_ahead(&mut self, index: usize) {
        let open = self.heads.len() + 1;
        let quota = (self.workers.capacity() / open).max(1);
        loop {
            let Some(input) = &mut self.inputs[index] else {
                return;
            };
            while input.ahead() == 0 || (input.ahead() < quota && self.workers.has_room()) {
                let Some(block) = input.read_block() else {
                    break;
                };
                self.workers.submit(index, block);
            }
            if input.has_batch() {
                return;
            }
            let Some((owner, batch)) = self.workers.receive() else {
                return;
            };
            if let Some(input) = &mut self.inputs[owner] {
                input.receive(batch);
            }
        }
    }

    fn admit(&mut self, observation: &Observation) {
        let admission = self
            .engine
            .admit(SOURCE, observation, None, &mut self.detections);
        self.report.counts.admitted(admission);
        if let Some(time) = observation.time.or(observation.stamped) {
            let (first, last) = self.report.span.unwrap_or((time, time));
            self.report.span = Some((first.min(time), last.max(time)));
        }
        self.listener
            .advanced(&mut self.detections, self.engine.watermark());
        self.detections.clear();
    }

    /// Tells what waited for something that might have come late.
    fn finish(&mut self) {
        self.engine.finish(&mut self.detections);
        if !self.detections.is_empty() {
            self.listener
                .advanced(&mut self.detections, self.engine.watermark());
            self.detections.clear();
        }
    }

    fn tell_progress(&mut self) {
        let open: u64 = self.inputs.iter().flatten().map(Input::bytes).sum();
        self.progress.bytes = self.closed_bytes + open;
        self.progress.received = self.report.counts.received;
        self.listener.progressed(&self.progress);
    }
}

fn first_of(archive: &Archive) -> Time {
    archive.first().unwrap_or(Time::MIN)
}

#[cfg(test)]
mod tests;
