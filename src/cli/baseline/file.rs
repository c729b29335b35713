//! Baselines as a JSON file that people can read and another state can take up.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use serde::{Deserialize, Serialize};

use crate::{
    baseline::{Known, Whose},
    detect::Engine,
    event::Field,
    units::Time,
    window::Key,
};

/// The version of what a file says.
const VERSION: u32 = 1;

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    /// [`VERSION`].
    auditwatch_baselines: u32,
    rules: Vec<RuleEntry>,
}

/// What only the version is read from, so that another version is told as such.
#[derive(Deserialize)]
struct Head {
    auditwatch_baselines: Option<u32>,
}

/// The baseline of one rule.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    rule: String,
    id: String,
    /// Hash of the rule's meaning; what is learnt under another is of no use.
    meaning: String,
    by: Vec<String>,
    of: Vec<String>,
    keys: Vec<KeyEntry>,
}

/// What is known of one key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    cluster: String,
    name: String,
    key: String,
    first: String,
    last: String,
    values: Vec<ValueEntry>,
}

/// One value.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueEntry {
    name: String,
    value: String,
    last: String,
    /// Since when it is held; it is held anew where it is taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<String>,
}

/// Writes all that an engine knows, keys by cluster and name.
pub(super) fn write(engine: &Engine, out: &mut impl Write) -> io::Result<()> {
    let rules = engine.baselines().map(|view| {
        let mut keys: Vec<KeyEntry> = view
            .novelty
            .iter()
            .map(|(key, last, known)| key_entry(key, last, known))
            .collect();
        keys.sort_by(|one, other| {
            (&one.cluster, &one.name, &one.key).cmp(&(&other.cluster, &other.name, &other.key))
        });
        RuleEntry {
            rule: view.rule.meta.name.clone(),
            id: view.rule.meta.id.clone(),
            meaning: format!("{:016x}", view.rule.fingerprint),
            by: names(&view.spec.by),
            of: names(&view.spec.of),
            keys,
        }
    });
    let file = File {
        auditwatch_baselines: VERSION,
        rules: rules.filter(|rule| !rule.keys.is_empty()).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &file)?;
    writeln!(out)
}

fn names(fields: &[Field]) -> Vec<String> {
    let names = fields.iter().map(Field::name);
    names.map(str::to_owned).collect()
}

fn key_entry(key: Key, last: Time, known: &Known) -> KeyEntry {
    let values = known.values.iter().map(|value| ValueEntry {
        name: value.name.to_string(),
        value: format!("{:016x}", value.hash),
        last: value.last.to_string(),
        held: value.held.map(|hold| hold.since.to_string()),
    });
    KeyEntry {
        cluster: known.whose.cluster.to_string(),
        name: known.whose.name.to_string(),
        key: format!("{:032x}", key.0),
        first: known.first.to_string(),
        last: last.to_string(),
        values: values.collect(),
    }
}

/// Lets an engine take up what a file says, all of it or, with the reason, nothing; how many keys.
/// Values that the file holds back stay held.
pub(super) fn take(
    text: &str,
    cluster: Option<&str>,
    engine: &mut Engine,
) -> Result<usize, String> {
    let file = read(text)?;
    check_clusters(&file, cluster, engine)?;
    let mut found = Vec::new();
    for entry in &file.rules {
        let fingerprint = meaning(entry, engine)?;
        for key in &entry.keys {
            let place = || format!("rule `{}`, key `{}`", entry.rule, key.name);
            found.push((
                fingerprint,
                known(key).map_err(|why| format!("{}: {why}", place()))?,
            ));
        }
    }
    let count = found.len();
    for (fingerprint, (key, last, known)) in found {
        engine.take_up(fingerprint, key, last, known);
    }
    Ok(count)
}

fn read(text: &str) -> Result<File, String> {
    let no_file = |error: serde_json::Error| {
        format!("this is no file of `auditwatch baseline export`: {error}")
    };
    let head: Head = serde_json::from_str(text).map_err(no_file)?;
    match head.auditwatch_baselines {
        None => {
            Err("this is no file of `auditwatch baseline export`: it has no version".to_owned())
        }
        Some(VERSION) => serde_json::from_str(text).map_err(no_file),
        Some(other) => Err(format!(
            "its version is {other}, and this auditwatch takes version {VERSION}; export it anew"
        )),
    }
}

/// What a file of one cluster says is of no use for another.
fn check_clusters(file: &File, wanted: Option<&str>, engine: &Engine) -> Result<(), String> {
    let keys = file.rules.iter().flat_map(|rule| &rule.keys);
    let theirs: BTreeSet<&str> = keys.map(|key| key.cluster.as_str()).collect();
    let quoted = |names: &BTreeSet<&str>| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    if let Some(wanted) = wanted {
        return match theirs.iter().find(|cluster| **cluster != wanted) {
            None => Ok(()),
            Some(&"") => Err(format!(
                "it is of a cluster without a name, not of `{wanted}`"
            )),
            Some(other) => Err(format!("it is of cluster `{other}`, not `{wanted}`")),
        };
    }
    let known = engine.baselines().flat_map(|view| view.novelty.iter());
    let ours: BTreeSet<&str> = known.map(|(_, _, known)| &*known.whose.cluster).collect();
    if ours.is_empty() || theirs.is_empty() || !ours.is_disjoint(&theirs) {
        return Ok(());
    }
    Err(format!(
        "it is of cluster {}, and the state knows {}; --cluster NAME takes it all the same",
        quoted(&theirs),
        quoted(&ours)
    ))
}

/// The meaning of the rule that is ours and the file's.
fn meaning(entry: &RuleEntry, engine: &Engine) -> Result<u64, String> {
    let view = engine
        .baselines()
        .find(|view| view.rule.meta.id == entry.id);
    let Some(view) = view else {
        return Err(format!(
            "rule `{}` ({}) is not here, or learns nothing here; give it with --rules",
            entry.rule, entry.id
        ));
    };
    let ours = view.rule.fingerprint;
    if format!("{ours:016x}") == entry.meaning {
        return Ok(ours);
    }
    Err(format!(
        "rule `{}` means something else here, so what is normal for it differs; learn it anew with \
         `auditwatch baseline learn`",
        entry.rule
    ))
}

fn known(entry: &KeyEntry) -> Result<(Key, Time, Known), String> {
    let key = u128::from_str_radix(&entry.key, 16)
        .map_err(|_| format!("`key` is `{}`, which is no number", entry.key))?;
    let mut known = Known::named(
        Whose {
            cluster: entry.cluster.as_str().into(),
            name: entry.name.as_str().into(),
        },
        time("first", &entry.first)?,
    );
    for value in &entry.values {
        let hash = u64::from_str_radix(&value.value, 16)
            .map_err(|_| format!("`value` is `{}`, which is no number", value.value))?;
        let held = value.held.as_deref().map(|held| time("held", held));
        known.add(
            hash,
            &value.name,
            time("last", &value.last)?,
            held.transpose()?,
        );
    }
    Ok((Key(key), time("last", &entry.last)?, known))
}

fn time(key: &str, text: &str) -> Result<Time, String> {
    Time::parse(text).ok_or_else(|| format!("`{key}` is `{text}`, which is no RFC 3339 time"))
}
