//! The one thread that owns all state: takes what the workers saw, in order, lets the judge
//! decide, and tells everyone who is to be told.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    Judge, LiveAlerts,
    checkpoints::Checkpoints,
    console::ConsoleSender,
    counts::{Counts, Tally},
    orders::{Order, obey},
    routing::Routing,
    worker::{Observed, Outcome, clock},
};
use crate::{
    alert::{Change, dispatch::Notification, with_standing},
    decode::Reject,
    detect::Engine,
    notify::Notifier,
    rule::RuleSet,
    store::Ended,
    units::{Span, Time},
};

/// From this much silence on, time passes by the clock.
const IDLE: Duration = Duration::from_secs(1);

/// At most one log line about rejects in this time.
const REJECTS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Each key of each baseline is looked at for it.
const BASELINES_SHOWN_EVERY: Duration = Duration::from_secs(60);

/// What the judge's place is made of.
pub(super) struct Parts {
    pub(super) judge: Judge,
    pub(super) rules: Arc<RuleSet>,
    pub(super) counts: Counts,
    pub(super) live: Arc<LiveAlerts>,
    /// Who is told what and when.
    pub(super) routing: Routing,
    pub(super) notifier: Notifier,
    pub(super) console: Option<ConsoleSender>,
    /// Where state survives; without it all is forgotten.
    pub(super) checkpoints: Option<Checkpoints>,
    /// The time to stop is over.
    pub(super) give_up: CancellationToken,
}

/// The judge's place.
pub(super) struct Bench {
    parts: Parts,
    tally: Tally,
    changes: Vec<Change>,
    told: Vec<Notification>,
    /// When the last batch was judged, and how far event time was then.
    last: (Instant, Time),
    rejects_told: Option<Instant>,
    baselines_shown: Instant,
}

impl Bench {
    pub(super) fn new(parts: Parts) -> Self {
        parts.counts.rules(&parts.rules);
        parts.counts.baselines(parts.judge.engine());
        tell_learning(parts.judge.engine());
        for alert in parts.judge.alerts().firing() {
            parts.live.apply(&Change::Updated(alert));
        }
        let watermark = parts.judge.engine().watermark();
        Self {
            parts,
            tally: Tally::default(),
            changes: Vec::new(),
            told: Vec::new(),
            last: (Instant::now(), watermark),
            rejects_told: None,
            baselines_shown: Instant::now(),
        }
    }

    /// Takes outcomes in turn until the workers have ended; then tells what is left to tell.
    pub(super) fn sit(mut self, workers: &[Receiver<Outcome>]) -> Notifier {
        for worker in workers.iter().cycle() {
            let Some(outcome) = self.next(worker) else {
                break;
            };
            if let Some(checkpoints) = &mut self.parts.checkpoints {
                checkpoints.hold(&mut self.parts.judge, &mut self.parts.routing);
            }
            match outcome {
                Outcome::Observed(observed) => self.judge(observed),
                Outcome::Rules(rules) => self.take_rules(rules),
                Outcome::Order(order) => self.obey(order),
                Outcome::Tick => self.pass_time(),
            }
            self.tell();
            self.look();
        }
        if let Some(checkpoints) = self.parts.checkpoints.take() {
            // What is new in open alerts is told in time after the next start.
            checkpoints.finish(&mut self.parts.judge, &mut self.parts.routing);
        } else {
            self.parts.judge.flush(&mut self.changes);
            self.tell();
            self.parts.routing.close(&mut self.told);
            self.hand_on();
        }
        self.parts.counts.state(&self.parts.judge);
        self.parts.routing.show();
        self.parts.notifier
    }

    /// The next outcome, once there is one; `None` when the workers have ended. Meanwhile a
    /// checkpoint may come due, and so may what somebody is to be told.
    fn next(&mut self, worker: &Receiver<Outcome>) -> Option<Outcome> {
        loop {
            let checkpoints = self.parts.checkpoints.as_ref();
            let writing = checkpoints.and_then(Checkpoints::patience);
            let due = self.parts.routing.patience();
            let Some(patience) = writing.into_iter().chain(due).min() else {
                return worker.recv().ok();
            };
            match worker.recv_timeout(patience) {
                Ok(outcome) => return Some(outcome),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.tell();
                    self.look();
                }
            }
        }
    }

    fn look(&mut self) {
        if let Some(checkpoints) = &mut self.parts.checkpoints {
            checkpoints.look(&mut self.parts.judge, &mut self.parts.routing);
        }
    }

    fn judge(&mut self, observed: Observed) {
        if self.parts.give_up.is_cancelled() {
            self.give_up(&observed);
            return;
        }
        let now = clock();
        let Self {
            parts: Parts { judge, counts, .. },
            tally,
            changes,
            ..
        } = self;
        for observation in &observed.observations {
            let detected = &mut |detection: &_| counts.detection(detection);
            let admission = judge.take(observed.source, observation, Some(now), detected, changes);
            tally.admitted(admission, observation.stamped);
        }
        tally.rejects = observed.rejects;
        counts.batch(tally, clock());
        self.last = (Instant::now(), self.parts.judge.engine().watermark());
        if let Some(reject) = &observed.reject {
            self.tell_reject(reject);
        }
        if let Some(checkpoints) = &mut self.parts.checkpoints {
            checkpoints.judged(observed.position);
        }
        drop(observed.room);
    }

    /// What is given up is neither judged nor said to be read.
    fn give_up(&mut self, observed: &Observed) {
        self.tally.dropped = observed.observations.len() as u64;
        self.tally.rejects = observed.rejects;
        self.parts.counts.batch(&mut self.tally, clock());
    }

    /// Every worker hands the new rules on; the first of them counts.
    fn take_rules(&mut self, rules: Arc<RuleSet>) {
        if !Arc::ptr_eq(&rules, &self.parts.rules) {
            self.parts.judge.replace_rules(Arc::clone(&rules));
            self.parts.counts.rules(&rules);
            self.parts.rules = rules;
            if let Some(checkpoints) = &mut self.parts.checkpoints {
                checkpoints.judged(None);
            }
        }
    }

    /// Does what somebody ordered. The answer waits until what was changed is safe.
    fn obey(&mut self, order: Order) {
        let Parts {
            judge,
            routing,
            live,
            checkpoints,
            ..
        } = &mut self.parts;
        let Some(answered) = obey(order, judge, routing, live, &mut self.changes) else {
            return;
        };
        match checkpoints {
            Some(checkpoints) if answered.is_change => checkpoints.answer(answered.give),
            _ => (answered.give)(),
        }
    }

    /// While nothing arrives, event time goes on at the pace of the clock from where it was. It is
    /// not set to the clock's time: whoever reads an old log wants to see it as it was.
    fn pass_time(&mut self) {
        let (since, watermark) = self.last;
        let idle = since.elapsed();
        if idle >= IDLE && watermark > Time::MIN {
            let idle = Span::from_micros(idle.as_micros() as i64);
            let Parts { judge, counts, .. } = &mut self.parts;
            let detected = &mut |detection: &_| counts.detection(detection);
            judge.advance(watermark.plus(idle), clock(), detected, &mut self.changes);
        }
        if self.baselines_shown.elapsed() >= BASELINES_SHOWN_EVERY {
            self.baselines_shown = Instant::now();
            self.parts.counts.baselines(self.parts.judge.engine());
        }
        self.parts.counts.state(&self.parts.judge);
        self.parts.routing.show();
    }

    /// Tells of the changes that came, and what is due by the clock.
    fn tell(&mut self) {
        let now = clock();
        if let (Some(checkpoints), false) = (&mut self.parts.checkpoints, self.changes.is_empty()) {
            // An alert is kept, also where nobody is told of it.
            checkpoints.judged(None);
        }
        for change in std::mem::take(&mut self.changes) {
            self.parts.live.apply(&change);
            self.keep(&change, now);
            self.parts.routing.take(&change, now, &mut self.told);
            if let Some(console) = &self.parts.console {
                console.tell(&change);
            }
        }
        self.parts.routing.pass_time(now, &mut self.told);
        self.hand_on();
    }

    /// Puts an alert that is over into the history, as it stood.
    fn keep(&mut self, change: &Change, now: Time) {
        let (Some(checkpoints), Change::Resolved(alert)) = (&mut self.parts.checkpoints, change)
        else {
            return;
        };
        let standing = self.parts.routing.dispatcher.standing(alert);
        checkpoints.ended(Ended {
            id: alert.id.clone(),
            ended_at: now,
            level: alert.severity() as u8,
            alert: with_standing(alert, &standing),
        });
    }

    /// Hands on what receivers are to be told.
    fn hand_on(&mut self) {
        for told in self.told.drain(..) {
            match &mut self.parts.checkpoints {
                Some(checkpoints) => checkpoints.tell(&told, &self.parts.notifier),
                None => self.parts.notifier.tell(told),
            }
        }
    }

    fn tell_reject(&mut self, reject: &Reject) {
        if self
            .rejects_told
            .is_some_and(|at| at.elapsed() < REJECTS_TOLD_EVERY)
        {
            return;
        }
        self.rejects_told = Some(Instant::now());
        let Reject {
            reason,
            offset,
            head,
        } = reject;
        tracing::warn!(%reason, offset, head, "a record is no audit event; see auditwatch_events_rejected_total");
    }
}

/// Says once how far the baselines have learnt: a rule that still learns is silent.
fn tell_learning(engine: &Engine) {
    let (mut rules, mut learning, mut learnt) = (0, 0, 0);
    for view in engine.baselines().filter(|view| view.rule.runs()) {
        let progress = view.novelty.progress(engine.watermark());
        rules += 1;
        learning += progress.learning;
        learnt += progress.learnt;
    }
    if rules == 0 {
        return;
    }
    if learning + learnt == 0 {
        tracing::info!(
            rules,
            "these rules learn what is normal and know nobody yet: they say nothing new about a \
             principal until they have known it for a while (`auditwatch rules NAME`); \
             `auditwatch baseline learn` lets them learn from old logs"
        );
    } else {
        tracing::info!(
            rules,
            learning,
            learnt,
            "baselines of so many keys were taken up"
        );
    }
}
