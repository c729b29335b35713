//! The sentence that says why something is odd, for somebody who was asleep a minute ago.

use std::{borrow::Borrow, fmt::Write, sync::Arc};

use crate::{
    baseline::{Novel, Surge},
    rule::{Correlation, Kind, Rate},
    units::{Span, Time},
    window::{Missing, Step},
};

/// Why a rule reports that needs one event only.
pub(super) const ONE_IS_ENOUGH: &str = "one such request is enough";

/// Why a correlation reports. `members` are the titles of what it counts, in its order; `steps`
/// are the places of those that occurred, and when, for a kind that tells them apart.
pub(super) fn correlation(
    rule: &Correlation,
    members: &[&str],
    steps: &[(usize, Time)],
    step: Step,
) -> String {
    let (timespan, bounds) = (rule.timespan, rule.bounds);
    let number = if step.is_exact {
        String::new()
    } else {
        "at least ".to_owned()
    };
    let count = step.within;
    match rule.kind {
        Kind::EventCount if bounds.min <= 1 && bounds.max.is_none() => ONE_IS_ENOUGH.to_owned(),
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
        Kind::Temporal => {
            let all = members.len() as u64;
            let bound = if count >= all {
                format!("within {timespan}")
            } else {
                let limit = limit(bounds.min, bounds.max);
                format!("{count} of {all} within {timespan}, {limit}")
            };
            // Events that came late may have completed a timespan that ended before.
            let steps = if steps.len() as u64 >= count {
                listed(&dated(members, steps))
            } else {
                listed(&quoted(members))
            };
            format!("{steps} ({bound})")
        }
        Kind::TemporalOrdered => {
            let steps = dated(members, steps).join(", then ");
            format!("{steps} (within {timespan})")
        }
    }
}

/// Why a novelty reports. `by` and `of` are names with values; `more` is how many other values of
/// the same request are as new.
pub(super) fn novelty(
    novel: Novel,
    by: &[(Arc<str>, Box<str>)],
    of: &[(Arc<str>, Box<str>)],
    more: usize,
) -> String {
    let pairs = |pairs: &[(Arc<str>, Box<str>)]| {
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        listed(&pairs)
    };
    let mut why = pairs(of);
    let (verb, together) = if of.len() > 1 {
        ("were", " together")
    } else {
        ("was", "")
    };
    let whose = if by.is_empty() {
        String::new()
    } else {
        format!(" with {}", pairs(by))
    };
    let span = coarse(novel.held.unwrap_or(novel.unseen));
    let _ = match (novel.is_return, by.is_empty()) {
        _ if novel.held.is_some() => write!(
            why,
            " {verb} first seen{together}{whose} {span} ago, and not acknowledged since"
        ),
        (true, _) => write!(why, " {verb} not seen{together}{whose} for {span}"),
        (false, true) => write!(why, " {verb} never seen{together} before in {span}"),
        (false, false) => write!(
            why,
            " {verb} never seen{together} before{whose}, known for {span}"
        ),
    };
    if more > 0 {
        let _ = write!(why, "; {more} more such in the same request");
    }
    why
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

/// Why a silence reports: `heard every 10s for 3h, 1081 times, then nothing from 10:02:11 to
/// 10:09:40 (7m29s); more than 2m is a silence`.
pub(super) fn silence<P>(missing: &Missing<P>, after: Span) -> String {
    let run = &missing.run;
    let heard = format!(
        "heard every {} for {}, {} times",
        coarse(run.pause().max(Span::from_secs(1))),
        coarse(run.last.since(run.first)),
        run.heard
    );
    let silence = match &missing.back {
        Some((back, _)) => {
            let ends = moments(&[run.last, *back]);
            let length = Span::from_secs(back.since(run.last).micros() / 1_000_000);
            format!("nothing from {} to {} ({length})", ends[0], ends[1])
        }
        None => format!("nothing since {}", moments(&[run.last])[0]),
    };
    format!("{heard}, then {silence}; more than {after} is a silence")
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
pub(super) fn listed<S: AsRef<str> + Borrow<str>>(names: &[S]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => format!("{} and {}", first.join(", "), last.as_ref()),
    }
}

/// What occurred and when, each a part of a sentence: without the words before a colon with which
/// all titles begin.
fn dated(members: &[&str], steps: &[(usize, Time)]) -> Vec<String> {
    let heading = |title: &&str| title.find(": ").map(|colon| title[..colon + 2].to_owned());
    let heading = members.first().and_then(heading).unwrap_or_default();
    let is_common = members.iter().all(|title| title.starts_with(&heading));
    let begins = if is_common { heading.len() } else { 0 };
    let times: Vec<Time> = steps.iter().map(|(_, time)| *time).collect();
    let dated = steps.iter().zip(moments(&times));
    dated
        .filter_map(|((place, _), moment)| {
            let title = members.get(*place)?.get(begins..)?;
            Some(format!("{} at {moment}", lower(title)))
        })
        .collect()
}

/// Titles as words of a sentence, in quotation marks, because they are sentences themselves.
fn quoted(titles: &[&str]) -> Vec<String> {
    titles
        .iter()
        .map(|title| format!("'{}'", lower(title)))
        .collect()
}

/// A title inside a sentence: its first letter small, unless its first word is a name like `API`.
pub(super) fn lower(title: &str) -> String {
    let mut letters = title.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), second) if second.is_none_or(|second| !second.is_uppercase()) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => title.to_owned(),
    }
}

/// Moments to the second: `11:05:01`, and with the date where they are not of one day.
pub(super) fn moments(times: &[Time]) -> Vec<String> {
    let texts: Vec<String> = times.iter().map(Time::to_string).collect();
    let day = |text: &str| text.get(..10).map(str::to_owned);
    let is_one_day = texts.windows(2).all(|two| day(&two[0]) == day(&two[1]));
    let short = |text: &String| {
        let (day, clock) = (text.get(..10)?, text.get(11..19)?);
        Some(if is_one_day {
            clock.to_owned()
        } else {
            format!("{day} {clock}")
        })
    };
    texts
        .iter()
        .map(|text| short(text).unwrap_or_else(|| text.clone()))
        .collect()
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
    use crate::window::Run;

    #[test]
    fn silence_reads_well() {
        let at = |text| Time::parse(text).unwrap();
        let mut missing = Missing {
            run: Run {
                first: at("2026-11-23T07:02:11Z"),
                last: at("2026-11-23T10:02:11Z"),
                heard: 1_081,
                payload: (),
            },
            back: Some((at("2026-11-23T10:09:40Z"), ())),
            was_told: false,
        };
        let after = Span::from_secs(120);
        assert_eq!(
            silence(&missing, after),
            "heard every 10s for 3h, 1081 times, then nothing from 10:02:11 to 10:09:40 (7m29s); \
             more than 2m is a silence"
        );
        missing.back = None;
        let why = silence(&missing, after);
        assert!(why.contains("then nothing since 10:02:11;"), "{why}");
    }

    #[test]
    fn novelty_reads_well() {
        let novel = Novel {
            unseen: Span::from_secs(12 * 86_400 + 5),
            is_return: false,
            held: None,
        };
        let pair = |name: &str, value: &str| (Arc::from(name), Box::from(value));
        let by = [pair("principal", "alice@acme.example")];
        let of = [pair("verb", "list"), pair("objectRef.resource", "secrets")];
        assert_eq!(
            novelty(novel, &by, &of, 0),
            "verb list and objectRef.resource secrets were never seen together before with \
             principal alice@acme.example, known for 12d"
        );
        assert_eq!(
            novelty(novel, &by, &of[..1], 2),
            "verb list was never seen before with principal alice@acme.example, known for 12d; \
             2 more such in the same request"
        );
        let held = Novel {
            held: Some(Span::from_secs(3 * 86_400)),
            ..novel
        };
        assert_eq!(
            novelty(held, &by, &of[..1], 0),
            "verb list was first seen with principal alice@acme.example 3d ago, and not \
             acknowledged since"
        );
        let novel = Novel {
            unseen: Span::from_secs(7_300),
            is_return: false,
            held: None,
        };
        let of = &of[..1];
        assert_eq!(
            novelty(novel, &[], of, 0),
            "verb list was never seen before in 2h"
        );
        let novel = Novel {
            is_return: true,
            ..novel
        };
        assert_eq!(
            novelty(novel, &by, of, 0),
            "verb list was not seen with principal alice@acme.example for 2h"
        );
    }

    #[test]
    fn titles_and_moments_fit_a_sentence() {
        assert_eq!(
            ["Binding made", "API used", "A try", "Écrit", "E"].map(lower),
            ["binding made", "API used", "a try", "écrit", "e"]
        );
        let at = |seconds: i64| Time::from_micros((1_795_431_600 + seconds) * 1_000_000);
        assert_eq!(moments(&[at(1), at(62)]), ["11:00:01", "11:01:02"]);
        assert_eq!(
            moments(&[at(0), at(86_400)]),
            ["2026-11-23 11:00:00", "2026-11-24 11:00:00"]
        );
    }

    #[test]
    fn steps_say_when_each_was() {
        let at = |seconds: i64| Time::from_micros((1_795_431_600 + seconds) * 1_000_000);
        let members = [
            "Step: looked around",
            "Step: took credentials",
            "Step: got in",
        ];
        let steps = [(2, at(5)), (0, at(61))];
        assert_eq!(
            dated(&members, &steps),
            ["got in at 11:00:05", "looked around at 11:01:01"]
        );
        assert_eq!(
            dated(&["Probe", "Grant: wide"], &steps[1..]),
            ["probe at 11:01:01"]
        );
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
