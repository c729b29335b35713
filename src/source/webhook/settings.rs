//! What can be set about the audit webhook.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{store::journal::JournalSettings, units::ByteSize};

/// The section `sources.webhook`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Name in metrics and logs; the address as given unless set.
    pub name: String,
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: String,
    /// The cluster whose API server sends here; may be empty.
    pub cluster: Arc<str>,
    /// The last segment of the path names the cluster, for several API servers at one address.
    pub cluster_from_path: bool,
    /// Certificate and key; `None` means plain HTTP.
    pub tls: Option<TlsSettings>,
    /// A file with the bearer tokens that are accepted, one a line; `None` asks for none.
    pub token_file: Option<PathBuf>,
    /// The longest body, after decompression.
    pub body_max: ByteSize,
    /// The most memory for bodies that are still arriving; when it is full the answer is 503. At
    /// least [`WebhookSettings::BODY_MEMORY`] is needed for each body.
    pub memory_max: ByteSize,
    /// The most connections at a time.
    pub connections_max: usize,
    /// How long a full pipeline is waited for before the answer is 503.
    pub patience: Duration,
    /// How long a client may take to send a request's head, or to finish the TLS handshake.
    pub head_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// How bodies are kept where there is a state folder.
    pub journal: JournalSettings,
}

/// Files in PEM format. They are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate, followed by its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Clients must show a certificate signed by one of these.
    pub client_ca: Option<PathBuf>,
}

impl WebhookSettings {
    /// What an arriving body takes at least; more where one event is longer.
    pub const BODY_MEMORY: ByteSize = ByteSize(256 << 10);

    /// The defaults for an address: an API server's batch without truncation can be 41 MB and
    /// more, and its request times out after 30 s.
    pub fn new(listen: &str) -> Self {
        Self {
            name: listen.to_owned(),
            listen: listen.to_owned(),
            cluster: Arc::from(""),
            cluster_from_path: false,
            tls: None,
            token_file: None,
            body_max: ByteSize(64 << 20),
            memory_max: ByteSize(128 << 20),
            connections_max: 1024,
            patience: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            journal: JournalSettings::default(),
        }
    }
}
