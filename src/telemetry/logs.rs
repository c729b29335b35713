//! Owns how log lines look and where they go: text for a terminal or JSON, always to stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The `logs` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Text or JSON.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`: what auditwatch itself says. Libraries are
    /// heard from `warn` upwards.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            level: "info".to_owned(),
        }
    }
}

impl LogSettings {
    /// The words that `level` may hold.
    pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
}

/// Starts logging for this process. A second call changes nothing: the first one's wish stands.
pub fn init_logs(settings: &LogSettings) {
    let filter = EnvFilter::new(format!("warn,auditwatch={}", settings.level));
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    // An error here means that a log subscriber is already there, as in tests.
    let _ = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(colour()).try_init(),
    };
}

/// Colour only on a terminal, and never when `NO_COLOR` says so.
fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
