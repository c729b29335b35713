//! Holds the dashboards and Prometheus alerts to the metrics that there really are.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;
use serde_json::Value;

/// The API server's own metrics about its audit log: what it loses never reaches auditwatch.
const APISERVER: [&str; 4] = [
    "apiserver_audit_error_total",
    "apiserver_audit_event_total",
    "apiserver_audit_level_total",
    "apiserver_audit_requests_rejected_total",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of the folder with an extension, with their texts.
fn files(extension: &str) -> Vec<(PathBuf, String)> {
    let folder = fs::read_dir(root().join("dashboards")).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    assert!(!paths.is_empty(), "no .{extension} file");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The metrics of docs/metrics.md, histograms by the series that they make.
fn catalogue() -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let row = Regex::new(r"(?m)^\| `(auditwatch_[a-z0-9_]+)` \| (\w+) \|").unwrap();
    let mut names = BTreeSet::new();
    for captures in row.captures_iter(&page) {
        let (name, kind) = (&captures[1], &captures[2]);
        if kind == "histogram" {
            names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        } else {
            names.insert(name.to_owned());
        }
    }
    assert!(names.len() > 30, "the catalogue is a table: {names:?}");
    names
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let name = Regex::new(r"\b(?:auditwatch|apiserver|process)_[a-z0-9_]+").unwrap();
    name.find_iter(text).map(|found| found.as_str()).collect()
}

#[test]
fn every_metric_that_is_named_is_there() {
    let catalogue = catalogue();
    for (path, text) in files("json").into_iter().chain(files("yml")) {
        let named = named(&text);
        assert!(named.len() > 5, "{}: {named:?}", path.display());
        let unknown: Vec<&str> = named
            .into_iter()
            .filter(|name| !catalogue.contains(*name))
            .filter(|name| !APISERVER.contains(name) && !name.starts_with("process_"))
            .collect();
        assert!(
            unknown.is_empty(),
            "{}: docs/metrics.md lacks {unknown:?}",
            path.display()
        );
    }
}

/// Every value below a key, at any depth.
fn each<'a>(value: &'a Value, key: &str, visit: &mut dyn FnMut(&'a Value)) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if name == key {
                    visit(inner);
                }
                each(inner, key, visit);
            }
        }
        Value::Array(values) => values.iter().for_each(|inner| each(inner, key, visit)),
        _ => {}
    }
}

#[test]
fn a_dashboard_can_be_imported_anywhere() {
    for (path, text) in files("json") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let dashboard: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Links and provisioning refer to the uid: it is the file's name, and stays.
        assert_eq!(dashboard["uid"], name);
        assert!(dashboard.get("id").is_none_or(Value::is_null), "{name}: id");
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert!(
            variables.iter().any(
                |variable| variable["name"] == "datasource" && variable["type"] == "datasource"
            ),
            "{name}: no variable for the data source"
        );
        let mut sources = 0;
        each(&dashboard, "datasource", &mut |source| {
            let uid = source["uid"].as_str().unwrap_or_default();
            let is_grafana = uid == "-- Grafana --" || uid == "grafana";
            assert!(uid == "${datasource}" || is_grafana, "{name}: {source}");
            sources += 1;
        });
        assert!(sources > 10, "{name}: panels have a data source");
    }
}

#[test]
fn panels_have_a_place_and_a_number_of_their_own() {
    for (path, text) in files("json") {
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels
            .iter()
            .map(|panel| panel["id"].as_u64().unwrap())
            .collect();
        assert_eq!(ids.len(), panels.len(), "{}", path.display());
        let number = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().unwrap();
        let mut taken = BTreeSet::new();
        for panel in panels {
            let (x, y) = (number(panel, "x"), number(panel, "y"));
            for cell in x..x + number(panel, "w") {
                for row in y..y + number(panel, "h") {
                    assert!(cell < 24 && taken.insert((cell, row)), "{}", panel["title"]);
                }
            }
            assert!(panel["title"].is_string());
            if panel["type"] != "row" {
                assert!(panel["description"].is_string(), "{}", panel["title"]);
            }
        }
    }
}

#[test]
fn prometheus_takes_the_alerts() {
    let promtool = |args: &[&str]| {
        Command::new("promtool")
            .args(args)
            .current_dir(root().join("dashboards"))
            .output()
    };
    if promtool(&["--version"]).is_err() {
        // Not `println!`, which a test that passes keeps to itself.
        let told = "left out: promtool, which comes with Prometheus, is not on the PATH";
        writeln!(io::stderr(), "{told}").unwrap();
        return;
    }
    for (path, _) in files("yml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let verb = if name.ends_with(".test.yml") {
            "test"
        } else {
            "check"
        };
        let answer = promtool(&[verb, "rules", name]).unwrap();
        let said = [answer.stdout, answer.stderr].concat();
        assert!(
            answer.status.success(),
            "promtool {verb} rules {name}: {}",
            String::from_utf8_lossy(&said)
        );
    }
}
