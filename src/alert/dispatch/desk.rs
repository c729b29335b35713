//! What is decided for one receiver: whether there is something to tell it, and in which words.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Ack, Notification, Principals, Reason, Tally,
    group::{Group, Known, Member, Told},
    limit::{Limiter, Rate},
    tree::Route,
};
use crate::{
    alert::{Alert, Status},
    rule::Severity,
    units::{Span, Time},
};

/// How a receiver wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The receiver's name.
    pub name: Arc<str>,
    /// In which form.
    pub style: Style,
    /// Whether it is told that alerts are over.
    pub send_resolved: bool,
    /// Whether it is told, at the group's next interval, that an alert has changed.
    pub send_updates: bool,
    /// Whether it is told again although nothing is new.
    pub repeats: Repeats,
    /// How many messages it gets at most. What is beyond is told in one digest.
    pub rate: Option<Rate>,
}

/// The form of what a receiver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For people: the state of the group, with so many alerts shown.
    Digest {
        /// At least 1.
        shown: usize,
    },
    /// For machines: every alert that changed, so many in a message.
    Each {
        /// At least 1.
        at_most: usize,
    },
}

/// When a receiver is told again although nothing is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// As the route says.
    AsRouted,
    /// Never.
    Never,
    /// This often, for receivers that forget what they are not told again.
    Every(Span),
}

/// One receiver at work.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) telling: Telling,
    pub(super) limiter: Limiter,
    pub(super) held: Option<Held>,
    /// How many digests it had.
    pub(super) digests: u64,
}

/// What was too much for a receiver and is told in one digest.
#[derive(Debug)]
pub(super) struct Held {
    /// When there will be room for it.
    pub(super) until: Time,
    pub(super) stands_for: u64,
    pub(super) missed: u64,
    pub(super) firing: Tally,
    pub(super) resolved: Tally,
    pub(super) alerts: Vec<Arc<Alert>>,
}

/// The group as a receiver may see it at one moment.
pub(super) struct View<'v> {
    pub(super) key: &'v Arc<str>,
    pub(super) route_key: &'v Arc<str>,
    pub(super) route: &'v Route,
    pub(super) group: &'v Group,
    pub(super) now: Time,
    /// Members that go on and are not hidden.
    pub(super) firing: Vec<&'v Member>,
    /// Members that are over, and whether they are hidden.
    pub(super) ended: Vec<(&'v Member, bool)>,
    /// Who took care of which alert.
    pub(super) acks: &'v BTreeMap<Box<str>, Ack>,
    /// Whether all that go on have been acknowledged.
    pub(super) all_acked: bool,
}

impl Desk {
    pub(super) fn new(telling: Telling) -> Self {
        Self {
            telling,
            limiter: Limiter::new(),
            held: None,
            digests: 0,
        }
    }

    /// Moves all its times back, because the clock went back.
    pub(super) fn shift(&mut self, by: Span) {
        self.limiter.full_at = self.limiter.full_at.minus(by);
        if let Some(held) = &mut self.held {
            held.until = held.until.minus(by);
        }
    }

    /// Takes the newest version of an alert that waits for the digest.
    pub(super) fn renew(&mut self, alert: &Arc<Alert>) {
        let waiting = self.held.iter_mut().flat_map(|held| &mut held.alerts);
        for own in waiting.filter(|own| own.id == alert.id) {
            *own = Arc::clone(alert);
        }
    }

    /// Tells what is to be told about a group, and notes it in `told`. Whether that was anything
    /// but a repeat.
    pub(super) fn tell(
        &mut self,
        view: &View<'_>,
        told: &mut Told,
        out: &mut Vec<Notification>,
    ) -> bool {
        let notifications = match self.telling.style {
            Style::Digest { shown } => Vec::from_iter(self.state(view, told, shown.max(1))),
            Style::Each { at_most } => self.changes(view, told, at_most.max(1)),
        };
        let mut is_news = false;
        for notification in notifications {
            is_news |= notification.reason != Reason::Repeat;
            self.send(notification, view.now, out);
        }
        is_news
    }

    /// Whether it is told again now.
    fn is_again(&self, view: &View<'_>, told: &Told) -> bool {
        let after = match self.telling.repeats {
            Repeats::AsRouted => view.route.repeat_interval,
            Repeats::Never => return false,
            Repeats::Every(span) => return told.at.plus(span) <= view.now,
        };
        told.at.plus(after) < view.now && !view.all_acked
    }

    /// The group's state, when there is a reason to tell it.
    fn state(&self, view: &View<'_>, told: &mut Told, shown: usize) -> Option<Notification> {
        let Telling {
            send_resolved,
            send_updates,
            ..
        } = self.telling;
        let held = |member: &Member| view.group.held_until(&member.alert, view.route) > view.now;
        let prints: BTreeSet<&str> = view
            .firing
            .iter()
            .map(|member| &*member.alert.fingerprint)
            .collect();
        let fires = |member: &Member| prints.contains(&*member.alert.fingerprint);
        let is_fresh = |member: &Member| !told.firing.contains_key(&member.alert.fingerprint);
        let is_updated = |member: &Member| {
            let known = told.firing.get(&member.alert.fingerprint);
            known.is_some_and(|known| *known != Known::of(&member.alert))
        };
        let mut over = Vec::new();
        let mut past = Vec::new();
        for (member, is_hidden) in &view.ended {
            if told.knows(&member.alert) {
                if !fires(member) {
                    over.push(*member);
                }
            } else if !is_hidden && !fires(member) {
                past.push(*member);
            }
        }
        let is_first = told.firing.is_empty() && told.away.is_empty();
        let has_fresh = view
            .firing
            .iter()
            .any(|member| is_fresh(member) && !held(member));
        let has_past = past.iter().any(|member| !held(member));
        let has_unlisted = view.group.unlisted.total() > 0;
        let reason = if has_fresh || has_past || has_unlisted {
            match (is_first, view.firing.is_empty()) {
                (true, _) => Some(Reason::First),
                (false, true) => Some(Reason::Resolved),
                (false, false) => Some(Reason::New),
            }
        } else if view.firing.is_empty() {
            (!over.is_empty() && send_resolved).then_some(Reason::Resolved)
        } else if !over.is_empty() && send_resolved {
            Some(Reason::Fewer)
        } else if send_updates && view.firing.iter().any(|member| is_updated(member)) {
            Some(Reason::Updated)
        } else {
            let knows_any = view.firing.iter().any(|member| !is_fresh(member));
            (knows_any && self.is_again(view, told)).then_some(Reason::Repeat)
        };
        let Some(reason) = reason else {
            for member in over {
                told.forget(&member.alert.fingerprint);
            }
            return None;
        };
        let over = if send_resolved { over } else { Vec::new() };
        let mut ranked: Vec<(u8, &Member)> = Vec::new();
        ranked.extend(past.iter().map(|member| (0, *member)));
        ranked.extend(over.iter().map(|member| (1, *member)));
        ranked.extend(
            view.firing
                .iter()
                .map(|member| (if is_fresh(member) { 0 } else { 2 }, *member)),
        );
        let name = &self.telling.name;
        let notification = view.notification(name, told.sent, (reason, true), ranked, shown);
        let firing = view.firing.iter().map(|member| &*member.alert);
        told.set(firing, &view.group.members);
        told.at = view.now;
        told.sent += 1;
        Some(notification)
    }

    /// Every change, so many in a message; what is over comes first, because the same thing may
    /// have begun anew since.
    fn changes(&self, view: &View<'_>, told: &mut Told, at_most: usize) -> Vec<Notification> {
        let mut lists: [(Reason, Vec<&Member>); 4] = [
            Reason::Resolved,
            Reason::First,
            Reason::Updated,
            Reason::Repeat,
        ]
        .map(|reason| (reason, Vec::new()));
        for (member, is_hidden) in &view.ended {
            let is_known = told.knows(&member.alert);
            if (is_known && self.telling.send_resolved) || (!is_known && !is_hidden) {
                lists[0].1.push(member);
            }
            if is_known {
                told.forget(&member.alert.fingerprint);
            }
        }
        let again = self.is_again(view, told);
        for member in &view.firing {
            let known = told.firing.get(&member.alert.fingerprint);
            if !told.knows(&member.alert) {
                lists[1].1.push(member);
            } else if self.telling.send_updates && known != Some(&Known::of(&member.alert)) {
                lists[2].1.push(member);
            } else if again {
                lists[3].1.push(member);
            } else {
                continue;
            }
            let (fingerprint, known) = Known::entry(&member.alert);
            told.firing.insert(fingerprint, known);
        }
        // While there is something to keep alive the clock for repeats runs from its last round.
        if again || told.sent == 0 {
            told.at = view.now;
        }
        let mut notifications = Vec::new();
        for (reason, mut members) in lists {
            members.sort_by_key(|member| order(member));
            for members in members.chunks(at_most) {
                let ranked = members.iter().map(|member| (0, *member)).collect();
                let name = &self.telling.name;
                let notification =
                    view.notification(name, told.sent, (reason, false), ranked, at_most);
                told.sent += 1;
                notifications.push(notification);
            }
        }
        notifications
    }

    /// Hands a notification out, or into the digest when the receiver has had enough.
    fn send(&mut self, notification: Notification, now: Time, out: &mut Vec<Notification>) {
        let Some(rate) = self.telling.rate else {
            out.push(notification);
            return;
        };
        let is_urgent = notification.severity() >= Severity::High
            && !matches!(notification.reason, Reason::Repeat | Reason::Resolved);
        match self.limiter.take(rate, is_urgent, now) {
            Ok(()) => out.push(notification),
            Err(_) => self.hold(notification, rate, now),
        }
    }

    fn hold(&mut self, notification: Notification, rate: Rate, now: Time) {
        // The digest itself may use what is kept for urgent ones.
        let until = self.limiter.free_at(rate, now);
        let held = self.held.get_or_insert_with(|| Held {
            until,
            stands_for: 0,
            missed: 0,
            firing: Tally::default(),
            resolved: Tally::default(),
            alerts: Vec::new(),
        });
        held.stands_for += 1;
        held.missed += notification.missed;
        held.firing.merge(notification.firing);
        held.resolved.merge(notification.resolved);
        held.alerts.extend(notification.alerts);
        // Of several versions of an alert the one that was told last is the newest.
        let mut seen = BTreeSet::new();
        held.alerts.reverse();
        held.alerts.retain(|alert| seen.insert(alert.id.clone()));
        held.alerts.sort_by_key(urgency);
        held.alerts.truncate(Self::HELD_MAX);
    }

    /// How many alerts wait for a digest to name the principals of; more are only counted.
    const HELD_MAX: usize = 200;

    /// The digest of what was too much, when there is room for it.
    pub(super) fn digest(&mut self, now: Time) -> Option<Notification> {
        let rate = self.telling.rate?;
        let held = self.held.as_mut().filter(|held| held.until <= now)?;
        if let Err(free_at) = self.limiter.take(rate, true, now) {
            held.until = free_at;
            return None;
        }
        self.digest_now(now)
    }

    /// The digest of what was too much, whether there is room for it or not.
    pub(super) fn digest_now(&mut self, now: Time) -> Option<Notification> {
        let Held {
            stands_for,
            missed,
            firing,
            resolved,
            mut alerts,
            ..
        } = self.held.take()?;
        let shown = match self.telling.style {
            Style::Digest { shown } => shown,
            Style::Each { at_most } => at_most,
        };
        let principals = Principals::of(alerts.iter().map(|alert| &**alert));
        alerts.sort_by_key(urgency);
        alerts.truncate(shown.max(1));
        let mut digest = Notification {
            id: "".into(),
            receiver: Arc::clone(&self.telling.name),
            route: "".into(),
            group: super::Labels::default(),
            group_key: super::tree::group_key(
                "digest",
                &super::Labels::new([("receiver", &*self.telling.name)]),
            ),
            reason: Reason::Digest,
            is_whole: false,
            at: now,
            fresh: alerts.len(),
            alerts,
            firing,
            resolved,
            principals,
            acked: BTreeMap::new(),
            stands_for,
            missed,
        };
        digest.id = digest.hash(self.digests);
        self.digests += 1;
        Some(digest)
    }
}

/// What goes on first, then the most severe, then the oldest.
fn urgency(alert: &Arc<Alert>) -> (Status, Reverse<Severity>, Time, Box<str>) {
    let severity = Reverse(alert.severity());
    (alert.status, severity, alert.starts_at, alert.id.clone())
}

fn order(member: &Member) -> (Reverse<Severity>, Time, &str) {
    let alert = &member.alert;
    (Reverse(alert.severity()), alert.starts_at, &alert.id)
}

impl View<'_> {
    /// What is told of these members: those of low rank first, and of one rank the most severe.
    /// `sent` is how many notifications the receiver had about the group.
    fn notification(
        &self,
        receiver: &Arc<str>,
        sent: u64,
        (reason, is_whole): (Reason, bool),
        mut ranked: Vec<(u8, &Member)>,
        shown: usize,
    ) -> Notification {
        ranked.sort_by_key(|(rank, member)| (*rank, order(member)));
        let principals = Principals::of(ranked.iter().map(|(_, member)| &*member.alert));
        let (mut firing, mut resolved) = (Tally::default(), Tally::default());
        for (_, member) in &ranked {
            let tally = if member.is_firing() {
                &mut firing
            } else {
                &mut resolved
            };
            tally.add(member.alert.severity());
        }
        ranked.truncate(shown);
        let alerts = ranked.iter().map(|(_, member)| Arc::clone(&member.alert));
        let acked = ranked.iter().filter_map(|(_, member)| {
            let ack = self.acks.get(&member.alert.id)?;
            Some((member.alert.id.clone(), ack.clone()))
        });
        let mut notification = Notification {
            id: "".into(),
            receiver: Arc::clone(receiver),
            route: Arc::clone(self.route_key),
            group: self.group.labels.clone(),
            group_key: Arc::clone(self.key),
            reason,
            is_whole,
            at: self.now,
            fresh: ranked.iter().filter(|(rank, _)| *rank < 2).count(),
            alerts: alerts.collect(),
            firing,
            resolved,
            principals,
            acked: acked.collect(),
            stands_for: 1,
            missed: self.group.unlisted.total(),
        };
        notification.id = notification.hash(sent);
        notification
    }
}
