//! Tests of reading YAML: places, meaning, mistakes, bounds.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> (Vec<Document>, String) {
    let problems = Problems::new();
    let file = Arc::new(SourceFile::new("f.yml", text));
    let documents = parse(&file, &problems);
    (documents, problems.into_report().to_string())
}

/// The tree in one line, each scalar with the source text of its spot.
fn outline(file: &SourceFile, node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => format!("{:?}@{:?}", scalar.text, file.slice(node.spot)),
        Value::Sequence(items) => {
            let items: Vec<_> = items.iter().map(|item| outline(file, item)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Mapping(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|e| format!("{}={}", file.slice(e.key_spot), outline(file, &e.value)))
                .collect();
            format!("{{{}}}", entries.join(" "))
        }
    }
}

#[test]
fn nodes_know_their_places() {
    let text = "# ключ\na: 'x ''y'  # c\nb:\n  - \"q\\n\"\n  - plain text # c\nc: {d: [1, 2]}\ne:\nf: |\n  one\n  two\ng: &x z\nh: *x\n";
    let (documents, report) = read(text);
    assert_eq!(report, "");
    let document = &documents[0];
    assert_eq!(
        outline(&document.file, &document.root),
        r#"{a="x 'y"@"'x ''y'" b=["q\n"@"\"q\\n\"" "plain text"@"plain text"] c={d=["1"@"1" "2"@"2"]} e=""@"e" f="one\ntwo\n"@"one\n  two" g="z"@"z" h="z"@"*x"}"#
    );
    let Value::Mapping(entries) = &document.root.value else {
        panic!()
    };
    assert_eq!(document.file.slice(entries[2].value.spot), "{d: [1, 2]}");
    assert_eq!(
        document.file.slice(entries[1].value.spot),
        "- \"q\\n\"\n  - plain text"
    );
}

#[test]
fn finds_parts_of_scalars() {
    let text = "- sel and (nope\n    or x)\n- 'it''s nope'\n- \"a \\\"nope\\\"\"\n- |\n    first\n    then nope\n- >\n    first\n    then nope\n- \"\\u00e9 nope\"\n";
    let (documents, _) = read(text);
    let Value::Sequence(items) = &documents[0].root.value else {
        panic!()
    };
    for (place, item) in items.iter().enumerate() {
        let start = item.scalar().unwrap().text.find("nope").unwrap();
        let spot = item.spot_of(&documents[0].file, start, start + 4);
        let found = documents[0].file.slice(spot);
        // What an escape makes of the text before it is not followed; the node stands in.
        assert_eq!(
            found,
            if place == 5 {
                "\"\\u00e9 nope\""
            } else {
                "nope"
            },
            "{place}"
        );
    }
    let last = items[0].scalar().unwrap().text.len();
    assert_eq!(
        documents[0]
            .file
            .slice(items[0].spot_of(&documents[0].file, last - 2, last)),
        "x)"
    );
}

#[test]
fn several_documents_and_empty_ones() {
    let (documents, report) = read("a: 1\n---\n---\nb: 2\n...\n# end\n");
    assert_eq!((documents.len(), report.as_str()), (2, ""));
}

#[test]
fn core_schema() {
    for (text, resolved) in [
        ("null", Resolved::Null),
        ("~", Resolved::Null),
        ("true", Resolved::Bool(true)),
        ("yes", Resolved::Text("yes")),
        ("-12", Resolved::Integer(-12)),
        ("0x1f", Resolved::Integer(31)),
        ("1.5e3", Resolved::Float(1500.0)),
        ("1.2.3.4", Resolved::Text("1.2.3.4")),
        ("inf", Resolved::Text("inf")),
        ("NaN", Resolved::Text("NaN")),
        ("", Resolved::Null),
    ] {
        let scalar = |style| Scalar {
            text: text.to_owned(),
            style,
        };
        assert_eq!(scalar(Style::Plain).resolve(), resolved, "{text}");
        assert_eq!(scalar(Style::Single).resolve(), Resolved::Text(text));
    }
}

#[test]
fn says_what_is_wrong() {
    for (text, expected) in [
        (
            "a: 1\nb: 2\na: 3\n",
            "error[duplicate-key]: `a` stands here twice\n --> f.yml:3:1\n  |\n3 | a: 3\n  | ^ first on line 1\n",
        ),
        (
            "a: *nope*\n",
            "error[yaml-syntax]: this is not YAML\n --> f.yml:1:4\n",
        ),
        ("a: b: c\n", "a value that holds `: ` needs quotes"),
        ("a:\n\tb: 1\n", "indent with spaces, not with tabs"),
        ("a: 'x\n", "never closed"),
        ("a: !py/object x\n", "error[yaml-tag]"),
        ("? [a]\n: b\n", "error[yaml-key]"),
        ("a: &x [*x]\n", "error[yaml-alias]"),
    ] {
        let (_, report) = read(text);
        assert!(report.contains(expected), "{text}\n{report}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut bomb = "a0: &a0 [x]\n".to_owned();
    for level in 1..30 {
        let inner = format!("*a{},", level - 1).repeat(9);
        bomb.push_str(
            &[
                "a",
                &level.to_string(),
                ": &a",
                &level.to_string(),
                " [",
                &inner,
                "]\n",
            ]
            .concat(),
        );
    }
    let (_, report) = read(&bomb);
    assert!(report.contains("error[yaml-too-many]"), "{report}");
    for deep in [
        "[".repeat(100_000),
        "- ".repeat(100_000),
        "{a: ".repeat(100),
    ] {
        let (_, report) = read(&deep);
        assert!(report.contains("error[yaml-"), "{report}");
    }
    let (_, report) = read(&"x".repeat(TEXT_MAX + 1));
    assert!(report.contains("error[file-too-big]"), "{report}");
}

proptest! {
    #[test]
    fn never_panics(text in "[-\\[\\]{}:,#&*!|>'\"%@`?~ \\t\\n\\r\\\\a0é\u{feff}\u{85}\u{2028}]{0,60}") {
        read(&text);
    }

    #[test]
    fn any_text_is_found_again(text in "[a-z0-9 :#'\"\\\\é]{1,20}") {
        let quoted = format!("k: ['{}']", text.replace('\'', "''"));
        let (documents, report) = read(&quoted);
        prop_assert_eq!(report, "");
        let Value::Mapping(entries) = &documents[0].root.value else { panic!() };
        let Value::Sequence(items) = &entries[0].value.value else { panic!() };
        prop_assert_eq!(&items[0].scalar().unwrap().text, &text);
    }
}
