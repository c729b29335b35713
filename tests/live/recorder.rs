//! A receiver that keeps the alerts that it is told.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::Value;

use crate::Told;

/// A running receiver.
pub(crate) struct Recorder {
    address: SocketAddr,
    alerts: Arc<Mutex<Alerts>>,
}

#[derive(Default)]
struct Alerts {
    all: Vec<Value>,
    /// How many of them are no longer looked at.
    cleared: usize,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let alerts: Arc<Mutex<Alerts>> = Arc::default();
        let keep = async |State(alerts): State<Arc<Mutex<Alerts>>>, Json(alert): Json<Value>| {
            alerts.lock().unwrap().all.push(alert);
        };
        let routes = Router::new()
            .route("/", post(keep))
            .with_state(Arc::clone(&alerts));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, alerts }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Looks no longer at what was told so far.
    pub(crate) fn clear(&self) {
        let mut alerts = self.alerts.lock().unwrap();
        alerts.cleared = alerts.all.len();
    }

    /// Which rules fired for whom since the last [`clear`](Self::clear).
    pub(crate) fn told(&self) -> BTreeSet<Told> {
        let alerts = self.alerts.lock().unwrap();
        alerts.all[alerts.cleared..].iter().map(told).collect()
    }

    /// Which rules fired for whom since the start.
    pub(crate) fn all_told(&self) -> BTreeSet<Told> {
        self.alerts.lock().unwrap().all.iter().map(told).collect()
    }
}

/// What an alert tells, as far as it does not depend on when people were told.
pub(crate) fn told(alert: &Value) -> Told {
    let text = |pointer| {
        alert
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    (
        text("/rule/name").to_owned(),
        text("/principal/name").to_owned(),
    )
}
