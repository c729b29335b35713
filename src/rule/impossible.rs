//! Conditions that no event can meet: they are mistakes that would otherwise stay silent for ever.
//!
//! Only what is certain is reported. A condition is spread into its conjunctions; each that asks a
//! field for what excludes itself is impossible, and so is the whole when all of them are.

use super::{
    logic::Logic,
    operand::number,
    predicate::{Order, Place, Predicate, Source, Test},
};
use crate::event::{Field, Outcome, Value};

/// Conditions with more conjunctions are not looked into.
const CONJUNCTIONS_MAX: usize = 512;

/// The words that a field can have, for fields with a closed set.
pub(super) fn words_of(field: &Field) -> Option<&'static [&'static str]> {
    const OUTCOMES: [&str; Outcome::ALL.len()] = {
        let mut names = [""; Outcome::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Outcome::ALL[at].name();
            at += 1;
        }
        names
    };
    Some(match field.name() {
        "stage" => &[
            "ResponseStarted",
            "ResponseComplete",
            "Panic",
            "RequestReceived",
        ],
        "level" => &["Metadata", "Request", "RequestResponse", "None"],
        "outcome" => &OUTCOMES,
        "principal.kind" => &[
            "user",
            "serviceaccount",
            "node",
            "control-plane",
            "anonymous",
            "unauthenticated",
        ],
        "origin.scope" => &["public", "private", "loopback", "link-local", "unknown"],
        "credential.kind" => &["token", "certificate", "legacy-token", "other"],
        _ => return None,
    })
}

/// Words of [`words_of`] that rules never see: they look at a request when it is answered, and a
/// level of None is not recorded.
const NEVER_SEEN: [(&str, &str); 2] = [("stage", "RequestReceived"), ("level", "None")];

/// Why no event can meet the expression; `None` when some could, or when that is not known.
pub(super) fn reason(logic: &Logic<Predicate>) -> Option<String> {
    let conjunctions = product(logic, true, vec![Vec::new()])?;
    let mut first = None;
    for conjunction in &conjunctions {
        let why = conflict(conjunction)?;
        first.get_or_insert(why);
    }
    first
}

type Literal<'l> = (&'l Predicate, bool);

/// Each of `heads` with each conjunction of an expression behind it.
fn product<'l>(
    logic: &'l Logic<Predicate>,
    positive: bool,
    heads: Vec<Vec<Literal<'l>>>,
) -> Option<Vec<Vec<Literal<'l>>>> {
    match (logic, positive) {
        (Logic::Test(predicate), _) => Some(
            heads
                .into_iter()
                .map(|mut head| {
                    head.push((predicate, positive));
                    head
                })
                .collect(),
        ),
        (Logic::Not(inner), _) => product(inner, !positive, heads),
        (Logic::All(parts), true) | (Logic::Any(parts), false) => {
            let mut heads = heads;
            for part in parts {
                heads = product(part, positive, heads)?;
            }
            Some(heads)
        }
        (Logic::All(parts), false) | (Logic::Any(parts), true) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(product(part, positive, heads.clone())?);
                if all.len() > CONJUNCTIONS_MAX {
                    return None;
                }
            }
            Some(all)
        }
    }
}

fn conflict(literals: &[Literal<'_>]) -> Option<String> {
    let mut fields: Vec<&Field> = Vec::new();
    for (predicate, positive) in literals {
        if let Source::Field(field) = &predicate.source
            && !fields.contains(&field)
        {
            fields.push(field);
        }
        if *positive && literals.contains(&(predicate, false)) {
            let name = source_name(&predicate.source);
            return Some(format!(
                "the same test of {name} must both hold and not hold"
            ));
        }
    }
    fields.into_iter().find_map(|field| {
        let tests: Vec<(&Test, bool)> = literals
            .iter()
            .filter(|(predicate, _)| predicate.source == Source::Field(field.clone()))
            .map(|(predicate, positive)| (&predicate.test, *positive))
            .collect();
        field_conflict(field, &tests)
    })
}

fn source_name(source: &Source) -> String {
    match source {
        Source::Field(field) => format!("`{}`", field.name()),
        Source::Line => "a keyword".to_owned(),
    }
}

fn field_conflict(field: &Field, tests: &[(&Test, bool)]) -> Option<String> {
    let name = field.name();
    let asks_value = |but_exists: bool| {
        tests
            .iter()
            .any(|(test, positive)| *positive && !(but_exists && **test == Test::Exists))
    };
    if tests.contains(&(&Test::Exists, false)) && asks_value(false)
        || tests.contains(&(&Test::Filled, false)) && asks_value(true)
    {
        return Some(format!("`{name}` must be absent and have a value"));
    }
    let single = field
        .entry()
        .is_some_and(|entry| matches!(entry.kind, "text" | "number" | "bool"));
    if !single || !asks_value(false) {
        return None;
    }
    if let Some(why) = empty_range(name, tests) {
        return Some(why);
    }
    let candidates = candidates(field, tests)?;
    let ready: Vec<_> = tests
        .iter()
        .filter(|(test, _)| decidable(test))
        .filter_map(|(test, positive)| {
            let source = Source::Field(field.clone());
            let predicate = Predicate {
                source,
                test: (*test).clone(),
            };
            Some((predicate.ready().ok()?, *positive))
        })
        .collect();
    let meets_all = |values: &[Value<'_>]| {
        ready
            .iter()
            .all(|(test, positive)| values.iter().any(|value| test.meets(value)) == *positive)
    };
    let possible = candidates.iter().any(|values| {
        let texts: Vec<_> = values
            .iter()
            .map(|value| Value::Text(value.into()))
            .collect();
        let numeric = values.iter().filter(|value| number(value).is_some());
        let numbers: Vec<_> = numeric.map(|value| Value::Number(value)).collect();
        meets_all(&texts) || meets_all(&numbers)
    });
    if possible {
        return None;
    }
    let unseen = NEVER_SEEN.iter().find(|(field, word)| {
        *field == name
            && tests
                .iter()
                .any(|(test, positive)| *positive && names(test, word))
    });
    Some(match unseen {
        Some((_, word)) if name == "stage" => {
            format!("rules look at a request when it is answered; `stage` is never `{word}`")
        }
        Some((_, word)) => format!("`{name}` is never `{word}`"),
        None => format!("`{name}` has one value, which cannot meet all of these at once"),
    })
}

fn names(test: &Test, word: &str) -> bool {
    match test {
        Test::Text {
            place: Place::Whole,
            texts,
            ..
        } => texts.iter().any(|text| text.eq_ignore_ascii_case(word)),
        _ => false,
    }
}

/// The values that the field could have, when the tests leave only some. For the verb, which reads
/// as two for streams, a candidate may be several values.
fn candidates(field: &Field, tests: &[(&Test, bool)]) -> Option<Vec<Vec<String>>> {
    let listed = tests.iter().find_map(|(test, positive)| match test {
        Test::Text {
            place: Place::Whole,
            texts,
            ..
        } if *positive => Some(texts.clone()),
        Test::Numbers(numbers) if *positive => Some(
            numbers
                .iter()
                .map(|number| number.written.clone())
                .collect(),
        ),
        _ => None,
    });
    let closed = words_of(field).map(|words| words.iter().map(|word| (*word).to_owned()).collect());
    let listed: Vec<String> = listed.or(closed)?;
    let seen = |word: &str| {
        !NEVER_SEEN
            .iter()
            .any(|(name, never)| *name == field.name() && never.eq_ignore_ascii_case(word))
    };
    let mut candidates: Vec<Vec<String>> = listed
        .into_iter()
        .filter(|word| seen(word))
        .map(|word| vec![word])
        .collect();
    if field.name() == "verb" {
        candidates.push(vec!["get".to_owned(), "create".to_owned()]);
    }
    Some(candidates)
}

/// Whether a test's answer for a folded text is its answer for every casing of it.
fn decidable(test: &Test) -> bool {
    match test {
        Test::Text { cased, .. } => !cased,
        Test::Regex { flags, .. } => flags.any_case,
        Test::Reference { .. } => false,
        _ => true,
    }
}

fn empty_range(name: &str, tests: &[(&Test, bool)]) -> Option<String> {
    let bounds = |wanted: [Order; 2]| {
        tests.iter().filter_map(move |(test, positive)| match test {
            Test::Compare(order, bound) if *positive && wanted.contains(order) => {
                Some((bound.value, *order))
            }
            _ => None,
        })
    };
    let uppers: Vec<_> = bounds([Order::Less, Order::LessOrEqual]).collect();
    for (lower, lower_order) in bounds([Order::Greater, Order::GreaterOrEqual]) {
        for &(upper, upper_order) in &uppers {
            let touching =
                lower_order == Order::GreaterOrEqual && upper_order == Order::LessOrEqual;
            if lower > upper || (lower >= upper && !touching) {
                return Some(format!(
                    "`{name}` cannot be above {lower} and below {upper}"
                ));
            }
        }
    }
    None
}
