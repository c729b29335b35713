//! A reader that goes away, as `head` does, ends the program at once and without a word.

use std::io::{BufRead as _, BufReader, Read as _};

use crate::program::{program, sample};

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = tempfile::tempdir().unwrap();
    // Far more output than a pipe holds.
    let log = sample("finding-out-what-is-open.jsonl.gz").concat();
    let rule = "title: All\nlogsource: {product: kubernetes, service: audit}\ndetection:\n  \
                s: {auditID|exists: true}\n  condition: s\nauditwatch:\n  \
                novelty: {by: [auditID], of: [auditID], learn: 0s, forget: 1d}\n";
    for (output, rule) in [("json", "all.yml"), ("text", "all.yml")].map(|(o, r)| (o, (r, rule))) {
        std::fs::write(folder.path().join("audit.log"), &log).unwrap();
        std::fs::write(folder.path().join(rule.0), rule.1).unwrap();
        let mut child = program()
            .current_dir(folder.path())
            .args(["replay", "--output", output, "--rules", rule.0, "audit.log"])
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        drop(reader);
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    }
}
