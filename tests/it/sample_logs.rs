//! Holds the sample logs to their stories: exactly the alerts of `sample-logs/expected.json` come.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;
use serde_json::Value;

use crate::program::{auditwatch, root};

/// An alert as `expected.json` lists it. No principal: several have part in it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct Expected {
    rule: String,
    level: String,
    principal: Option<String>,
    count: u64,
}

fn expected() -> BTreeMap<String, Vec<Expected>> {
    let text = fs::read_to_string(root().join("sample-logs/expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The last line of each alert of a file.
fn came(file: &str) -> Vec<Expected> {
    let answer = auditwatch(["replay", "--output", "json", &format!("sample-logs/{file}")]);
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{file}");
    let mut last = BTreeMap::new();
    for alert in answer.objects() {
        last.insert(alert["id"].to_string(), alert);
    }
    last.values().map(of).collect()
}

fn of(alert: &Value) -> Expected {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Expected {
        rule: text(&alert["rule"]["name"]).unwrap(),
        level: text(&alert["rule"]["level"]).unwrap(),
        principal: text(&alert["principal"]["name"]),
        count: alert["count"].as_u64().unwrap(),
    }
}

#[test]
fn each_sample_gives_its_alerts_and_no_other() {
    let expected = expected();
    let mut files: Vec<String> = fs::read_dir(root().join("sample-logs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".jsonl"))
        .collect();
    files.sort();
    assert!(files.iter().eq(expected.keys()), "{files:?}");
    for (file, mut wanted) in expected {
        let mut came = came(&file);
        came.sort();
        wanted.sort();
        assert_eq!(came, wanted, "{file}");
    }
}

/// A line of the README's tables. It says `nobody` where no identity was proven and `several`
/// where no one identity did it all; who impersonated stands behind a comma.
fn told(line: &str) -> Option<Expected> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [level, rule, principal, count] = cells[..] else {
        return None;
    };
    let principal = match principal {
        "several" => None,
        "nobody" => Some(String::new()),
        name => Some(name.split(", by ").next().unwrap_or_default().to_owned()),
    };
    Some(Expected {
        rule: rule.strip_prefix('`')?.strip_suffix('`')?.to_owned(),
        level: level.to_owned(),
        principal,
        count: count.parse().unwrap(),
    })
}

#[test]
fn the_stories_tell_what_is_expected() {
    let readme = fs::read_to_string(root().join("sample-logs/README.md")).unwrap();
    let mut stories: BTreeMap<String, Vec<Expected>> = BTreeMap::new();
    let mut file = String::new();
    for line in readme.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            name.clone_into(&mut file);
            stories.entry(file.clone()).or_default();
        } else if let Some(alert) = told(line) {
            stories.entry(file.clone()).or_default().push(alert);
        }
    }
    for alerts in stories.values_mut() {
        alerts.sort();
    }
    let mut expected = expected();
    for alerts in expected.values_mut() {
        alerts.sort();
    }
    assert_eq!(stories, expected);
}
