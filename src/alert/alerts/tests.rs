//! Timelines: what is folded, when people are told, who goes first.

use proptest::prelude::*;

use super::*;
use crate::{
    alert::samples::{at, detection, facts_at, rule, single},
    rule::RuleMeta,
    window::Rows,
};

/// Runs a timeline in minutes and writes down what was told as `kind count new`.
#[derive(Debug)]
struct Script {
    alerts: Alerts,
    out: Vec<Change>,
}

impl Script {
    fn new(settings: Settings) -> Self {
        Self {
            alerts: Alerts::new(settings),
            out: Vec::new(),
        }
    }

    fn fold(&mut self, principal: &str, seconds: impl IntoIterator<Item = i64>) -> String {
        self.alerts
            .fold(detection(principal, seconds), &mut self.out);
        self.told()
    }

    fn tick(&mut self, seconds: i64) -> String {
        self.alerts.tick(at(seconds), &mut self.out);
        self.told()
    }

    fn told(&mut self) -> String {
        let line = |change: Change| {
            let alert = change.alert();
            let kind = match &change {
                Change::Fired(_) => "fired",
                Change::Updated(_) => "updated",
                Change::Resolved(_) => "resolved",
            };
            format!("{kind} {} {}", alert.count, alert.new)
        };
        self.out.drain(..).map(line).collect::<Vec<_>>().join(", ")
    }
}

const MINUTE: i64 = 60;

#[test]
fn fires_updates_and_resolves() {
    let mut script = Script::new(Settings::default());
    assert_eq!(script.fold("web", 0..3), "fired 3 3");
    assert_eq!(
        script.fold("web", 3..5),
        "",
        "the next update is not due yet"
    );
    assert_eq!(script.tick(4 * MINUTE), "");
    assert_eq!(script.tick(5 * MINUTE + 2), "updated 5 2");
    assert_eq!(script.tick(12 * MINUTE), "", "nothing is new");
    assert_eq!(
        script.fold("web", [13 * MINUTE]),
        "updated 6 1",
        "due, so told at once"
    );
    assert_eq!(script.fold("web", [2 * MINUTE]), "", "a late one joins");
    assert_eq!(script.tick(33 * MINUTE), "updated 7 1");
    assert_eq!(script.tick(33 * MINUTE + 1), "resolved 7 0");
    assert_eq!(script.alerts.open(), 0);
    assert_eq!(script.fold("web", [40 * MINUTE]), "fired 1 1");
    let counts = Counts {
        fired: 2,
        updated: 3,
        resolved: 1,
        evicted: 0,
    };
    assert_eq!(script.alerts.counts(), counts);
}

#[test]
fn a_gap_makes_a_new_alert_without_a_tick() {
    let mut script = Script::new(Settings::default());
    script.fold("web", 0..3);
    assert_eq!(
        script.fold("web", [15 * MINUTE + 3]),
        "resolved 3 0, fired 1 1"
    );
    assert_eq!(
        script.fold("web", [-MINUTE]),
        "fired 1 1, resolved 1 0",
        "wholly before"
    );
    assert_eq!(script.alerts.open(), 1);
}

#[test]
fn resolved_says_when_it_was_over() {
    let mut script = Script::new(Settings::default());
    let mut out = Vec::new();
    script.alerts.fold(detection("web", 0..3), &mut out);
    script.alerts.tick(at(3600), &mut out);
    let (fired, resolved) = (out[0].alert(), out[1].alert());
    assert_eq!(fired.id, resolved.id);
    assert_eq!(
        (fired.status, resolved.status),
        (Status::Firing, Status::Resolved)
    );
    assert_eq!(resolved.ends_at, Some(at(2 + 15 * MINUTE)));
    assert_eq!(
        (resolved.updated_at, resolved.evicted),
        (at(2 + 15 * MINUTE), false)
    );
    assert_eq!((fired.updated_at, fired.ends_at), (at(2), None));
}

#[test]
fn labels_tell_alerts_apart() {
    let mut script = Script::new(Settings::default());
    script.fold("web", [0]);
    assert_eq!(script.fold("db", [0]), "fired 1 1", "another key");

    let one = Facts::clone(&facts_at(0));
    let mut fold = |change: fn(&mut Facts)| {
        let mut facts = one.clone();
        change(&mut facts);
        script.alerts.fold(single(facts), &mut script.out);
        script.told()
    };
    assert_eq!(fold(|_| {}), "fired 1 1");
    assert_eq!(
        fold(|facts| Arc::make_mut(&mut facts.origin).ip = None),
        "",
        "a known principal moves"
    );
    assert_eq!(fold(|facts| facts.target.name = None), "");
    assert_eq!(fold(|facts| facts.target.namespace = None), "fired 1 1");
    assert_eq!(fold(|facts| facts.cluster = "other".into()), "fired 1 1");
    assert_eq!(
        fold(|facts| Arc::make_mut(&mut facts.principal).name = "bob".into()),
        "fired 1 1"
    );
    let anonymous = |facts: &mut Facts| Arc::make_mut(&mut facts.principal).kind = "anonymous";
    assert_eq!(fold(anonymous), "fired 1 1");
    let elsewhere = |facts: &mut Facts| {
        Arc::make_mut(&mut facts.principal).kind = "anonymous";
        Arc::make_mut(&mut facts.origin).ip = Some("198.51.100.8".into());
    };
    assert_eq!(
        fold(elsewhere),
        "fired 1 1",
        "an unknown principal is its address"
    );
}

#[test]
fn the_least_severe_and_longest_quiet_goes_first() {
    let settings = Settings {
        alerts_max: 2,
        ..Settings::default()
    };
    let mut alerts = Alerts::new(settings);
    let mut out = Vec::new();
    let mut fold = |alerts: &mut Alerts, severity, name: &str, second| {
        let meta = RuleMeta {
            name: name.into(),
            ..RuleMeta::clone(&rule(severity))
        };
        let detection = Detection {
            rule: Arc::new(meta),
            ..detection(name, [second])
        };
        alerts.fold(detection, &mut out);
        let evicted: Vec<String> = out
            .drain(..)
            .filter(|change| change.alert().evicted)
            .map(|change| change.alert().rule.name.clone())
            .collect();
        evicted.join(" ")
    };
    assert_eq!(fold(&mut alerts, Severity::High, "a", 0), "");
    assert_eq!(fold(&mut alerts, Severity::High, "b", 1), "");
    assert_eq!(
        fold(&mut alerts, Severity::High, "a", 2),
        "",
        "a is busy again"
    );
    assert_eq!(fold(&mut alerts, Severity::Critical, "c", 3), "b");
    assert_eq!(fold(&mut alerts, Severity::Low, "d", 4), "d");
    assert_eq!(fold(&mut alerts, Severity::Critical, "e", 5), "a");
    assert_eq!((alerts.open(), alerts.counts().evicted), (2, 3));
    let unused = (alerts.due.len(), alerts.idle.len());
    assert_eq!(unused, (2, 2), "nothing is left behind in the indices");
}

#[test]
fn memory_is_bounded_too() {
    let settings = Settings {
        bytes_max: ByteSize(200_000),
        ..Settings::default()
    };
    let mut script = Script::new(settings);
    for n in 0..100 {
        script.fold(&format!("principal-{n}"), 0..40);
    }
    let bytes: usize = script.alerts.open.values().map(|open| open.bytes).sum();
    assert_eq!(bytes, script.alerts.bytes);
    assert!(
        bytes <= 200_000 && script.alerts.open() > 3,
        "{bytes} {}",
        script.alerts.open()
    );
}

#[test]
fn flush_tells_what_is_new_once() {
    let mut script = Script::new(Settings::default());
    script.fold("web", 0..3);
    script.fold("web", 3..9);
    script.alerts.flush(&mut script.out);
    assert_eq!(script.told(), "updated 9 6");
    script.alerts.flush(&mut script.out);
    assert_eq!((script.told(), script.alerts.open()), (String::new(), 1));
}

proptest! {
    /// However the watermark moves: every request is told exactly once, no two versions of an
    /// alert look alike to a receiver, and an alert lives from fired to resolved.
    #[test]
    fn nothing_is_lost_or_told_twice(
        steps in prop::collection::vec((0usize..3, 0i64..600, 0i64..900), 1..60),
        alerts_max in 1usize..4,
    ) {
        let mut alerts = Alerts::new(Settings { alerts_max, ..Settings::default() });
        let mut out = Vec::new();
        let mut now = 0;
        let mut folded = 0;
        for (who, late, forward) in steps {
            now += forward;
            alerts.fold(detection(["a", "b", "c"][who], [now - late, now]), &mut out);
            folded += 2;
            alerts.tick(at(now), &mut out);
        }
        alerts.tick(at(now + 7200), &mut out);
        prop_assert_eq!(alerts.open(), 0);
        prop_assert_eq!(out.iter().map(|change| change.alert().new).sum::<u64>(), folded);
        let mut seen = BTreeSet::new();
        let mut firing = BTreeSet::new();
        for change in &out {
            let alert = change.alert();
            prop_assert!(seen.insert((alert.id.clone(), alert.status, alert.updated_at)));
            match change {
                Change::Fired(_) => prop_assert!(firing.insert(alert.id.clone())),
                Change::Updated(_) => prop_assert!(firing.contains(&alert.id)),
                Change::Resolved(_) => prop_assert!(firing.remove(&alert.id)),
            }
        }
        prop_assert!(firing.is_empty());
    }
}

/// What happens in a timeline.
#[derive(Clone, Debug)]
enum Event {
    Fold(&'static str, i64),
    Tick(i64),
    Flush,
}

fn event() -> impl Strategy<Value = Event> {
    let principal = prop::sample::select(vec!["web", "eve", "bob", "kim", "lee"]);
    prop_oneof![
        4 => (principal, 0i64..3_000).prop_map(|(principal, at)| Event::Fold(principal, at)),
        2 => (0i64..4_000).prop_map(Event::Tick),
        1 => Just(Event::Flush),
    ]
}

proptest! {
    /// Alerts that are taken up from their rows after each few events go on as those that were
    /// never put away.
    #[test]
    fn restored_alerts_go_on_as_if_nothing_had_happened(
        runs in prop::collection::vec(prop::collection::vec(event(), 0..12), 1..8),
        alerts_max in 2usize..6,
    ) {
        let settings = Settings { alerts_max, ..Settings::default() };
        let play = |alerts: &mut Alerts, run: &[Event]| {
            let mut out = Vec::new();
            for event in run {
                match event {
                    Event::Fold(principal, at) => {
                        alerts.fold(detection(principal, [*at]), &mut out);
                    }
                    Event::Tick(seconds) => alerts.tick(at(*seconds), &mut out),
                    Event::Flush => alerts.flush(&mut out),
                }
            }
            out
        };
        let (mut whole, mut broken) = (Alerts::new(settings), Alerts::new(settings));
        let mut kept = std::collections::BTreeMap::new();
        for run in &runs {
            prop_assert_eq!(play(&mut broken, run), play(&mut whole, run));
            let mut changed = Rows::default();
            broken.changes(&mut changed);
            for row in changed.iter() {
                match row.value {
                    Some(value) => kept.insert((row.owner, row.key.to_vec()), value.to_vec()),
                    None => kept.remove(&(row.owner, row.key.to_vec())),
                };
            }
            let mut rows = Rows::default();
            for ((owner, key), value) in &kept {
                rows.put_raw(*owner, key, value);
            }
            broken = Alerts::new(settings);
            broken.restore(&rows).unwrap();
            prop_assert_eq!(broken.firing(), whole.firing());
            prop_assert_eq!(broken.bytes, whole.bytes);
        }
    }
}
