//! Configurations as a whole: the documented example, all problems at once, who wins over whom.

use std::{ffi::OsString, fs, path::Path};

use super::{load::read, *};
use crate::{
    alert, detect,
    diagnostic::SourceFile,
    notify,
    rule::Severity,
    source::tail::From,
    telemetry::LogFormat,
    units::{ByteSize, Span},
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
const WATCHES: &str = "sources: {files: [/var/log/a.log]}\n";

fn from_text(text: &str, overrides: &Overrides) -> Result<Configured, ConfigError> {
    let folder = Path::new("/etc/auditwatch");
    read(SourceFile::new("auditwatch.yml", text), folder, overrides)
}

fn settings(text: &str) -> Settings {
    from_text(text, &Overrides::default()).unwrap().settings
}

fn problems(text: &str) -> String {
    problems_with(text, &Overrides::default())
}

fn problems_with(text: &str, overrides: &Overrides) -> String {
    from_text(text, overrides).unwrap_err().to_string()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let own = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
    pairs.iter().map(own).collect()
}

/// The folder that the documented example expects around it.
fn example_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for below in ["tls", "rules", "secrets"] {
        fs::create_dir(folder.path().join(below)).unwrap();
    }
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.pem();
    for (name, text) in [
        ("tls/server.crt", certificate.as_str()),
        ("tls/clients.crt", &certificate),
        ("tls/server.key", &certified.signing_key.serialize_pem()),
        ("tls/tokens", "a-token\n"),
        (
            "secrets/slack-url",
            "https://hooks.slack.example/services/T/B/x\n",
        ),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn the_documented_example_is_valid_and_shows_the_defaults() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let folder = example_folder();
    let source = SourceFile::new("auditwatch.yml", example);
    let configured = read(source, folder.path(), &Overrides::default()).unwrap();
    assert_eq!(configured.warnings.to_string(), "");
    let Settings {
        files,
        webhook,
        trusted_proxies,
        rules,
        engine,
        alerts,
        receivers,
        notify,
        admin,
        ..
    } = configured.settings;
    assert_eq!(engine, detect::Settings::default());
    assert_eq!(alerts, alert::Settings::default());
    assert_eq!(notify, notify::Settings::default());
    assert_eq!(admin.as_deref(), Some(ADMIN_DEFAULT));
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    let own = folder.path().join("archive/audit.log");
    assert_eq!(paths[0], "/var/log/kubernetes/audit.log");
    assert_eq!(paths[2], "/var/log/edge-*/audit/*.log");
    assert_eq!(
        (paths[3], files[3].name.as_str()),
        (own.to_str().unwrap(), "archive")
    );
    assert_eq!(
        (&*files[0].cluster, files[0].from),
        ("production", From::Start)
    );
    assert_eq!((&*files[1].cluster, files[1].from), ("edge", From::End));
    assert_eq!(files[3].from, From::Last(Span::parse("24h").unwrap()));
    assert!(webhook.is_some_and(|webhook| webhook.cluster_from_path));
    assert_eq!(trusted_proxies.len(), 2);
    assert_eq!(rules.enable, ["exec-in-pod"]);
    assert_eq!(rules.disable, ["anonymous-probe"]);
    let told: Vec<_> = receivers
        .iter()
        .map(|receiver| (receiver.name.as_str(), receiver.min_level))
        .collect();
    let all = Severity::Informational;
    assert_eq!(
        told,
        [("soc", Severity::Medium), ("siem", all), ("archive", all)]
    );
    let client = notify::client().unwrap();
    assert!(
        receivers
            .iter()
            .all(|receiver| receiver.build(&client).is_ok())
    );
}

/// `BLESS=1 cargo test config` writes the table anew.
#[test]
fn the_documented_table_is_true() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once("writes this table -->\n").unwrap();
    let (_, behind) = rest.split_once("<!-- end -->").unwrap();
    let table = settings_table();
    let wanted = format!("{before}writes this table -->\n{table}<!-- end -->{behind}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(PAGE, &wanted).unwrap();
        return;
    }
    assert!(
        page == wanted,
        "docs/configuration.md is old; run BLESS=1 cargo test config"
    );
}

#[test]
fn every_setting_of_the_table_is_read() {
    for name in names::NAMES {
        // Neither number, word, address, size, length of time, path, URL nor name.
        let nonsense = [(&*name.variable(), "~/ !")];
        let overrides = Overrides::default().environment(variables(&nonsense));
        let told = from_text(WATCHES, &overrides);
        if let "rules.enable" | "rules.disable" = name.path {
            // Any text can be the name of a rule.
            let rules = told.unwrap().settings.rules;
            assert_eq!([rules.enable, rules.disable].concat(), ["~/ !"]);
            continue;
        }
        let told = told.unwrap_err().to_string();
        let place = format!("--> {}\n", name.variable());
        assert!(told.contains(&place), "{}: {told}", name.path);
    }
}

#[test]
fn tells_all_problems_at_once() {
    let told = problems(
        "cluster: two words
sources:
  files:
    - {path: /a.log, form: end}
    - {from: middle}
    - /a.log
  webhook: {listen: 9443, tls: {cert_file: /nonexistent/crt}}
engine: {lateness: 5 minutes, keys_max: 0}
alerts:
  resolve_after: 0s
recievers: []
receivers:
  - slack: {url: 'https://hooks.example/services/SECRET'}
  - {slack: {url_file: https://hooks.example/SECRET}, alert_log: {path: /nonexistent/x}}
threads: many
trusted_proxies: [10.0.0.0/33]
",
    );
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/problems.golden");
    if std::env::var_os("BLESS").is_some() {
        fs::write(golden, &told).unwrap();
    }
    assert_eq!(told, fs::read_to_string(golden).unwrap());
    assert!(!told.contains("SECRET"), "{told}");
}

#[test]
fn flags_win_over_variables_and_both_over_the_file() {
    let text = "threads: 2\ncluster: file\nlog: {format: json}\nalerts: {min_level: low}\n\
                sources: {files: [/file.log], queue_max: 2MiB}\n\
                receivers: [{slack: {url_file: gone}, min_level: high}]\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("url"), "https://hooks.example/x\n").unwrap();
    let url_file = folder.path().join("url").display().to_string();
    let environment = variables(&[
        ("AUDITWATCH_THREADS", "3"),
        ("AUDITWATCH_CLUSTER", "variable"),
        ("AUDITWATCH_FILE", "/one.log:/two.log"),
        ("AUDITWATCH_LOG_LEVEL", ""),
        ("AUDITWATCH_SOURCES_QUEUE_MAX", "4MiB"),
        ("PATH", "/bin"),
    ]);
    let slack = [url_file];
    let overrides = Overrides::default()
        .flag("threads", "--threads", ["4".to_owned()])
        .flag("admin.listen", "--admin", ["off".to_owned()])
        .flag("receivers[].slack.url_file", "--slack-url-file", slack)
        .flag("cluster", "--cluster", [])
        .environment(environment);
    fs::write(folder.path().join("gone"), "https://hooks.example/file").unwrap();
    let source = SourceFile::new("auditwatch.yml", text);
    let settings = read(source, folder.path(), &overrides).unwrap().settings;
    assert_eq!(settings.threads, 4);
    assert_eq!(settings.queue_max, ByteSize(4 << 20));
    assert_eq!(settings.admin, None);
    assert_eq!(
        (settings.logs.format, settings.logs.level.as_str()),
        (LogFormat::Json, "info")
    );
    let files: Vec<_> = settings
        .files
        .iter()
        .map(|file| (file.path.as_str(), &*file.cluster))
        .collect();
    assert_eq!(files, [("/one.log", "variable"), ("/two.log", "variable")]);
    let [receiver] = settings.receivers.as_slice() else {
        panic!("{:?}", settings.receivers);
    };
    let ReceiverTarget::Slack(url) = &receiver.target else {
        panic!("{receiver:?}");
    };
    assert_eq!(
        (url.expose(), receiver.min_level),
        ("https://hooks.example/x", Severity::High)
    );
    assert!(!format!("{settings:?}").contains("hooks.example"));
}

#[test]
fn warns_about_variables_that_mean_nothing() {
    let overrides = Overrides::default().environment(variables(&[
        ("AUDITWATCH_TREADS", "3"),
        ("AUDITWATCH_SERVICE_HOST", "10.0.0.1"),
        ("AUDITWATCH_PORT_9646_TCP", "tcp://10.0.0.1:9646"),
    ]));
    let warnings = from_text(WATCHES, &overrides).unwrap().warnings.to_string();
    assert_eq!(
        warnings,
        "warning[unknown-variable]: the environment variable `AUDITWATCH_TREADS` is no setting
  --> AUDITWATCH_TREADS
  = help: did you mean `AUDITWATCH_THREADS`?

1 warning
"
    );
}

#[test]
fn tells_contradictions() {
    for (text, told) in [
        (
            "sources: {webhook: {listen: '127.0.0.1:9646'}}",
            "cannot both listen on 127.0.0.1:9646",
        ),
        (
            "sources: {webhook: {cluster: a}}",
            "`webhook` needs `listen`",
        ),
        (
            "sources: {webhook: {listen: '[::]:1', cluster: a, cluster_from_path: true}}",
            "contradict each other",
        ),
        (
            "sources: {webhook: {listen: '[::]:1', tls: {key_file: k}}}",
            "TLS needs `cert_file`",
        ),
        (
            "sources: {files: [a, ./a, a]}",
            "`/etc/auditwatch/a` is followed already",
        ),
        (
            "sources: {files: [/v/*.log, /v/w/a.log, /v/a.log]}",
            "`/v/*.log` and `/v/a.log` follow the same file",
        ),
        (
            "sources: {files: [{path: a, paths: [b]}]}",
            "has both `path` and `paths`",
        ),
        (
            "sources: {files: [{paths: [a, b], name: n}]}",
            "would name several paths",
        ),
        (
            "sources: {files: [{path: a, name: n}, {path: b, name: n}]}",
            "two sources are called `n`",
        ),
        ("sources: {files: ['~/a']}", "only a shell knows `~`"),
        (
            "sources: {files: [/tmp/*.log]}\nreceivers: [{alert_log: {path: /tmp/alerts.log}}]",
            "`/tmp/alerts.log` is a file that is followed",
        ),
        (
            "receivers: [{alert_log: {path: /tmp/a}}, {name: b, alert_log: {path: /tmp/a}}]",
            "`alert_log` writes `/tmp/a` already",
        ),
        (
            "receivers: [{alert_log: {path: /tmp/a}}, {alert_log: {path: /tmp/b}}]",
            "two receivers are called `alert_log`",
        ),
        ("receivers: [{name: x}]", "a receiver needs `slack`"),
        (
            "receivers: [{webhook: {url: 'ftp://SECRET'}}]",
            "neither with https:// nor",
        ),
        ("rules: {shipped: false}", "leaves no rule at all"),
        (
            "receivers: [{webhook: {url: 'http://h/'}, ca_file: gone.pem}]",
            "the file `/etc/auditwatch/gone.pem` does not exist",
        ),
        (
            "receivers: [{webhook: {url: 'http://h/'}, ca_file: /dev/null}]",
            "there is no `-----BEGIN CERTIFICATE-----` in it",
        ),
        (
            "receivers: [{webhook: {url: 'http://h/'}, templates: {body: '{{ alert.whoo }}'}}]",
            "templates know no `whoo`",
        ),
        (
            "receivers: [{syslog: {address: 'h:1'}, templates: {body: x}}]",
            "what `syslog` sends is for machines",
        ),
        (
            "rules: {paths: [gone]}",
            "`/etc/auditwatch/gone`: no such file or folder",
        ),
        (
            "notify: {backoff_first: 10m}",
            "is longer than `backoff_max` (1m)",
        ),
        ("a: 1\n---\nb: 2", "here begins another"),
        ("- a", "the configuration must be a mapping, not a list"),
        ("receivers: [{webhook: {url: https://SECRET", "error["),
    ] {
        let message = problems(text);
        assert!(message.contains(told), "{text}\n{message}");
        assert!(!message.contains("SECRET"), "{text}\n{message}");
    }
}

#[test]
fn flags_can_be_wrong_too() {
    let flag =
        |setting, flag, value: &str| Overrides::default().flag(setting, flag, [value.to_owned()]);
    let told = problems_with(WATCHES, &flag("admin.listen", "--admin", "9646"));
    assert_eq!(
        told,
        "error[wrong-value]: `listen`: `9646` lacks an address; write 0.0.0.0:9646, or 127.0.0.1:9646 for this machine only
  --> --admin

1 error
"
    );
    let told = problems_with(
        WATCHES,
        &flag("sources.webhook.token_file", "--token-file", "/t"),
    );
    assert!(
        told.contains("there is no webhook that this is for\n  --> --token-file"),
        "{told}"
    );
    let url = "https://hooks.example/SECRET";
    let told = problems_with(
        WATCHES,
        &flag("receivers[].slack.url_file", "--slack-url-file", url),
    );
    assert!(
        told.contains("must be a path, not a URL") && !told.contains("SECRET"),
        "{told}"
    );
}

#[test]
fn credentials_are_tried() {
    let folder = example_folder();
    fs::write(folder.path().join("tls/empty"), "").unwrap();
    for (webhook, told) in [
        ("token_file: tls/empty", "it holds no token"),
        (
            "tls: {cert_file: tls/server.crt, key_file: tls/tokens}",
            "PRIVATE KEY",
        ),
        (
            "tls: {cert_file: tls/gone, key_file: tls/server.key}",
            "the file does not exist",
        ),
    ] {
        let text = format!("sources:\n  webhook:\n    listen: 127.0.0.1:0\n    {webhook}\n");
        let source = SourceFile::new("auditwatch.yml", text);
        let error = read(source, folder.path(), &Overrides::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(told) && error.contains("auditwatch.yml:4"),
            "{error}"
        );
    }
}

#[test]
fn a_missing_file_is_named() {
    let error =
        configure(Some(Path::new("/nonexistent/a.yml")), &Overrides::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the configuration: /nonexistent/a.yml: no such file or folder"
    );
}

#[test]
fn rules_can_be_switched_by_name() {
    let mut rules = settings(WATCHES).rules;
    let count = |rules: &RuleSettings| {
        let set = rules.load().unwrap().set;
        let own = set.rules.iter().filter(|rule| rule.reports).count();
        own + set.correlations.iter().filter(|rule| rule.reports).count()
    };
    let all = count(&rules);
    rules.disable = vec!["anonymous-probe".to_owned()];
    assert_eq!(count(&rules), all - 1);
    rules.disable = vec!["anonymous-prob".to_owned()];
    assert_eq!(
        rules.load().unwrap_err().to_string(),
        "`rules.disable`: there is no rule `anonymous-prob`; did you mean `anonymous-probe`?"
    );
    rules.disable = vec![];
    rules.enable = vec!["exec-in-po".to_owned()];
    assert_eq!(
        rules.load().unwrap_err().to_string(),
        "`rules.enable`: there is no rule `exec-in-po`; did you mean `exec-in-pod`?"
    );
    rules.enable = vec!["exec-in-pod".to_owned()];
    assert_eq!(count(&rules), all + 1);
    rules.enable = vec!["all".to_owned()];
    assert!(count(&rules) > all + 1);
}

#[test]
fn lateness_is_the_same_for_engine_and_alerts() {
    let settings = settings(&format!("{WATCHES}engine: {{lateness: 1m}}\n"));
    assert_eq!(settings.engine.lateness, Span::from_secs(60));
    assert_eq!(settings.alerts.lateness, Span::from_secs(60));
}
