//! The conservation numbers of a replay: everything taken in became exactly one thing.

use super::workers::Batch;
use crate::{
    decode::{Reason, Reject},
    detect::Admission,
};

/// What became of everything that was taken in; numbers of events and rejects.
///
/// `received` = `evaluated` + `duplicate` + `late` + all of `rejected` + all of `dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Everything taken in.
    pub received: u64,
    /// Events in time, looked at by the rules.
    pub evaluated: u64,
    /// Events seen before.
    pub duplicate: u64,
    /// Events further behind than the allowed lateness; looked at by the rules all the same.
    pub late: u64,
    /// Dropped events outside of `--from` and `--to`.
    pub outside_range: u64,
    rejected: [u64; Reason::ALL.len()],
}

impl Counts {
    /// Rejects of each reason, zeros too, in the order of [`Reason::ALL`].
    pub fn rejected(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.rejected)
    }

    /// Rejects of all reasons.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().sum()
    }

    /// Dropped events by reason, as metrics and reports name it.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [("outside_range", self.outside_range)].into_iter()
    }

    /// Dropped events of all reasons.
    pub fn dropped_total(&self) -> u64 {
        self.outside_range
    }

    /// Counts what a worker sorted out; events are counted when they are admitted.
    pub(super) fn add(&mut self, batch: &Batch) {
        self.received += batch.outside_range + batch.rejected.iter().sum::<u64>();
        self.outside_range += batch.outside_range;
        for (total, count) in self.rejected.iter_mut().zip(batch.rejected) {
            *total += count;
        }
    }

    pub(super) fn admitted(&mut self, admission: Admission) {
        self.received += 1;
        match admission {
            Admission::Evaluated => self.evaluated += 1,
            Admission::Duplicate => self.duplicate += 1,
            Admission::Late => self.late += 1,
        }
    }
}

/// One reject, and the archive that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectSample {
    /// The archive's name.
    pub archive: String,
    /// What and where.
    pub reject: Reject,
}

/// How many rejects of each reason are kept to be shown.
pub(super) const SAMPLES_MAX: usize = 3;

/// Moves rejects to the samples as long as there are few of their reason.
pub(super) fn keep(samples: &mut Vec<RejectSample>, rejects: &mut Vec<Reject>, archive: &str) {
    for reject in rejects.drain(..) {
        let known = samples
            .iter()
            .filter(|sample| sample.reject.reason == reject.reason);
        if known.count() < SAMPLES_MAX {
            samples.push(RejectSample {
                archive: archive.to_owned(),
                reject,
            });
        }
    }
}
