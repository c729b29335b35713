//! Runs the paths of one source on one thread: woken by the file system, polling in any case.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{runtime::Handle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    check::{advice, check},
    counts::Counts,
    disk::Local,
    files::{Files, TooMany},
    follow::{Change, Follow, Given, Out, Progress},
    pattern,
    settings::TailSettings,
    watch::Watch,
};
use crate::{
    decode::{Block, Limits},
    source::{Closed, Feed, SourceError, SourceMetrics},
    store::{Bookmark, Kept},
    telemetry::Part,
    units::Time,
};

/// How many steps one path may take before the next path has its turn.
const STEPS_A_TURN: usize = 8;

/// How long to wait after the file system's first word before reading.
const FLOCK: Duration = Duration::from_millis(3);

/// How often a pattern is searched for and directories are watched anew.
const SEARCH_EVERY: Duration = Duration::from_secs(1);

/// One `sources.files` entry at work.
pub struct Tailer {
    settings: TailSettings,
    files: Files<Local>,
    ways: BTreeMap<PathBuf, Way>,
    /// What came out while the pipeline was full.
    backlog: VecDeque<(PathBuf, Given)>,
    feed: Feed,
    counts: Counts,
    part: Part,
    stop: CancellationToken,
    runtime: Handle,
    watch: Watch,
    started: Instant,
    searched: Option<Instant>,
    behind_since: Option<Instant>,
}

/// What belongs to one path.
struct Way {
    feed: Feed,
    /// The last trouble with it, so that each is told once.
    trouble: Option<String>,
}

impl Tailer {
    /// Checks that the path can be watched, and takes up the source's bookmarks. A file that is
    /// not there yet is fine; a directory that is not there is more likely a typing error.
    ///
    /// Must be called on a tokio runtime; [`Tailer::run`] must not.
    ///
    /// # Errors
    /// [`SourceError::Watch`], with what to do.
    pub fn new(
        settings: TailSettings,
        kept: &Kept,
        feed: Feed,
        metrics: &SourceMetrics,
        part: Part,
        stop: CancellationToken,
    ) -> Result<Self, SourceError> {
        check(&settings.path).map_err(|problem| SourceError::Watch {
            path: PathBuf::from(&settings.path),
            problem,
        })?;
        let watch = Watch::new(&settings.name);
        let counts = Counts::new(metrics, &settings.name);
        let (files, problems) = Files::new(Local, &settings, Limits::default(), now(), kept);
        for problem in problems {
            counts.change("lost");
            tracing::error!(
                source = settings.name,
                bookmark = problem,
                "cannot read a bookmark, forgetting it; what it marked is read from its beginning if it is still there"
            );
        }
        Ok(Self {
            files,
            ways: BTreeMap::new(),
            backlog: VecDeque::new(),
            feed,
            counts,
            part,
            stop,
            runtime: Handle::current(),
            watch,
            started: Instant::now(),
            searched: None,
            behind_since: None,
            settings,
        })
    }

    /// Reads until it is stopped or the pipeline takes nothing any more.
    pub fn run(mut self) {
        let mut first = true;
        while !self.stop.is_cancelled() {
            self.search();
            let Ok(busy) = self.pass() else { return };
            if self.survey().is_err() {
                return;
            }
            if first {
                self.greet();
                first = false;
            }
            if !busy {
                self.rest();
            }
        }
    }

    /// Says what is not there at the start. `--from` holds for what was there.
    fn greet(&mut self) {
        if self.files.follows().is_empty() {
            tracing::info!(
                source = self.settings.name,
                "no file matches yet, waiting for one"
            );
        }
        for follow in self.files.follows() {
            let is_told = (self.ways.get(follow.path())).is_some_and(|way| way.trouble.is_some());
            if follow.is_waiting() && !is_told {
                let path = follow.path().display();
                tracing::info!(source = self.settings.name, %path, "waiting for the file to appear");
            }
        }
        self.files.started();
    }

    /// One turn for each path; true when there may be more to do at once.
    fn pass(&mut self) -> Result<bool, Closed> {
        let mut busy = false;
        for index in 0..self.files.follows().len() {
            for _ in 0..STEPS_A_TURN {
                let mut out = Out::default();
                let progress = self.files.step(index, self.started.elapsed(), &mut out);
                let more = self.note(index, progress);
                self.tell(index, &out.changes);
                self.hand_on(index, out.given)?;
                if !more || self.stop.is_cancelled() {
                    break;
                }
                busy = true;
            }
        }
        self.files.drop_gone();
        Ok(busy)
    }

    fn path(&self, index: usize) -> PathBuf {
        let follow = self.files.follows().get(index);
        follow.map_or_else(PathBuf::new, |follow| follow.path().to_owned())
    }

    fn way(&mut self, path: &Path) -> &mut Way {
        let feed = &self.feed;
        self.ways.entry(path.to_owned()).or_insert_with(|| Way {
            feed: feed.sibling(&path.to_string_lossy()),
            trouble: None,
        })
    }

    /// Counts what a step did; true when the next step may do more.
    fn note(&mut self, index: usize, progress: io::Result<Progress>) -> bool {
        match progress {
            Ok(progress) => {
                if let Progress::Read(bytes) = progress {
                    self.counts.received_bytes.inc_by(bytes);
                }
                self.settle(index);
                progress != Progress::Idle
            }
            Err(error) => {
                self.complain(index, &error);
                false
            }
        }
    }

    fn tell(&self, index: usize, changes: &[Change]) {
        let source = &self.settings.name;
        let live = self.path(index);
        let live = live.display();
        for change in changes {
            self.counts.change(change.name());
            match change {
                Change::Opened {
                    path,
                    offset: 0,
                    is_rotated: false,
                } => tracing::info!(source, path = %path.display(), "reading"),
                Change::Opened {
                    path,
                    offset,
                    is_rotated: false,
                } => tracing::info!(
                    source, path = %path.display(), offset,
                    "reading from here on; what stands before was not asked for and does not count as received"
                ),
                Change::Opened {
                    path,
                    offset,
                    is_rotated: true,
                } => tracing::info!(
                    source, path = %path.display(), offset,
                    "reading a file that was rotated away before"
                ),
                Change::Resumed { path, offset } => {
                    tracing::info!(source, path = %path.display(), offset, "reading on");
                }
                Change::Rotated => {
                    tracing::info!(source, path = %live, "read a rotated file to its end");
                }
                Change::Truncated => tracing::warn!(
                    source, path = %live,
                    "the file was truncated, reading it from its beginning"
                ),
                Change::Lost {
                    offset,
                    unread,
                    since,
                } => tracing::error!(
                    source, path = %live, read_up_to = offset, seen_but_not_read = unread, since = %since,
                    "lost: a file that was read up to here can be found neither under its name nor under a rotated one; lines written to it since then are missing"
                ),
            }
        }
    }

    fn complain(&mut self, index: usize, error: &io::Error) {
        let path = self.path(index);
        let trouble = advice(error);
        if self.way(&path).trouble.as_deref() != Some(&trouble) {
            self.counts.change("failed");
            let path = path.display();
            tracing::warn!(source = self.settings.name, %path, error = trouble, "cannot read, trying on");
        }
        self.way(&path).trouble = Some(trouble);
    }

    fn settle(&mut self, index: usize) {
        let path = self.path(index);
        if self.way(&path).trouble.take().is_some() {
            let path = path.display();
            tracing::info!(source = self.settings.name, %path, "can be read again");
        }
    }

    /// Hands blocks and bookmarks on, behind those that wait already.
    fn hand_on(&mut self, index: usize, given: Vec<Given>) -> Result<(), Closed> {
        if given.is_empty() && self.backlog.is_empty() {
            return Ok(());
        }
        let path = self.path(index);
        self.backlog
            .extend(given.into_iter().map(|given| (path.clone(), given)));
        while let Some((path, given)) = self.backlog.pop_front() {
            self.send(&path, given)?;
        }
        Ok(())
    }

    /// Hands a block on. While the pipeline is full, files are still looked at, so that none is
    /// rotated away unseen.
    fn send(&mut self, path: &Path, given: Given) -> Result<(), Closed> {
        let feed = self.way(path).feed.clone();
        let bookmark = given.note.map(|note| Bookmark {
            source: Arc::clone(feed.name()),
            part: note.part,
            value: note.value,
        });
        let block = given.block.unwrap_or_else(Block::empty);
        let cluster = Arc::clone(&self.settings.cluster);
        let runtime = self.runtime.clone();
        let mut sending = pin!(feed.send(&cluster, block, bookmark));
        loop {
            let waiting = async { timeout(self.settings.poll, sending.as_mut()).await };
            match runtime.block_on(waiting) {
                Ok(result) => return result,
                Err(_) => self.look(),
            }
        }
    }

    /// Looks at every file, and hands on what comes of that.
    fn survey(&mut self) -> Result<(), Closed> {
        self.look();
        self.hand_on(0, Vec::new())
    }

    /// Looks at every file without reading: opens newcomers, sets lag and readiness.
    fn look(&mut self) {
        let now = self.started.elapsed();
        let mut unread = 0;
        for index in 0..self.files.follows().len() {
            let mut out = Out::default();
            match self.files.look(index, now, &mut out) {
                Ok(bytes) => unread += bytes,
                Err(error) => self.complain(index, &error),
            }
            self.tell(index, &out.changes);
            let path = self.path(index);
            self.backlog
                .extend(out.given.into_iter().map(|given| (path.clone(), given)));
        }
        if unread == 0 {
            self.behind_since = None;
        } else {
            self.behind_since.get_or_insert_with(Instant::now);
        }
        let behind = self
            .behind_since
            .map_or(0, |since| since.elapsed().as_secs());
        self.counts.lag_bytes.set(unread as i64);
        self.counts.lag_seconds.set(behind as i64);
        self.set_readiness();
    }

    fn set_readiness(&self) {
        let path = &self.settings.path;
        let follows = self.files.follows();
        let Some(waiting) = follows.iter().find(|follow| follow.is_waiting()) else {
            return if follows.is_empty() {
                self.part
                    .not_ready(&format!("is waiting for a file that matches {path}"));
            } else {
                self.part.ready();
            };
        };
        let trouble = self
            .ways
            .get(waiting.path())
            .and_then(|way| way.trouble.as_ref());
        match trouble {
            Some(trouble) => self.part.not_ready(trouble),
            None => self
                .part
                .not_ready(&format!("is waiting for {path} to appear")),
        }
    }

    /// Finds new matches of a pattern, and watches directories that have appeared.
    fn search(&mut self) {
        if self.searched.is_some_and(|at| at.elapsed() < SEARCH_EVERY) {
            return;
        }
        self.searched = Some(Instant::now());
        if let Err(TooMany(path)) = self.files.search() {
            self.counts.change("failed");
            let path = path.display();
            tracing::warn!(source = self.settings.name, %path, "too many files match, not reading this one");
        }
        let follows = self.files.follows();
        self.ways
            .retain(|path, _| follows.iter().any(|follow| follow.path() == path));
        let pattern = &self.settings.path;
        let fixed = pattern::is_pattern(pattern).then(|| pattern::fixed_part(pattern));
        let paths = self.files.follows().iter().map(Follow::path);
        self.watch.directories_of(paths, fixed);
    }

    /// Waits for the file system's word, for the poll or for the end.
    fn rest(&self) {
        let woken = self.runtime.block_on(async {
            tokio::select! {
                () = self.stop.cancelled() => false,
                () = self.watch.changed() => true,
                () = tokio::time::sleep(self.settings.poll) => false,
            }
        });
        if woken {
            // Writes come in flocks; a short pause makes one batch of them.
            std::thread::sleep(FLOCK);
        }
    }
}

/// The wall clock.
fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::from_micros(since.unwrap_or_default().as_micros() as i64)
}
