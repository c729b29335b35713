//! An engine that takes up the rows of another goes on as that one would have.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    rule::shipped_rules,
    units::Span,
    window::{Owner, Rows},
};

/// What a store does with rows.
#[derive(Default)]
struct Kept(BTreeMap<(Owner, Vec<u8>), Vec<u8>>);

impl Kept {
    fn take_from(&mut self, engine: &mut Engine) -> usize {
        let mut rows = Rows::default();
        engine.changes(&mut rows);
        rows.sort();
        self.0
            .retain(|(owner, _), _| !rows.forgotten().contains(owner));
        for row in rows.iter() {
            let key = (row.owner, row.key.to_vec());
            match row.value {
                Some(value) => self.0.insert(key, value.to_vec()),
                None => self.0.remove(&key),
            };
        }
        rows.len()
    }

    fn rows(&self) -> Rows {
        let mut rows = Rows::default();
        for ((owner, key), value) in &self.0 {
            rows.put_raw(*owner, key, value);
        }
        rows
    }
}

/// Every kind of state there is.
fn text() -> String {
    let windows = "group-by: [principal]\n  timespan: 30s";
    let ordered = "type: temporal_ordered\n  group-by: [principal]\n  timespan: 2m";
    rule("refused", "responseStatus.code: 403", "")
        + &rule("secrets", "objectRef.resource: secrets", "")
        + &rule("nodes", "objectRef.resource: nodes", "")
        + &rule(
            "new",
            "verb: [get, watch]",
            "auditwatch:\n  novelty: {by: [principal], of: [objectRef.resource], learn: 1m, forget: 2m}\n",
        )
        + &rule(
            "surge",
            "verb: get",
            "auditwatch:\n  rate: {by: [principal], every: 10s, factor: 2, min: 3}\n",
        )
        + &correlation(
            "burst",
            "refused",
            &format!("type: event_count\n  {windows}\n  condition: {{gte: 4}}"),
        )
        + &correlation(
            "sweep",
            "refused",
            &format!(
                "type: value_count\n  {windows}\n  condition: {{field: objectRef.resource, gte: 3}}"
            ),
        )
        + &correlation(
            "together",
            "secrets, nodes",
            &format!("type: temporal\n  {windows}"),
        )
        + &correlation(
            "volley",
            "refused",
            &format!("type: event_count\n  {windows}\n  condition: {{gte: 3}}"),
        )
        + &correlation("story", "volley, secrets", ordered)
}

fn line() -> impl Strategy<Value = Line> {
    let user = prop::sample::select(vec!["eve", "bob", "kim", "lee", "mia", "ned", "oda"]);
    let resource = prop::sample::select(vec!["pods", "secrets", "nodes", "events"]);
    let code = prop::sample::select(vec![200u16, 403, 403]);
    let stage = prop::sample::select(vec!["ResponseStarted", "ResponseComplete"]);
    let verb = prop::sample::select(vec!["get", "get", "watch"]);
    // Few ids and seconds, so that stages meet and repeats come.
    (user, resource, code, stage, verb, 0u32..40, 0u32..60).prop_map(
        |(user, resource, code, stage, verb, id, second)| Line {
            id: id.to_string(),
            stage,
            user,
            verb,
            resource,
            code,
            received: f64::from(second / 10 * 10),
            stamped: f64::from(second),
        },
    )
}

/// Lines whose time goes on, in runs between which rows are taken.
fn runs() -> impl Strategy<Value = Vec<(Vec<Line>, u32)>> {
    prop::collection::vec((prop::collection::vec(line(), 0..60), 0u32..90), 1..6)
}

fn later(line: &Line, seconds: u32) -> Line {
    Line {
        id: format!("{}-{}", line.id, seconds / 50),
        received: line.received + f64::from(seconds),
        stamped: line.stamped + f64::from(seconds),
        ..line.clone()
    }
}

/// Caps that are met all the time, so that who goes first shows.
fn tight() -> Settings {
    Settings {
        lateness: Span::from_secs(20),
        requests_max: 50,
        long_requests_max: 5,
        keys_max: 4,
        occurrences_max: 40,
        values_max: 2,
        ..Settings::default()
    }
}

fn stats(engine: &Engine) -> impl PartialEq + std::fmt::Debug {
    let stats = engine.stats();
    let counts = (stats.evaluated, stats.duplicate, stats.late);
    let held = (stats.requests, stats.long_requests, stats.sources);
    (counts, held, stats.keys, stats.occurrences)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One engine runs through; beside it, after each run, another takes up the rows and goes on.
    #[test]
    fn a_restored_engine_goes_on_as_if_nothing_had_happened(
        runs in runs(),
        is_tight in any::<bool>(),
    ) {
        let settings = if is_tight { tight() } else { Settings::default() };
        let mut whole = Bench::with(&text(), settings);
        let mut broken = Bench::with(&text(), settings);
        let mut kept = Kept::default();
        let mut seconds = 0;
        for (number, (lines, step)) in runs.iter().enumerate() {
            seconds += step;
            for line in lines {
                let (line, source) = (later(line, seconds), SourceId(line.user.len() as u64));
                let expected = whole.admit_from(source, "", &line);
                prop_assert_eq!(broken.admit_from(source, "", &line), expected);
            }
            let floor = at(i64::from(seconds));
            whole.engine.advance(floor, None, &mut Vec::new());
            broken.engine.advance(floor, None, &mut Vec::new());
            kept.take_from(&mut broken.engine);
            if number % 2 == 0 {
                broken = Bench::with(&text(), settings);
                broken.engine.restore(&kept.rows()).unwrap();
            }
            prop_assert_eq!(stats(&broken.engine), stats(&whole.engine));
        }
    }
}

/// What did not change is not written again, and what went is not kept.
#[test]
fn only_changes_are_written() {
    let mut bench = Bench::new(&text());
    let mut kept = Kept::default();
    for id in 0..3_000 {
        let user = ["eve", "bob", "kim"][id % 3];
        bench.admit(&get(id, user, "pods", 403, 0.0));
    }
    kept.take_from(&mut bench.engine);
    let all = kept.0.len();
    bench.admit(&get(9_999, "eve", "pods", 403, 1.0));
    // Of the requests the last row; of novelty, rate, burst, sweep, volley and story the key and
    // the table's own row; the engine's own.
    assert_eq!(kept.take_from(&mut bench.engine), 1 + 6 * 2 + 1);
    assert_eq!(kept.0.len(), all);
    assert_eq!(kept.take_from(&mut bench.engine), 1, "the engine's own");
    bench.admit(&get("late", "mia", "events", 200, 90_000.0));
    bench.engine.advance(at(8 * 86_400), None, &mut Vec::new());
    for _ in 0..3_000 {
        bench.engine.advance(at(8 * 86_400), None, &mut Vec::new());
        bench.admit(&get("late", "mia", "events", 200, 8.0 * 86_400.0));
    }
    kept.take_from(&mut bench.engine);
    assert!(kept.0.len() < 12, "{} rows are left", kept.0.len());
}

/// An edited rule starts anew, the others go on; the rows of the old one go.
#[test]
fn unchanged_rules_keep_their_state() {
    let mut before = Bench::new(&text());
    for id in 0..3 {
        before.admit(&get(id, "eve", "pods", 403, f64::from(id)));
    }
    let mut kept = Kept::default();
    kept.take_from(&mut before.engine);
    let owners =
        |kept: &Kept| -> BTreeSet<Owner> { kept.0.keys().map(|(owner, _)| *owner).collect() };
    let old = owners(&kept);

    let edited = text().replace("resource, gte: 3", "resource, gte: 2");
    let mut after = Bench::new(&edited);
    after.engine.restore(&kept.rows()).unwrap();
    let told = after.told(&[get(3, "eve", "pods", 403, 3.0)]);
    assert!(told.contains(&"burst [eve] 0,1,2,3".to_owned()), "{told:?}");
    let fresh = after.told(&[get(4, "eve", "nodes", 403, 4.0)]);
    let swept = |told: &String| told.starts_with("sweep");
    assert_eq!(
        fresh.iter().find(|told| swept(told)).unwrap(),
        "sweep [eve] 3,4"
    );
    kept.take_from(&mut after.engine);
    let new = owners(&kept);
    let gone: Vec<_> = old.difference(&new).collect();
    assert_eq!(gone.len(), 1, "the old rule's rows made way");
    assert!(
        new.iter()
            .any(|owner| (owner.kind, true) == (gone[0].kind, !old.contains(owner)))
    );
    assert!(
        after.admit(&get(2, "eve", "pods", 403, 2.0)).0 == Admission::Duplicate,
        "requests are remembered"
    );
}

#[test]
fn damaged_rows_are_refused() {
    let mut bench = Bench::new(&text());
    for id in 0..40 {
        bench.admit(&get(id, "eve", "pods", 403, f64::from(id)));
    }
    let mut kept = Kept::default();
    kept.take_from(&mut bench.engine);
    for key in kept.0.keys().cloned().collect::<Vec<_>>() {
        let mut damaged = Kept(kept.0.clone());
        damaged.0.get_mut(&key).unwrap().pop();
        let refused = Bench::new(&text()).engine.restore(&damaged.rows());
        assert!(refused.is_err(), "{key:?}");
    }
}

/// The shipped rules over a log, with a break after each few requests.
#[test]
fn the_shipped_rules_do_not_notice_a_restart() {
    let layer = Layer::new(shipped_rules());
    let rules = Arc::new(RuleSet::load(&[layer]).unwrap().set);
    let mut observer = Observer::new(Arc::clone(&rules));
    let log = include_str!("../../rule/tests/real.jsonl");
    let observations = observe(&mut observer, log, "east");
    let new = || Engine::new(Arc::clone(&rules), Settings::default());
    let (mut whole, mut broken, mut kept) = (new(), new(), Kept::default());
    for (number, observation) in observations.iter().enumerate() {
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        whole.admit(SOURCE, observation, None, &mut expected);
        broken.admit(SOURCE, observation, None, &mut found);
        assert_eq!(found, expected);
        if number % 3 == 0 {
            kept.take_from(&mut broken);
            broken = new();
            broken.restore(&kept.rows()).unwrap();
        }
    }
}
