//! `field|modifier|modifier`: what a selection's key asks for.

use super::{
    codes,
    predicate::{Order, Place, RegexFlags},
};
use crate::diagnostic::nearest;

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// No modifier: equal, with wildcards.
    Equals,
    Place(Place),
    Regex(RegexFlags),
    Cidr,
    Exists,
    Compare(Order),
}

/// A key's modifiers, understood.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a modifier that is there or not"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modifiers {
    pub(super) operator: Operator,
    /// `all`: each value must be found, rather than one.
    pub(super) all: bool,
    /// `cased`: letter case counts.
    pub(super) cased: bool,
    /// `neq`: none of the values.
    pub(super) differs: bool,
    /// `fieldref`: the values name other fields.
    pub(super) reference: bool,
    /// `expand`: `%name%` stands for a list.
    pub(super) expand: bool,
}

/// All modifiers that we know.
const KNOWN: [&str; 18] = [
    "all",
    "cased",
    "cidr",
    "contains",
    "endswith",
    "exists",
    "expand",
    "fieldref",
    "gt",
    "gte",
    "i",
    "lt",
    "lte",
    "m",
    "neq",
    "re",
    "s",
    "startswith",
];

/// Sigma's other modifiers, with why they mean nothing here.
const UNSUITABLE: [(&str, &str); 15] = [
    ("base64", "field values are not searched for encoded text"),
    (
        "base64offset",
        "field values are not searched for encoded text",
    ),
    ("utf16", "audit events are UTF-8"),
    ("utf16le", "audit events are UTF-8"),
    ("utf16be", "audit events are UTF-8"),
    ("wide", "audit events are UTF-8"),
    (
        "windash",
        "Kubernetes commands have one kind of dash; list the spellings",
    ),
    ("minute", "times are not taken apart"),
    ("hour", "times are not taken apart"),
    ("day", "times are not taken apart"),
    ("week", "times are not taken apart"),
    ("month", "times are not taken apart"),
    ("year", "times are not taken apart"),
    ("re2", "write `re`"),
    ("not", "negate in the condition, or write `neq`"),
];

/// Understands the modifiers of a key. `report` gets a problem (code, message, help) of the
/// modifier at a place in `words`.
///
/// Gives `None` when a modifier is wrong.
pub(super) fn understand(
    words: &[&str],
    report: &mut dyn FnMut(usize, &'static str, String, String),
) -> Option<Modifiers> {
    let mut found = Modifiers {
        operator: Operator::Equals,
        all: false,
        cased: false,
        differs: false,
        reference: false,
        expand: false,
    };
    let mut operator: Option<&str> = None;
    let mut sound = true;
    for (place, word) in words.iter().enumerate() {
        let flag = match *word {
            "all" => &mut found.all,
            "cased" => &mut found.cased,
            "neq" => &mut found.differs,
            "fieldref" => &mut found.reference,
            "expand" => &mut found.expand,
            "i" | "m" | "s" => {
                let Operator::Regex(flags) = &mut found.operator else {
                    let message = format!("`{word}` only follows `re`");
                    report(
                        place,
                        codes::MODIFIERS_CLASH,
                        message,
                        "write `|re|i`".to_owned(),
                    );
                    sound = false;
                    continue;
                };
                match *word {
                    "i" => &mut flags.any_case,
                    "m" => &mut flags.multi_line,
                    _ => &mut flags.dot_is_newline,
                }
            }
            _ => {
                match (known_operator(word), operator) {
                    (None, _) => unknown(place, word, report),
                    (Some(_), Some(first)) => {
                        let message = format!("`{first}` and `{word}` cannot stand together");
                        let help = "make two keys or two selections of it".to_owned();
                        report(place, codes::MODIFIERS_CLASH, message, help);
                    }
                    (Some(known), None) => {
                        found.operator = known;
                        operator = Some(word);
                        continue;
                    }
                }
                sound = false;
                continue;
            }
        };
        *flag = true;
    }
    sound &= fits(found, words, report);
    sound.then_some(found)
}

fn known_operator(word: &str) -> Option<Operator> {
    Some(match word {
        "contains" => Operator::Place(Place::Inside),
        "startswith" => Operator::Place(Place::Start),
        "endswith" => Operator::Place(Place::End),
        "re" => Operator::Regex(RegexFlags::default()),
        "cidr" => Operator::Cidr,
        "exists" => Operator::Exists,
        "lt" => Operator::Compare(Order::Less),
        "lte" => Operator::Compare(Order::LessOrEqual),
        "gt" => Operator::Compare(Order::Greater),
        "gte" => Operator::Compare(Order::GreaterOrEqual),
        _ => return None,
    })
}

fn unknown(place: usize, word: &str, report: &mut dyn FnMut(usize, &'static str, String, String)) {
    if let Some((_, why)) = UNSUITABLE.iter().find(|(name, _)| *name == word) {
        let message = format!("the modifier `{word}` has no meaning for audit events");
        return report(
            place,
            codes::UNSUITABLE_MODIFIER,
            message,
            (*why).to_owned(),
        );
    }
    let help = match nearest(word, KNOWN) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it may be {}", KNOWN.join(", ")),
    };
    report(
        place,
        codes::UNKNOWN_MODIFIER,
        format!("there is no modifier `{word}`"),
        help,
    );
}

/// Whether the flags suit the operator.
fn fits(
    found: Modifiers,
    words: &[&str],
    report: &mut dyn FnMut(usize, &'static str, String, String),
) -> bool {
    let text = matches!(found.operator, Operator::Equals | Operator::Place(_));
    let clashes = [
        (
            "cased",
            found.cased && !text,
            "case only counts where text is compared; `re` is cased",
        ),
        (
            "fieldref",
            found.reference && !text,
            "only text can be compared with another field",
        ),
        (
            "neq",
            found.differs && found.operator != Operator::Equals,
            "negate in the condition",
        ),
        (
            "expand",
            found.expand && found.reference,
            "a placeholder cannot name a field",
        ),
        (
            "all",
            found.all && found.operator == Operator::Exists,
            "`exists` has one value",
        ),
    ];
    let mut sound = true;
    for (word, clashing, help) in clashes {
        if clashing {
            let place = words
                .iter()
                .position(|found| *found == word)
                .unwrap_or_default();
            let message = format!("`{word}` does not suit the other modifiers");
            report(place, codes::MODIFIERS_CLASH, message, help.to_owned());
            sound = false;
        }
    }
    sound
}
