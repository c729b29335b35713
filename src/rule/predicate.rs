//! One test of one field, first as a plain value that can be compared, then ready to run.

use std::{borrow::Cow, net::IpAddr, str::FromStr};

use aho_corasick::{AhoCorasick, MatchKind};
use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use smallvec::SmallVec;

use super::pattern::fold;
use crate::event::{Event, Field, FieldGroup, Value};

/// What a test looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// The values of a field: the test holds when any of them meets it.
    Field(Field),
    /// The event's whole raw text (keywords).
    Line,
}

/// Where in a text something is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Whole,
    Start,
    End,
    Inside,
}

/// How a number compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A test as the rule says it. Lists are sorted and without repeats; texts of tests that do not
/// look at case are folded, so that equal tests are equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    /// One of the texts stands at the place.
    Text {
        place: Place,
        texts: Vec<String>,
        cased: bool,
    },
    /// One of the regular expressions is found.
    Regex {
        expressions: Vec<String>,
        flags: RegexFlags,
    },
    /// The number is one of these; a text is one of them as they are written.
    Numbers(Vec<Number>),
    /// The number compares so; a text that is a number too.
    Compare(Order, Number),
    /// The truth value, or its word.
    Bool(bool),
    /// The address lies in one of the networks.
    Cidr(Vec<IpNet>),
    /// There is any value, also null.
    Exists,
    /// There is any value but null.
    Filled,
    /// The other field has a value that stands at the place.
    Reference {
        place: Place,
        field: Field,
        cased: bool,
    },
}

/// How a regular expression is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct RegexFlags {
    pub(super) any_case: bool,
    pub(super) multi_line: bool,
    pub(super) dot_is_newline: bool,
}

/// A number as it is written; equal and hashed by its value.
#[derive(Clone, Debug)]
pub(super) struct Number {
    pub(super) value: f64,
    pub(super) written: String,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.value.to_bits() == other.value.to_bits()
    }
}

impl Eq for Number {}

impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.value.to_bits().hash(state);
    }
}

/// One test of one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Predicate {
    pub(super) source: Source,
    pub(super) test: Test,
}

impl Predicate {
    /// The texts that it compares a whole value with.
    pub(super) fn whole_texts(&self) -> &[String] {
        match &self.test {
            Test::Text {
                place: Place::Whole,
                texts,
                ..
            } => texts,
            _ => &[],
        }
    }

    /// What its truth depends on, so that it can be remembered.
    pub(super) fn group(&self) -> FieldGroup {
        let Source::Field(field) = &self.source else {
            return FieldGroup::Free;
        };
        match &self.test {
            Test::Reference { field: other, .. } if other.group() != field.group() => {
                FieldGroup::Free
            }
            _ => field.group(),
        }
    }

    /// How dear it is to find out: cheaper ones are asked first.
    pub(super) fn cost(&self) -> u32 {
        let source = match (&self.source, self.group()) {
            (Source::Line, _) => 400,
            (_, FieldGroup::What) => return 0,
            (_, FieldGroup::Who) => return 10,
            (Source::Field(field), FieldGroup::Free) => match field.name().split('.').next() {
                Some("requestObject" | "responseObject" | "pod" | "binding" | "role" | "csr") => {
                    200
                }
                Some("annotations" | "user" | "credential" | "exec") => 60,
                _ => 30,
            },
        };
        source
            + match &self.test {
                Test::Regex { .. } => 20,
                Test::Text {
                    place: Place::Inside,
                    ..
                }
                | Test::Reference { .. } => 10,
                _ => 0,
            }
    }

    /// The test ready to run.
    ///
    /// # Errors
    /// What is wrong with a regular expression.
    pub(super) fn ready(&self) -> Result<Ready, String> {
        Ok(Ready {
            source: self.source.clone(),
            matcher: Matcher::new(&self.test)?,
        })
    }
}

/// A predicate that is ready to run.
#[derive(Debug)]
pub(super) struct Ready {
    source: Source,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    /// Few whole texts.
    Few {
        texts: Vec<String>,
        cased: bool,
    },
    /// Many whole texts, sorted.
    Many {
        texts: hashbrown::HashSet<String>,
        cased: bool,
    },
    Affix {
        place: Place,
        texts: Vec<String>,
        cased: bool,
    },
    Inside {
        finder: AhoCorasick,
        cased: bool,
    },
    Regex(Vec<Regex>),
    Numbers(Vec<Number>),
    Compare(Order, f64),
    Bool(bool),
    Cidr(Vec<IpNet>),
    Exists,
    Filled,
    Reference {
        place: Place,
        field: Field,
        cased: bool,
    },
}

/// How many bytes a compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// How many values of another field are compared with.
const REFERENCES_MAX: usize = 256;

impl Matcher {
    fn new(test: &Test) -> Result<Self, String> {
        Ok(match test {
            Test::Text {
                place: Place::Whole,
                texts,
                cased,
            } if texts.len() <= 4 => Self::Few {
                texts: texts.clone(),
                cased: *cased,
            },
            Test::Text {
                place: Place::Whole,
                texts,
                cased,
            } => Self::Many {
                texts: texts.iter().cloned().collect(),
                cased: *cased,
            },
            Test::Text {
                place: Place::Inside,
                texts,
                cased,
            } => {
                let finder = AhoCorasick::builder()
                    .ascii_case_insensitive(!cased)
                    .match_kind(MatchKind::Standard)
                    .build(texts)
                    .map_err(|error| error.to_string())?;
                Self::Inside {
                    finder,
                    cased: *cased,
                }
            }
            Test::Text {
                place,
                texts,
                cased,
            } => Self::Affix {
                place: *place,
                texts: texts.clone(),
                cased: *cased,
            },
            Test::Regex { expressions, flags } => {
                let each = expressions
                    .iter()
                    .map(|expression| regex(expression, *flags));
                Self::Regex(each.collect::<Result<_, _>>()?)
            }
            Test::Numbers(numbers) => Self::Numbers(numbers.clone()),
            Test::Compare(order, bound) => Self::Compare(*order, bound.value),
            Test::Bool(flag) => Self::Bool(*flag),
            Test::Cidr(networks) => Self::Cidr(networks.clone()),
            Test::Exists => Self::Exists,
            Test::Filled => Self::Filled,
            Test::Reference {
                place,
                field,
                cased,
            } => Self::Reference {
                place: *place,
                field: field.clone(),
                cased: *cased,
            },
        })
    }
}

/// Compiles a regular expression within bounds.
///
/// # Errors
/// What is wrong, in one line.
pub(super) fn regex(expression: &str, flags: RegexFlags) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .case_insensitive(flags.any_case)
        .multi_line(flags.multi_line)
        .dot_matches_new_line(flags.dot_is_newline)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .nest_limit(100)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let line = text.lines().rev().find(|line| !line.trim().is_empty());
            line.unwrap_or("it cannot be read")
                .trim()
                .trim_start_matches("error: ")
                .to_owned()
        })
}

impl Ready {
    /// The fields that it reads; none for a test of the whole line.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        let own = match &self.source {
            Source::Field(field) => Some(field),
            Source::Line => None,
        };
        let other = match &self.matcher {
            Matcher::Reference { field, .. } => Some(field),
            _ => None,
        };
        own.into_iter().chain(other)
    }

    /// Whether the event meets the test.
    pub(super) fn holds(&self, event: &Event<'_>) -> bool {
        match &self.source {
            Source::Line => self.text_matches(event.raw_line()),
            Source::Field(field) => {
                if let Matcher::Reference {
                    place,
                    field: other,
                    cased,
                } = &self.matcher
                {
                    return refers(event, field, other, *place, *cased);
                }
                event.any(field, &mut |value| self.meets(&value))
            }
        }
    }

    /// Whether one value meets the test. A reference to another field never does.
    pub(super) fn meets(&self, value: &Value<'_>) -> bool {
        match (&self.matcher, value) {
            (Matcher::Exists, _) => true,
            (_, Value::Null) => false,
            (Matcher::Filled, _) => true,
            (Matcher::Numbers(numbers), Value::Number(raw)) => {
                let value = f64::from_str(raw);
                value.is_ok_and(|value| numbers.iter().any(|n| n.value.total_cmp(&value).is_eq()))
            }
            (Matcher::Numbers(numbers), Value::Text(text)) => {
                numbers.iter().any(|number| number.written == *text)
            }
            (Matcher::Compare(order, bound), Value::Number(text)) => compares(text, *order, *bound),
            (Matcher::Compare(order, bound), Value::Text(text)) => compares(text, *order, *bound),
            (Matcher::Bool(flag), Value::Bool(found)) => flag == found,
            (Matcher::Bool(flag), Value::Text(text)) => {
                text.eq_ignore_ascii_case(if *flag { "true" } else { "false" })
            }
            (Matcher::Numbers(_) | Matcher::Compare(..) | Matcher::Bool(_), _) => false,
            (_, Value::Text(text)) => self.text_matches(text),
            (_, Value::Number(raw) | Value::Object(raw)) => self.text_matches(raw),
            (_, Value::Bool(flag)) => self.text_matches(if *flag { "true" } else { "false" }),
        }
    }

    fn text_matches(&self, text: &str) -> bool {
        let folded = |cased: bool| {
            if cased {
                Cow::Borrowed(text)
            } else {
                fold(text)
            }
        };
        match &self.matcher {
            Matcher::Few { texts, cased } => {
                if !cased && text.is_ascii() {
                    texts.iter().any(|wanted| wanted.eq_ignore_ascii_case(text))
                } else {
                    let text = folded(*cased);
                    texts.iter().any(|wanted| *wanted == text)
                }
            }
            Matcher::Many { texts, cased } => texts.contains(&*folded(*cased)),
            Matcher::Affix {
                place,
                texts,
                cased,
            } => {
                let text = folded(*cased);
                texts.iter().any(|wanted| stands(&text, wanted, *place))
            }
            Matcher::Inside { finder, cased } => {
                if *cased || text.is_ascii() {
                    finder.is_match(text)
                } else {
                    finder.is_match(&*fold(text))
                }
            }
            Matcher::Regex(expressions) => expressions.iter().any(|regex| regex.is_match(text)),
            Matcher::Cidr(networks) => text.parse::<IpAddr>().is_ok_and(|ip| {
                let ip = ip.to_canonical();
                networks.iter().any(|network| network.contains(&ip))
            }),
            _ => false,
        }
    }
}

fn stands(text: &str, wanted: &str, place: Place) -> bool {
    match place {
        Place::Whole => text == wanted,
        Place::Start => text.starts_with(wanted),
        Place::End => text.ends_with(wanted),
        Place::Inside => text.contains(wanted),
    }
}

fn compares(text: &str, order: Order, bound: f64) -> bool {
    // Rust would read the words `inf` and `nan` as numbers too.
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    let Some(value) = f64::from_str(text).ok().filter(|_| digits) else {
        return false;
    };
    match order {
        Order::Less => value < bound,
        Order::LessOrEqual => value <= bound,
        Order::Greater => value > bound,
        Order::GreaterOrEqual => value >= bound,
    }
}

fn refers(event: &Event<'_>, field: &Field, other: &Field, place: Place, cased: bool) -> bool {
    let written = |value: Value<'_>| {
        let text = value.into_text()?;
        Some(if cased {
            text.into_owned()
        } else {
            fold(&text).into_owned()
        })
    };
    let mut others: SmallVec<[String; 2]> = SmallVec::new();
    event.any(other, &mut |value| {
        others.extend(written(value));
        others.len() >= REFERENCES_MAX
    });
    event.any(field, &mut |value| {
        written(value).is_some_and(|text| others.iter().any(|wanted| stands(&text, wanted, place)))
    })
}
