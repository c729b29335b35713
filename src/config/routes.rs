//! The sections `route`, `inhibit_rules` and `time_intervals`, in Alertmanager's words.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    receivers::LEVELS,
    section::{Reading, Section, Setting},
    settings::ReceiverSettings,
};
use crate::{
    alert::dispatch::{
        Bounds, DayTime, GroupBy, InhibitRule, Interval, Matchers, Plan, Range, Route,
        TimeInterval, location,
    },
    diagnostic::{Diagnostic, Spot, Spotted, Table, nearest},
    rule::Severity,
    units::Span,
};

/// How deep routes may be nested.
const DEPTH_MAX: usize = 16;

/// What routes may name.
struct Names<'d> {
    reading: &'d Reading<'d>,
    receivers: Vec<Arc<str>>,
    intervals: BTreeMap<Box<str>, Arc<TimeInterval>>,
    /// Receivers that a route named.
    used: Vec<Arc<str>>,
}

/// Reads who is told what. Receivers that no route names are told of everything from their level
/// upwards, as all are when there is no `route`.
pub(super) fn read(root: &mut Section<'_>, receivers: &[Setting<ReceiverSettings>]) -> Plan {
    let reading = root.reading;
    let mut names = Names {
        reading,
        receivers: receivers
            .iter()
            .map(|receiver| receiver.value.name.as_str().into())
            .collect(),
        intervals: intervals(&mut root.table, reading),
        used: Vec::new(),
    };
    let tables = root.table.tables("inhibit_rules", "an inhibit rule");
    let inhibit_rules = tables.into_iter().map(inhibit_rule).collect();
    let own = root.table.table("route", "`route`");
    let own = own.map(|table| names.route(table, &Route::default(), 0));
    let unnamed = receivers
        .iter()
        .filter(|receiver| !names.used.iter().any(|name| **name == *receiver.value.name));
    let mut routes: Vec<Route> = Vec::new();
    for receiver in unnamed {
        if own.is_some() && Arc::ptr_eq(&receiver.place.file, &reading.file) {
            let message = format!("no route names the receiver `{}`", receiver.value.name);
            let problem = Diagnostic::warning(
                "unused-receiver",
                &receiver.place.file,
                receiver.place.spot,
                message,
            );
            reading.add(problem.help("it is told of everything from its level upwards; name it in a route, or take it out"));
        }
        routes.push(receiver.value.route());
    }
    routes.extend(own);
    Plan {
        root: Route {
            routes,
            ..Route::default()
        },
        inhibit_rules,
        receivers: receivers
            .iter()
            .map(|receiver| receiver.value.telling())
            .collect(),
        bounds: Bounds::default(),
    }
}

impl Names<'_> {
    fn route(&mut self, mut table: Table<'_>, above: &Route, depth: usize) -> Route {
        let is_root = depth == 0;
        let matchers_spot = table.spot;
        old_matchers(&mut table, &["match", "match_re"], "matchers");
        let matchers = matchers(&mut table, "matchers");
        let matchers = matchers.unwrap_or_default();
        if is_root && !matchers.is_empty() {
            let problem = table.error(
                "contradiction",
                matchers_spot,
                "the first route must take every alert, so it has no `matchers`",
            );
            table
                .problems
                .add(problem.help("put them on a route below it, in `routes`"));
        }
        let is_named = table.has("receiver");
        let receivers = self.receivers(&mut table);
        if is_root && !is_named {
            table.missing(
                "receiver",
                "name the receiver of the alerts that no other route takes",
            );
        }
        let mut route = Route {
            matchers,
            continues: table.boolean("continue").is_some_and(|value| value.value),
            receivers: if receivers.is_empty() {
                above.receivers.clone()
            } else {
                receivers
            },
            group_by: group_by(&mut table).unwrap_or_else(|| above.group_by.clone()),
            group_wait: wait(&mut table, "group_wait", Span::ZERO).unwrap_or(above.group_wait),
            group_interval: wait(&mut table, "group_interval", Span::from_secs(1))
                .unwrap_or(above.group_interval),
            repeat_interval: wait(&mut table, "repeat_interval", Span::from_secs(1))
                .unwrap_or(above.repeat_interval),
            at_once: at_once(&mut table, above.at_once),
            mute: self.named_intervals(&mut table, "mute_time_intervals"),
            active: self.named_intervals(&mut table, "active_time_intervals"),
            routes: Vec::new(),
        };
        if route.repeat_interval < route.group_interval {
            let message = format!(
                "`repeat_interval` ({}) is shorter than `group_interval` ({})",
                route.repeat_interval, route.group_interval
            );
            let problem = Diagnostic::warning("contradiction", table.file, table.spot, message);
            table
                .problems
                .add(problem.help("people are told at most once in `group_interval`"));
        }
        let children = table.tables("routes", "a route");
        if depth == DEPTH_MAX && !children.is_empty() {
            table.problems.add(table.error(
                "too-deep",
                table.spot,
                format!("routes are nested more than {DEPTH_MAX} deep"),
            ));
        } else {
            for child in children {
                let spot = child.spot;
                let file = child.file;
                let read = self.route(child, &route, depth + 1);
                if let Some(earlier) = shadows(&route.routes, &read) {
                    let message = format!("no alert gets to this route: {earlier} before it");
                    let problem = Diagnostic::error(
                        "unreachable",
                        file,
                        first_line(&file.text, spot),
                        message,
                    );
                    self.reading.add(
                        problem.help("write it before that one, or give that one `continue: true`"),
                    );
                }
                route.routes.push(read);
            }
        }
        table.finish();
        route
    }

    /// `receiver`: a name, or several.
    fn receivers(&mut self, table: &mut Table<'_>) -> Vec<Arc<str>> {
        let mut found = Vec::new();
        for name in table.texts("receiver") {
            if let Some(known) = self.receivers.iter().find(|known| ***known == *name.value) {
                found.push(Arc::clone(known));
                self.used.push(Arc::clone(known));
                continue;
            }
            let known = self.receivers.iter().map(|name| &**name);
            let near = nearest(&name.value, known.clone());
            let all: Vec<&str> = known.collect();
            let message = format!("there is no receiver `{}`", name.value);
            let problem = table.error("unknown-receiver", name.spot, message);
            table
                .problems
                .add(problem.did_you_mean(near, format!("`receivers` has {}", all.join(", "))));
        }
        found
    }

    fn named_intervals(&self, table: &mut Table<'_>, key: &'static str) -> Vec<Arc<TimeInterval>> {
        let mut found = Vec::new();
        for name in table.texts(key) {
            if let Some(interval) = self.intervals.get(name.value.as_str()) {
                found.push(Arc::clone(interval));
                continue;
            }
            let near = nearest(&name.value, self.intervals.keys().map(|name| &**name));
            let message = format!("there is no time interval `{}`", name.value);
            let problem = table.error("unknown-interval", name.spot, message);
            table
                .problems
                .add(problem.did_you_mean(near, "write it in `time_intervals`"));
        }
        found
    }
}

/// What keeps alerts from ever getting to a route, in words.
fn shadows(earlier: &[Route], route: &Route) -> Option<&'static str> {
    earlier
        .iter()
        .filter(|other| !other.continues)
        .find_map(|other| {
            if other.matchers.is_empty() {
                Some("one without matchers, which takes them all, stands")
            } else if other
                .matchers
                .iter()
                .all(|theirs| route.matchers.iter().any(|own| own == theirs))
            {
                Some("one that takes all that it would take stands")
            } else {
                None
            }
        })
}

fn first_line(text: &str, spot: Spot) -> Spot {
    let line = text
        .get(spot.start..spot.end)
        .and_then(|text| text.lines().next());
    Spot::new(spot.start, spot.start + line.unwrap_or_default().len())
}

/// Matchers that Alertmanager itself calls deprecated.
fn old_matchers(table: &mut Table<'_>, keys: &[&'static str], instead: &str) {
    for key in keys {
        if let Some(entry) = table.entry(key) {
            let message = format!("`{key}` is Alertmanager's old form");
            let problem = table.error("old-form", entry.key_spot, message);
            table.problems.add(problem.help(format!(
                "write `{instead}: ['severity=\"critical\"', 'cluster=~\"prod-.*\"']`"
            )));
        }
    }
}

/// A list of matchers, each one or several.
fn matchers(table: &mut Table<'_>, key: &'static str) -> Option<Matchers> {
    if !table.has(key) {
        table.entry(key);
        return None;
    }
    let mut all = Matchers::default();
    for text in table.texts(key) {
        match Matchers::parse(&text.value) {
            Ok(more) => all.and(more),
            Err(message) => table
                .problems
                .add(table.error("wrong-matcher", text.spot, message)),
        }
    }
    Some(all)
}

fn group_by(table: &mut Table<'_>) -> Option<GroupBy> {
    if !table.has("group_by") {
        table.entry("group_by");
        return None;
    }
    let names = table.texts("group_by");
    let all = names.iter().find(|name| name.value == "...");
    if let Some(all) = all {
        if names.len() > 1 {
            let problem = table.error(
                "contradiction",
                all.spot,
                "`...` means every label, so it stands alone",
            );
            table
                .problems
                .add(problem.help("write `group_by: ['...']`, or the labels without it"));
        }
        return Some(GroupBy::Alert);
    }
    Some(GroupBy::Labels(
        names.into_iter().map(|name| name.value.into()).collect(),
    ))
}

fn wait(table: &mut Table<'_>, key: &'static str, least: Span) -> Option<Span> {
    let read = |text: &str| match Span::parse(text) {
        Ok(span) if span < least => Err(format!("`{text}` is less than {least}")),
        read => read,
    };
    table.parsed(key, read).map(|span| span.value)
}

/// `at_once`: a severity, or `never`.
fn at_once(table: &mut Table<'_>, above: Option<Severity>) -> Option<Severity> {
    let levels = LEVELS.iter().map(|(name, level)| (*name, Some(*level)));
    let words: Vec<(&str, Option<Severity>)> = levels.chain([("never", None)]).collect();
    let word = table.word("at_once", &words);
    word.map_or(above, |word| word.value)
}

fn inhibit_rule(mut table: Table<'_>) -> InhibitRule {
    old_matchers(
        &mut table,
        &["source_match", "source_match_re"],
        "source_matchers",
    );
    old_matchers(
        &mut table,
        &["target_match", "target_match_re"],
        "target_matchers",
    );
    let mut side = |key: &'static str| {
        let read = matchers(&mut table, key);
        if read.is_none() {
            let help = "say which alerts are meant, like ['severity=\"critical\"']";
            table.missing(key, help);
        }
        read.unwrap_or_default()
    };
    let (source, target) = (side("source_matchers"), side("target_matchers"));
    let equal = table
        .texts("equal")
        .into_iter()
        .map(|name| name.value.into())
        .collect();
    table.finish();
    InhibitRule {
        source,
        target,
        equal,
    }
}

fn intervals(root: &mut Table<'_>, reading: &Reading<'_>) -> BTreeMap<Box<str>, Arc<TimeInterval>> {
    let mut all = BTreeMap::<Box<str>, Arc<TimeInterval>>::new();
    for mut table in root.tables("time_intervals", "a time interval") {
        let name = table.text("name");
        let tables = table.tables("time_intervals", "a stretch of time");
        let intervals: Vec<Interval> = tables.into_iter().map(interval).collect();
        let Some(Spotted { value, spot }) = name else {
            table.missing("name", "routes name it");
            table.finish();
            continue;
        };
        if intervals.is_empty() {
            table.missing(
                "time_intervals",
                "say when, like [{weekdays: ['monday:friday']}]",
            );
        }
        let file = table.file;
        table.finish();
        let interval = TimeInterval {
            name: value.as_str().into(),
            intervals,
        };
        if all
            .insert(value.as_str().into(), Arc::new(interval))
            .is_some()
        {
            let message = format!("two time intervals are called `{value}`");
            let problem = Diagnostic::error("contradiction", file, spot, message);
            reading.add(problem.help("give each a `name` of its own"));
        }
    }
    all
}

fn interval(mut table: Table<'_>) -> Interval {
    let mut times = Vec::new();
    for mut time in table.tables("times", "a time of day") {
        let (from, until) = (time.text("start_time"), time.text("end_time"));
        match (&from, &until) {
            (Some(from), Some(until)) => match DayTime::parse(&from.value, &until.value) {
                Ok(read) => times.push(read),
                Err(message) => time
                    .problems
                    .add(time.error("wrong-value", from.spot, message)),
            },
            (None, _) => time.missing("start_time", "write it like '09:00'"),
            (_, None) => time.missing("end_time", "write it like '17:00'"),
        }
        time.finish();
    }
    let mut ranges = |key: &'static str, read: fn(&str) -> Result<Range, String>| {
        let mut all = Vec::new();
        for text in table.texts(key) {
            match read(&text.value) {
                Ok(range) => all.push(range),
                Err(message) => table
                    .problems
                    .add(table.error("wrong-value", text.spot, message)),
            }
        }
        all
    };
    let weekdays = ranges("weekdays", Range::weekdays);
    let days_of_month = ranges("days_of_month", Range::days_of_month);
    let months = ranges("months", Range::months);
    let years = ranges("years", Range::years);
    let location = table.parsed("location", location);
    table.finish();
    Interval {
        times,
        weekdays,
        days_of_month,
        months,
        years,
        location: location.map_or_else(|| Interval::default().location, |location| location.value),
    }
}

#[cfg(test)]
mod tests;
