//! A daemon that ends and one that goes on from its state.

use super::*;
use crate::store::{Fault, Faults, Outbox};

fn with_state(place: &Place) -> Settings {
    let mut settings = place.settings();
    settings.state = Some(store::Settings::new(place.folder.path().join("state")));
    settings
}

fn evaluated(app: &App) -> u64 {
    received(app);
    metric(app, "auditwatch_events_evaluated_total").round() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_alerts_and_places_survive_a_restart() {
    let place = Place::new();
    let mut collector = Collector::start().await;
    place.append(&(line(1, "get", "secrets") + &line(2, "delete", "pods")));
    place.append(&line(3, "delete", "pods"));
    let mut settings = with_state(&place);
    collector.join(&mut settings);
    let app = App::start(settings).await.unwrap();
    assert_eq!(collector.next().await["rule"]["name"], "secret-read");
    until(&app, |app| evaluated(app) == 3).await;
    stop(app).await;

    place.append(&line(4, "delete", "pods"));
    let mut settings = with_state(&place);
    collector.join(&mut settings);
    let app = App::start(settings).await.unwrap();
    let live = app.live().list(Severity::Informational, 9);
    let is_open = live.iter().any(|alert| &*alert.rule.name == "secret-read");
    assert!(is_open, "the alert is open still");
    let told = collector.next().await;
    let ids: Vec<&str> = told["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|evidence| evidence["audit_id"].as_str().unwrap())
        .collect();
    assert_eq!(
        (told["rule"]["name"].as_str(), ids),
        (Some("deletion-burst"), vec!["2", "3", "4"])
    );
    assert_eq!(evaluated(&app), 1, "nothing is read twice");
    stop(app).await;
    assert!(collector.told.try_recv().is_err(), "nothing is told twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_stops_the_intake_and_nothing_is_lost() {
    let place = Place::new();
    let mut collector = Collector::start().await;
    let faults = Faults::default();
    let mut settings = with_state(&place);
    settings.state.as_mut().unwrap().faults = faults.clone();
    collector.join(&mut settings);
    place.append(&line(1, "get", "pods"));
    let app = App::start(settings).await.unwrap();
    until(&app, |app| evaluated(app) == 1).await;
    faults.set(Some(Fault::Full));
    place.append(&line(2, "get", "secrets"));
    until(&app, |app| {
        app.health().readiness().1.contains("make room on its disk")
    })
    .await;
    place.append(&line(3, "get", "pods"));
    until(&app, |app| metric(app, "auditwatch_queue_bytes") > 0.5).await;
    assert!(evaluated(&app) < 3, "what comes meanwhile waits");
    faults.set(None);
    until(&app, |app| {
        evaluated(app) == 3 && app.health().readiness().0
    })
    .await;
    assert_eq!(collector.next().await["status"], "firing");
    stop(app).await;
    assert!(collector.told.try_recv().is_err(), "nothing is told twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_was_away_is_told_after_the_restart() {
    let place = Place::new();
    place.append(&line(1, "get", "secrets"));
    let mut collector = Collector::start().await;
    let away = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let mut settings = with_state(&place);
    let url = std::mem::replace(&mut collector.url, away);
    collector.join(&mut settings);
    let app = App::start(settings).await.unwrap();
    until(&app, |app| evaluated(app) == 1).await;
    let stopped = app.stop(Duration::from_millis(300)).await;
    let left: Vec<_> = stopped
        .undelivered
        .iter()
        .map(|left| (left.messages, left.is_kept))
        .collect();
    assert_eq!((stopped.drained, left), (true, vec![(1, true)]));
    let state = place.folder.path().join("state");
    assert_eq!(
        Outbox::open(&state).unwrap().list(false, 9).unwrap().len(),
        1
    );

    collector.url = url;
    let mut settings = with_state(&place);
    collector.join(&mut settings);
    let app = App::start(settings).await.unwrap();
    assert_eq!(collector.next().await["rule"]["name"], "secret-read");
    stop(app).await;
    assert_eq!(Outbox::open(&state).unwrap().list(false, 9).unwrap(), []);
}

/// A message that the receiver refuses for good can be sent again when somebody has seen to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_sent_again_when_asked() {
    let place = Place::new();
    place.append(&line(1, "get", "secrets"));
    let mut collector = Collector::start().await;
    let right = collector.url.clone();
    collector.url = format!("{right}nobody-here");
    let mut settings = with_state(&place);
    collector.join(&mut settings);
    let app = App::start(settings).await.unwrap();
    let mut outbox = loop {
        // The file is there once the app is; the letter is dead a moment later.
        let outbox = Outbox::open(&place.folder.path().join("state")).unwrap();
        if !outbox.list(true, 9).unwrap().is_empty() {
            break outbox;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    stop(app).await;
    assert_eq!(outbox.retry(&store::Which::AllDead), Ok(1));
    collector.url = right;
    let mut settings = with_state(&place);
    collector.join(&mut settings);
    let app = App::start(settings).await.unwrap();
    assert_eq!(collector.next().await["rule"]["name"], "secret-read");
    stop(app).await;
}
