//! Sigma's conditions: `selection and not 1 of filter_*`. A Pratt parser over names of selections.

use super::logic::Logic;
use crate::diagnostic::nearest;

/// How deep parentheses and `not` may nest.
const DEPTH_MAX: usize = 100;

/// What is wrong in a condition, and where in its text (bytes).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) code: &'static str,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) message: String,
    pub(super) help: String,
}

/// Reads a condition over the selections `names`; leaves are places in `names`.
///
/// # Errors
/// The first mistake.
pub(super) fn parse(text: &str, names: &[&str]) -> Result<Logic<usize>, Mistake> {
    let mut parser = Parser {
        text,
        names,
        at: 0,
        depth: 0,
    };
    let logic = parser.expression(0)?;
    let left = parser.peek();
    if left.is_empty() {
        return Ok(logic);
    }
    let message = match left {
        ")" => "this parenthesis closes nothing".to_owned(),
        _ => format!("expected `and` or `or` before `{left}`"),
    };
    Err(parser.mistake(left, message, "join selections with `and`, `or` and `not`"))
}

struct Parser<'t> {
    text: &'t str,
    names: &'t [&'t str],
    at: usize,
    depth: usize,
}

const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;

impl<'t> Parser<'t> {
    /// The next word or parenthesis; empty at the end.
    fn peek(&self) -> &'t str {
        let rest = self.text[self.at..].trim_start();
        match rest.chars().next() {
            None => &self.text[self.text.len()..],
            Some('(' | ')' | '|') => &rest[..1],
            Some(_) => {
                let stop = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '|');
                &rest[..rest.find(stop).unwrap_or(rest.len())]
            }
        }
    }

    fn next(&mut self) -> &'t str {
        let word = self.peek();
        self.at = self.place(word) + word.len();
        word
    }

    /// Where a word that was peeked stands.
    fn place(&self, word: &str) -> usize {
        word.as_ptr() as usize - self.text.as_ptr() as usize
    }

    fn mistake(&self, word: &str, message: impl Into<String>, help: impl Into<String>) -> Mistake {
        let (start, code) = (self.place(word), super::codes::BAD_CONDITION);
        Mistake {
            code,
            start,
            end: start + word.len(),
            message: message.into(),
            help: help.into(),
        }
    }

    fn expression(&mut self, binding: u8) -> Result<Logic<usize>, Mistake> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let help = "split the rule";
            return Err(self.mistake(self.peek(), "the condition is nested too deeply", help));
        }
        let mut left = self.operand()?;
        loop {
            let word = self.peek();
            let power = match word.to_ascii_lowercase().as_str() {
                "or" => OR,
                "and" => AND,
                "|" => return Err(self.aggregation(word)),
                _ => break,
            };
            if power <= binding {
                break;
            }
            self.next();
            let right = self.expression(power)?;
            left = join(power, left, right);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Logic<usize>, Mistake> {
        let word = self.next();
        match word.to_ascii_lowercase().as_str() {
            "" => {
                let help = "end it with a selection's name";
                Err(self.mistake(word, "the condition ends too early", help))
            }
            "not" => Ok(self.expression(NOT)?.not()),
            "(" => {
                let inner = self.expression(0)?;
                if self.peek() == ")" {
                    self.next();
                    return Ok(inner);
                }
                Err(self.mistake(word, "this parenthesis is never closed", "add `)`"))
            }
            ")" | "and" | "or" | "of" => {
                let message = format!("expected a selection's name, not `{word}`");
                Err(self.mistake(word, message, "put a selection's name, `not` or `(` here"))
            }
            "|" => Err(self.aggregation(word)),
            "1" | "any" | "all" if self.peek().eq_ignore_ascii_case("of") => {
                self.next();
                self.quantified(word.eq_ignore_ascii_case("all"))
            }
            number if number.bytes().all(|b| b.is_ascii_digit()) && self.peek() == "of" => {
                let help = "Sigma has `1 of` and `all of`; more of them needs a correlation";
                Err(self.mistake(word, format!("`{word} of` is not known"), help))
            }
            "them" => {
                let help = "write `1 of them` or `all of them`";
                Err(self.mistake(word, "`them` needs to know how many", help))
            }
            _ if word.contains('*') => {
                let help = format!("write `1 of {word}` or `all of {word}`");
                Err(self.mistake(word, "a pattern needs to know how many", help))
            }
            _ => self.named(word).map(Logic::Test),
        }
    }

    fn named(&self, word: &str) -> Result<usize, Mistake> {
        if let Some(found) = self.names.iter().position(|name| *name == word) {
            return Ok(found);
        }
        let near = nearest(word, self.names.iter().copied());
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", self.names.join(", ")),
        };
        let mistake = self.mistake(word, format!("there is no selection `{word}`"), help);
        Err(Mistake {
            code: super::codes::UNKNOWN_SELECTION,
            ..mistake
        })
    }

    /// What follows `1 of` or `all of`.
    fn quantified(&mut self, all: bool) -> Result<Logic<usize>, Mistake> {
        let word = self.next();
        if word.is_empty() || matches!(word, "(" | ")" | "|") {
            let help = "write `them`, a name or a pattern such as `filter_*` behind `of`";
            return Err(self.mistake(word, "expected what to choose from", help));
        }
        let found: Vec<_> = if word.eq_ignore_ascii_case("them") {
            self.chosen(|name| !name.starts_with('_'))
        } else if word.contains('*') {
            self.chosen(|name| like(name, word))
        } else {
            vec![Logic::Test(self.named(word)?)]
        };
        if found.is_empty() {
            let help = format!("there are {}", self.names.join(", "));
            let mistake = self.mistake(word, format!("no selection is named like `{word}`"), help);
            return Err(Mistake {
                code: super::codes::UNKNOWN_SELECTION,
                ..mistake
            });
        }
        Ok(if all {
            Logic::all(found)
        } else {
            Logic::any(found)
        })
    }

    fn chosen(&self, keep: impl Fn(&str) -> bool) -> Vec<Logic<usize>> {
        let places = self.names.iter().enumerate().filter(|(_, name)| keep(name));
        places.map(|(place, _)| Logic::Test(place)).collect()
    }

    fn aggregation(&self, word: &str) -> Mistake {
        let help = "write a second document with `correlation:` of type event_count or value_count";
        let mistake = self.mistake(word, "conditions cannot count", help);
        Mistake {
            code: super::codes::OLD_AGGREGATION,
            ..mistake
        }
    }
}

fn join(power: u8, left: Logic<usize>, right: Logic<usize>) -> Logic<usize> {
    match (power, left) {
        (AND, Logic::All(mut parts)) => {
            parts.push(right);
            Logic::All(parts)
        }
        (OR, Logic::Any(mut parts)) => {
            parts.push(right);
            Logic::Any(parts)
        }
        (AND, left) => Logic::All(vec![left, right]),
        (_, left) => Logic::Any(vec![left, right]),
    }
}

/// Whether a name is like a pattern with `*`.
fn like(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = [
        "selection",
        "filter_a",
        "filter_b",
        "sel_x",
        "_hidden",
        "of_note",
    ];

    fn shown(logic: &Logic<usize>) -> String {
        let join = |parts: &[Logic<usize>], by| {
            format!("({})", parts.iter().map(shown).collect::<Vec<_>>().join(by))
        };
        match logic {
            Logic::Test(place) => NAMES[*place].to_owned(),
            Logic::Not(inner) => format!("!{}", shown(inner)),
            Logic::All(parts) => join(parts, "&"),
            Logic::Any(parts) => join(parts, "|"),
        }
    }

    #[test]
    fn grammar() {
        for (text, meaning) in [
            ("selection", "selection"),
            ("selection and not filter_a", "(selection&!filter_a)"),
            (
                "selection or sel_x and filter_a",
                "(selection|(sel_x&filter_a))",
            ),
            (
                "(selection or sel_x) and filter_a",
                "((selection|sel_x)&filter_a)",
            ),
            ("not selection and sel_x", "(!selection&sel_x)"),
            ("not (selection and sel_x)", "!(selection&sel_x)"),
            ("not not selection", "selection"),
            (
                "selection AND NOT 1 OF filter_*",
                "(selection&!(filter_a|filter_b))",
            ),
            ("all of sel*", "(selection&sel_x)"),
            ("any of filter_*", "(filter_a|filter_b)"),
            ("1 of *_a", "filter_a"),
            ("all of f*_*b", "filter_b"),
            ("1 of selection", "selection"),
            ("all of them", "(selection&filter_a&filter_b&sel_x&of_note)"),
            ("1 of _*", "_hidden"),
            ("selection\n  and\tsel_x", "(selection&sel_x)"),
            ("of_note", "of_note"),
            ("selection and(sel_x)", "(selection&sel_x)"),
            (
                "selection and sel_x and filter_a",
                "(selection&sel_x&filter_a)",
            ),
        ] {
            let logic = parse(text, &NAMES).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"));
            assert_eq!(shown(&logic), meaning, "{text}");
        }
    }

    #[test]
    fn mistakes_know_their_place() {
        for (text, wrong, says) in [
            ("", "", "ends too early"),
            ("selection and", "", "ends too early"),
            ("selection sel_x", "sel_x", "expected `and` or `or`"),
            (
                "selection and selecton",
                "selecton",
                "no selection `selecton`",
            ),
            ("(selection", "(", "never closed"),
            ("selection)", ")", "closes nothing"),
            ("and selection", "and", "expected a selection's name"),
            ("2 of them", "2", "`2 of` is not known"),
            ("filter_*", "filter_*", "needs to know how many"),
            ("them", "them", "needs to know how many"),
            ("1 of nope_*", "nope_*", "no selection is named like"),
            ("1 of", "", "expected what to choose from"),
            ("selection | count() > 5", "|", "cannot count"),
        ] {
            let mistake = parse(text, &NAMES).unwrap_err();
            assert_eq!(&text[mistake.start..mistake.end], wrong, "{text}");
            assert!(
                mistake.message.contains(says),
                "{text}: {}",
                mistake.message
            );
        }
        let deep = "(".repeat(5_000);
        assert!(
            parse(&deep, &NAMES)
                .unwrap_err()
                .message
                .contains("too deeply")
        );
        assert_eq!(
            parse("selecton", &NAMES).unwrap_err().help,
            "did you mean `selection`?"
        );
    }
}
