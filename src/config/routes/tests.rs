//! Routes as an Alertmanager user writes them, and what is told of mistakes.

use std::path::Path;

use crate::{
    alert::dispatch::{Dispatcher, GroupBy, Labels, Repeats, Style, Tree},
    config::{ConfigError, Configured, Overrides, load},
    diagnostic::SourceFile,
    rule::Severity,
    units::{Span, Time},
};

const RECEIVERS: &str = "\
sources: {files: [/var/log/a.log]}
receivers:
  - {name: soc, webhook: {url: 'http://h/soc'}, min_level: high}
  - {name: on-call, webhook: {url: 'http://h/page'}}
";

fn read(text: &str) -> Result<Configured, ConfigError> {
    let source = SourceFile::new("auditwatch.yml", format!("{RECEIVERS}{text}"));
    load::read(source, Path::new("/etc/auditwatch"), &Overrides::default())
}

#[test]
fn reads_what_alertmanager_reads() {
    let text = "\
route:
  receiver: soc
  group_by: [alertname, cluster]
  repeat_interval: 12h
  routes:
    - matchers: ['severity=\"critical\"', 'cluster=~\"prod-.*\"']
      receiver: [on-call, soc]
      group_wait: 5s
      continue: true
    - matchers: [namespace=sandbox]
      group_by: ['...']
      at_once: never
      mute_time_intervals: [nights]
      routes:
        - matchers: ['severity=~\"low|informational\"']
inhibit_rules:
  - source_matchers: [severity=critical]
    target_matchers: ['severity=~\"low|medium\"']
    equal: [cluster, principal]
time_intervals:
  - name: nights
    time_intervals:
      - times: [{start_time: '18:00', end_time: '24:00'}, {start_time: '00:00', end_time: '08:00'}]
        location: Europe/Berlin
      - weekdays: ['saturday', 'sunday']
        days_of_month: ['1:-1']
        months: ['january:december']
        years: ['2020:2099']
";
    let configured = read(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(configured.warnings.to_string(), "");
    let plan = configured.settings.plan;
    assert_eq!(plan.inhibit_rules[0].equal.len(), 2);
    let own = &plan.root.routes[0];
    let (page, sandbox) = (&own.routes[0], &own.routes[1]);
    assert_eq!(
        (page.receivers.len(), page.group_wait, page.repeat_interval),
        (2, Span::from_secs(5), Span::from_secs(12 * 3600))
    );
    assert_eq!(
        (&sandbox.group_by, sandbox.at_once),
        (&GroupBy::Alert, None)
    );
    assert!(
        sandbox.routes[0].mute.is_empty(),
        "when to be quiet is not inherited"
    );
    let at = |text| Time::parse(text).unwrap();
    assert!(
        !sandbox.is_open(at("2026-11-23T17:30:00Z")) && sandbox.is_open(at("2026-11-23T16:30:00Z"))
    );
    assert!(!sandbox.is_open(at("2026-11-22T12:00:00Z")));
    let tree = Tree::new(plan.root.clone());
    let ends = |labels: &[(&str, &str)]| tree.find(&Labels::new(labels.iter().copied())).len();
    assert_eq!(
        ends(&[
            ("severity", "critical"),
            ("cluster", "prod-eu"),
            ("namespace", "sandbox")
        ]),
        2
    );
    Dispatcher::new(plan);
}

#[test]
fn without_routes_everybody_is_told_from_their_level_upwards() {
    let plan = read("")
        .unwrap_or_else(|error| panic!("{error}"))
        .settings
        .plan;
    let tree = Tree::new(plan.root.clone());
    let told = |severity: Severity| {
        let found = tree.find(&Labels::new([("severity", severity.name())]));
        let names = found
            .into_iter()
            .flat_map(|number| tree.route(number).receivers.clone());
        names
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        (told(Severity::Critical), told(Severity::Low)),
        ("soc on-call".into(), "on-call".into())
    );
    assert_eq!(
        (plan.receivers[0].style, plan.receivers[0].repeats),
        (Style::Each { at_most: 1 }, Repeats::Never)
    );
}

#[test]
fn a_receiver_that_no_route_names_is_told_and_that_is_said() {
    let configured = read("route: {receiver: soc}\n").unwrap_or_else(|error| panic!("{error}"));
    let warnings = configured.warnings.to_string();
    assert!(
        warnings.contains("no route names the receiver `on-call`"),
        "{warnings}"
    );
    assert_eq!(configured.settings.plan.root.routes.len(), 2);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "\
route:
  matchers: [a=b]
  receiver: socc
  group_by: ['...', cluster]
  group_interval: 0s
  routes:
    - match: {severity: critical}
    - matchers: ['severity=~\"(\"', 'x']
      receiver: on-call
    - matchers: [a=b]
    - matchers: [a=b, c=d]
      mute_time_intervals: [night]
      at_once: urgent
inhibit_rules:
  - target_matchers: [a=b]
time_intervals:
  - name: nights
    time_intervals:
      - {times: [{start_time: '18:00', end_time: '8:00'}], weekdays: [funday], location: Berlin}
  - name: nights
";
    let report = read(text).unwrap_err().to_string();
    for expected in [
        "the first route must take every alert",
        "there is no receiver `socc`",
        "did you mean `soc`?",
        "`...` means every label",
        "`0s` is less than 1s",
        "`match` is Alertmanager's old form",
        "is no regular expression",
        "`x` is no matcher",
        "no alert gets to this route: one without matchers",
        "there is no time interval `night`",
        "did you mean `nights`?",
        "`at_once` cannot be `urgent`",
        "an inhibit rule needs `source_matchers`",
        "`8:00` is no time of day",
        "`funday` is no weekday",
        "`Berlin` is no time zone",
        "two time intervals are called `nights`",
        "a time interval needs `time_intervals`",
    ] {
        assert!(report.contains(expected), "{expected}\n{report}");
    }
}

#[test]
fn receivers_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let keys = "whsec_Zmlyc3Qta2V5LW9mLTI0LWJ5dGVzLW9r\nwhsec_c2Vjb25kLWtleS1vZi0yNC1ieXRlcy1v\n";
    for (name, text) in [
        ("keys", keys),
        ("key", "very-secret\n"),
        ("url", "https://teams.example/very-secret"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let text = "\
sources: {files: [/var/log/a.log]}
receivers:
  - {name: hook, webhook: {url: 'http://h/x', signing_key_file: keys}, rate_limit: 5/1m, send_updates: false}
  - {name: thread, slack: {token_file: key, channel: '#soc'}}
  - {name: am, alertmanager: {urls: ['http://a:9093', 'http://b:9093']}}
  - {name: page, pagerduty: {routing_key_file: key}, send_resolved: true}
  - {name: chat, teams: {url_file: url}}
  - {name: ops, opsgenie: {api_key_file: key, url: 'https://api.atlassian.com/jsm/ops/integration/v2/alerts'}}
  - name: mail
    email: {smarthost: 'mail.example.com:587', from: a@example.com, to: ['Eva <e@example.com>', soc@example.com], username: me, password_file: key}
  - {name: siem, syslog: {address: 'siem.example.com:6514', format: ocsf}}
";
    let read = |text: &str| {
        load::read(
            SourceFile::new("c.yml", text),
            folder.path(),
            &Overrides::default(),
        )
    };
    let settings = read(text)
        .unwrap_or_else(|error| panic!("{error}"))
        .settings;
    let client = crate::notify::client().unwrap();
    for receiver in &settings.receivers {
        receiver.build(&client).unwrap();
    }
    assert!(!format!("{settings:?}").contains("very-secret"));
    let wrong = "\
sources: {files: [/var/log/a.log]}
receivers:
  - {name: hook, webhook: {url: 'http://h/x', signing_key_file: key}, rate_limit: 5}
  - {name: am, alertmanager: {}}
  - {name: thread, slack: {token_file: key}}
  - {name: page, pagerduty: {url: 'ftp://x'}}
  - {name: chat, teams: {url: 'https://teams.example/very-secret'}}
  - {name: mail, email: {smarthost: mail, encryption: none, username: me, password_file: key, to: [nobody]}}
  - {name: siem, syslog: {address: 'siem:0', transport: quic}}
";
    let report = read(wrong).unwrap_err().to_string();
    for expected in [
        "a signing key is `whsec_`",
        "`5` is no rate; write it like 20/1m",
        "`alertmanager` needs `urls`",
        "`slack` needs `channel`",
        "`pagerduty` needs `routing_key_file`",
        "it starts neither with https:// nor with http://",
        "this URL is a secret",
        "`mail` is no address",
        "a password would be sent in the clear",
        "`email` needs `from`",
        "`nobody` is no mail address",
        "`siem:0` is no address",
        "`transport` cannot be `quic`",
    ] {
        assert!(report.contains(expected), "{expected}\n{report}");
    }
    assert!(!report.contains("very-secret"), "{report}");
}

#[test]
fn the_documented_example_is_valid() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerting.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    for name in ["slack-url", "pagerduty-key"] {
        std::fs::write(
            folder.path().join("secrets").join(name),
            "https://hooks.example/x",
        )
        .unwrap();
    }
    let source = SourceFile::new("auditwatch.yml", example);
    let configured = load::read(source, folder.path(), &Overrides::default());
    let configured = configured.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(configured.warnings.to_string(), "");
}

/// Whatever fails, no secret gets out: not in what is logged, measured, shown or reported.
#[tokio::test]
async fn secrets_stay_within() {
    const CANARY: &str = "canary-4711";
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens on the discard port, so every receiver fails.
    for (name, text) in [
        ("key", CANARY.to_owned()),
        ("url", format!("http://127.0.0.1:9/{CANARY}")),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let text = format!("\
sources: {{files: [/var/log/a.log]}}
receivers:
  - {{name: slack, slack: {{url_file: url}}}}
  - {{name: hook, webhook: {{url_file: url}}}}
  - {{name: am, alertmanager: {{urls: ['http://me:{CANARY}@127.0.0.1:9']}}}}
  - {{name: page, pagerduty: {{routing_key_file: key, url: 'http://127.0.0.1:9/{CANARY}'}}}}
  - {{name: chat, teams: {{url_file: url}}}}
  - {{name: ops, opsgenie: {{api_key_file: key, url: 'http://127.0.0.1:9/{CANARY}'}}}}
  - name: mail
    email: {{smarthost: '127.0.0.1:9', from: a@example.com, to: b@example.com, username: me, password_file: key}}
");
    let source = SourceFile::new("c.yml", text);
    let configured = load::read(source, folder.path(), &Overrides::default());
    let settings = configured
        .unwrap_or_else(|error| panic!("{error}"))
        .settings;

    let said = std::sync::Arc::<std::sync::Mutex<Vec<u8>>>::default();
    let writer = std::sync::Arc::clone(&said);
    let writer = move || Shared(std::sync::Arc::clone(&writer));
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(writer)
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let registry = prometheus::Registry::new();
    let metrics = crate::notify::Metrics::new(&registry).unwrap();
    let client = crate::notify::client().unwrap();
    let receivers: Vec<_> = settings
        .receivers
        .iter()
        .map(|receiver| receiver.build(&client).unwrap())
        .collect();
    let mut shown = format!("{settings:?} {receivers:?}");
    let notifier = crate::notify::Notifier::start(receivers, settings.notify, &metrics, None);
    let change = crate::alert::Change::Fired(crate::alert::samples::burst(3));
    for receiver in &settings.plan.receivers {
        let told = crate::alert::dispatch::Notification::single(&receiver.name, &change, 0);
        notifier.tell(told);
    }
    let left = notifier.shutdown(std::time::Duration::from_secs(2)).await;
    assert_eq!(left.len(), 7, "none was reached: {left:?}");
    drop(guard);
    shown.push_str(
        &prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap(),
    );
    let said = String::from_utf8(said.lock().unwrap().clone()).unwrap();
    assert!(said.contains("cannot tell the receiver"), "{said}");
    assert!(
        !shown.contains(CANARY) && !said.contains(CANARY),
        "{shown}\n{said}"
    );
}

/// What was logged.
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
