//! Tests of rules as a whole: loading, what is wrong with them, matching.

mod index;
mod linking;
mod modifiers;
mod problems;

use std::sync::Arc;

use super::*;
use crate::{
    decode::{Block, Decoded, Framer, Limits, each_event},
    diagnostic::{Report, SourceFile},
    event::{Context, Event},
};

/// A layer of files given by name and text; files in `lists/` are lists.
fn layer(files: &[(&str, &str)]) -> Layer {
    Layer::new(
        files
            .iter()
            .map(|(name, text)| SourceFile::new(*name, *text)),
    )
}

fn load(files: &[(&str, &str)]) -> Result<Loaded, Report> {
    RuleSet::load(&[layer(files)])
}

/// A whole rule around a `detection:` block, which is indented by two.
fn rule(detection: &str) -> String {
    format!("title: T\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n{detection}")
}

/// Loads one rule with the selection `s` (YAML flow) and the condition `s`.
fn selection(selection: &str) -> RuleSet {
    let text = rule(&format!("  s: {selection}\n  condition: s\n"));
    load(&[("r.yml", &text)])
        .unwrap_or_else(|report| panic!("{report}"))
        .set
}

/// Shows each event of JSON lines.
fn each(text: &str, visit: &mut dyn FnMut(&Event<'_>)) {
    let context = Context::default();
    for block in blocks(text) {
        each_event(&block, &mut |decoded| match decoded {
            Decoded::Event(slots, line) => visit(&Event::new(slots, line, &context)),
            Decoded::Reject(reject) => panic!("{reject:?}"),
        });
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut framer = Framer::new(Limits::default());
    framer.feed(text.as_bytes());
    framer.finish();
    std::iter::from_fn(|| framer.next_block()).collect()
}

/// Whether the only rule of a set matches an event, by the index; checks that plain evaluation
/// agrees.
fn matches(set: &Arc<RuleSet>, line: &str) -> bool {
    let mut matcher = Matcher::new(Arc::clone(set));
    let mut answers = Vec::new();
    each(line, &mut |event| {
        let indexed = matcher.matches(event).to_vec();
        assert_eq!(indexed, plainly(set, event));
        answers.push(!indexed.is_empty());
    });
    assert_eq!(answers.len(), 1);
    answers[0]
}

/// The rules that an event matches, by evaluating each rule as its text says.
fn plainly(set: &RuleSet, event: &Event<'_>) -> Vec<usize> {
    let holds = |rule: &Rule| {
        rule.parts.iter().all(|named| {
            named
                .part
                .logic()
                .truth(&mut |test| test.ready().unwrap().holds(event))
        })
    };
    (0..set.rules.len())
        .filter(|rule| holds(&set.rules[*rule]))
        .collect()
}

/// An event line with what a case's event says.
fn event(patch: &str) -> String {
    let text = format!("cases: [{{name: x, events: [{patch}], expect: none}}]");
    let problems = crate::diagnostic::Problems::new();
    let file = Arc::new(SourceFile::new("x.cases.yml", text));
    let cases = read_cases(&file, &problems);
    let report = problems.into_report();
    assert!(report.is_empty(), "{report}");
    cases[0].lines.join("\n")
}
