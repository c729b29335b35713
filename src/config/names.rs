//! The names of all settings that a flag or an environment variable can give, in one table.
//!
//! A variable is spelled `AUDITWATCH_` and the flag in capitals; a setting without a flag takes
//! its place in the file instead. What the table does not name, only the file can say.

use std::fmt::Write as _;

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "AUDITWATCH_";

/// Variables that are ours and no settings.
const OTHER_VARIABLES: [&str; 1] = ["AUDITWATCH_CONFIG"];

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    /// Its place in the file, with dots.
    pub(super) path: &'static str,
    /// The flag of `run` without its dashes; empty when there is none.
    pub(super) flag: &'static str,
    /// What separates several values in a variable; `None` when there is only one.
    pub(super) separator: Option<char>,
    /// What it says, for the table in the documentation.
    meaning: &'static str,
}

macro_rules! names {
    ($($path:literal $flag:literal $separator:expr, $meaning:literal;)*) => {
        /// All of them, in the order of the documentation.
        pub(super) const NAMES: &[Name] = &[$(Name {
            path: $path,
            flag: $flag,
            separator: $separator,
            meaning: $meaning,
        }),*];
    };
}

names! {
    "cluster" "cluster" None, "name of the cluster that sources are from when they do not say it themselves";
    "sources.files" "file" Some(':'), "audit logs to follow: paths, or patterns with `*`, `?`, `[…]`, `**`";
    "sources.from" "from" None, "where to begin in files that are there at the first start: `start`, `end`, or how far back, like `24h`";
    "sources.queue_max" "" None, "bytes that may wait between the sources and the engine";
    "sources.webhook.listen" "webhook" None, "address and port where the API server sends audit events";
    "sources.webhook.cluster_from_path" "" None, "take the cluster's name from the last segment of the request's path";
    "sources.webhook.tls.cert_file" "tls-cert" None, "the webhook's certificate and its intermediates, PEM";
    "sources.webhook.tls.key_file" "tls-key" None, "the certificate's private key, PEM";
    "sources.webhook.tls.client_ca_file" "client-ca" None, "clients must show a certificate that one of these signed, PEM";
    "sources.webhook.token_file" "token-file" None, "bearer tokens that are accepted, one a line";
    "sources.webhook.body_max" "" None, "longest body, after decompression";
    "sources.webhook.connections_max" "" None, "most connections at a time";
    "sources.webhook.memory_max" "" None, "memory of all bodies that are arriving; beyond it the answer is 503";
    "sources.webhook.journal.segment_bytes" "" None, "a segment of the journal that is this large is closed";
    "sources.webhook.journal.segment_age" "" None, "so is one that is this old";
    "sources.webhook.journal.retain_age" "" None, "how long segments that were evaluated are kept";
    "sources.webhook.journal.retain_bytes" "" None, "how many bytes of them are kept at most";
    "sources.webhook.journal.backlog_max" "" None, "bytes that may wait to be evaluated and committed; beyond it the answer is 503";
    "trusted_proxies" "trusted-proxy" Some(','), "addresses of proxies in front of the API server, whose word about the caller's address counts";
    "rules.paths" "rules" Some(':'), "folders or files of rules, added to the shipped ones";
    "rules.shipped" "" None, "`false` leaves the shipped rules out (flag: `--no-shipped-rules`)";
    "rules.enable" "enable" Some(','), "names of rules that are off by themselves and shall alert; `all` for every one";
    "rules.disable" "" Some(','), "names of rules that make no alerts of their own";
    "engine.lateness" "" None, "how far behind the newest event another may be and still be counted exactly";
    "engine.ahead" "" None, "how far ahead of our clock an event's time may be before our clock's is taken";
    "engine.requests_max" "" None, "requests remembered, so that each counts once";
    "engine.long_requests_max" "" None, "unfinished watches and exec sessions remembered";
    "engine.keys_max" "" None, "keys of one rule's window or baseline";
    "engine.occurrences_max" "" None, "occurrences or known values that one rule's keys hold together";
    "engine.values_max" "" None, "known values of one key";
    "engine.sources_max" "" None, "sources whose progress is followed";
    "alerts.min_level" "min-level" None, "least level that is told, to receivers that do not say it themselves and on stdout";
    "alerts.resolve_after" "" None, "how long it must be quiet before an alert is over";
    "alerts.update_interval" "" None, "at most one update of an alert in this time";
    "alerts.alerts_max" "" None, "most alerts that are open at a time";
    "alerts.bytes_max" "" None, "most bytes that open alerts take";
    "receivers[].slack.url_file" "slack-url-file" None, "file with the URL of a Slack incoming webhook; makes the receiver `slack`";
    "receivers[].slack.url" "" None, "the URL itself; only a variable may hold it";
    "receivers[].webhook.url" "alert-webhook" None, "URL that takes alerts as JSON by POST; makes the receiver `webhook`";
    "receivers[].alert_log.path" "alert-log" None, "file to append alerts to, one JSON object a line; makes the receiver `alert_log`";
    "state.dir" "state" None, "folder in which all that must survive a restart is kept; without it all is forgotten";
    "state.outbox_max" "" None, "messages that the outbox holds at most, dead letters among them";
    "state.retention" "" None, "how long alerts that are over can be looked up";
    "state.history_max" "" None, "alerts that are over and kept at most; beyond it the oldest go";
    "notify.queue_max" "" None, "messages that wait for one receiver at most";
    "notify.timeout" "" None, "how long one attempt may take";
    "notify.backoff_first" "" None, "longest pause after a first failure";
    "notify.backoff_max" "" None, "where the pause stops doubling";
    "notify.age_max" "" None, "how old a message may get before it is given up";
    "admin.listen" "admin" None, "address and port of metrics, health and API; `off` for none";
    "log.format" "log-format" None, "`text` or `json`, on stderr";
    "log.level" "log-level" None, "`error`, `warn`, `info`, `debug` or `trace`";
    "threads" "threads" None, "threads that decode and match; one for each processor unless set";
}

impl Name {
    /// The setting at a place in the file.
    pub(super) fn of(path: &str) -> Option<&'static Self> {
        NAMES.iter().find(|name| name.path == path)
    }

    /// Its environment variable.
    pub(super) fn variable(&self) -> String {
        let name = if self.flag.is_empty() {
            self.path.trim_start_matches("receivers[].")
        } else {
            self.flag
        };
        let capital = |c: char| match c {
            '.' | '-' => '_',
            c => c.to_ascii_uppercase(),
        };
        PREFIX.chars().chain(name.chars().map(capital)).collect()
    }
}

/// Whether a variable that begins like ours is none of our settings and should still not be
/// wondered at: our other variables, and what Kubernetes gives every container when the namespace
/// has a Service called `auditwatch…`.
pub(super) fn is_foreign(variable: &str) -> bool {
    let has_port_number = variable
        .match_indices("_PORT_")
        .any(|(at, word)| variable[at + word.len()..].starts_with(|c: char| c.is_ascii_digit()));
    OTHER_VARIABLES.contains(&variable)
        || variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT")
        || has_port_number
}

/// The table of flags and variables in `docs/configuration.md`.
pub fn settings_table() -> String {
    let mut text = String::from("| setting | flag | environment | meaning |\n|---|---|---|---|\n");
    for name in NAMES {
        let flag = match name.flag {
            "" => String::new(),
            flag => format!("`--{flag}`"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {flag} | `{}` | {} |",
            name.path,
            name.variable(),
            name.meaning
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_one_place_flag_and_variable() {
        let paths: BTreeSet<_> = NAMES.iter().map(|name| name.path).collect();
        let variables: BTreeSet<_> = NAMES.iter().map(Name::variable).collect();
        assert_eq!((paths.len(), variables.len()), (NAMES.len(), NAMES.len()));
        let spelled = |path: &str| Name::of(path).unwrap().variable();
        assert_eq!(
            spelled("sources.webhook.tls.cert_file"),
            "AUDITWATCH_TLS_CERT"
        );
        assert_eq!(
            spelled("alerts.resolve_after"),
            "AUDITWATCH_ALERTS_RESOLVE_AFTER"
        );
        assert_eq!(spelled("receivers[].slack.url"), "AUDITWATCH_SLACK_URL");
    }

    #[test]
    fn knows_what_kubernetes_sets() {
        for variable in [
            "AUDITWATCH_SERVICE_HOST",
            "AUDITWATCH_SERVICE_PORT_HTTPS",
            "AUDITWATCH_PORT",
            "AUDITWATCH_WEBHOOK_PORT_9443_TCP_ADDR",
            "AUDITWATCH_CONFIG",
        ] {
            assert!(is_foreign(variable), "{variable}");
        }
        assert!(!is_foreign("AUDITWATCH_TREADS"));
        assert!(NAMES.iter().all(|name| !is_foreign(&name.variable())));
    }
}
