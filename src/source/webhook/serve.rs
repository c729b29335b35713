//! The webhook as a whole: its socket, its credentials, its end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use tokio::{runtime::Handle, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{
    accept::{AcceptLimits, Listening, accept, bind},
    credentials::Credentials,
    forward::Forwarder,
    receive::{Receiver, Target, answer},
    settings::WebhookSettings,
};
use crate::{
    source::{Feed, SourceError, SourceMetrics},
    store::journal::{Ends, Writer},
    telemetry::Part,
};

/// How often the files of certificates and tokens are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// An audit webhook whose socket is open.
pub struct Webhook {
    listening: Listening,
    address: SocketAddr,
    receiver: Arc<Receiver>,
    journal: Option<(Writer, Forwarder)>,
    part: Part,
    stop: CancellationToken,
}

/// The journal of a webhook.
pub struct Journaled {
    /// Its ends.
    pub ends: Ends,
    /// Tells when it cannot be read.
    pub part: Part,
}

impl Webhook {
    /// Reads certificates and tokens, and opens the socket. With a journal a body is answered 200
    /// once it is safe there, without one once the pipeline has it in memory.
    ///
    /// # Errors
    /// [`SourceError`], with what to do.
    pub async fn bind(
        settings: WebhookSettings,
        feed: Feed,
        metrics: &SourceMetrics,
        part: Part,
        stop: CancellationToken,
        journal: Option<Journaled>,
    ) -> Result<Self, SourceError> {
        let credentials = Credentials::load(&settings)?;
        let listener = bind(&settings.listen).await?;
        let name = settings.name.as_str();
        let address = listener.local_addr().map_err(|error| SourceError::Listen {
            listen: settings.listen.clone(),
            problem: error.to_string(),
        })?;
        // Nothing waits here unread: what the API server has not sent is not ours to know.
        metrics.lag_seconds.with_label_values(&[name]).set(0);
        let listening = Listening {
            listener,
            limits: AcceptLimits {
                connections_max: settings.connections_max,
                head_timeout: settings.head_timeout,
            },
            connections: metrics.connections.with_label_values(&[name]),
            refused_full: metrics
                .connections_refused
                .with_label_values(&[name, "full"]),
            refused_tls: metrics
                .connections_refused
                .with_label_values(&[name, "tls"]),
        };
        let (target, journal) = match journal {
            None => (Target::Pipeline(feed), None),
            Some(Journaled { ends, part }) => {
                let names = (name, &settings.cluster);
                let stop = stop.clone();
                let forwarder = Forwarder::new(ends.reader, feed, names, metrics, part, stop);
                (
                    Target::Journal(ends.journal),
                    Some((ends.writer, forwarder)),
                )
            }
        };
        let receiver = Receiver::new(settings, credentials, target, metrics);
        Ok(Self {
            listening,
            address,
            receiver: Arc::new(receiver),
            journal,
            part,
            stop,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes requests until it is stopped; those that have begun are answered.
    pub async fn run(self) {
        let Self {
            listening,
            address,
            receiver,
            journal,
            part,
            stop,
        } = self;
        let source = receiver.settings.name.as_str();
        let scheme = if receiver.settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        tracing::info!(source, %address, scheme, "taking audit events");
        if receiver.settings.tls.is_none() && receiver.settings.token_file.is_some() {
            tracing::warn!(
                source,
                "the API server sends no token over plain HTTP; every request will be refused"
            );
        }
        let runtime = Handle::current();
        let threads = journal.map(|(writer, forwarder)| {
            let writing = spawn_blocking(|| writer.run());
            (writing, spawn_blocking(move || forwarder.run(&runtime)))
        });
        part.ready();
        take_requests(listening, receiver, stop).await;
        if let Some((writing, forwarding)) = threads {
            // The writer ends when no request holds its end of the journal any more, the
            // forwarder with it. A panic in one of them was told already.
            let _ = tokio::join!(writing, forwarding);
        }
        part.not_ready("has stopped");
    }
}

/// Takes requests until the stop; returns when the last one is answered.
async fn take_requests(listening: Listening, receiver: Arc<Receiver>, stop: CancellationToken) {
    let watching = watch_credentials(Arc::clone(&receiver));
    let tls = || receiver.credentials.in_force().tls.clone();
    let service = |peer: SocketAddr| {
        let receiver = Arc::clone(&receiver);
        service_fn(move |request| answer(Arc::clone(&receiver), peer, request))
    };
    tokio::select! {
        () = accept(listening, tls, service, stop) => {}
        () = watching => {}
    }
}

/// Takes changed certificates and tokens up; wrong ones are refused and the old stay.
async fn watch_credentials(receiver: Arc<Receiver>) {
    let source = receiver.settings.name.as_str();
    let mut before = receiver.credentials.looks();
    loop {
        tokio::time::sleep(RELOAD_EVERY).await;
        let looks = receiver.credentials.looks();
        if looks == before {
            continue;
        }
        before = looks;
        match receiver.credentials.reload() {
            Ok(()) => tracing::info!(source, "certificate and token files were read again"),
            Err(error) => {
                tracing::error!(source, %error, "changed credentials are wrong, the old ones stay");
            }
        }
    }
}
