//! Each request counts once, and each observation is accounted for.

use super::*;

const REFUSED: &str = "responseStatus.code: 403";

fn stages(stages: &[(&'static str, u16)], verb: &'static str) -> Vec<Line> {
    let line = |&(stage, code)| Line {
        stage,
        verb,
        ..get("w", "eve", "secrets", code, 1.0)
    };
    stages.iter().map(line).collect()
}

#[test]
fn stages_in_any_order_are_one_request() {
    let text = rule("refused", REFUSED, "");
    for verb in ["get", "watch"] {
        for order in [
            [
                ("RequestReceived", 0),
                ("ResponseStarted", 403),
                ("ResponseComplete", 403),
            ],
            [
                ("ResponseComplete", 403),
                ("ResponseStarted", 403),
                ("RequestReceived", 0),
            ],
        ] {
            let mut bench = Bench::new(&text);
            assert_eq!(
                bench.told(&stages(&order, verb)),
                ["refused [] w"],
                "{verb} {order:?}"
            );
            assert_eq!(bench.engine.stats().evaluated, 3);
            let again: Vec<Admission> = stages(&order, verb)
                .iter()
                .map(|line| bench.admit(line).0)
                .collect();
            assert_eq!(again, [Admission::Duplicate; 3]);
        }
    }
}

#[test]
fn a_later_stage_may_meet_rules_that_have_not_counted() {
    let text = rule("refused", REFUSED, "") + &rule("secrets", "objectRef.resource: secrets", "");
    let mut bench = Bench::new(&text);
    let lines = stages(
        &[("ResponseStarted", 200), ("ResponseComplete", 403)],
        "watch",
    );
    assert_eq!(bench.told(&lines), ["secrets [] w", "refused [] w"]);
}

#[test]
fn rules_do_not_look_at_requests_without_a_response() {
    let mut bench = Bench::new(&rule("secrets", "objectRef.resource: secrets", ""));
    assert!(
        bench
            .told(&stages(&[("RequestReceived", 0)], "get"))
            .is_empty()
    );
}

#[test]
fn an_audit_id_alone_decides_nothing() {
    let mut bench = Bench::new(&rule("refused", REFUSED, ""));
    let told = bench.told(&[
        get("same", "eve", "pods", 403, 1.0),
        get("same", "eve", "pods", 403, 2.0),
    ]);
    assert_eq!(
        told.len(),
        2,
        "the client chose the id; the server's stamp says these are two"
    );
}

#[test]
fn a_request_that_two_members_match_is_one_request() {
    let text = rule("refused", REFUSED, "")
        + &rule("secrets", "objectRef.resource: secrets", "")
        + &correlation(
            "either",
            "refused, secrets",
            "type: event_count\n  group-by: [principal]\n  timespan: 1m\n  condition: {gte: 3}",
        );
    let mut bench = Bench::new(&text);
    let lines: Vec<Line> = (0..3)
        .map(|n| get(n, "eve", "secrets", 403, f64::from(n)))
        .collect();
    assert_eq!(bench.told(&lines), ["either [eve] 0,1,2"]);
}

#[test]
fn late_events_are_evaluated_and_said_to_be_late() {
    let mut bench = Bench::new(&rule("refused", REFUSED, ""));
    bench.admit(&get("a", "eve", "pods", 200, 1_000.0));
    let (admission, told) = bench.admit(&get("b", "eve", "pods", 403, 600.0));
    assert_eq!((admission, told.len()), (Admission::Late, 1));
    let stats = bench.engine.stats();
    assert_eq!((stats.received(), stats.evaluated, stats.late), (2, 1, 1));
}

#[test]
fn clusters_are_apart() {
    let text = rule("refused", REFUSED, "")
        + &correlation(
            "burst",
            "refused",
            "type: event_count\n  group-by: [principal]\n  timespan: 1m\n  condition: {gte: 2}",
        );
    let mut bench = Bench::new(&text);
    let line = get("a", "eve", "pods", 403, 1.0);
    assert_eq!(
        bench.admit_from(SOURCE, "east", &line),
        (Admission::Evaluated, vec![])
    );
    assert_eq!(
        bench.admit_from(SOURCE, "west", &line),
        (Admission::Evaluated, vec![])
    );
    let (_, told) = bench.admit_from(SOURCE, "west", &get("b", "eve", "pods", 403, 2.0));
    assert_eq!(told.len(), 1);
}

#[test]
fn floods_stay_within_the_caps() {
    let text = rule(
        "any",
        "verb: get",
        "auditwatch:\n  novelty: {by: [objectRef.name], of: [client]}\n",
    ) + &rule("refused", REFUSED, "")
        + &correlation(
            "burst",
            "refused",
            "type: event_count\n  group-by: [requestURI]\n  timespan: 1m\n  condition: {gte: 2}",
        );
    let settings = Settings {
        requests_max: 100,
        keys_max: 50,
        occurrences_max: 40,
        ..Settings::default()
    };
    let mut bench = Bench::with(&text, settings);
    for n in 0..500 {
        let (admission, _) = bench.admit(&get(n, "eve", "pods", 403, f64::from(n) / 100.0));
        assert_eq!(admission, Admission::Evaluated);
    }
    let stats = bench.engine.stats();
    assert_eq!(
        (stats.received(), stats.requests, stats.requests_evicted),
        (500, 100, 400)
    );
    assert_eq!((stats.occurrences, stats.keys_evicted), (40, 460));
    assert_eq!(stats.unkeyed, 500, "no event has a name");
}

/// Ten times more attackers than there is room for, each among strangers who do one thing and
/// never come back: each attacker is told of with just his own requests, and memory stays.
#[test]
fn ten_times_too_many_attackers_are_each_told_of() {
    const ROOM: usize = 200;
    let text = rule("refused", REFUSED, "")
        + &correlation(
            "burst",
            "refused",
            "type: event_count\n  group-by: [user.username]\n  timespan: 1m\n  condition: {gte: 3}",
        );
    let settings = Settings {
        requests_max: 4 * ROOM,
        keys_max: ROOM,
        occurrences_max: 4 * ROOM,
        ..Settings::default()
    };
    let mut bench = Bench::with(&text, settings);
    let (mut told, mut most) = (Vec::new(), 0);
    for n in 0..10 * ROOM {
        let who = ["attacker", "stranger", "attacker", "stranger", "attacker"];
        for (step, who) in who.into_iter().enumerate() {
            let id = format!("{n}-{step}");
            let line = get(&id, "USER", "pods", 403, (5 * n + step) as f64 / 100.0);
            let name = if who == "attacker" {
                format!("{who}-{n}")
            } else {
                format!("{who}-{id}")
            };
            let json = line.json().replace("USER", &name);
            let seen = observe(&mut bench.observer, &json, "");
            let mut out = Vec::new();
            bench.engine.admit(SOURCE, &seen[0], None, &mut out);
            told.extend(
                out.iter()
                    .map(short)
                    .filter(|told| told.starts_with("burst")),
            );
        }
        most = most.max(bench.engine.stats().bytes);
    }
    let expected: Vec<String> = (0..10 * ROOM)
        .map(|n| format!("burst [attacker-{n}] {n}-0,{n}-2,{n}-4"))
        .collect();
    assert_eq!(told, expected);
    let stats = bench.engine.stats();
    assert!(
        stats.keys <= ROOM && stats.occurrences <= 4 * ROOM,
        "{stats:?}"
    );
    assert_eq!(stats.keys as u64 + stats.keys_evicted, 30 * ROOM as u64);
    assert!(most < 512 * 1024, "{most} bytes at most");
}

#[test]
fn idle_time_ages_state() {
    let text = rule("refused", REFUSED, "")
        + &correlation(
            "burst",
            "refused",
            "type: event_count\n  group-by: [principal]\n  timespan: 1m\n  condition: {gte: 5}",
        );
    let mut bench = Bench::new(&text);
    bench.admit(&get("a", "eve", "pods", 403, 1.0));
    assert_eq!(
        (bench.engine.stats().keys, bench.engine.watermark()),
        (1, at(1))
    );
    bench.engine.advance(at(3_600), None, &mut Vec::new());
    assert_eq!(
        (bench.engine.stats().keys, bench.engine.watermark()),
        (0, at(3_600))
    );
}
