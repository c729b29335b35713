//! The dispatcher: takes changes of alerts in, lets time pass, gives notifications out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hashbrown::HashMap;

use super::{
    InhibitRule, Labels, Notification, Reason, Route, Silence, Tally, Telling,
    desk::{Desk, View},
    group::{Group, Member, Told},
    inhibit::Inhibitor,
    tree::{Tree, group_key},
};
use crate::{
    alert::{Alert, Change, Status},
    rule::Severity,
    units::{Span, Time},
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
    tracked: HashMap<Box<str>, Tracked>,
    pub(super) silences: BTreeMap<Box<str>, Silence>,
    acks: BTreeMap<Box<str>, Ack>,
    bounds: Bounds,
    members: usize,
    pub(super) now: Time,
    /// Groups that are other than when the store last asked.
    pub(super) changed: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Tracked {
    labels: Labels,
    groups: Vec<Arc<str>>,
    is_firing: bool,
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
            bounds: plan.bounds,
            members: 0,
            now: Time::MIN,
            changed: BTreeSet::new(),
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

    /// When [`advance`](Self::advance) has something to do; `None` while nothing is waited for.
    pub fn next_wake(&self) -> Option<Time> {
        let groups = self.wakes.first().map(|(time, _)| *time);
        let digests = self
            .desks
            .values()
            .filter_map(|desk| Some(desk.held.as_ref()?.until));
        groups.into_iter().chain(digests).min()
    }

    /// Adds a silence, or changes the one of its id. To end one early, set its end.
    pub fn silence(&mut self, silence: Silence) {
        self.silences.insert(silence.id.clone(), silence);
    }

    /// Forgets a silence altogether.
    pub fn forget_silence(&mut self, id: &str) {
        self.silences.remove(id);
    }

    /// Notes that somebody takes care of an alert. `false` when there is no such alert.
    pub fn ack(&mut self, alert: &str, ack: Ack) -> bool {
        let is_known = self.tracked.contains_key(alert);
        if is_known {
            self.acks.insert(alert.into(), ack);
        }
        is_known
    }

    /// Who takes care of an alert.
    pub fn acked(&self, alert: &str) -> Option<&Ack> {
        self.acks.get(alert)
    }

    /// Why an alert is not told at the moment; nothing when it is told, or not known.
    pub fn hidden(&self, alert: &str) -> Vec<Hidden> {
        let Some(tracked) = self.tracked.get(alert) else {
            return Vec::new();
        };
        let silences = self.silences.values();
        let silenced = silences.filter(|silence| silence.hides(&tracked.labels, self.now));
        let mut hidden: Vec<Hidden> = silenced
            .map(|silence| Hidden::Silenced(silence.id.clone()))
            .collect();
        hidden.extend(
            self.inhibitor
                .explains(&tracked.labels)
                .map(|by| Hidden::Inhibited(by.into())),
        );
        hidden
    }

    /// How many groups and alerts are kept in mind.
    pub fn size(&self) -> (usize, usize) {
        (self.groups.len(), self.members)
    }

    /// Puts a new alert into its groups. `labels` are those it fired with, when they are known.
    pub(super) fn admit(&mut self, alert: &Arc<Alert>, labels: Option<Labels>) {
        let labels = labels.unwrap_or_else(|| Labels::of(alert));
        let mut groups = Vec::new();
        for number in self.tree.find(&labels) {
            if self.tree.route(number).receivers.is_empty() {
                continue;
            }
            let key = self.group_for(number, &labels);
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            self.changed.insert(Arc::clone(&key));
            if self.members >= self.bounds.members_max {
                group.unlisted.add(alert.severity());
                continue;
            }
            let was_empty = group.members.is_empty();
            let at = group.due(alert, was_empty, self.tree.route(number), self.now);
            let member = Member {
                alert: Arc::clone(alert),
                labels: labels.clone(),
            };
            group.members.insert(alert.id.clone(), member);
            self.members += 1;
            let at = if is_for_machines(&self.desks, self.tree.route(number)) {
                at.min(self.now.plus(self.tree.route(number).group_wait))
            } else {
                at
            };
            self.wake(&key, Some(at));
            groups.push(key);
        }
        let is_firing = alert.status == Status::Firing;
        if groups.is_empty() {
            return;
        }
        if is_firing {
            self.inhibitor.note(&alert.id, &labels, true);
        }
        self.tracked.insert(
            alert.id.clone(),
            Tracked {
                labels,
                groups,
                is_firing,
            },
        );
    }

    /// Whether an alert is in any group.
    pub(super) fn is_tracked(&self, id: &str) -> bool {
        self.tracked.contains_key(id)
    }

    /// Puts an alert back into a group that it was in before a restart.
    pub(super) fn readmit(
        &mut self,
        group: &mut Group,
        key: &Arc<str>,
        alert: &Arc<Alert>,
        labels: Labels,
    ) {
        let is_firing = alert.status == Status::Firing;
        let member = Member {
            alert: Arc::clone(alert),
            labels: labels.clone(),
        };
        group.members.insert(alert.id.clone(), member);
        self.members += 1;
        if is_firing {
            self.inhibitor.note(&alert.id, &labels, true);
        }
        let tracked = self.tracked.entry(alert.id.clone());
        let tracked = tracked.or_insert_with(|| Tracked {
            labels,
            groups: Vec::new(),
            is_firing,
        });
        tracked.groups.push(Arc::clone(key));
    }

    /// The group of these labels on a route; the route's own when there are too many groups.
    fn group_for(&mut self, number: usize, labels: &Labels) -> Arc<str> {
        let labels = self.tree.route(number).group_of(labels);
        let route_key = self.tree.key(number);
        let key = group_key(route_key, &labels);
        if self.groups.contains_key(&key) {
            return key;
        }
        let (key, labels) = if self.groups.len() < self.bounds.groups_max {
            (key, labels)
        } else {
            (
                group_key(&format!("{route_key}…"), &Labels::default()),
                Labels::default(),
            )
        };
        self.groups
            .entry(Arc::clone(&key))
            .or_insert_with(|| Group::new(number, labels));
        key
    }

    /// Tells the receivers of a group what is to be told, and sets its next moment.
    fn flush(&mut self, key: &Arc<str>, out: &mut Vec<Notification>) {
        let Some(mut group) = self.groups.remove(key) else {
            return;
        };
        group.next = None;
        self.changed.insert(Arc::clone(key));
        if group.members.is_empty() && group.unlisted.total() == 0 {
            return;
        }
        let route = self.tree.route(group.route);
        let is_open = route.is_open(self.now);
        if is_open {
            self.tell(key, &mut group, out);
        }
        group.flushed_at = Some(self.now);
        group.forget(self.tree.route(group.route).repeat_interval, self.now);
        let next = self.next_of(&group, is_open);
        let is_over = next.is_none() && group.members.is_empty();
        if !is_over {
            self.groups.insert(Arc::clone(key), group);
            self.wake(key, next);
        }
    }

    fn tell(&mut self, key: &Arc<str>, group: &mut Group, out: &mut Vec<Notification>) {
        let route = self.tree.route(group.route);
        let is_hidden = |member: &Member| {
            let silenced = self
                .silences
                .values()
                .any(|silence| silence.hides(&member.labels, self.now));
            silenced || self.inhibitor.explains(&member.labels).is_some()
        };
        let (mut firing, mut ended) = (Vec::new(), Vec::new());
        for member in group.members.values() {
            match (member.is_firing(), is_hidden(member)) {
                (true, false) => firing.push(member),
                (true, true) => {}
                (false, is_hidden) => ended.push((member, is_hidden)),
            }
        }
        let peak = firing.iter().map(|member| member.alert.severity()).max();
        let view = View {
            key,
            route_key: self.tree.key(group.route),
            route,
            group,
            now: self.now,
            all_acked: firing
                .iter()
                .all(|member| self.acks.contains_key(&member.alert.id)),
            firing,
            ended,
        };
        let mut told = group.told.clone();
        let before = out.len();
        for name in &route.receivers {
            if let Some(desk) = self.desks.get_mut(name) {
                let told = told.entry(Arc::clone(name)).or_insert_with(Told::new);
                desk.tell(&view, told, out);
            }
        }
        let is_held = |member: &Member, is_hidden: bool| {
            !is_hidden
                && group.held_until(&member.alert, route) > self.now
                && out[before..].is_empty()
        };
        let done: Vec<(Box<str>, Box<str>)> = view
            .ended
            .iter()
            .filter(|(member, is_hidden)| !is_held(member, *is_hidden))
            .map(|(member, _)| (member.alert.id.clone(), member.alert.fingerprint.clone()))
            .collect();
        let was_told = |id: &str, print: &str| {
            let known = |told: &Told| told.firing.get(print).is_some_and(|known| *known.id == *id);
            group.told.values().any(known)
                || out[before..]
                    .iter()
                    .any(|told| told.reason != Reason::Repeat)
        };
        let ends: Vec<bool> = done.iter().map(|(id, print)| was_told(id, print)).collect();
        for ((id, fingerprint), was_told) in done.into_iter().zip(ends) {
            group.members.remove(&id);
            if was_told {
                group.note_end(&fingerprint, self.now);
            }
            self.members -= 1;
            let is_gone = self.tracked.get_mut(&id).is_some_and(|tracked| {
                tracked.groups.retain(|other| other != key);
                tracked.groups.is_empty()
            });
            if is_gone {
                self.tracked.remove(&id);
                self.acks.remove(&id);
            }
        }
        group.told = told;
        group.unlisted = Tally::default();
        group.peak = if group.members.is_empty() {
            None
        } else {
            group.peak.max(peak)
        };
    }

    /// When a group wants to be looked at again, now that it was.
    fn next_of(&self, group: &Group, is_open: bool) -> Option<Time> {
        let route = self.tree.route(group.route);
        let at_interval = self.now.plus(route.group_interval);
        if !is_open {
            return Some(at_interval);
        }
        if !is_for_machines(&self.desks, route) {
            // An empty group stays for as long as it matters that it was told of.
            let kept = self
                .now
                .plus(route.repeat_interval.max(route.group_interval));
            return Some(if group.members.is_empty() {
                kept
            } else {
                at_interval
            });
        }
        if group.members.is_empty() {
            return None;
        }
        let names = route.receivers.iter();
        let again = names.filter_map(|name| {
            let every = match self.desks.get(name)?.telling.repeats {
                super::Repeats::AsRouted => route.repeat_interval,
                super::Repeats::Every(span) => span,
                super::Repeats::Never => return None,
            };
            Some(
                group
                    .told
                    .get(name)?
                    .at
                    .plus(every)
                    .max(self.now)
                    .plus(Span::from_micros(1)),
            )
        });
        let hidden = group.members.values().any(|member| {
            let knows = |told: &Told| told.knows(&member.alert);
            member.is_firing() && !group.told.values().all(knows)
        });
        // What is hidden now may come to light.
        again.chain(hidden.then_some(at_interval)).min()
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
fn is_for_machines(desks: &BTreeMap<Arc<str>, Desk>, route: &Route) -> bool {
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
