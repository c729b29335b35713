//! The requests that an alert quotes: its first and its last few.

use std::sync::Arc;

use crate::{event::Facts, units::Time};

/// The most requests that an alert quotes: half of them its first, half of them its last.
pub const QUOTES_MAX: usize = 32;

/// Adds a request, unless it is there already, and keeps the first and the last
/// [`QUOTES_MAX`]` / 2` by event time. The outcome does not depend on the order of adding: what
/// is dropped is always the middle one, which is neither among the first nor among the last.
pub(super) fn quote(quotes: &mut Vec<Arc<Facts>>, facts: &Arc<Facts>) {
    if let Err(place) = quotes.binary_search_by(|quoted| order(quoted).cmp(&order(facts))) {
        quotes.insert(place, Arc::clone(facts));
        if quotes.len() > QUOTES_MAX {
            quotes.remove(QUOTES_MAX / 2);
        }
    }
}

/// Time and audit id together name a request; the id alone would not, the caller may choose it.
fn order(facts: &Facts) -> (Time, &str) {
    (facts.evidence.time, &facts.evidence.audit_id)
}

/// About how many bytes the quotes hold, so that open alerts can be bounded by memory.
pub(super) fn size(quotes: &[Arc<Facts>]) -> usize {
    quotes
        .iter()
        .map(|facts| size_of::<Facts>() + text_size(facts))
        .sum()
}

fn text_size(facts: &Facts) -> usize {
    let optional = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
    let Facts {
        cluster,
        principal,
        credential,
        origin,
        target,
        evidence,
    } = facts;
    let principal = principal.name.len()
        + optional(&principal.impersonator)
        + principal
            .groups
            .iter()
            .map(|group| group.len() + 16)
            .sum::<usize>();
    let origin = optional(&origin.ip) + origin.client.len() + origin.user_agent.len();
    let target = target.verb.len()
        + optional(&target.resource)
        + optional(&target.subresource)
        + optional(&target.namespace)
        + optional(&target.name);
    let evidence = evidence.audit_id.len() + evidence.verb.len() + evidence.uri.len();
    let credential = credential
        .as_ref()
        .map_or(0, |credential| credential.id.len());
    cluster.len() + principal + credential + origin + target + evidence
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alert::samples;

    proptest! {
        /// Whatever the order of arrival, and with repeats, the quotes are the ends of the
        /// sorted distinct requests.
        #[test]
        fn keeps_the_first_and_the_last(seconds in prop::collection::vec(0i64..60, 0..120)) {
            let mut quotes = Vec::new();
            for second in &seconds {
                quote(&mut quotes, &samples::facts_at(*second));
            }
            let mut all = seconds;
            all.sort_unstable();
            all.dedup();
            if all.len() > QUOTES_MAX {
                all.drain(QUOTES_MAX / 2..all.len() - QUOTES_MAX / 2);
            }
            let expected: Vec<_> = all.into_iter().map(samples::facts_at).collect();
            prop_assert_eq!(quotes, expected);
        }
    }
}
