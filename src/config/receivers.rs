//! The section `receivers`: who is told of alerts. URLs are secrets and never repeated.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    overrides::{Given, mapping, text},
    section::{Place, Reading, Section, Setting},
    settings::{ReceiverSettings, ReceiverTarget},
    targets, templates,
};
use crate::{
    alert::dispatch::{GroupBy, Matchers, Rate, Repeats, Route, Style, Telling},
    diagnostic::{Diagnostic, SourceFile, Spot, Spotted, Table, yaml::Node},
    notify::{self, AlertLog, BuildError, Integration, Receiver, SigningKey},
    rule::Severity,
    units::{Secret, Span},
};

/// The longest file that holds a URL.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What each integration may be written with; also the names of receivers that flags make.
const INTEGRATIONS: [&str; 9] = [
    "slack",
    "webhook",
    "alert_log",
    "alertmanager",
    "pagerduty",
    "teams",
    "opsgenie",
    "email",
    "syslog",
];

/// How many messages people get at most unless the configuration says otherwise.
const PEOPLE: Rate = Rate {
    messages: 20,
    per: Span::from_secs(60),
};
/// The same for services that make incidents, which have to see each begin and end.
const INCIDENTS: Rate = Rate {
    messages: 60,
    per: Span::from_secs(60),
};
/// How many alerts a message to people shows.
const SHOWN: usize = 10;

pub(super) const LEVELS: [(&str, Severity); 5] = [
    ("informational", Severity::Informational),
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];

impl ReceiverSettings {
    /// Makes the receiver. `client` is shared by all that have no CA of their own.
    ///
    /// # Errors
    /// When the URL cannot be used; validated settings have seen to it that it can.
    pub fn build(&self, client: &reqwest::Client) -> Result<Receiver, BuildError> {
        let words = self.templates.clone();
        let own = match &self.ca {
            Some(ca) => notify::client_trusting(ca)?,
            None => client.clone(),
        };
        let client = &own;
        let integration = match &self.target {
            ReceiverTarget::Slack(url) => {
                Integration::Slack(notify::Slack::new(client, url.clone())?.worded(words))
            }
            ReceiverTarget::SlackApi { token, channel } => {
                let (url, token) = (notify::slack_api::URL, token.clone());
                let slack = notify::SlackApi::new(client, url, token, channel.clone())?;
                Integration::SlackApi(slack.worded(words))
            }
            ReceiverTarget::Webhook { url, keys } => {
                let keys = keys.iter().flat_map(|keys| keys.expose().lines());
                let keys = keys.filter_map(|key| SigningKey::parse(key).ok()).collect();
                let webhook = notify::Webhook::new(client, url.clone())?;
                Integration::Webhook(webhook.signed(keys).worded(words))
            }
            ReceiverTarget::AlertLog {
                path,
                format,
                rotation,
            } => {
                let log = AlertLog::new(path).format(*format).rotated(*rotation);
                Integration::AlertLog(log)
            }
            ReceiverTarget::Alertmanager(urls) => {
                Integration::Alertmanager(notify::Alertmanager::new(client, urls)?)
            }
            ReceiverTarget::PagerDuty { url, key } => {
                let pager = notify::PagerDuty::new(client, url.clone(), key.clone())?;
                Integration::PagerDuty(pager.worded(words))
            }
            ReceiverTarget::Teams(url) => {
                Integration::Teams(notify::Teams::new(client, url.clone())?.worded(words))
            }
            ReceiverTarget::Opsgenie { url, key } => {
                let opsgenie = notify::Opsgenie::new(client, url.clone(), key.clone())?;
                Integration::Opsgenie(opsgenie.worded(words))
            }
            ReceiverTarget::Email(settings) => {
                let email = notify::Email::new(settings.as_ref().clone(), self.ca.as_ref());
                Integration::Email(Box::new(email.map_err(BuildError::Client)?.worded(words)))
            }
            ReceiverTarget::Syslog {
                host,
                port,
                transport,
                format,
            } => {
                let syslog =
                    notify::Syslog::new(host, *port, *transport, *format, self.ca.as_ref());
                Integration::Syslog(syslog.map_err(BuildError::Client)?)
            }
        };
        Ok(Receiver {
            name: Arc::from(self.name.as_str()),
            integration,
        })
    }

    /// How it is told: people get the state of a group, machines every change.
    pub(super) fn telling(&self) -> Telling {
        let people = Style::Digest { shown: SHOWN };
        let each = |at_most| Style::Each { at_most };
        let (style, repeats, rate) = match &self.target {
            ReceiverTarget::Slack(_) | ReceiverTarget::Teams(_) | ReceiverTarget::Email(_) => {
                (people, Repeats::AsRouted, Some(PEOPLE))
            }
            ReceiverTarget::SlackApi { .. } => (people, Repeats::AsRouted, Some(PEOPLE)),
            ReceiverTarget::PagerDuty { .. } | ReceiverTarget::Opsgenie { .. } => {
                (people, Repeats::AsRouted, Some(INCIDENTS))
            }
            ReceiverTarget::Webhook { .. } => (each(1), Repeats::Never, None),
            ReceiverTarget::AlertLog { .. } | ReceiverTarget::Syslog { .. } => {
                (each(50), Repeats::Never, None)
            }
            ReceiverTarget::Alertmanager(_) => {
                let again = Repeats::Every(notify::alertmanager::RESEND);
                (each(50), again, None)
            }
        };
        // A message that is changed in place disturbs nobody.
        let is_edited = matches!(self.target, ReceiverTarget::SlackApi { .. });
        Telling {
            name: self.name.as_str().into(),
            style,
            send_resolved: self.send_resolved,
            send_updates: self.send_updates.unwrap_or(style != people || is_edited),
            repeats,
            rate: self.rate.or(rate),
        }
    }

    /// The route of a receiver that none names: everything from its level upwards.
    pub(super) fn route(&self) -> Route {
        let levels: Vec<&str> = LEVELS
            .iter()
            .filter(|(_, level)| *level >= self.min_level)
            .map(|(name, _)| *name)
            .collect();
        let matcher = format!("severity=~\"{}\"", levels.join("|"));
        let is_person = matches!(self.telling().style, Style::Digest { .. });
        let by = |name: &str| name.into();
        Route {
            // Made of our own words, so it can be read.
            matchers: Matchers::parse(&matcher).unwrap_or_default(),
            continues: true,
            receivers: vec![self.name.as_str().into()],
            group_by: if is_person {
                GroupBy::Labels(vec![by("alertname"), by("cluster")])
            } else {
                GroupBy::Alert
            },
            group_wait: if is_person {
                Route::default().group_wait
            } else {
                Span::ZERO
            },
            ..Route::default()
        }
    }
}

/// Reads all receivers; one that a flag or variable makes stands in for the file's of its name.
pub(super) fn read(root: &mut Section<'_>, min_level: Severity) -> Vec<Setting<ReceiverSettings>> {
    let reading = root.reading;
    let mut receivers: Vec<Setting<ReceiverSettings>> = Vec::new();
    for node in root.table.list("receivers").unwrap_or_default() {
        let Some(receiver) = receiver(node, &reading.file, reading, min_level) else {
            continue;
        };
        let name = &receiver.value.name;
        if receivers.iter().any(|other| other.value.name == *name) {
            let message = format!("two receivers are called `{name}`");
            let problem = receiver.place.error("contradiction", message);
            reading.add(problem.help("give each a `name` of its own"));
        } else {
            receivers.push(receiver);
        }
    }
    for (integration, (key, given)) in given(reading) {
        let node = mapping(integration, mapping(key, text(&given.values.concat())));
        let Some(mut made) = receiver(&node, &given.file, reading, min_level) else {
            continue;
        };
        match receivers
            .iter_mut()
            .find(|other| other.value.name == integration)
        {
            Some(other) => {
                made.value.min_level = other.value.min_level;
                *other = made;
            }
            None => receivers.push(made),
        }
    }
    check(&receivers, reading);
    receivers
}

/// What flags and variables say, by integration.
fn given<'d>(reading: &Reading<'d>) -> BTreeMap<&'static str, (&'static str, &'d Given)> {
    let mut all = BTreeMap::new();
    for (setting, integration, key) in [
        ("receivers[].slack.url_file", "slack", "url_file"),
        ("receivers[].slack.url", "slack", "url"),
        ("receivers[].webhook.url", "webhook", "url"),
        ("receivers[].alert_log.path", "alert_log", "path"),
    ] {
        let Some(given) = reading.overrides.get(setting) else {
            continue;
        };
        if let Some((_, first)) = all.insert(integration, (key, given)) {
            let first: &Given = first;
            let message = format!("{} and {} say the same", first.file.name, given.file.name);
            let problem = Diagnostic::error("contradiction", &given.file, Spot::default(), message);
            reading.add(problem.help("give one of them"));
        }
    }
    all
}

/// One entry of `receivers`.
fn receiver(
    node: &Node,
    file: &Arc<SourceFile>,
    reading: &Reading<'_>,
    min_level: Severity,
) -> Option<Setting<ReceiverSettings>> {
    let mut table = Table::of(node, file, reading.problems, "a receiver");
    let name = table.parsed("name", name);
    let level = table.word("min_level", &LEVELS);
    let mut targets: Vec<(&str, Option<ReceiverTarget>)> = Vec::new();
    if let Some(table) = table.table("slack", "`slack`") {
        let target = if table.has("token_file") {
            targets::slack_api(table, reading)
        } else {
            url(table, reading, false).map(ReceiverTarget::Slack)
        };
        targets.push(("slack", target));
    }
    if let Some(table) = table.table("webhook", "`webhook`") {
        let mut table = table;
        let keys = targets::signing_keys(&mut table, reading);
        let url = url(table, reading, true);
        let target = url.map(|url| ReceiverTarget::Webhook { url, keys });
        targets.push(("webhook", target));
    }
    if let Some(table) = table.table("alert_log", "`alert_log`") {
        let mut table = table;
        let (format, rotation) = targets::alert_log(&mut table);
        let path = alert_log(table, reading);
        let target = path.map(|path| ReceiverTarget::AlertLog {
            path,
            format,
            rotation,
        });
        targets.push(("alert_log", target));
    }
    if let Some(table) = table.table("alertmanager", "`alertmanager`") {
        targets.push(("alertmanager", targets::alertmanager(table, reading)));
    }
    if let Some(table) = table.table("pagerduty", "`pagerduty`") {
        targets.push(("pagerduty", targets::pagerduty(table, reading)));
    }
    if let Some(table) = table.table("teams", "`teams`") {
        let url = url(table, reading, false);
        targets.push(("teams", url.map(ReceiverTarget::Teams)));
    }
    if let Some(table) = table.table("opsgenie", "`opsgenie`") {
        targets.push(("opsgenie", targets::opsgenie(table, reading)));
    }
    if let Some(table) = table.table("email", "`email`") {
        targets.push(("email", targets::email(table, reading)));
    }
    if let Some(table) = table.table("syslog", "`syslog`") {
        targets.push(("syslog", targets::syslog(table)));
    }
    let send_resolved = table.boolean("send_resolved");
    let send_updates = table.boolean("send_updates");
    let rate = table.parsed("rate_limit", rate);
    let spot = name.as_ref().map_or(table.spot, |name| name.spot);
    let kinds: Vec<&str> = targets.iter().map(|(kind, _)| *kind).collect();
    is_one_thing(&kinds, &table, spot);
    let templates = templates::read(&mut table, kinds.first().copied().unwrap_or_default());
    let ca = private_ca(&mut table, reading);
    table.finish();
    let (kind, target) = targets.into_iter().next()?;
    let settings = ReceiverSettings {
        name: name.map_or_else(|| kind.to_owned(), |name| name.value),
        min_level: level.map_or(min_level, |level| level.value),
        target: target?,
        send_resolved: send_resolved.is_none_or(|value| value.value),
        send_updates: send_updates.map(|value| value.value),
        rate: rate.map(|rate| rate.value),
        templates,
        ca,
    };
    let place = Place {
        file: Arc::clone(file),
        spot,
    };
    Some(Setting {
        value: settings,
        place,
    })
}

/// Whether somebody said what the receiver is, and said one thing.
fn is_one_thing(kinds: &[&str], table: &Table<'_>, spot: Spot) {
    match kinds {
        [] => table.missing(
            INTEGRATIONS[0],
            "say what it is: `slack: {url_file: …}`, `webhook: {url: …}` or `alert_log: {path: …}`",
        ),
        [_] => {}
        _ => {
            let both: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
            let message = format!("a receiver cannot be {} at once", both.join(" and "));
            let problem = table.error("contradiction", spot, message);
            table
                .problems
                .add(problem.help("write one receiver for each"));
        }
    }
}

/// `20/1m`: messages, and in how much time.
fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || {
        format!(
            "`{text}` is no rate; write it like 20/1m, messages and the time in which they may come"
        )
    };
    let (messages, per) = text.split_once('/').ok_or_else(wrong)?;
    let messages = messages
        .trim()
        .parse()
        .ok()
        .filter(|messages| *messages > 0);
    let per = Span::parse(per).ok().filter(|per| *per > Span::ZERO);
    match (messages, per) {
        (Some(messages), Some(per)) => Ok(Rate { messages, per }),
        _ => Err(wrong()),
    }
}

fn name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '/');
    if text.is_empty() || text.len() > 63 || !text.chars().all(is_plain) {
        return Err("write 1 to 63 letters, digits, `-`, `_`, `.`, `/` or spaces".to_owned());
    }
    Ok(text.to_owned())
}

/// Where a mistake in a URL is told: the line is not shown, since it may hold the secret.
fn beside(file: &Arc<SourceFile>, spot: Spot) -> Arc<SourceFile> {
    if file.text.is_empty() {
        return Arc::clone(file);
    }
    let line = file.line_number(spot);
    Arc::new(SourceFile::new(format!("{}:{line}", file.name), ""))
}

/// `url_file`, or where it is allowed `url`. In a file a Slack URL is not allowed: configuration
/// files end in version control, and whoever has the URL can write to the channel.
fn url(mut table: Table<'_>, reading: &Reading<'_>, may_be_in_file: bool) -> Option<Secret> {
    let file = table.file;
    let in_file = Arc::ptr_eq(file, &reading.file);
    let inline = table.entry("url");
    let path = table.text("url_file");
    let problem = |code, spot: Spot, message: String| {
        Diagnostic::error(code, &beside(file, spot), Spot::default(), message)
    };
    let url = match (inline, path) {
        (Some(entry), Some(_)) => {
            let message = "both `url` and `url_file` are given".to_owned();
            reading.add(problem("contradiction", entry.key_spot, message).help("keep `url_file`"));
            None
        }
        (Some(entry), None) if in_file && !may_be_in_file => {
            let message = "this URL is a secret and must not stand in this file".to_owned();
            reading.add(problem("secret-in-file", entry.key_spot, message).help(
                "put it into a file of its own and write `url_file: PATH`; for Slack the variable AUDITWATCH_SLACK_URL may hold it",
            ));
            None
        }
        (Some(entry), None) => {
            if let Some(scalar) = entry.value.scalar() {
                usable(&scalar.text, entry.key_spot, &problem, reading)
            } else {
                table.wrong("url", &entry.value, "text");
                None
            }
        }
        (None, Some(path)) => {
            let spot = path.spot;
            let path = reading.path("url_file", Setting::new(file, path));
            path.and_then(|path| {
                let read = secret(&path.value);
                read.map_err(|message| reading.add(path.place.error("unusable-file", message)))
                    .ok()
            })
            .and_then(|text| usable(&text, spot, &problem, reading))
        }
        (None, None) => {
            table.missing(
                "url_file",
                "write `url_file: PATH`, a file that holds the URL",
            );
            None
        }
    };
    table.finish();
    url
}

/// Whether a URL can be used, by making a receiver of it.
fn usable(
    text: &str,
    spot: Spot,
    problem: &dyn Fn(&'static str, Spot, String) -> Diagnostic,
    reading: &Reading<'_>,
) -> Option<Secret> {
    let url = Secret::new(text);
    let probe = ReceiverSettings {
        name: String::new(),
        min_level: Severity::Low,
        target: ReceiverTarget::Teams(url.clone()),
        send_resolved: true,
        send_updates: None,
        rate: None,
        templates: notify::Templates::default(),
        ca: None,
    };
    match notify::client().and_then(|client| probe.build(&client)) {
        Ok(_) => Some(url),
        Err(error) => {
            reading.add(problem("wrong-value", spot, error.to_string()));
            None
        }
    }
}

/// A URL of a table, checked.
pub(super) fn usable_here(
    table: &Table<'_>,
    text: &Spotted<String>,
    reading: &Reading<'_>,
) -> Option<Secret> {
    let problem = |code, spot: Spot, message: String| {
        Diagnostic::error(code, &beside(table.file, spot), Spot::default(), message)
    };
    usable(&text.value, text.spot, &problem, reading)
}

/// The text of a file that holds one secret.
pub(super) fn secret(path: &Path) -> Result<String, String> {
    let text = secret_lines(path)?;
    if text.lines().count() > 1 {
        let shown = path.display();
        return Err(format!(
            "`{shown}` holds several lines; only the secret belongs there"
        ));
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("the file `{shown}` does not exist"),
        io::ErrorKind::PermissionDenied => {
            format!(
                "cannot read `{shown}`: permission denied; let the user that runs auditwatch read it"
            )
        }
        _ => format!("cannot read `{shown}`: {error}"),
    }
}

/// `ca_file`: whom to trust besides the system's CAs.
fn private_ca(table: &mut Table<'_>, reading: &Reading<'_>) -> Option<notify::Ca> {
    let path = table.text("ca_file")?;
    let path = reading.path("ca_file", Setting::new(table.file, path))?;
    let text = fs::read_to_string(&path.value).map_err(|error| unreadable(&path.value, &error));
    let read = text.and_then(|text| {
        notify::Ca::parse(&text).map_err(|told| format!("`{}`: {told}", path.value.display()))
    });
    read.map_err(|message| reading.add(path.place.error("unusable-file", message)))
        .ok()
}

/// The text of a file that holds secrets, one a line.
pub(super) fn secret_lines(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let told = |error: io::Error| unreadable(path, &error);
    if fs::metadata(path).map_err(told)?.len() > SECRET_BYTES_MAX {
        return Err(format!("`{shown}` is too long to hold a secret"));
    }
    let text = fs::read_to_string(path).map_err(told)?;
    match text.trim() {
        "" => Err(format!("`{shown}` is empty; write the secret into it")),
        text => Ok(text.to_owned()),
    }
}

fn alert_log(mut table: Table<'_>, reading: &Reading<'_>) -> Option<PathBuf> {
    let path = table.text("path");
    if path.is_none() {
        table.missing("path", "write `path: /var/log/auditwatch/alerts.jsonl`");
    }
    let file = table.file;
    table.finish();
    let path = reading.path("path", Setting::new(file, path?))?;
    let folder = path
        .value
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if path.value.is_dir() {
        let message = format!("`{}` is a folder", path.value.display());
        let problem = path.place.error("wrong-value", message);
        reading.add(problem.help("name the file that alerts are appended to"));
        return None;
    }
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let message = format!("the folder `{}` does not exist", folder.display());
        let problem = path.place.error("unusable-file", message);
        reading.add(problem.help("make it, or name another; the file itself need not be there"));
        return None;
    }
    Some(path.value)
}

/// What no receiver can see alone: two that write the same file.
fn check(receivers: &[Setting<ReceiverSettings>], reading: &Reading<'_>) {
    for (index, receiver) in receivers.iter().enumerate() {
        let ReceiverTarget::AlertLog { path, .. } = &receiver.value.target else {
            continue;
        };
        let is_same = |other: &Setting<ReceiverSettings>| matches!(&other.value.target, ReceiverTarget::AlertLog { path: theirs, .. } if theirs == path);
        if let Some(other) = receivers[..index].iter().find(|other| is_same(other)) {
            let message = format!("`{}` writes `{}` already", other.value.name, path.display());
            let problem = receiver.place.error("contradiction", message);
            reading.add(problem.help("every alert would stand there twice; take one out"));
        }
    }
}
