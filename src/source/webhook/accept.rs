//! Accepts connections: TLS or plain, HTTP/1.1 or HTTP/2, a bounded number, none for ever.

use std::{
    convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use axum::{
    body::Body,
    http::{Request, Response},
};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use prometheus::{IntCounter, IntGauge};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::source::SourceError;

/// How many requests one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 64;

/// The greatest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
pub struct AcceptLimits {
    /// The most at a time.
    pub connections_max: usize,
    /// How long a TLS handshake or a request's head may take.
    pub head_timeout: Duration,
}

/// An open socket and what is counted about it.
pub struct Listening {
    /// The socket.
    pub listener: TcpListener,
    /// Its bounds.
    pub limits: AcceptLimits,
    /// Open connections.
    pub connections: IntGauge,
    /// Connections over the limit.
    pub refused_full: IntCounter,
    /// Connections without a TLS handshake.
    pub refused_tls: IntCounter,
}

/// Opens a socket.
///
/// # Errors
/// [`SourceError::Listen`], with what to do about a busy port, a foreign address or a low port.
pub async fn bind(listen: &str) -> Result<TcpListener, SourceError> {
    TcpListener::bind(listen).await.map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "the port is in use; stop the other process or choose another port".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address; 0.0.0.0 means every address".to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
            }
            io::ErrorKind::InvalidInput => {
                "it must be an address and a port, such as 0.0.0.0:9443".to_owned()
            }
            _ => error.to_string(),
        };
        SourceError::Listen {
            listen: listen.to_owned(),
            problem,
        }
    })
}

/// Serves connections until `stop`, then lets those that are open finish their requests.
///
/// `tls` is asked for each connection, so that a changed certificate is shown at once; `None`
/// means plain HTTP.
pub async fn accept<S, F>(
    listening: Listening,
    tls: impl Fn() -> Option<Arc<ServerConfig>>,
    service: impl Fn(SocketAddr) -> S,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future = F>
        + Send
        + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(listening.limits.connections_max));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listening.listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: give others the time to close some.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            listening.refused_full.inc();
            continue;
        };
        // Small answers must not wait for more. Failing to say so costs time, nothing else.
        let _ = stream.set_nodelay(true);
        let (service, stop, limits) = (service(peer), stop.clone(), listening.limits);
        let refused_tls = listening.refused_tls.clone();
        let open = listening.connections.clone();
        let tls = tls();
        tasks.spawn(async move {
            open.inc();
            match tls {
                None => serve(stream, service, limits, stop).await,
                Some(tls) => match handshake(stream, tls, limits).await {
                    Ok(stream) => serve(stream, service, limits, stop).await,
                    Err(error) => {
                        refused_tls.inc();
                        tracing::debug!(%peer, error, "no TLS handshake");
                    }
                },
            }
            open.dec();
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn handshake(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    limits: AcceptLimits,
) -> Result<tokio_rustls::server::TlsStream<TcpStream>, String> {
    match timeout(limits.head_timeout, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it took too long".to_owned()),
    }
}

/// Serves one connection until it ends, or `stop` comes and its requests are done.
pub async fn serve<S, F>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: S,
    limits: AcceptLimits,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future = F>
        + Send
        + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX.max(256 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .adaptive_window(true);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error, "a connection broke off");
    }
}
