//! The sections `sources` and `trusted_proxies`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    overrides::{mapping, text},
    section::{Reading, Section, Setting},
    webhook,
};
use crate::{
    diagnostic::{SourceFile, Table, yaml::Node},
    source::{
        tail::{From, TailSettings},
        webhook::WebhookSettings,
    },
    units::{ByteSize, Span},
};

/// Where to begin: a word, or how far back.
fn from(text: &str) -> Result<From, String> {
    match text {
        "start" => Ok(From::Start),
        "end" => Ok(From::End),
        _ => match Span::parse(text) {
            Ok(span) if span > Span::from_micros(0) => Ok(From::Last(span)),
            _ => Err(format!(
                "`{text}` is no place to begin; write `start`, `end`, or how far back, like `24h`"
            )),
        },
    }
}

/// The longest name of a cluster.
const CLUSTER_BYTES_MAX: usize = 63;

/// What `sources` says.
pub(super) struct Sources {
    pub(super) files: Vec<TailSettings>,
    pub(super) webhook: Option<Setting<WebhookSettings>>,
    pub(super) queue_max: ByteSize,
}

/// What sources without words of their own do.
struct Defaults<'s> {
    cluster: &'s Arc<str>,
    from: From,
}

/// A cluster's name: what fits into a label, a path and a line.
pub(super) fn cluster(name: &str) -> Result<Arc<str>, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > CLUSTER_BYTES_MAX || !name.bytes().all(is_plain) {
        return Err(format!(
            "`{name}` is no name of a cluster; write 1 to {CLUSTER_BYTES_MAX} letters, digits, `-`, `_` or `.`"
        ));
    }
    Ok(Arc::from(name))
}

pub(super) fn read(mut section: Section<'_>, cluster: &Arc<str>) -> Sources {
    let start = section.parsed("from", from);
    let defaults = Defaults {
        cluster,
        from: start.map(|from| from.value).unwrap_or_default(),
    };
    let mut queue_max = ByteSize(32 << 20);
    let (least, most) = (ByteSize(1 << 20), ByteSize(64 << 30));
    section.bytes("queue_max", &mut queue_max, least, most);
    let webhook = webhook::read(section.section("webhook"), cluster);
    let files = files(&mut section, &defaults);
    if let Some(webhook) = &webhook
        && files.iter().any(|file| file.name == webhook.value.name)
    {
        let message = format!(
            "a followed file is called like the webhook, `{}`",
            webhook.value.name
        );
        let problem = webhook.place.error("contradiction", message);
        section
            .reading
            .add(problem.help("give the file another `name`"));
    }
    section.finish();
    Sources {
        files,
        webhook,
        queue_max,
    }
}

/// The followed files.
fn files(section: &mut Section<'_>, defaults: &Defaults<'_>) -> Vec<TailSettings> {
    let reading = section.reading;
    let mut found = Files::default();
    let own = section.table.list("files").unwrap_or_default();
    if let Some(given) = section.given("files") {
        // Read for its mistakes only.
        for node in own {
            Files::default().entry(node, &reading.file, reading, defaults);
        }
        for value in &given.values {
            found.entry(&text(value), &given.file, reading, defaults);
        }
        return found.settings;
    }
    for node in own {
        found.entry(node, &reading.file, reading, defaults);
    }
    found.settings
}

#[derive(Default)]
struct Files {
    settings: Vec<TailSettings>,
}

impl Files {
    /// One entry of `sources.files`: a path, or a mapping.
    fn entry(
        &mut self,
        node: &Node,
        file: &Arc<SourceFile>,
        reading: &Reading<'_>,
        defaults: &Defaults<'_>,
    ) {
        let whole = node
            .scalar()
            .map(|scalar| mapping("path", text(&scalar.text)));
        let mut table = Table::of(
            whole.as_ref().unwrap_or(node),
            file,
            reading.problems,
            "an entry of `sources.files`",
        );
        table.spot = node.spot;
        let one = table.text("path");
        let many = table.texts("paths");
        let name = table.text("name");
        let own_cluster = table.parsed("cluster", cluster);
        let start = table.parsed("from", from);
        let mut poll = Span::from_micros(250_000);
        let mut grace = Span::from_secs(10);
        for (key, value, least, most) in [
            ("poll", &mut poll, 10_000, 60_000_000),
            ("grace", &mut grace, 0, 3_600_000_000),
        ] {
            let (least, most) = (Span::from_micros(least), Span::from_micros(most));
            let read = |text: &str| match Span::parse(text)? {
                span if span < least || span > most => {
                    Err(format!("`{text}` is not between {least} and {most}"))
                }
                span => Ok(span),
            };
            if let Some(given) = table.parsed(key, read) {
                *value = given.value;
            }
        }
        if one.is_none() && many.is_empty() {
            table.missing("path", "write `path: /var/log/kubernetes/audit.log`");
        }
        if let (Some(_), Some(second)) = (&one, many.first()) {
            let message = "an entry of `sources.files` has both `path` and `paths`";
            reading.add(
                table
                    .error("contradiction", second.spot, message)
                    .help("keep one of them"),
            );
        }
        if let (Some(name), [_, second, ..]) = (&name, many.as_slice()) {
            let message = format!("`name: {}` would name several paths", name.value);
            let problem = table.error("contradiction", second.spot, message);
            reading.add(problem.help("give each path an entry and a name of its own"));
        }
        table.finish();
        for mut path in one.into_iter().chain(many) {
            if whole.is_some() {
                path.spot = node.spot;
            }
            let Some(path) = reading.path("path", Setting::new(file, path)) else {
                continue;
            };
            let settings = TailSettings {
                name: name
                    .as_ref()
                    .map_or_else(String::new, |name| name.value.clone()),
                cluster: own_cluster
                    .as_ref()
                    .map_or(defaults.cluster, |cluster| &cluster.value)
                    .clone(),
                from: start.as_ref().map_or(defaults.from, |from| from.value),
                poll: poll.to_std(),
                grace: grace.to_std(),
                ..TailSettings::new(&path.value.to_string_lossy())
            };
            self.add(settings, &path, reading);
        }
    }

    fn add(&mut self, mut settings: TailSettings, path: &Setting<PathBuf>, reading: &Reading<'_>) {
        if settings.name.is_empty() {
            settings.name.clone_from(&settings.path);
        }
        let twin = self.settings.iter().find(|other| {
            let (ours, theirs) = (Path::new(&settings.path), Path::new(&other.path));
            may_mean(&settings.path, theirs) || may_mean(&other.path, ours)
        });
        if let Some(twin) = twin {
            let message = match &twin.path {
                path if *path == settings.path => format!("`{path}` is followed already"),
                path => format!("`{path}` and `{}` follow the same file", settings.path),
            };
            let problem = path.place.error("contradiction", message);
            reading.add(problem.help("each file is read once; take one of them out"));
        } else if self
            .settings
            .iter()
            .any(|other| other.name == settings.name)
        {
            let message = format!("two sources are called `{}`", settings.name);
            let problem = path.place.error("contradiction", message);
            reading.add(problem.help("names tell them apart in metrics and logs; change one"));
        } else {
            self.settings.push(settings);
        }
    }
}

/// The networks of `trusted_proxies`; an address alone is a network of one.
pub(super) fn trusted_proxies(root: &mut Section<'_>) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for text in root.texts("trusted_proxies") {
        let word = text.value.trim();
        let net = word
            .parse::<IpNet>()
            .or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
        if let Ok(net) = net {
            nets.push(net);
            continue;
        }
        let message = format!("`{word}` is neither an address nor a network");
        let problem = text.place.error("wrong-value", message);
        root.reading
            .add(problem.help("write it like 10.0.0.5 or 10.0.0.0/24"));
    }
    nets
}

/// Whether one of the files may be this one.
pub(super) fn follows(files: &[TailSettings], path: &Path) -> bool {
    files.iter().any(|file| may_mean(&file.path, path))
}

/// Whether a path or pattern may mean this path.
fn may_mean(pattern: &str, path: &Path) -> bool {
    let options = glob::MatchOptions {
        require_literal_separator: true,
        ..glob::MatchOptions::default()
    };
    Path::new(pattern) == path
        || glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_path_with(path, options))
}
