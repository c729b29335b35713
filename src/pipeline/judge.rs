//! The stateful end of the pipeline: engine and alerts behind one another.
//!
//! Live and replay differ in where observations come from and who is told; what is decided
//! between the two is this, so the same observations give the same alerts in both.

use std::sync::Arc;

use crate::{
    alert::{self, Alert, Alerts, Change},
    detect::{self, Admission, Detection, Engine, Observation, SourceId},
    rule::RuleSet,
    units::Time,
    window::{Rows, Unreadable},
};

/// Engine and alerts. Single owner of all state; deterministic.
pub struct Judge {
    engine: Engine,
    alerts: Alerts,
    detections: Vec<Detection>,
}

impl Judge {
    /// A judge that has seen nothing.
    pub fn new(rules: Arc<RuleSet>, engine: detect::Settings, alerts: alert::Settings) -> Self {
        Self {
            engine: Engine::new(rules, engine),
            alerts: Alerts::new(alerts),
            detections: Vec::new(),
        }
    }

    /// Takes in one observation; what people should be told is appended to `out`. `detected` sees
    /// each detection on its way. `now` is the wall clock of a live source, nothing in a replay.
    pub fn take(
        &mut self,
        source: SourceId,
        observation: &Observation,
        now: Option<Time>,
        detected: &mut dyn FnMut(&Detection),
        out: &mut Vec<Change>,
    ) -> Admission {
        let admission = self
            .engine
            .admit(source, observation, now, &mut self.detections);
        self.fold(detected, out);
        self.alerts.tick(self.engine.watermark(), out);
        admission
    }

    fn fold(&mut self, detected: &mut dyn FnMut(&Detection), out: &mut Vec<Change>) {
        for detection in self.detections.drain(..) {
            detected(&detection);
            self.alerts.fold(detection, out);
        }
    }

    /// Lets time pass although nothing arrives: nothing stamped before `floor` is expected.
    /// By the clock it is `now`.
    pub fn advance(
        &mut self,
        floor: Time,
        now: Time,
        detected: &mut dyn FnMut(&Detection),
        out: &mut Vec<Change>,
    ) {
        self.engine.advance(floor, Some(now), &mut self.detections);
        self.fold(detected, out);
        self.alerts.tick(self.engine.watermark(), out);
    }

    /// Tells the silences that ended and what is new in open alerts, at the end of an archive. They stay open.
    pub fn flush(&mut self, out: &mut Vec<Change>) {
        self.engine.finish(&mut self.detections);
        self.fold(&mut |_| {}, out);
        self.alerts.flush(out);
    }

    /// Ends an open alert because somebody says so; whether there is one of this id.
    pub fn close(&mut self, alert: &str, out: &mut Vec<Change>) -> bool {
        self.alerts.close(alert, out)
    }

    /// Takes on another rule set; state of unchanged rules is kept. Observations made with the
    /// former set must have been taken in before.
    pub fn replace_rules(&mut self, rules: Arc<RuleSet>) {
        self.engine.replace_rules(rules);
    }

    /// Somebody says that an alert was no harm: what the baselines of its rule hold back for its
    /// key is known from now on. How many values that were.
    pub fn acknowledge(&mut self, alert: &Alert) -> usize {
        let key: Vec<Box<str>> = alert.key.iter().map(|(_, value)| value.clone()).collect();
        self.engine
            .acknowledge(&alert.rule.id, &alert.cluster, &key)
    }

    /// Adds the state that changed since this was last called.
    pub fn changes(&mut self, rows: &mut Rows) {
        self.engine.changes(rows);
        self.alerts.changes(rows);
    }

    /// Takes up the state that all rows hold, when nothing was seen yet.
    ///
    /// # Errors
    /// When a row is not what it should be; the judge is of no use then.
    pub fn restore(&mut self, rows: &Rows) -> Result<(), Unreadable> {
        self.engine.restore(rows)?;
        self.alerts.restore(rows)
    }

    /// The engine, for its numbers.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The alerts, for their numbers.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }
}
