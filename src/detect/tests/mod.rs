//! The engine as a whole: rules as text and audit events as JSON in, detections out.

mod admission;
mod alike;
mod kept;
mod order;
mod several;
mod verdicts;

use std::{fmt::Write, sync::Arc};

use super::{Admission, Detection, Engine, Observation, Observer, Recording, Settings, SourceId};
use crate::{
    decode::{Decoded, Framer, Limits, each_event},
    diagnostic::SourceFile,
    event::{Context, Event},
    rule::{Layer, RuleSet},
    units::Time,
};

/// One source is enough for most tests.
const SOURCE: SourceId = SourceId(1);

/// Seconds since 2026-11-23T11:00:00Z.
fn at(seconds: i64) -> Time {
    Time::from_micros((1_795_431_600 + seconds) * 1_000_000)
}

fn rules(text: &str) -> Arc<RuleSet> {
    let file = Arc::new(SourceFile::new("test.yml", text));
    let layer = Layer {
        rules: vec![file],
        lists: Vec::new(),
    };
    match RuleSet::load(&[layer]) {
        Ok(loaded) => Arc::new(loaded.set),
        Err(report) => panic!("{report}"),
    }
}

/// A rule that matches what `selection` says.
fn rule(name: &str, selection: &str, more: &str) -> String {
    format!(
        "title: {name}\nname: {name}\nlogsource: {{product: kubernetes, service: audit}}\n\
         detection:\n  selection: {{{selection}}}\n  condition: selection\nlevel: medium\n{more}\n---\n"
    )
}

fn correlation(name: &str, members: &str, what: &str) -> String {
    format!(
        "title: {name}\nname: {name}\ncorrelation:\n  rules: [{members}]\n  {what}\nlevel: high\n---\n"
    )
}

/// One stage of a request. Seconds are since eleven o'clock.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    id: String,
    stage: &'static str,
    user: &'static str,
    verb: &'static str,
    resource: &'static str,
    code: u16,
    received: f64,
    stamped: f64,
}

/// A completed request.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers give numbers and words"
)]
fn get(id: impl ToString, user: &'static str, resource: &'static str, code: u16, at: f64) -> Line {
    Line {
        id: id.to_string(),
        stage: "ResponseComplete",
        user,
        verb: "get",
        resource,
        code,
        received: at,
        stamped: at,
    }
}

impl Line {
    fn json(&self) -> String {
        let stamp = |seconds: f64| Time::from_micros(at(0).micros() + (seconds * 1e6) as i64);
        let Self {
            id,
            stage,
            user,
            verb,
            resource,
            code,
            ..
        } = self;
        let mut line = format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{id}","stage":"{stage}","requestURI":"/{resource}/{id}","verb":"{verb}","user":{{"username":"{user}"}},"sourceIPs":["10.0.0.9"],"userAgent":"curl/8","objectRef":{{"resource":"{resource}","namespace":"shop"}}"#
        );
        if *stage != "RequestReceived" {
            let _ = write!(line, r#","responseStatus":{{"code":{code}}}"#);
        }
        let (received, stamped) = (stamp(self.received), stamp(self.stamped));
        let _ = write!(
            line,
            r#","requestReceivedTimestamp":"{received}","stageTimestamp":"{stamped}"}}"#
        );
        line
    }
}

fn observe(observer: &mut Observer, json: &str, cluster: &str) -> Vec<Observation> {
    let context = Context {
        cluster: cluster.to_owned(),
        ..Context::default()
    };
    let mut framer = Framer::new(Limits::default());
    framer.feed(json.as_bytes());
    framer.finish();
    let mut observations = Vec::new();
    while let Some(block) = framer.next_block() {
        each_event(&block, &mut |decoded| match decoded {
            Decoded::Event(slots, line) => {
                observations.push(observer.observe(&Event::new(slots, line, &context)));
            }
            Decoded::Reject(reject) => panic!("{reject:?}"),
        });
    }
    observations
}

/// An engine with its observer.
struct Bench {
    observer: Observer,
    engine: Engine,
}

impl Bench {
    fn new(text: &str) -> Self {
        Self::with(text, Settings::default())
    }

    fn with(text: &str, settings: Settings) -> Self {
        let rules = rules(text);
        Self {
            observer: Observer::new(Arc::clone(&rules)),
            engine: Engine::new(rules, settings),
        }
    }

    fn admit(&mut self, line: &Line) -> (Admission, Vec<Detection>) {
        self.admit_from(SOURCE, "", line)
    }

    fn admit_from(
        &mut self,
        source: SourceId,
        cluster: &str,
        line: &Line,
    ) -> (Admission, Vec<Detection>) {
        let observations = observe(&mut self.observer, &line.json(), cluster);
        let mut out = Vec::new();
        let admission = self.engine.admit(source, &observations[0], None, &mut out);
        (admission, out)
    }

    /// Feeds all lines; what came of each in short: rule, key, evidence.
    fn told(&mut self, lines: &[Line]) -> Vec<String> {
        lines
            .iter()
            .flat_map(|line| self.admit(line).1)
            .map(|told| short(&told))
            .collect()
    }
}

/// `rule [key values] first-id..last-id (count)`
fn short(detection: &Detection) -> String {
    let key: Vec<&str> = detection.key.iter().map(|(_, value)| &**value).collect();
    let ids: Vec<&str> = detection
        .evidence
        .iter()
        .map(|facts| &*facts.evidence.audit_id)
        .collect();
    format!(
        "{} [{}] {}",
        detection.rule.name,
        key.join(" "),
        ids.join(",")
    )
}
