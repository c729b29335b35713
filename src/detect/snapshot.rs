//! All state of the engine as rows that survive the process: those that changed since the last
//! time on the way out, all of them on the way back. Pure; where rows are kept is not known here.
//!
//! An engine that takes up its rows goes on exactly as the one that wrote them would have. Rows
//! belong to a rule by the fingerprint of its meaning, so a rule that is edited starts anew and
//! all others keep their state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Engine, conditions::Tokens, lineage, requests::Ends, sources::Standing};
use crate::window::{Owner, Rows, Unreadable, read};

/// Kinds of state. Numbers stay what they are; 16 and above are not the engine's.
pub mod kind {
    pub(in crate::detect) const ENGINE: u8 = 0;
    pub(in crate::detect) const SHORT_REQUESTS: u8 = 1;
    pub(in crate::detect) const LONG_REQUESTS: u8 = 2;
    pub(in crate::detect) const NOVELTY: u8 = 3;
    pub(in crate::detect) const RATE: u8 = 4;
    pub(in crate::detect) const WINDOW: u8 = 5;
    pub(in crate::detect) const ONCE: u8 = 6;
    pub(in crate::detect) const LINEAGE: u8 = 7;
    pub(in crate::detect) const SILENCE: u8 = 8;
    /// Those that belong to a rule or correlation.
    pub(in crate::detect) const OF_RULES: [u8; 5] = [NOVELTY, RATE, WINDOW, ONCE, SILENCE];
    /// What rules have learnt, by itself of use to another run.
    pub const BASELINES: [u8; 2] = [NOVELTY, RATE];
    /// From here on others may number their kinds.
    pub const OTHERS: u8 = 16;
}

const ENGINE: Owner = Owner {
    kind: kind::ENGINE,
    of: 0,
};

/// The version of what the engine's rows hold. Rows of another version cannot be read.
pub const VERSION: u32 = 4;

/// What the engine keeps in one small row.
#[derive(Serialize, Deserialize)]
struct Small {
    sources: Standing,
    ends: Ends,
    tokens: Tokens,
    evaluated: u64,
    duplicate: u64,
    late: u64,
}

/// Key and value of a row.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Kept rows by their owner, each to be taken once.
pub(super) struct KeptRows<'a>(BTreeMap<Owner, Vec<Pair<'a>>>);

impl<'a> KeptRows<'a> {
    fn new(rows: &'a Rows) -> Self {
        let mut by_owner: BTreeMap<Owner, Vec<_>> = BTreeMap::new();
        for row in rows.iter() {
            if let (true, Some(value)) = (row.owner.kind < kind::OTHERS, row.value) {
                by_owner
                    .entry(row.owner)
                    .or_default()
                    .push((row.key, value));
            }
        }
        Self(by_owner)
    }

    /// The keys and values of one owner.
    pub(super) fn take(&mut self, owner: Owner) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        self.0.remove(&owner).unwrap_or_default().into_iter()
    }

    /// The rules whose rows nobody has taken.
    pub(super) fn owners_left(&self) -> Vec<u64> {
        let mut left: Vec<u64> = self
            .0
            .keys()
            .filter(|owner| kind::OF_RULES.contains(&owner.kind))
            .map(|owner| owner.of)
            .collect();
        left.sort_unstable();
        left.dedup();
        left
    }
}

impl Engine {
    /// Adds the rows that changed since this was last called, or since the engine was new. It is
    /// enough to write those: all others are as they were.
    pub fn changes(&mut self, rows: &mut Rows) {
        self.requests.changes(rows);
        self.conditions.changes(rows);
        self.lineage.changes(rows);
        let small = Small {
            sources: self.sources.standing(),
            ends: self.requests.ends(),
            tokens: self.conditions.tokens(),
            evaluated: self.evaluated,
            duplicate: self.duplicate,
            late: self.late,
        };
        rows.put(ENGINE, &[], &small);
    }

    /// Takes up the state that all rows hold, in an engine that is new. Rows of rules that it does
    /// not have are told gone by the next [`changes`](Self::changes). Other kinds of rows are left
    /// alone.
    ///
    /// # Errors
    /// When a row is not what it should be; the engine is of no use then.
    pub fn restore(&mut self, rows: &Rows) -> Result<(), Unreadable> {
        let mut rows = KeptRows::new(rows);
        let Some((_, small)) = rows.take(ENGINE).next() else {
            // Baselines may have been filled before the first run.
            return self.conditions.restore(&mut rows, &Tokens::default());
        };
        let small: Small = read(ENGINE, small)?;
        self.sources.restore(small.sources);
        self.lineage.restore(rows.take(lineage::OWNER))?;
        self.requests.restore(&small.ends, &mut rows)?;
        self.conditions.restore(&mut rows, &small.tokens)?;
        self.evaluated = small.evaluated;
        self.duplicate = small.duplicate;
        self.late = small.late;
        Ok(())
    }
}
