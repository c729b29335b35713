//! A selection's values and modifiers, made into tests of one field.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::{
    logic::Logic,
    modifier::{Modifiers, Operator},
    pattern::{Pattern, Shape, fold},
    predicate::{Number, Place, Predicate, RegexFlags, Source, Test, regex},
};
use crate::event::Field;

/// One value of a selection, before it is made into a test.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
}

/// Why a value does not suit: a message and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsuitable {
    pub(super) regex: bool,
    pub(super) message: String,
    pub(super) help: String,
}

fn unsuitable(message: impl Into<String>, help: impl Into<String>) -> Unsuitable {
    Unsuitable {
        regex: false,
        message: message.into(),
        help: help.into(),
    }
}

impl Operand {
    fn written(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(flag) => flag.to_string(),
            Self::Number(number) => number.written.clone(),
            Self::Text(text) => text.clone(),
        }
    }

    /// The test of this one value.
    pub(super) fn test(&self, modifiers: Modifiers) -> Result<Logic<Test>, Unsuitable> {
        match modifiers.operator {
            _ if modifiers.reference => self.reference(modifiers),
            Operator::Equals => Ok(self.equals(modifiers.cased)),
            Operator::Place(place) => {
                if matches!(self, Self::Null) {
                    let help = "null only compares by itself: leave the modifier out";
                    return Err(unsuitable("nothing cannot be part of a text", help));
                }
                let pattern = Pattern::parse(&self.written());
                let (before, behind) = (place != Place::Start, place != Place::End);
                Ok(Logic::Test(text(
                    pattern.widened(before, behind),
                    modifiers.cased,
                )))
            }
            Operator::Regex(flags) => self.regex(flags),
            Operator::Cidr => self.cidr(),
            Operator::Exists => match self {
                Self::Bool(true) => Ok(Logic::Test(Test::Exists)),
                Self::Bool(false) => Ok(Logic::Test(Test::Exists).not()),
                _ => Err(unsuitable(
                    "`exists` needs true or false",
                    "write `true` or `false`",
                )),
            },
            Operator::Compare(order) => {
                let number = match self {
                    Self::Number(number) => Some(number.clone()),
                    Self::Text(text) => number(text),
                    _ => None,
                };
                let wrong = || unsuitable("this is not a number", "write a number, as `400`");
                number
                    .map(|n| Logic::Test(Test::Compare(order, n)))
                    .ok_or_else(wrong)
            }
        }
    }

    fn equals(&self, cased: bool) -> Logic<Test> {
        match self {
            Self::Null => Logic::Test(Test::Filled).not(),
            Self::Bool(flag) => Logic::Test(Test::Bool(*flag)),
            Self::Number(number) => Logic::Test(Test::Numbers(vec![number.clone()])),
            Self::Text(written) => Logic::Test(text(Pattern::parse(written), cased)),
        }
    }

    fn regex(&self, flags: RegexFlags) -> Result<Logic<Test>, Unsuitable> {
        let expression = self.written();
        regex(&expression, flags).map_err(|message| Unsuitable {
            regex: true,
            message: format!("the regular expression is wrong: {message}"),
            help: "look-around and back-references are not supported".to_owned(),
        })?;
        Ok(Logic::Test(Test::Regex {
            expressions: vec![expression],
            flags,
        }))
    }

    fn cidr(&self) -> Result<Logic<Test>, Unsuitable> {
        let written = self.written();
        let network = IpNet::from_str(&written)
            .or_else(|_| IpAddr::from_str(&written).map(IpNet::from))
            .map_err(|_| {
                unsuitable(
                    format!("`{written}` is not a network"),
                    "write it like 10.0.0.0/8",
                )
            })?;
        Ok(Logic::Test(Test::Cidr(vec![network.trunc()])))
    }

    fn reference(&self, modifiers: Modifiers) -> Result<Logic<Test>, Unsuitable> {
        let name = self.written();
        let field = Field::parse(&name).map_err(|_| {
            let help = match super::field::nearest_field(&name) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`auditwatch fields` lists them".to_owned(),
            };
            unsuitable(format!("there is no field `{name}`"), help)
        })?;
        let place = match modifiers.operator {
            Operator::Place(place) => place,
            _ => Place::Whole,
        };
        Ok(Logic::Test(Test::Reference {
            place,
            field,
            cased: modifiers.cased,
        }))
    }
}

/// A number as JSON and YAML write it.
pub(super) fn number(written: &str) -> Option<Number> {
    let value: f64 = written.parse().ok()?;
    value.is_finite().then(|| Number {
        value: value + 0.0,
        written: written.to_owned(),
    })
}

fn text(pattern: Pattern, cased: bool) -> Test {
    let (place, text) = match pattern.shape() {
        Shape::Anything => return Test::Filled,
        Shape::Mixed(expression) => {
            let flags = RegexFlags {
                any_case: !cased,
                multi_line: false,
                dot_is_newline: true,
            };
            return Test::Regex {
                expressions: vec![expression],
                flags,
            };
        }
        Shape::Whole(text) => (Place::Whole, text),
        Shape::Start(text) => (Place::Start, text),
        Shape::End(text) => (Place::End, text),
        Shape::Inside(text) => (Place::Inside, text),
    };
    let text = if cased {
        text
    } else {
        fold(&text).into_owned()
    };
    Test::Text {
        place,
        texts: vec![text],
        cased,
    }
}

/// Joins the tests of several values of one key: with `all` each must hold, else one of them, and
/// then tests of the same kind become one.
pub(super) fn join(tests: Vec<Logic<Test>>, all: bool, source: &Source) -> Logic<Predicate> {
    let predicate = |test: &Test| Predicate {
        source: source.clone(),
        test: test.clone(),
    };
    if all {
        let each = tests
            .iter()
            .map(|test| test.map(&mut |test| predicate(test)))
            .collect();
        return Logic::all(each);
    }
    let mut joined: Vec<Logic<Test>> = Vec::new();
    for test in tests {
        let Logic::Test(test) = test else {
            joined.push(test);
            continue;
        };
        let merged = joined.iter_mut().any(|other| match other {
            Logic::Test(other) => merge(other, &test),
            _ => false,
        });
        if !merged {
            joined.push(Logic::Test(test));
        }
    }
    let mut each = joined
        .iter()
        .map(|test| test.map(&mut |test| predicate(&sorted(test))))
        .collect();
    drop_repeats(&mut each);
    Logic::any(each)
}

fn drop_repeats(parts: &mut Vec<Logic<Predicate>>) {
    let mut kept: Vec<Logic<Predicate>> = Vec::new();
    parts.retain(|part| {
        let fresh = !kept.contains(part);
        kept.push(part.clone());
        fresh
    });
}

/// Adds `test` to `other` if the two are lists of the same kind.
fn merge(other: &mut Test, test: &Test) -> bool {
    match (other, test) {
        (
            Test::Text {
                place,
                texts,
                cased,
            },
            Test::Text {
                place: also,
                texts: more,
                cased: equally,
            },
        ) if place == also && cased == equally => texts.extend(more.iter().cloned()),
        (
            Test::Regex { expressions, flags },
            Test::Regex {
                expressions: more,
                flags: equally,
            },
        ) if flags == equally => expressions.extend(more.iter().cloned()),
        (Test::Numbers(numbers), Test::Numbers(more)) => numbers.extend(more.iter().cloned()),
        (Test::Cidr(networks), Test::Cidr(more)) => networks.extend(more),
        _ => return false,
    }
    true
}

fn sorted(test: &Test) -> Test {
    let mut test = test.clone();
    match &mut test {
        Test::Text { texts: list, .. }
        | Test::Regex {
            expressions: list, ..
        } => {
            list.sort_unstable();
            list.dedup();
        }
        Test::Numbers(numbers) => {
            numbers.sort_by(|a, b| a.value.total_cmp(&b.value));
            numbers.dedup();
        }
        Test::Cidr(networks) => {
            networks.sort_unstable();
            networks.dedup();
        }
        _ => {}
    }
    test
}

/// A keyword as it may stand in raw JSON: as written, and as Go escapes it.
pub(super) fn keyword_spellings(operand: &Operand) -> Vec<Operand> {
    let written = operand.written();
    let mut escaped = String::new();
    for character in written.chars() {
        match character {
            '<' => escaped.push_str(r"\u003c"),
            '>' => escaped.push_str(r"\u003e"),
            '&' => escaped.push_str(r"\u0026"),
            '"' => escaped.push_str(r#"\""#),
            other => escaped.push(other),
        }
    }
    let mut spellings = vec![Operand::Text(written)];
    if spellings[0] != Operand::Text(escaped.clone()) {
        spellings.push(Operand::Text(escaped));
    }
    spellings
}
