//! The moment of a group: what its receivers are told, who leaves it, when it is looked at again.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Dispatcher, Notification, Repeats, Tally,
    desk::View,
    dispatcher::is_for_machines,
    group::{Group, Member, Told},
};
use crate::units::{Span, Time};

impl Dispatcher {
    /// Tells the receivers of a group what is to be told, and sets its next moment.
    pub(super) fn flush(&mut self, key: &Arc<str>, out: &mut Vec<Notification>) {
        self.flush_at(key, false, out);
    }

    /// The same; at the end also where nobody is to be told at this time of day, because there is
    /// no later.
    pub(super) fn flush_at(&mut self, key: &Arc<str>, is_end: bool, out: &mut Vec<Notification>) {
        let Some(mut group) = self.groups.remove(key) else {
            return;
        };
        group.next = None;
        self.changed.insert(Arc::clone(key));
        if group.members.is_empty() && group.unlisted.total() == 0 {
            return;
        }
        let route = self.tree.route(group.route);
        let is_open = is_end || route.is_open(self.now);
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
        let mut told = std::mem::take(&mut group.told);
        let is_hidden = |member: &Member| {
            let tracked = self.tracked.get(&member.alert.id);
            tracked.is_some_and(|tracked| self.silenced_by(tracked).next().is_some())
                || self.inhibitor.explains(&member.labels).is_some()
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
            acks: &self.acks,
            all_acked: firing
                .iter()
                .all(|member| self.acks.contains_key(&member.alert.id)),
            firing,
            ended,
        };
        let mut is_told = false;
        let known: BTreeSet<&str> = view
            .ended
            .iter()
            .map(|(member, _)| &member.alert)
            .filter(|alert| told.values().any(|told| told.knows(alert)))
            .map(|alert| &*alert.id)
            .collect();
        for name in &route.receivers {
            if let Some(desk) = self.desks.get_mut(name) {
                let told = told.entry(Arc::clone(name)).or_insert_with(Told::new);
                is_told |= desk.tell(&view, told, out);
            }
        }
        // One that comes and goes waits for its time, unless it was told along with others.
        let is_held = |member: &Member| group.held_until(&member.alert, route) > self.now;
        let ended = view.ended.iter();
        let done: Vec<(Box<str>, Box<str>, bool)> = ended
            .filter(|(member, is_hidden)| is_told || *is_hidden || !is_held(member))
            .map(|(member, _)| {
                let alert = &member.alert;
                let was_told = is_told || known.contains(&*alert.id);
                (alert.id.clone(), alert.fingerprint.clone(), was_told)
            })
            .collect();
        for (id, fingerprint, was_told) in done {
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
                self.forget_ack(&id);
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
                Repeats::AsRouted => route.repeat_interval,
                Repeats::Every(span) => span,
                Repeats::Never => return None,
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
}
