//! The forms in which SIEMs take alerts, one line each: CEF, OCSF's Detection Finding, our JSON.

use std::{fmt::Write as _, sync::Arc};

use serde_json::{Value, json};

use crate::{
    alert::{
        Alert, Several, Status, brief::Brief, cut_middle, dispatch::Notification, to_json, visible,
        words,
    },
    rule::Severity,
    units::Time,
};

/// CEF readers take about a kilobyte in a field.
const FIELD_MAX: usize = 1_000;

/// A form of an alert on one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The form of docs/alerting.md.
    Json,
    /// ArcSight's Common Event Format.
    Cef,
    /// The Open Cybersecurity Schema Framework's Detection Finding, class 2004.
    Ocsf,
}

impl Format {
    /// The alert in this form.
    pub fn line(self, alert: &Arc<Alert>) -> String {
        match self {
            Self::Json => to_json(alert, 0),
            Self::Cef => cef(alert),
            Self::Ocsf => ocsf(alert).to_string(),
        }
    }
}

/// `CEF:0|auditwatch|auditwatch|0.1.0|forbidden-burst|Many requests refused|8|…`
fn cef(alert: &Alert) -> String {
    let severity = match alert.severity() {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    };
    let header = |text: &str| {
        cut_middle(&visible(text), FIELD_MAX)
            .replace('\\', "\\\\")
            .replace('|', "\\|")
    };
    let mut line = format!(
        "CEF:0|auditwatch|auditwatch|{}|{}|{}|{severity}|",
        env!("CARGO_PKG_VERSION"),
        header(&alert.rule.name),
        header(&alert.rule.title),
    );
    let shared = &alert.shared;
    let text = |value: &Option<Box<str>>| value.as_deref().unwrap_or_default().to_owned();
    let principal = shared.principal.as_ref();
    let many = |several: &Several| several.first().join(", ");
    let fields: [(&str, String); 17] = [
        ("externalId", alert.id.to_string()),
        ("start", millis(alert.starts_at)),
        ("end", millis(alert.last_seen_at)),
        ("cnt", alert.count.to_string()),
        ("act", alert.status.name().to_owned()),
        (
            "suser",
            principal.map_or_else(|| many(&alert.principals), |p| p.name.to_string()),
        ),
        ("src", text(&shared.origin.ip)),
        ("requestClientApplication", text(&shared.origin.user_agent)),
        ("requestMethod", text(&shared.target.verb)),
        ("cs1Label", "cluster".to_owned()),
        ("cs1", alert.cluster.to_string()),
        ("cs2Label", "namespace".to_owned()),
        (
            "cs2",
            shared
                .target
                .namespace
                .as_deref()
                .map_or_else(|| many(&alert.namespaces), str::to_owned),
        ),
        ("cs3Label", "resource".to_owned()),
        ("cs3", many(&alert.resources)),
        ("reason", alert.why.clone()),
        ("msg", words::what(alert).plain()),
    ];
    for (n, (name, value)) in fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .enumerate()
    {
        let space = if n > 0 { " " } else { "" };
        let value = cut_middle(&visible(value), FIELD_MAX)
            .replace('\\', "\\\\")
            .replace('=', "\\=");
        // Writing to a String succeeds.
        let _ = write!(line, "{space}{name}={value}");
    }
    line
}

fn millis(time: Time) -> String {
    (time.micros() / 1_000).to_string()
}

/// A Detection Finding as OCSF 1.3 has it.
fn ocsf(alert: &Arc<Alert>) -> Value {
    let (severity_id, severity) = match alert.severity() {
        Severity::Informational => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    };
    // Created, updated or closed; the type is the class and the activity together.
    let (activity_id, status_id) = match alert.status {
        Status::Resolved => (3, 4),
        Status::Firing if alert.updated_at > alert.last_seen_at => (2, 1),
        Status::Firing => (1, 1),
    };
    let seconds = |time: Time| time.micros() / 1_000;
    let change = crate::alert::Change::Updated(Arc::clone(alert));
    let text = Brief::of(&Notification::single(&"".into(), &change, 0)).text(8_000);
    let shown = |text: &str| visible(text).into_owned();
    let attacks: Vec<Value> = alert
        .rule
        .tags
        .iter()
        .filter_map(|tag| tag.strip_prefix("attack.t"))
        .map(|id| json!({"technique": {"uid": format!("T{}", id.to_uppercase())}}))
        .collect();
    let evidences: Vec<Value> = alert
        .evidence
        .iter()
        .map(|facts| {
            json!({
                "actor": {"user": {"name": shown(&facts.principal.name)}},
                "src_endpoint": {"ip": facts.origin.ip.as_deref().map(shown)},
                "api": {
                    "operation": shown(&facts.evidence.verb),
                    "request": {"uid": shown(&facts.evidence.audit_id)},
                    "response": {"code": facts.evidence.code},
                },
                "http_request": {"url": {"path": shown(&facts.evidence.uri)}, "user_agent": shown(&facts.origin.user_agent)},
            })
        })
        .collect();
    json!({
        "class_uid": 2004, "category_uid": 2, "activity_id": activity_id, "type_uid": 200_400 + activity_id,
        "severity_id": severity_id, "severity": severity, "status_id": status_id, "is_alert": true,
        "time": seconds(alert.updated_at), "start_time": seconds(alert.starts_at), "end_time": seconds(alert.last_seen_at),
        "count": alert.count, "message": text.replace('\n', "; "),
        "metadata": {"version": "1.3.0", "uid": alert.id, "product": {"name": "auditwatch", "vendor_name": "auditwatch", "version": env!("CARGO_PKG_VERSION")}},
        "finding_info": {
            "uid": alert.id, "title": shown(&alert.rule.title), "desc": shown(&alert.why),
            "analytic": {"uid": alert.rule.id, "name": alert.rule.name, "type_id": 1},
            "attacks": attacks, "created_time": seconds(alert.starts_at),
        },
        "resources": [{"type": "Kubernetes cluster", "name": shown(&alert.cluster)}],
        "evidences": evidences,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::samples;

    #[test]
    fn cef_reads_well_and_keeps_its_separators() {
        let line = cef(&samples::burst(3)).replace(&*samples::burst(3).id, "ID");
        let expected = "CEF:0|auditwatch|auditwatch|0.1.0|forbidden-burst|Many requests refused to one principal|8|externalId=ID start=1795431900000 end=1795431902000 cnt=3 act=firing suser=system:serviceaccount:shop:web src=198.51.100.7 requestClientApplication=kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7 requestMethod=get cs1Label=cluster cs1=prod-eu cs2Label=namespace cs2=payments cs3Label=resource cs3=secrets reason=3 requests refused within 1m (threshold 3) msg=get secrets in namespace payments";
        assert_eq!(line, expected);
        let mut alert = Alert::clone(&samples::burst(1));
        alert.cluster = "a|b src=6.6.6.6\\ act=resolved".into();
        assert!(
            cef(&alert).contains("cs1=a|b src\\=6.6.6.6\\\\ act\\=resolved cs2Label=namespace")
        );
    }

    #[test]
    fn ocsf_is_a_detection_finding() {
        let finding = ocsf(&samples::burst(3));
        assert_eq!(
            (
                &finding["class_uid"],
                &finding["type_uid"],
                &finding["severity_id"]
            ),
            (&json!(2004), &json!(200_401), &json!(4))
        );
        assert_eq!(
            finding["finding_info"]["attacks"][0]["technique"]["uid"],
            "T1613"
        );
        assert_eq!(finding["evidences"].as_array().unwrap().len(), 3);
        let over = ocsf(samples::burst_changes()[2].alert());
        assert_eq!(
            (&over["activity_id"], &over["status_id"]),
            (&json!(3), &json!(4))
        );
    }
}
