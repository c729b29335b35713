//! The `detection:` block of a rule and the like block of a filter: selections and condition.

use std::sync::Arc;

use super::{
    codes, condition, field,
    logic::Logic,
    modifier::{self, Modifiers, Operator},
    operand::{self, Operand, Unsuitable},
    placeholder::Lists,
    predicate::{Place, Predicate, Source, Test},
};
use crate::diagnostic::{
    Diagnostic, Problems, SourceFile, Spot, Table,
    yaml::{Entry, Node, Resolved, Value},
};

/// Selections and the condition over them.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The selections in the order of the file.
    pub(super) selections: Vec<Selection>,
    /// The condition; leaves are places in `selections`.
    pub(super) condition: Logic<usize>,
    /// The condition as written; several are joined by ` or `.
    pub(super) condition_text: String,
    /// Where the condition stands.
    pub(super) condition_spot: Spot,
}

/// A named selection.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) name: String,
    pub(super) spot: Spot,
    pub(super) clause: Clause,
}

/// What a selection asks for.
#[derive(Clone, Debug)]
pub(super) enum Clause {
    Item(Item),
    /// A mapping: all of its items.
    All(Vec<Clause>),
    /// A list of mappings: any of them.
    Any(Vec<Clause>),
}

/// One `field|modifiers: values`.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// As the rule has it, in one line.
    pub(super) words: String,
    pub(super) source: Source,
    pub(super) logic: Logic<Predicate>,
}

impl Clause {
    /// The selection as one expression.
    pub(super) fn logic(&self) -> Logic<Predicate> {
        match self {
            Self::Item(item) => item.logic.clone(),
            Self::All(parts) => Logic::all(parts.iter().map(Self::logic).collect()),
            Self::Any(parts) => Logic::any(parts.iter().map(Self::logic).collect()),
        }
    }

    /// Each item, in order.
    pub(super) fn items(&self) -> Vec<&Item> {
        match self {
            Self::Item(item) => vec![item],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::items).collect(),
        }
    }
}

impl Part {
    /// The whole condition as one expression.
    pub(super) fn logic(&self) -> Logic<Predicate> {
        substitute(&self.condition, &self.selections)
    }
}

fn substitute(condition: &Logic<usize>, selections: &[Selection]) -> Logic<Predicate> {
    let each = |parts: &[Logic<usize>]| {
        parts
            .iter()
            .map(|part| substitute(part, selections))
            .collect()
    };
    match condition {
        Logic::Test(place) => selections[*place].clause.logic(),
        Logic::Not(inner) => substitute(inner, selections).not(),
        Logic::All(parts) => Logic::all(each(parts)),
        Logic::Any(parts) => Logic::any(each(parts)),
    }
}

/// Reads the block. `None` when the condition cannot be made sense of; all is reported.
pub(super) fn read(mut table: Table<'_>, lists: &Lists) -> Option<Part> {
    let condition = table.entry("condition");
    if let Some(timeframe) = table.entry("timeframe") {
        table.problems.add(
            table
                .error(
                    codes::OLD_AGGREGATION,
                    timeframe.key_spot,
                    "a detection has no timeframe",
                )
                .help("write a second document with `correlation:` and its `timespan`"),
        );
    }
    let reader = Reader {
        file: table.file,
        problems: table.problems,
        lists,
    };
    let selections: Vec<Selection> = table
        .rest()
        .into_iter()
        .map(|entry| reader.selection(entry))
        .collect();
    if selections.is_empty() {
        table.missing(
            "selection",
            "add a selection: a name and below it `field: value` lines",
        );
        return None;
    }
    let Some(entry) = condition.filter(|entry| !entry.value.is_null()) else {
        table.missing("condition", "add `condition: selection`");
        return None;
    };
    reader.condition(&entry.value, selections)
}

struct Reader<'r> {
    file: &'r Arc<SourceFile>,
    problems: &'r Problems,
    lists: &'r Lists,
}

impl Reader<'_> {
    fn error(&self, code: &'static str, spot: Spot, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, self.file, spot, message)
    }

    fn condition(&self, node: &Node, selections: Vec<Selection>) -> Option<Part> {
        let names: Vec<&str> = selections
            .iter()
            .map(|selection| selection.name.as_str())
            .collect();
        let nodes = match &node.value {
            Value::Sequence(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut read = Vec::new();
        let mut texts = Vec::new();
        for node in nodes {
            let Some(scalar) = node.scalar() else {
                self.problems.add(
                    self.error(codes::BAD_CONDITION, node.spot, "a condition must be text")
                        .help("write `condition: selection and not filter`"),
                );
                continue;
            };
            texts.push(scalar.text.split_whitespace().collect::<Vec<_>>().join(" "));
            match condition::parse(&scalar.text, &names) {
                Ok(logic) => read.push(logic),
                Err(mistake) => {
                    let spot = node.spot_of(self.file, mistake.start, mistake.end);
                    let problem = self.error(mistake.code, spot, mistake.message);
                    self.problems.add(problem.help(mistake.help));
                }
            }
        }
        if read.len() < nodes.len() || read.is_empty() {
            return None;
        }
        let condition = Logic::any(read);
        self.unused(&condition, &selections);
        Some(Part {
            selections,
            condition,
            condition_text: texts.join(" or "),
            condition_spot: node.spot,
        })
    }

    fn unused(&self, condition: &Logic<usize>, selections: &[Selection]) {
        let mut used = vec![false; selections.len()];
        condition.map(&mut |place| used[*place] = true);
        for (selection, _) in selections.iter().zip(used).filter(|(_, used)| !used) {
            let message = format!("no condition uses the selection `{}`", selection.name);
            self.problems.add(
                self.error(codes::UNUSED_SELECTION, selection.spot, message)
                    .help("use it in the condition or take it out"),
            );
        }
    }

    fn selection(&self, entry: &Entry) -> Selection {
        let name = &entry.key;
        let reserved = [
            "and",
            "or",
            "not",
            "them",
            "of",
            "all",
            "any",
            "1",
            "condition",
        ];
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || reserved.contains(&name.as_str()) || !name.chars().all(plain) {
            self.problems.add(
                self.error(
                    codes::BAD_NAME,
                    entry.key_spot,
                    format!("`{name}` cannot name a selection"),
                )
                .help("use letters, digits and `_`"),
            );
        }
        let clause = match &entry.value.value {
            Value::Sequence(nodes) if nodes.iter().any(|node| node.scalar().is_none()) => {
                Clause::Any(
                    nodes
                        .iter()
                        .map(|node| self.clause(node, entry.key_spot))
                        .collect(),
                )
            }
            _ => self.clause(&entry.value, entry.key_spot),
        };
        if entry.value.is_null() {
            self.empty(entry.key_spot, &format!("the selection `{name}` is empty"));
        }
        Selection {
            name: name.clone(),
            spot: entry.key_spot,
            clause,
        }
    }

    fn empty(&self, spot: Spot, message: &str) {
        let problem = self.error(codes::EMPTY_SELECTION, spot, message);
        self.problems
            .add(problem.help("write what to look for, or take it out"));
    }

    /// A mapping of items, or keywords: one value, or a list of them.
    fn clause(&self, node: &Node, spot: Spot) -> Clause {
        match &node.value {
            Value::Mapping(entries) => {
                if entries.is_empty() {
                    self.empty(node.spot, "this mapping is empty");
                }
                Clause::All(
                    entries
                        .iter()
                        .filter_map(|entry| self.item(entry))
                        .collect(),
                )
            }
            _ if node.is_null() => Clause::All(Vec::new()),
            _ => {
                let modifiers = modifier::understand(&[], &mut |_, _, _, _| {});
                modifiers
                    .and_then(|modifiers| self.keywords(modifiers, node, spot))
                    .map_or(Clause::All(Vec::new()), Clause::Item)
            }
        }
    }

    fn item(&self, entry: &Entry) -> Option<Clause> {
        let mut words = entry.key.split('|');
        let name = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let modifiers = modifier::understand(&words, &mut |place, code, message, help| {
            let before: usize = words[..place].iter().map(|word| word.len() + 1).sum();
            let start = name.len() + 1 + before;
            let spot = self.within_key(entry, start, start + words[place].len());
            self.problems
                .add(self.error(code, spot, message).help(help));
        });
        if name.is_empty() {
            return self
                .keywords(modifiers?, &entry.value, entry.key_spot)
                .map(Clause::Item);
        }
        let spot = self.within_key(entry, 0, name.len());
        let found = field::look_up(name, self.file, spot, self.problems);
        let (modifiers, field) = (modifiers?, found?);
        let operands = self.operands(entry, modifiers)?;
        let words = format!("{}: {}", entry.key, shown(&operands));
        let logic = if is_decision(&field, modifiers, &operands) {
            self.decision(
                &operands,
                modifiers,
                &Source::Field(field.clone()),
                &entry.value,
            )?
        } else {
            self.known_values(&field, modifiers, &operands);
            self.tests(&operands, modifiers, &Source::Field(field.clone()))?
        };
        Some(Clause::Item(Item {
            words,
            source: Source::Field(field),
            logic,
        }))
    }

    /// The place of a part of a key.
    fn within_key(&self, entry: &Entry, start: usize, end: usize) -> Spot {
        let spot = entry.key_spot;
        if self.file.slice(spot) == entry.key {
            Spot::new(spot.start + start, spot.start + end)
        } else {
            spot
        }
    }

    /// The values of a key with their places, placeholders filled in.
    fn operands(&self, entry: &Entry, modifiers: Modifiers) -> Option<Vec<(Operand, Spot)>> {
        let nodes = match &entry.value.value {
            Value::Sequence(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        if nodes.is_empty() {
            self.empty(entry.key_spot, "this list of values is empty");
            return None;
        }
        if modifiers.all && nodes.len() == 1 && !modifiers.expand {
            self.problems.add(Diagnostic::warning(
                codes::MODIFIERS_CLASH,
                self.file,
                entry.key_spot,
                "`all` of one value says nothing",
            ));
        }
        let mut operands = Vec::new();
        let mut sound = true;
        for node in nodes {
            match self.operand(node) {
                Some(Operand::Text(text)) if modifiers.expand => match self.lists.expand(&text) {
                    Ok(texts) => operands.extend(
                        texts
                            .into_iter()
                            .map(|text| (Operand::Text(text), node.spot)),
                    ),
                    Err(unknown) => {
                        self.unknown_placeholder(&unknown, node);
                        sound = false;
                    }
                },
                Some(operand) => operands.push((operand, node.spot)),
                None => sound = false,
            }
        }
        sound.then_some(operands)
    }

    fn operand(&self, node: &Node) -> Option<Operand> {
        let Some(scalar) = node.scalar() else {
            let message = format!(
                "a value must be text, a number or the like, not {}",
                node.kind()
            );
            self.problems.add(
                self.error("wrong-type", node.spot, message)
                    .help("name what lies deeper with dots: `objectRef.resource: secrets`"),
            );
            return None;
        };
        Some(match scalar.resolve() {
            Resolved::Null => Operand::Null,
            Resolved::Bool(flag) => Operand::Bool(flag),
            Resolved::Text(text) => Operand::Text(text.to_owned()),
            Resolved::Integer(number) => {
                // Octal and hexadecimal spellings are not what JSON has.
                operand::number(&number.to_string()).map_or(Operand::Null, Operand::Number)
            }
            Resolved::Float(_) => match operand::number(&scalar.text) {
                Some(number) => Operand::Number(number),
                None => Operand::Text(scalar.text.clone()),
            },
        })
    }

    fn unknown_placeholder(&self, name: &str, node: &Node) {
        let near = crate::diagnostic::nearest(name, self.lists.names());
        self.problems.add(
            self.error(
                codes::UNKNOWN_PLACEHOLDER,
                node.spot,
                format!("there is no list `{name}` to put in"),
            )
            .did_you_mean(
                near,
                format!("add a file to lists/ that says `{name}: [value, …]`"),
            ),
        );
    }

    fn tests(
        &self,
        operands: &[(Operand, Spot)],
        modifiers: Modifiers,
        source: &Source,
    ) -> Option<Logic<Predicate>> {
        let mut tests = Vec::new();
        for (operand, spot) in operands {
            match operand.test(modifiers) {
                Ok(test) => tests.push(test),
                Err(Unsuitable {
                    regex,
                    message,
                    help,
                }) => {
                    let code = if regex {
                        codes::BAD_REGEX
                    } else {
                        codes::BAD_OPERAND
                    };
                    self.problems
                        .add(self.error(code, *spot, message).help(help));
                }
            }
        }
        if tests.len() < operands.len() {
            return None;
        }
        let logic = operand::join(tests, modifiers.all, source);
        Some(if modifiers.differs {
            logic.not()
        } else {
            logic
        })
    }

    /// Values without a field: looked for in the event's whole text.
    fn keywords(&self, mut modifiers: Modifiers, node: &Node, spot: Spot) -> Option<Item> {
        if !matches!(
            modifiers.operator,
            Operator::Equals | Operator::Regex(_) | Operator::Place(Place::Inside)
        ) || modifiers.reference
        {
            self.problems.add(
                self.error(codes::MODIFIERS_CLASH, spot, "this modifier needs a field")
                    .help("write the field's name before the `|`"),
            );
            return None;
        }
        let entry = Entry {
            key: String::new(),
            key_spot: spot,
            value: node.clone(),
        };
        let operands = self.operands(&entry, modifiers)?;
        if let Some((_, spot)) = operands
            .iter()
            .find(|(operand, _)| *operand == Operand::Null)
        {
            self.empty(*spot, "a keyword cannot be empty");
            return None;
        }
        let words = format!("keywords: {}", shown(&operands));
        let logic = if matches!(modifiers.operator, Operator::Regex(_)) {
            self.tests(&operands, modifiers, &Source::Line)?
        } else {
            modifiers.operator = Operator::Place(Place::Inside);
            let all = std::mem::take(&mut modifiers.all);
            let spelt = |operand: &(Operand, Spot)| -> Vec<(Operand, Spot)> {
                let spellings = operand::keyword_spellings(&operand.0).into_iter();
                spellings.map(|spelling| (spelling, operand.1)).collect()
            };
            if all {
                let each = operands
                    .iter()
                    .map(|one| self.tests(&spelt(one), modifiers, &Source::Line));
                Logic::all(each.collect::<Option<Vec<_>>>()?)
            } else {
                let spelt: Vec<_> = operands.iter().flat_map(spelt).collect();
                self.tests(&spelt, modifiers, &Source::Line)?
            }
        };
        Some(Item {
            words,
            source: Source::Line,
            logic,
        })
    }

    /// `responseStatus.code: ALLOW`, as published rules write it, means the authorizer's word.
    fn decision(
        &self,
        operands: &[(Operand, Spot)],
        modifiers: Modifiers,
        code: &Source,
        node: &Node,
    ) -> Option<Logic<Predicate>> {
        let name = "annotations.authorization.k8s.io/decision";
        let decision = field::look_up(name, self.file, node.spot, self.problems)?;
        let mut words = Vec::new();
        let mut numbers = Vec::new();
        for (operand, spot) in operands {
            match operand {
                Operand::Text(text) => match decision_word(text) {
                    Some(word) => words.push(word.to_owned()),
                    None => self.not_a_code(text, *spot),
                },
                other => numbers.push((other.clone(), *spot)),
            }
        }
        words.sort_unstable();
        words.dedup();
        let mut logic = Vec::new();
        if !words.is_empty() {
            let test = Test::Text {
                place: Place::Whole,
                texts: words,
                cased: false,
            };
            logic.push(Logic::Test(Predicate {
                source: Source::Field(decision),
                test,
            }));
        }
        if !numbers.is_empty() {
            let plain = Modifiers {
                differs: false,
                ..modifiers
            };
            logic.push(self.tests(&numbers, plain, code)?);
        }
        let logic = Logic::any(logic);
        Some(if modifiers.differs {
            logic.not()
        } else {
            logic
        })
    }

    fn not_a_code(&self, text: &str, spot: Spot) {
        self.problems.add(
            self.error(
                codes::UNKNOWN_VALUE,
                spot,
                format!("a response never has the code `{text}`"),
            )
            .help("write a number such as 403; ALLOW and FORBID mean the authorizer's decision"),
        );
    }

    /// Fields with a closed set of values: a value that none of them is can only be a mistake.
    fn known_values(
        &self,
        field: &crate::event::Field,
        modifiers: Modifiers,
        operands: &[(Operand, Spot)],
    ) {
        let Some(words) = super::impossible::words_of(field) else {
            return;
        };
        if modifiers.operator != Operator::Equals || modifiers.reference {
            return;
        }
        for (operand, spot) in operands {
            let Operand::Text(text) = operand else {
                continue;
            };
            let pattern = super::pattern::Pattern::parse(text);
            let Some(literal) = pattern.literal() else {
                continue;
            };
            if words.iter().any(|word| word.eq_ignore_ascii_case(literal)) {
                continue;
            }
            let message = format!("`{}` is never `{literal}`", field.name());
            let near = crate::diagnostic::nearest(literal, words.iter().copied());
            self.problems.add(
                self.error(codes::UNKNOWN_VALUE, *spot, message)
                    .did_you_mean(near, format!("it is one of {}", words.join(", "))),
            );
        }
    }
}

fn is_decision(
    field: &crate::event::Field,
    modifiers: Modifiers,
    operands: &[(Operand, Spot)],
) -> bool {
    let wordy = |text: &str| {
        text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && super::pattern::Pattern::parse(text).literal().is_some()
    };
    field.name() == "responseStatus.code"
        && modifiers.operator == Operator::Equals
        && !modifiers.reference
        && operands
            .iter()
            .any(|(operand, _)| matches!(operand, Operand::Text(text) if wordy(text)))
}

fn decision_word(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "allow" | "allowed" => Some("allow"),
        "forbid" | "forbidden" | "deny" | "denied" => Some("forbid"),
        _ => None,
    }
}

/// The values in one line, cut where they are many.
fn shown(operands: &[(Operand, Spot)]) -> String {
    const SHOWN_MAX: usize = 12;
    let each: Vec<String> = operands
        .iter()
        .take(SHOWN_MAX)
        .map(|(operand, _)| match operand {
            Operand::Null => "null".to_owned(),
            Operand::Bool(flag) => flag.to_string(),
            Operand::Number(number) => number.written.clone(),
            Operand::Text(text) => format!("'{text}'"),
        })
        .collect();
    let more = operands.len().saturating_sub(SHOWN_MAX);
    match (each.as_slice(), more) {
        ([one], 0) => one.clone(),
        (_, 0) => format!("[{}]", each.join(", ")),
        _ => format!("[{}, … and {more} more]", each.join(", ")),
    }
}
