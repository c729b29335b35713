//! A reader that goes away, as `head` does, ends the program at once and without a word.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
};

use crate::program::program;

/// Makes an alert of every request, so that there is more output than a pipe holds (64 KiB).
const TALKATIVE: &str = "
title: Everything
logsource: {product: kubernetes, service: audit}
detection:
  each: {auditID|exists: true}
  condition: each
";

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("all.yml");
    fs::write(&rules, TALKATIVE).unwrap();
    for output in ["json", "text"] {
        let mut child = program()
            .args(["replay", "--output", output, "--rules"])
            .arg(&rules)
            .arg("sample-logs/finding-out-what-is-open.jsonl.gz")
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        drop(reader);
        let mut said = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let code = child.wait().unwrap().code();
        assert_eq!((code, said.as_str()), (Some(0), ""), "{output}");
    }
}
