//! The sentence that says why something is odd, for somebody who was asleep a minute ago.

use std::{fmt::Write, sync::Arc};

use crate::{
    baseline::{Novel, Surge},
    rule::{Correlation, Kind, Rate},
    units::Span,
    window::Step,
};

/// Why a rule reports that needs one event only.
pub(super) const ONE_IS_ENOUGH: &str = "one such request is enough";

/// Why a correlation reports. `members` are the names of what it counts, in its order.
pub(super) fn correlation(rule: &Correlation, members: &[&str], step: Step) -> String {
    let (timespan, bounds) = (rule.timespan, rule.bounds);
    let number = if step.is_exact {
        String::new()
    } else {
        "at least ".to_owned()
    };
    let count = step.within;
    match rule.kind {
        Kind::EventCount => {
            let noun = if count == 1 {
                "matching request"
            } else {
                "matching requests"
            };
            format!(
                "{number}{count} {noun} within {timespan} ({})",
                limit(bounds.min, bounds.max)
            )
        }
        Kind::ValueCount => {
            let fields = rule.sources.first().map_or_else(String::new, |source| {
                listed(
                    &source
                        .values
                        .iter()
                        .map(crate::event::Field::name)
                        .collect::<Vec<_>>(),
                )
            });
            let noun = if count == 1 {
                "value"
            } else {
                "different values"
            };
            let limit = limit(bounds.min, bounds.max);
            format!("{number}{count} {noun} of {fields} within {timespan} ({limit})")
        }
        Kind::Temporal if count >= members.len() as u64 => {
            format!("{} within {timespan}", listed(members))
        }
        Kind::Temporal => {
            let limit = limit(bounds.min, bounds.max);
            format!("{count} of {} within {timespan} ({limit})", listed(members))
        }
        Kind::TemporalOrdered => format!("first {} within {timespan}", members.join(", then ")),
    }
}

/// Why a novelty reports. `by` and `of` are names with values.
pub(super) fn novelty(
    novel: Novel,
    by: &[(Arc<str>, Box<str>)],
    of: &[(Arc<str>, Box<str>)],
) -> String {
    let who = if by.is_empty() {
        ":".to_owned()
    } else {
        let values: Vec<&str> = by.iter().map(|(_, value)| &**value).collect();
        format!(" that {} used", listed(&values))
    };
    let mut what = String::new();
    for (place, (name, value)) in of.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        let _ = write!(what, "{comma}{name} {value}");
    }
    format!("first time in {}{who} {what}", coarse(novel.unseen))
}

/// Why a rate reports.
pub(super) fn rate(surge: &Surge, rate: &Rate) -> String {
    let Surge { count, usual, .. } = *surge;
    let every = rate.every;
    if usual < 0.5 {
        return format!("{count} requests in {every}, where there are hardly any usually");
    }
    let times = count as f64 / usual;
    let times = if times < 10.0 {
        format!("{times:.1}")
    } else {
        format!("{times:.0}")
    };
    format!("{count} requests in {every}, {times} times its usual {usual:.0}")
}

fn limit(min: u64, max: Option<u64>) -> String {
    match max {
        None => format!("threshold {min}"),
        Some(max) if max == min => format!("exactly {min} is the condition"),
        Some(max) if min <= 1 => format!("at most {max} is the condition"),
        Some(max) => format!("{min} to {max} is the condition"),
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The length in the one unit that tells enough of it: days from two days on, and so on.
fn coarse(span: Span) -> String {
    let seconds = span.micros() / 1_000_000;
    match seconds {
        172_800.. => format!("{}d", seconds / 86_400),
        7_200.. => format!("{}h", seconds / 3_600),
        120.. => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn novelty_reads_well() {
        let novel = Novel {
            unseen: Span::from_secs(12 * 86_400 + 5),
            is_return: false,
        };
        let pair = |name: &str, value: &str| (Arc::from(name), Box::from(value));
        let by = [pair("principal", "alice@acme.example")];
        let of = [pair("verb", "list"), pair("objectRef.resource", "secrets")];
        assert_eq!(
            novelty(novel, &by, &of),
            "first time in 12d that alice@acme.example used verb list, objectRef.resource secrets"
        );
        let novel = Novel {
            unseen: Span::from_secs(7_300),
            is_return: false,
        };
        assert_eq!(novelty(novel, &[], &of[..1]), "first time in 2h: verb list");
    }

    #[test]
    fn rate_reads_well() {
        let rate = Rate {
            by: Vec::new(),
            every: Span::from_secs(300),
            factor: 8.0,
            min: 100,
        };
        for (count, usual, text) in [
            (340, 24.3, "340 requests in 5m, 14 times its usual 24"),
            (200, 22.0, "200 requests in 5m, 9.1 times its usual 22"),
            (
                100,
                0.2,
                "100 requests in 5m, where there are hardly any usually",
            ),
        ] {
            assert_eq!(
                super::rate(
                    &Surge {
                        counted: 1,
                        count,
                        usual
                    },
                    &rate
                ),
                text
            );
        }
    }

    #[test]
    fn limits_and_lists() {
        assert_eq!(limit(10, None), "threshold 10");
        assert_eq!(limit(0, Some(4)), "at most 4 is the condition");
        assert_eq!(limit(4, Some(4)), "exactly 4 is the condition");
        assert_eq!(limit(4, Some(9)), "4 to 9 is the condition");
        assert_eq!(listed(&["probe", "grant", "use"]), "probe, grant and use");
    }
}
