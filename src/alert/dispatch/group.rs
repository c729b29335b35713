//! One group of alerts on one route: its members, its timer, and what each receiver knows of it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Labels, Tally, tree::Route};
use crate::{
    alert::{Alert, Status},
    rule::Severity,
    units::{Span, Time},
};

/// How many alerts that come and go a group remembers.
const RECENT_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) route: usize,
    pub(super) labels: Labels,
    /// By the alert's id.
    pub(super) members: BTreeMap<Box<str>, Member>,
    /// When it wants to be looked at.
    pub(super) next: Option<Time>,
    pub(super) flushed_at: Option<Time>,
    /// The most severe alert that people were told of since the group was last empty.
    pub(super) peak: Option<Severity>,
    pub(super) told: BTreeMap<Arc<str>, Told>,
    /// Alerts that were over lately, by fingerprint: those that come and go are held back.
    pub(super) recent: BTreeMap<Box<str>, Recent>,
    /// Alerts for which there was no room; the next notification counts them.
    pub(super) unlisted: Tally,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) alert: Arc<Alert>,
    pub(super) labels: Labels,
}

/// What one receiver knows of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) at: Time,
    /// The alerts that go on as far as it knows, by fingerprint.
    pub(super) firing: BTreeMap<Box<str>, Known>,
    /// Alerts that it was told of and that were hidden when it was told of others. They are news
    /// when they come to light, but it is told when they are over.
    pub(super) away: BTreeMap<Box<str>, Known>,
    /// How many notifications it had.
    pub(super) sent: u64,
}

/// The version of an alert that a receiver knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) id: Box<str>,
    pub(super) version: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recent {
    pub(super) times: u32,
    pub(super) last: Time,
}

impl Member {
    pub(super) fn is_firing(&self) -> bool {
        self.alert.status == Status::Firing
    }
}

impl Told {
    pub(super) const fn new() -> Self {
        Self {
            at: Time::MIN,
            firing: BTreeMap::new(),
            away: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Whether the receiver was told that this very alert goes on.
    pub(super) fn knows(&self, alert: &Alert) -> bool {
        let known = self.firing.get(&alert.fingerprint);
        let known = known.or_else(|| self.away.get(&alert.fingerprint));
        known.is_some_and(|known| known.id == alert.id)
    }

    /// Notes that the receiver knows that these go on, and no others.
    pub(super) fn set<'m>(
        &mut self,
        firing: impl Iterator<Item = &'m Alert>,
        members: &BTreeMap<Box<str>, Member>,
    ) {
        let before = std::mem::take(&mut self.firing);
        self.away.extend(before);
        self.firing = firing.map(Known::entry).collect();
        let is_hidden = |known: &Known| members.get(&known.id).is_some_and(Member::is_firing);
        self.away
            .retain(|print, known| is_hidden(known) && !self.firing.contains_key(print));
    }

    /// Notes that the receiver need not be told more about an alert.
    pub(super) fn forget(&mut self, fingerprint: &str) {
        self.firing.remove(fingerprint);
        self.away.remove(fingerprint);
    }
}

impl Known {
    pub(super) fn of(alert: &Alert) -> Self {
        Self {
            id: alert.id.clone(),
            version: alert.updated_at,
        }
    }

    pub(super) fn entry(alert: &Alert) -> (Box<str>, Self) {
        (alert.fingerprint.clone(), Self::of(alert))
    }
}

impl Group {
    pub(super) fn new(route: usize, labels: Labels) -> Self {
        Self {
            route,
            labels,
            members: BTreeMap::new(),
            next: None,
            flushed_at: None,
            peak: None,
            told: BTreeMap::new(),
            recent: BTreeMap::new(),
            unlisted: Tally::default(),
        }
    }

    /// When people should be told, now that this alert has joined.
    pub(super) fn due(&self, alert: &Alert, was_empty: bool, route: &Route, now: Time) -> Time {
        let is_urgent = route.at_once.is_some_and(|least| alert.severity() >= least);
        let wait = if is_urgent {
            Span::ZERO
        } else {
            route.group_wait
        };
        let soon = now.plus(wait);
        let Some(next) = self.next.filter(|_| !was_empty) else {
            return soon.max(self.held_until(alert, route));
        };
        // Before the first notification, and when it got worse, urgent alerts do not wait.
        let is_worse = self.flushed_at.is_none() || Some(alert.severity()) > self.peak;
        if is_urgent && is_worse {
            next.min(now.max(self.held_until(alert, route)))
        } else {
            next
        }
    }

    /// How long an alert that comes and goes is held back: the second time it returns for two
    /// group intervals, then twice as long each time, up to the repeat interval.
    pub(super) fn held_until(&self, alert: &Alert, route: &Route) -> Time {
        let Some(recent) = self.recent.get(&alert.fingerprint) else {
            return Time::MIN;
        };
        if recent.times < 2 {
            return Time::MIN;
        }
        let doubled = 1i64 << (recent.times - 1).min(20);
        let hold = route.group_interval.micros().saturating_mul(doubled);
        recent
            .last
            .plus(Span::from_micros(hold).min(route.repeat_interval))
    }

    /// Notes that an alert was over when people were told.
    pub(super) fn note_end(&mut self, fingerprint: &str, now: Time) {
        let recent = self.recent.entry(fingerprint.into()).or_insert(Recent {
            times: 0,
            last: now,
        });
        recent.times = recent.times.saturating_add(1);
        recent.last = now;
        if self.recent.len() > RECENT_MAX {
            let oldest = self.recent.iter().min_by_key(|(_, recent)| recent.last);
            if let Some(oldest) = oldest.map(|(fingerprint, _)| fingerprint.clone()) {
                self.recent.remove(&oldest);
            }
        }
    }

    /// Forgets those that came and went long ago.
    pub(super) fn forget(&mut self, keep: Span, now: Time) {
        self.recent.retain(|_, recent| recent.last.plus(keep) > now);
    }

    /// Moves all its times back, because the clock went back.
    pub(super) fn shift(&mut self, by: Span) {
        for time in self.next.iter_mut().chain(&mut self.flushed_at) {
            *time = time.minus(by);
        }
        for told in self.told.values_mut() {
            told.at = told.at.minus(by);
        }
        for recent in self.recent.values_mut() {
            recent.last = recent.last.minus(by);
        }
    }
}
