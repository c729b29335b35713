//! How alerts come into groups: new ones by the routes, and those of before a restart.

use std::sync::Arc;

use super::{
    Dispatcher, Labels,
    dispatcher::{Tracked, is_for_machines},
    group::{Group, Member},
    tree::group_key,
};
use crate::alert::{Alert, Status};

impl Dispatcher {
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
                self.unlisted += 1;
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
        if is_firing {
            // Also one that nobody is told of may explain others.
            self.inhibitor.note(&alert.id, &labels, true);
        } else if groups.is_empty() {
            return;
        }
        let silences = self.silences_of(&labels);
        self.tracked.insert(
            alert.id.clone(),
            Tracked {
                labels,
                groups,
                is_firing,
                silences,
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
        let silences = self.silences_of(&labels);
        let tracked = self.tracked.entry(alert.id.clone());
        let tracked = tracked.or_insert_with(|| Tracked {
            labels,
            groups: Vec::new(),
            is_firing,
            silences,
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
}
