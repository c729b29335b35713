//! Joins file, flags and environment into [`Settings`], or says all that is wrong with them.

use std::{path::Path, sync::Arc, thread};

use super::{
    address, limits, mask,
    overrides::Overrides,
    receivers, routes,
    rule_files::{RuleFilesError, read_text},
    rules,
    section::{Reading, Section, Setting},
    settings::{ReceiverSettings, ReceiverTarget, Settings},
    sources,
};
use crate::diagnostic::{Diagnostic, Problems, Report, SourceFile, Spot, yaml};

/// Where metrics, health and API are served unless somebody says otherwise.
pub const ADMIN_DEFAULT: &str = "127.0.0.1:9646";

/// Settings that can be used, and what somebody should look at all the same.
#[derive(Debug)]
pub struct Configured {
    /// The settings.
    pub settings: Settings,
    /// Warnings only.
    pub warnings: Report,
}

/// Why there are no settings. Prints as what to show, several lines maybe.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration: {0}")]
    Unreadable(#[from] RuleFilesError),
    /// All problems at once.
    #[error("{0}")]
    Wrong(Report),
}

/// Reads the configuration. Flags win over variables, and both over the file.
///
/// # Errors
/// [`ConfigError`], with all that is wrong.
pub fn configure(file: Option<&Path>, overrides: &Overrides) -> Result<Configured, ConfigError> {
    let (name, text) = match file {
        None => ("the configuration".to_owned(), String::new()),
        Some(path) => (path.display().to_string(), read_text(path)?),
    };
    let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
    read(SourceFile::new(name, text), folder, overrides)
}

/// As [`configure`], for text that was read already. Relative paths start from `folder`.
pub(super) fn read(
    source: SourceFile,
    folder: &Path,
    overrides: &Overrides,
) -> Result<Configured, ConfigError> {
    let problems = Problems::new();
    let shown = Arc::new(mask::urls(&source));
    let documents = documents(source, &shown, &problems);
    let reading = Reading {
        file: shown,
        folder,
        overrides,
        problems: &problems,
    };
    overrides.report(&problems);
    let root = Section::root(documents.first().map(|document| &document.root), &reading);
    let settings = settings(root);
    let report = problems.into_report();
    if report.has_errors() {
        return Err(ConfigError::Wrong(report));
    }
    Ok(Configured {
        settings,
        warnings: report,
    })
}

/// The documents of the file, problems told with URLs hidden.
fn documents(
    source: SourceFile,
    shown: &Arc<SourceFile>,
    problems: &Problems,
) -> Vec<yaml::Document> {
    let found = Problems::new();
    let documents = yaml::parse(&Arc::new(source), &found);
    for problem in &found.into_report() {
        problems.add(Diagnostic {
            file: Arc::clone(shown),
            ..problem.clone()
        });
    }
    if let Some(second) = documents.get(1) {
        let message = "a configuration is one document, and here begins another";
        let spot = Spot::new(second.root.spot.start, second.root.spot.start);
        problems.add(
            Diagnostic::error("several-documents", shown, spot, message)
                .help("take out the line `---` before it"),
        );
    }
    documents
}

/// All sections.
fn settings(mut root: Section<'_>) -> Settings {
    let reading = root.reading;
    let cluster = root.parsed("cluster", sources::cluster);
    let cluster = cluster.map_or_else(|| Arc::from(""), |cluster| cluster.value);
    let sources = sources::read(root.section("sources"), &cluster);
    let trusted_proxies = sources::trusted_proxies(&mut root);
    let rules = rules::read(root.section("rules"));
    let engine = limits::engine(root.section("engine"));
    let (alerts, min_level) = limits::alerts(root.section("alerts"), engine.lateness);
    let receivers = receivers::read(&mut root, min_level);
    let plan = routes::read(&mut root, &receivers);
    let notify = limits::notify(root.section("notify"));
    let state = limits::state(root.section("state"));
    let admin = admin(root.section("admin"));
    let logs = limits::logs(root.section("log"));
    let mut threads = thread::available_parallelism().map_or(1, usize::from);
    root.count("threads", &mut threads, 1, 1_024);
    root.finish();
    check_admin(admin.as_ref(), &sources, reading);
    check_logs(&receivers, &sources, reading);
    Settings {
        files: sources.files,
        webhook: sources.webhook.map(|webhook| webhook.value),
        queue_max: sources.queue_max,
        trusted_proxies,
        rules,
        engine,
        alerts,
        min_level,
        receivers: receivers
            .into_iter()
            .map(|receiver| receiver.value)
            .collect(),
        plan,
        notify,
        state,
        admin: admin.map_or_else(|| Some(ADMIN_DEFAULT.to_owned()), |admin| admin.value),
        logs,
        threads,
    }
}

/// `admin.listen`: an address, or `off`.
fn admin(mut section: Section<'_>) -> Option<Setting<Option<String>>> {
    let listen = section.parsed("listen", |text| match text {
        "off" => Ok(None),
        text => address::listen(text).map(Some),
    });
    section.finish();
    listen
}

/// Two servers cannot share one port.
fn check_admin(
    admin: Option<&Setting<Option<String>>>,
    sources: &sources::Sources,
    reading: &Reading<'_>,
) {
    let Some(webhook) = &sources.webhook else {
        return;
    };
    let listen = match admin {
        None => Some(ADMIN_DEFAULT),
        Some(admin) => admin.value.as_deref(),
    };
    if listen == Some(&webhook.value.listen) && !webhook.value.listen.ends_with(":0") {
        let message = format!(
            "the webhook and the admin endpoint cannot both listen on {}",
            webhook.value.listen
        );
        let problem = webhook.place.error("contradiction", message);
        reading.add(problem.help("take another port for one of them"));
    }
}

/// An alert log that is followed would be read as audit events.
fn check_logs(
    receivers: &[Setting<ReceiverSettings>],
    sources: &sources::Sources,
    reading: &Reading<'_>,
) {
    for receiver in receivers {
        if let ReceiverTarget::AlertLog { path, .. } = &receiver.value.target
            && sources::follows(&sources.files, path)
        {
            let message = format!("`{}` is a file that is followed", path.display());
            let problem = receiver.place.error("contradiction", message);
            reading.add(problem.help("alerts are no audit events; write them elsewhere"));
        }
    }
}
