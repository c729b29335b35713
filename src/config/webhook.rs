//! The section `sources.webhook`: where the API server sends to, and what it has to show.

use std::sync::Arc;

use super::{
    address,
    section::{Place, Section, Setting},
    sources::cluster as cluster_name,
};
use crate::{
    diagnostic::Diagnostic,
    source::webhook::{TlsSettings, WebhookSettings, check_credentials},
    store::journal::JournalSettings,
    units::{ByteSize, Span},
};

/// The webhook, when the file or a flag says where it listens.
pub(super) fn read(
    mut section: Section<'_>,
    cluster: &Arc<str>,
) -> Option<Setting<WebhookSettings>> {
    let reading = section.reading;
    let errors = reading.problems.errors();
    let listen = section.parsed("listen", address::listen);
    let listen_is_wrong = reading.problems.errors() > errors;
    let own_cluster = section.table.parsed("cluster", cluster_name);
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
    section.bytes("memory_max", &mut settings.memory_max, least, most);
    settings.journal = journal(section.section("journal"));
    settings.cluster_from_path = from_path.as_ref().is_some_and(|from| from.value);
    if let (Some(named), true) = (&own_cluster, settings.cluster_from_path) {
        let message = "`cluster` and `cluster_from_path: true` contradict each other";
        let problem = section.table.error("contradiction", named.spot, message);
        reading.add(problem.help("keep one of them"));
    }
    settings.cluster = own_cluster.map_or_else(|| Arc::clone(cluster), |named| named.value);
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

fn journal(mut section: Section<'_>) -> JournalSettings {
    let mut settings = JournalSettings::default();
    let reading = section.reading;
    let (mebibyte, most) = (ByteSize(1 << 20), ByteSize(1 << 50));
    section.bytes(
        "segment_bytes",
        &mut settings.segment_bytes,
        mebibyte,
        ByteSize(1 << 30),
    );
    let (second, year) = (Span::from_secs(1), Span::from_secs(366 * 86_400));
    section.span("segment_age", &mut settings.segment_age, second, year);
    section.span(
        "retain_age",
        &mut settings.retain_age,
        Span::ZERO,
        Span::from_secs(10 * 366 * 86_400),
    );
    section.bytes(
        "retain_bytes",
        &mut settings.retain_bytes,
        ByteSize(0),
        most,
    );
    section.bytes(
        "backlog_max",
        &mut settings.backlog_max,
        JournalSettings::BACKLOG_LEAST,
        most,
    );
    let place = section.place();
    section.finish();
    if settings.backlog_max < settings.segment_bytes {
        let message = format!(
            "`backlog_max` ({}) is less than one segment ({})",
            settings.backlog_max, settings.segment_bytes
        );
        let problem = place.error("contradiction", message);
        reading.add(problem.help("raise `backlog_max`, or lower `segment_bytes`"));
    }
    settings
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
