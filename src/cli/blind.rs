//! Which rules are blind: by logs for `rules --blind`, by an audit policy for `check --policy`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Failure, terminal};
use crate::{
    decode::{Decoded, Framer, Limits, each_event, open},
    detect::{Recorded, Sightedness, Visibility, judge_sight},
    diagnostic::{Problems, SourceFile},
    event::{AuditLevel, Context, Event},
    report::blind_json,
    rule::{AuditPolicy, RuleSet, group_of},
    source::archive::{self, Archive, Problem},
};

/// Reads logs and prints which rules are blind by them.
pub(super) fn by_logs(set: &RuleSet, inputs: &[PathBuf], is_json: bool) -> Result<(), Failure> {
    let found = archive::find(inputs).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::Unreadable(texts.join("\n"))
    })?;
    let mut seen = Visibility::default();
    for archive in &found.archives {
        read(archive, &mut seen)?;
    }
    if seen.events() == 0 {
        let none = "no audit event could be read from the logs".to_owned();
        return Err(Failure::Unreadable(none));
    }
    if seen.beyond() > 0 {
        terminal::say(&format!(
            "{} events were of kinds beyond those that are told apart",
            seen.beyond()
        ));
    }
    let sight = seen.judge(set);
    let mut out = BufWriter::new(io::stdout().lock());
    if is_json {
        json(&mut out, &sight)?;
    } else {
        table(&mut out, &sight)?;
        let unknown = match sight.unknown {
            0 => String::new(),
            unknown => format!("; {unknown} ask about requests that are not in the log"),
        };
        writeln!(
            out,
            "{} of {} rules are blind in {} events, {} partly; {} see all they ask about{unknown}",
            sight.wholly_blind(),
            sight.blind.len() + sight.seeing + sight.unknown,
            seen.events(),
            sight.blind.len() - sight.wholly_blind(),
            sight.seeing,
        )?;
    }
    Ok(out.flush()?)
}

/// Prints which rules are blind under an audit policy, and what to add to it.
pub(super) fn by_policy(set: &RuleSet, path: &Path) -> Result<(), Failure> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Wrong(Problem::unreadable(&name, &error).to_string()))?;
    let problems = Problems::new();
    let file = Arc::new(SourceFile::new(name.clone(), text));
    let Some(policy) = AuditPolicy::read(&file, &problems) else {
        let report = problems.into_report();
        let text = if report.is_empty() {
            format!("{name} is empty; it should hold an audit policy")
        } else {
            report.to_string()
        };
        return Err(Failure::Wrong(text));
    };
    let kinds = |rule: usize| {
        let kinds = set.kinds_asked(rule, &group_of).into_iter();
        kinds
            .map(|kind| {
                let recorded = Recorded::Decided(policy.decide(&kind).level);
                (kind, recorded)
            })
            .collect()
    };
    let no_start = "the policy omits the stage ResponseStarted, and failed logins are recorded at \
                    no other";
    let sight = judge_sight(set, &kinds, policy.omits_started().then_some(no_start));
    let mut out = BufWriter::new(io::stdout().lock());
    table(&mut out, &sight)?;
    exceptions(&mut out, set, &policy)?;
    writeln!(
        out,
        "{name}: {} of {} rules are blind, {} partly",
        sight.wholly_blind(),
        sight.blind.len() + sight.seeing + sight.unknown,
        sight.blind.len() - sight.wholly_blind(),
    )?;
    advise(&mut out, &sight)?;
    out.flush()?;
    if sight.wholly_blind() > 0 {
        return Err(Failure::Failed(String::new()));
    }
    Ok(())
}

/// Rules of the policy that keep less of some callers' requests than of others'.
fn exceptions(out: &mut impl Write, set: &RuleSet, policy: &AuditPolicy) -> io::Result<()> {
    let mut told: BTreeMap<(usize, String), BTreeSet<String>> = BTreeMap::new();
    for rule in (0..set.rules.len()).filter(|rule| set.rules[*rule].runs()) {
        for kind in set.kinds_asked(rule, &group_of) {
            let decision = policy.decide(&kind);
            for (number, whom, level) in decision.otherwise {
                if level < decision.level {
                    told.entry((number, whom)).or_default().insert(kind.path());
                }
            }
        }
    }
    for ((number, whom), paths) in told {
        let named: Vec<&str> = paths.iter().take(8).map(String::as_str).collect();
        let more = if paths.len() > named.len() {
            ", …"
        } else {
            ""
        };
        writeln!(
            out,
            "note: rule {number} of the policy keeps less of {whom} than of others: {}{more}",
            named.join(", ")
        )?;
    }
    Ok(())
}

/// Whose bodies hold secrets, so that no policy should record them.
const SECRETIVE: [&str; 4] = [
    "secrets",
    "serviceaccounts/token",
    "tokenreviews",
    "configmaps",
];

fn advise(out: &mut impl Write, sight: &Sightedness) -> io::Result<()> {
    let mut wanted: BTreeMap<(AuditLevel, String), (BTreeSet<String>, BTreeSet<String>)> =
        BTreeMap::new();
    for (kind, level) in sight.blind.iter().flat_map(|blind| &blind.missing) {
        let path = kind.path();
        let is_secretive = *level > AuditLevel::Metadata && SECRETIVE.contains(&path.as_str());
        if is_secretive || kind.resource.is_empty() {
            continue;
        }
        let (paths, verbs) = wanted.entry((*level, kind.group.to_string())).or_default();
        paths.insert(path);
        verbs.insert(kind.verb.to_string());
    }
    if wanted.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nPut this before the other rules of the policy:")?;
    for ((level, group), (paths, verbs)) in wanted.iter().rev() {
        let join = |texts: &BTreeSet<String>| texts.iter().cloned().collect::<Vec<_>>().join(", ");
        writeln!(
            out,
            "- level: {}\n  verbs: [{}]\n  resources: [{{group: \"{group}\", resources: [{}]}}]",
            level.name(),
            join(verbs),
            join(paths)
        )?;
    }
    Ok(())
}

fn read(archive: &Archive, seen: &mut Visibility) -> Result<(), Failure> {
    let unreadable = |error: io::Error| {
        Failure::Unreadable(Problem::unreadable(&archive.name(), &error).to_string())
    };
    let input = archive
        .open()
        .map_err(|problem| Failure::Unreadable(problem.to_string()))?;
    let mut input = open(input).map_err(unreadable)?;
    let mut framer = Framer::new(Limits::default());
    let context = Context::default();
    let mut is_over = false;
    while !is_over {
        is_over = framer.read_from(&mut input).map_err(unreadable)? == 0;
        if is_over {
            framer.finish();
        }
        while let Some(block) = framer.next_block() {
            each_event(&block, &mut |decoded| {
                if let Decoded::Event(slots, line) = decoded {
                    seen.see(&Event::new(slots, line, &context));
                }
            });
        }
    }
    Ok(())
}

fn table(out: &mut impl Write, sight: &Sightedness) -> io::Result<()> {
    let names = sight.blind.iter().map(|blind| blind.rule.chars().count());
    let width = names.max().unwrap_or(0);
    for blind in &sight.blind {
        writeln!(
            out,
            "{}  {:13}  {:width$}  {}",
            blind.extent(),
            blind.severity,
            blind.rule,
            blind.why
        )?;
    }
    if !sight.blind.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

fn json(out: &mut impl Write, sight: &Sightedness) -> io::Result<()> {
    for blind in &sight.blind {
        writeln!(out, "{}", blind_json(blind))?;
    }
    Ok(())
}
