//! The sections `sources` and `trusted_proxies`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    address,
    overrides::{mapping, text},
    section::{Place, Reading, Section, Setting},
};
use crate::{
    diagnostic::{Diagnostic, SourceFile, Table, yaml::Node},
    source::{
        tail::{From, TailSettings},
        webhook::{TlsSettings, WebhookSettings, check_credentials},
    },
    units::{ByteSize, Span},
};

const FROM: [(&str, From); 2] = [("start", From::Start), ("end", From::End)];
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
    let from = section.word("from", &FROM);
    let defaults = Defaults {
        cluster,
        from: from.map(|from| from.value).unwrap_or_default(),
    };
    let mut queue_max = ByteSize(32 << 20);
    let (least, most) = (ByteSize(1 << 20), ByteSize(64 << 30));
    section.bytes("queue_max", &mut queue_max, least, most);
    let webhook = webhook(section.section("webhook"), &defaults);
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
        let from = table.word("from", &FROM);
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
                from: from.as_ref().map_or(defaults.from, |from| from.value),
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

fn webhook(mut section: Section<'_>, defaults: &Defaults<'_>) -> Option<Setting<WebhookSettings>> {
    let reading = section.reading;
    let errors = reading.problems.errors();
    let listen = section.parsed("listen", address::listen);
    let listen_is_wrong = reading.problems.errors() > errors;
    let own_cluster = section.table.parsed("cluster", cluster);
    let from_path = section.boolean("cluster_from_path");
    let token_file = section.path("token_file");
    let (tls, tls_place) = tls(section.section("tls"));
    let mut settings = WebhookSettings::new(listen.as_ref().map_or("", |listen| &listen.value));
    let (least, most) = (ByteSize(64 << 10), ByteSize(4 << 30));
    section.bytes("body_max", &mut settings.body_max, least, most);
    section.count(
        "connections_max",
        &mut settings.connections_max,
        1,
        1_000_000,
    );
    settings.cluster_from_path = from_path.as_ref().is_some_and(|from| from.value);
    if let (Some(named), true) = (&own_cluster, settings.cluster_from_path) {
        let message = "`cluster` and `cluster_from_path: true` contradict each other";
        let problem = section.table.error("contradiction", named.spot, message);
        reading.add(problem.help("keep one of them"));
    }
    settings.cluster = own_cluster.map_or_else(|| defaults.cluster.clone(), |named| named.value);
    settings.tls = tls;
    settings.token_file = token_file.as_ref().map(|path| path.value.clone());
    let place = listen.as_ref().map(|listen| listen.place.clone());
    let is_given = section.is_given;
    let orphan = tls_place
        .clone()
        .or(token_file.as_ref().map(|path| path.place.clone()));
    if place.is_none() && !listen_is_wrong {
        if is_given {
            section
                .table
                .missing("listen", "write `listen: 0.0.0.0:9443`");
        } else if let Some(orphan) = orphan {
            let problem = orphan.error("contradiction", "there is no webhook that this is for");
            let help = "say where it listens: --webhook 0.0.0.0:9443, or `sources.webhook.listen`";
            reading.add(problem.help(help));
        }
    }
    section.finish();
    if let (Some(token), None) = (&token_file, &settings.tls) {
        let message = "the API server sends no bearer token over plain HTTP";
        let place = &token.place;
        let problem = Diagnostic::warning("no-tls", &place.file, place.spot, message);
        let help = "give the webhook a certificate, unless a proxy in front of it ends TLS";
        reading.add(problem.help(help));
    }
    if reading.problems.errors() == errors
        && place.is_some()
        && let Err(error) = check_credentials(&settings)
    {
        let place = tls_place
            .or(token_file.map(|path| path.place))
            .or(place.clone());
        if let Some(place) = place {
            reading.add(place.error("unusable-file", error.to_string()));
        }
    }
    place.map(|place| Setting {
        value: settings,
        place,
    })
}

fn tls(mut section: Section<'_>) -> (Option<TlsSettings>, Option<Place>) {
    let certificate = section.path("cert_file");
    let key = section.path("key_file");
    let client_ca = section.path("client_ca_file");
    let place = [&certificate, &key, &client_ca]
        .into_iter()
        .flatten()
        .next()
        .map(|path| path.place.clone());
    let settings = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsSettings {
            certificate: certificate.value,
            key: key.value,
            client_ca: client_ca.map(|path| path.value),
        }),
        (certificate, key) => {
            let lacking: Vec<&str> = [
                certificate.is_none().then_some("`cert_file` (--tls-cert)"),
                key.is_none().then_some("`key_file` (--tls-key)"),
            ]
            .into_iter()
            .flatten()
            .collect();
            if let Some(place) = &place {
                let message = format!("TLS needs {} too", lacking.join(" and "));
                section.reading.add(place.error("missing-key", message));
            }
            None
        }
    };
    section.finish();
    (settings, place)
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
