//! What a rule needs to see: whether it could match requests of a kind as they are recorded.

use std::collections::BTreeSet;

use super::{Correlation, Kind, Member, Rule, RuleSet, predicate::Predicate, predicate::Source};
use crate::{
    decode,
    event::{AuditLevel, Context, Event, Field},
};

/// A kind of request: what audit policies choose the level by, beside the caller and the names of
/// namespace and object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKind {
    /// The verb as the API server records it.
    pub verb: Box<str>,
    /// The API group; empty for the core group.
    pub group: Box<str>,
    /// The resource in the plural; empty for a request of a path that is no resource.
    pub resource: Box<str>,
    /// The subresource; empty when there is none.
    pub subresource: Box<str>,
}

/// What becomes of requests of a kind as far as a rule goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The rule does not ask about them.
    Unasked,
    /// It can match them as they are recorded.
    Seen,
    /// It cannot; this is the least level at which it could.
    Unseen(AuditLevel),
}

/// The fields that a kind of request settles.
const SETTLED: [&str; 4] = [
    "verb",
    "objectRef.resource",
    "objectRef.subresource",
    "objectRef.apiGroup",
];

/// The levels, the least first.
const LEVELS: [AuditLevel; 3] = [
    AuditLevel::Metadata,
    AuditLevel::Request,
    AuditLevel::RequestResponse,
];

/// The verbs of objects, for rules that name none.
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

impl RequestKind {
    /// The resource as policies spell it: `pods/exec`.
    pub fn path(&self) -> String {
        match (&*self.resource, &*self.subresource) {
            ("", _) => "paths".to_owned(),
            (resource, "") => resource.to_owned(),
            (resource, subresource) => format!("{resource}/{subresource}"),
        }
    }

    /// An event of this kind that says nothing else.
    fn line(&self, level: AuditLevel) -> String {
        let mut target = serde_json::Map::new();
        for (key, value) in [
            ("resource", &self.resource),
            ("apiGroup", &self.group),
            ("subresource", &self.subresource),
        ] {
            if !value.is_empty() {
                target.insert(key.to_owned(), (**value).into());
            }
        }
        line(level, &self.verb, target.into(), serde_json::Value::Null)
    }
}

/// An event that says nothing but this.
fn line(
    level: AuditLevel,
    verb: &str,
    target: serde_json::Value,
    answer: serde_json::Value,
) -> String {
    serde_json::json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": level.name(),
        "auditID": "0",
        "stage": "ResponseComplete",
        "requestURI": "/",
        "verb": verb,
        "objectRef": target,
        "responseStatus": answer,
    })
    .to_string()
}

impl RuleSet {
    /// Whether the rule at a place could match requests of a kind that are recorded at a level;
    /// what it asks beside the kind is taken to be so.
    pub fn sight(&self, rule: usize, kind: &RequestKind, level: AuditLevel) -> Sight {
        let rule = &self.rules[rule];
        let could = |level| self.could_match(rule, kind, level);
        let Some(least) = LEVELS.into_iter().find(|level| could(*level)) else {
            return Sight::Unasked;
        };
        if could(level) {
            Sight::Seen
        } else {
            Sight::Unseen(least)
        }
    }

    fn could_match(&self, rule: &Rule, kind: &RequestKind, level: AuditLevel) -> bool {
        let line = kind.line(level);
        let context = Context::default();
        let Some(slots) = decode::event(&line) else {
            return false;
        };
        let event = Event::new(slots, &line, &context);
        rule.program.possible(&mut Vec::new(), |id| {
            let test = &self.predicates[id as usize];
            let is_settled = |field: &Field| {
                SETTLED.contains(&field.name()) || field.name() == "level" || field.level() > level
            };
            let mut fields = test.fields().peekable();
            (fields.peek().is_some() && fields.all(is_settled)).then(|| test.holds(&event))
        })
    }

    /// The fields of a rule that a level leaves out, each once, in the order of their names.
    pub fn left_out(&self, rule: usize, level: AuditLevel) -> Vec<&str> {
        let program = &self.rules[rule].program;
        let names: BTreeSet<&str> = program
            .tests()
            .flat_map(|id| self.predicates[id as usize].fields())
            .filter(|field| field.level() > level)
            .map(Field::name)
            .collect();
        names.into_iter().collect()
    }

    /// Whether a rule can match nothing but failed authentication, which only the stage
    /// ResponseStarted shows.
    pub fn needs_started(&self, rule: usize) -> bool {
        let could = |code: u16| {
            let answer = serde_json::json!({"code": code});
            let line = line(AuditLevel::Metadata, "get", serde_json::Value::Null, answer);
            let context = Context::default();
            let Some(slots) = decode::event(&line) else {
                return false;
            };
            let event = Event::new(slots, &line, &context);
            self.rules[rule].program.possible(&mut Vec::new(), |id| {
                let test = &self.predicates[id as usize];
                let is_of_answer =
                    |field: &Field| ["outcome", "responseStatus.code"].contains(&field.name());
                let mut fields = test.fields().peekable();
                (fields.peek().is_some() && fields.all(is_of_answer)).then(|| test.holds(&event))
            })
        };
        could(401)
            && ![200, 201, 101, 403, 404, 409, 422, 500]
                .into_iter()
                .any(could)
    }

    /// The kinds of requests that a rule names, for want of a log that has some; the group of a
    /// resource comes from `group_of`.
    pub fn kinds_asked(
        &self,
        rule: usize,
        group_of: &dyn Fn(&str) -> &'static str,
    ) -> Vec<RequestKind> {
        let verbs = self.named(rule, "verb", &VERBS);
        let resources = self.named(rule, "objectRef.resource", &["pods", "secrets", ""]);
        let mut subresources = self.named(rule, "objectRef.subresource", &[]);
        subresources.push(Box::from(""));
        let mut kinds = Vec::new();
        for resource in &resources {
            for subresource in &subresources {
                for verb in &verbs {
                    let kind = RequestKind {
                        verb: verb.clone(),
                        group: Box::from(group_of(resource)),
                        resource: resource.clone(),
                        subresource: subresource.clone(),
                    };
                    if self.sight(rule, &kind, AuditLevel::RequestResponse) != Sight::Unasked {
                        kinds.push(kind);
                    }
                }
            }
        }
        kinds
    }

    /// The whole texts that a rule compares a field with; `otherwise` when there are none.
    fn named(&self, rule: usize, field: &str, otherwise: &[&str]) -> Vec<Box<str>> {
        let mut texts = BTreeSet::new();
        for named in &self.rules[rule].parts {
            named.part.logic().map(&mut |predicate: &Predicate| {
                if let Source::Field(of) = &predicate.source
                    && of.name() == field
                {
                    texts.extend(predicate.whole_texts().iter().cloned());
                }
            });
        }
        if texts.is_empty() {
            return otherwise.iter().map(|text| Box::from(*text)).collect();
        }
        texts.into_iter().map(String::into_boxed_str).collect()
    }

    /// Whether a correlation can still be met when some of the detection rules are blind.
    pub fn can_be_met(&self, correlation: &Correlation, is_blind: &dyn Fn(usize) -> bool) -> bool {
        let seeing = correlation
            .sources
            .iter()
            .filter(|source| match source.member {
                Member::Rule(rule) => !is_blind(rule),
                Member::Correlation(place) => self.can_be_met(&self.correlations[place], is_blind),
            });
        let seeing = seeing.count() as u64;
        match correlation.kind {
            Kind::EventCount | Kind::ValueCount => seeing > 0,
            Kind::Temporal => seeing >= correlation.bounds.min,
            Kind::TemporalOrdered => seeing == correlation.sources.len() as u64,
        }
    }
}
