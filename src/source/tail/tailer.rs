//! Runs the paths of one source on one thread: woken by the file system, polling in any case.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    check::{advice, check},
    counts::Counts,
    file::{HeldFile, Position, identity},
    follow::{Change, Follow, Progress},
    pattern,
    settings::{From, TailSettings},
    watch::Watch,
};
use crate::{
    decode::Block,
    source::{Closed, Feed, SourceError, SourceMetrics},
    store::Bookmark,
    telemetry::Part,
};

/// The most files that one pattern follows.
const FOLLOWS_MAX: usize = 256;

/// How many finished files are remembered, so that a pattern which matches them under their new
/// name does not read them again.
const FINISHED_MAX: usize = 1024;

/// How many steps one path may take before the next path has its turn.
const STEPS_A_TURN: usize = 8;

/// How long to wait after the file system's first word before reading.
const FLOCK: Duration = Duration::from_millis(3);

/// How often a pattern is searched for and directories are watched anew.
const SEARCH_EVERY: Duration = Duration::from_secs(1);

/// One `sources.files` entry at work.
pub struct Tailer {
    settings: TailSettings,
    follows: Vec<Followed>,
    finished: VecDeque<Position>,
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

struct Followed {
    follow: Follow,
    feed: Feed,
    /// The last trouble with it, so that each is told once.
    trouble: Option<String>,
}

impl Tailer {
    /// Checks that the path can be watched. A file that is not there yet is fine; a directory
    /// that is not there is more likely a typing error.
    ///
    /// Must be called on a tokio runtime; [`Tailer::run`] must not.
    ///
    /// # Errors
    /// [`SourceError::Watch`], with what to do.
    pub fn new(
        settings: TailSettings,
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
        let mut tailer = Self {
            follows: Vec::new(),
            finished: VecDeque::new(),
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
        };
        if !pattern::is_pattern(&tailer.settings.path) {
            let path = PathBuf::from(&tailer.settings.path);
            tailer.follow(path, tailer.settings.from);
        }
        Ok(tailer)
    }

    /// Reads until it is stopped or the pipeline takes nothing any more.
    pub fn run(mut self) {
        let mut first = true;
        while !self.stop.is_cancelled() {
            let from = if first {
                self.settings.from
            } else {
                From::Start
            };
            self.search(from);
            let Ok(busy) = self.pass() else { return };
            self.survey();
            if first {
                self.greet();
                first = false;
            }
            if !busy {
                self.rest();
            }
        }
    }

    /// Says what is not there at the start. `--from end` holds for what was there.
    fn greet(&mut self) {
        if self.follows.is_empty() {
            tracing::info!(
                source = self.settings.name,
                "no file matches yet, waiting for one"
            );
        }
        for followed in &mut self.follows {
            if followed.follow.is_waiting() && followed.trouble.is_none() {
                let path = followed.follow.path().display();
                tracing::info!(source = self.settings.name, %path, "waiting for the file to appear");
            }
            followed.follow.started();
        }
    }

    /// One turn for each path; true when there may be more to do at once.
    fn pass(&mut self) -> Result<bool, Closed> {
        let mut busy = false;
        let mut out = Vec::new();
        for index in 0..self.follows.len() {
            for _ in 0..STEPS_A_TURN {
                let Some(followed) = self.follows.get_mut(index) else {
                    break;
                };
                let progress = followed.follow.step(self.started.elapsed(), &mut out);
                let more = self.note(index, progress);
                for (block, position) in out.drain(..) {
                    self.hand_on(index, block, position)?;
                }
                if !more || self.stop.is_cancelled() {
                    break;
                }
                busy = true;
            }
        }
        self.drop_gone();
        Ok(busy)
    }

    /// Counts and tells what a step did; true when the next step may do more.
    fn note(&mut self, index: usize, progress: io::Result<Progress>) -> bool {
        match progress {
            Ok(Progress::Read(bytes)) => {
                self.counts.received_bytes.inc_by(bytes);
                self.settle(index);
                true
            }
            Ok(Progress::Changed(change)) => {
                self.settle(index);
                self.tell(index, change);
                true
            }
            Ok(Progress::Idle) => {
                self.settle(index);
                false
            }
            Err(error) => {
                self.complain(index, &error);
                false
            }
        }
    }

    fn tell(&mut self, index: usize, change: Change) {
        self.counts.change(change.name());
        let Some(followed) = self.follows.get(index) else {
            return;
        };
        let path = followed.follow.path().display();
        let source = &self.settings.name;
        match change {
            Change::Opened => tracing::info!(source, %path, "reading"),
            Change::Rotated(_) => tracing::info!(source, %path, "read a rotated file to its end"),
            Change::Truncated => {
                tracing::warn!(source, %path, "the file was truncated, reading it from its beginning");
            }
        }
        if let Change::Rotated(position) = change {
            self.remember_finished(position);
        }
    }

    /// Remembers a file, so that a pattern does not take it up again by a new name.
    fn remember_finished(&mut self, position: Position) {
        self.finished.retain(|known| known.file != position.file);
        if self.finished.len() >= FINISHED_MAX {
            self.finished.pop_front();
        }
        self.finished.push_back(position);
    }

    fn complain(&mut self, index: usize, error: &io::Error) {
        let Some(followed) = self.follows.get_mut(index) else {
            return;
        };
        let trouble = advice(error);
        if followed.trouble.as_deref() != Some(&trouble) {
            self.counts.change("failed");
            let path = followed.follow.path().display();
            tracing::warn!(source = self.settings.name, %path, error = trouble, "cannot read, trying on");
            followed.trouble = Some(trouble);
        }
    }

    fn settle(&mut self, index: usize) {
        if let Some(followed) = self.follows.get_mut(index)
            && followed.trouble.take().is_some()
        {
            let path = followed.follow.path().display();
            tracing::info!(source = self.settings.name, %path, "can be read again");
        }
    }

    /// Hands a block on. While the pipeline is full, files are still looked at, so that none is
    /// rotated away unseen.
    fn hand_on(
        &mut self,
        index: usize,
        block: Block,
        position: Option<Position>,
    ) -> Result<(), Closed> {
        let Some(followed) = self.follows.get(index) else {
            return Ok(());
        };
        let feed = followed.feed.clone();
        let position = position.and_then(|position| {
            Some(Bookmark {
                source: Arc::clone(feed.name()),
                part: followed.follow.path().to_string_lossy().into(),
                value: Some(serde_json::to_string(&position).ok()?),
            })
        });
        let cluster = Arc::clone(&self.settings.cluster);
        let runtime = self.runtime.clone();
        let mut sending = pin!(feed.send(&cluster, block, position));
        loop {
            let waiting = async { timeout(self.settings.poll, sending.as_mut()).await };
            match runtime.block_on(waiting) {
                Ok(result) => return result,
                Err(_) => self.survey(),
            }
        }
    }

    /// Looks at every file without reading: opens newcomers, sets lag and readiness.
    fn survey(&mut self) {
        let now = self.started.elapsed();
        let mut unread = 0;
        for index in 0..self.follows.len() {
            let Some(followed) = self.follows.get_mut(index) else {
                break;
            };
            match followed.follow.look(now) {
                Ok((bytes, change)) => {
                    unread += bytes;
                    if let Some(change) = change {
                        self.tell(index, change);
                    }
                }
                Err(error) => self.complain(index, &error),
            }
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
        let waiting = self
            .follows
            .iter()
            .find(|followed| followed.follow.is_waiting());
        match waiting {
            Some(Followed {
                trouble: Some(trouble),
                ..
            }) => self.part.not_ready(trouble),
            Some(_) => self
                .part
                .not_ready(&format!("is waiting for {path} to appear")),
            None if self.follows.is_empty() => {
                self.part
                    .not_ready(&format!("is waiting for a file that matches {path}"));
            }
            None => self.part.ready(),
        }
    }

    /// Finds new matches of a pattern, and watches directories that have appeared.
    fn search(&mut self, from: From) {
        if self.searched.is_some_and(|at| at.elapsed() < SEARCH_EVERY) {
            return;
        }
        self.searched = Some(Instant::now());
        if pattern::is_pattern(&self.settings.path) {
            for path in pattern::matches(&self.settings.path) {
                if self.is_new(&path) {
                    self.follow(path, from);
                }
            }
        }
        let pattern = &self.settings.path;
        let fixed = pattern::is_pattern(pattern).then(|| pattern::fixed_part(pattern));
        let paths = self.follows.iter().map(|followed| followed.follow.path());
        self.watch.directories_of(paths, fixed);
    }

    fn is_new(&self, path: &Path) -> bool {
        if self
            .follows
            .iter()
            .any(|followed| followed.follow.path() == path)
        {
            return false;
        }
        let Ok(metadata) = std::fs::metadata(path) else {
            return false;
        };
        let identity = identity(&metadata);
        if self
            .follows
            .iter()
            .any(|followed| followed.follow.holds(identity))
        {
            return false;
        }
        let Some(known) = self.finished.iter().find(|known| known.file == identity) else {
            return true;
        };
        // The same inode: the file that was read before, unless its beginning says otherwise.
        HeldFile::open(path).is_ok_and(|file| file.fingerprint() != known.fingerprint)
    }

    fn follow(&mut self, path: PathBuf, from: From) {
        if self.follows.len() >= FOLLOWS_MAX {
            self.counts.change("failed");
            let path = path.display();
            tracing::warn!(source = self.settings.name, %path, "too many files match, not reading this one");
            return;
        }
        let feed = self.feed.sibling(&path.to_string_lossy());
        let follow = Follow::new(path, from, self.settings.grace);
        self.follows.push(Followed {
            follow,
            feed,
            trouble: None,
        });
    }

    /// Forgets matches of a pattern whose file is gone and was read to its end.
    fn drop_gone(&mut self) {
        if pattern::is_pattern(&self.settings.path) {
            self.follows.retain(|followed| {
                !followed.follow.is_waiting() || followed.follow.path().exists()
            });
        }
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
