//! Syslog for SIEMs (RFC 5424): CEF, OCSF or our own JSON, over UDP, TCP or TLS.

use std::{sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Ca, Failure, Preview, Reason, siem::Format};
use crate::{
    alert::{Alert, Status, dispatch::Notification},
    rule::Severity,
};

/// The facility `log audit`.
const FACILITY: u8 = 13;
/// The longest datagram that arrives in one piece on most ways.
const DATAGRAM_MAX: usize = 8_192;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a syslog server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams; nobody says whether they arrived, and long ones are cut.
    Udp,
    /// A stream, each message with its length in front.
    Tcp,
    /// The same within TLS.
    Tls,
}

/// A syslog server.
#[derive(Clone)]
pub struct Syslog {
    host: String,
    port: u16,
    transport: Transport,
    format: Format,
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Syslog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} to {}:{}", self.transport, self.host, self.port)
    }
}

impl Syslog {
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        host: &str,
        port: u16,
        transport: Transport,
        format: Format,
        ca: Option<&Ca>,
    ) -> Result<Self, String> {
        let tls = match transport {
            Transport::Tls => Some(super::http::tls(ca)?),
            Transport::Udp | Transport::Tcp => None,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            transport,
            format,
            tls: tls.map(TlsConnector::from),
        })
    }

    pub(super) fn preview(&self, told: &Notification) -> Preview {
        let transport = match self.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        };
        let lines = self
            .lines(told)
            .into_iter()
            .map(|line| match self.transport {
                Transport::Udp => within(&line, DATAGRAM_MAX).to_owned(),
                Transport::Tcp | Transport::Tls => framed(&line),
            });
        Preview {
            to: format!("{transport} to {}:{}", self.host, self.port),
            body: lines.collect::<Vec<_>>().join("\n"),
        }
    }

    fn lines(&self, told: &Notification) -> Vec<String> {
        let alerts = told.alerts.iter();
        alerts.map(|alert| line(alert, self.format)).collect()
    }

    /// One connection for one notification: alerts are rare, and a connection that died unnoticed
    /// would swallow one.
    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        let lines = self.lines(told);
        let sent = match self.transport {
            Transport::Udp => self.datagrams(&lines).await,
            Transport::Tcp | Transport::Tls => self.stream(&lines).await,
        };
        // Syslog servers answer nothing.
        sent.map(|()| String::new()).map_err(|error| {
            Failure::passing(
                Reason::Connection,
                format!("cannot send to the syslog server: {error}"),
                "are host, port and transport right, is it up?",
            )
        })
    }

    async fn datagrams(&self, lines: &[String]) -> std::io::Result<()> {
        let socket = UdpSocket::bind(("::", 0)).await;
        let socket = match socket {
            Ok(socket) => socket,
            Err(_) => UdpSocket::bind(("0.0.0.0", 0)).await?,
        };
        let mut found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        let is_v6 = socket.local_addr()?.is_ipv6();
        let address = found
            .next()
            .ok_or_else(|| std::io::Error::other("the host has no address"))?;
        let socket = if is_v6 && address.is_ipv4() {
            UdpSocket::bind(("0.0.0.0", 0)).await?
        } else {
            socket
        };
        for line in lines {
            let line = within(line, DATAGRAM_MAX);
            socket.send_to(line.as_bytes(), address).await?;
        }
        Ok(())
    }

    async fn stream(&self, lines: &[String]) -> std::io::Result<()> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let mut stream = timeout(CONNECT_TIMEOUT, connect).await??;
        let framed: String = lines.iter().map(|line| framed(line)).collect();
        match &self.tls {
            None => {
                stream.write_all(framed.as_bytes()).await?;
                stream.shutdown().await
            }
            Some(tls) => {
                let name =
                    ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
                let mut stream = timeout(CONNECT_TIMEOUT, tls.connect(name, stream)).await??;
                stream.write_all(framed.as_bytes()).await?;
                stream.shutdown().await
            }
        }
    }
}

/// As much of a line as fits into so many bytes.
fn within(line: &str, bytes_max: usize) -> &str {
    let mut end = line.len().min(bytes_max);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// With its length in front, as streams of RFC 6587 have it.
fn framed(line: &str) -> String {
    format!("{} {line}", line.len())
}

/// `<…>1 2026-…Z - auditwatch - firing - CEF:0|…`: nothing in its header is a caller's choice.
fn line(alert: &Arc<Alert>, format: Format) -> String {
    let severity = match (alert.status, alert.severity()) {
        (Status::Resolved, _) | (_, Severity::Informational) => 6,
        (_, Severity::Low) => 5,
        (_, Severity::Medium) => 4,
        (_, Severity::High) => 3,
        (_, Severity::Critical) => 2,
    };
    let priority = FACILITY * 8 + severity;
    let status = alert.status.name();
    format!(
        "<{priority}>1 {} - auditwatch - {status} - {}",
        alert.updated_at,
        format.line(alert)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;
    use crate::{
        alert::{Change, samples},
        notify::tests::hostile,
    };

    #[tokio::test]
    async fn a_stream_counts_its_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = tokio::spawn(async move {
            let mut text = String::new();
            listener
                .accept()
                .await
                .unwrap()
                .0
                .read_to_string(&mut text)
                .await
                .unwrap();
            text
        });
        let syslog = Syslog::new("127.0.0.1", port, Transport::Tcp, Format::Cef, None).unwrap();
        let told = Notification::single(&"r".into(), &Change::Fired(samples::burst(3)), 0);
        syslog.deliver(&told).await.unwrap();
        let text = heard.await.unwrap();
        let (length, line) = text.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), line.len());
        assert!(
            line.starts_with("<107>1 2026-11-23T11:05:02.000250Z - auditwatch - firing - CEF:0|"),
            "{line}"
        );
    }

    #[tokio::test]
    async fn a_datagram_each() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let syslog = Syslog::new("127.0.0.1", port, Transport::Udp, Format::Json, None).unwrap();
        syslog.deliver(&hostile("x")).await.unwrap();
        let mut buffer = vec![0; 20_000];
        for _ in 0..4 {
            let length = server.recv(&mut buffer).await.unwrap();
            assert!(buffer[..length].starts_with(b"<10"));
        }
    }

    #[tokio::test]
    async fn says_what_to_look_at() {
        let nobody = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let syslog = Syslog::new("127.0.0.1", nobody, Transport::Tls, Format::Ocsf, None).unwrap();
        let failure = syslog.deliver(&hostile("x")).await.unwrap_err();
        assert!(
            failure.to_string().contains("Connection refused") && !failure.permanent,
            "{failure}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever a caller chose, a message stays one line.
        #[test]
        fn one_alert_is_one_line(value in prop_oneof![any::<String>(), "[\r\n|=\\\\\u{1b}\u{85}\u{2028} ]{0,300}"]) {
            for format in [Format::Cef, Format::Ocsf, Format::Json] {
                for alert in &hostile(&value).alerts {
                    let line = line(alert, format);
                    prop_assert!(!line.chars().any(crate::alert::is_hidden), "{}", line.escape_debug());
                }
            }
        }
    }
}
