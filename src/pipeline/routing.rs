//! Who is told what and when, by the clock of this machine: the dispatcher at work and its numbers.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus::{IntCounter, IntGauge, Result};

use super::worker::clock;
use crate::{
    alert::{
        Change,
        dispatch::{Dispatcher, Notification, Phase, Plan, Reason},
    },
    telemetry::{Metrics, catalogue},
    units::{Span, Time},
    window::Rows,
};

/// How often hidden alerts are counted; that looks at each.
const HIDDEN_EVERY: Duration = Duration::from_secs(10);

/// Between the changes of alerts and the notifier.
pub(super) struct Routing {
    pub(super) dispatcher: Dispatcher,
    counts: Counts,
}

/// The metrics of routing.
pub(super) struct Counts {
    groups: IntGauge,
    members: IntGauge,
    silenced: IntGauge,
    silences: [IntGauge; Phase::ALL.len()],
    inhibited: IntGauge,
    /// Those of each receiver.
    receivers: BTreeMap<Arc<str>, Made>,
    unlisted: IntCounter,
    unlisted_told: u64,
    hidden_told: Option<Instant>,
}

struct Made {
    by_reason: [IntCounter; Reason::ALL.len()],
    digested: IntCounter,
}

impl Counts {
    /// Registers them, all at zero. `unlisted` counts alerts that no group had room for.
    pub(super) fn new(plan: &Plan, metrics: &Metrics, unlisted: IntCounter) -> Result<Self> {
        let made = metrics.counters(&catalogue::NOTIFICATIONS_MADE)?;
        let digested = metrics.counters(&catalogue::NOTIFICATIONS_DIGESTED)?;
        let hidden = metrics.gauges(&catalogue::ALERTS_HIDDEN)?;
        let silences = metrics.gauges(&catalogue::SILENCES)?;
        let receivers = plan.receivers.iter().map(|telling| {
            let name = &*telling.name;
            let by_reason =
                Reason::ALL.map(|reason| made.with_label_values(&[name, reason.name()]));
            let digested = digested.with_label_values(&[name]);
            let made = Made {
                by_reason,
                digested,
            };
            (Arc::clone(&telling.name), made)
        });
        Ok(Self {
            groups: metrics.gauge(&catalogue::ALERT_GROUPS)?,
            members: metrics.gauge(&catalogue::ALERT_GROUP_MEMBERS)?,
            silences: Phase::ALL.map(|phase| silences.with_label_values(&[phase.name()])),
            silenced: hidden.with_label_values(&["silence"]),
            inhibited: hidden.with_label_values(&["inhibition"]),
            receivers: receivers.collect(),
            unlisted,
            unlisted_told: 0,
            hidden_told: None,
        })
    }

    fn made(&self, told: &Notification) {
        let Some(made) = self.receivers.get(&told.receiver) else {
            return;
        };
        made.by_reason[told.reason as usize].inc();
        if told.reason == Reason::Digest {
            made.digested.inc_by(told.stands_for);
        }
    }
}

impl Routing {
    pub(super) const fn new(dispatcher: Dispatcher, counts: Counts) -> Self {
        Self { dispatcher, counts }
    }

    /// Takes a change in; what is to be told because of it is appended to `out`.
    pub(super) fn take(&mut self, change: &Change, now: Time, out: &mut Vec<Notification>) {
        self.dispatcher.on_change(change, now);
        self.pass_time(now, out);
    }

    /// Lets time pass.
    pub(super) fn pass_time(&mut self, now: Time, out: &mut Vec<Notification>) {
        let before = out.len();
        self.dispatcher.advance(now, out);
        for told in &out[before..] {
            self.counts.made(told);
        }
    }

    /// Takes the clock's time on before something is asked of the dispatcher.
    pub(super) fn set_clock(&mut self, now: Time) {
        self.dispatcher.set_time(now);
    }

    /// How long until somebody is to be told; `None` while nothing is waited for.
    pub(super) fn patience(&self) -> Option<Duration> {
        let wake = self.dispatcher.next_wake()?;
        Some(wake.since(clock()).max(Span::ZERO).to_std())
    }

    /// Tells what is still to be told, when nothing is kept for a next start.
    pub(super) fn close(&mut self, out: &mut Vec<Notification>) {
        let before = out.len();
        self.dispatcher.close(clock(), out);
        for told in &out[before..] {
            self.counts.made(told);
        }
    }

    /// Adds the rows that changed since this was last called.
    pub(super) fn changes(&mut self, rows: &mut Rows) {
        self.dispatcher.changes(rows);
    }

    /// Shows what is kept in mind.
    pub(super) fn show(&mut self) {
        self.dispatcher.forget_silences();
        let (groups, members) = self.dispatcher.size();
        let counts = &mut self.counts;
        counts.groups.set(groups as i64);
        counts.members.set(members as i64);
        for (gauge, silences) in counts.silences.iter().zip(self.dispatcher.silence_counts()) {
            gauge.set(silences as i64);
        }
        let unlisted = self.dispatcher.unlisted();
        counts
            .unlisted
            .inc_by(unlisted.saturating_sub(counts.unlisted_told));
        counts.unlisted_told = unlisted;
        if counts
            .hidden_told
            .is_none_or(|at| at.elapsed() >= HIDDEN_EVERY)
        {
            let (silenced, inhibited) = self.dispatcher.hidden_now();
            counts.silenced.set(silenced as i64);
            counts.inhibited.set(inhibited as i64);
            counts.hidden_told = Some(Instant::now());
        }
    }
}
