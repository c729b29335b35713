//! Which requests a correlation has told of for each key, so that each is told once, whichever of
//! its members and values bring it.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::{Settings, Stats, Trace, conditions::Met};
use crate::{
    event::Field,
    rule::{Correlation, Kind, Member, Source},
    units::{Span, Time},
    window::{Held, Key, Limits, Owner, Rows, Table, Unreadable},
};

/// The requests that were told. Old ones go when nothing can bring them a second time.
pub(super) struct Once {
    table: Table<Mark>,
    reach: Span,
}

/// Whether it was told.
#[derive(Default, Serialize, Deserialize)]
struct Mark(bool);

impl Held for Mark {
    fn held(&self) -> usize {
        0
    }
}

impl Once {
    /// For a correlation that one request can reach more than once; `reach` is how far back its
    /// windows and those of what it counts go.
    pub(super) fn of(rule: &Correlation, reach: Span, settings: &Settings) -> Option<Self> {
        let is_chained = |source: &Source| !matches!(source.member, Member::Rule(_));
        // Rules that are counted together count a request once before it comes to a window.
        let has_members = rule.sources.len() > 1 && rule.kind != Kind::EventCount;
        let has_values = rule
            .sources
            .iter()
            .flat_map(|source| &source.values)
            .any(Field::may_be_several);
        let is_needed = has_members || has_values || rule.sources.iter().any(is_chained);
        is_needed.then(|| Self {
            table: Table::new(Limits {
                keys: settings.occurrences_max,
                held: 0,
            }),
            reach,
        })
    }

    /// Whether the request of `trace` was not told yet for `key`; it is now.
    pub(super) fn is_first(&mut self, key: Key, trace: &Trace, met: Met<'_>) -> bool {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&key.0.to_le_bytes());
        bytes[16..].copy_from_slice(&trace.request().to_le_bytes());
        let expired = met.horizon.minus(self.reach);
        // What came late is remembered as long as what came in time.
        let time = met.time.max(met.horizon);
        let key = Key(xxh3_128(&bytes));
        self.table
            .update(key, time, expired, Mark::default, |mark| {
                !std::mem::replace(&mut mark.0, true)
            })
    }

    /// Takes back some memory of what is over at `horizon`.
    pub(super) fn sweep(&mut self, horizon: Time, count: usize) {
        self.table.sweep(horizon.minus(self.reach), count);
    }

    /// Adds the rows that changed since this was last called.
    pub(super) fn changes(&mut self, owner: Owner, rows: &mut Rows) {
        self.table.changes(owner, rows);
    }

    /// Takes up what all rows of an owner hold.
    pub(super) fn restore<'a>(
        &mut self,
        owner: Owner,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), Unreadable> {
        self.table.restore(owner, rows, &mut |_| {})
    }

    /// Adds what this holds to the engine's numbers.
    pub(super) fn count_into(&self, stats: &mut Stats) {
        let table = self.table.stats();
        stats.occurrences += table.keys;
        stats.values_evicted += table.evicted;
        stats.bytes += self.table.bytes();
    }
}
