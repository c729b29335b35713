//! All rules of one load, compiled: each distinct test once, each rule as flat steps over them.

use std::sync::Arc;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Correlation, Extension, Member, RuleMeta,
    detection::Part,
    index::Plan,
    logic::{Logic, Program},
    predicate::{Predicate, Ready, Source},
};
use crate::{diagnostic::nearest, event::Field};

/// A detection rule, ready to run.
#[derive(Debug)]
pub struct Rule {
    /// Identity and words.
    pub meta: Arc<RuleMeta>,
    /// Whether a match is a detection by itself: false where correlations count it and none says
    /// `generate: true`.
    pub reports: bool,
    /// Whether a correlation counts it.
    pub counted: bool,
    /// Our own block.
    pub extension: Extension,
    /// Hash of the rule's meaning, filters included and words not; a reload keeps the state of
    /// rules whose hash stays.
    pub fingerprint: u64,
    /// The file that it was read from.
    pub file: String,
    pub(super) parts: Vec<NamedPart>,
    pub(super) program: Program,
}

/// The rule's own detection, or a filter that narrows it.
#[derive(Clone, Debug)]
pub(super) struct NamedPart {
    /// The filter's name; empty for the rule's own.
    pub(super) name: String,
    pub(super) part: Part,
}

impl Rule {
    /// Whether anything comes of a match: a rule that neither reports nor is counted is not even
    /// evaluated.
    pub fn runs(&self) -> bool {
        self.reports || self.counted
    }

    /// The fields that its condition reads, each once, in the order of the rule.
    pub fn fields(&self) -> Vec<&Field> {
        let mut fields: Vec<&Field> = Vec::new();
        for named in &self.parts {
            for item in named
                .part
                .selections
                .iter()
                .flat_map(|selection| selection.clause.items())
            {
                if let Source::Field(field) = &item.source
                    && !fields.contains(&field)
                {
                    fields.push(field);
                }
            }
        }
        fields
    }
}

/// All rules and correlations of one load.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// The detection rules, in the order of files and documents.
    pub rules: Vec<Rule>,
    /// The correlations; each comes after those that it counts.
    pub correlations: Vec<Correlation>,
    pub(super) predicates: Vec<Ready>,
    pub(super) plan: Plan,
}

impl RuleSet {
    /// Switches on every rule that waits to be named in `rules.enable`.
    pub fn enable_all(&mut self) {
        for rule in self.rules.iter_mut().filter(|rule| rule.extension.off) {
            rule.reports = true;
        }
    }

    /// What has this name or id.
    ///
    /// # Errors
    /// When nothing has; the text says so and names what comes near.
    pub fn find(&self, name: &str) -> Result<Member, String> {
        let is_it = |meta: &RuleMeta| meta.name == name || meta.id == name;
        if let Some(place) = self.rules.iter().position(|rule| is_it(&rule.meta)) {
            return Ok(Member::Rule(place));
        }
        let mut correlations = self.correlations.iter();
        if let Some(place) = correlations.position(|rule| is_it(&rule.meta)) {
            return Ok(Member::Correlation(place));
        }
        let rules = self.rules.iter().map(|rule| rule.meta.name.as_str());
        let correlations = self.correlations.iter().map(|rule| rule.meta.name.as_str());
        let hint = nearest(name, rules.chain(correlations)).map_or_else(
            || "`auditwatch rules --all` lists all".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Err(format!("there is no rule `{name}`; {hint}"))
    }

    /// The detection rules behind a name: the rule itself, or all that a correlation counts in the
    /// end, through others too; each once, in the order of the set.
    pub fn detections_behind(&self, member: Member) -> Vec<usize> {
        let (mut places, mut open) = (Vec::new(), vec![member]);
        while let Some(member) = open.pop() {
            match member {
                Member::Rule(place) => places.push(place),
                Member::Correlation(place) => {
                    let sources = &self.correlations[place].sources;
                    open.extend(sources.iter().map(|source| source.member));
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// The identity of what a correlation counts.
    pub fn member(&self, member: Member) -> &RuleMeta {
        match member {
            Member::Rule(place) => &self.rules[place].meta,
            Member::Correlation(place) => &self.correlations[place].meta,
        }
    }
}

/// A rule that is not compiled yet.
pub(super) struct Uncompiled {
    pub(super) meta: RuleMeta,
    pub(super) reports: bool,
    pub(super) counted: bool,
    pub(super) extension: Extension,
    pub(super) file: String,
    pub(super) parts: Vec<NamedPart>,
}

impl Uncompiled {
    fn logic(&self) -> Logic<Predicate> {
        Logic::all(self.parts.iter().map(|named| named.part.logic()).collect())
    }
}

/// Compiles rules one by one and gives each distinct test one id.
#[derive(Default)]
pub(super) struct Compiler {
    ids: HashMap<Predicate, u32>,
    specs: Vec<Predicate>,
    rules: Vec<Rule>,
}

impl Compiler {
    /// Adds a rule; its place is the number of rules before it.
    pub(super) fn add(&mut self, rule: Uncompiled) {
        let logic = rule.logic();
        let meaning = format!(
            "{:?}",
            (
                &rule.meta.id,
                &logic,
                &rule.extension.novelty,
                &rule.extension.rate
            )
        );
        // What a rule without it means stays what it was, so that it keeps its state.
        let meaning = match &rule.extension.silence {
            Some(silence) => format!("{meaning}{silence:?}"),
            None => meaning,
        };
        let mut numbered = logic.map(&mut |predicate| self.id(predicate));
        numbered.sort(&|id| self.specs[*id as usize].cost());
        self.rules.push(Rule {
            meta: Arc::new(rule.meta),
            reports: rule.reports,
            counted: rule.counted,
            extension: rule.extension,
            fingerprint: xxh3_64(meaning.as_bytes()),
            file: rule.file,
            parts: rule.parts,
            program: Program::new(&numbered),
        });
    }

    fn id(&mut self, predicate: &Predicate) -> u32 {
        if let Some(id) = self.ids.get(predicate) {
            return *id;
        }
        let id = self.specs.len() as u32;
        self.ids.insert(predicate.clone(), id);
        self.specs.push(predicate.clone());
        id
    }

    /// The fingerprint of a rule by its place.
    pub(super) fn fingerprint(&self, rule: usize) -> u64 {
        self.rules[rule].fingerprint
    }

    /// Makes the set ready to run.
    ///
    /// # Errors
    /// What is wrong with a test that only shows now (an automaton that grows too big).
    pub(super) fn finish(self, correlations: Vec<Correlation>) -> Result<RuleSet, String> {
        let ready = self
            .specs
            .iter()
            .map(Predicate::ready)
            .collect::<Result<Vec<_>, _>>()?;
        let plan = Plan::new(&self.specs);
        Ok(RuleSet {
            rules: self.rules,
            correlations,
            predicates: ready,
            plan,
        })
    }
}
