//! The HTTP integrations against a scripted local server.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, Response},
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::*;
use crate::{
    alert::{Alert, Change, samples, to_json},
    rule::Severity,
    units::Secret,
};

pub(super) type Requests = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A status at which the server does not answer at all.
const HANGS: u16 = 0;

/// A server that gives the scripted answers (status, headers, body) in turn, and the last one
/// for ever; keeps what it was sent.
pub(super) struct Server {
    address: SocketAddr,
    requests: Requests,
    paths: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
pub(super) struct Answer(u16, Vec<(&'static str, String)>, &'static str);

impl Server {
    pub(super) async fn start(answers: Vec<Answer>) -> Self {
        let open = Semaphore::new(Semaphore::MAX_PERMITS);
        Self::gated(answers, Arc::new(open)).await
    }

    /// The same, but each answer waits for a permit and uses it up.
    async fn gated(answers: Vec<Answer>, gate: Arc<Semaphore>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Requests::default();
        let paths = Arc::<Mutex<Vec<String>>>::default();
        let asked = Arc::clone(&paths);
        let seen = Arc::clone(&requests);
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let app = Router::new().fallback(move |request: Request| {
            let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
            let (asked, gate) = (Arc::clone(&asked), Arc::clone(&gate));
            async move {
                let (parts, body) = request.into_parts();
                asked.lock().unwrap().push(parts.uri.to_string());
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let body = String::from_utf8(body.to_vec()).unwrap();
                seen.lock().unwrap().push((parts.headers, body));
                let next = {
                    let mut answers = answers.lock().unwrap();
                    let next = answers.pop_front().unwrap();
                    if answers.is_empty() {
                        answers.push_back(next.clone());
                    }
                    next
                };
                gate.acquire().await.unwrap().forget();
                if next.0 == HANGS {
                    std::future::pending::<()>().await;
                }
                let mut response = Response::builder().status(next.0);
                for (name, value) in next.1 {
                    response = response.header(name, value);
                }
                response.body(Body::from(next.2)).unwrap()
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            requests,
            paths,
        }
    }

    pub(super) fn url(&self) -> Secret {
        Secret::new(&format!("http://{}/T0/very-secret", self.address))
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.paths.lock().unwrap().clone()
    }

    pub(super) fn requests(&self) -> Vec<(HeaderMap, String)> {
        self.requests.lock().unwrap().clone()
    }
}

pub(super) fn answer(status: u16, body: &'static str) -> Answer {
    Answer(status, Vec::new(), body)
}

/// A client that no proxy of the machine that runs the tests can come between.
pub(super) fn test_client() -> reqwest::Client {
    http::builder().no_proxy().build().unwrap()
}

fn message() -> Notification {
    Notification::single(&"r".into(), &Change::Fired(samples::burst(3)), 2)
}

/// A notification of which everything that a caller can choose is this.
pub(super) fn hostile(value: &str) -> Notification {
    let mut alert = Alert::clone(&samples::fired(slack::tests::hostile(value, 5, false)));
    alert.cluster = value.into();
    alert.respond = (0..8).map(|n| format!("{n} {value}")).collect();
    alert.contain.clone_from(&alert.respond);
    let rule = Arc::make_mut(&mut alert.rule);
    rule.references = vec![value.to_owned(), format!("https://{value}")];
    let mut told = Notification::single(&"r".into(), &Change::Fired(Arc::new(alert)), 1);
    for _ in 0..3 {
        told.alerts.push(samples::hostile());
        told.firing.add(Severity::Low);
    }
    told.group = crate::alert::dispatch::Labels::new([("principal", value)]);
    told.principals.top = vec![(value.into(), 3); 5];
    told.principals.distinct = 9;
    told
}

async fn slack(answer: Answer) -> Result<String, Failure> {
    let server = Server::start(vec![answer]).await;
    Slack::new(&test_client(), server.url())
        .unwrap()
        .deliver(&message())
        .await
}

#[tokio::test]
async fn slack_answers() {
    assert_eq!(slack(answer(200, "ok")).await, Ok("200 ok".to_owned()));
    for (status, body, reason, permanent, what) in [
        (
            200,
            "<html>/T0/very-secret",
            Reason::ClientError,
            true,
            "it answered 200 but not `ok`",
        ),
        (
            404,
            "no_service",
            Reason::ClientError,
            true,
            "Slack has no such webhook (no_service)",
        ),
        (
            410,
            "channel_is_archived",
            Reason::ClientError,
            true,
            "it answered 410 (channel_is_archived)",
        ),
        (
            403,
            "invalid_token",
            Reason::AuthError,
            true,
            "it answered 403 (invalid_token)",
        ),
        (
            400,
            "invalid_blocks",
            Reason::ClientError,
            true,
            "it answered 400 (invalid_blocks)",
        ),
        (
            500,
            "rollup_error",
            Reason::ServerError,
            false,
            "it answered 500 (rollup_error)",
        ),
        (
            302,
            "",
            Reason::ClientError,
            true,
            "it answered 302, a redirect that is not followed",
        ),
    ] {
        let failure = slack(answer(status, body)).await.unwrap_err();
        assert_eq!(
            (failure.reason, failure.permanent),
            (reason, permanent),
            "{status}"
        );
        assert_eq!(failure.what, what);
        assert!(!failure.to_string().contains("very-secret"));
    }
}

/// Whoever tries a receiver sees what it says, but for what is a secret.
#[tokio::test]
async fn the_answer_is_told_without_its_secrets() {
    let told = message();
    let page = "<p>POST /T0/very-secret\u{1b}[2J\n key very-secret-key, very-secret</p>";
    let server = Server::start(vec![answer(422, page), answer(200, page)]).await;
    let key = Secret::new("very-secret-key");
    let pager = PagerDuty::new(&test_client(), server.url(), key).unwrap();
    let failure = pager.deliver(&told).await.unwrap_err();
    let shown = "<p>POST [secret]\\x1b[2J key [secret], [secret]</p>";
    assert_eq!(failure.answer, format!("422 {shown}"));
    assert!(
        !failure.to_string().contains("<p>"),
        "no log has it: {failure}"
    );
    assert_eq!(pager.deliver(&told).await, Ok(format!("200 {shown}")));
    let long = Server::start(vec![answer(
        500,
        Box::leak("very long ".repeat(90).into_boxed_str()),
    )])
    .await;
    let slack = Slack::new(&test_client(), long.url()).unwrap();
    let answer = slack.deliver(&told).await.unwrap_err().answer;
    assert!(
        answer.starts_with("500 very long very") && answer.contains('…'),
        "{answer}"
    );
    assert!(answer.chars().count() < 320);
}

/// A preview is the message itself, and no secret is in it.
#[tokio::test]
async fn previews_are_what_is_sent() {
    let (told, client) = (message(), test_client());
    let server = Server::start(vec![answer(200, "ok")]).await;
    let key = Secret::new("very-secret-key");
    let address = &server.address;
    let members = [Secret::new(&format!("http://{address}/very-secret"))];
    let all = [
        Integration::Slack(Slack::new(&client, server.url()).unwrap()),
        Integration::Webhook(Webhook::new(&client, server.url()).unwrap()),
        Integration::Teams(Teams::new(&client, server.url()).unwrap()),
        Integration::PagerDuty(PagerDuty::new(&client, server.url(), key.clone()).unwrap()),
        Integration::Opsgenie(
            Opsgenie::new(&client, Secret::new(&format!("http://{address}/")), key).unwrap(),
        ),
        Integration::Alertmanager(Alertmanager::new(&client, &members).unwrap()),
    ];
    for (n, integration) in all.into_iter().enumerate() {
        let preview = integration.preview(&told).remove(0);
        integration.send(&told).await.unwrap();
        let sent = server.requests()[n]
            .1
            .replace("very-secret-key", "[secret]");
        if let Integration::Alertmanager(_) = integration {
            // It expires a while after the moment of sending.
            assert_eq!(preview.body.len(), sent.len());
        } else {
            assert_eq!(preview.body, sent);
        }
        assert!(
            preview.to.starts_with(&format!("POST http://{address}")),
            "{}",
            preview.to
        );
        assert!(
            !format!("{preview:?}").contains("very-secret"),
            "{preview:?}"
        );
    }
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    let later = (chrono::Utc::now() + chrono::TimeDelta::seconds(90)).to_rfc2822();
    let later = later.replace("+0000", "GMT");
    for (value, range) in [("7".to_owned(), 7..=7), (later, 30..=90)] {
        let busy = Answer(429, vec![("retry-after", value)], "");
        let failure = slack(busy).await.unwrap_err();
        assert_eq!(
            (failure.reason, failure.permanent),
            (Reason::RateLimited, false)
        );
        assert!(
            range.contains(&failure.retry_after.unwrap().as_secs()),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn webhook_sends_the_contract_with_a_stable_id() {
    let server = Server::start(vec![answer(204, "")]).await;
    let webhook = Webhook::new(&test_client(), server.url()).unwrap();
    let message = message();
    webhook.deliver(&message).await.unwrap();
    webhook.deliver(&message).await.unwrap();
    let requests = server.requests();
    let (headers, body) = &requests[0];
    assert_eq!(*body, to_json(&message.alerts[0], 2));
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["webhook-id"], *message.id);
    assert_eq!(requests[0], requests[1], "a repeat can be told");
}

#[tokio::test]
async fn redirects_stay_at_their_place() {
    let other = Server::start(vec![answer(200, "ok")]).await;
    let there = format!("http://{}/", other.address);
    let server = Server::start(vec![
        Answer(307, vec![("location", "/elsewhere".to_owned())], ""),
        answer(200, "ok"),
        Answer(307, vec![("location", there)], ""),
    ])
    .await;
    let webhook = Webhook::new(&test_client(), server.url()).unwrap();
    webhook.deliver(&message()).await.unwrap();
    assert_eq!(
        server.requests()[1].1,
        to_json(&message().alerts[0], 2),
        "the body came along"
    );
    let failure = webhook.deliver(&message()).await.unwrap_err();
    assert_eq!(
        failure.what,
        "it answered 307, a redirect that is not followed"
    );
    assert_eq!(other.requests(), [], "and went nowhere else");
}

#[tokio::test]
async fn says_why_a_receiver_is_not_reached() {
    // A port that nobody listens on, one that closes, and one that does not speak TLS.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closes = closing.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            drop(closing.accept().await);
        }
    });
    let plain = Server::start(vec![answer(200, "ok")]).await.address;
    for (url, what) in [
        (
            format!("http://{nobody}/very-secret"),
            "no connection: Connection refused",
        ),
        (
            format!("http://{closes}/very-secret"),
            "the connection broke: ",
        ),
        (
            format!("https://{plain}/very-secret"),
            "no TLS connection: ",
        ),
    ] {
        let webhook = Webhook::new(&test_client(), Secret::new(&url)).unwrap();
        let failure = webhook.deliver(&message()).await.unwrap_err();
        assert_eq!(
            (failure.reason, failure.permanent),
            (Reason::Connection, false)
        );
        assert!(failure.what.starts_with(what), "{failure}");
        assert!(!failure.to_string().contains("very-secret"), "{failure}");
    }
}

#[test]
fn a_wrong_url_is_refused_without_being_shown() {
    for url in [
        "hooks.example/very-secret",
        "ftp://hooks.example/very-secret",
        "",
        "https://",
    ] {
        let error = Slack::new(&test_client(), Secret::new(url))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("the URL is not usable: "), "{error}");
        assert!(!error.contains("very-secret"), "{error}");
    }
    assert!(client().is_ok());
}

#[tokio::test]
async fn all_receivers_are_told() {
    let busy = Answer(429, vec![("retry-after", "0".to_owned())], "");
    let script = vec![answer(HANGS, ""), busy, answer(503, ""), answer(200, "ok")];
    let server = Server::start(script).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let registry = prometheus::Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let receiver = |name: &str, integration| Receiver {
        name: name.into(),
        integration,
    };
    let notifier = Notifier::start(
        vec![
            receiver(
                "soc",
                Integration::Slack(Slack::new(&test_client(), server.url()).unwrap()),
            ),
            receiver("log", Integration::AlertLog(AlertLog::new(&path))),
        ],
        Settings {
            timeout: Span::from_micros(500_000),
            backoff_first: Span::from_micros(1),
            ..Settings::default()
        },
        &metrics,
        None,
    );
    for change in samples::burst_changes() {
        for receiver in ["soc", "log", "of no such name"] {
            notifier.tell(Notification::single(&receiver.into(), &change, 0));
        }
    }
    assert_eq!(notifier.shutdown(Duration::from_secs(30)).await, []);
    assert_eq!(
        server.requests().len(),
        6,
        "three messages, the first of them four times"
    );
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    for reason in ["contextDeadlineExceeded", "rateLimited", "serverError"] {
        let labels = format!(r#"integration="slack",reason="{reason}",receiver="soc""#);
        let line = format!("auditwatch_notifications_failed_total{{{labels}}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
    let log = std::fs::read_to_string(path).unwrap();
    let expected: Vec<_> = samples::burst_changes()
        .iter()
        .map(|change| to_json(change.alert(), 0))
        .collect();
    assert_eq!(log.lines().collect::<Vec<_>>(), expected);
}

/// More messages than the queue holds wait in the outbox; all come, in order, and none stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_into_the_queue_waits_in_the_outbox() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let (store, ..) = store::Store::open(store::Settings::new(dir.path().join("state"))).unwrap();
    let health = Arc::<crate::telemetry::Health>::default();
    let own = store::Metrics::new(&crate::telemetry::Metrics::new().unwrap()).unwrap();
    let (keeper, keeping) =
        store.keeper(Vec::new(), ["log".into()].into(), own, health.part("state"));
    let receiver = Receiver {
        name: "log".into(),
        integration: Integration::AlertLog(AlertLog::new(&path)),
    };
    let settings = Settings {
        queue_max: 2,
        ..Settings::default()
    };
    let notifier = Notifier::start(vec![receiver], settings, &metrics, Some(&keeper));
    keeping.start(notifier.deliver()).unwrap();
    let mut alerts = Vec::new();
    for n in 0..40 {
        let mut alert = Alert::clone(&samples::burst(1));
        alert.id = format!("{n}").into();
        alerts.push(Arc::new(alert));
    }
    for some in alerts.chunks(10) {
        let changes = some.iter().map(|alert| Change::Fired(Arc::clone(alert)));
        let told = changes.map(|change| Notification::single(&"log".into(), &change, 0));
        let notes = told.filter_map(|told| notifier.note(&told, Time::from_micros(1)));
        keeper.commit(store::Checkpoint {
            notes: notes.collect(),
            ..store::Checkpoint::default()
        });
        assert!(keeper.wait(Duration::from_secs(30)));
    }
    let expected: Vec<String> = alerts.iter().map(|alert| to_json(alert, 0)).collect();
    let log = || std::fs::read_to_string(&path).unwrap_or_default();
    let came = async {
        while log().lines().count() < expected.len() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(30), came).await;
    assert!(came.is_ok(), "{} came", log().lines().count());
    assert_eq!(log().lines().collect::<Vec<_>>(), expected);
    assert_eq!(notifier.shutdown(Duration::from_secs(30)).await, []);
    assert!(keeper.stop(Duration::from_secs(30)));
    let outbox = store::Outbox::open(&dir.path().join("state")).unwrap();
    assert_eq!(outbox.list(false, 100).unwrap(), []);
}

/// A receiver that takes nothing for long, and one that is slow to answer: both have everything
/// afterwards, in order, and neither waits for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_fail_or_are_slow_have_everything_afterwards() {
    const FAILURES: usize = 60;
    let mut script = vec![answer(500, ""); FAILURES];
    script.push(answer(200, ""));
    let failing = Server::start(script).await;
    let gate = Arc::new(Semaphore::new(0));
    let slow = Server::gated(vec![answer(200, "")], Arc::clone(&gate)).await;

    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let (store, ..) = store::Store::open(store::Settings::new(dir.path().join("state"))).unwrap();
    let health = Arc::<crate::telemetry::Health>::default();
    let own = store::Metrics::new(&crate::telemetry::Metrics::new().unwrap()).unwrap();
    let names: [Arc<str>; 2] = ["failing".into(), "slow".into()];
    let (keeper, keeping) = store.keeper(
        Vec::new(),
        names.iter().cloned().collect(),
        own,
        health.part("state"),
    );
    let receiver = |name: &Arc<str>, server: &Server| Receiver {
        name: Arc::clone(name),
        integration: Integration::Webhook(Webhook::new(&test_client(), server.url()).unwrap()),
    };
    let receivers = vec![receiver(&names[0], &failing), receiver(&names[1], &slow)];
    let settings = Settings {
        queue_max: 4,
        timeout: Span::from_secs(60),
        backoff_first: Span::from_micros(100),
        backoff_max: Span::from_micros(1_000),
        ..Settings::default()
    };
    let notifier = Notifier::start(receivers, settings, &metrics, Some(&keeper));
    keeping.start(notifier.deliver()).unwrap();
    let mut notes = Vec::new();
    let mut expected = Vec::new();
    for n in 0..40 {
        let mut alert = Alert::clone(&samples::burst(1));
        alert.id = format!("{n}").into();
        expected.push(to_json(&alert, 0));
        let change = Change::Fired(Arc::new(alert));
        let told = names.iter();
        let told = told.map(|name| Notification::single(name, &change, 0));
        notes.extend(told.filter_map(|told| {
            notifier.note(
                &told,
                Time::from_micros(chrono::Utc::now().timestamp_micros()),
            )
        }));
    }
    keeper.commit(store::Checkpoint {
        notes,
        ..store::Checkpoint::default()
    });
    let has = async |server: &Server, count: usize| {
        let came = async {
            while server.requests().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(60), came).await;
        assert!(came.is_ok(), "{} came", server.requests().len());
        let bodies = server.requests().into_iter().map(|(_, body)| body);
        bodies.collect::<Vec<_>>()
    };
    let came = has(&failing, FAILURES + expected.len()).await;
    let (refused, taken) = came.split_at(FAILURES);
    assert!(refused.iter().all(|body| *body == expected[0]));
    assert_eq!(taken, expected);
    assert_eq!(has(&slow, 1).await.len(), 1, "it has not answered yet");
    gate.add_permits(expected.len());
    assert_eq!(has(&slow, expected.len()).await, expected);
    assert_eq!(notifier.shutdown(Duration::from_secs(60)).await, []);
    assert!(keeper.stop(Duration::from_secs(60)));
    let outbox = store::Outbox::open(&dir.path().join("state")).unwrap();
    assert_eq!(outbox.list(false, 100).unwrap(), []);
}
