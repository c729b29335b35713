//! What the pipeline is made from: the components' own settings, already checked.

use std::{io, num::NonZeroUsize, path::PathBuf};

use ipnet::IpNet;

use crate::{
    alert::{self, dispatch::Plan},
    detect, notify,
    report::Style,
    rule::{Loaded, Severity},
    source::{tail::TailSettings, webhook::WebhookSettings},
    store,
    units::ByteSize,
};

/// Everything that the pipeline needs to start.
pub struct Settings {
    /// Log files to follow. Names are unique among all sources.
    pub files: Vec<TailSettings>,
    /// Addresses to take audit batches at.
    pub webhooks: Vec<WebhookSettings>,
    /// Proxies in front of the API server whose word about the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Which rules.
    pub rules: RuleFiles,
    /// The engine's limits.
    pub engine: detect::Settings,
    /// How alerts live.
    pub alerts: alert::Settings,
    /// Who can be told.
    pub receivers: Vec<notify::Receiver>,
    /// Which of them is told what, and when.
    pub plan: Plan,
    /// How patient delivery is.
    pub delivery: notify::Settings,
    /// Where alerts are shown beside the receivers; `None` for nowhere.
    pub console: Option<Console>,
    /// Worker threads that decode and match.
    pub threads: NonZeroUsize,
    /// How many bytes may be on their way from the sources to the engine.
    pub queue_max: ByteSize,
    /// Where state survives; `None` when all is to be forgotten.
    pub state: Option<store::Settings>,
}

impl Settings {
    /// What the queue holds unless set.
    pub const QUEUE: ByteSize = ByteSize(32 << 20);
}

/// Reads, checks and compiles the rules.
pub type ReadRules = Box<dyn Fn() -> Result<Loaded, String> + Send + Sync>;

/// Where rules come from, at the start and at each reload.
pub struct RuleFiles {
    /// Gives all rules; the error says all that is wrong with them.
    pub read: ReadRules,
    /// The user's folders and files: a change in them reloads the rules.
    pub paths: Vec<PathBuf>,
}

/// A place where alerts are shown as they come: stdout.
pub struct Console {
    /// Where to write.
    pub out: Box<dyn io::Write + Send>,
    /// What an alert looks like.
    pub form: Form,
    /// Less severe alerts are not shown.
    pub level_min: Severity,
}

/// How an alert is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For eyes.
    Text(Style),
    /// One JSON object a line.
    Json,
}
