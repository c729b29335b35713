//! The webhook over real sockets: plain, TLS, client certificates, tokens, gzip, hostile bodies.

use std::{io::Write as _, path::Path, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, Identity, RequestBuilder, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    decode::{Decoded, each_event},
    event::Slot,
    source::{Batch, Intake, SourceError, SourceMetrics},
    store::{Bookmark, Commits, journal::JournalMetrics},
    telemetry::{Health, Metrics},
};

struct Rig {
    url: String,
    batches: mpsc::Receiver<Batch>,
    metrics: Metrics,
    health: Arc<Health>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Rig {
    async fn start(change: impl FnOnce(&mut WebhookSettings)) -> Self {
        Self::try_start(8 << 20, change).await.unwrap()
    }

    async fn try_start(
        room: usize,
        change: impl FnOnce(&mut WebhookSettings),
    ) -> Result<Self, SourceError> {
        Self::start_with(room, None, change).await
    }

    /// Begins with a journal in a folder.
    async fn journaled(folder: &Path, change: impl FnOnce(&mut WebhookSettings)) -> Self {
        Self::with_room(folder, 8 << 20, change).await
    }

    async fn with_room(
        folder: &Path,
        room: usize,
        change: impl FnOnce(&mut WebhookSettings),
    ) -> Self {
        Self::start_with(room, Some((folder, Arc::default())), change)
            .await
            .unwrap()
    }

    async fn start_with(
        room: usize,
        state: Option<(&Path, Arc<Commits>)>,
        change: impl FnOnce(&mut WebhookSettings),
    ) -> Result<Self, SourceError> {
        let mut settings = WebhookSettings::new("127.0.0.1:0");
        change(&mut settings);
        let scheme = if settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let (intake, batches) = Intake::new(room);
        let metrics = Metrics::new().unwrap();
        let source_metrics = SourceMetrics::new(&metrics).unwrap();
        let health = Arc::new(Health::default());
        let part = health.part("webhook");
        let stop = CancellationToken::new();
        let feed = intake.feed("webhook:test");
        let journal = state.map(|(folder, commits)| {
            let metrics = JournalMetrics::new(&metrics).unwrap();
            let mut journals = Journals::new(folder, commits, metrics);
            journals.open(&settings, feed.name(), &health).unwrap()
        });
        let webhook =
            Webhook::bind(settings, feed, &source_metrics, part, stop.clone(), journal).await?;
        let url = format!("{scheme}://localhost:{}/audit", webhook.address().port());
        let task = tokio::spawn(webhook.run());
        Ok(Self {
            url,
            batches,
            metrics,
            health,
            stop,
            task,
        })
    }

    /// Ends in good order.
    async fn end(self) -> mpsc::Receiver<Batch> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.batches
    }

    /// The next batch's audit ids, and its bookmark.
    async fn next(&mut self) -> (Vec<String>, Option<Bookmark>) {
        let batch = self.batches.recv().await.unwrap();
        (ids(&batch).0, batch.position)
    }

    async fn post(&self, body: impl Into<reqwest::Body>) -> StatusCode {
        status(Client::new().post(&self.url).body(body)).await
    }

    /// The audit ids and rejects that came out, once the sender has its answer.
    fn taken(&mut self) -> (Vec<String>, usize) {
        let (mut all, mut rejects) = (Vec::new(), 0);
        while let Ok(batch) = self.batches.try_recv() {
            let (ids, rejected) = ids(&batch);
            all.extend(ids);
            rejects += rejected;
        }
        (all, rejects)
    }

    fn counted(&self, code: &str) -> bool {
        let text = self.metrics.render().unwrap();
        text.contains(&format!(
            "webhook_requests_total{{code=\"{code}\",source=\"127.0.0.1:0\"}} 1\n"
        ))
    }
}

/// The audit ids in a batch, and how many rejects there are.
fn ids(batch: &Batch) -> (Vec<String>, usize) {
    let (mut ids, mut rejects) = (Vec::new(), 0);
    each_event(&batch.block, &mut |decoded| match decoded {
        Decoded::Event(slots, _) => {
            ids.push(slots.raw(Slot::AuditId).trim_matches('"').to_owned());
        }
        Decoded::Reject(_) => rejects += 1,
    });
    (ids, rejects)
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

fn event(id: &str) -> String {
    format!(
        r#"{{"level":"Metadata","auditID":"{id}","stage":"ResponseComplete","requestURI":"/","verb":"get","stageTimestamp":"2026-11-23T11:05:17.835410Z"}}"#
    )
}

fn list(items: &[String]) -> String {
    format!(
        r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{}]}}"#,
        items.join(",")
    ) + "\n"
}

#[tokio::test]
async fn takes_a_list_and_answers_as_the_api_server_expects() {
    let mut rig = Rig::start(|_| {}).await;
    let request = Client::new().post(format!("{}?timeout=30s", rig.url));
    let response = request
        .body(list(&[event("a"), event("b")]))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.unwrap(), "{}");
    assert_eq!(rig.taken(), (vec!["a".to_owned(), "b".to_owned()], 0));
    assert!(rig.counted("200"));
}

#[tokio::test]
async fn a_bad_item_or_body_fails_no_batch() {
    let mut rig = Rig::start(|_| {}).await;
    let items = [
        event("a"),
        r#"{"kind":"Pod"}"#.to_owned(),
        "7".to_owned(),
        event("b"),
    ];
    assert_eq!(rig.post(list(&items)).await, StatusCode::OK);
    assert_eq!(rig.taken(), (vec!["a".to_owned(), "b".to_owned()], 2));
    assert_eq!(rig.post("this is no JSON").await, StatusCode::OK);
    assert_eq!(rig.taken(), (vec![], 1));
    assert_eq!(
        rig.post(r#"{"kind":"EventList","items":null}"#).await,
        StatusCode::OK
    );
    assert_eq!(rig.taken(), (vec![], 0));
}

#[tokio::test]
async fn takes_gzip_bodies_and_refuses_damaged_ones() {
    let mut rig = Rig::start(|_| {}).await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(list(&[event("a")]).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let post = || {
        Client::new()
            .post(&rig.url)
            .header("Content-Encoding", "gzip")
    };
    assert_eq!(status(post().body(packed.clone())).await, StatusCode::OK);
    let damaged = packed[..packed.len() - 6].to_vec();
    assert_eq!(status(post().body(damaged)).await, StatusCode::BAD_REQUEST);
    let brotli = Client::new()
        .post(&rig.url)
        .header("Content-Encoding", "br")
        .body("x");
    assert_eq!(status(brotli).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (ids, rejects) = rig.taken();
    assert_eq!((ids[0].as_str(), rejects), ("a", 1));
}

#[tokio::test]
async fn great_bodies_pass_up_to_the_limit_and_bombs_do_not() {
    let mut rig = Rig::start(|settings| settings.body_max = crate::units::ByteSize(4 << 20)).await;
    let items: Vec<String> = (0..25_000).map(|n| event(&format!("{n:05}"))).collect();
    let body = list(&items[..25_000]);
    assert!(body.len() > 3 << 20);
    assert_eq!(rig.post(body).await, StatusCode::OK);
    assert_eq!(rig.taken().0.len(), 25_000);
    assert_eq!(
        rig.post("x".repeat((4 << 20) + 1)).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    bomb.write_all(" ".repeat(5 << 20).as_bytes()).unwrap();
    let request = Client::new()
        .post(&rig.url)
        .header("Content-Encoding", "gzip");
    let bomb = bomb.finish().unwrap();
    assert_eq!(
        status(request.body(bomb)).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn a_full_pipeline_asks_for_patience_and_recovers() {
    let room = 1024;
    let mut rig = Rig::try_start(room, |settings| {
        settings.patience = Duration::from_millis(50);
    })
    .await
    .unwrap();
    assert_eq!(rig.post(list(&[event("a")])).await, StatusCode::OK);
    let response = Client::new()
        .post(&rig.url)
        .body(list(&[event("b")]))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "3");
    assert_eq!(rig.taken().0, ["a"]);
    assert_eq!(rig.post(list(&[event("b")])).await, StatusCode::OK);
    assert_eq!(rig.taken().0, ["b"]);
    rig.batches.close();
    assert_eq!(
        rig.post(list(&[event("c")])).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let mut rig = Rig::start(|settings| {
        settings.memory_max = WebhookSettings::BODY_MEMORY;
        settings.patience = Duration::from_millis(50);
    })
    .await;
    let items: Vec<String> = (0..5_000).map(|n| event(&format!("{n:05}"))).collect();
    assert_eq!(
        rig.post(list(&items)).await,
        StatusCode::OK,
        "short events pass"
    );
    assert_eq!(rig.taken().0.len(), 5_000);
    let long = event(&"x".repeat(1 << 20));
    assert_eq!(
        rig.post(list(&[long])).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let address = rig.url.replace("http://", "").replace("/audit", "");
    let mut slow = TcpStream::connect(&address).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nContent-Length: 9\r\nHost: x\r\n\r\n{";
    slow.write_all(head).await.unwrap();
    while !rig
        .metrics
        .render()
        .unwrap()
        .contains("connections{source=\"127.0.0.1:0\"} 1\n")
    {
        tokio::task::yield_now().await;
    }
    // Who holds the memory keeps others waiting, not for ever.
    while rig.post(list(&[])).await == StatusCode::OK {}
    drop(slow);
    while rig.post(list(&[])).await != StatusCode::OK {}
}

#[tokio::test]
async fn says_what_it_is() {
    let rig = Rig::start(|_| {}).await;
    let response = Client::new().get(&rig.url).send().await.unwrap();
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("POST audit events here")
    );
    let response = Client::new().delete(&rig.url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "POST");
}

#[tokio::test]
async fn the_path_can_name_the_cluster() {
    let mut rig = Rig::start(|settings| settings.cluster_from_path = true).await;
    let post = |path: &str| {
        Client::new()
            .post(rig.url.replace("/audit", path))
            .body(list(&[event("a")]))
    };
    assert_eq!(status(post("/audit/eu-1")).await, StatusCode::OK);
    assert_eq!(status(post("/")).await, StatusCode::NOT_FOUND);
    assert_eq!(status(post("/audit/%0a")).await, StatusCode::NOT_FOUND);
    assert_eq!(&*rig.batches.recv().await.unwrap().cluster, "eu-1");
}

#[tokio::test]
async fn tokens_are_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    std::fs::write(&path, "old-token\nnew-token\n").unwrap();
    let rig = Rig::start(|settings| settings.token_file = Some(path)).await;
    let post = || Client::new().post(&rig.url).body(list(&[]));
    assert_eq!(status(post()).await, StatusCode::UNAUTHORIZED);
    for (token, expected) in [
        ("old-token", StatusCode::OK),
        ("new-token", StatusCode::OK),
        ("new-toke", StatusCode::UNAUTHORIZED),
        ("new-token2", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(status(post().bearer_auth(token)).await, expected, "{token}");
    }
}

/// A certificate authority with a server's and a client's certificate, in files.
struct Authority {
    directory: tempfile::TempDir,
    root: String,
    client: String,
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            (
                params.signed_by(&key, &authority).unwrap().pem(),
                key.serialize_pem(),
            )
        };
        let (server, server_key) = issue("localhost");
        let (client, client_key) = issue("kube-apiserver");
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("server.crt", &server);
        write("server.key", &server_key);
        write("other.key", &KeyPair::generate().unwrap().serialize_pem());
        write("ca.crt", &authority.pem());
        write("garbage", "not PEM\n");
        write("empty", "\n");
        Self {
            root: authority.pem(),
            client: client + &client_key,
            directory,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn tls(&self) -> TlsSettings {
        TlsSettings {
            certificate: self.path("server.crt"),
            key: self.path("server.key"),
            client_ca: None,
        }
    }

    fn client(&self, shows_certificate: bool) -> Client {
        let root = Certificate::from_pem(self.root.as_bytes()).unwrap();
        let builder = Client::builder().tls_certs_only([root]);
        let builder = if shows_certificate {
            builder.identity(Identity::from_pem(self.client.as_bytes()).unwrap())
        } else {
            builder
        };
        builder.build().unwrap()
    }
}

#[tokio::test]
async fn serves_tls_with_http_2() {
    let authority = Authority::new();
    let mut rig = Rig::start(|settings| settings.tls = Some(authority.tls())).await;
    let request = authority
        .client(false)
        .post(&rig.url)
        .body(list(&[event("a")]));
    let response = request.send().await.unwrap();
    assert_eq!(
        (response.status(), response.version()),
        (StatusCode::OK, reqwest::Version::HTTP_2)
    );
    assert_eq!(rig.taken().0, ["a"]);
}

#[tokio::test]
async fn asks_for_a_client_certificate() {
    let authority = Authority::new();
    let tls = TlsSettings {
        client_ca: Some(authority.path("ca.crt")),
        ..authority.tls()
    };
    let rig = Rig::start(|settings| settings.tls = Some(tls)).await;
    let request = authority.client(true).post(&rig.url).body(list(&[]));
    assert_eq!(status(request).await, StatusCode::OK);
    assert!(
        authority
            .client(false)
            .post(&rig.url)
            .body(list(&[]))
            .send()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn names_the_file_that_is_wrong() {
    let authority = Authority::new();
    let cases: [(&str, &str, Option<&str>, &str); 6] = [
        (
            "missing",
            "server.key",
            None,
            "the certificate `.*missing`: the file does not exist",
        ),
        (
            "garbage",
            "server.key",
            None,
            "the certificate `.*garbage`: there is no",
        ),
        (
            "server.crt",
            "garbage",
            None,
            "the private key `.*garbage`: there is no unencrypted",
        ),
        (
            "server.crt",
            "other.key",
            None,
            "the private key `.*other.key`: it does not belong",
        ),
        (
            "server.crt",
            "server.key",
            Some("garbage"),
            "the client CA `.*garbage`: there is no",
        ),
        (
            "server.key",
            "server.key",
            None,
            "the certificate `.*server.key`: there is no",
        ),
    ];
    for (certificate, key, client_ca, says) in cases {
        let tls = TlsSettings {
            certificate: authority.path(certificate),
            key: authority.path(key),
            client_ca: client_ca.map(|name| authority.path(name)),
        };
        let error = Rig::try_start(1024, |settings| settings.tls = Some(tls))
            .await
            .err()
            .unwrap();
        let says = regex::Regex::new(says).unwrap();
        assert!(says.is_match(&error.to_string()), "{error}");
    }
    let token_file = Some(authority.path("empty"));
    let error = Rig::try_start(1024, |settings| settings.token_file = token_file)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("it holds no token"), "{error}");
}

#[tokio::test]
async fn changed_credentials_are_taken_up_and_wrong_ones_refused() {
    let authority = Authority::new();
    let mut settings = WebhookSettings::new("127.0.0.1:0");
    settings.tls = Some(authority.tls());
    settings.token_file = Some(authority.path("tokens"));
    let write = |text: &str| std::fs::write(authority.path("tokens"), text).unwrap();
    let accepts = |credentials: &credentials::Credentials, token: &str| {
        credentials
            .in_force()
            .tokens
            .as_ref()
            .unwrap()
            .accepts(token.as_bytes())
    };
    write("first");
    let credentials = credentials::Credentials::load(&settings).unwrap();
    let looks = credentials.looks();
    write("second-token");
    assert_ne!(credentials.looks(), looks);
    credentials.reload().unwrap();
    assert!(accepts(&credentials, "second-token") && !accepts(&credentials, "first"));
    std::fs::remove_file(authority.path("tokens")).unwrap();
    assert!(credentials.reload().is_err());
    assert!(accepts(&credentials, "second-token"));
}

#[tokio::test]
async fn slow_and_surplus_clients_are_shown_the_door() {
    let rig = Rig::start(|settings| {
        settings.connections_max = 1;
        settings.head_timeout = Duration::from_millis(100);
        settings.body_timeout = Duration::from_millis(100);
    })
    .await;
    let address = rig.url.replace("http://", "").replace("/audit", "");
    let mut slow = TcpStream::connect(&address).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nContent-Length: 9\r\nHost: x\r\n\r\n{")
        .await
        .unwrap();
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    slow.read_to_end(&mut answer).await.unwrap();
    // The place is free again once the server has seen the end of the connection.
    let mut silent = loop {
        let mut silent = TcpStream::connect(&address).await.unwrap();
        silent.write_all(b"POST").await.unwrap();
        let mut byte = [0];
        if tokio::time::timeout(Duration::from_millis(20), silent.read(&mut byte))
            .await
            .is_err()
        {
            break silent;
        }
    };
    let mut surplus = TcpStream::connect(&address).await.unwrap();
    assert_eq!(
        surplus.read(&mut [0]).await.unwrap_or(0),
        0,
        "closed at once"
    );
    let _ = silent.read_to_end(&mut answer).await;
    let text = rig.metrics.render().unwrap();
    assert!(
        text.contains("refused_total{reason=\"full\",source=\"127.0.0.1:0\"}"),
        "{text}"
    );
}

#[tokio::test]
async fn a_stop_lets_begun_requests_end() {
    let mut rig = Rig::start(|_| {}).await;
    let address = rig.url.replace("http://", "").replace("/audit", "");
    let body = list(&[event("a")]);
    let mut client = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    while !rig
        .metrics
        .render()
        .unwrap()
        .contains("connections{source=\"127.0.0.1:0\"} 1\n")
    {
        tokio::task::yield_now().await;
    }
    rig.stop.cancel();
    client.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(rig.taken().0, ["a"]);
    rig.task.await.unwrap();
}

#[tokio::test]
async fn says_what_is_wrong_with_an_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (listen, says) in [
        (
            taken.local_addr().unwrap().to_string(),
            "the port is in use",
        ),
        ("nonsense".to_owned(), "must be an address and a port"),
        ("192.0.2.1:9443".to_owned(), "does not have that address"),
    ] {
        let error = bind(&listen).await.err().unwrap().to_string();
        assert!(error.contains(says) && error.contains(&listen), "{error}");
    }
}

mod journaled;
