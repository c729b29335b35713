//! The catalogue: every metric that auditwatch serves, with its name, kind, labels and meaning.
//!
//! Components register by these entries, so a metric outside this file cannot exist.
//! `docs/metrics.md` is generated from it, and dashboards are checked against it.

use std::fmt::Write as _;

/// What a metric counts, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Prometheus' own three words")]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As Prometheus' `# TYPE` line spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Full name with prefix and unit.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it tells, in one or two sentences.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($ident:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// Every metric, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($ident),*];
    };
}

catalogue! {
    BUILD_INFO: Gauge "auditwatch_build_info" ["version"]
        "Always 1; the version that runs.";
    READY: Gauge "auditwatch_ready" []
        "1 when every part is ready, as /readyz says; else 0.";
    EVENTS_RECEIVED: Counter "auditwatch_events_received_total" []
        "Audit events and rejects that came out of the sources. At every scrape this is the sum of evaluated, duplicate, rejected, late and dropped.";
    EVENTS_EVALUATED: Counter "auditwatch_events_evaluated_total" []
        "Audit events that the rules looked at, in time.";
    EVENTS_DUPLICATE: Counter "auditwatch_events_duplicate_total" []
        "Audit events that were seen before: webhook retries and files read again.";
    EVENTS_REJECTED: Counter "auditwatch_events_rejected_total" ["reason"]
        "Records that are no audit event, by reason.";
    EVENTS_LATE: Counter "auditwatch_events_late_total" []
        "Audit events older than the allowed lateness. Rules on single events saw them; windows may have closed.";
    EVENTS_DROPPED: Counter "auditwatch_events_dropped_total" ["reason"]
        "Audit events that were taken in and given up, by reason: shutdown (the time to stop was over; with --state they are read again at the next start).";
    EVENTS_CLAMPED: Counter "auditwatch_events_clamped_total" []
        "Audit events whose time was set back to our clock, because it lay too far in the future.";
    EVENT_DELAY_SECONDS: Histogram "auditwatch_event_delay_seconds" []
        "From an event's stageTimestamp to the end of its evaluation, by our clock.";
    SOURCE_RECEIVED_BYTES: Counter "auditwatch_source_received_bytes_total" ["source"]
        "Bytes read from a source, after decompression.";
    SOURCE_LAG_SECONDS: Gauge "auditwatch_source_lag_seconds" ["source"]
        "For how long a source has held bytes that were not read yet; 0 when it was read to its end.";
    SOURCE_LAG_BYTES: Gauge "auditwatch_source_lag_bytes" ["source"]
        "Bytes that a source holds and that were not read yet.";
    SOURCE_FILE_CHANGES: Counter "auditwatch_source_file_changes_total" ["source", "change"]
        "What happened to tailed files: opened (met for the first time), resumed (found again by a bookmark, or a copy of it), rotated (read to its end), truncated (overwritten), lost (can be found no more and may have held lines that were not read), or failed (could not be opened or read).";
    WEBHOOK_REQUESTS: Counter "auditwatch_webhook_requests_total" ["source", "code"]
        "Requests to the audit webhook, by HTTP status of the answer. Other than 200 makes the API server send again.";
    WEBHOOK_CONNECTIONS: Gauge "auditwatch_webhook_connections" ["source"]
        "Open connections to the audit webhook.";
    WEBHOOK_CONNECTIONS_REFUSED: Counter "auditwatch_webhook_connections_refused_total" ["source", "reason"]
        "Connections that the audit webhook closed unserved: over the limit, or no TLS handshake.";
    JOURNAL_WRITTEN_BYTES: Counter "auditwatch_journal_written_bytes_total" ["source"]
        "Bytes that the webhook's journal has made durable.";
    JOURNAL_SYNC_SECONDS: Histogram "auditwatch_journal_sync_seconds" []
        "How long the disk takes to make a group of bodies durable, which each of them is answered after.";
    JOURNAL_GROUP_BODIES: Histogram "auditwatch_journal_group_bodies" []
        "Bodies that were made durable together.";
    JOURNAL_SEGMENTS: Gauge "auditwatch_journal_segments" ["source"]
        "Segments of the journal, those that wait and those that are kept as an archive.";
    JOURNAL_BYTES: Gauge "auditwatch_journal_bytes" ["source"]
        "Bytes that the journal's segments take.";
    JOURNAL_BACKLOG_BYTES: Gauge "auditwatch_journal_backlog_bytes" ["source"]
        "Bytes of the journal that are not evaluated and committed yet; they are read again after a crash.";
    JOURNAL_BACKLOG_SECONDS: Gauge "auditwatch_journal_backlog_seconds" ["source"]
        "For how long the oldest body of the journal has been waiting to be evaluated and committed.";
    JOURNAL_FAILURES: Counter "auditwatch_journal_failures_total" ["source", "reason"]
        "Bodies that the journal did not take, by reason: full backlog, or what the disk says. They were answered 503.";
    JOURNAL_DAMAGED_BYTES: Counter "auditwatch_journal_damaged_bytes_total" ["source"]
        "Bytes of the journal that were durable and are not what was written, or are gone.";
    QUEUE_BYTES: Gauge "auditwatch_queue_bytes" ["queue"]
        "Bytes that wait or are being worked on between the sources and the engine.";
    QUEUE_CAPACITY_BYTES: Gauge "auditwatch_queue_capacity_bytes" ["queue"]
        "The most bytes that may wait; a full queue makes sources stop reading and webhooks answer 503.";
    WATERMARK_SECONDS: Gauge "auditwatch_watermark_timestamp_seconds" []
        "How far event time has come: no event older than this less the allowed lateness counts in windows.";
    STATE_KEYS: Gauge "auditwatch_state_keys" []
        "Keys that windows and baselines hold.";
    STATE_REQUESTS: Gauge "auditwatch_state_requests" []
        "Requests that are remembered so that each counts once.";
    STATE_EVICTED: Counter "auditwatch_state_evicted_total" ["table"]
        "State that had to go before its time because a table was full.";
    MATCHES_UNCOUNTED: Counter "auditwatch_matches_uncounted_total" ["reason"]
        "What conditions over several events did not count, by reason: unkeyed (the event lacks a field of the key), combinations (too many values of fields with several), evidence (one step of a chain brought too many requests), forgotten (the end of a long request whose start is remembered no more).";
    STATE_BYTES: Gauge "auditwatch_state_bytes" []
        "About how much memory the engine's state takes.";
    CHECKPOINT_SECONDS: Histogram "auditwatch_checkpoint_duration_seconds" []
        "How long the store took to make one checkpoint safe.";
    CHECKPOINTS_FAILED: Counter "auditwatch_checkpoints_failed_total" ["reason"]
        "Attempts to write a checkpoint or the outbox that failed, by reason. While they fail, intake stops.";
    CHECKPOINT_LAST_SUCCESS: Gauge "auditwatch_checkpoint_last_success_timestamp_seconds" []
        "When a checkpoint was last made safe.";
    CHECKPOINT_ROWS: Counter "auditwatch_checkpoint_rows_total" []
        "Rows of state that checkpoints wrote.";
    STORE_BYTES: Gauge "auditwatch_store_bytes" []
        "Size of the state file and its log.";
    OUTBOX_MESSAGES: Gauge "auditwatch_outbox_messages" ["receiver", "standing"]
        "Messages in the outbox: waiting for their receiver, or dead (given up, to be looked at by `auditwatch outbox`).";
    OUTBOX_FORGOTTEN: Counter "auditwatch_outbox_dead_forgotten_total" []
        "Dead letters that went because the outbox was full.";
    HISTORY_PURGED: Counter "auditwatch_history_purged_total" []
        "Alerts that are over and went from the history, because they were older than `state.retention` or more than `state.history_max`.";
    RULES: Gauge "auditwatch_rules" []
        "Rules that are loaded, correlations included.";
    RULES_BLIND: Gauge "auditwatch_rules_blind" ["extent", "reason"]
        "Rules that cannot see what they ask about by what was read in the last hour or two: all of it (blind) or some (partly), because requests are recorded at too low a level or a stage is left out. Set some minutes after the start.";
    BASELINE_KEYS: Gauge "auditwatch_baseline_keys" ["rule", "standing"]
        "Keys (mostly principals) that a rule's baseline knows: still learning, about which nothing is new yet, or learnt. Counted each minute.";
    BASELINE_VALUES_HELD: Gauge "auditwatch_baseline_values_held" ["rule"]
        "Values that were told as new and are not taken for normal, because nobody acknowledged them and they have not aged.";
    DETECTIONS: Counter "auditwatch_detections_total" ["rule", "level"]
        "Steps of rules being met, by rule and its level.";
    ALERTS: Gauge "auditwatch_alerts" ["state"]
        "Alerts by state.";
    ALERTS_DROPPED: Counter "auditwatch_alerts_dropped_total" ["reason"]
        "Alerts that could not be kept or shown, by reason: evicted (resolved early, because too many were open), terminal (stdout did not take them), unlisted (for each group, because too many are in groups; the group's next notification says how many).";
    ALERTS_HIDDEN: Gauge "auditwatch_alerts_hidden" ["by"]
        "Alerts that go on and nobody is told of, by a silence or by inhibition; counted every ten seconds.";
    SILENCES: Gauge "auditwatch_silences" ["state"]
        "Silences by state: active, pending (they begin later) or expired (in the last five days).";
    ALERT_GROUPS: Gauge "auditwatch_alert_groups" []
        "Groups that routing keeps in mind.";
    ALERT_GROUP_MEMBERS: Gauge "auditwatch_alert_group_members" []
        "Alerts in groups; one that is in several counts in each.";
    CONFIG_LAST_RELOAD_SUCCESSFUL: Gauge "auditwatch_config_last_reload_successful" []
        "1 when the last reload of rules and configuration was taken; 0 when it was refused and the old stay.";
    CONFIG_LAST_RELOAD_SECONDS: Gauge "auditwatch_config_last_reload_success_timestamp_seconds" []
        "When rules and configuration were last taken.";
    NOTIFICATIONS_MADE: Counter "auditwatch_notifications_made_total" ["receiver", "reason"]
        "Notifications that routing decided on, by reason: first, new, updated, fewer, resolved, repeat or digest.";
    NOTIFICATIONS_DIGESTED: Counter "auditwatch_notifications_digested_total" ["receiver"]
        "Notifications beyond a receiver's rate, which one digest told of together.";
    NOTIFICATIONS: Counter "auditwatch_notifications_total" ["receiver", "integration"]
        "Attempts to deliver a notification.";
    NOTIFICATIONS_FAILED: Counter "auditwatch_notifications_failed_total" ["receiver", "integration", "reason"]
        "Attempts to deliver a notification that failed.";
    NOTIFICATIONS_DROPPED: Counter "auditwatch_notifications_dropped_total" ["receiver", "integration", "reason"]
        "Notifications that were given up.";
    NOTIFICATIONS_FOLDED: Counter "auditwatch_notifications_folded_total" ["receiver", "integration"]
        "Updates that gave way to a newer notification about the same.";
    NOTIFICATIONS_WAITING: Gauge "auditwatch_notifications_waiting" ["receiver", "integration"]
        "Notifications that wait for their receiver.";
    NOTIFICATIONS_OLDEST_AGE_SECONDS: Gauge "auditwatch_notifications_oldest_age_seconds" ["receiver", "integration"]
        "How long the oldest notification has been waiting for its receiver.";
}

/// The text of `docs/metrics.md`.
pub fn document() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Served by the admin endpoint at `/metrics` (`--admin`, 127.0.0.1:9646 unless set). \
         This page is generated from the catalogue in `src/telemetry/catalogue.rs`; a test keeps \
         it true. Rule, receiver and source names are the only label values that are not a closed \
         list; none can be chosen by a caller of the API server.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in ALL {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        );
    }
    text.push_str(
        "\nThe usual `process_*` metrics of the Prometheus client library are there too on Linux.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `BLESS=1 cargo test catalogue` writes the page anew.
    #[test]
    fn page_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == document(),
            "docs/metrics.md is old; run BLESS=1 cargo test catalogue"
        );
    }

    #[test]
    fn names_follow_the_contract() {
        for metric in ALL {
            assert!(metric.name.starts_with("auditwatch_"), "{}", metric.name);
            let counts = metric.name.ends_with("_total");
            assert_eq!(counts, metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
