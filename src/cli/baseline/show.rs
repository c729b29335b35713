//! Shows what the baselines know: a table of rules, of a rule's keys, of a key's values.

use std::io::{self, Write as _};

use crate::{
    alert::visible,
    baseline::Known,
    cli::{Failure, terminal},
    detect::{BaselineView, Engine},
    event::Field,
    rule::RuleSet,
    units::Time,
};

/// What to show.
pub(super) struct Asked<'a> {
    pub(super) rule: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) limit: usize,
}

/// The places of the rules with a baseline behind a name.
pub(super) fn rules_with_baselines(rules: &RuleSet, name: &str) -> Result<Vec<usize>, Failure> {
    let member = rules.find(name).map_err(Failure::Wrong)?;
    let mut places = rules.detections_behind(member);
    places.retain(|place| rules.rules[*place].extension.novelty.is_some());
    if places.is_empty() {
        return Err(Failure::Wrong(format!(
            "`{name}` learns nothing; `auditwatch baseline show` lists the rules that do"
        )));
    }
    Ok(places)
}

pub(super) fn show(engine: &Engine, rules: &RuleSet, asked: &Asked<'_>) -> Result<(), Failure> {
    // What is still learnt depends on how far the logs have come, not on the clock.
    let Some(now) = newest(engine) else {
        return Err(Failure::Failed(
            "nothing is known yet; fill it with `auditwatch baseline learn FILE…`".to_owned(),
        ));
    };
    let Some(rule) = asked.rule else {
        return overview(engine, now);
    };
    for place in rules_with_baselines(rules, rule)? {
        let fingerprint = rules.rules[place].fingerprint;
        let view = engine
            .baselines()
            .find(|view| view.rule.fingerprint == fingerprint);
        if let Some(view) = view {
            match asked.name {
                None => keys(&view, now, asked.limit)?,
                Some(name) => values(&view, now, name, asked.limit)?,
            }
        }
    }
    Ok(())
}

fn newest(engine: &Engine) -> Option<Time> {
    let keys = engine.baselines().flat_map(|view| view.novelty.iter());
    keys.map(|(_, last, _)| last).max()
}

fn overview(engine: &Engine, now: Time) -> Result<(), Failure> {
    let mut rows =
        vec![["RULE", "KEYS", "LEARNING", "VALUES", "HELD", "LEARNS"].map(str::to_owned)];
    for view in engine.baselines() {
        let progress = view.novelty.progress(now);
        rows.push([
            view.rule.meta.name.clone(),
            (progress.learning + progress.learnt).to_string(),
            progress.learning.to_string(),
            view.novelty.stats().held.to_string(),
            progress.held.to_string(),
            format!(
                "{} of {}, for {}",
                names(&view.spec.of),
                names(&view.spec.by),
                view.spec.learn
            ),
        ]);
    }
    table(&rows)?;
    terminal::say(&format!(
        "as of {now}, the newest event that was learnt from"
    ));
    Ok(())
}

fn names(fields: &[Field]) -> String {
    let names: Vec<&str> = fields.iter().map(Field::name).collect();
    names.join(" / ")
}

fn keys(view: &BaselineView<'_>, now: Time, limit: usize) -> Result<(), Failure> {
    let mut known: Vec<(Time, &Known)> = view
        .novelty
        .iter()
        .map(|(_, last, known)| (last, known))
        .collect();
    known.sort_by_key(|(last, known)| (&*known.whose.cluster, &*known.whose.name, *last));
    let by = names(&view.spec.by).to_uppercase();
    let heads = [
        "CLUSTER",
        "KNOWN SINCE",
        "LAST SEEN",
        "VALUES",
        "HELD",
        "STANDING",
        &by,
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    for (last, known) in known.iter().take(limit) {
        let held = known.values.iter().filter(|value| value.held.is_some());
        rows.push([
            visible(&known.whose.cluster).into_owned(),
            known.first.to_string(),
            last.to_string(),
            known.values.len().to_string(),
            held.count().to_string(),
            standing(view, known, now),
            visible(&known.whose.name).into_owned(),
        ]);
    }
    table(&rows)?;
    more(known.len(), limit);
    Ok(())
}

fn standing(view: &BaselineView<'_>, known: &Known, now: Time) -> String {
    let until = view.novelty.learning_until(known.first);
    if until > now {
        format!("learning until {until}")
    } else {
        "learnt".to_owned()
    }
}

fn values(view: &BaselineView<'_>, now: Time, name: &str, limit: usize) -> Result<(), Failure> {
    let found: Vec<&Known> = view
        .novelty
        .iter()
        .map(|(_, _, known)| known)
        .filter(|known| *known.whose.name == *name)
        .collect();
    let rule = &view.rule.meta.name;
    if found.is_empty() {
        return Err(Failure::Failed(format!(
            "`{rule}` knows nothing of `{name}`; `auditwatch baseline show {rule}` lists whom it \
             knows"
        )));
    }
    for known in found {
        let (name, first) = (visible(name), known.first);
        let standing = standing(view, known, now);
        writeln!(
            io::stdout().lock(),
            "{rule}: {name}, known since {first}, {standing}"
        )?;
        let mut rows = vec![[
            "LAST SEEN".to_owned(),
            "STANDING".to_owned(),
            names(&view.spec.of).to_uppercase(),
        ]];
        let mut values: Vec<_> = known.values.iter().collect();
        values.sort_by_key(|value| (&*value.name, value.hash));
        for value in values.iter().take(limit) {
            let standing = value.held.map_or_else(
                || "known".to_owned(),
                |hold| format!("held since {}, told {}×", hold.since, hold.times),
            );
            rows.push([
                value.last.to_string(),
                standing,
                visible(&value.name).into_owned(),
            ]);
        }
        table(&rows)?;
        more(values.len(), limit);
    }
    Ok(())
}

fn more(all: usize, limit: usize) {
    if all > limit {
        terminal::say(&format!("{} more; see --limit", all - limit));
    }
}

fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS - 1)
        .map(|column| width(column).unwrap_or_default())
        .collect();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            write!(out, "{cell:width$}  ")?;
        }
        writeln!(out, "{}", row[COLUMNS - 1])?;
    }
    Ok(out.flush()?)
}
