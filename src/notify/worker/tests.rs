//! Delivery against scripted receivers, in paused time: a wait takes none, and is measured.

use std::collections::VecDeque;

use prometheus::{Registry, TextEncoder};

use super::*;
use crate::{
    alert::{Alert, Change, samples},
    notify::{Notifier, Told, spawn},
    rule::Severity,
    units::Span,
};

/// What a scripted receiver does next; it takes everything when the script is at its end.
#[derive(Clone, Debug)]
enum Does {
    Takes,
    Fails(Failure),
    Hangs,
    /// Takes it after so long.
    TakesAfter(Duration),
}

#[derive(Clone, Debug, Default)]
struct Scripted {
    script: Arc<Mutex<VecDeque<Does>>>,
    /// Seconds from the start, alert, dropped: one for each attempt.
    attempts: Arc<Mutex<Vec<(u64, String, u64)>>>,
    /// Hangs when the script is at its end.
    dead: bool,
    /// Answers 500 for so many seconds from the start.
    broken: u64,
    start: Option<Instant>,
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = Does>) -> Self {
        let script = Arc::new(Mutex::new(script.into_iter().collect()));
        Self {
            script,
            start: Some(Instant::now()),
            ..Self::default()
        }
    }

    fn seen(&self) -> String {
        let line = |(_, id, dropped): &(u64, String, u64)| format!("{id}/{dropped}");
        self.attempts
            .lock()
            .unwrap()
            .iter()
            .map(line)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn seconds(&self) -> Vec<u64> {
        self.attempts
            .lock()
            .unwrap()
            .iter()
            .map(|(seconds, ..)| *seconds)
            .collect()
    }
}

impl Deliver for Scripted {
    async fn deliver(&self, told: &Notification) -> Result<(), Failure> {
        let seconds = self.start.unwrap().elapsed().as_secs();
        let attempt = (seconds, told.alerts[0].id.to_string(), told.missed);
        self.attempts.lock().unwrap().push(attempt);
        if seconds < self.broken {
            let failure = Failure::passing(Reason::ServerError, "500", "look");
            return Err(failure);
        }
        let next = self.script.lock().unwrap().pop_front();
        match next.unwrap_or(if self.dead { Does::Hangs } else { Does::Takes }) {
            Does::Takes => Ok(()),
            Does::Fails(failure) => Err(failure),
            Does::Hangs => std::future::pending().await,
            Does::TakesAfter(long) => {
                sleep(long).await;
                Ok(())
            }
        }
    }
}

fn fails(reason: Reason) -> Does {
    Does::Fails(Failure::passing(reason, "it failed", "look"))
}

fn fired(receiver: &Arc<str>, id: &str, severity: Severity) -> Notification {
    let alert = Alert::clone(&samples::burst(1));
    let alert = Arc::new(Alert {
        id: id.into(),
        rule: samples::rule(severity),
        ..alert
    });
    Notification::single(receiver, &Change::Fired(alert), 0)
}

/// Receivers that run, their metrics, and their orderly end.
struct Running {
    notifier: Notifier,
    metrics: Metrics,
    registry: Registry,
}

impl Running {
    fn new(receivers: &[(&str, &Scripted)], settings: Settings) -> Self {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let told = |(name, receiver): &(&str, &Scripted)| {
            let receiver = (*receiver).clone();
            let (lane, task) = spawn(
                (*name).into(),
                "scripted",
                receiver,
                settings,
                &metrics,
                None,
            );
            (Arc::clone(&lane.name), Told { lane, task })
        };
        let notifier = Notifier {
            lanes: receivers.iter().map(told).collect(),
        };
        Self {
            notifier,
            metrics,
            registry,
        }
    }

    fn tell(&self, ids: &[&str]) {
        for id in ids {
            self.tell_one(id, Severity::High);
        }
    }

    /// Tells every receiver.
    fn tell_one(&self, id: &str, severity: Severity) {
        for receiver in self.notifier.lanes.keys() {
            self.notifier.tell(fired(receiver, id, severity));
        }
    }

    /// The metrics' lines that are not zero, with this word in them.
    fn metrics(registry: &Registry, word: &str) -> Vec<String> {
        let text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
        lines
            .filter(|line| line.contains(word))
            .map(str::to_owned)
            .collect()
    }
}

const PATIENCE: Duration = Duration::from_secs(100_000);

#[tokio::test(start_paused = true)]
async fn tries_again_and_keeps_the_order() {
    let script = [fails(Reason::ServerError), Does::Hangs, Does::Takes];
    let receiver = Scripted::new(script);
    let running = Running::new(&[("r", &receiver)], Settings::default());
    running.tell(&["a", "b"]);
    assert_eq!(running.notifier.shutdown(PATIENCE).await, []);
    assert_eq!(receiver.seen(), "a/0 a/0 a/0 b/0");
    assert!(
        receiver.seconds()[2] >= 10,
        "the one that hung was given its time"
    );
    let labels = r#"{integration="scripted",reason="#;
    let expected = ["contextDeadlineExceeded", "serverError"].map(|reason| {
        format!("auditwatch_notifications_failed_total{labels}\"{reason}\",receiver=\"r\"}} 1")
    });
    assert_eq!(Running::metrics(&running.registry, "failed"), expected);
    let total = r#"auditwatch_notifications_total{integration="scripted",receiver="r"} 4"#;
    assert_eq!(
        Running::metrics(&running.registry, "notifications_total"),
        [total]
    );
    drop(running.metrics);
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_it_is_asked_to() {
    let busy = Failure::passing(Reason::RateLimited, "busy", "wait");
    let busy = Failure {
        retry_after: Some(Duration::from_secs(30)),
        ..busy
    };
    let receiver = Scripted::new([Does::Takes, Does::Fails(busy)]);
    let running = Running::new(&[("r", &receiver)], Settings::default());
    running.tell(&["a", "b"]);
    sleep(Duration::from_secs(100)).await;
    assert_eq!(receiver.seen(), "a/0 b/0 b/0");
    assert_eq!(receiver.seconds(), [0, 0, 30]);
}

/// Whoever is away for a minute, or slow, is told of everything once, in order, and delays nobody.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_for_a_minute_or_is_slow_gets_everything() {
    let slowly = Does::TakesAfter(Duration::from_secs(9));
    let (mut broken, slow) = (Scripted::new([]), Scripted::new(vec![slowly; 40]));
    let live = Scripted::new([]);
    broken.broken = 60;
    let receivers = [("broken", &broken), ("live", &live), ("slow", &slow)];
    let running = Running::new(&receivers, Settings::default());
    let ids: Vec<_> = (0..40).map(|id| id.to_string()).collect();
    let all: Vec<_> = ids.iter().map(|id| format!("{id}/0")).collect();
    let all = all.join(" ");
    running.tell(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(live.seen(), all);
    assert_eq!(running.notifier.shutdown(PATIENCE).await, []);
    assert_eq!(slow.seen(), all);
    assert!(slow.seconds().last().is_some_and(|last| *last == 39 * 9));
    let seen = broken.seen();
    let (tries, taken) = seen.split_at(seen.len() - all.len());
    assert_eq!(taken, all);
    assert!(!tries.is_empty() && tries.split_whitespace().all(|tried| tried == "0/0"));
    assert_eq!(Running::metrics(&running.registry, "dropped"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn says_how_many_were_missed() {
    let gone = Failure::permanent(Reason::ClientError, "no", "look");
    let receiver = Scripted::new([Does::Fails(gone.clone()), Does::Fails(gone)]);
    let running = Running::new(&[("r", &receiver)], Settings::default());
    running.tell(&["a", "b", "c", "d"]);
    running.notifier.shutdown(PATIENCE).await;
    assert_eq!(receiver.seen(), "a/0 b/1 c/2 d/0");
    let rejected = Running::metrics(&running.registry, "rejected");
    assert!(rejected[0].ends_with(" 2"), "{rejected:?}");
}

#[tokio::test(start_paused = true)]
async fn gives_up_what_is_too_old() {
    let receiver = Scripted::new(vec![fails(Reason::Connection); 1_000]);
    let settings = Settings {
        age_max: Span::from_secs(600),
        ..Settings::default()
    };
    let running = Running::new(&[("r", &receiver)], settings);
    running.tell(&["a", "b"]);
    sleep(Duration::from_secs(700)).await;
    let seconds = receiver.seconds();
    assert!((10..200).contains(&seconds.len()) && seconds.last().is_some_and(|s| *s <= 600));
    let expired = Running::metrics(&running.registry, "expired");
    assert!(expired[0].ends_with(" 2"), "{expired:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_receiver_delays_nobody_and_what_is_severe_stays() {
    let (live, mut dead) = (Scripted::new([]), Scripted::new([]));
    dead.dead = true;
    let settings = Settings {
        queue_max: 3,
        ..Settings::default()
    };
    let running = Running::new(&[("dead", &dead), ("live", &live)], settings);
    let levels = [
        Severity::Low,
        Severity::Critical,
        Severity::Low,
        Severity::High,
    ];
    for (n, severity) in levels.into_iter().cycle().take(12).enumerate() {
        running.tell_one(&n.to_string(), severity);
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(live.seen().split(' ').count(), 12);
    assert_eq!(dead.seen(), "0/0");
    let waiting = Running::metrics(&running.registry, "waiting");
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert!(
        waiting[0].contains("dead") && waiting[0].ends_with(" 4"),
        "{waiting:?}"
    );
    assert_eq!(Running::metrics(&running.registry, "oldest_age").len(), 1);
    let dropped = Running::metrics(&running.registry, "queueFull");
    assert!(dropped[0].ends_with(" 8"), "{dropped:?}");

    let left = running.notifier.shutdown(Duration::from_secs(5)).await;
    assert_eq!(left.len(), 1);
    assert_eq!((&*left[0].receiver, left[0].messages), ("dead", 4));
    let lost = Running::metrics(&running.registry, "shutdown");
    assert!(lost[0].ends_with(" 4"), "{lost:?}");
}

#[tokio::test(start_paused = true)]
async fn stopping_tries_once_more_at_once() {
    let busy = Failure::passing(Reason::RateLimited, "busy", "wait");
    let busy = Failure {
        retry_after: Some(Duration::from_secs(3000)),
        ..busy
    };
    let receiver = Scripted::new([Does::Fails(busy)]);
    let running = Running::new(&[("r", &receiver)], Settings::default());
    running.tell(&["a", "b"]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.notifier.shutdown(Duration::from_secs(5)).await, []);
    assert_eq!(
        (receiver.seen().as_str(), receiver.seconds()),
        ("a/0 a/0 b/0", vec![0, 1, 1])
    );
}

#[test]
fn jitter_stays_below_the_longest() {
    let longest = Duration::from_secs(8);
    let drawn: Vec<_> = (0..200).map(|_| jitter(longest)).collect();
    assert!(drawn.iter().all(|pause| *pause <= longest));
    assert!(drawn.iter().any(|pause| *pause > longest / 2));
    assert!(drawn.iter().any(|pause| *pause < longest / 2));
}
