//! What a daemon needs to know to run, checked: every value here can be used as it is.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::{
    alert::{
        self,
        dispatch::{Plan, Rate},
    },
    detect,
    notify::{self, EmailSettings, Format, Rotation, Transport},
    rule::Severity,
    source::{tail::TailSettings, webhook::WebhookSettings},
    store,
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
    /// Who is told what and when.
    pub plan: Plan,
    /// How patiently they are told.
    pub notify: notify::Settings,
    /// Where state survives; `None` when all is to be forgotten.
    pub state: Option<store::Settings>,
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
    /// Whether it is told that alerts are over.
    pub send_resolved: bool,
    /// Whether it is told that alerts have changed; as fits its kind when nothing is said.
    pub send_updates: Option<bool>,
    /// How many messages it gets at most; as fits its kind when nothing is said.
    pub rate: Option<Rate>,
    /// What is told in other words than ours.
    pub templates: notify::Templates,
    /// Whose certificates it may show besides those of the system's CAs.
    pub ca: Option<notify::Ca>,
}

/// Where a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverTarget {
    /// The URL of a Slack incoming webhook.
    Slack(Secret),
    /// A Slack channel, and the token of the app that writes there.
    #[expect(missing_docs, reason = "what their names say")]
    SlackApi { token: Secret, channel: String },
    /// A URL that takes our JSON by POST, and the keys that it is signed with, one a line.
    Webhook {
        /// The URL.
        url: Secret,
        /// The keys.
        keys: Option<Secret>,
    },
    /// A file that alerts are appended to.
    AlertLog {
        /// The file.
        path: PathBuf,
        /// In which form.
        format: Format,
        /// When it is put aside.
        rotation: Option<Rotation>,
    },
    /// The members of an Alertmanager cluster.
    Alertmanager(Vec<Secret>),
    /// A PagerDuty service.
    #[expect(missing_docs, reason = "what their names say")]
    PagerDuty { url: Secret, key: Secret },
    /// The URL of a Teams workflow.
    Teams(Secret),
    /// An Opsgenie integration.
    #[expect(missing_docs, reason = "what their names say")]
    Opsgenie { url: Secret, key: Secret },
    /// Mailboxes.
    Email(Box<EmailSettings>),
    /// A syslog server.
    #[expect(missing_docs, reason = "what their names say")]
    Syslog {
        host: String,
        port: u16,
        transport: Transport,
        format: Format,
    },
}

impl ReceiverTarget {
    /// The key in the file that makes it, which is its receiver's name when it has no other.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Slack(_) | Self::SlackApi { .. } => "slack",
            Self::Webhook { .. } => "webhook",
            Self::AlertLog { .. } => "alert_log",
            Self::Alertmanager(_) => "alertmanager",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Teams(_) => "teams",
            Self::Opsgenie { .. } => "opsgenie",
            Self::Email(_) => "email",
            Self::Syslog { .. } => "syslog",
        }
    }

    /// What people call it.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Slack(_) | Self::SlackApi { .. } => "Slack",
            Self::Webhook { .. } => "a webhook",
            Self::AlertLog { .. } => "a file",
            Self::Alertmanager(_) => "Alertmanager",
            Self::PagerDuty { .. } => "PagerDuty",
            Self::Teams(_) => "Teams",
            Self::Opsgenie { .. } => "Opsgenie",
            Self::Email(_) => "email",
            Self::Syslog { .. } => "syslog",
        }
    }
}
