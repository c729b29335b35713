//! What each kind of receiver needs to be told: addresses, keys, forms. Secrets are in files.

use lettre::message::Mailbox;

use super::{
    receivers::{self, secret},
    section::{Reading, Setting},
    settings::ReceiverTarget,
};
use crate::{
    diagnostic::{Spotted, Table},
    notify::{
        EmailSettings, Encryption, Format, Rotation, SigningKey, Transport, opsgenie, pagerduty,
    },
    units::Secret,
};

const FORMATS: [(&str, Format); 3] = [
    ("json", Format::Json),
    ("cef", Format::Cef),
    ("ocsf", Format::Ocsf),
];

/// A secret that stands in a file of its own.
fn secret_file(table: &mut Table<'_>, key: &'static str, reading: &Reading<'_>) -> Option<Secret> {
    let path = table.text(key)?;
    let path = reading.path(key, Setting::new(table.file, path))?;
    match secret(&path.value) {
        Ok(text) => Some(Secret::new(&text)),
        Err(message) => {
            reading.add(path.place.error("unusable-file", message));
            None
        }
    }
}

fn needed_file(
    table: &mut Table<'_>,
    key: &'static str,
    what: &str,
    reading: &Reading<'_>,
) -> Option<Secret> {
    if !table.has(key) {
        table.missing(
            key,
            &format!("write `{key}: PATH`, a file that holds {what}"),
        );
    }
    secret_file(table, key, reading)
}

/// A URL that is no secret by itself, with one that it is unless it is given.
fn url(table: &mut Table<'_>, default: &str, reading: &Reading<'_>) -> Option<Secret> {
    let Some(text) = table.text("url") else {
        return Some(Secret::new(default));
    };
    receivers::usable_here(table, &text, reading)
}

pub(super) fn signing_keys(table: &mut Table<'_>, reading: &Reading<'_>) -> Option<Secret> {
    let path = table.text("signing_key_file")?;
    let path = reading.path("signing_key_file", Setting::new(table.file, path))?;
    let read = receivers::secret_lines(&path.value).and_then(|text| {
        for line in text.lines() {
            SigningKey::parse(line)
                .map_err(|message| format!("`{}`: {message}", path.value.display()))?;
        }
        Ok(Secret::new(&text))
    });
    read.map_err(|message| reading.add(path.place.error("unusable-file", message)))
        .ok()
}

/// A Slack app's token, and where it writes.
pub(super) fn slack_api(mut table: Table<'_>, reading: &Reading<'_>) -> Option<ReceiverTarget> {
    let token = secret_file(&mut table, "token_file", reading);
    let channel = table.text("channel");
    if channel.is_none() {
        table.missing(
            "channel",
            "write `channel: C0123456789`, the channel's id, or its name",
        );
    }
    table.finish();
    let channel = channel?.value;
    Some(ReceiverTarget::SlackApi {
        token: token?,
        channel,
    })
}

/// The form of an alert log, and when it is put aside.
pub(super) fn alert_log(table: &mut Table<'_>) -> (Format, Option<Rotation>) {
    let format = table
        .word("format", &FORMATS)
        .map_or(Format::Json, |word| word.value);
    let bytes_max = table.byte_size("bytes_max");
    let keep = table.integer("keep", 1, 1_000);
    if let (None, Some(keep)) = (&bytes_max, &keep) {
        let problem = table.error("missing-key", keep.spot, "`keep` needs `bytes_max`");
        table.problems.add(
            problem.help(
                "write `bytes_max: 100MiB`; without it the file is put aside by nobody but you",
            ),
        );
    }
    let keep = keep.map_or(5, |keep| keep.value as u32);
    let rotation = bytes_max.map(|bytes| Rotation {
        bytes_max: bytes.value,
        keep,
    });
    (format, rotation)
}

pub(super) fn alertmanager(mut table: Table<'_>, reading: &Reading<'_>) -> Option<ReceiverTarget> {
    if !table.has("urls") {
        table.missing(
            "urls",
            "write `urls: [http://alertmanager:9093]`, every member of a cluster",
        );
    }
    let texts = table.texts("urls");
    let read = texts
        .iter()
        .map(|text| receivers::usable_here(&table, text, reading));
    let urls: Option<Vec<Secret>> = read.collect();
    table.finish();
    urls.filter(|urls| !urls.is_empty())
        .map(ReceiverTarget::Alertmanager)
}

pub(super) fn pagerduty(mut table: Table<'_>, reading: &Reading<'_>) -> Option<ReceiverTarget> {
    let key = needed_file(
        &mut table,
        "routing_key_file",
        "the integration's key",
        reading,
    );
    let url = url(&mut table, pagerduty::URL, reading);
    table.finish();
    Some(ReceiverTarget::PagerDuty {
        url: url?,
        key: key?,
    })
}

pub(super) fn opsgenie(mut table: Table<'_>, reading: &Reading<'_>) -> Option<ReceiverTarget> {
    let key = needed_file(&mut table, "api_key_file", "the integration's key", reading);
    let url = url(&mut table, opsgenie::URL, reading);
    table.finish();
    Some(ReceiverTarget::Opsgenie {
        url: url?,
        key: key?,
    })
}

/// `host:port`, brackets around an IPv6 address.
fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("`{text}` is no address; write it like mail.example.com:587");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port
        .parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

pub(super) fn email(mut table: Table<'_>, reading: &Reading<'_>) -> Option<ReceiverTarget> {
    let server = table.parsed("smarthost", host_and_port);
    if server.is_none() {
        table.missing("smarthost", "write `smarthost: mail.example.com:587`");
    }
    let words = [
        ("starttls", Encryption::StartTls),
        ("tls", Encryption::Tls),
        ("none", Encryption::None),
    ];
    let encryption = table.word("encryption", &words);
    let mailbox = |text: &str| {
        text.parse::<Mailbox>()
            .map_err(|_| format!("`{text}` is no mail address; write it like soc@example.com"))
    };
    let from = table.parsed("from", mailbox);
    if from.is_none() {
        table.missing("from", "write `from: auditwatch@example.com`");
    }
    let mut to = Vec::new();
    for Spotted { value, spot } in table.texts("to") {
        match mailbox(&value) {
            Ok(mailbox) => to.push(mailbox),
            Err(message) => table
                .problems
                .add(table.error("wrong-value", spot, message)),
        }
    }
    if to.is_empty() {
        table.missing("to", "write `to: [soc@example.com]`");
    }
    let name = table.text("username");
    let password = secret_file(&mut table, "password_file", reading);
    let login = match (name, password) {
        (Some(name), Some(password)) => {
            if encryption
                .as_ref()
                .is_some_and(|word| word.value == Encryption::None)
            {
                let problem = table.error(
                    "contradiction",
                    name.spot,
                    "a password would be sent in the clear",
                );
                reading.add(problem.help("take `encryption: starttls` or `tls`"));
            }
            Some((name.value, password))
        }
        (Some(name), None) => {
            let problem = table.error(
                "missing-key",
                name.spot,
                "a `username` needs a `password_file`",
            );
            reading
                .add(problem.help("write `password_file: PATH`, a file that holds the password"));
            None
        }
        (None, _) => None,
    };
    table.finish();
    let (host, port) = server?.value;
    (!to.is_empty()).then_some(())?;
    Some(ReceiverTarget::Email(Box::new(EmailSettings {
        host,
        port,
        encryption: encryption.map_or(Encryption::StartTls, |word| word.value),
        login,
        from: from?.value,
        to,
    })))
}

pub(super) fn syslog(mut table: Table<'_>) -> Option<ReceiverTarget> {
    let address = table.parsed("address", host_and_port);
    if address.is_none() {
        table.missing("address", "write `address: siem.example.com:6514`");
    }
    let words = [
        ("tls", Transport::Tls),
        ("tcp", Transport::Tcp),
        ("udp", Transport::Udp),
    ];
    let transport = table
        .word("transport", &words)
        .map_or(Transport::Tls, |word| word.value);
    let format = table
        .word("format", &FORMATS)
        .map_or(Format::Cef, |word| word.value);
    table.finish();
    let (host, port) = address?.value;
    Some(ReceiverTarget::Syslog {
        host,
        port,
        transport,
        format,
    })
}
