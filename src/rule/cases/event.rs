//! One event of a case: an ordinary audit event with what the case says put over it.
//!
//! The ordinary event is a Metadata-level `get` of a ConfigMap by a person, answered with 200.
//! What follows from what is written is filled in: groups of service accounts and nodes, the URI
//! of the object, the authorizer's decision, what a 401 leaves out, the audit level of a body.

use std::{fmt::Write, sync::Arc};

use serde_json::{Map, Value as Json, json};

use crate::{
    diagnostic::{
        Diagnostic, Problems, SourceFile, Spot, Table,
        yaml::{self, Entry, Node, Resolved, Value},
    },
    event::Field,
    rule::{codes, field},
    units::{Span, Time},
};

/// 2026-01-05T09:00:00Z, a Monday: when all cases start.
const START: Time = Time::from_micros(1_767_603_600_000_000);

/// Objects whose keys hold dots themselves.
const MAPS: [&str; 3] = ["annotations.", "user.extra.", "impersonatedUser.extra."];

/// Keys of an event in the order in which an API server writes them.
const KEYS: [&str; 19] = [
    "kind",
    "apiVersion",
    "level",
    "auditID",
    "stage",
    "requestURI",
    "verb",
    "user",
    "impersonatedUser",
    "authenticationMetadata",
    "sourceIPs",
    "userAgent",
    "objectRef",
    "responseStatus",
    "requestObject",
    "responseObject",
    "requestReceivedTimestamp",
    "stageTimestamp",
    "annotations",
];

/// The lines of one entry of `events`, at most `most`. `id` is the first audit id's number.
pub(super) fn lines(
    node: &Node,
    file: &Arc<SourceFile>,
    problems: &Problems,
    id: u64,
    most: usize,
) -> Vec<String> {
    let mut table = Table::of(node, file, problems, "an event");
    let at = table.span("at").map_or(Span::ZERO, |at| at.value);
    let repeat = table
        .integer("repeat", 1, super::EVENTS_MAX as i64)
        .map_or(1, |n| n.value as usize);
    let every = table.span("every").map_or(Span::ZERO, |every| every.value);
    if repeat > most {
        let message = format!("a case has at most {} events", super::EVENTS_MAX);
        problems.add(Diagnostic::error(
            codes::BAD_CASE,
            file,
            table.spot,
            message,
        ));
    }
    let reader = Reader { file, problems };
    let mut patch = Vec::new();
    for entry in table.rest() {
        reader.flatten(entry, "", &mut patch);
    }
    let mut time = START.plus(at);
    let mut lines = Vec::new();
    for number in 0..repeat.min(most) {
        let numbered: Vec<_> = patch
            .iter()
            .map(|(path, value)| (path.as_str(), count(value, number + 1)))
            .collect();
        lines.push(line(&numbered, time, id + number as u64));
        time = time.plus(every);
    }
    lines
}

struct Reader<'r> {
    file: &'r Arc<SourceFile>,
    problems: &'r Problems,
}

impl Reader<'_> {
    /// Adds an entry as dotted path and value. Objects that are not bodies are taken apart.
    fn flatten(&self, entry: &Entry, above: &str, patch: &mut Vec<(String, Json)>) {
        let path = format!("{above}{}", entry.key);
        let apart =
            ["user", "impersonatedUser", "objectRef", "responseStatus"].contains(&path.as_str());
        let map = MAPS.iter().any(|map| map.trim_end_matches('.') == path);
        if let (true, Value::Mapping(entries)) = (apart || map, &entry.value.value) {
            for inner in entries {
                self.flatten(inner, &format!("{path}."), patch);
            }
        } else if self.check(&path, entry) {
            let value = to_json(&entry.value);
            self.check_type(&path, &value, entry.value.spot);
            patch.push((path, value));
        }
    }

    fn check(&self, path: &str, entry: &Entry) -> bool {
        let found = field::look_up(path, self.file, entry.key_spot, self.problems);
        let Some(entry_of) = found.as_ref().map(Field::entry) else {
            return false;
        };
        if entry_of.is_none_or(|known| known.is_raw() && known.name == path) {
            return true;
        }
        let message = format!("`{path}` is not written into an event, it follows from it");
        self.problems.add(
            Diagnostic::error(codes::BAD_CASE, self.file, entry.key_spot, message)
                .help("set the fields of audit.k8s.io/v1, such as `user.username`"),
        );
        false
    }

    fn check_type(&self, path: &str, value: &Json, spot: Spot) {
        let wrong = match path {
            "responseStatus.code" => !value.is_u64() && !value.is_null(),
            "user.groups" | "impersonatedUser.groups" | "sourceIPs" => {
                value.is_object() || value.is_number()
            }
            _ if path.starts_with("requestObject") || path.starts_with("responseObject") => false,
            _ if path == "authenticationMetadata" || path.starts_with("responseStatus.details") => {
                false
            }
            _ if path.contains(".extra.") => value.is_object(),
            _ => !value.is_string() && !value.is_null(),
        };
        if wrong {
            let message = format!("`{path}` cannot have a value of this type");
            self.problems
                .add(Diagnostic::error("wrong-type", self.file, spot, message));
        }
    }
}

fn to_json(node: &Node) -> Json {
    match &node.value {
        Value::Sequence(nodes) => nodes.iter().map(to_json).collect(),
        Value::Mapping(entries) => Json::Object(
            entries
                .iter()
                .map(|e| (e.key.clone(), to_json(&e.value)))
                .collect(),
        ),
        Value::Scalar(scalar) => scalar_json(scalar),
    }
}

fn scalar_json(scalar: &yaml::Scalar) -> Json {
    match scalar.resolve() {
        Resolved::Null => Json::Null,
        Resolved::Bool(flag) => json!(flag),
        Resolved::Integer(number) => json!(number),
        Resolved::Float(number) => json!(number),
        Resolved::Text(text) => json!(text),
    }
}

/// The value with `{n}` in its texts replaced by the number of the repetition, from 1.
fn count(value: &Json, number: usize) -> Json {
    match value {
        Json::String(text) => json!(text.replace("{n}", &number.to_string())),
        Json::Array(values) => values.iter().map(|value| count(value, number)).collect(),
        Json::Object(members) => {
            let each = members
                .iter()
                .map(|(key, value)| (key.clone(), count(value, number)));
            Json::Object(each.collect())
        }
        other => other.clone(),
    }
}

fn line(patch: &[(&str, Json)], time: Time, id: u64) -> String {
    let mut event = ordinary(time, id);
    for (path, value) in patch {
        set(&mut event, path, value);
    }
    // `user` is given by `user.username`, but not by `userAgent`.
    let given = |path: &str| {
        patch.iter().any(|(known, _)| {
            let below = known.strip_prefix(path);
            below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
        })
    };
    fill_in(&mut event, &given);
    let mut line = String::from("{");
    for key in KEYS {
        if let Some(value) = event.get(key).filter(|value| !value.is_null()) {
            let comma = if line.len() > 1 { "," } else { "" };
            let _ = write!(line, "{comma}\"{key}\":{value}");
        }
    }
    line.push('}');
    line
}

fn ordinary(time: Time, id: u64) -> Map<String, Json> {
    let ended = time.plus(Span::from_micros(2_000));
    let event = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": format!("00000000-0000-4000-8000-{id:012x}"),
        "stage": "ResponseComplete",
        "verb": "get",
        "user": {"username": "alice@acme.example", "groups": ["system:authenticated"]},
        "sourceIPs": ["203.0.113.11"],
        "userAgent": "kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7",
        "objectRef": {"resource": "configmaps", "namespace": "shop", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": time.to_string(),
        "stageTimestamp": ended.to_string(),
        "annotations": {},
    });
    match event {
        Json::Object(event) => event,
        _ => Map::new(),
    }
}

/// Puts a value at a path; null takes what is there out.
fn set(event: &mut Map<String, Json>, path: &str, value: &Json) {
    let map = MAPS.iter().find(|map| path.starts_with(**map));
    let mut keys: Vec<&str> = match map {
        Some(map) => map
            .trim_end_matches('.')
            .split('.')
            .chain([&path[map.len()..]])
            .collect(),
        None => path.split('.').collect(),
    };
    let Some(last) = keys.pop() else { return };
    let mut object = event;
    for key in keys {
        let inner = object.entry(key).or_insert_with(|| json!({}));
        if !inner.is_object() {
            *inner = json!({});
        }
        match inner {
            Json::Object(inner) => object = inner,
            _ => return,
        }
    }
    if value.is_null() {
        object.remove(last);
        return;
    }
    let is_list = matches!(
        path,
        "user.groups" | "impersonatedUser.groups" | "sourceIPs"
    ) || map.is_some_and(|map| map.contains("extra"));
    let value = if is_list && !value.is_array() {
        json!([value])
    } else {
        value.clone()
    };
    object.insert(last.to_owned(), value);
}

/// Fills in what follows from what is there and was not given.
fn fill_in(event: &mut Map<String, Json>, given: &dyn Fn(&str) -> bool) {
    let code = event
        .get("responseStatus")
        .and_then(|status| status["code"].as_u64());
    if code == Some(401) {
        let left_out = [
            ("user", json!({})),
            ("annotations", json!({})),
            ("stage", json!("ResponseStarted")),
        ];
        for (key, value) in left_out {
            if !given(key) {
                event.insert(key.to_owned(), value);
            }
        }
    } else if !given("annotations.authorization.k8s.io/decision")
        && event.contains_key("annotations")
    {
        let decision = if code == Some(403) { "forbid" } else { "allow" };
        set(
            event,
            "annotations.authorization.k8s.io/decision",
            &json!(decision),
        );
    }
    if !given("level") {
        let level = match (given("requestObject"), given("responseObject")) {
            (_, true) => "RequestResponse",
            (true, false) => "Request",
            _ => "Metadata",
        };
        event.insert("level".to_owned(), json!(level));
    }
    if given("objectRef.resource") && !given("objectRef.namespace") && is_cluster_wide(event) {
        set(event, "objectRef.namespace", &Json::Null);
    }
    if given("requestURI") && !given("objectRef") {
        event.remove("objectRef");
    }
    if !given("requestURI") {
        let uri = uri(event);
        event.insert("requestURI".to_owned(), json!(uri));
    }
    for user in ["user", "impersonatedUser"] {
        let groups = format!("{user}.groups");
        let name = event
            .get(user)
            .and_then(|user| user["username"].as_str().map(str::to_owned));
        if let Some(name) = name.filter(|_| !given(&groups)) {
            set(event, &groups, &json!(groups_of(&name)));
        }
    }
}

fn text<'e>(event: &'e Map<String, Json>, key: &str) -> &'e str {
    event
        .get("objectRef")
        .and_then(|object| object[key].as_str())
        .unwrap_or_default()
}

/// Kinds of Kubernetes itself that lie in no namespace.
fn is_cluster_wide(event: &Map<String, Json>) -> bool {
    [
        "clusterroles",
        "clusterrolebindings",
        "nodes",
        "namespaces",
        "certificatesigningrequests",
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
        "subjectaccessreviews",
        "tokenreviews",
        "users",
        "groups",
        "persistentvolumes",
    ]
    .contains(&text(event, "resource"))
}

fn uri(event: &Map<String, Json>) -> String {
    let (group, version) = (text(event, "apiGroup"), text(event, "apiVersion"));
    let mut uri = match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    let namespace = text(event, "namespace");
    if !namespace.is_empty() {
        uri += "/namespaces/";
        uri += namespace;
    }
    for key in ["resource", "name", "subresource"] {
        let part = text(event, key);
        if !part.is_empty() {
            uri.push('/');
            uri += part;
        }
    }
    if event.get("verb").and_then(Json::as_str) == Some("watch") {
        uri.push_str("?watch=true");
    }
    uri
}

fn groups_of(name: &str) -> Vec<String> {
    let own = |text: &str| text.to_owned();
    if name == "system:anonymous" {
        return vec![own("system:unauthenticated")];
    }
    let mut groups = Vec::new();
    if let Some(rest) = name.strip_prefix("system:serviceaccount:") {
        let namespace = rest.split(':').next().unwrap_or_default();
        groups.push(own("system:serviceaccounts"));
        groups.push(format!("system:serviceaccounts:{namespace}"));
    } else if name.starts_with("system:node:") {
        groups.push(own("system:nodes"));
    }
    groups.push(own("system:authenticated"));
    groups
}
