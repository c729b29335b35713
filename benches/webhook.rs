//! How many events a second the webhook makes safe before it answers 200: 16 connections, batches
//! of 400 events, each made durable; beside it, in the same run, what the disk gives to the same
//! appends and the same group commit with nothing around them.
//!
//! `AUDITWATCH_BENCH_SECONDS` is how long each step takes (5), `TMPDIR` where the disk is. The
//! steps alternate, because a disk's pace changes; the medians count.

#![expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]

use std::{
    env,
    fmt::Write as _,
    fs::File,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use auditwatch::{
    alert::{
        self,
        dispatch::{Bounds, Plan, Route},
    },
    config::shipped_layer,
    detect, notify,
    pipeline::{App, RuleFiles, Settings},
    rule::RuleSet,
    source::{
        Intake, SourceMetrics,
        webhook::{Journals, Webhook, WebhookSettings},
    },
    store::{self, journal::JournalMetrics},
    telemetry::{Health, Metrics},
    units::ByteSize,
};
use tokio_util::sync::CancellationToken;

const CONNECTIONS: u64 = 16;
const EVENTS: usize = 400;
const ROUNDS: usize = 3;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let seconds = env::var("AUDITWATCH_BENCH_SECONDS").ok();
    let seconds = seconds.map_or(Ok(5), |seconds| seconds.parse())?;
    let lasts = Duration::from_secs(seconds);
    let (mut floor, mut intake, mut daemon) = (Vec::new(), Vec::new(), Vec::new());
    let bytes = Body::new(0).bytes.len();
    println!("{CONNECTIONS} connections, batches of {EVENTS} events, {bytes} bytes each");
    for _ in 0..ROUNDS {
        floor.push(the_disk_alone(lasts)?);
        intake.push(the_webhook_alone(lasts)?);
        daemon.push(the_whole_daemon(lasts)?);
    }
    let floor = tell("disk alone", &mut floor, None);
    tell("webhook and journal", &mut intake, Some(floor));
    tell("whole daemon", &mut daemon, Some(floor));
    Ok(())
}

/// Prints the median and returns it.
fn tell(step: &str, rates: &mut [f64], floor: Option<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    let (least, median, most) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
    let ratio = floor.map_or_else(String::new, |floor| {
        format!(", {:.2} of the disk", median / floor)
    });
    println!("{step:20} {median:>9.0} events/s ({least:.0} to {most:.0}){ratio}");
    median
}

/// One batch as an API server sends it; its audit ids change from one sending to the next.
struct Body {
    bytes: Vec<u8>,
    /// Where the changing digits of the audit ids are.
    ids: Vec<usize>,
    next: u64,
}

impl Body {
    fn new(connection: u64) -> Self {
        let mut text = String::from(
            r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#,
        );
        let mut ids = Vec::new();
        for n in 0..EVENTS {
            if n > 0 {
                text.push(',');
            }
            let start = text.len();
            // Writing to a String cannot fail.
            let _ = write!(text, "{}", event(connection, n));
            ids.push(start + r#"{"level":"Metadata","auditID":""#.len());
        }
        text.push_str("]}\n");
        Self {
            bytes: text.into_bytes(),
            ids,
            next: connection << 40,
        }
    }

    /// Makes it another batch.
    fn renew(&mut self) {
        for at in &self.ids {
            self.next += 1;
            let digits = format!("{:016x}", self.next);
            self.bytes[*at..at + 16].copy_from_slice(digits.as_bytes());
        }
    }
}

/// One event, as long as those of a busy cluster at level Metadata are.
fn event(connection: u64, n: usize) -> String {
    let (user, namespace) = (n % 37, n % 11);
    let (verb, resource) = [
        ("get", "configmaps"),
        ("list", "pods"),
        ("watch", "nodes"),
        ("update", "leases"),
    ][n % 4];
    format!(
        r#"{{"level":"Metadata","auditID":"0000000000000000-0000-0000-{connection:08x}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/team-{namespace}/{resource}?allowWatchBookmarks=true&resourceVersion=484592276&timeout=8m21s&timeoutSeconds=378&watch=true","verb":"{verb}","user":{{"username":"system:serviceaccount:monitoring:worker-{user}","uid":"de45a85e-2634-43db-83b6-552a4fd92a47","groups":["system:serviceaccounts","system:serviceaccounts:monitoring","system:authenticated"],"extra":{{"authentication.kubernetes.io/credential-id":["JTI=02505a75-8734-4f1e-b017-a8f384975553"],"authentication.kubernetes.io/node-name":["ip-10-21-210-77.eu-west-1.compute.internal"],"authentication.kubernetes.io/node-uid":["35dd26ff-053e-49c1-8438-8da57f91445d"],"authentication.kubernetes.io/pod-name":["worker-h8qdg7jxp-jrsmz"],"authentication.kubernetes.io/pod-uid":["f952fc87-0311-42eb-85a3-c336816f9f51"]}}}},"sourceIPs":["10.21.210.{user}"],"userAgent":"worker/v2.16.0 (linux/amd64) worker/unknown","objectRef":{{"resource":"{resource}","namespace":"team-{namespace}","name":"thing-{n}","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"code":200}},"requestReceivedTimestamp":"2026-11-23T07:00:00.{n:06}Z","stageTimestamp":"2026-11-23T07:00:01.{n:06}Z","annotations":{{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ClusterRoleBinding \"worker\" of ClusterRole \"worker\" to ServiceAccount \"worker/monitoring\""}}}}"#
    )
}

/// Events a second when nothing but the appends and their group commit is done.
fn the_disk_alone(lasts: Duration) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let (sender, inbox) = sync_channel::<Append>(CONNECTIONS as usize);
    let file = File::create(folder.path().join("floor"))?;
    let writer = thread::spawn(move || append(file, &inbox));
    let start = Instant::now();
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let sender = sender.clone();
            thread::spawn(move || send_to(&sender, connection, start + lasts))
        })
        .collect();
    drop(sender);
    let mut events = 0;
    for sender in senders {
        events += sender.join().map_err(|_| "a sender broke down")?;
    }
    let rate = events as f64 / start.elapsed().as_secs_f64();
    writer.join().map_err(|_| "the writer broke down")??;
    Ok(rate)
}

/// A body, and where to say that it is durable.
type Append = (Arc<Vec<u8>>, SyncSender<()>);

fn append(mut file: File, inbox: &Receiver<Append>) -> io::Result<()> {
    while let Ok(first) = inbox.recv() {
        let group: Vec<Append> = std::iter::once(first).chain(inbox.try_iter()).collect();
        for (body, _) in &group {
            file.write_all(body)?;
        }
        file.sync_data()?;
        for (_, done) in group {
            // Whoever waits, waits to the end.
            let _ = done.send(());
        }
    }
    Ok(())
}

fn send_to(sender: &SyncSender<Append>, connection: u64, end: Instant) -> usize {
    let body = Arc::new(Body::new(connection).bytes);
    let (done, is_done) = sync_channel(1);
    let mut events = 0;
    while Instant::now() < end
        && sender.send((Arc::clone(&body), done.clone())).is_ok()
        && is_done.recv().is_ok()
    {
        events += EVENTS;
    }
    events
}

/// Events a second that are answered 200 with nobody behind the journal's reader.
fn the_webhook_alone(lasts: Duration) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let (intake, mut batches) = Intake::new(Settings::QUEUE.0 as usize);
        let metrics = Metrics::new()?;
        let health = Arc::new(Health::default());
        let stop = CancellationToken::new();
        let mut journals = Journals::new(
            folder.path(),
            Arc::default(),
            JournalMetrics::new(&metrics)?,
        );
        let (settings, feed) = (settings(), intake.feed("webhook"));
        let journal = journals.open(&settings, feed.name(), &health)?;
        let part = health.part("webhook");
        let source_metrics = SourceMetrics::new(&metrics)?;
        let webhook = Webhook::bind(
            settings,
            feed,
            &source_metrics,
            part,
            stop.clone(),
            Some(journal),
        )
        .await?;
        let address = webhook.address();
        let running = tokio::spawn(webhook.run());
        let reading = tokio::spawn(async move { while batches.recv().await.is_some() {} });
        drop(intake);
        let (answered, took) = post_all(address, lasts).await?;
        stop.cancel();
        running.await?;
        reading.await?;
        Ok(answered as f64 / took.as_secs_f64())
    })
}

/// Events a second that are answered 200 while the same machine evaluates them.
fn the_whole_daemon(lasts: Duration) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let app = App::start(daemon(folder.path())).await?;
        let start = Instant::now();
        let (answered, took) = post_all(app.webhooks()[0], lasts).await?;
        let rate = answered as f64 / took.as_secs_f64();
        // As many as were answered come out at the other end, and none is lost.
        while received(app.metrics())? < answered {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let evaluated = answered as f64 / start.elapsed().as_secs_f64();
        println!("  whole daemon: {rate:.0} events/s answered, {evaluated:.0} events/s evaluated");
        app.stop(Duration::from_secs(60)).await;
        Ok(rate)
    })
}

/// How many events the engine has taken.
fn received(metrics: &Metrics) -> Result<u64, Failure> {
    let text = metrics.render()?;
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.strip_prefix("auditwatch_events_received_total "));
    Ok(count.ok_or("no count of events")?.parse()?)
}

fn settings() -> WebhookSettings {
    let mut settings = WebhookSettings::new("127.0.0.1:0");
    // Nothing is committed here.
    settings.journal.backlog_max = ByteSize(1 << 40);
    settings
}

fn daemon(state: &Path) -> Settings {
    Settings {
        files: Vec::new(),
        webhooks: vec![settings()],
        trusted_proxies: Vec::new(),
        rules: RuleFiles {
            read: Box::new(|| RuleSet::load(&[shipped_layer()]).map_err(|error| error.to_string())),
            paths: Vec::new(),
        },
        engine: detect::Settings::default(),
        alerts: alert::Settings::default(),
        receivers: Vec::new(),
        plan: Plan {
            root: Route::default(),
            inhibit_rules: Vec::new(),
            receivers: Vec::new(),
            bounds: Bounds::default(),
        },
        delivery: notify::Settings::default(),
        console: None,
        threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        queue_max: Settings::QUEUE,
        state: Some(store::Settings::new(state)),
    }
}

/// Posts from all connections; how many events were answered 200, and in which time.
async fn post_all(address: SocketAddr, lasts: Duration) -> Result<(u64, Duration), Failure> {
    let posting = tokio::task::spawn_blocking(move || -> Result<(u64, Duration), Failure> {
        let (start, events) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let events = Arc::clone(&events);
                thread::spawn(move || post(address, connection, start + lasts, &events))
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| "a client broke down")??;
        }
        Ok((events.load(Ordering::Relaxed), start.elapsed()))
    });
    posting.await?
}

/// One connection of an API server.
fn post(address: SocketAddr, connection: u64, end: Instant, events: &AtomicU64) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut body = Body::new(connection);
    let head = format!(
        "POST /audit?timeout=30s HTTP/1.1\r\nHost: auditwatch\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.bytes.len()
    );
    let mut answer = [0; 1024];
    while Instant::now() < end {
        body.renew();
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body.bytes)?;
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\n{}") {
            match stream.read(&mut answer[length..])? {
                0 => {
                    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
                    return Err(io::Error::other(text));
                }
                count => length += count,
            }
        }
        events.fetch_add(EVENTS as u64, Ordering::Relaxed);
    }
    Ok(())
}
