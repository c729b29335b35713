//! Tests of loading and matching as a whole.

use std::{collections::HashMap, sync::Arc};

use serde_json::value::RawValue;

use super::*;
use crate::{
    diagnostic::SourceFile,
    event::{Context, Event, Slot, Slots},
};

/// Fills the slots of an event line by plain means.
pub(super) fn slots(line: &str) -> Slots<'_> {
    type Object<'l> = HashMap<&'l str, &'l RawValue>;
    let inner = |raw: Option<&&'_ RawValue>| -> HashMap<String, String> {
        raw.and_then(|raw| serde_json::from_str::<HashMap<String, Box<RawValue>>>(raw.get()).ok())
            .unwrap_or_default()
            .into_iter()
            .map(|(key, raw)| (key, raw.get().to_owned()))
            .collect()
    };
    let top: Object<'_> = serde_json::from_str(line).unwrap();
    let mut slots = Slots::default();
    for (key, slot) in [
        ("level", Slot::Level),
        ("auditID", Slot::AuditId),
        ("stage", Slot::Stage),
        ("requestURI", Slot::RequestUri),
        ("verb", Slot::Verb),
        ("sourceIPs", Slot::SourceIps),
        ("userAgent", Slot::UserAgent),
        ("requestObject", Slot::RequestObject),
        ("responseObject", Slot::ResponseObject),
        ("annotations", Slot::Annotations),
    ] {
        if let Some(raw) = top.get(key) {
            slots.set(slot, raw.get());
        }
    }
    for (object, key, slot) in [
        ("user", "username", Slot::UserName),
        ("user", "groups", Slot::UserGroups),
        ("user", "extra", Slot::UserExtra),
        ("impersonatedUser", "username", Slot::ImpersonatedName),
        ("impersonatedUser", "groups", Slot::ImpersonatedGroups),
        ("objectRef", "resource", Slot::Resource),
        ("objectRef", "subresource", Slot::Subresource),
        ("objectRef", "namespace", Slot::Namespace),
        ("objectRef", "name", Slot::Name),
        ("objectRef", "apiGroup", Slot::ApiGroup),
        ("responseStatus", "code", Slot::StatusCode),
        ("responseStatus", "message", Slot::StatusMessage),
    ] {
        if let Some(raw) = inner(top.get(object)).get(key) {
            // The same text stands in the line itself, which lives long enough.
            let object = top[object].get();
            let at = object.find(&format!("\"{key}\":{raw}")).unwrap() + key.len() + 3;
            slots.set(slot, &object[at..at + raw.len()]);
        }
    }
    slots
}

fn layer(files: &[(&str, &str)]) -> Layer {
    let file = |(name, text): &(&str, &str)| Arc::new(SourceFile::new(*name, *text));
    Layer {
        rules: files.iter().map(file).collect(),
        lists: Vec::new(),
    }
}

#[test]
#[ignore]
fn throw_away() {
    let mut files = Vec::new();
    let mut names: Vec<_> = std::fs::read_dir("/work/shared/sigmahq")
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    names.sort();
    for path in names
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "yml"))
    {
        files.push(Arc::new(SourceFile::new(
            path.file_name().unwrap().to_str().unwrap(),
            std::fs::read_to_string(path).unwrap(),
        )));
    }
    let loaded = RuleSet::load(&[Layer {
        rules: files,
        lists: vec![],
    }])
    .unwrap_or_else(|r| panic!("{r}"));
    println!("{}", loaded.warnings);
    let set = Arc::new(loaded.set);
    for file in [
        "recommended/attacks",
        "recommended/quiet",
        "metadata/attacks",
        "full/quiet",
        "full/setup",
    ] {
        let text = std::fs::read_to_string(format!("/tmp/cap/{file}.jsonl")).unwrap();
        let mut matcher = Matcher::new(Arc::clone(&set));
        let context = Context::default();
        let mut counts = vec![0; set.rules.len()];
        let mut n = 0;
        for line in text.lines() {
            let event = Event::new(slots(line), line, &context);
            if event.stage() == crate::event::Stage::RequestReceived {
                continue;
            }
            n += 1;
            for hit in matcher.matches(&event) {
                counts[*hit] += 1;
            }
        }
        println!("== {file} {n}");
        for (rule, count) in set.rules.iter().zip(counts) {
            println!("{count:6} {}", rule.meta.name);
        }
    }
}
