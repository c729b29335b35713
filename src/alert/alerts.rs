//! The open alerts: folds detections into them, tells about changes, ages them in event time.

mod persist;

pub use persist::VERSION;

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;

use super::{
    Alert, Change, Several, Shared, Status, labels,
    quotes::{self, quote},
};
use crate::{
    detect::Detection,
    event::Facts,
    rule::Severity,
    units::{ByteSize, Span, Time},
};

/// How alerts live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long it must be quiet before an alert is over.
    pub resolve_after: Span,
    /// At most one update of an alert in this much event time.
    pub update_interval: Span,
    /// How far behind the watermark an event may still count; quiet is only certain behind it.
    pub lateness: Span,
    /// How many alerts are open at most.
    pub alerts_max: usize,
    /// How many bytes the open alerts take at most, roughly. An alert is mostly its quoted
    /// requests, and a caller who likes long URIs can make those large.
    pub bytes_max: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resolve_after: Span::from_secs(15 * 60),
            update_interval: Span::from_secs(5 * 60),
            lateness: Span::from_secs(5 * 60),
            alerts_max: 50_000,
            bytes_max: ByteSize(256 << 20),
        }
    }
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Alerts that fired.
    pub fired: u64,
    /// Updates that were told.
    pub updated: u64,
    /// Alerts that were resolved, the evicted ones among them.
    pub resolved: u64,
    /// Alerts that were resolved early because there were too many.
    pub evicted: u64,
}

/// All alerts that are open. A function of the detections and watermarks that it is given:
/// give the watermark after every event (it costs one comparison when nothing is due) and the
/// changes do not depend on how the input was batched.
#[derive(Debug)]
pub struct Alerts {
    settings: Settings,
    open: HashMap<Arc<str>, Open>,
    /// When an alert needs a look. An entry may be early, never late: it is corrected when its
    /// time comes, so that a detection in an ongoing burst does not touch it.
    due: BTreeSet<(Time, Arc<str>)>,
    /// Who goes first when there are too many: least severe, then quiet for longest. Entries may
    /// be early like those of `due`.
    idle: BTreeSet<(Severity, Time, Arc<str>)>,
    watermark: Time,
    bytes: usize,
    counts: Counts,
    /// Labels of the open alerts that changed since their rows were last taken.
    touched: BTreeSet<Arc<str>>,
    /// Labels of alerts that are over although there is a row of them.
    removed: BTreeSet<Arc<str>>,
}

/// Why an alert is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was quiet for long enough.
    Quiet,
    /// Others needed the room.
    Evicted,
    /// Somebody said so.
    Closed,
}

#[derive(Debug)]
struct Open {
    /// The alert as it is; `updated_at` as it was last told.
    alert: Alert,
    /// Event time when people were last told, by the watermark if that was ahead.
    told_at: Time,
    bytes: usize,
    /// The time of its entry in `due`.
    due_at: Time,
    /// The time of its entry in `idle`.
    idle_at: Time,
    /// Whether there is a row of it.
    kept: bool,
    /// Whether it is among those that changed, so that a burst looks there once.
    touched: bool,
}

impl Alerts {
    /// None open.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            open: HashMap::new(),
            due: BTreeSet::new(),
            idle: BTreeSet::new(),
            watermark: Time::MIN,
            bytes: 0,
            counts: Counts::default(),
            touched: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }

    /// Takes one detection in; what people should be told now goes to `out`.
    ///
    /// It joins the open alert with its labels when its evidence lies within `resolve_after` of
    /// that alert's. If it came later than that, the open alert is over and a new one fires; if
    /// it belongs wholly before it, it is an alert of its own, fired and resolved at once.
    pub fn fold(&mut self, detection: Detection, out: &mut Vec<Change>) {
        let mut times = detection.evidence.iter().map(|facts| facts.evidence.time);
        let Some(first) = times.next() else { return };
        let (starts_at, ends_at) = times.fold((first, first), |(low, high), time| {
            (low.min(time), high.max(time))
        });
        let labels: Arc<str> = labels::of(&detection, &detection.evidence[0]).into();
        let quiet = self.settings.resolve_after;
        if let Some(open) = self.open.get(&labels) {
            if ends_at.plus(quiet) < open.alert.starts_at {
                self.tell_of_the_past(new_alert(&labels, detection, starts_at), out);
                return;
            }
            if starts_at <= open.alert.last_seen_at.plus(quiet) {
                self.join(&labels, detection, (starts_at, ends_at), out);
                self.make_room(out);
                return;
            }
            self.resolve(&labels, End::Quiet, out);
        }
        self.fire(labels, detection, starts_at, out);
        self.make_room(out);
    }

    /// Lets event time pass: sends the updates that are due and resolves what has been quiet.
    /// The most severe come first in `out`. An earlier watermark than before changes nothing.
    pub fn tick(&mut self, watermark: Time, out: &mut Vec<Change>) {
        self.watermark = self.watermark.max(watermark);
        let from = out.len();
        while self
            .due
            .first()
            .is_some_and(|(time, _)| *time <= self.watermark)
        {
            let Some((_, labels)) = self.due.pop_first() else {
                break;
            };
            self.look_at(&labels, out);
        }
        sort(&mut out[from..]);
    }

    /// Tells of everything that is new in open alerts, for the end of an archive: there is no
    /// later moment to wait for. The alerts stay open, nobody knows whether they are over.
    pub fn flush(&mut self, out: &mut Vec<Change>) {
        let from = out.len();
        let watermark = self.watermark;
        // The sort below undoes the order of the map.
        for (labels, open) in &mut self.open {
            if open.alert.new > 0 {
                open.update(watermark, out);
                self.counts.updated += 1;
                open.touch(labels, &mut self.touched);
            }
        }
        sort(&mut out[from..]);
    }

    /// The open alerts as they are, the oldest first.
    pub fn firing(&self) -> Vec<Arc<Alert>> {
        // The sort undoes the order of the map.
        let mut firing: Vec<_> = self
            .open
            .values()
            .map(|open| Arc::new(open.alert.clone()))
            .collect();
        firing.sort_by(|a, b| (a.starts_at, &a.id).cmp(&(b.starts_at, &b.id)));
        firing
    }

    /// How many alerts are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// What has happened since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn fire(
        &mut self,
        labels: Arc<str>,
        detection: Detection,
        starts_at: Time,
        out: &mut Vec<Change>,
    ) {
        let alert = new_alert(&labels, detection, starts_at);
        out.push(Change::Fired(Arc::new(alert.clone())));
        self.counts.fired += 1;
        let bytes = size(&labels, &alert);
        self.bytes += bytes;
        let idle_at = alert.last_seen_at;
        let told_at = self.watermark.max(idle_at);
        self.idle
            .insert((alert.severity(), idle_at, Arc::clone(&labels)));
        let mut open = Open {
            alert,
            told_at,
            bytes,
            due_at: Time::MIN,
            idle_at,
            kept: false,
            touched: true,
        };
        open.alert.new = 0;
        open.due_at = open.due(&self.settings);
        self.due.insert((open.due_at, Arc::clone(&labels)));
        self.touched.insert(Arc::clone(&labels));
        self.open.insert(labels, open);
    }

    fn join(
        &mut self,
        labels: &Arc<str>,
        detection: Detection,
        (starts_at, ends_at): (Time, Time),
        out: &mut Vec<Change>,
    ) {
        let Some(open) = self.open.get_mut(labels) else {
            return;
        };
        open.touch(labels, &mut self.touched);
        let alert = &mut open.alert;
        // What came late has older numbers than those that stand there.
        if ends_at >= alert.last_seen_at {
            alert.why = detection.why;
            alert.summary = detection.summary;
        }
        alert.starts_at = alert.starts_at.min(starts_at);
        alert.last_seen_at = alert.last_seen_at.max(ends_at);
        alert.count = alert.count.saturating_add(detection.count);
        alert.new = alert.new.saturating_add(detection.count);
        for facts in &detection.evidence {
            alert.shared.add(facts);
            see(alert, facts);
        }
        add_commands(&mut alert.respond, detection.respond);
        add_commands(&mut alert.contain, detection.contain);

        let bytes = size(labels, alert);
        self.bytes = self.bytes - open.bytes + bytes;
        open.bytes = bytes;
        if self.watermark.max(open.alert.last_seen_at) >= open.update_at(&self.settings) {
            open.update(self.watermark, out);
            self.counts.updated += 1;
        }
        let due = open.due(&self.settings);
        if due < open.due_at {
            self.due.remove(&(open.due_at, Arc::clone(labels)));
            self.due.insert((due, Arc::clone(labels)));
            open.due_at = due;
        }
    }

    /// Does what is due for one alert, whose entry in `due` was taken out, and puts in the next.
    fn look_at(&mut self, labels: &Arc<str>, out: &mut Vec<Change>) {
        let Some(open) = self.open.get_mut(labels) else {
            return;
        };
        if self.watermark >= open.resolve_at(&self.settings) {
            self.resolve(labels, End::Quiet, out);
            return;
        }
        if open.alert.new > 0 && self.watermark >= open.update_at(&self.settings) {
            open.update(self.watermark, out);
            self.counts.updated += 1;
            open.touch(labels, &mut self.touched);
        }
        open.due_at = open.due(&self.settings);
        self.due.insert((open.due_at, Arc::clone(labels)));
    }

    /// Ends an open alert because somebody says that it is over; whether there is one of this id.
    /// The next detection with its labels makes a new one.
    pub fn close(&mut self, id: &str, out: &mut Vec<Change>) -> bool {
        let mut open = self.open.iter();
        let Some(labels) =
            open.find_map(|(labels, open)| (*open.alert.id == *id).then_some(labels))
        else {
            return false;
        };
        self.resolve(&Arc::clone(labels), End::Closed, out);
        true
    }

    fn resolve(&mut self, labels: &Arc<str>, end: End, out: &mut Vec<Change>) {
        let Some(Open {
            alert,
            bytes,
            due_at,
            idle_at,
            kept,
            ..
        }) = self.open.remove(labels)
        else {
            return;
        };
        self.touched.remove(labels);
        if kept {
            self.removed.insert(Arc::clone(labels));
        }
        self.due.remove(&(due_at, Arc::clone(labels)));
        self.idle
            .remove(&(alert.severity(), idle_at, Arc::clone(labels)));
        self.bytes -= bytes;
        self.counts.resolved += 1;
        self.counts.evicted += u64::from(end == End::Evicted);
        out.push(Change::Resolved(Arc::new(self.ended(alert, end))));
    }

    fn ended(&self, mut alert: Alert, end: End) -> Alert {
        let quiet = match end {
            End::Quiet => self.settings.resolve_after,
            End::Evicted | End::Closed => Span::ZERO,
        };
        let ends_at = alert.last_seen_at.plus(quiet);
        alert.status = Status::Resolved;
        alert.ends_at = Some(ends_at);
        alert.updated_at = alert.updated_at.max(ends_at);
        alert.evicted = end == End::Evicted;
        alert
    }

    fn tell_of_the_past(&mut self, mut alert: Alert, out: &mut Vec<Change>) {
        self.counts.fired += 1;
        self.counts.resolved += 1;
        out.push(Change::Fired(Arc::new(alert.clone())));
        alert.new = 0;
        out.push(Change::Resolved(Arc::new(self.ended(alert, End::Quiet))));
    }

    fn make_room(&mut self, out: &mut Vec<Change>) {
        while self.open.len() > self.settings.alerts_max
            || self.bytes as u64 > self.settings.bytes_max.0 && !self.open.is_empty()
        {
            let Some((severity, idle_at, labels)) = self.idle.pop_first() else {
                return;
            };
            let Some(open) = self.open.get_mut(&labels) else {
                continue;
            };
            if open.alert.last_seen_at == idle_at {
                self.resolve(&labels, End::Evicted, out);
            } else {
                open.idle_at = open.alert.last_seen_at;
                self.idle.insert((severity, open.idle_at, labels));
            }
        }
    }
}

impl Open {
    /// Notes among the `changed` that it changed.
    fn touch(&mut self, labels: &Arc<str>, changed: &mut BTreeSet<Arc<str>>) {
        if !std::mem::replace(&mut self.touched, true) {
            changed.insert(Arc::clone(labels));
        }
    }

    /// The first moment at which it may be told again that something is new.
    fn update_at(&self, settings: &Settings) -> Time {
        self.told_at.plus(settings.update_interval)
    }

    /// The first watermark that makes it certain that it has been quiet.
    fn resolve_at(&self, settings: &Settings) -> Time {
        let quiet = self.alert.last_seen_at.plus(settings.resolve_after);
        quiet.plus(settings.lateness).plus(Span::from_micros(1))
    }

    fn due(&self, settings: &Settings) -> Time {
        let resolve_at = self.resolve_at(settings);
        if self.alert.new > 0 {
            resolve_at.min(self.update_at(settings))
        } else {
            resolve_at
        }
    }

    fn update(&mut self, watermark: Time, out: &mut Vec<Change>) {
        self.told_at = watermark.max(self.alert.last_seen_at);
        // At the end of an archive an update may come before its time; still no two alike.
        let next = self.alert.updated_at.plus(Span::from_micros(1));
        self.alert.updated_at = self.told_at.max(next);
        out.push(Change::Updated(Arc::new(self.alert.clone())));
        self.alert.new = 0;
    }
}

fn new_alert(labels: &str, detection: Detection, starts_at: Time) -> Alert {
    let facts = Arc::clone(&detection.evidence[0]);
    let last_seen_at = detection.time();
    let mut alert = Alert {
        id: labels::id(labels, starts_at),
        fingerprint: labels::fingerprint(labels),
        status: Status::Firing,
        rule: detection.rule,
        cluster: Box::from(&*facts.cluster),
        key: detection.key,
        shared: Shared::of(&facts),
        principals: Several::default(),
        origins: Several::default(),
        resources: Several::default(),
        namespaces: Several::default(),
        starts_at,
        last_seen_at,
        updated_at: last_seen_at,
        ends_at: None,
        count: detection.count,
        new: detection.count,
        why: detection.why,
        summary: detection.summary,
        respond: Vec::new(),
        contain: Vec::new(),
        evidence: Vec::new(),
        is_thinned: false,
        evicted: false,
    };
    add_commands(&mut alert.respond, detection.respond);
    add_commands(&mut alert.contain, detection.contain);
    for facts in &detection.evidence {
        alert.shared.add(facts);
        see(&mut alert, facts);
    }
    alert
}

/// Notes one request: as a quote, and in the lists of what there are several of.
fn see(alert: &mut Alert, facts: &Arc<Facts>) {
    match &facts.principal.impersonator {
        Some(by) => alert
            .principals
            .add(&format!("{} (by {by})", facts.principal.name)),
        None if facts.principal.name.is_empty() => alert.principals.add(facts.principal.kind),
        None => alert.principals.add(&facts.principal.name),
    }
    if let Some(ip) = &facts.origin.ip {
        alert.origins.add(ip);
    }
    match (&facts.target.resource, &facts.target.subresource) {
        (Some(resource), Some(sub)) => alert.resources.add(&format!("{resource}/{sub}")),
        (Some(resource), None) => alert.resources.add(resource),
        (None, _) => {}
    }
    if let Some(namespace) = &facts.target.namespace {
        alert.namespaces.add(namespace);
    }
    quote(&mut alert.evidence, &mut alert.is_thinned, facts);
}

fn add_commands(commands: &mut Vec<String>, more: Vec<String>) {
    for command in more {
        if commands.len() < Alert::RESPOND_MAX && !commands.contains(&command) {
            commands.push(command);
        }
    }
}

/// About how many bytes an open alert takes.
fn size(labels: &str, alert: &Alert) -> usize {
    let words = alert.why.len() + alert.summary.len();
    let commands = alert.respond.iter().chain(&alert.contain);
    let commands: usize = commands.map(String::len).sum();
    size_of::<Open>() + 4 * labels.len() + words + commands + quotes::size(&alert.evidence)
}

/// The most severe first, then the oldest; ids make it total.
fn sort(changes: &mut [Change]) {
    changes.sort_by(|a, b| {
        let key = |change: &Change| (change.alert().starts_at, change.alert().id.clone());
        let severity = b.alert().severity().cmp(&a.alert().severity());
        severity.then_with(|| key(a).cmp(&key(b)))
    });
}

#[cfg(test)]
mod tests;
