//! The store's own thread: takes one checkpoint at a time, tries until it is safe, hands
//! notifications on once they are.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Checkpoint, Commits, Deliver, Delivery, Metrics, Note, Retention,
    database::Database,
    keeper::{Command, Keeper, Shared, Wanted, now},
    outbox::{self, Settled},
    trouble::{Reason, explain},
};
use crate::telemetry::Part;

/// The pauses between attempts to write: the first, and where doubling ends.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long what receivers took may wait to be written, so that many are written together. A
/// crash in between sends those again.
const SETTLE_WITHIN: Duration = Duration::from_millis(50);

/// How often the operator's wishes are looked for, and numbers are shown.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The store's thread before it runs.
pub struct Keeping {
    held: Held,
    receivers: BTreeSet<Arc<str>>,
    metrics: Metrics,
    part: Part,
    commands: Receiver<Command>,
    shared: Arc<Shared>,
    commits: Arc<Commits>,
    last_number: u64,
    pending: Option<Pending>,
    settled: Vec<Settled>,
    settled_since: Option<Instant>,
    wanted: Vec<Wanted>,
    failures: u32,
    next_try: Instant,
    looked: Option<Instant>,
    seen_version: i64,
    stopping: bool,
}

/// What the thread has for itself until it ends.
pub(super) struct Held {
    pub(super) database: Database,
    pub(super) lock: File,
    pub(super) outbox_max: usize,
    pub(super) retention: Retention,
}

struct Pending {
    checkpoint: Checkpoint,
    /// Whether its notifications were handed on although they are not safe yet.
    handed: bool,
}

impl Keeping {
    pub(super) fn new(
        held: Held,
        receivers: BTreeSet<Arc<str>>,
        metrics: Metrics,
        part: Part,
        keeper: &Keeper,
        commands: Receiver<Command>,
    ) -> Self {
        Self {
            held,
            receivers,
            metrics,
            part,
            commands,
            shared: Arc::clone(&keeper.shared),
            commits: Arc::clone(&keeper.commits),
            last_number: 0,
            pending: None,
            settled: Vec::new(),
            settled_since: None,
            wanted: Vec::new(),
            failures: 0,
            next_try: Instant::now(),
            looked: None,
            seen_version: 0,
            stopping: false,
        }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread for us, or the outbox cannot be read.
    pub fn start(mut self, deliver: Deliver) -> io::Result<()> {
        if let Err(error) = self.prepare() {
            self.held.database.suspect(&error);
            return Err(io::Error::other(explain(&error, self.held.database.path())));
        }
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || self.run(deliver))
            .map(drop)
    }

    fn prepare(&mut self) -> rusqlite::Result<()> {
        let connection = &self.held.database.connection;
        self.last_number = outbox::last_number(connection)?;
        for (receiver, messages) in outbox::orphan(connection, &self.receivers, now())? {
            tracing::warn!(
                receiver,
                messages,
                "no receiver has this name any more; what waited for it are dead letters now, see `auditwatch outbox`"
            );
        }
        self.part.ready();
        Ok(())
    }

    fn run(mut self, mut deliver: Deliver) {
        let shared = Arc::clone(&self.shared);
        // However this thread ends, nobody waits for it.
        let _ended = Ended(shared);
        loop {
            self.receive(&mut deliver);
            if self.is_due() {
                self.write(&mut deliver);
            }
            self.answer(&mut deliver);
            self.look(&mut deliver);
            if self.stopping && (self.has_nothing_to_write() || self.failures > 0) {
                break;
            }
        }
        // The lock goes last.
        let Held { database, lock, .. } = self.held;
        drop(database);
        drop(lock);
    }

    /// Takes commands; waits for the first while there is nothing to do.
    fn receive(&mut self, deliver: &mut Deliver) {
        let patience = self.patience();
        let first = match self.commands.recv_timeout(patience) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Command::Stop),
        };
        let rest: Vec<Command> = self.commands.try_iter().collect();
        for command in first.into_iter().chain(rest) {
            match command {
                Command::Commit(mut checkpoint) => {
                    self.number(&mut checkpoint.notes);
                    checkpoint.rows.sort();
                    self.pending = Some(Pending {
                        checkpoint,
                        handed: false,
                    });
                }
                Command::Hurry(mut notes) => {
                    self.number(&mut notes);
                    deliver(Delivery::New(notes.clone()));
                    let pending = self.pending.get_or_insert_with(|| Pending {
                        checkpoint: Checkpoint::default(),
                        handed: true,
                    });
                    pending.checkpoint.notes.append(&mut notes);
                }
                Command::Settled(settled) => {
                    self.settled.push(settled);
                    self.settled_since.get_or_insert_with(Instant::now);
                }
                Command::More(wanted) => self.wanted.push(wanted),
                Command::Stop => {
                    self.stopping = true;
                    // One more attempt, whatever happened before.
                    self.next_try = Instant::now();
                }
            }
        }
    }

    fn number(&mut self, notes: &mut [Note]) {
        for note in notes {
            self.last_number += 1;
            note.number = self.last_number;
        }
    }

    fn has_nothing_to_write(&self) -> bool {
        self.pending.is_none() && self.settled.is_empty()
    }

    /// When there is something to write next.
    fn due_at(&self) -> Option<Instant> {
        let settle = self.settled_since.map(|since| since + SETTLE_WITHIN);
        let due = if self.pending.is_some() || self.stopping && settle.is_some() {
            Some(Instant::now())
        } else {
            settle
        };
        due.map(|due| due.max(self.next_try))
    }

    fn is_due(&self) -> bool {
        self.due_at().is_some_and(|due| due <= Instant::now())
    }

    fn patience(&self) -> Duration {
        let look = self.looked.map_or(Duration::ZERO, |looked| {
            LOOK_EVERY.saturating_sub(looked.elapsed())
        });
        let due = self
            .due_at()
            .map(|due| due.saturating_duration_since(Instant::now()));
        due.map_or(look, |due| due.min(look))
    }

    fn write(&mut self, deliver: &mut Deliver) {
        let started = Instant::now();
        let checkpoint = self.pending.as_ref().map(|pending| &pending.checkpoint);
        match self.held.database.commit(
            checkpoint,
            &self.settled,
            self.held.outbox_max,
            self.held.retention,
        ) {
            Ok((rows, changed)) => {
                self.succeeded(started, rows, deliver);
                if !changed.dropped.is_empty() {
                    deliver(Delivery::Dropped(changed.dropped));
                }
                self.metrics.forgotten.inc_by(changed.forgotten as u64);
                self.metrics.purged.inc_by(changed.purged as u64);
            }
            Err(error) => self.failed(&error, deliver),
        }
    }

    fn succeeded(&mut self, started: Instant, rows: usize, deliver: &mut Deliver) {
        if self.failures > 0 {
            tracing::info!("the state can be written again");
            self.part.ready();
        }
        self.failures = 0;
        self.settled.clear();
        self.settled_since = None;
        let (pending, cost) = (self.pending.take(), started.elapsed());
        let is_done = pending.is_some();
        let has_state = |pending: &Pending| !pending.checkpoint.rows.is_empty();
        let is_checkpoint = pending.as_ref().is_some_and(has_state);
        if is_checkpoint {
            self.metrics.seconds.observe(cost.as_secs_f64());
            self.metrics.last_success.set(now().micros() / 1_000_000);
            self.metrics.rows.inc_by(rows as u64);
        }
        if let Some(Pending { checkpoint, handed }) = pending {
            self.commits.publish(checkpoint.bookmarks);
            for call in checkpoint.then.0 {
                call();
            }
            if !handed && !checkpoint.notes.is_empty() {
                deliver(Delivery::New(checkpoint.notes));
            }
        }
        self.shared.change(|standing| {
            standing.failing = false;
            standing.busy &= !is_done;
            if is_checkpoint {
                standing.cost = cost;
            }
        });
    }

    /// Tries again later. People are told of what happened all the same: their messages have
    /// names, so that one that is sent again after a crash is known.
    fn failed(&mut self, error: &rusqlite::Error, deliver: &mut Deliver) {
        self.failures += 1;
        let doubled = 1 << (self.failures - 1).min(16);
        self.next_try = Instant::now() + PAUSE_FIRST.saturating_mul(doubled).min(PAUSE_MAX);
        let reason = Reason::of(error);
        self.metrics.failed(reason);
        let told = explain(error, self.held.database.path());
        if self.failures.is_power_of_two() {
            tracing::error!(
                reason = reason.name(),
                failures = self.failures,
                "{told}; until then nothing more is taken in"
            );
        }
        self.held.database.suspect(error);
        self.part.not_ready(&told);
        self.shared.change(|standing| standing.failing = true);
        if let Some(pending) = &mut self.pending
            && !pending.handed
        {
            pending.handed = true;
            if !pending.checkpoint.notes.is_empty() {
                deliver(Delivery::New(pending.checkpoint.notes.clone()));
            }
        }
    }

    /// Hands on what receivers asked for. What was handed on before it was written comes first,
    /// so this waits for it.
    fn answer(&mut self, deliver: &mut Deliver) {
        if self.pending.is_some() {
            return;
        }
        for wanted in std::mem::take(&mut self.wanted) {
            let Wanted {
                receiver,
                after,
                at_most,
            } = wanted;
            let connection = &self.held.database.connection;
            match outbox::waiting(connection, &receiver, after, at_most) {
                Ok(notes) => {
                    let is_all = notes.len() < at_most;
                    deliver(Delivery::More {
                        receiver,
                        notes,
                        is_all,
                    });
                }
                Err(error) => {
                    tracing::error!("cannot read the outbox: {error}");
                    // Asked for again at the next look.
                    self.wanted.push(Wanted {
                        receiver,
                        after,
                        at_most,
                    });
                }
            }
        }
    }

    /// Looks for wishes of the operator's, and shows numbers.
    fn look(&mut self, deliver: &mut Deliver) {
        if self
            .looked
            .is_some_and(|looked| looked.elapsed() < LOOK_EVERY)
        {
            return;
        }
        self.looked = Some(Instant::now());
        self.metrics.bytes.set(self.held.database.bytes() as i64);
        if let Ok(counts) = outbox::counts(&self.held.database.connection) {
            self.metrics.outbox(&counts, self.receivers.iter());
        }
        if let Ok(version) = self.held.database.others_wrote() {
            self.take_new_wishes(version, deliver);
        }
    }

    fn take_new_wishes(&mut self, version: i64, deliver: &mut Deliver) {
        let is_new = version != self.seen_version && self.pending.is_none();
        // What cannot be read is tried again at the next look.
        if is_new && self.take_wishes(deliver).is_ok() {
            self.seen_version = version;
        }
    }

    fn take_wishes(&mut self, deliver: &mut Deliver) -> rusqlite::Result<()> {
        let connection = &mut self.held.database.connection;
        let (dropped, again) = outbox::take_wishes(connection, &mut self.last_number, now())?;
        if !dropped.is_empty() {
            tracing::info!(
                messages = dropped.len(),
                "dropped from the outbox, as asked"
            );
            deliver(Delivery::Forget(dropped));
        }
        let (again, gone): (Vec<_>, Vec<_>) = again
            .into_iter()
            .partition(|note| self.receivers.contains(&note.receiver));
        if !gone.is_empty() {
            outbox::orphan(connection, &self.receivers, now())?;
            tracing::warn!("a message is to be sent again to a receiver that is not there");
        }
        if !again.is_empty() {
            tracing::info!(messages = again.len(), "sending again, as asked");
            deliver(Delivery::New(again));
        }
        Ok(())
    }
}

/// Says that the thread has ended when it is dropped.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.change(|standing| {
            standing.ended = true;
            standing.busy = false;
        });
    }
}
