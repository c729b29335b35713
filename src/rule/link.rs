//! Joins documents: filters to their rules, correlations to what they count.

use std::{collections::BTreeMap, sync::Arc};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    Correlation, Member, RuleSet, Source, codes,
    correlate::CorrelationDraft,
    document::{Body, Draft, FilterDraft},
    drafts::Drafts,
    field,
    set::{Compiler, NamedPart, Uncompiled},
};
use crate::{
    diagnostic::{Diagnostic, Problems, Spotted, nearest},
    event::Field,
};

/// Joins all documents. What does not fit together is reported and left out.
pub(super) fn link(drafts: &Drafts, problems: &Problems) -> RuleSet {
    let filters = filters(drafts, problems);
    let joined = correlations_in_order(drafts, problems);
    let reporting = Reporting::new(&joined);
    let mut compiler = Compiler::default();
    let mut members: BTreeMap<usize, Member> = BTreeMap::new();
    for (place, draft) in drafts.all.iter().enumerate() {
        let Body::Rule(rule) = &draft.body else {
            continue;
        };
        members.insert(place, Member::Rule(members.len()));
        let own = NamedPart {
            name: String::new(),
            part: rule.part.clone(),
        };
        let narrowing = filters.get(&place).into_iter().flatten();
        compiler.add(Uncompiled {
            meta: draft.head.meta.clone(),
            reports: reporting.of(place) && !rule.extension.off,
            counted: reporting.counted.contains_key(&place),
            extension: rule.extension.clone(),
            file: draft.file.name.clone(),
            parts: [own].into_iter().chain(narrowing.cloned()).collect(),
        });
    }
    let mut correlations: Vec<Correlation> = Vec::new();
    for joined in &joined {
        let sources = sources(joined, &members, problems);
        let counted: Vec<u64> = sources
            .iter()
            .map(|source| match source.member {
                Member::Rule(rule) => compiler.fingerprint(rule),
                Member::Correlation(number) => correlations[number].fingerprint,
            })
            .collect();
        members.insert(joined.place, Member::Correlation(correlations.len()));
        correlations.push(correlation(
            joined,
            sources,
            &counted,
            reporting.of(joined.place),
        ));
    }
    compiler.finish(correlations).unwrap_or_else(|message| {
        if let Some(draft) = drafts.all.first() {
            let message = format!("the rules cannot be compiled: {message}");
            let spot = draft.head.spot;
            problems.add(Diagnostic::error(
                codes::BAD_REGEX,
                &draft.file,
                spot,
                message,
            ));
        }
        RuleSet::default()
    })
}

/// The filters of each rule, by the rule's place.
fn filters(drafts: &Drafts, problems: &Problems) -> BTreeMap<usize, Vec<NamedPart>> {
    let mut found: BTreeMap<usize, Vec<NamedPart>> = BTreeMap::new();
    for draft in &drafts.all {
        let Body::Filter(FilterDraft { rules, part }) = &draft.body else {
            continue;
        };
        let named = NamedPart {
            name: draft.head.meta.name.clone(),
            part: part.clone(),
        };
        let Some(rules) = rules else {
            for (place, draft) in drafts.all.iter().enumerate() {
                if matches!(draft.body, Body::Rule(_)) {
                    found.entry(place).or_default().push(named.clone());
                }
            }
            continue;
        };
        for reference in rules {
            let Some(place) = drafts.find(reference, &draft.file, problems) else {
                continue;
            };
            match drafts.all[place].body {
                Body::Rule(_) => found.entry(place).or_default().push(named.clone()),
                Body::Skipped | Body::Broken | Body::Replaced => {}
                Body::Correlation(_) | Body::Filter(_) => problems.add(
                    Diagnostic::error(
                        codes::UNSUPPORTED,
                        &draft.file,
                        reference.spot,
                        "a filter narrows detection rules only",
                    )
                    .help("name the rules that the correlation counts"),
                ),
            }
        }
    }
    found
}

/// A correlation whose references are found.
struct Joined<'d> {
    place: usize,
    draft: &'d Draft,
    body: &'d CorrelationDraft,
    /// The places of what it counts, with the references as written.
    counted: Vec<(usize, &'d Spotted<String>)>,
}

/// All correlations whose references are sound, each behind those that it counts.
fn correlations_in_order<'d>(drafts: &'d Drafts, problems: &Problems) -> Vec<Joined<'d>> {
    let mut waiting: Vec<Joined<'d>> = Vec::new();
    for (place, draft) in drafts.all.iter().enumerate() {
        let Body::Correlation(body) = &draft.body else {
            continue;
        };
        if let Some(counted) = counted(drafts, draft, body, problems) {
            waiting.push(Joined {
                place,
                draft,
                body,
                counted,
            });
        }
    }
    let mut ordered: Vec<Joined<'d>> = Vec::new();
    loop {
        let is_open = |joined: &Joined<'_>, ordered: &[Joined<'_>]| {
            joined.counted.iter().all(|(place, _)| {
                matches!(drafts.all[*place].body, Body::Rule(_))
                    || ordered.iter().any(|done| done.place == *place)
            })
        };
        match waiting.iter().position(|joined| is_open(joined, &ordered)) {
            Some(next) => ordered.push(waiting.remove(next)),
            None => break,
        }
    }
    // What is left counts itself, or counts what was left out. Only the former is a mistake.
    let left: Vec<usize> = waiting.iter().map(|joined| joined.place).collect();
    for joined in &waiting {
        let inner = joined
            .counted
            .iter()
            .find(|(place, _)| left.contains(place));
        let Some((_, reference)) = inner else {
            continue;
        };
        problems.add(
            Diagnostic::error(
                codes::CIRCULAR,
                &joined.draft.file,
                reference.spot,
                format!("`{}` counts this correlation in turn", reference.value),
            )
            .help("a correlation can only count what does not depend on it"),
        );
    }
    ordered
}

/// What a correlation counts; `None` when something of it is not there.
fn counted<'d>(
    drafts: &Drafts,
    draft: &Draft,
    body: &'d CorrelationDraft,
    problems: &Problems,
) -> Option<Vec<(usize, &'d Spotted<String>)>> {
    let mut counted: Vec<(usize, &Spotted<String>)> = Vec::new();
    let mut sound = true;
    for reference in &body.rules {
        let Some(place) = drafts.find(reference, &draft.file, problems) else {
            sound = false;
            continue;
        };
        let problem = |level: fn(_, _, _, String) -> Diagnostic, code, message: &str| {
            level(code, &draft.file, reference.spot, message.to_owned())
        };
        if counted.iter().any(|(other, _)| *other == place) {
            let message = "the correlation counts this rule twice";
            problems.add(problem(Diagnostic::error, codes::DUPLICATE_RULE, message));
        }
        match drafts.all[place].body {
            Body::Rule(_) | Body::Correlation(_) => counted.push((place, reference)),
            Body::Filter(_) => {
                let message = "this is a filter, which finds nothing by itself";
                problems.add(problem(Diagnostic::error, codes::UNKNOWN_RULE, message));
                sound = false;
            }
            Body::Skipped => {
                let message = "this rule is about another log, so the correlation is left out too";
                problems.add(problem(
                    Diagnostic::warning,
                    codes::OTHER_LOGSOURCE,
                    message,
                ));
                sound = false;
            }
            Body::Broken | Body::Replaced => sound = false,
        }
    }
    sound.then_some(counted)
}

/// Which rules and correlations make detections of their own.
struct Reporting {
    /// Places that are counted by a correlation → whether one of these says `generate: true`.
    counted: BTreeMap<usize, bool>,
}

impl Reporting {
    fn new(joined: &[Joined<'_>]) -> Self {
        let mut counted: BTreeMap<usize, bool> = BTreeMap::new();
        for joined in joined {
            for (place, _) in &joined.counted {
                *counted.entry(*place).or_default() |= joined.body.generate;
            }
        }
        Self { counted }
    }

    fn of(&self, place: usize) -> bool {
        self.counted.get(&place).copied().unwrap_or(true)
    }
}

/// How each counted rule gives the key and the values.
fn sources(
    joined: &Joined<'_>,
    members: &BTreeMap<usize, Member>,
    problems: &Problems,
) -> Vec<Source> {
    check_aliases(joined, problems);
    let mut unknown = Vec::new();
    let mut fields = |names: &[Spotted<String>], reference: &Spotted<String>| -> Vec<Field> {
        names
            .iter()
            .filter_map(|name| {
                let known = resolve(joined, name, reference, problems);
                // A name that is no field is told once, not for each rule.
                if known.is_none() && !unknown.contains(&name.spot) {
                    unknown.push(name.spot);
                    tell_unresolved(joined, name, reference, problems);
                }
                known
            })
            .collect()
    };
    joined
        .counted
        .iter()
        .filter_map(|(place, reference)| {
            Some(Source {
                member: *members.get(place)?,
                key: fields(&joined.body.group_by, reference),
                values: fields(&joined.body.values, reference),
            })
        })
        .collect()
}

/// The field that a name of `group-by` means for one of the counted rules.
fn resolve(
    joined: &Joined<'_>,
    name: &Spotted<String>,
    reference: &Spotted<String>,
    problems: &Problems,
) -> Option<Field> {
    let Some(alias) = joined.body.aliases.get(&name.value) else {
        return Field::parse(&name.value).ok();
    };
    let (_, field) = alias
        .iter()
        .find(|(rule, _)| rule.value == reference.value)?;
    field::look_up(&field.value, &joined.draft.file, field.spot, problems)
}

fn tell_unresolved(
    joined: &Joined<'_>,
    name: &Spotted<String>,
    reference: &Spotted<String>,
    problems: &Problems,
) {
    let file = &joined.draft.file;
    if let Some(alias) = joined.body.aliases.get(&name.value) {
        if !alias.iter().any(|(rule, _)| rule.value == reference.value) {
            let message = format!(
                "the alias `{}` says nothing for `{}`",
                name.value, reference.value
            );
            problems.add(
                Diagnostic::error(codes::UNKNOWN_FIELD, file, name.spot, message)
                    .help(format!("add `{}: FIELD` below the alias", reference.value)),
            );
        }
        return;
    }
    field::look_up(&name.value, file, name.spot, problems);
}

/// Aliases may only speak of rules that are counted.
fn check_aliases(joined: &Joined<'_>, problems: &Problems) {
    for (rule, _) in joined.body.aliases.values().flatten() {
        if joined
            .body
            .rules
            .iter()
            .any(|reference| reference.value == rule.value)
        {
            continue;
        }
        let names = joined
            .body
            .rules
            .iter()
            .map(|reference| reference.value.as_str());
        let message = format!("the correlation does not count `{}`", rule.value);
        problems.add(
            Diagnostic::error(codes::UNKNOWN_RULE, &joined.draft.file, rule.spot, message)
                .did_you_mean(nearest(&rule.value, names), "write it as `rules` has it"),
        );
    }
}

fn correlation(
    joined: &Joined<'_>,
    sources: Vec<Source>,
    counted: &[u64],
    reports: bool,
) -> Correlation {
    let body = joined.body;
    let meta = joined.draft.head.meta.clone();
    let keys: Vec<_> = sources
        .iter()
        .map(|source| (&source.key, &source.values))
        .collect();
    let meaning = format!(
        "{:?}",
        (
            &meta.id,
            body.kind,
            counted,
            keys,
            body.timespan,
            body.bounds
        )
    );
    Correlation {
        meta: Arc::new(meta),
        kind: body.kind,
        sources,
        group_by: body
            .group_by
            .iter()
            .map(|name| Arc::from(name.value.as_str()))
            .collect(),
        timespan: body.timespan,
        bounds: body.bounds,
        reports,
        extension: body.extension.clone(),
        fingerprint: xxh3_64(meaning.as_bytes()),
    }
}
