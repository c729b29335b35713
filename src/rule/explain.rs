//! Why a rule does or does not match an event: each part of it, its truth, the event's values.

use std::fmt::{self, Write};

use super::{
    Rule, RuleSet,
    detection::{Clause, Item, Selection},
    predicate::{Predicate, Source},
};
use crate::event::{Event, REDACTED, redact};

/// A part of a rule and whether the event meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The part in the rule's own words.
    pub words: String,
    /// Whether the event meets it.
    pub holds: bool,
    /// The values of the event that it looks at, secrets taken out; `None` for what looks at no
    /// single field. Empty when the event does not have the field.
    pub values: Option<Vec<String>>,
    /// What it is made of.
    pub parts: Vec<Self>,
}

/// The most values of a field that are shown, and the most characters of each.
const VALUES_MAX: usize = 8;
const VALUE_CHARACTERS_MAX: usize = 200;

impl RuleSet {
    /// The rule with this name or id.
    pub fn rule(&self, name_or_id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.meta.name == name_or_id || rule.meta.id.eq_ignore_ascii_case(name_or_id)
        })
    }

    /// Why a rule does or does not match an event.
    pub fn explain(rule: &Rule, event: &Event<'_>) -> Explanation {
        let mut parts = Vec::new();
        for named in &rule.parts {
            let part = &named.part;
            let selections: Vec<Explanation> = part
                .selections
                .iter()
                .map(|selection| explain_selection(selection, event))
                .collect();
            let holds = part.condition.truth(&mut |place| selections[*place].holds);
            let words = match named.name.as_str() {
                "" => format!("condition: {}", part.condition_text),
                name => format!("filter {name}: {}", part.condition_text),
            };
            parts.push(Explanation {
                words,
                holds,
                values: None,
                parts: selections,
            });
        }
        let holds = parts.iter().all(|part| part.holds);
        Explanation {
            words: rule.meta.name.clone(),
            holds,
            values: None,
            parts,
        }
    }
}

fn explain_selection(selection: &Selection, event: &Event<'_>) -> Explanation {
    let inner = explain_clause(&selection.clause, event);
    let parts = if inner.words.is_empty() {
        inner.parts
    } else {
        vec![inner]
    };
    let holds = selection
        .clause
        .logic()
        .truth(&mut |test| holds(test, event));
    Explanation {
        words: selection.name.clone(),
        holds,
        values: None,
        parts,
    }
}

fn explain_clause(clause: &Clause, event: &Event<'_>) -> Explanation {
    let (parts, any) = match clause {
        Clause::Item(item) => return explain_item(item, event),
        Clause::All(parts) => (parts, false),
        Clause::Any(parts) => (parts, true),
    };
    let mut parts: Vec<Explanation> = parts
        .iter()
        .map(|part| explain_clause(part, event))
        .collect();
    for part in parts.iter_mut().filter(|part| part.words.is_empty()) {
        "all of".clone_into(&mut part.words);
    }
    let words = if any {
        "one of".to_owned()
    } else {
        String::new()
    };
    let holds = clause.logic().truth(&mut |test| holds(test, event));
    Explanation {
        words,
        holds,
        values: None,
        parts,
    }
}

fn explain_item(item: &Item, event: &Event<'_>) -> Explanation {
    let values = match &item.source {
        Source::Line => None,
        Source::Field(_) => Some(values(item, event)),
    };
    let holds = item.logic.truth(&mut |test| holds(test, event));
    Explanation {
        words: item.words.clone(),
        holds,
        values,
        parts: Vec::new(),
    }
}

/// The event's values of the fields that an item really looks at.
fn values(item: &Item, event: &Event<'_>) -> Vec<String> {
    let mut values = Vec::new();
    item.logic.map(&mut |predicate: &Predicate| {
        let Source::Field(field) = &predicate.source else {
            return;
        };
        if event.is_secret(field) {
            values = vec![REDACTED.to_owned()];
            return;
        }
        event.any(field, &mut |value| {
            let text = value
                .into_text()
                .map_or_else(|| "null".to_owned(), |text| shown(&text));
            if !values.contains(&text) {
                values.push(text);
            }
            values.len() >= VALUES_MAX
        });
    });
    values
}

fn shown(text: &str) -> String {
    let text = redact(text);
    let mut characters = text.chars().filter(|c| !c.is_control());
    let mut shown: String = characters.by_ref().take(VALUE_CHARACTERS_MAX).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

fn holds(predicate: &Predicate, event: &Event<'_>) -> bool {
    // Each expression was compiled once when the rule was loaded, so it compiles again.
    predicate.ready().is_ok_and(|ready| ready.holds(event))
}

impl fmt::Display for Explanation {
    /// One line for each part, indented, the truth first; no colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines(f, 0)
    }
}

impl Explanation {
    fn lines(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let truth = if self.holds { "yes" } else { "no " };
        write!(f, "{truth}  {}{}", "  ".repeat(depth), self.words)?;
        match self.values.as_deref() {
            None => {}
            Some([]) => f.write_str("    (the event has none)")?,
            Some(values) => write!(f, "    (the event has {})", values.join(", "))?,
        }
        f.write_char('\n')?;
        self.parts
            .iter()
            .try_for_each(|part| part.lines(f, depth + 1))
    }
}
