//! What is said about wrong rules: each code at least once, with its place and help.

use proptest::prelude::*;

use super::*;

/// The report of a load that must find something.
fn report(files: &[(&str, &str)]) -> String {
    match load(files) {
        Err(report) => report.to_string(),
        Ok(loaded) => loaded.warnings.to_string(),
    }
}

/// The report of one rule around a `detection:` block.
fn detection(text: &str) -> String {
    report(&[("r.yml", &rule(text))])
}

#[test]
fn all_problems_of_all_files_at_once() {
    let a = "title: A\nid: 12\nlevel: hihg\nlogsource: {product: kubernetes}\ndetection:\n  sel:\n    objectRef.resorce: secrets\n    verb|contain: get\n  condition: sel and not fliter\nautor: me\n";
    let b = "title: B\nlogsource: {product: kubernetes}\ndetection:\n  condition: x\n";
    assert_eq!(
        report(&[("a.yml", a), ("b.yml", b)]),
        "error[bad-id]: `12` is not a UUID
 --> a.yml:2:5
  |
2 | id: 12
  |     ^^
  = help: make one with `uuidgen`, or leave `id` out and give a `name`

error[wrong-value]: `level` cannot be `hihg`
 --> a.yml:3:8
  |
3 | level: hihg
  |        ^^^^
  = help: did you mean `high`?

error[unknown-field]: there is no field `objectRef.resorce`
 --> a.yml:7:5
  |
7 |     objectRef.resorce: secrets
  |     ^^^^^^^^^^^^^^^^^ not a field of audit events
  = help: did you mean `objectRef.resource`?

error[unknown-modifier]: there is no modifier `contain`
 --> a.yml:8:10
  |
8 |     verb|contain: get
  |          ^^^^^^^
  = help: did you mean `contains`?

error[unknown-selection]: there is no selection `fliter`
 --> a.yml:9:26
  |
9 |   condition: sel and not fliter
  |                          ^^^^^^
  = help: there are sel

error[unknown-key]: a rule has no key `autor`
  --> a.yml:10:1
   |
10 | autor: me
   | ^^^^^
  = help: did you mean `author`?

error[missing-key]: `detection` needs `selection`
 --> b.yml:3:1
  |
3 | detection:
  | ^^^^^^^^^
  = help: add a selection: a name and below it `field: value` lines

7 errors
"
    );
}

/// Detections and what is said about them.
const DETECTIONS: &[(&str, &str)] = &[
    (
        "  s: {verb|base64: x}\n  condition: s\n",
        "error[unsuitable-modifier]: the modifier `base64` has no meaning for audit events\n --> r.yml:4:12",
    ),
    (
        "  s: {verb|windash: x}\n  condition: s\n",
        "one kind of dash",
    ),
    (
        "  s: {verb|hour: 3}\n  condition: s\n",
        "times are not taken apart",
    ),
    (
        "  s: {verb|contains|re: x}\n  condition: s\n",
        "error[modifiers-clash]: `contains` and `re` cannot stand together",
    ),
    (
        "  s: {verb|i: x}\n  condition: s\n",
        "`i` only follows `re`",
    ),
    (
        "  s: {verb|re|cased: x}\n  condition: s\n",
        "`cased` does not suit",
    ),
    (
        "  s: {verb|contains|neq: x}\n  condition: s\n",
        "`neq` does not suit",
    ),
    (
        "  s: {verb|fieldref|gt: x}\n  condition: s\n",
        "`fieldref` does not suit",
    ),
    (
        "  s: {'|startswith': x}\n  condition: s\n",
        "this modifier needs a field",
    ),
    (
        "  s: {verb|contains|all: x}\n  condition: s\n",
        "warning[modifiers-clash]: `all` of one value says nothing",
    ),
    (
        "  s: {verb|re: '(x'}\n  condition: s\n",
        "error[bad-regex]: the regular expression is wrong: unclosed group\n --> r.yml:4:16",
    ),
    (
        "  s: {verb|re: 'x{1000}{1000}{1000}'}\n  condition: s\n",
        "error[bad-regex]",
    ),
    ("  s: {verb|re: '(?=x)'}\n  condition: s\n", "look-around"),
    (
        "  s: {sourceIPs|cidr: 10.0.0.0/99}\n  condition: s\n",
        "error[bad-operand]: `10.0.0.0/99` is not a network",
    ),
    (
        "  s: {verb|exists: maybe}\n  condition: s\n",
        "`exists` needs true or false",
    ),
    (
        "  s: {responseStatus.code|gt: many}\n  condition: s\n",
        "this is not a number",
    ),
    (
        "  s: {verb|contains: null}\n  condition: s\n",
        "nothing cannot be part of a text",
    ),
    (
        "  s: {verb|fieldref: vreb}\n  condition: s\n",
        "error[bad-operand]: there is no field `vreb`",
    ),
    (
        "  s: {username: x}\n  condition: s\n",
        "did you mean `user.username`?",
    ),
    (
        "  s: {verb: {a: b}}\n  condition: s\n",
        "error[wrong-type]: a value must be text, a number or the like, not a mapping",
    ),
    (
        "  s: {verb: []}\n  condition: s\n",
        "error[empty-selection]: this list of values is empty",
    ),
    (
        "  s:\n  condition: s\n",
        "error[empty-selection]: the selection `s` is empty",
    ),
    ("  s: {}\n  condition: s\n", "this mapping is empty"),
    (
        "  a b: {verb: get}\n  condition: s\n",
        "error[bad-name]: `a b` cannot name a selection",
    ),
    (
        "  s: {verb|expand: '%nobody%'}\n  condition: s\n",
        "error[unknown-placeholder]: there is no list `nobody`",
    ),
    (
        "  s: {verb: get}\n  t: {verb: get}\n  condition: s\n",
        "error[unused-selection]: no condition uses the selection `t`\n --> r.yml:5:3",
    ),
    (
        "  s: {verb: get}\n",
        "error[missing-key]: `detection` needs `condition`",
    ),
    (
        "  s: {verb: get}\n  condition: s and\n",
        "error[bad-condition]: the condition ends too early",
    ),
    (
        "  s: {verb: get}\n  condition: [s, {}]\n",
        "error[bad-condition]: a condition must be text",
    ),
    (
        "  s: {verb: get}\n  condition: s | count() > 5\n",
        "error[old-aggregation]: conditions cannot count\n --> r.yml:5:16",
    ),
    (
        "  s: {verb: get}\n  timeframe: 5m\n  condition: s\n",
        "error[old-aggregation]: a detection has no timeframe",
    ),
    (
        "  s: {verb: get}\n  condition: >\n    not s\n    and nope\n",
        "error[unknown-selection]: there is no selection `nope`\n --> r.yml:7:9",
    ),
    (
        "  s: {responseStatus.code: nope}\n  condition: s\n",
        "error[unknown-value]: a response never has the code `nope`",
    ),
    (
        "  s: {outcome: forbiden}\n  condition: s\n",
        "error[unknown-value]: `outcome` is never `forbiden`",
    ),
    (
        "  s: {principal.kind: robot}\n  condition: s\n",
        "it is one of user, serviceaccount, node",
    ),
];

#[test]
fn each_mistake_in_a_detection() {
    for &(text, expected) in DETECTIONS {
        let report = detection(text);
        assert!(report.contains(expected), "{text}\n{report}");
    }
}

#[test]
fn conditions_that_cannot_hold() {
    for (text, why) in [
        (
            "  s: {stage: RequestReceived}\n  condition: s\n",
            "`stage` is never `RequestReceived`",
        ),
        (
            "  s: {level: None}\n  condition: s\n",
            "`level` is never `None`",
        ),
        (
            "  a: {verb: get}\n  b: {verb: [list, watch]}\n  condition: a and b\n",
            "`verb` has one value",
        ),
        (
            "  s: {verb|all: [list, watch]}\n  condition: s\n",
            "`verb` has one value",
        ),
        (
            "  s: {verb: get, 'verb|startswith': l}\n  condition: s\n",
            "`verb` has one value",
        ),
        (
            "  a: {verb: get}\n  condition: a and not a\n",
            "must both hold and not hold",
        ),
        (
            "  a: {user.groups: x}\n  b: {user.groups: null}\n  condition: a and b\n",
            "must be absent and have a value",
        ),
        (
            "  a: {verb: get}\n  b: {verb|exists: false}\n  condition: all of them\n",
            "must be absent and have a value",
        ),
        (
            "  s: {responseStatus.code|gt: 500, 'responseStatus.code|lt': 400}\n  condition: s\n",
            "cannot be above 500 and below 400",
        ),
        (
            "  s: {responseStatus.code: 200, 'responseStatus.code|gte': 400}\n  condition: s\n",
            "has one value",
        ),
        (
            "  a: {outcome: allowed}\n  b: [{outcome: forbidden}, {outcome: failed}]\n  condition: a and b\n",
            "`outcome` has one value",
        ),
    ] {
        let report = detection(text);
        assert!(
            report.contains("error[never-matches]") && report.contains(why),
            "{text}\n{report}"
        );
    }
}

#[test]
fn conditions_that_can_hold_after_all() {
    for text in [
        "  a: {user.groups: x}\n  b: {user.groups: y}\n  condition: a and b\n",
        "  a: {verb: get}\n  b: {verb: create}\n  condition: a and b\n",
        "  a: {verb: get}\n  b: {verb: list}\n  condition: a or b\n",
        "  a: {verb: [get, list]}\n  b: {verb: list}\n  condition: a and not b\n",
        "  a: {verb: 'g*'}\n  b: {verb: '*t'}\n  condition: a and b\n",
        "  a: {objectRef.name: Ab}\n  b: {objectRef.name|cased|startswith: A}\n  condition: a and b\n",
        "  a: {stage: [RequestReceived, Panic]}\n  condition: a\n",
        "  a: {requestObject.spec.x: 1}\n  b: {requestObject.spec.x: 2}\n  condition: a and b\n",
        "  a: {responseStatus.code|gte: 400, 'responseStatus.code|lte': 400}\n  condition: a\n",
        "  a: {responseStatus.code: '403', 'responseStatus.code|gt': 400}\n  condition: a\n",
        "  a: {verb: list}\n  b: {verb|neq: get}\n  condition: a and b\n",
        "  a: {verb: 'x'}\n  b: {verb|fieldref: principal}\n  condition: a and b\n",
    ] {
        assert_eq!(detection(text), "", "{text}");
    }
}

#[test]
fn each_mistake_in_a_document() {
    let sound = rule("  s: {verb: get}\n  condition: s\n");
    for (text, expected) in [
        (
            "a: 1\n".to_owned(),
            "error[not-a-rule]: this is no Sigma document\n --> r.yml:1:1",
        ),
        ("detecton: {}\n".to_owned(), "did you mean `detection`?"),
        (
            "- a\n".to_owned(),
            "error[wrong-type]: a rule must be a mapping, not a list",
        ),
        (
            "action: global\ntitle: x\n".to_owned(),
            "error[action]: `action: global` is an older way",
        ),
        (
            sound.replace("title: T", "title: ''"),
            "error[missing-key]: a rule needs `title`",
        ),
        (
            sound.replace("title: T", "title: T\nname: a b"),
            "error[bad-name]",
        ),
        (
            sound.replace("title: T", "title: T\nstatus: tested"),
            "did you mean `test`?",
        ),
        (
            sound.replace("title: T", "title: T\ncustom: 1"),
            "error[unknown-key]: a rule has no key `custom`",
        ),
        (
            sound.replace("kubernetes", "windows"),
            "warning[other-logsource]",
        ),
        (
            sound.replace("service: audit", "servce: audit"),
            "did you mean `service`?",
        ),
        (
            sound.replace("logsource: {product: kubernetes, service: audit}\n", ""),
            "error[missing-key]: a rule needs `logsource`",
        ),
        (
            format!("{sound}---\n{sound}"),
            "error[duplicate-rule]: there is another rule `t`",
        ),
        (
            format!("{sound}auditwatch: {{novlty: 1}}\n"),
            "did you mean `novelty`?",
        ),
        (
            format!("{sound}auditwatch: {{novelty: {{by: [principl], learn: 7d}}}}\n"),
            "did you mean `principal`?",
        ),
        (
            format!("{sound}auditwatch: {{novelty: {{by: principal}}}}\n"),
            "`novelty` needs `of`",
        ),
        (
            format!("{sound}auditwatch: {{novelty: {{by: principal, of: verb, forget: 1d}}}}\n"),
            "make `forget` longer",
        ),
        (
            format!("{sound}auditwatch: {{rate: {{by: principal, factor: 1}}}}\n"),
            "`factor` must be greater than 1",
        ),
        (
            format!("{sound}auditwatch: {{rate: {{by: principal}}}}\n"),
            "`rate` needs `every`",
        ),
        (
            format!("{sound}auditwatch: {{summary: 'a {{{{ vreb }}}}'}}\n"),
            "error[unknown-field]: there is no field `vreb`\n --> r.yml:6:29",
        ),
        (
            format!("{sound}auditwatch: {{respond: ['a {{{{ verb']}}\n"),
            "error[bad-template]",
        ),
        ("a: [\n".to_owned(), "error[yaml-syntax]"),
    ] {
        let report = report(&[("r.yml", &text)]);
        assert!(report.contains(expected), "{text}\n{report}");
    }
}

#[test]
fn mistakes_in_what_people_are_told_to_do() {
    let sound = rule("  s: {verb: get}\n  condition: s\n");
    for (block, expected) in [
        (
            "contain: ['a {{ vreb }}']",
            "error[unknown-field]: there is no field `vreb`",
        ),
        ("runbook: wiki/secrets", "`runbook` is no web address"),
        (
            "runbook: 'https://wiki/a|b'",
            "write it like https://wiki.example/runbooks",
        ),
    ] {
        let text = sound.clone() + &format!("auditwatch: {{{block}}}\n");
        let report = report(&[("r.yml", &text)]);
        assert!(report.contains(expected), "{text}\n{report}");
    }
}

#[test]
fn list_files_are_checked() {
    for (text, expected) in [
        ("- a\n", "a list file must be a mapping"),
        ("a: {b: c}\n", "a list holds text, not a mapping"),
        ("a: [b, [c]]\n", "a list holds text, not a list"),
    ] {
        let report = report(&[("lists/a.yml", text)]);
        assert!(report.contains(expected), "{text}\n{report}");
    }
}

#[test]
fn codes_are_unique() {
    let mut codes: Vec<_> = CODES.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), CODES.len());
}

/// A file with a bit of everything, for cutting up.
const WHOLE: &str = "title: T é\nname: a\nid: 11111111-1111-4111-8111-111111111111\nlogsource: {product: kubernetes}\ndetection:\n  s:\n    verb|contains|all: ['l\\*t', \"x\\\"y\"]\n    sourceIPs|cidr: &net 10.0.0.0/8\n  t:\n    - user.username|re|i: '^a''b'\n    - responseStatus.code: [403, ALLOW, null]\n  k: [word, 5]\n  condition: >\n    s and\n    not 1 of t*\n    or k\nlevel: high\nauditwatch:\n  summary: \"{{ verb }} by {{ principal }}\"\n  novelty: {by: [principal], of: [verb], learn: 1d}\n---\ntitle: C\ncorrelation:\n  type: value_count\n  rules: [a]\n  group-by: [who]\n  aliases: {who: {a: principal}}\n  timespan: 5m\n  condition: {field: verb, gte: 3}\n---\ntitle: F\nfilter: {rules: any, s: {verb: &net [x], userAgent: *net}, condition: not s}\n";

#[test]
fn the_whole_file_is_sound() {
    assert_eq!(report(&[("w.yml", WHOLE)]), "");
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(
        cuts in prop::collection::vec((0usize..1_200, 0usize..12, "[-\\[\\]{}:,#&*!|>'\"%@ \\n\\\\a0é{]{0,4}"), 1..6),
    ) {
        let mut characters: Vec<char> = WHOLE.chars().collect();
        for (at, length, put_in) in cuts {
            let at = at.min(characters.len());
            let end = (at + length).min(characters.len());
            characters.splice(at..end, put_in.chars());
        }
        let text: String = characters.into_iter().collect();
        let shown = report(&[("w.yml", &text)]);
        prop_assert!(shown.lines().all(|line| line.chars().count() < 2_000));
    }
}
