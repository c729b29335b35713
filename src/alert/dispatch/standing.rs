//! Silences and acks among the alerts: who is hidden by what, who takes care of what, who was told.

use std::sync::Arc;

use super::{Ack, Dispatcher, Hidden, Labels, Matchers, Phase, Silence, dispatcher::Tracked};
use crate::{alert::Alert, units::Time};

/// How an alert stands with those who are to be told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The labels that it fired with, by which it is routed and silenced.
    pub labels: Labels,
    /// Why it is not told at the moment; nothing when it is.
    pub hidden: Vec<Hidden>,
    /// Who takes care of it.
    pub ack: Option<Ack>,
    /// The receivers that its routes name, by their names.
    pub receivers: Vec<Told>,
}

impl Standing {
    /// What [`state`](Self::state) may say.
    pub const STATES: [&str; 4] = ["active", "silenced", "inhibited", "acked"];

    /// How the alert stands, in one word.
    pub fn state(&self) -> &'static str {
        let is_silence = |hidden: &Hidden| matches!(hidden, Hidden::Silenced(_));
        if self.hidden.iter().any(is_silence) {
            "silenced"
        } else if !self.hidden.is_empty() {
            "inhibited"
        } else if self.ack.is_some() {
            "acked"
        } else {
            "active"
        }
    }
}

/// What a receiver knows of an alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// The receiver.
    pub name: Arc<str>,
    /// When it was last told of the group that the alert is in, if it knows that the alert goes
    /// on; nothing before.
    pub at: Option<Time>,
}

impl Dispatcher {
    /// Adds a silence, or changes the one of its id. To end one early, set its end.
    pub fn silence(&mut self, silence: Silence) {
        // The order of the map does not matter: each alert is looked at by itself.
        for tracked in self.tracked.values_mut() {
            tracked.silences.retain(|id| *id != silence.id);
            if silence.matchers.matches(&tracked.labels) {
                tracked.silences.push(silence.id.clone());
                tracked.silences.sort_unstable();
            }
        }
        self.changed_silences.insert(silence.id.clone());
        self.silences.insert(silence.id.clone(), silence);
    }

    /// All silences, by their ids; those that have expired stay for [`Silence::KEPT`].
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// The silence of an id.
    pub fn find_silence(&self, id: &str) -> Option<&Silence> {
        self.silences.get(id)
    }

    /// How many silences are active, pending and expired.
    pub fn silence_counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for silence in self.silences.values() {
            counts[silence.phase(self.now) as usize] += 1;
        }
        counts
    }

    /// Forgets the silences that expired long ago.
    pub fn forget_silences(&mut self) {
        let now = self.now;
        let is_old = |silence: &Silence| silence.ends_at.plus(Silence::KEPT) <= now;
        let old: Vec<Box<str>> = self
            .silences
            .values()
            .filter(|silence| is_old(silence))
            .map(|silence| silence.id.clone())
            .collect();
        if old.is_empty() {
            return;
        }
        for tracked in self.tracked.values_mut() {
            tracked.silences.retain(|id| !old.contains(id));
        }
        for id in old {
            self.silences.remove(&id);
            self.changed_silences.insert(id);
        }
    }

    /// The silences that match an alert's labels, also those that do not hold now.
    pub(super) fn silences_of(&self, labels: &Labels) -> Vec<Box<str>> {
        let silences = self.silences.values();
        silences
            .filter(|silence| silence.matchers.matches(labels))
            .map(|silence| silence.id.clone())
            .collect()
    }

    /// The silences that hide an alert now.
    pub(super) fn silenced_by<'d>(
        &'d self,
        tracked: &'d Tracked,
    ) -> impl Iterator<Item = &'d Silence> {
        let silences = tracked.silences.iter();
        silences
            .filter_map(|id| self.silences.get(id))
            .filter(|silence| silence.is_active(self.now))
    }

    /// Notes that somebody takes care of an alert. `false` when there is no such alert.
    pub fn ack(&mut self, alert: &str, ack: Ack) -> bool {
        let is_known = self.tracked.contains_key(alert);
        if is_known {
            self.acks.insert(alert.into(), ack);
            self.changed_acks.insert(alert.into());
        }
        is_known
    }

    /// Who takes care of an alert.
    pub fn acked(&self, alert: &str) -> Option<&Ack> {
        self.acks.get(alert)
    }

    /// An ack ends with its alert.
    pub(super) fn forget_ack(&mut self, alert: &str) {
        if self.acks.remove(alert).is_some() {
            self.changed_acks.insert(alert.into());
        }
    }

    /// Why an alert is not told at the moment; nothing when it is told, or not known.
    pub fn hidden(&self, alert: &str) -> Vec<Hidden> {
        let Some(tracked) = self.tracked.get(alert) else {
            return Vec::new();
        };
        let mut hidden: Vec<Hidden> = self
            .silenced_by(tracked)
            .map(|silence| Hidden::Silenced(silence.id.clone()))
            .collect();
        hidden.extend(
            self.inhibitor
                .explains(&tracked.labels)
                .map(|by| Hidden::Inhibited(by.into())),
        );
        hidden
    }

    /// How many alerts that go on are hidden at the moment: by silences, and by other alerts.
    pub fn hidden_now(&self) -> (u64, u64) {
        let (mut silenced, mut inhibited) = (0, 0);
        for tracked in self.tracked.values().filter(|tracked| tracked.is_firing) {
            if self.silenced_by(tracked).next().is_some() {
                silenced += 1;
            } else if self.inhibitor.explains(&tracked.labels).is_some() {
                inhibited += 1;
            }
        }
        (silenced, inhibited)
    }

    /// Whether an alert that is known meets matchers, by the labels that it fired with.
    pub fn meets(&self, alert: &str, matchers: &Matchers) -> bool {
        let tracked = self.tracked.get(alert);
        tracked.is_some_and(|tracked| matchers.matches(&tracked.labels))
    }

    /// How an alert stands; with nothing but its labels when it is not known.
    pub fn standing(&self, alert: &Alert) -> Standing {
        let Some(tracked) = self.tracked.get(&alert.id) else {
            return Standing {
                labels: Labels::of(alert),
                ..Standing::default()
            };
        };
        let mut receivers: Vec<Told> = Vec::new();
        for group in tracked.groups.iter().filter_map(|key| self.groups.get(key)) {
            for name in &self.tree.route(group.route).receivers {
                let told = group.told.get(name).filter(|told| told.knows(alert));
                receivers.push(Told {
                    name: Arc::clone(name),
                    at: told.map(|told| told.at),
                });
            }
        }
        receivers.sort();
        Standing {
            labels: tracked.labels.clone(),
            hidden: self.hidden(&alert.id),
            ack: self.acks.get(&alert.id).cloned(),
            receivers,
        }
    }
}

impl Phase {
    /// All of them, in the order of [`Dispatcher::silence_counts`].
    pub const ALL: [Self; 3] = [Self::Active, Self::Pending, Self::Expired];
}
