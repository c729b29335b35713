//! All rules' state as rows, and the numbers that stand for rules in the claims of requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Conditions, meanings};
use crate::{
    detect::{
        snapshot::{KeptRows, kind},
        trace::Shared,
    },
    window::{Owner, Rows, Unreadable},
};

/// Which number stands for which rule or correlation.
#[derive(Default, Serialize, Deserialize)]
pub(in crate::detect) struct Tokens {
    by_meaning: BTreeMap<u64, u32>,
    last: u32,
}

impl Conditions {
    pub(in crate::detect) fn tokens(&self) -> Tokens {
        Tokens {
            by_meaning: self.tokens.clone(),
            last: self.last_token,
        }
    }

    /// Adds the rows that changed since this was last called.
    pub(in crate::detect) fn changes(&mut self, rows: &mut Rows) {
        for of in self.gone.drain(..) {
            for kind in kind::OF_RULES {
                rows.forget(Owner { kind, of });
            }
        }
        let (rules, correlations) = meanings(&self.rules);
        for (baselines, meaning) in self.baselines.iter_mut().zip(rules) {
            baselines.changes(meaning, rows);
        }
        for (window, meaning) in self.windows.iter_mut().zip(correlations) {
            window.changes(meaning, rows);
        }
    }

    /// Takes up what the rows of its rules hold; those of other rules go with the next changes.
    pub(in crate::detect) fn restore(
        &mut self,
        rows: &mut KeptRows<'_>,
        tokens: &Tokens,
    ) -> Result<(), Unreadable> {
        // A number that stood for a rule that is gone may still stand in a claim.
        self.last_token = tokens.last;
        for (meaning, token) in &mut self.tokens {
            *token = tokens.by_meaning.get(meaning).copied().unwrap_or_else(|| {
                self.last_token = self.last_token.wrapping_add(1);
                self.last_token
            });
        }
        let mut shared = Shared::default();
        let (rules, correlations) = meanings(&self.rules);
        for (baselines, meaning) in self.baselines.iter_mut().zip(rules) {
            baselines.restore(meaning, rows)?;
        }
        for (window, meaning) in self.windows.iter_mut().zip(correlations) {
            window.restore(meaning, rows, &mut shared)?;
        }
        let mut left = rows.owners_left();
        left.retain(|meaning| !self.tokens.contains_key(meaning));
        self.gone.extend(left);
        Ok(())
    }
}
