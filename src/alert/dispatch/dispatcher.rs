//! The dispatcher: takes changes of alerts in, lets time pass, gives notifications out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hashbrown::HashMap;

use super::{
    InhibitRule, Labels, Notification, Route, Silence, Telling, desk::Desk, group::Group,
    inhibit::Inhibitor, tree::Tree,
};
use crate::{
    alert::{Change, Status},
    rule::Severity,
    units::Time,
};

/// Who is told what, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The root of the route tree.
    pub root: Route,
    /// Which alerts hide others.
    pub inhibit_rules: Vec<InhibitRule>,
    /// The receivers that routes name.
    pub receivers: Vec<Telling>,
    /// How much is kept in mind.
    pub bounds: Bounds,
}

/// How much a dispatcher keeps in mind at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Groups. Alerts of a group for which there is no room join one group of their route.
    pub groups_max: usize,
    /// Alerts in all groups together. Those for which there is no room are counted, and the
    /// group's next notification says how many they were.
    pub members_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            groups_max: 20_000,
            members_max: 100_000,
        }
    }
}

/// Somebody has taken an alert on: it is not repeated while nothing is new.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ack {
    /// Who.
    pub by: Box<str>,
    /// When.
    pub at: Time,
    /// What they say.
    pub comment: Box<str>,
}

/// Why an alert is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// By the silence of this id.
    Silenced(Box<str>),
    /// By the alert of this id, which explains it.
    Inhibited(Box<str>),
}

/// Decides who is told what and when: a function of the plan, the changes, the silences and the
/// time that it is given, which is the wall clock's. It never looks at a clock itself.
///
/// Call [`on_change`](Self::on_change) for every change and [`advance`](Self::advance) after it,
/// and again at [`next_wake`](Self::next_wake).
#[derive(Debug)]
pub struct Dispatcher {
    pub(super) tree: Tree,
    pub(super) inhibitor: Inhibitor,
    pub(super) desks: BTreeMap<Arc<str>, Desk>,
    pub(super) groups: HashMap<Arc<str>, Group>,
    /// When groups want to be looked at.
    wakes: BTreeSet<(Time, Arc<str>)>,
    /// The groups that an alert is in, by its id, and the labels that it fired with.
    pub(super) tracked: HashMap<Box<str>, Tracked>,
    pub(super) silences: BTreeMap<Box<str>, Silence>,
    pub(super) acks: BTreeMap<Box<str>, Ack>,
    /// Silences and acks that are other than when the store last asked.
    pub(super) changed_silences: BTreeSet<Box<str>>,
    pub(super) changed_acks: BTreeSet<Box<str>>,
    pub(super) bounds: Bounds,
    pub(super) members: usize,
    pub(super) now: Time,
    /// Groups that are other than when the store last asked.
    pub(super) changed: BTreeSet<Arc<str>>,
    /// Alerts that are over and of which the store has a row.
    pub(super) kept: BTreeSet<Box<str>>,
    /// How many alerts there was no room for.
    pub(super) unlisted: u64,
}

#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) labels: Labels,
    pub(super) groups: Vec<Arc<str>>,
    pub(super) is_firing: bool,
    /// The silences whose matchers match it, whether they hold now or not. Found when the alert
    /// or the silence is new, so that nobody has to try all silences on all alerts.
    pub(super) silences: Vec<Box<str>>,
}

impl Dispatcher {
    /// One that has heard of nothing.
    pub fn new(plan: Plan) -> Self {
        let desks = plan.receivers.into_iter();
        Self {
            tree: Tree::new(plan.root),
            inhibitor: Inhibitor::new(plan.inhibit_rules),
            desks: desks
                .map(|telling| (Arc::clone(&telling.name), Desk::new(telling)))
                .collect(),
            groups: HashMap::new(),
            wakes: BTreeSet::new(),
            tracked: HashMap::new(),
            silences: BTreeMap::new(),
            acks: BTreeMap::new(),
            changed_silences: BTreeSet::new(),
            changed_acks: BTreeSet::new(),
            bounds: plan.bounds,
            members: 0,
            now: Time::MIN,
            changed: BTreeSet::new(),
            kept: BTreeSet::new(),
            unlisted: 0,
        }
    }

    /// Takes a change in. Nobody is told before [`advance`](Self::advance).
    pub fn on_change(&mut self, change: &Change, now: Time) {
        self.set_clock(now);
        let alert = change.alert();
        for desk in self.desks.values_mut() {
            desk.renew(alert);
        }
        if !self.tracked.contains_key(&alert.id) {
            self.admit(alert, None);
            return;
        }
        let Some(tracked) = self.tracked.get_mut(&alert.id) else {
            return;
        };
        let is_firing = alert.status == Status::Firing;
        if tracked.is_firing != is_firing {
            tracked.is_firing = is_firing;
            self.inhibitor.note(&alert.id, &tracked.labels, is_firing);
        }
        if tracked.groups.is_empty() && !is_firing {
            self.tracked.remove(&alert.id);
            self.forget_ack(&alert.id);
            return;
        }
        for key in tracked.groups.clone() {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            if let Some(member) = group.members.get_mut(&alert.id) {
                member.alert = Arc::clone(alert);
            }
            let route = self.tree.route(group.route);
            let at = match group.next {
                Some(next) if is_for_machines(&self.desks, route) => {
                    next.min(self.now.plus(route.group_wait))
                }
                next => next.unwrap_or(self.now.plus(route.group_wait)),
            };
            self.wake(&key, Some(at));
            self.changed.insert(key);
        }
    }

    /// Lets time pass: what is to be told now is appended to `out`, the most severe groups first.
    pub fn advance(&mut self, now: Time, out: &mut Vec<Notification>) {
        self.set_clock(now);
        for desk in self.desks.values_mut() {
            out.extend(desk.digest(self.now));
        }
        let mut due = Vec::new();
        while self
            .wakes
            .first()
            .is_some_and(|(time, _)| *time <= self.now)
        {
            let Some((_, key)) = self.wakes.pop_first() else {
                break;
            };
            let severity = self.groups.get(&key).and_then(most_severe);
            due.push((std::cmp::Reverse(severity), key));
        }
        due.sort();
        for (_, key) in due {
            self.flush(&key, out);
        }
    }

    /// Tells at once what is still to be told, for the end of a process that keeps nothing:
    /// nobody waits for more of a group, for room at a receiver or for the end of a muted time any
    /// longer.
    pub fn close(&mut self, now: Time, out: &mut Vec<Notification>) {
        self.set_clock(now);
        while let Some((_, key)) = self.wakes.pop_first() {
            if let Some(group) = self.groups.get_mut(&key) {
                group.recent.clear();
            }
            self.flush_at(&key, true, out);
            self.wake(&key, None);
        }
        for desk in self.desks.values_mut() {
            out.extend(desk.digest_now(now));
        }
    }

    /// When [`advance`](Self::advance) has something to do; `None` while nothing is waited for.
    pub fn next_wake(&self) -> Option<Time> {
        let groups = self.wakes.first().map(|(time, _)| *time);
        let digests = self
            .desks
            .values()
            .filter_map(|desk| Some(desk.held.as_ref()?.until));
        groups.into_iter().chain(digests).min()
    }

    /// How many alerts joined no group because there were too many in all; counted for each group.
    pub const fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// How many groups and alerts are kept in mind.
    pub fn size(&self) -> (usize, usize) {
        (self.groups.len(), self.members)
    }

    /// Takes the clock's time on, before something is asked that depends on it.
    pub fn set_time(&mut self, now: Time) {
        self.set_clock(now);
    }

    /// When the dispatcher was last given the time.
    pub const fn now(&self) -> Time {
        self.now
    }

    pub(super) fn wake(&mut self, key: &Arc<str>, at: Option<Time>) {
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        if let Some(before) = group.next {
            self.wakes.remove(&(before, Arc::clone(key)));
        }
        group.next = at;
        if let Some(at) = at {
            self.wakes.insert((at, Arc::clone(key)));
        }
    }

    /// Takes the clock's time on. When it went back, everything that waits moves along, so that
    /// nothing waits for longer than its interval.
    pub(super) fn set_clock(&mut self, now: Time) {
        if now < self.now {
            let by = self.now.since(now);
            self.wakes = std::mem::take(&mut self.wakes)
                .into_iter()
                .map(|(at, key)| (at.minus(by), key))
                .collect();
            // The order does not matter: each is moved by itself.
            for group in self.groups.values_mut() {
                group.shift(by);
            }
            for desk in self.desks.values_mut() {
                desk.shift(by);
            }
        }
        self.now = now;
    }
}

/// Whether none of a route's receivers is for people, who want things grouped.
pub(super) fn is_for_machines(desks: &BTreeMap<Arc<str>, Desk>, route: &Route) -> bool {
    let style = |name: &Arc<str>| desks.get(name).map(|desk| desk.telling.style);
    let mut styles = route.receivers.iter().filter_map(style);
    styles.all(|style| matches!(style, super::Style::Each { .. }))
}

fn most_severe(group: &Group) -> Option<Severity> {
    group
        .members
        .values()
        .map(|member| member.alert.severity())
        .max()
}
