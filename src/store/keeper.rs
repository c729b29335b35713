//! The store's own thread: takes one checkpoint at a time, tries until it is safe, hands
//! notifications on once they are.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Bookmark, Checkpoint, Commits, Loaded, Metrics, Note, OpenError,
    database::{self, Database},
    outbox::{self, Settled},
    trouble::{Faults, Reason, explain},
};
use crate::{telemetry::Part, units::Time};

/// The pauses between attempts to write: the first, and where doubling ends.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long what receivers took may wait to be written, so that many are written together. A
/// crash in between sends those again.
const SETTLE_WITHIN: Duration = Duration::from_millis(50);

/// How often the operator's wishes are looked for, and numbers are shown.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where and how much to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory; made when it is not there.
    pub dir: PathBuf,
    /// How many messages the outbox holds at most, dead letters among them.
    pub outbox_max: usize,
    /// For tests: the disk may be made to fail.
    pub faults: Faults,
}

impl Settings {
    /// How many messages the outbox holds unless set.
    pub const OUTBOX_MAX: usize = 50_000;

    /// A directory, and all else as it is unless set.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            outbox_max: Self::OUTBOX_MAX,
            faults: Faults::default(),
        }
    }
}

/// An open directory, ours alone as long as this, or the keeper made of it, lives.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    database: Database,
    lock: File,
}

/// What the receivers' side is handed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Messages that came in, in their order.
    New(Vec<Note>),
    /// The answer to [`Keeper::more`]: the next messages that wait, all of them or the first few.
    More {
        /// For whom.
        receiver: Arc<str>,
        /// The next, in their order.
        notes: Vec<Note>,
        /// Whether no further ones wait behind these.
        is_all: bool,
    },
    /// The operator wants these not to be sent.
    Forget(Vec<u64>),
    /// Receiver and number of messages that went because the outbox was full.
    Dropped(Vec<(Arc<str>, u64)>),
}

/// Takes what is handed on; called on the store's thread, so it must not wait.
pub type Deliver = Box<dyn FnMut(Delivery) + Send>;

/// The handle of the running store.
#[derive(Clone, Debug)]
pub struct Keeper {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    commits: Arc<Commits>,
}

/// The store's thread before it runs.
pub struct Keeping {
    database: Database,
    /// Held until the thread ends.
    lock: File,
    outbox_max: usize,
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

struct Pending {
    checkpoint: Checkpoint,
    /// Whether its notifications were handed on although they are not safe yet.
    handed: bool,
}

struct Wanted {
    receiver: Arc<str>,
    after: u64,
    at_most: usize,
}

enum Command {
    Commit(Checkpoint),
    Hurry(Vec<Note>),
    Settled(Settled),
    More(Wanted),
    Stop,
}

#[derive(Debug, Default)]
struct Shared {
    standing: Mutex<Standing>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Standing {
    /// A checkpoint is being written.
    busy: bool,
    /// Writing fails.
    failing: bool,
    /// How long the last checkpoint took to write.
    cost: Duration,
    ended: bool,
}

impl Shared {
    fn change<R>(&self, change: impl FnOnce(&mut Standing) -> R) -> R {
        let result = change(&mut self.standing());
        self.changed.notify_all();
        result
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is so, at most `within`; whether it is.
    fn wait(&self, within: Duration, is_so: impl Fn(&Standing) -> bool) -> bool {
        let standing = self.standing();
        let waited = self
            .changed
            .wait_timeout_while(standing, within, |standing| !is_so(standing));
        let (standing, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_so(&standing)
    }
}

impl Store {
    /// Opens a directory and reads what was kept. A file that is of no use is put aside; then the
    /// text says what was lost.
    ///
    /// # Errors
    /// When another process has the directory, or it cannot be used.
    pub fn open(settings: Settings) -> Result<(Self, Loaded, Option<String>), OpenError> {
        let lock = database::lock(&settings.dir)?;
        let (database, loaded, lost) = Database::open(&settings.dir, &settings.faults)?;
        let store = Self {
            settings,
            database,
            lock,
        };
        Ok((store, loaded, lost))
    }

    /// Puts the file aside, since what it held cannot be understood, and begins a new one. Says
    /// what was lost.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn begin_anew(self, why: &str) -> Result<(Self, String), OpenError> {
        let Self {
            settings,
            database,
            lock,
        } = self;
        let path = database.path().to_owned();
        drop(database);
        let told = Database::put_aside(&path, why).map_err(|error| OpenError::Unusable {
            dir: settings.dir.clone(),
            problem: error.to_string(),
        })?;
        let (database, _, _) = Database::open(&settings.dir, &settings.faults)?;
        let store = Self {
            settings,
            database,
            lock,
        };
        Ok((store, told))
    }

    /// Writes a checkpoint on this thread.
    #[cfg(test)]
    pub(super) fn commit(&mut self, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
        let written = self.database.commit(Some(checkpoint), &[], usize::MAX >> 1);
        written.map(drop)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &rusqlite::Connection {
        &self.database.connection
    }

    /// The handle, and the thread to [start](Keeping::start). What waits for receivers that are
    /// not among `receivers` becomes dead letters.
    pub fn keeper(
        self,
        bookmarks: Vec<Bookmark>,
        receivers: BTreeSet<Arc<str>>,
        metrics: Metrics,
        part: Part,
    ) -> (Keeper, Keeping) {
        let (commands, inbox) = channel();
        let (shared, commits) = (Arc::default(), Arc::new(Commits::new(bookmarks)));
        let keeper = Keeper {
            commands,
            shared: Arc::clone(&shared),
            commits: Arc::clone(&commits),
        };
        let keeping = Keeping {
            database: self.database,
            lock: self.lock,
            outbox_max: self.settings.outbox_max.max(1),
            receivers,
            metrics,
            part,
            commands: inbox,
            shared,
            commits,
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
        };
        (keeper, keeping)
    }
}

impl Keeper {
    /// What is safe of each source.
    pub fn commits(&self) -> &Arc<Commits> {
        &self.commits
    }

    /// Whether it would take a checkpoint.
    pub fn is_idle(&self) -> bool {
        !self.shared.standing().busy
    }

    /// Whether the last attempt to write failed.
    pub fn is_failing(&self) -> bool {
        self.shared.standing().failing
    }

    /// How long the last checkpoint took to write.
    pub fn cost(&self) -> Duration {
        self.shared.standing().cost
    }

    /// Has a checkpoint written. Only when it [is idle](Self::is_idle).
    pub fn commit(&self, checkpoint: Checkpoint) {
        self.shared.change(|standing| standing.busy = true);
        // A thread that has ended wrote its last; nobody waits for more.
        if self.commands.send(Command::Commit(checkpoint)).is_err() {
            self.shared.change(|standing| standing.busy = false);
        }
    }

    /// Hands notifications on at once, because writing fails and the next checkpoint may be long
    /// in coming; they are written with the one at hand.
    pub fn hurry(&self, notes: Vec<Note>) {
        self.send(Command::Hurry(notes));
    }

    /// Waits until writing works again, at most `within`.
    pub fn wait_while_failing(&self, within: Duration) {
        self.shared.wait(within, |standing| !standing.failing);
    }

    /// Waits until the checkpoint at hand is safe; false when that took longer than `within`.
    pub fn wait(&self, within: Duration) -> bool {
        self.shared.wait(within, |standing| !standing.busy)
    }

    /// A receiver took a message.
    pub fn taken(&self, number: u64) {
        self.send(Command::Settled(Settled::Taken(number)));
    }

    /// A message is given up and becomes a dead letter.
    pub fn dead(&self, number: u64, reason: &'static str) {
        self.send(Command::Settled(Settled::Dead(number, reason, now())));
    }

    /// Asks for the next messages of a receiver after one; a [`Delivery::More`] answers.
    pub fn more(&self, receiver: &Arc<str>, after: u64, at_most: usize) {
        self.send(Command::More(Wanted {
            receiver: Arc::clone(receiver),
            after,
            at_most,
        }));
    }

    /// Writes what is left and ends; false when that took longer than `within`.
    pub fn stop(&self, within: Duration) -> bool {
        self.send(Command::Stop);
        self.shared.wait(within, |standing| standing.ended)
    }

    fn send(&self, command: Command) {
        // When the thread has ended there is no file to write it to; it is sent again then.
        let _ = self.commands.send(command);
    }
}

impl Keeping {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread for us, or the outbox cannot be read.
    pub fn start(mut self, deliver: Deliver) -> io::Result<()> {
        self.prepare().map_err(io::Error::other)?;
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || self.run(deliver))
            .map(drop)
    }

    fn prepare(&mut self) -> rusqlite::Result<()> {
        let connection = &self.database.connection;
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
        let Self { database, lock, .. } = self;
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
        match self
            .database
            .commit(checkpoint, &self.settled, self.outbox_max)
        {
            Ok((rows, changed)) => {
                self.succeeded(started, rows, deliver);
                if !changed.dropped.is_empty() {
                    deliver(Delivery::Dropped(changed.dropped));
                }
                self.metrics.forgotten.inc_by(changed.forgotten as u64);
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
        self.metrics.last_success.set(now().micros() / 1_000_000);
        self.metrics.rows.inc_by(rows as u64);
        let pending = self.pending.take();
        let cost = started.elapsed();
        if pending.is_some() {
            self.metrics.seconds.observe(cost.as_secs_f64());
        }
        let is_checkpoint = pending.is_some();
        if let Some(Pending { checkpoint, handed }) = pending {
            self.commits.publish(checkpoint.bookmarks);
            if !handed && !checkpoint.notes.is_empty() {
                deliver(Delivery::New(checkpoint.notes));
            }
        }
        self.shared.change(|standing| {
            standing.failing = false;
            if is_checkpoint {
                standing.busy = false;
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
        let told = explain(error, self.database.path());
        if self.failures.is_power_of_two() {
            tracing::error!(
                reason = reason.name(),
                failures = self.failures,
                "{told}; until then nothing more is taken in"
            );
        }
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
            let connection = &self.database.connection;
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
        self.metrics.bytes.set(self.database.bytes() as i64);
        if let Ok(counts) = outbox::counts(&self.database.connection) {
            self.metrics.outbox(&counts, self.receivers.iter());
        }
        match self.database.others_wrote() {
            Ok(version) if version != self.seen_version && self.pending.is_none() => {
                if self.take_wishes(deliver).is_ok() {
                    self.seen_version = version;
                }
            }
            // Tried again at the next look.
            _ => {}
        }
    }

    fn take_wishes(&mut self, deliver: &mut Deliver) -> rusqlite::Result<()> {
        let connection = &mut self.database.connection;
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

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::from_micros(since.unwrap_or_default().as_micros() as i64)
}
