//! Holds the house rules that the compiler does not: which module may import which, which must
//! stay pure, and that every file says what it owns. It keeps cycles out; it does not police taste.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The modules in order. A module may import those that stand before it, never one behind.
const MODULES: [&str; 18] = [
    "units",
    "diagnostic",
    "event",
    "decode",
    "window",
    "baseline",
    "rule",
    "detect",
    "alert",
    "telemetry",
    "store",
    "source",
    "notify",
    "report",
    "config",
    "pipeline",
    "server",
    "cli",
];

/// The last module without clock, file, socket or chance.
const LAST_PURE: &str = "alert";

/// What a pure module must not touch, with what to do instead.
const IMPURE: [(&str, &str); 9] = [
    ("tokio::", "run it at the rim and pass values"),
    ("reqwest::", "run it at the rim and pass values"),
    ("std::fs", "take a reader or text"),
    ("fs::File", "take a reader or text"),
    ("std::net::Tcp", "take bytes"),
    ("std::net::Udp", "take bytes"),
    ("Instant::now", "take the time as a parameter"),
    ("SystemTime", "take the time as a parameter"),
    ("Utc::now", "take the time as a parameter"),
];

/// Words that name nothing.
const BANNED_NAMES: [&str; 6] = ["util", "utils", "helper", "helpers", "common", "manager"];

fn rust_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder can be read") {
            let path = entry.expect("entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Production code only: what stands before an inline test module.
fn production(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {")
        .map_or(text, |at| &text[..at])
}

fn module_of(path: &Path) -> Option<usize> {
    let relative = path.strip_prefix(source()).ok()?;
    let first = relative.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    MODULES.iter().position(|module| *module == name)
}

/// The modules of ours that a text names: `crate::x`, also within `use crate::{x, y::z}`.
fn imported(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            names.extend(top_level_names(list));
        } else {
            names.extend(leading_name(rest));
        }
    }
    names
}

fn leading_name(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

/// The first names of the items of a `{…}` list, its opening brace already gone.
fn top_level_names(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (0usize, 0usize, Vec::new());
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => {
                names.extend(leading_name(&list[start..at]));
                break;
            }
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                names.extend(leading_name(&list[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn imports_point_up_the_list() {
    let mut wrong = Vec::new();
    for path in rust_files(&source()) {
        let Some(own) = module_of(&path) else {
            continue;
        };
        let text = fs::read_to_string(&path).expect("source can be read");
        for name in imported(production(&text)) {
            let Some(theirs) = MODULES.iter().position(|module| *module == name) else {
                continue;
            };
            if theirs > own {
                wrong.push(format!(
                    "{}: {} must not import {name}",
                    path.display(),
                    MODULES[own]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_import_reader_reads_lists() {
    let text = "use crate::{units::{Time, Span}, event::Event, rule};\nlet x = crate::alert::y();";
    assert_eq!(imported(text), ["units", "event", "rule", "alert"]);
}

#[test]
fn pure_modules_stay_pure() {
    let last = MODULES
        .iter()
        .position(|module| *module == LAST_PURE)
        .expect("is in the list");
    let mut wrong = Vec::new();
    for path in rust_files(&source()) {
        if module_of(&path).is_none_or(|own| own > last) || path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("source can be read");
        for (number, line) in production(&text).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for (word, instead) in IMPURE {
                if line.contains(word) {
                    wrong.push(format!(
                        "{}:{}: {word}: {instead}",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        if !root.join(folder).is_dir() {
            continue;
        }
        for path in rust_files(&root.join(folder)) {
            let text = fs::read_to_string(&path).expect("source can be read");
            if !text.starts_with("//! ") {
                wrong.push(format!("{}: opens without `//!`", path.display()));
            }
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            if BANNED_NAMES.contains(&stem) {
                wrong.push(format!("{}: `{stem}` names nothing", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn top_level_modules_are_the_listed_ones() {
    let listed = fs::read_to_string(source().join("lib.rs")).expect("lib.rs can be read");
    let found: Vec<_> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(
        found, MODULES,
        "src/lib.rs lists the modules in the order of the table"
    );
}
