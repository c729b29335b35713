//! Damaged rules and configuration.

use std::{fs, path::Path, sync::Arc};

use auditwatch::{
    config::{Overrides, configure},
    diagnostic::SourceFile,
    rule::{Layer, RuleSet},
};

use crate::run;

const WORDS: [&[u8]; 22] = [
    b":",
    b"- ",
    b"\n",
    b"  ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"'",
    b"\"",
    b"&a ",
    b"*a",
    b"|",
    b">",
    b"#",
    b"---\n",
    b"\t",
    b"\xff",
    b"|re: '('",
    b"1 of them",
    b" not ",
    b"9999999999999999999999h",
];

/// All files below a folder with one of these endings.
fn files(folder: &Path, found: &mut Vec<Vec<u8>>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "yml") {
            found.push(fs::read(path).unwrap());
        }
    }
}

#[test]
fn rules() {
    let mut seeds = Vec::new();
    files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("rules"),
        &mut seeds,
    );
    run("rules", 300, |chance, input| {
        *input = chance.pick(&seeds).clone();
        chance.damage(input, &WORDS);
        let text = String::from_utf8_lossy(input).into_owned();
        let file = Arc::new(SourceFile::new("rules.yml", text));
        let layer = Layer {
            rules: vec![file],
            ..Layer::default()
        };
        match RuleSet::load(&[layer]) {
            Err(report) if report.to_string().is_empty() => {
                Err("refused without a word".to_owned())
            }
            Ok(_) | Err(_) => Ok(()),
        }
    });
}

#[test]
fn configuration() {
    // The example in the documentation has every setting.
    let page = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/configuration.md"
    ));
    let page = page.unwrap();
    let example = page
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auditwatch.yml");
    run("configuration", 300, |chance, input| {
        *input = example.as_bytes().to_vec();
        chance.damage(input, &WORDS);
        fs::write(&path, &*input).unwrap();
        match configure(Some(&path), &Overrides::default()) {
            Err(error) if error.to_string().is_empty() => Err("refused without a word".to_owned()),
            Ok(_) | Err(_) => Ok(()),
        }
    });
}
