//! Reads a `correlation:` block. What it refers to is still names; `link` resolves them.

use std::collections::BTreeMap;

use super::{Bounds, Extension, Kind, codes};
use crate::{
    diagnostic::{Diagnostic, Spot, Spotted, Table, yaml::Node, yaml::Value},
    units::Span,
};

/// Alias → (rule as `rules` has it, field).
type Aliases = BTreeMap<String, Vec<(Spotted<String>, Spotted<String>)>>;

/// A correlation as its document says it.
#[derive(Debug)]
pub(super) struct CorrelationDraft {
    pub(super) kind: Kind,
    /// Ids or names of what is counted.
    pub(super) rules: Vec<Spotted<String>>,
    pub(super) group_by: Vec<Spotted<String>>,
    /// Names that stand for different fields in different rules.
    pub(super) aliases: Aliases,
    pub(super) timespan: Span,
    pub(super) bounds: Bounds,
    /// The fields whose values `value_count` counts.
    pub(super) values: Vec<Spotted<String>>,
    /// Whether what is counted makes detections of its own too.
    pub(super) generate: bool,
    pub(super) extension: Extension,
}

/// The kinds of Sigma, and those that are known but not supported.
const KINDS: [(&str, Option<Kind>); 8] = [
    ("event_count", Some(Kind::EventCount)),
    ("value_count", Some(Kind::ValueCount)),
    ("temporal", Some(Kind::Temporal)),
    ("temporal_ordered", Some(Kind::TemporalOrdered)),
    ("value_sum", None),
    ("value_avg", None),
    ("value_percentile", None),
    ("value_median", None),
];

/// Reads the block. `None` when an indispensable part is missing or wrong; all is reported.
pub(super) fn read(
    mut table: Table<'_>,
    generate: Option<Spotted<bool>>,
) -> Option<CorrelationDraft> {
    let kind = read_kind(&mut table);
    let rules = table.texts("rules");
    if rules.is_empty() {
        table.missing(
            "rules",
            "name the rules that are counted, by their `name` or `id`",
        );
    }
    let group_by = table.texts("group-by");
    let has_timespan = table.has("timespan");
    let timespan = table.span("timespan");
    match &timespan {
        None if !has_timespan => {
            table.missing("timespan", "say within which time: `timespan: 5m`");
        }
        Some(span) if span.value <= Span::ZERO => table.problems.add(table.error(
            "wrong-value",
            span.spot,
            "`timespan` must be longer than nothing",
        )),
        _ => {}
    }
    let within = table.boolean("generate");
    let aliases = read_aliases(&mut table);
    let members = rules.len() as u64;
    let (bounds, values) = if let Some(kind) = kind {
        read_condition(&mut table, kind, members)
    } else {
        table.ignore(&["condition"]);
        (None, Vec::new())
    };
    table.finish();
    Some(CorrelationDraft {
        kind: kind?,
        rules,
        group_by,
        aliases,
        timespan: timespan?.value,
        bounds: bounds?,
        values,
        generate: generate.or(within).is_some_and(|generate| generate.value),
        extension: Extension::default(),
    })
}

fn read_kind(table: &mut Table<'_>) -> Option<Kind> {
    if !table.has("type") {
        table.missing(
            "type",
            "write event_count, value_count, temporal or temporal_ordered",
        );
    }
    let kind = table.word("type", &KINDS)?;
    if kind.value.is_none() {
        let name = table.file.slice(kind.spot).to_owned();
        table.problems.add(
            table
                .error(
                    codes::UNSUPPORTED,
                    kind.spot,
                    format!("correlations of type {name} are not supported"),
                )
                .help("use event_count, value_count, temporal or temporal_ordered"),
        );
    }
    kind.value
}

fn read_aliases(table: &mut Table<'_>) -> Aliases {
    let mut aliases = BTreeMap::new();
    let Some(mut block) = table.table("aliases", "`aliases`") else {
        return aliases;
    };
    for entry in block.rest() {
        let mut fields = Vec::new();
        let mut inner = Table::of(&entry.value, table.file, table.problems, "an alias");
        for pair in inner.rest() {
            let rule = Spotted {
                value: pair.key.clone(),
                spot: pair.key_spot,
            };
            match pair.value.scalar() {
                Some(scalar) => {
                    let field = Spotted {
                        value: scalar.text.clone(),
                        spot: pair.value.spot,
                    };
                    fields.push((rule, field));
                }
                None => table.wrong(&pair.key, &pair.value, "a field"),
            }
        }
        aliases.insert(entry.key.clone(), fields);
    }
    aliases
}

type Condition = (Option<Bounds>, Vec<Spotted<String>>);

fn read_condition(table: &mut Table<'_>, kind: Kind, members: u64) -> Condition {
    let all = Bounds {
        min: members,
        max: None,
    };
    let counted = matches!(kind, Kind::EventCount | Kind::ValueCount);
    let Some(node) = table.take("condition") else {
        if counted {
            table.missing("condition", "say how many: `condition: {gte: 10}`");
            return (None, Vec::new());
        }
        return (Some(all), Vec::new());
    };
    if let (false, Value::Scalar(_)) = (counted, &node.value) {
        table.problems.add(
            table
                .error(codes::UNSUPPORTED, node.spot, "conditions over rule names are not supported")
                .help("leave it out if all rules must occur, or write `{gte: 2}` for how many of them"),
        );
        return (None, Vec::new());
    }
    let mut condition = Table::of(node, table.file, table.problems, "`condition`");
    let values = condition.texts("field");
    check_field(&condition, kind, &values);
    let bounds = read_bounds(&mut condition, node);
    condition.finish();
    let bounds = match bounds {
        None if counted => None,
        None => Some(all),
        Some(bounds) => check_members(table, kind, node, bounds, members).then_some(bounds),
    };
    (bounds, values)
}

fn check_field(condition: &Table<'_>, kind: Kind, values: &[Spotted<String>]) {
    if kind == Kind::ValueCount && values.is_empty() {
        condition.missing(
            "field",
            "name the field whose values are counted: `field: objectRef.name`",
        );
    }
    if let (true, Some(first)) = (kind != Kind::ValueCount, values.first()) {
        condition.problems.add(
            condition
                .error(
                    codes::BAD_BOUNDS,
                    first.spot,
                    "only value_count counts the values of a field",
                )
                .help("take `field` out, or write `type: value_count`"),
        );
    }
}

/// The least and greatest count that the condition allows.
fn read_bounds(condition: &mut Table<'_>, node: &Node) -> Option<Bounds> {
    let most = i64::from(u32::MAX);
    let mut bounds = Bounds { min: 1, max: None };
    let mut given = 0;
    let mut sound = true;
    for key in ["gte", "gt", "lte", "lt", "eq"] {
        if !condition.has(key) {
            condition.ignore(&[key]);
            continue;
        }
        given += 1;
        let Some(number) = condition.integer(key, 0, most) else {
            sound = false;
            continue;
        };
        let number = number.value as u64;
        match key {
            "gte" => bounds.min = bounds.min.max(number),
            "gt" => bounds.min = bounds.min.max(number + 1),
            "lte" => bounds.max = Some(bounds.max.map_or(number, |max| max.min(number))),
            "lt" => {
                let below = number.saturating_sub(1);
                bounds.max = Some(bounds.max.map_or(below, |max| max.min(below)));
            }
            _ => {
                bounds = Bounds {
                    min: bounds.min.max(number),
                    max: Some(number),
                }
            }
        }
    }
    if let Some(entry) = condition.entry("neq") {
        condition.problems.add(
            condition
                .error(
                    codes::UNSUPPORTED,
                    entry.key_spot,
                    "`neq` cannot be counted up to",
                )
                .help("write `gt`, or `lt` and a second rule"),
        );
        return None;
    }
    if !sound {
        return None;
    }
    if given == 0 {
        condition.missing("gte", "say how many: `gte: 10`");
        return None;
    }
    if bounds.max.is_some_and(|max| max < bounds.min) {
        let problem = condition
            .error(
                codes::BAD_BOUNDS,
                node.spot,
                "no count of at least one can meet this",
            )
            .help("a window is looked at when something occurs, so a count is never 0");
        condition.problems.add(problem);
        return None;
    }
    Some(bounds)
}

/// A temporal correlation counts its members; more than there are never occur.
fn check_members(table: &Table<'_>, kind: Kind, node: &Node, bounds: Bounds, members: u64) -> bool {
    let (message, help) = match kind {
        Kind::EventCount | Kind::ValueCount => return true,
        Kind::TemporalOrdered if bounds.min != members || bounds.max.is_some() => (
            "temporal_ordered needs all of its rules".to_owned(),
            "leave `condition` out, or use `temporal`",
        ),
        _ if bounds.min > members => (
            format!("there are only {members} rules to occur"),
            "lower the number or add rules",
        ),
        _ => return true,
    };
    table.problems.add(bad(table, node.spot, message, help));
    false
}

fn bad(table: &Table<'_>, spot: Spot, message: String, help: &str) -> Diagnostic {
    table.error(codes::BAD_BOUNDS, spot, message).help(help)
}
