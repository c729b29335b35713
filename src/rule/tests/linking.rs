//! What documents make of each other: overrides, filters, correlations.

use super::*;
use crate::{event::Field, units::Span};

const A: &str = "title: A\nname: a\nid: 11111111-1111-4111-8111-111111111111\nlogsource: {product: kubernetes, service: audit}\ndetection: {s: {verb: list}, condition: s}\n";
const B: &str = "title: B\nname: b\nlogsource: {product: kubernetes, service: audit}\ndetection: {s: {verb: create}, condition: s}\n";

fn correlation(body: &str) -> String {
    format!("{A}---\n{B}---\ntitle: C\nname: c\ncorrelation: {{{body}}}\n")
}

fn report(files: &[(&str, &str)]) -> String {
    match load(files) {
        Err(report) => report.to_string(),
        Ok(loaded) => loaded.warnings.to_string(),
    }
}

fn set(files: &[(&str, &str)]) -> RuleSet {
    load(files).unwrap_or_else(|report| panic!("{report}")).set
}

#[test]
fn correlations_of_each_kind() {
    for (body, kind, min, max) in [
        (
            "type: event_count, rules: a, group-by: [principal], timespan: 5m, condition: {gte: 10}",
            Kind::EventCount,
            10,
            None,
        ),
        (
            "type: event_count, rules: [a, b], timespan: 5m, condition: {gt: 10, lte: 20}",
            Kind::EventCount,
            11,
            Some(20),
        ),
        (
            "type: event_count, rules: [a], timespan: 5m, condition: {lt: 5}",
            Kind::EventCount,
            1,
            Some(4),
        ),
        (
            "type: event_count, rules: [a], timespan: 5m, condition: {eq: 5}",
            Kind::EventCount,
            5,
            Some(5),
        ),
        (
            "type: value_count, rules: [a], group-by: principal, timespan: 5m, condition: {field: [verb, objectRef.name], gte: 3}",
            Kind::ValueCount,
            3,
            None,
        ),
        (
            "type: temporal, rules: [a, b], group-by: [principal], timespan: 1h",
            Kind::Temporal,
            2,
            None,
        ),
        (
            "type: temporal, rules: [a, b], timespan: 1h, condition: {gte: 1}",
            Kind::Temporal,
            1,
            None,
        ),
        (
            "type: temporal_ordered, rules: [b, a], group-by: [principal], timespan: 90s",
            Kind::TemporalOrdered,
            2,
            None,
        ),
    ] {
        let set = set(&[("c.yml", &correlation(body))]);
        let found = &set.correlations[0];
        assert_eq!(
            (found.kind, found.bounds),
            (kind, Bounds { min, max }),
            "{body}"
        );
        assert!(found.reports && !set.rules[0].reports, "{body}");
        assert!(
            found
                .sources
                .iter()
                .all(|source| source.key.len() == found.group_by.len())
        );
        assert_eq!(found.sources[0].values.is_empty(), kind != Kind::ValueCount);
    }
    let body = "type: temporal_ordered, rules: [b, a], timespan: 90s";
    let set = set(&[("c.yml", &correlation(body))]);
    let members: Vec<_> = set.correlations[0]
        .sources
        .iter()
        .map(|source| source.member)
        .collect();
    assert_eq!(members, [Member::Rule(1), Member::Rule(0)]);
    assert_eq!(set.correlations[0].timespan, Span::from_secs(90));
}

#[test]
fn chains_come_in_order_and_aliases_are_resolved() {
    let chain = "title: Last\nname: last\ncorrelation: {type: temporal_ordered, rules: [many, b], group-by: [who], timespan: 1h, aliases: {who: {many: principal, b: user.username}}}\n";
    let many = "title: Many\nname: many\ncorrelation:\n  type: event_count\n  rules: 11111111-1111-4111-8111-111111111111\n  group-by: [principal]\n  timespan: 5m\n  condition: {gte: 3}\n  generate: true\n";
    let set = set(&[
        ("last.yml", chain),
        ("a.yml", A),
        ("many.yml", many),
        ("b.yml", B),
    ]);
    let names: Vec<_> = set
        .correlations
        .iter()
        .map(|c| c.meta.name.as_str())
        .collect();
    assert_eq!(names, ["many", "last"]);
    let last = &set.correlations[1];
    assert_eq!(last.sources[0].member, Member::Correlation(0));
    assert_eq!(last.sources[0].key, [Field::parse("principal").unwrap()]);
    assert_eq!(
        last.sources[1].key,
        [Field::parse("user.username").unwrap()]
    );
    assert_eq!(&*last.group_by[0], "who");
    // `many` lets `a` report beside itself; `last` silences `many` and `b`.
    assert!(set.rules[0].reports && !set.rules[1].reports);
    assert!(!set.correlations[0].reports && last.reports);
    assert_eq!(
        (
            set.rules[1].meta.id.as_str(),
            set.rules[0].meta.name.as_str()
        ),
        ("b", "a")
    );
}

/// Correlations and what is said about them.
const MISTAKES: &[(&str, &str)] = &[
    (
        "type: event_cont, rules: a, timespan: 5m, condition: {gte: 1}",
        "did you mean `event_count`?",
    ),
    (
        "type: value_sum, rules: a, timespan: 5m, condition: {gte: 1}",
        "error[unsupported]: correlations of type value_sum are not supported",
    ),
    (
        "rules: a, timespan: 5m, condition: {gte: 1}",
        "`correlation` needs `type`",
    ),
    (
        "type: event_count, timespan: 5m, condition: {gte: 1}",
        "`correlation` needs `rules`",
    ),
    (
        "type: event_count, rules: a, condition: {gte: 1}",
        "`correlation` needs `timespan`",
    ),
    (
        "type: event_count, rules: a, timespan: 5, condition: {gte: 1}",
        "write it like 30s",
    ),
    (
        "type: event_count, rules: a, timespan: 5m",
        "`correlation` needs `condition`",
    ),
    (
        "type: event_count, rules: a, timespan: 5m, condition: {}",
        "`condition` needs `gte`",
    ),
    (
        "type: event_count, rules: a, timespan: 5m, condition: {gte: 5, lt: 5}",
        "error[bad-bounds]: no count of at least one can meet this",
    ),
    (
        "type: event_count, rules: a, timespan: 5m, condition: {eq: 0}",
        "error[bad-bounds]",
    ),
    (
        "type: event_count, rules: a, timespan: 5m, condition: {neq: 5}",
        "error[unsupported]: `neq` cannot be counted up to",
    ),
    (
        "type: event_count, rules: a, timespan: 5m, condition: {gte: 5, field: verb}",
        "only value_count counts the values",
    ),
    (
        "type: value_count, rules: a, timespan: 5m, condition: {gte: 5}",
        "`condition` needs `field`",
    ),
    (
        "type: value_count, rules: a, timespan: 5m, condition: {gte: 5, field: vreb}",
        "error[unknown-field]: there is no field `vreb`",
    ),
    (
        "type: temporal, rules: [a, b], timespan: 5m, condition: {gte: 3}",
        "there are only 2 rules",
    ),
    (
        "type: temporal, rules: [a, b], timespan: 5m, condition: a and b",
        "conditions over rule names are not supported",
    ),
    (
        "type: temporal_ordered, rules: [a, b], timespan: 5m, condition: {gte: 1}",
        "temporal_ordered needs all of its rules",
    ),
    (
        "type: event_count, rules: [a, bb], timespan: 5m, condition: {gte: 1}",
        "error[unknown-rule]: there is no rule `bb`",
    ),
    (
        "type: event_count, rules: [a, a], timespan: 5m, condition: {gte: 1}",
        "counts this rule twice",
    ),
    (
        "type: event_count, rules: [c], timespan: 5m, condition: {gte: 1}",
        "error[circular]: `c` counts this correlation in turn",
    ),
    (
        "type: event_count, rules: [a, b], group-by: [who], timespan: 5m, condition: {gte: 1}, aliases: {who: {a: verb}}",
        "the alias `who` says nothing for `b`",
    ),
    (
        "type: event_count, rules: [a], group-by: [who], timespan: 5m, condition: {gte: 1}, aliases: {who: {a: vreb}}",
        "there is no field `vreb`",
    ),
    (
        "type: event_count, rules: [a], timespan: 5m, condition: {gte: 1}, aliases: {who: {x: verb}}",
        "the correlation does not count `x`",
    ),
    (
        "type: event_count, rules: [a], groupby: verb, timespan: 5m, condition: {gte: 1}",
        "did you mean `group-by`?",
    ),
];

#[test]
fn mistakes_in_correlations() {
    for &(body, expected) in MISTAKES {
        let report = report(&[("c.yml", &correlation(body))]);
        assert!(report.contains(expected), "{body}\n{report}");
    }
    let text = format!(
        "{A}---\ntitle: C\ncorrelation: {{type: event_count, rules: a, timespan: 5m, condition: {{gte: 1}}}}\nauditwatch: {{rate: {{by: verb, every: 5m}}}}\n"
    );
    assert!(report(&[("c.yml", &text)]).contains("a correlation cannot have `rate`"));
}

#[test]
fn what_counts_a_skipped_rule_is_skipped() {
    let other = A.replace("kubernetes", "linux");
    let text = format!(
        "{other}---\ntitle: C\ncorrelation: {{type: event_count, rules: a, timespan: 5m, condition: {{gte: 1}}}}\n"
    );
    let loaded = load(&[("c.yml", &text)]).unwrap();
    assert_eq!(
        (loaded.set.rules.len(), loaded.set.correlations.len()),
        (0, 0)
    );
    assert_eq!(loaded.warnings.warnings(), 2);
}

#[test]
fn filters_narrow_the_rules_that_they_name() {
    let filter = |rules: &str| {
        format!(
            "title: F\nlogsource: {{product: kubernetes, service: audit}}\nfilter: {{{rules} ours: {{user.username: bob}}, condition: not ours}}\n"
        )
    };
    for (rules, narrowed) in [
        (
            "rules: [11111111-1111-4111-8111-111111111111],",
            [true, false],
        ),
        ("rules: b,", [false, true]),
        ("rules: any,", [true, true]),
        ("", [true, true]),
    ] {
        let set = Arc::new(set(&[
            ("a.yml", A),
            ("b.yml", B),
            ("f.yml", &filter(rules)),
        ]));
        for (verb, narrowed) in ["list", "create"].into_iter().zip(narrowed) {
            let by = |name: &str| {
                matches(
                    &set,
                    &event(&format!("{{verb: {verb}, user.username: {name}}}")),
                )
            };
            assert!(by("alice"));
            assert_eq!(!by("bob"), narrowed, "{rules} {verb}");
        }
    }
    let explained = set(&[("a.yml", A), ("f.yml", &filter("rules: a,"))]);
    each(&event("{verb: list, user.username: bob}"), &mut |event| {
        let text = RuleSet::explain(&explained.rules[0], event).to_string();
        assert!(text.contains("no     filter f: not ours"), "{text}");
    });
    let c = correlation("type: event_count, rules: a, timespan: 5m, condition: {gte: 1}");
    let report = report(&[("c.yml", &c), ("f.yml", &filter("rules: [c, aa],"))]);
    assert!(
        report.contains("a filter narrows detection rules only"),
        "{report}"
    );
    assert!(report.contains("there is no rule `aa`"), "{report}");
}

#[test]
fn later_layers_replace_earlier_rules() {
    let own = A
        .replace("verb: list", "verb: watch")
        .replace("name: a\n", "");
    let counting =
        "title: C\ncorrelation: {type: event_count, rules: a, timespan: 5m, condition: {gte: 1}}\n";
    let shipped = layer(&[("a.yml", A), ("b.yml", B), ("c.yml", counting)]);
    let set = RuleSet::load(&[shipped.clone(), layer(&[("own/mine.yml", &own)])])
        .unwrap()
        .set;
    let set = Arc::new(set);
    assert_eq!(set.rules.len(), 2);
    assert!(matches(&set, &event("{verb: watch}")) && !matches(&set, &event("{verb: list}")));
    // It keeps the name that others refer to.
    assert_eq!(set.rules[1].meta.name, "a");
    assert_eq!(set.correlations[0].sources[0].member, Member::Rule(1));
    // Twice in one layer is a mistake, and so is another rule's name.
    let twice = layer(&[("x.yml", &own), ("y.yml", &own)]);
    let report = RuleSet::load(&[shipped.clone(), twice])
        .unwrap_err()
        .to_string();
    assert!(report.contains("error[duplicate-rule]"), "{report}");
    let taken = own
        .replace("11111111", "22222222")
        .replace("title: A", "title: A\nname: a");
    let report = RuleSet::load(&[shipped, layer(&[("x.yml", &taken)])])
        .unwrap_err()
        .to_string();
    assert!(report.contains("there is another rule `a`"), "{report}");
}

#[test]
fn fingerprints_follow_the_meaning() {
    let print = |text: &str| set(&[("a.yml", text)]).rules[0].fingerprint;
    let plain = print(A);
    assert_eq!(plain, print(&A.replace("title: A", "title: Another")));
    assert_eq!(
        plain,
        print(&A.replace(
            "s: {verb: list}, condition: s",
            "x: {verb: LIST}, condition: x"
        ))
    );
    assert_ne!(plain, print(&A.replace("verb: list", "verb: watch")));
    let correlated = |rule: &str, seconds: u32| {
        let c = format!(
            "title: C\ncorrelation: {{type: event_count, rules: a, timespan: {seconds}s, condition: {{gte: 1}}}}\n"
        );
        set(&[("a.yml", rule), ("c.yml", &c)]).correlations[0].fingerprint
    };
    assert_eq!(correlated(A, 60), correlated(A, 60));
    assert_ne!(correlated(A, 60), correlated(A, 61));
    assert_ne!(
        correlated(A, 60),
        correlated(&A.replace("verb: list", "verb: watch"), 60)
    );
}

#[test]
fn names_come_from_files_and_titles() {
    let nameless = A.replace("name: a\n", "");
    let other = B
        .replace("name: b\n", "")
        .replace("title: B", "title: Many Forbidden!");
    let set = set(&[
        ("rules/x/probe_it.yml", &nameless),
        ("two.yml", &format!("{B}---\n{other}")),
    ]);
    let names: Vec<_> = set
        .rules
        .iter()
        .map(|rule| rule.meta.name.as_str())
        .collect();
    assert_eq!(names, ["probe_it", "b", "two"]);
    assert_eq!(set.rules[0].file, "rules/x/probe_it.yml");
}
