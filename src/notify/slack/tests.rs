//! What Slack is sent: readable, within its limits, harmless.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    alert::{Change, samples},
    event::Facts,
};

fn message(change: &Change) -> Notification {
    Notification::single(&"r".into(), change, 0)
}

/// Every text that Slack would show, one a line.
fn shown(payload: &Value) -> String {
    let mut texts = Vec::new();
    collect(payload, &mut texts);
    texts.join("\n")
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(text)) = object.get("text") {
                texts.push(text.clone());
            }
            object.values().for_each(|value| collect(value, texts));
        }
        Value::Array(array) => array.iter().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

/// The texts in which Slack reads formatting.
fn collect_formatted(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(object) if object.get("type") == Some(&json!("mrkdwn")) => {
            texts.extend(object["text"].as_str().map(str::to_owned));
            assert_eq!(object["verbatim"], true);
        }
        Value::Object(object) => {
            object
                .values()
                .for_each(|value| collect_formatted(value, texts));
        }
        Value::Array(array) => array
            .iter()
            .for_each(|value| collect_formatted(value, texts)),
        _ => {}
    }
}

#[test]
fn a_new_alert_reads_well() {
    let mut message = message(&Change::Fired(samples::burst(9)));
    message.missed = 12;
    let payload = payload(&message, &Templates::default());
    let expected = "\
🔴 HIGH: Many requests refused to one principal: system:serviceaccount:shop:web (service account)
🔴 HIGH: Many requests refused to one principal
⚠ 12 alerts were dropped before this one
*Who*
`system:serviceaccount:shop:web` (service account)
*From*
`198.51.100.7` (public) with `kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7`
*What*
`get` `secrets` in namespace `payments`
*When*
2026-11-23 11:05:00 to 11:05:08 UTC
9 requests
*With*
token `JTI=7d1e3c52-9f0a-4c0e-8a35-0d1f5a2b9e11`
*Cluster*
`prod-eu`
Why: 9 requests refused within 1m (threshold 3)
*Seen*
```11:05:00.000 403 get /api/v1/namespaces/payments/secrets/key-0
  audit ID 00000000-0000-4000-8000-000000000000
11:05:01.000 403 get /api/v1/namespaces/payments/secrets/key-1
  audit ID 00000000-0000-4000-8000-000000000001
11:05:08.000 403 get /api/v1/namespaces/payments/secrets/key-8
  audit ID 00000000-0000-4000-8000-000000000008
```
… and 6 more
*Look*
```kubectl auth can-i --list --as='system:serviceaccount:shop:web'```
*Contain* ⚠ changes the cluster
```kubectl -n shop delete serviceaccount web  # ends all its tokens; make it anew afterwards```
*If it is known*
```auditwatch alerts ack ID --comment 'I am on it'
auditwatch silence add 'alertname=\"forbidden-burst\"' 'cluster=\"prod-eu\"' 'principal=\"system:serviceaccount:shop:web\"' --duration 2h --comment 'why'```
<https://attack.mitre.org/techniques/T1613/>
rule `forbidden-burst`
alert `ID`";
    assert_eq!(
        shown(&payload).replace(&*message.first().unwrap().id, "ID"),
        expected
    );
    let kinds: Vec<_> = payload["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| &b["type"])
        .collect();
    let expected = [
        "header", "context", "section", "section", "section", "section", "section", "section",
        "context",
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn later_messages_are_short() {
    let changes = samples::burst_changes();
    let update = shown(&payload(&message(&changes[1]), &Templates::default()));
    assert!(
        update.contains("🔴 HIGH, goes on: Many") && update.contains("321 requests"),
        "{update}"
    );
    assert!(
        !update.contains("*Seen*") && !update.contains("*Look*"),
        "{update}"
    );
    let over = shown(&payload(&message(&changes[2]), &Templates::default()));
    assert!(
        over.starts_with("✅ HIGH, over: Many") && !over.contains("Why:"),
        "{over}"
    );
}

#[test]
fn hostile_names_are_only_seen() {
    let text = shown(&payload(
        &message(&Change::Fired(samples::hostile())),
        &Templates::default(),
    ));
    let name = "`&lt;!channel&gt;\\x1b[2J\\u{202e}*x*ˋyˋ\\n&amp; \\u{9b}31m&lt;https://evil.example|click&gt;`";
    assert!(
        text.contains(&format!("*Who*\n{name} acting as {name} (service account)")),
        "{text}"
    );
}

/// Slack's limits, block by block; the sum is what people found out.
fn within_limits(payload: &Value) {
    let units = |text: &Value| text.as_str().map_or(0, |text| text.encode_utf16().count());
    let blocks = payload["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50);
    let mut sum = units(&payload["text"]);
    for block in blocks {
        let (max, texts) = match block["type"].as_str().unwrap() {
            "header" => (HEADER_MAX, vec![&block["text"]["text"]]),
            "context" => {
                let elements = block["elements"].as_array().unwrap();
                assert!((1..=10).contains(&elements.len()));
                (
                    2_000,
                    elements.iter().map(|element| &element["text"]).collect(),
                )
            }
            "divider" => (0, Vec::new()),
            _ if block["fields"].is_array() => {
                let fields = block["fields"].as_array().unwrap();
                assert!((1..=10).contains(&fields.len()));
                (2_000, fields.iter().map(|field| &field["text"]).collect())
            }
            _ => (3_000, vec![&block["text"]["text"]]),
        };
        for text in texts {
            assert!((1..=max).contains(&units(text)), "{text}");
            sum += units(text);
        }
    }
    assert!(sum < 16_000, "{sum}");
}

#[test]
fn many_alerts_are_one_message() {
    let mut told = message(&Change::Fired(samples::burst(9)));
    told.alerts.push(samples::spray());
    for _ in 0..38 {
        told.firing.add(crate::rule::Severity::Low);
    }
    let text = shown(&payload(&told, &Templates::default()));
    let expected = "🔴 HIGH: 39 alerts, first Many requests refused to one principal\n\
        🔴 HIGH: 39 alerts, first Many requests refused to one principal\n\
        Alerts: 1 high, 38 low go on\n\
        List: high, Many requests refused to one principal: system:serviceaccount:shop:web";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("and 37 more like these\n*Who*\n"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_many_alerts_fit(value in prop_oneof![any::<String>(), "[<!>&`*_~@#|a\n]{0,900}", "[&😀]{900}"]) {
        let payload = payload(&crate::notify::tests::hostile(&value), &Templates::default());
        within_limits(&payload);
        let text = payload.to_string();
        for start in ["<!", "<@", "<#"] {
            prop_assert!(!text.contains(start), "{}", text);
        }
    }

    #[test]
    fn any_alert_fits_and_mentions_nobody(
        value in prop_oneof![any::<String>(), "[<!>&`*_~@#|a\n]{0,900}", "[&😀]{900}"],
        requests in 1i64..40,
        dropped in 0u64..3,
        several in any::<bool>(),
    ) {
        let mut alert = Alert::clone(&samples::fired(hostile(&value, requests, several)));
        alert.cluster = value.as_str().into();
        alert.respond = (0..8).map(|n| format!("{n} {value}")).collect();
        alert.contain.clone_from(&alert.respond);
        let rule = Arc::make_mut(&mut alert.rule);
        rule.title.clone_from(&value);
        rule.name.clone_from(&value);
        rule.references = vec![value.clone(), format!("https://{value}")];
        rule.runbook = Some(format!("https://wiki.example/{}?a=1&b=2", "x".repeat(270)));
        let alert = Arc::new(alert);
        for change in [Change::Fired, Change::Updated, Change::Resolved] {
            let payload = payload(&Notification::single(&"r".into(), &change(Arc::clone(&alert)), dropped), &Templates::default());
            within_limits(&payload);
            let text = payload.to_string();
            prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &payload);
            for start in ["<!", "<@", "<#"] {
                prop_assert!(!text.contains(start), "{text}");
            }
            // No value ends the code that it stands in.
            let mut formatted = Vec::new();
            collect_formatted(&payload, &mut formatted);
            for text in formatted {
                let ticks = text.replace("```", "").matches('`').count();
                prop_assert!(ticks.is_multiple_of(2), "{text}");
                prop_assert!(matches!(text.matches("```").count(), 0 | 2), "{text}");
            }
        }
    }
}

pub(in crate::notify) fn hostile(
    value: &str,
    requests: i64,
    several: bool,
) -> crate::detect::Detection {
    let mut detection = samples::detection(value, 0..requests);
    detection.why = value.into();
    detection.summary = value.into();
    for (n, facts) in detection.evidence.iter_mut().enumerate() {
        let facts: &mut Facts = Arc::make_mut(facts);
        let value: Box<str> = if several {
            format!("{n}{value}").into()
        } else {
            value.into()
        };
        Arc::make_mut(&mut facts.principal).name = value.clone();
        Arc::make_mut(&mut facts.principal).impersonator = (!several).then(|| value.clone());
        Arc::make_mut(&mut facts.principal).groups = vec![value.clone(); 9];
        Arc::make_mut(&mut facts.origin).ip = Some(value.clone());
        Arc::make_mut(&mut facts.origin).user_agent = value.clone();
        facts.target.verb = value.clone();
        facts.target.resource = Some(value.clone());
        facts.target.subresource = Some(value.clone());
        facts.target.namespace = Some(value.clone());
        facts.target.name = Some(value.clone());
        facts.evidence.uri = value.clone();
        facts.evidence.verb = value.clone();
        facts.evidence.audit_id = value;
    }
    detection
}
