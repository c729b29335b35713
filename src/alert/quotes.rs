//! The requests that an alert quotes: its first and last few, and the first of each kind.

use std::sync::Arc;

use crate::{event::Facts, units::Time};

/// The most requests that an alert quotes.
pub const QUOTES_MAX: usize = 32;

/// How many of the first and how many of the last are kept when there are too many.
const ENDS: usize = QUOTES_MAX / 4;

/// Adds a request, unless it is there already. While there are few, all are kept. Beyond
/// [`QUOTES_MAX`] the first and the last few by event time stay, and between them the first
/// request of each kind (from where, by whom, what), because the odd one out among hundreds is
/// the one to see. The outcome does not depend on the order of adding.
pub(super) fn quote(quotes: &mut Vec<Arc<Facts>>, is_thinned: &mut bool, facts: &Arc<Facts>) {
    let Err(place) = quotes.binary_search_by(|quoted| order(quoted).cmp(&order(facts))) else {
        return;
    };
    let was_thinned = *is_thinned;
    quotes.insert(place, Arc::clone(facts));
    if quotes.len() <= QUOTES_MAX && !was_thinned {
        return;
    }
    *is_thinned = true;
    if was_thinned && place + 1 == quotes.len() {
        let leaves_the_end = place - ENDS;
        if !is_kept_between(quotes, leaves_the_end) {
            quotes.remove(leaves_the_end);
        }
        return;
    }
    let last = quotes.len().saturating_sub(ENDS);
    let mut kinds_left = QUOTES_MAX - 2 * ENDS;
    let is_kept: Vec<bool> = (0..quotes.len())
        .map(|at| {
            let is_end = at < ENDS || at >= last;
            let is_new = kinds_left > 0
                && !quotes[..at]
                    .iter()
                    .any(|earlier| kind(earlier) == kind(&quotes[at]));
            kinds_left -= usize::from(is_new && !is_end);
            is_end || is_new
        })
        .collect();
    let mut kept = is_kept.into_iter();
    quotes.retain(|_| kept.next().unwrap_or(true));
}

/// Whether the request at `at`, which was among the last and is so no more, is kept for its kind.
/// All between it and the first few are kept for theirs. This is what a pass over all quotes finds
/// when a request comes last, as nearly all do.
fn is_kept_between(quotes: &[Arc<Facts>], at: usize) -> bool {
    let kinds = at.saturating_sub(ENDS);
    let is_new = || {
        let own = kind(&quotes[at]);
        !quotes[..at].iter().any(|earlier| kind(earlier) == own)
    };
    at < ENDS || (kinds < QUOTES_MAX - 2 * ENDS && is_new())
}

/// What makes two requests of an alert alike to the reader.
fn kind(facts: &Facts) -> [Option<&str>; 6] {
    let Facts {
        principal,
        origin,
        target,
        ..
    } = facts;
    [
        Some(&principal.name),
        origin.ip.as_deref(),
        Some(&origin.client),
        Some(&target.verb),
        target.resource.as_deref(),
        target.subresource.as_deref(),
    ]
}

/// The `count` quotes that tell most, in the order of time: the first, the last, then always the
/// one that adds most that is new: an address or a caller before a verb or an outcome.
pub fn telling(quotes: &[Arc<Facts>], count: usize) -> Vec<&Arc<Facts>> {
    let mut chosen: Vec<usize> = vec![0, quotes.len().saturating_sub(1)];
    chosen.dedup();
    chosen.truncate(count.min(quotes.len()));
    while chosen.len() < count.min(quotes.len()) {
        let gain = |at: usize| -> usize {
            let adds = |same: &dyn Fn(&Facts, &Facts) -> bool| {
                !chosen
                    .iter()
                    .any(|&other| same(&quotes[other], &quotes[at]))
            };
            8 * usize::from(adds(&|a, b| a.origin.ip == b.origin.ip))
                + 8 * usize::from(adds(&|a, b| a.principal.name == b.principal.name))
                + 4 * usize::from(adds(&|a, b| a.origin.client == b.origin.client))
                + 2 * usize::from(adds(&|a, b| a.target.resource == b.target.resource))
                + 2 * usize::from(adds(&|a, b| a.target.subresource == b.target.subresource))
                + usize::from(adds(&|a, b| a.target.verb == b.target.verb))
                + usize::from(adds(&|a, b| a.evidence.code == b.evidence.code))
        };
        let left = (0..quotes.len()).filter(|at| !chosen.contains(at));
        // Of equally telling ones the earliest.
        let Some(best) = left.max_by_key(|&at| (gain(at), std::cmp::Reverse(at))) else {
            break;
        };
        chosen.push(best);
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|at| &quotes[at]).collect()
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
        /// Whatever the order of arrival, and with repeats, the same requests are quoted: all
        /// while they are few, the ends when there are many of one kind.
        #[test]
        fn the_order_of_arrival_does_not_show(
            seconds in prop::collection::vec(0i64..60, 0..120),
            turn in 0usize..120,
        ) {
            let quoted = |seconds: &[i64]| {
                let (mut quotes, mut is_thinned) = (Vec::new(), false);
                for second in seconds {
                    quote(&mut quotes, &mut is_thinned, &samples::facts_at(*second));
                }
                quotes
            };
            let mut turned = seconds.clone();
            turned.rotate_left(turn % seconds.len().max(1));
            let mut all = seconds.clone();
            all.sort_unstable();
            all.dedup();
            if all.len() > QUOTES_MAX {
                all.drain(ENDS..all.len() - ENDS);
            }
            let expected: Vec<_> = all.into_iter().map(samples::facts_at).collect();
            prop_assert_eq!(&quoted(&seconds), &expected);
            prop_assert_eq!(&quoted(&turned), &expected);
        }
    }

    /// One request from elsewhere in the midst of hundreds is quoted and shown.
    #[test]
    fn the_odd_one_out_is_seen() {
        let (mut quotes, mut is_thinned) = (Vec::new(), false);
        for second in 0..300 {
            let mut facts = samples::facts_at(second);
            if second == 150 {
                let facts = Arc::make_mut(&mut facts);
                Arc::make_mut(&mut facts.origin).ip = Some("203.0.113.99".into());
            }
            quote(&mut quotes, &mut is_thinned, &facts);
        }
        assert_eq!(quotes.len(), 2 * ENDS + 1);
        let shown = telling(&quotes, 3);
        assert_eq!(shown[0].evidence.time, quotes[0].evidence.time);
        assert_eq!(shown[1].origin.ip.as_deref(), Some("203.0.113.99"));
    }
}
