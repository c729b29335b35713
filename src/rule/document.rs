//! One YAML document read as one of Sigma's three kinds: detection rule, correlation, filter.

use std::sync::Arc;

use super::{
    Extension, codes,
    correlate::{self, CorrelationDraft},
    detection::{self, Part},
    extend,
    head::{self, Head},
    impossible,
    placeholder::Lists,
};
use crate::diagnostic::{
    Diagnostic, Problems, SourceFile, Spot, Spotted, Table,
    yaml::{Document, Value},
};

/// A document that has been read and checked by itself; references to others are still names.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) file: Arc<SourceFile>,
    pub(super) head: Head,
    pub(super) body: Body,
}

/// What kind of document it is.
#[derive(Debug)]
pub(super) enum Body {
    Rule(RuleDraft),
    Correlation(CorrelationDraft),
    Filter(FilterDraft),
    /// A sound rule about another log: known by name, but not loaded.
    Skipped,
    /// Wrong, and reported: known by name, so that nobody is told that it does not exist.
    Broken,
    /// A rule of a later layer took its place.
    Replaced,
}

/// A detection rule.
#[derive(Debug)]
pub(super) struct RuleDraft {
    pub(super) part: Part,
    pub(super) extension: Extension,
}

/// A Sigma filter.
#[derive(Debug)]
pub(super) struct FilterDraft {
    /// The rules that it narrows; `None` for `any`.
    pub(super) rules: Option<Vec<Spotted<String>>>,
    pub(super) part: Part,
}

/// Reads a document. `None` when it is no Sigma document at all; all is reported.
pub(super) fn read(document: &Document, lists: &Lists, problems: &Problems) -> Option<Draft> {
    let kind = kind(document, problems)?;
    let mut table = Table::root(document, problems, kind.words());
    let mut head = head::read(&mut table);
    let body = match kind {
        Kind::Rule => rule(&mut table, lists),
        Kind::Correlation => {
            let generate = table.boolean("generate");
            let body = table.table("correlation", "`correlation`");
            let correlation = body.and_then(|body| correlate::read(body, generate));
            let extension = extend::read(&mut table, true);
            correlation.map(|body| Body::Correlation(CorrelationDraft { extension, ..body }))
        }
        Kind::Filter => filter(&mut table, lists),
    };
    head::ignore_rest(&mut table);
    table.finish();
    let mut body = body.unwrap_or(Body::Broken);
    // Alerts carry what is known of their rule, and not its block.
    head.meta.runbook = match &mut body {
        Body::Rule(rule) => rule.extension.runbook.take(),
        Body::Correlation(correlation) => correlation.extension.runbook.take(),
        Body::Filter(_) | Body::Skipped | Body::Broken | Body::Replaced => None,
    };
    Some(Draft {
        file: Arc::clone(&document.file),
        head,
        body,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Rule,
    Correlation,
    Filter,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Rule => "a rule",
            Self::Correlation => "a correlation",
            Self::Filter => "a filter",
        }
    }
}

fn kind(document: &Document, problems: &Problems) -> Option<Kind> {
    let Value::Mapping(entries) = &document.root.value else {
        Table::root(document, problems, "a rule");
        return None;
    };
    let entry = |key: &str| entries.iter().find(|entry| entry.key == key);
    if let Some(action) = entry("action") {
        let text = document.file.slice(action.value.spot);
        let message = format!("`action: {text}` is an older way of Sigma that is not supported");
        problems.add(
            Diagnostic::error(codes::ACTION, &document.file, action.key_spot, message)
                .help("write each rule out in its own document"),
        );
        return None;
    }
    let kinds = [
        ("correlation", Kind::Correlation),
        ("filter", Kind::Filter),
        ("detection", Kind::Rule),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(key, _)| entry(key).is_some()) {
        return Some(*kind);
    }
    let near = entries.iter().find_map(|entry| {
        let near = crate::diagnostic::nearest(&entry.key, ["detection", "correlation", "filter"])?;
        Some((entry.key_spot, near))
    });
    let spot = near.map_or_else(|| first_line(document), |(spot, _)| spot);
    problems.add(
        Diagnostic::error(
            codes::NOT_A_RULE,
            &document.file,
            spot,
            "this is no Sigma document",
        )
        .did_you_mean(
            near.map(|(_, near)| near),
            "a rule has `detection:`, a correlation `correlation:`, a filter `filter:`",
        ),
    );
    None
}

fn first_line(document: &Document) -> Spot {
    let spot = document.root.spot;
    let line = document.file.slice(spot).lines().next().unwrap_or_default();
    Spot::new(spot.start, spot.start + line.len())
}

fn rule(table: &mut Table<'_>, lists: &Lists) -> Option<Body> {
    let logsource = logsource(table, true);
    let detection = table.table("detection", "`detection`");
    let extension = extend::read(table, false);
    if logsource == Logsource::Other {
        return Some(Body::Skipped);
    }
    let detection = detection?;
    let file = Arc::clone(detection.file);
    let problems = detection.problems;
    let before = problems.errors();
    let part = detection::read(detection, lists)?;
    if problems.errors() == before {
        check_possible(&part, &file, problems);
    }
    Some(Body::Rule(RuleDraft { part, extension }))
}

fn filter(table: &mut Table<'_>, lists: &Lists) -> Option<Body> {
    let logsource = logsource(table, false);
    let mut body = table.table("filter", "`filter`")?;
    let rules = match body.take("rules") {
        None => None,
        Some(node) => match &node.value {
            Value::Scalar(scalar) if scalar.text == "any" => None,
            Value::Scalar(scalar) => Some(vec![Spotted {
                value: scalar.text.clone(),
                spot: node.spot,
            }]),
            Value::Sequence(nodes) => Some(
                nodes
                    .iter()
                    .filter_map(|node| {
                        let Some(scalar) = node.scalar() else {
                            body.wrong("rules", node, "a list of ids and names");
                            return None;
                        };
                        Some(Spotted {
                            value: scalar.text.clone(),
                            spot: node.spot,
                        })
                    })
                    .collect(),
            ),
            Value::Mapping(_) => {
                body.wrong("rules", node, "a list of ids and names, or `any`");
                return None;
            }
        },
    };
    if logsource == Logsource::Other {
        return Some(Body::Skipped);
    }
    let part = detection::read(body, lists)?;
    Some(Body::Filter(FilterDraft { rules, part }))
}

#[derive(PartialEq, Eq)]
enum Logsource {
    Ours,
    Other,
}

/// Whether the document is about the Kubernetes audit log.
fn logsource(table: &mut Table<'_>, required: bool) -> Logsource {
    let Some(mut source) = table.table("logsource", "`logsource`") else {
        if required {
            table.missing(
                "logsource",
                "add `logsource: {product: kubernetes, service: audit}`",
            );
        }
        return Logsource::Ours;
    };
    let product = source.text("product");
    let service = source.text("service");
    source.ignore(&["category", "definition"]);
    let spot = source.spot;
    source.finish();
    let is = |text: &Option<Spotted<String>>, wanted: &str| {
        text.as_ref()
            .is_none_or(|text| text.value.eq_ignore_ascii_case(wanted))
    };
    if product.is_some() && is(&product, "kubernetes") && is(&service, "audit") {
        return Logsource::Ours;
    }
    table.problems.add(
        Diagnostic::warning(
            codes::OTHER_LOGSOURCE,
            table.file,
            spot,
            "this is about another log than the Kubernetes audit log and is left out",
        )
        .help("auditwatch reads `product: kubernetes`, `service: audit`"),
    );
    Logsource::Other
}

/// Reports selections and conditions that no event can meet.
fn check_possible(part: &Part, file: &Arc<SourceFile>, problems: &Problems) {
    let mut found = false;
    for selection in &part.selections {
        if let Some(why) = impossible::reason(&selection.clause.logic()) {
            found = true;
            problems.add(
                Diagnostic::error(
                    codes::NEVER_MATCHES,
                    file,
                    selection.spot,
                    format!("no event can meet the selection `{}`", selection.name),
                )
                .help(why),
            );
        }
    }
    if found {
        return;
    }
    if let Some(why) = impossible::reason(&part.logic()) {
        let message = "no event can meet this condition";
        problems.add(
            Diagnostic::error(codes::NEVER_MATCHES, file, part.condition_spot, message).help(why),
        );
    }
}
