//! One notification: what one receiver is to be told about one group of alerts.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::{Ack, Labels};
use crate::{
    alert::{Alert, Change, Status},
    rule::Severity,
    units::Time,
};

/// Why people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// A group that they have not heard of.
    First,
    /// More alerts joined the group.
    New,
    /// Something about its alerts is new.
    Updated,
    /// Some of its alerts are over, others go on.
    Fewer,
    /// All of its alerts are over.
    Resolved,
    /// Nothing is new; it still goes on.
    Repeat,
    /// What did not get a message of its own, because there were too many.
    Digest,
}

impl Reason {
    /// All there are, in their order.
    pub const ALL: [Self; 7] = [
        Self::First,
        Self::New,
        Self::Updated,
        Self::Fewer,
        Self::Resolved,
        Self::Repeat,
        Self::Digest,
    ];

    /// As JSON and logs spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::New => "new",
            Self::Updated => "updated",
            Self::Fewer => "fewer",
            Self::Resolved => "resolved",
            Self::Repeat => "repeat",
            Self::Digest => "digest",
        }
    }
}

/// How many alerts there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally([u64; Severity::ALL.len()]);

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, severity: Severity) {
        self.0[severity as usize] += 1;
    }

    /// Counts all of another.
    pub fn merge(&mut self, other: Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own = own.saturating_add(more);
        }
    }

    /// How many there are in all.
    pub fn total(self) -> u64 {
        self.0.iter().sum()
    }

    /// The severities that occur, the most severe first, with their numbers.
    pub fn iter(self) -> impl Iterator<Item = (Severity, u64)> {
        let all = Severity::ALL.into_iter().rev();
        all.map(move |severity| (severity, self.0[severity as usize]))
            .filter(|(_, count)| *count > 0)
    }

    /// The most severe that occurs.
    pub fn most_severe(self) -> Option<Severity> {
        self.iter().next().map(|(severity, _)| severity)
    }
}

impl fmt::Display for Tally {
    /// `2 critical, 31 low`; `none` when there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total() == 0 {
            return f.write_str("none");
        }
        for (n, (severity, count)) in self.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{count} {severity}")?;
        }
        Ok(())
    }
}

/// Who acts most in the alerts of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principals {
    /// The names that occur in most alerts, with the number of those; at most
    /// [`Principals::TOP_MAX`].
    pub top: Vec<(Box<str>, u64)>,
    /// How many names there are; [`Principals::DISTINCT_MAX`] means as many or more.
    pub distinct: usize,
}

impl Principals {
    /// How many names are told.
    pub const TOP_MAX: usize = 5;
    /// How far names are counted.
    pub const DISTINCT_MAX: usize = 1_000;

    pub(super) fn of<'a>(alerts: impl Iterator<Item = &'a Alert>) -> Self {
        let mut counts = BTreeMap::<&str, u64>::new();
        for name in alerts.flat_map(|alert| alert.principals.first()) {
            if let Some(count) = counts.get_mut(&**name) {
                *count += 1;
            } else if counts.len() < Self::DISTINCT_MAX {
                counts.insert(name, 1);
            }
        }
        let distinct = counts.len();
        let mut top: Vec<(Box<str>, u64)> = counts
            .into_iter()
            .map(|(name, count)| (name.into(), count))
            .collect();
        // The sort is stable, so equal ones stay in the order of their names.
        top.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        top.truncate(Self::TOP_MAX);
        Self { top, distinct }
    }
}

/// What one receiver is told at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Names the notification: 32 hex digits, the same when the same input is read again.
    pub id: Box<str>,
    /// The receiver's name.
    pub receiver: Arc<str>,
    /// The route that led here, by its key; empty when there was none.
    pub route: Arc<str>,
    /// The labels that the group's alerts share by the route's `group_by`.
    pub group: Labels,
    /// Names the group for good: 32 hex digits. What is told later about it has the same one.
    pub group_key: Arc<str>,
    /// Why.
    pub reason: Reason,
    /// Whether it tells how the whole group stands, as people are told; else it tells of its alerts
    /// alone.
    pub is_whole: bool,
    /// When it was decided, by the wall clock.
    pub at: Time,
    /// The alerts that are shown, the most telling first; at least one.
    pub alerts: Vec<Arc<Alert>>,
    /// How many of the shown are news to the receiver; they stand first.
    pub fresh: usize,
    /// How many alerts of the group go on, shown or not.
    pub firing: Tally,
    /// How many are over since the receiver was last told, shown or not.
    pub resolved: Tally,
    /// Who acts most in all of these.
    pub principals: Principals,
    /// Who took care of the shown alerts, by their ids.
    pub acked: BTreeMap<Box<str>, Ack>,
    /// How many notifications this one stands for, when there were too many: 1 mostly.
    pub stands_for: u64,
    /// How many notifications the receiver missed before this one because they were dropped.
    pub missed: u64,
}

impl Notification {
    /// About one change of one alert, outside of any route.
    pub fn single(receiver: &Arc<str>, change: &Change, missed: u64) -> Self {
        let alert = change.alert();
        let mut tally = Tally::default();
        tally.add(alert.severity());
        let (firing, resolved) = match alert.status {
            Status::Firing => (tally, Tally::default()),
            Status::Resolved => (Tally::default(), tally),
        };
        let mut notification = Self {
            id: "".into(),
            receiver: Arc::clone(receiver),
            route: "".into(),
            group: Labels::default(),
            group_key: alert.id.as_ref().into(),
            reason: match change {
                Change::Fired(_) => Reason::First,
                Change::Updated(_) => Reason::Updated,
                Change::Resolved(_) => Reason::Resolved,
            },
            is_whole: false,
            at: alert.updated_at,
            alerts: vec![Arc::clone(alert)],
            fresh: 1,
            firing,
            resolved,
            principals: Principals::of(std::iter::once(&**alert)),
            acked: BTreeMap::new(),
            stands_for: 1,
            missed,
        };
        notification.id = notification.hash(0);
        notification
    }

    /// Whether any of its alerts goes on.
    pub fn status(&self) -> Status {
        if self.firing.total() > 0 {
            Status::Firing
        } else {
            Status::Resolved
        }
    }

    /// The most severe of its alerts, of those that go on when there are any.
    pub fn severity(&self) -> Severity {
        let most = self.firing.most_severe().or(self.resolved.most_severe());
        most.unwrap_or(Severity::Informational)
    }

    /// How many alerts it counts.
    pub fn total(&self) -> u64 {
        self.firing.total() + self.resolved.total()
    }

    /// How many alerts it counts and does not show.
    pub fn hidden(&self) -> u64 {
        self.total().saturating_sub(self.alerts.len() as u64)
    }

    /// The alert that says most, when there is one.
    pub fn first(&self) -> Option<&Arc<Alert>> {
        self.alerts.first()
    }

    /// What it is about: an [update](Self::is_update) is needless when the same receiver is told
    /// something later that is about the same.
    pub fn about(&self) -> &str {
        match self.alerts.as_slice() {
            _ if self.is_whole => &self.group_key,
            [alert] => &alert.id,
            // Nothing later tells of exactly these.
            _ => &self.id,
        }
    }

    /// Whether it tells nothing but that something known goes on or has changed.
    pub const fn is_update(&self) -> bool {
        matches!(self.reason, Reason::Updated | Reason::Repeat)
    }

    /// The id: of what is told and how many notifications the group's receiver had before.
    pub(super) fn hash(&self, sent: u64) -> Box<str> {
        let mut text = format!(
            "{}\n{}\n{}\n{sent}",
            self.receiver,
            self.group_key,
            self.reason.name()
        );
        for alert in &self.alerts {
            let version = alert.updated_at.micros();
            // Writing to a String succeeds.
            let _ = write!(text, "\n{} {} {version}", alert.id, alert.status.name());
        }
        format!("{:032x}", xxh3_128(text.as_bytes())).into()
    }
}
