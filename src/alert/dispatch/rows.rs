//! What a dispatcher keeps across restarts, in rows that a store can write and read back.
//!
//! A row holds ids of alerts, not alerts: the store has those already.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Dispatcher, Labels, Tally,
    desk::Held,
    group::{Group, Recent, Told},
    limit::Limiter,
};
use crate::{
    alert::Alert,
    rule::Severity,
    units::{Span, Time},
};

/// One group. Rows are for storing: what is in them is nobody else's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    route: Box<str>,
    labels: Labels,
    /// The alerts in it, by id, with the labels that they fired with.
    members: Vec<(Box<str>, Labels)>,
    next: Option<Time>,
    flushed_at: Option<Time>,
    peak: Option<u8>,
    told: BTreeMap<Arc<str>, Told>,
    recent: BTreeMap<Box<str>, Recent>,
    unlisted: Tally,
}

/// What one receiver has used up and what waits for its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverRow {
    limiter: Limiter,
    digests: u64,
    held: Option<HeldRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HeldRow {
    until: Time,
    stands_for: u64,
    missed: u64,
    firing: Tally,
    resolved: Tally,
    alerts: Vec<Box<str>>,
}

/// Everything that a dispatcher kept, as a store gives it back.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// By their keys.
    pub groups: BTreeMap<Arc<str>, GroupRow>,
    /// By the receivers' names.
    pub receivers: BTreeMap<Arc<str>, ReceiverRow>,
}

impl Dispatcher {
    /// The groups that changed since this was last asked: their rows, or `None` for those that are
    /// gone. Every row by its key.
    pub fn take_changed(&mut self) -> Vec<(Arc<str>, Option<GroupRow>)> {
        let changed = std::mem::take(&mut self.changed);
        let row = |key: &Arc<str>| Some(GroupRow::of(self, self.groups.get(key)?));
        changed
            .into_iter()
            .map(|key| (Arc::clone(&key), row(&key)))
            .collect()
    }

    /// A row for each receiver; there are few.
    pub fn receivers(&self) -> Vec<(Arc<str>, ReceiverRow)> {
        let row = |(name, desk): (&Arc<str>, &super::desk::Desk)| {
            let held = desk.held.as_ref().map(|held| HeldRow {
                until: held.until,
                stands_for: held.stands_for,
                missed: held.missed,
                firing: held.firing,
                resolved: held.resolved,
                alerts: held.alerts.iter().map(|alert| alert.id.clone()).collect(),
            });
            let row = ReceiverRow {
                limiter: desk.limiter,
                digests: desk.digests,
                held,
            };
            (Arc::clone(name), row)
        };
        self.desks.iter().map(row).collect()
    }

    /// Takes on what an earlier dispatcher kept; for a new one, before anything else, also when
    /// the plan is another now. `alert` finds an alert by its id; those that are open and in no
    /// row are to be given to [`on_change`](Self::on_change) as fired. Groups of routes that are
    /// no more are forgotten, and their alerts go where the plan sends them now.
    pub fn restore(
        &mut self,
        rows: Rows,
        now: Time,
        alert: &mut dyn FnMut(&str) -> Option<Arc<Alert>>,
    ) {
        self.set_clock(now);
        let mut homeless = Vec::new();
        for (key, row) in rows.groups {
            self.changed.insert(Arc::clone(&key));
            let Some(route) = self.tree.by_key(&row.route) else {
                homeless.extend(row.members);
                continue;
            };
            let mut group = Group::new(route, row.labels);
            group.flushed_at = row.flushed_at;
            group.peak = row
                .peak
                .and_then(|level| Severity::ALL.get(usize::from(level)).copied());
            group.told = row.told;
            group.recent = row.recent;
            group.unlisted = row.unlisted;
            // A clock that was wrong then must not make anybody wait for longer than usual.
            let latest = now.plus(self.longest_wait(route));
            let next = row.next.map(|next| next.min(latest));
            for (id, labels) in row.members {
                if let Some(alert) = alert(&id) {
                    self.readmit(&mut group, &key, &alert, labels);
                }
            }
            self.groups.insert(Arc::clone(&key), group);
            self.wake(&key, next);
        }
        for (name, row) in rows.receivers {
            let Some(desk) = self.desks.get_mut(&name) else {
                continue;
            };
            desk.limiter = row.limiter;
            desk.digests = row.digests;
            desk.held = row.held.map(|held| Held {
                until: held.until,
                stands_for: held.stands_for,
                missed: held.missed,
                firing: held.firing,
                resolved: held.resolved,
                alerts: held.alerts.iter().filter_map(|id| alert(id)).collect(),
            });
            if let Some(rate) = desk.telling.rate {
                let latest = now.plus(rate.per);
                desk.limiter.full_at = desk.limiter.full_at.min(latest);
                if let Some(held) = &mut desk.held {
                    held.until = held.until.min(latest);
                }
            }
        }
        for (id, labels) in homeless {
            if let Some(alert) = alert(&id).filter(|_| !self.is_tracked(&id)) {
                self.admit(&alert, Some(labels));
            }
        }
    }

    fn longest_wait(&self, route: usize) -> Span {
        let route = self.tree.route(route);
        route
            .repeat_interval
            .max(route.group_interval)
            .max(route.group_wait)
    }
}

impl GroupRow {
    fn of(dispatcher: &Dispatcher, group: &Group) -> Self {
        let members = group.members.iter();
        Self {
            route: dispatcher.tree.key(group.route).as_ref().into(),
            labels: group.labels.clone(),
            members: members
                .map(|(id, member)| (id.clone(), member.labels.clone()))
                .collect(),
            next: group.next,
            flushed_at: group.flushed_at,
            peak: group.peak.map(|severity| severity as u8),
            told: group.told.clone(),
            recent: group.recent.clone(),
            unlisted: group.unlisted,
        }
    }
}
