//! What a daemon needs to know to run, checked: every value here can be used as it is.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::{
    alert, detect, notify,
    rule::Severity,
    source::{tail::TailSettings, webhook::WebhookSettings},
    telemetry::LogSettings,
    units::{ByteSize, Secret},
};

/// All settings of a daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Followed files, each path once.
    pub files: Vec<TailSettings>,
    /// The audit webhook.
    pub webhook: Option<WebhookSettings>,
    /// How many bytes may wait between the sources and the engine.
    pub queue_max: ByteSize,
    /// Proxies in front of the API server.
    pub trusted_proxies: Vec<IpNet>,
    /// Which rules there are.
    pub rules: RuleSettings,
    /// The engine's limits.
    pub engine: detect::Settings,
    /// How alerts live; its lateness is the engine's.
    pub alerts: alert::Settings,
    /// The least severe alerts that stdout shows.
    pub min_level: Severity,
    /// Who is told; names are unique.
    pub receivers: Vec<ReceiverSettings>,
    /// How patiently they are told.
    pub notify: notify::Settings,
    /// Where metrics, health and API are served; `None` for nowhere.
    pub admin: Option<String>,
    /// How logs look.
    pub logs: LogSettings,
    /// Threads that decode and match; at least 1.
    pub threads: usize,
}

impl Settings {
    /// Whether there is anything to watch.
    pub fn has_source(&self) -> bool {
        !self.files.is_empty() || self.webhook.is_some()
    }
}

/// Where rules come from. [`RuleSettings::load`] reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// Folders or files, later ones over earlier ones.
    pub paths: Vec<PathBuf>,
    /// Whether the rules inside the binary come first.
    pub shipped: bool,
    /// Names or ids of rules that are off by themselves and shall alert; `all` for every one.
    pub enable: Vec<String>,
    /// Names or ids of rules that make no alerts of their own.
    pub disable: Vec<String>,
}

/// One receiver. [`ReceiverSettings::build`] makes it ready to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// Its name in metrics and logs.
    pub name: String,
    /// The least severe alerts that it is told.
    pub min_level: Severity,
    /// What it speaks, and where it is.
    pub target: ReceiverTarget,
}

/// Where a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverTarget {
    /// The URL of a Slack incoming webhook.
    Slack(Secret),
    /// A URL that takes our JSON by POST.
    Webhook(Secret),
    /// A file that our JSON is appended to.
    AlertLog(PathBuf),
}
