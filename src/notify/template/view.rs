//! What templates can say: every name is always there, and empty where nothing is known, so that
//! no template fails because of what an alert lacks.

use serde::Serialize;

use crate::{
    alert::{
        Alert,
        brief::{Brief, Section, cut_command, mark},
        contain,
        dispatch::{Notification, Tally},
        telling,
        words::{self, Phrase},
    },
    units::Time,
};

/// How many requests, commands and links of an alert there are.
const LISTED_MAX: usize = 5;
/// The longest command.
const COMMAND_MAX: usize = 500;

/// What a template knows about the whole message: name and meaning.
pub const FIELDS: [(&str, &str); 18] = [
    ("title", "the headline in our words"),
    ("sign", "a sign for status and severity: 🔴"),
    ("status", "`firing` or `resolved`"),
    ("severity", "that of the most severe alert: `high`"),
    (
        "reason",
        "`first`, `new`, `updated`, `fewer`, `resolved`, `repeat` or `digest`",
    ),
    ("receiver", "the receiver's name"),
    ("total", "how many alerts it is about"),
    ("firing", "how many of them go on"),
    ("resolved", "how many are over"),
    ("hidden", "how many are counted and not in `alerts`"),
    ("missed", "how many messages were lost before this one"),
    (
        "in_place_of",
        "how many messages a digest stands for, else 1",
    ),
    (
        "group",
        "the labels it is grouped by: list of `name`, `value`",
    ),
    (
        "principals",
        "who is in most alerts: list of `name`, `count`",
    ),
    (
        "sections",
        "the message in our words: list of `name`, `lines` (a list)",
    ),
    (
        "links",
        "where to read: list of `name`, `url`, the runbook first",
    ),
    ("alert", "the alert that tells most"),
    ("alerts", "the alerts that are shown, at most 10 for people"),
];

/// What it knows about an alert.
pub const ALERT_FIELDS: [(&str, &str); 34] = [
    ("id", "names the alert"),
    ("status", "`firing` or `resolved`"),
    ("rule", "the rule's name"),
    ("title", "the rule's title"),
    ("severity", "`informational` to `critical`"),
    ("summary", "the rule's sentence about it"),
    ("why", "why it is odd, with numbers"),
    ("cluster", "where it happened"),
    ("who", "who acted, in words"),
    ("principal", "the effective identity, when there is one"),
    ("principal_kind", "`user`, `serviceaccount`, `node`, …"),
    ("impersonator", "who acted as it"),
    ("credential", "with which credential, in words"),
    ("groups", "groups worth a look, in words"),
    ("from", "from where, in words"),
    ("ip", "the address, when there is one"),
    ("scope", "`public`, `private`, …"),
    ("user_agent", "the client, as it calls itself"),
    ("what", "what was done to what, in words"),
    ("verb", "the verb, when there is one"),
    ("resource", "the resource, when there is one"),
    ("namespace", "the namespace, when there is one"),
    ("name", "the object's name, when there is one"),
    ("when", "from when to when, in words"),
    ("starts_at", "its first request, RFC 3339"),
    ("last_seen_at", "its latest"),
    ("ends_at", "when it was over"),
    ("count", "how many requests"),
    (
        "seen",
        "telling requests: list of `time`, `code`, `verb`, `uri`, `audit_id`",
    ),
    ("look", "commands that only read: list"),
    ("contain", "commands that stop it: list"),
    ("runbook", "the rule's runbook"),
    ("acked_by", "who takes care of it"),
    ("tags", "the rule's tags: list"),
];

/// A message as a template sees it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct View {
    title: String,
    sign: &'static str,
    status: &'static str,
    severity: &'static str,
    reason: &'static str,
    receiver: String,
    total: u64,
    firing: u64,
    resolved: u64,
    hidden: u64,
    missed: u64,
    in_place_of: u64,
    group: Vec<Label>,
    principals: Vec<Principal>,
    sections: Vec<Answer>,
    links: Vec<Link>,
    alert: AlertView,
    alerts: Vec<AlertView>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct AlertView {
    id: String,
    status: &'static str,
    rule: String,
    title: String,
    severity: &'static str,
    summary: String,
    why: String,
    cluster: String,
    who: String,
    principal: String,
    principal_kind: String,
    impersonator: String,
    credential: String,
    groups: String,
    from: String,
    ip: String,
    scope: String,
    user_agent: String,
    what: String,
    verb: String,
    resource: String,
    namespace: String,
    name: String,
    when: String,
    starts_at: String,
    last_seen_at: String,
    ends_at: String,
    count: u64,
    seen: Vec<Request>,
    look: Vec<String>,
    contain: Vec<String>,
    runbook: String,
    acked_by: String,
    tags: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Label {
    name: String,
    value: String,
}

#[derive(Clone, Debug, Serialize)]
struct Principal {
    name: String,
    count: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Answer {
    name: &'static str,
    lines: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Link {
    name: &'static str,
    url: String,
}

#[derive(Clone, Debug, Serialize)]
struct Request {
    time: String,
    code: String,
    verb: String,
    uri: String,
    audit_id: String,
}

impl View {
    pub(super) fn of(told: &Notification) -> Self {
        let brief = Brief::of(told);
        let group = told.group.iter().map(|(name, value)| Label {
            name: name.into(),
            value: value.into(),
        });
        let principals = told.principals.top.iter().map(|(name, count)| Principal {
            name: name.as_ref().into(),
            count: *count,
        });
        let alerts: Vec<AlertView> = told
            .alerts
            .iter()
            .map(|alert| AlertView::of(alert, told))
            .collect();
        Self {
            title: brief.headline.plain(),
            sign: mark(told.severity(), told.status()),
            status: told.status().name(),
            severity: told.severity().name(),
            reason: told.reason.name(),
            receiver: told.receiver.as_ref().into(),
            total: told.total(),
            firing: Tally::total(told.firing),
            resolved: Tally::total(told.resolved),
            hidden: told.hidden(),
            missed: told.missed,
            in_place_of: told.stands_for,
            group: group.collect(),
            principals: principals.collect(),
            sections: brief.sections.iter().map(Answer::of).collect(),
            links: links(brief.reading()),
            alert: alerts.first().cloned().unwrap_or_default(),
            alerts,
        }
    }

    /// Messages as they may come: an alert of which all is known, one that is over and of which
    /// nothing is, and a digest.
    pub(super) fn samples() -> [Self; 3] {
        let full = AlertView::sample();
        let one = Self {
            title: "HIGH: Many requests refused: \"alice\" <a&b>".to_owned(),
            sign: "🔴",
            status: "firing",
            severity: "high",
            reason: "first",
            receiver: "soc".to_owned(),
            total: 1,
            firing: 1,
            in_place_of: 1,
            group: vec![Label {
                name: "alertname".to_owned(),
                value: "forbidden-burst".to_owned(),
            }],
            principals: vec![Principal {
                name: "alice".to_owned(),
                count: 1,
            }],
            sections: vec![Answer {
                name: "Who",
                lines: vec!["alice (user)".to_owned()],
            }],
            links: links([("Runbook", "https://wiki.example/runbook")].into_iter()),
            alert: full.clone(),
            alerts: vec![full.clone()],
            ..Self::default()
        };
        let over = Self {
            status: "resolved",
            reason: "resolved",
            severity: "low",
            sign: "✅",
            total: 1,
            resolved: 1,
            in_place_of: 1,
            alerts: vec![AlertView::default()],
            ..Self::default()
        };
        let digest = Self {
            reason: "digest",
            total: 40,
            firing: 30,
            resolved: 10,
            hidden: 38,
            missed: 2,
            in_place_of: 37,
            alerts: vec![full.clone(), AlertView::default()],
            ..one.clone()
        };
        [one, over, digest]
    }
}

fn links<'l>(links: impl Iterator<Item = (&'static str, &'l str)>) -> Vec<Link> {
    links
        .map(|(name, url)| Link {
            name,
            url: url.to_owned(),
        })
        .collect()
}

impl Answer {
    fn of(section: &Section) -> Self {
        let name = if section.name.is_empty() {
            "Summary"
        } else {
            section.name
        };
        let lines = section.lines.iter().map(Phrase::plain).collect();
        Self { name, lines }
    }
}

impl AlertView {
    fn of(alert: &Alert, told: &Notification) -> Self {
        let (principal, origin, target) = (
            alert.shared.principal.as_ref(),
            &alert.shared.origin,
            &alert.shared.target,
        );
        let commands = |all: &[String]| {
            let all = all.iter().take(LISTED_MAX);
            all.map(|command| cut_command(command, COMMAND_MAX))
                .collect()
        };
        let seen = telling(&alert.evidence, LISTED_MAX);
        let seen = seen
            .iter()
            .map(|facts| &facts.evidence)
            .map(|seen| Request {
                time: seen.time.to_string(),
                code: seen.code.map_or(String::new(), |code| code.to_string()),
                verb: seen.verb.to_string(),
                uri: seen.uri.to_string(),
                audit_id: seen.audit_id.to_string(),
            });
        let told_by = told.acked.get(&alert.id);
        let text = |value: Option<&dyn ToString>| value.map_or(String::new(), ToString::to_string);
        let phrase = |phrase: Option<Phrase>| phrase.map_or(String::new(), |phrase| phrase.plain());
        Self {
            id: alert.id.to_string(),
            status: alert.status.name(),
            rule: alert.rule.name.clone(),
            title: alert.rule.title.clone(),
            severity: alert.severity().name(),
            summary: alert.summary.clone(),
            why: alert.why.clone(),
            cluster: alert.cluster.to_string(),
            who: words::who(alert).plain(),
            principal: text(principal.map(|who| &who.name as _)),
            principal_kind: text(principal.map(|who| &who.kind as _)),
            impersonator: text(
                principal.and_then(|who| who.impersonator.as_ref().map(|name| name as _)),
            ),
            credential: phrase(words::credential(alert)),
            groups: phrase(words::groups(alert)),
            from: words::from(alert).plain(),
            ip: text(origin.ip.as_ref().map(|value| value as _)),
            scope: text(origin.scope.as_ref().map(|value| value as _)),
            user_agent: text(origin.user_agent.as_ref().map(|value| value as _)),
            what: words::what(alert).plain(),
            verb: text(target.verb.as_ref().map(|value| value as _)),
            resource: text(target.resource.as_ref().map(|value| value as _)),
            namespace: text(target.namespace.as_ref().map(|value| value as _)),
            name: text(target.name.as_ref().map(|value| value as _)),
            when: words::when(alert),
            starts_at: alert.starts_at.to_string(),
            last_seen_at: alert.last_seen_at.to_string(),
            ends_at: text(alert.ends_at.as_ref().map(|time: &Time| time as _)),
            count: alert.count,
            seen: seen.collect(),
            look: commands(&alert.respond),
            contain: commands(&contain::commands(alert)),
            runbook: alert.rule.runbook.clone().unwrap_or_default(),
            acked_by: text(told_by.map(|ack| &ack.by as _)),
            tags: alert.rule.tags.clone(),
        }
    }

    fn sample() -> Self {
        let said = |text: &str| text.to_owned();
        Self {
            id: said("00000000000000000000000000000000"),
            status: "firing",
            rule: said("forbidden-burst"),
            title: said("Many requests refused to one principal"),
            severity: "high",
            summary: said("alice tried what she may not"),
            why: said("37 requests refused within 1m (threshold 10)"),
            cluster: said("prod-eu"),
            who: said("alice acting as \"bob\" (user)"),
            principal: said("\"bob\" <b&c>"),
            principal_kind: said("user"),
            impersonator: said("alice"),
            credential: said("token JTI=7d1e3c52"),
            groups: said("system:masters"),
            from: said("198.51.100.7 (public) with kubectl"),
            ip: said("198.51.100.7"),
            scope: said("public"),
            user_agent: said("kubectl/v1.36.1"),
            what: said("get secrets db in namespace payments"),
            verb: said("get"),
            resource: said("secrets"),
            namespace: said("payments"),
            name: said("db"),
            when: said("2026-11-23 11:05:00 to 11:05:30 UTC"),
            starts_at: said("2026-11-23T11:05:00.000000Z"),
            last_seen_at: said("2026-11-23T11:05:30.000000Z"),
            ends_at: said("2026-11-23T11:20:30.000000Z"),
            count: 37,
            seen: vec![Request {
                time: said("2026-11-23T11:05:00.000000Z"),
                code: said("403"),
                verb: said("get"),
                uri: said("/api/v1/namespaces/payments/secrets/db"),
                audit_id: said("00000000-0000-4000-8000-000000000000"),
            }],
            look: vec![said("kubectl auth can-i --list --as='bob'")],
            contain: vec![said("kubectl delete rolebinding bob")],
            runbook: said("https://wiki.example/runbook"),
            acked_by: said("carol"),
            tags: vec![said("attack.t1613")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_every_field_in_its_order() {
        let names = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let sorted = |fields: &[(&str, &str)]| {
            let mut names: Vec<String> =
                fields.iter().map(|(name, _)| (*name).to_owned()).collect();
            names.sort_unstable();
            names
        };
        let mut value = serde_json::to_value(View::default()).unwrap();
        let alert = value["alert"].take();
        let (mut top, mut one) = (names(&value), names(&alert));
        top.sort_unstable();
        one.sort_unstable();
        assert_eq!(top, sorted(&FIELDS));
        assert_eq!(one, sorted(&ALERT_FIELDS));
    }

    /// The tables of docs/alerting.md.
    #[test]
    fn the_page_tells_of_every_field() {
        let page = include_str!("../../../docs/alerting.md");
        for (heading, fields) in [("name", &FIELDS[..]), ("of an alert", &ALERT_FIELDS[..])] {
            let rows: Vec<String> = fields
                .iter()
                .map(|(name, meaning)| format!("| `{name}` | {meaning} |\n"))
                .collect();
            let table = format!("| {heading} | meaning |\n|---|---|\n{}", rows.concat());
            assert!(
                page.contains(&table),
                "docs/alerting.md needs this table:\n{table}"
            );
        }
    }
}
