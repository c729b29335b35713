//! Detections depend on the events, not on how they arrive.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn text() -> String {
    let windows = "group-by: [principal]\n  timespan: 30s";
    rule("refused", "responseStatus.code: 403", "")
        + &rule("secrets", "objectRef.resource: secrets", "")
        + &rule("nodes", "objectRef.resource: nodes", "")
        + &rule("created", "responseStatus.code: 201", "")
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
            "in-order",
            "secrets, nodes",
            &format!("type: temporal_ordered\n  {windows}"),
        )
}

/// Requests over a quarter of an hour, which is remembered whole, some with two stages, each line with a delay on its way.
fn traffic() -> impl Strategy<Value = Vec<(Line, f64)>> {
    let user = prop::sample::select(vec!["eve", "bob"]);
    let resource = prop::sample::select(vec!["pods", "secrets", "nodes", "events"]);
    let code = prop::sample::select(vec![200u16, 201, 403, 403]);
    let request = (
        user,
        resource,
        code,
        0u32..85_000,
        0.0..20.0f64,
        any::<bool>(),
    );
    let request = (request, 0.0..250.0f64, 0.0..250.0f64);
    prop::collection::vec(request, 1..150).prop_map(|requests| {
        let mut lines = Vec::new();
        for (id, ((user, resource, code, centis, took, is_watch), delay, other)) in
            requests.into_iter().enumerate()
        {
            let line = get(id, user, resource, code, f64::from(centis) / 100.0);
            if is_watch {
                lines.push((
                    Line {
                        verb: "watch",
                        stage: "ResponseStarted",
                        ..line.clone()
                    },
                    other,
                ));
            }
            let verb = if is_watch { "watch" } else { "get" };
            let stamped = line.received + took;
            lines.push((
                Line {
                    verb,
                    stamped,
                    ..line
                },
                delay,
            ));
        }
        lines.sort_by(|(a, _), (b, _)| a.stamped.total_cmp(&b.stamped));
        lines
    })
}

/// What was said of which request.
fn said(bench: &mut Bench, lines: &[Line]) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    for told in lines.iter().flat_map(|line| bench.admit(line).1) {
        for facts in &told.evidence {
            let one = Detection {
                evidence: vec![Arc::clone(facts)],
                ..told.clone()
            };
            let one = short(&one);
            assert!(said.insert(one.clone()), "told twice: {one}");
        }
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Delays within the allowed lateness change nothing.
    #[test]
    fn arrival_within_the_lateness_does_not_matter(traffic in traffic()) {
        let mut delayed = traffic.clone();
        delayed.sort_by(|(a, late_a), (b, late_b)| {
            (a.stamped + late_a).total_cmp(&(b.stamped + late_b))
        });
        let lines = |traffic: &[(Line, f64)]| -> Vec<Line> {
            traffic.iter().map(|(line, _)| line.clone()).collect()
        };
        let (mut one, mut other) = (Bench::new(&text()), Bench::new(&text()));
        prop_assert_eq!(said(&mut one, &lines(&traffic)), said(&mut other, &lines(&delayed)));
        prop_assert_eq!(other.engine.stats().late, 0);
    }

    /// Any split into batches, observed by any number of observers, is the same to the engine; and
    /// all of it once more is all duplicates.
    #[test]
    fn batches_and_threads_do_not_matter(
        traffic in traffic(),
        cuts in prop::collection::vec((1usize..40, 0usize..3), 1..20),
    ) {
        let json: Vec<String> = traffic.iter().map(|(line, _)| line.json()).collect();
        let rules = rules(&text());
        let admit = |engine: &mut Engine, observations: &[Observation]| -> Vec<Detection> {
            let mut out = Vec::new();
            for observation in observations {
                engine.admit(SOURCE, observation, None, &mut out);
            }
            out
        };
        let whole = observe(&mut Observer::new(Arc::clone(&rules)), &json.join("\n"), "");
        let mut engine = Engine::new(Arc::clone(&rules), Settings::default());
        let expected = admit(&mut engine, &whole);

        let mut observers: Vec<Observer> =
            (0..3).map(|_| Observer::new(Arc::clone(&rules))).collect();
        let mut split = Vec::new();
        let mut rest = json.as_slice();
        for (size, observer) in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (batch, after) = rest.split_at((*size).min(rest.len()));
            split.extend(observe(&mut observers[*observer], &batch.join("\n"), ""));
            rest = after;
        }
        let mut other = Engine::new(rules, Settings::default());
        prop_assert_eq!(&admit(&mut other, &split), &expected);
        prop_assert_eq!(other.stats(), engine.stats());

        prop_assert_eq!(admit(&mut other, &whole), vec![]);
        let stats = other.stats();
        prop_assert_eq!(stats.duplicate, whole.len() as u64);
        prop_assert_eq!(stats.received(), 2 * whole.len() as u64);
    }
}
