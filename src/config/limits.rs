//! The sections `engine`, `alerts`, `notify`, `state` and `log`: lengths of time, caps and words.

use super::{receivers::LEVELS, section::Section};
use crate::{
    alert, detect, notify,
    rule::Severity,
    store,
    telemetry::{LogFormat, LogSettings},
    units::{ByteSize, Span},
};

const SECOND: Span = Span::from_secs(1);
const DAY: Span = Span::from_secs(86_400);
/// Beyond this a table would not fit into any machine's memory.
const COUNT_MAX: i64 = 1_000_000_000;

pub(super) fn engine(mut section: Section<'_>) -> detect::Settings {
    let mut settings = detect::Settings::default();
    section.span("lateness", &mut settings.lateness, Span::ZERO, DAY);
    section.span("ahead", &mut settings.ahead, Span::ZERO, DAY);
    for (key, value) in [
        ("requests_max", &mut settings.requests_max),
        ("long_requests_max", &mut settings.long_requests_max),
        ("keys_max", &mut settings.keys_max),
        ("occurrences_max", &mut settings.occurrences_max),
        ("values_max", &mut settings.values_max),
        ("sources_max", &mut settings.sources_max),
    ] {
        section.count(key, value, 1, COUNT_MAX);
    }
    section.finish();
    settings
}

/// How alerts live, and the least level that is told.
pub(super) fn alerts(mut section: Section<'_>, lateness: Span) -> (alert::Settings, Severity) {
    let mut settings = alert::Settings {
        lateness,
        ..alert::Settings::default()
    };
    let year = Span::from_secs(365 * 86_400);
    section.span("resolve_after", &mut settings.resolve_after, SECOND, year);
    section.span(
        "update_interval",
        &mut settings.update_interval,
        SECOND,
        year,
    );
    section.count("alerts_max", &mut settings.alerts_max, 1, COUNT_MAX);
    let (least, most) = (ByteSize(1 << 20), ByteSize(1 << 40));
    section.bytes("bytes_max", &mut settings.bytes_max, least, most);
    let level = section.word("min_level", &LEVELS);
    section.finish();
    (
        settings,
        level.map_or(Severity::Informational, |level| level.value),
    )
}

pub(super) fn notify(mut section: Section<'_>) -> notify::Settings {
    let mut settings = notify::Settings::default();
    let reading = section.reading;
    section.count("queue_max", &mut settings.queue_max, 1, 1_000_000);
    let (least, hour) = (Span::from_micros(100_000), Span::from_secs(3_600));
    section.span("timeout", &mut settings.timeout, least, hour);
    section.span(
        "backoff_first",
        &mut settings.backoff_first,
        Span::from_micros(1_000),
        hour,
    );
    section.span(
        "backoff_max",
        &mut settings.backoff_max,
        Span::from_micros(1_000),
        DAY,
    );
    section.span(
        "age_max",
        &mut settings.age_max,
        SECOND,
        Span::from_secs(30 * 86_400),
    );
    let place = section.place();
    section.finish();
    if settings.backoff_first > settings.backoff_max {
        let message = format!(
            "`backoff_first` ({}) is longer than `backoff_max` ({})",
            settings.backoff_first, settings.backoff_max
        );
        reading.add(
            place
                .error("contradiction", message)
                .help("make `backoff_max` the longer one"),
        );
    }
    settings
}

/// Where state survives, if somebody says so.
pub(super) fn state(mut section: Section<'_>) -> Option<store::Settings> {
    let dir = section.path("dir");
    let mut outbox_max = store::Settings::OUTBOX_MAX;
    section.count("outbox_max", &mut outbox_max, 1, 10_000_000);
    let mut retention = store::Retention::default();
    let years = Span::from_secs(10 * 365 * 86_400);
    section.span("retention", &mut retention.age_max, SECOND, years);
    section.count("history_max", &mut retention.count_max, 1, 10_000_000);
    section.finish();
    dir.map(|dir| store::Settings {
        outbox_max,
        retention,
        ..store::Settings::new(dir.value)
    })
}

pub(super) fn logs(mut section: Section<'_>) -> LogSettings {
    let mut settings = LogSettings::default();
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    if let Some(format) = section.word("format", &formats) {
        settings.format = format.value;
    }
    if let Some(level) = section.word("level", &LogSettings::LEVELS.map(|word| (word, word))) {
        level.value.clone_into(&mut settings.level);
    }
    section.finish();
    settings
}
