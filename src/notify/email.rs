//! Email by SMTP: plain text and the same as HTML; messages about one group make a thread.

use std::fmt::Write as _;

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor,
    message::{Mailbox, MultiPart, header},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};

use super::{Ca, Failure, Preview, Reason, Templates};
use crate::{
    alert::{
        brief::{Brief, cut_lines, mark},
        cut_middle,
        dispatch::Notification,
        visible,
        words::Phrase,
    },
    units::Secret,
};

/// A subject that is read on a phone.
const SUBJECT_MAX: usize = 180;
const TEXT_MAX: usize = 30_000;
const LINE_MAX: usize = 2_000;
/// How much of the server's answer is shown to whoever tries it.
const ANSWER_MAX: usize = 300;

/// How the way to the server is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// TLS after a greeting in the clear; refused when the server does not offer it.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// Not at all: only for a server on this machine.
    None,
}

/// Where mail is handed in, and from whom to whom it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailSettings {
    /// The server's name, which its certificate must have.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way is kept secret.
    pub encryption: Encryption,
    /// Name and password, when the server wants them.
    pub login: Option<(String, Secret)>,
    /// The sender: `auditwatch <auditwatch@example.com>`.
    pub from: Mailbox,
    /// Whom it goes to; at least one.
    pub to: Vec<Mailbox>,
}

/// Some people's mailboxes.
#[derive(Clone)]
pub struct Email {
    settings: EmailSettings,
    server: AsyncSmtpTransport<Tokio1Executor>,
    templates: Templates,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

impl Email {
    /// # Errors
    /// When TLS cannot be set up for this host name.
    pub fn new(settings: EmailSettings, ca: Option<&Ca>) -> Result<Self, String> {
        let tls = || {
            let told = |error| format!("cannot set up TLS to `{}`: {error}", settings.host);
            let mut tls = TlsParameters::builder(settings.host.clone());
            if let Some(ca) = ca {
                tls = tls.add_root_certificate(Certificate::from_pem(ca.pem()).map_err(told)?);
            }
            tls.build().map_err(told)
        };
        let tls = match settings.encryption {
            Encryption::StartTls => Tls::Required(tls()?),
            Encryption::Tls => Tls::Wrapper(tls()?),
            Encryption::None => Tls::None,
        };
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls);
        if let Some((name, password)) = &settings.login {
            server =
                server.credentials(Credentials::new(name.clone(), password.expose().to_owned()));
        }
        Ok(Self {
            server: server.build(),
            settings,
            templates: Templates::default(),
        })
    }

    /// In these words where there are some.
    #[must_use]
    pub fn worded(mut self, templates: Templates) -> Self {
        self.templates = templates;
        self
    }

    pub(super) fn preview(&self, told: &Notification) -> Preview {
        let EmailSettings { host, port, .. } = &self.settings;
        let body = match mail(told, &self.settings, &self.templates) {
            Ok(mail) => String::from_utf8_lossy(&mail.formatted()).into_owned(),
            Err(error) => format!("the mail cannot be written: {error}"),
        };
        Preview {
            to: format!("SMTP to {host}:{port}"),
            body,
        }
    }

    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        let mail = mail(told, &self.settings, &self.templates).map_err(|error| {
            Failure::permanent(
                Reason::ClientError,
                format!("the mail cannot be written: {error}"),
                "are the addresses right?",
            )
        })?;
        let answer = self.server.send(mail).await;
        let answer = answer.map_err(|error| refused(&error))?;
        let text: String = answer.message().collect::<Vec<_>>().join(" ");
        let line = format!("{} {text}", answer.code());
        Ok(cut_middle(&visible(&line), ANSWER_MAX))
    }
}

fn refused(error: &lettre::transport::smtp::Error) -> Failure {
    // The server's own words may quote what it was sent; its code says enough.
    let code = error.status().map(|code| code.to_string());
    match code {
        Some(code) if error.is_permanent() => {
            let reason = if code == "535" {
                Reason::AuthError
            } else {
                Reason::ClientError
            };
            Failure::permanent(
                reason,
                format!("the mail server answered {code}"),
                "does it take mail from this sender to these people, and is the login right?",
            )
        }
        Some(code) => Failure::passing(
            Reason::ServerError,
            format!("the mail server answered {code}"),
            "look into the mail server's own logs",
        ),
        None if error.is_timeout() => Failure::passing(
            Reason::ContextDeadlineExceeded,
            "the mail server did not answer in time",
            "is a firewall in between?",
        ),
        None if error.is_tls() || super::http::is_tls(error) => Failure::passing(
            Reason::Connection,
            "no TLS connection to the mail server",
            "does it offer STARTTLS on this port, with a certificate that this machine trusts?",
        ),
        None => Failure::passing(
            Reason::Connection,
            "no connection to the mail server",
            "are host and port right, is it up?",
        ),
    }
}

fn mail(
    told: &Notification,
    settings: &EmailSettings,
    templates: &Templates,
) -> Result<Mail, lettre::error::Error> {
    let brief = Brief::of(told);
    let sign = mark(told.severity(), told.status());
    let texts = templates.render(told);
    let subject = match texts.title {
        Some(title) => cut_middle(&title, SUBJECT_MAX),
        None => format!(
            "{sign} {}",
            cut_middle(&brief.headline.plain(), SUBJECT_MAX)
        ),
    };
    // Ids are hex digits of ours. All mails of a group refer to the same one, which makes them a thread.
    let thread = format!("<{}@auditwatch>", told.group_key);
    let mut mail = Mail::builder()
        .from(settings.from.clone())
        .subject(subject)
        .message_id(Some(format!("<{}@auditwatch>", told.id)))
        .references(thread.clone())
        .in_reply_to(thread)
        .header(header::MIME_VERSION_1_0);
    for to in &settings.to {
        mail = mail.to(to.clone());
    }
    let ours = || format!("{}\n\n{}\n", brief.headline.plain(), brief.text(TEXT_MAX));
    let body = texts.body.map(|body| cut_lines(&body, TEXT_MAX));
    let html = match (texts.html, &body) {
        (Some(html), _) => html,
        // Who writes one text wants it read by everybody.
        (None, Some(body)) => format!(
            "<!doctype html><html><body><pre style=\"white-space:pre-wrap\">{}</pre></body></html>\n",
            escaped(body)
        ),
        (None, None) => html(&brief),
    };
    mail.multipart(MultiPart::alternative_plain_html(
        body.unwrap_or_else(ours),
        html,
    ))
}

fn html(brief: &Brief) -> String {
    let mut rows = String::new();
    for section in &brief.sections {
        let lines: Vec<String> = section.lines.iter().map(shown).collect();
        let text = lines.join("<br>");
        let text = if section.is_code {
            format!("<code>{text}</code>")
        } else {
            text
        };
        // Writing to a String succeeds.
        let _ = writeln!(
            rows,
            "<tr><td style=\"padding:4px 12px 4px 0;vertical-align:top;color:#666\">{}</td><td style=\"padding:4px 0\">{text}</td></tr>",
            section.name
        );
    }
    for (name, link) in brief.reading() {
        let link = escaped(link);
        let _ = writeln!(
            rows,
            "<tr><td style=\"color:#666\">{name}</td><td><a href=\"{link}\">{link}</a></td></tr>"
        );
    }
    format!(
        "<!doctype html><html><body style=\"font-family:sans-serif\"><h3>{}</h3><table>{rows}</table></body></html>\n",
        shown(&brief.headline)
    )
}

fn shown(phrase: &Phrase) -> String {
    escaped(&phrase.fitting(LINE_MAX))
}

pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
