//! Hands on what the journal has made durable, in its order: what the last run left, then what
//! comes in.

use std::{sync::Arc, time::Duration};

use prometheus::IntGauge;
use tokio::{runtime::Handle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::receive::now;
use crate::{
    decode::Block,
    source::{Closed, Feed, SourceMetrics},
    store::{
        Bookmark,
        journal::{Reader, Stretch},
    },
    telemetry::Part,
};

/// How long a stop waits for what is durable to be handed on. What is left is read at the next
/// start.
const LEAVE_AFTER: Duration = Duration::from_secs(5);

/// How long after a failed read the next one is tried.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Carries from the journal to the pipeline.
pub(super) struct Forwarder {
    reader: Reader,
    feed: Feed,
    /// The cluster of what is damaged.
    cluster: Arc<str>,
    part: Part,
    stop: CancellationToken,
    lag_bytes: IntGauge,
    lag_seconds: IntGauge,
    has_failed: bool,
}

impl Forwarder {
    pub(super) fn new(
        reader: Reader,
        feed: Feed,
        (name, cluster): (&str, &Arc<str>),
        metrics: &SourceMetrics,
        part: Part,
        stop: CancellationToken,
    ) -> Self {
        part.ready();
        Self {
            reader,
            feed,
            cluster: Arc::clone(cluster),
            part,
            stop,
            lag_bytes: metrics.lag_bytes.with_label_values(&[name]),
            lag_seconds: metrics.lag_seconds.with_label_values(&[name]),
            has_failed: false,
        }
    }

    /// Works until the journal has ended and everything in it was handed on, or the pipeline is
    /// gone, or a stop has waited long enough. Blocks its thread.
    pub(super) fn run(mut self, runtime: &Handle) {
        runtime.block_on(async {
            let stop = self.stop.clone();
            let leave = async {
                stop.cancelled().await;
                sleep(LEAVE_AFTER).await;
            };
            tokio::select! {
                () = self.carry() => {}
                () = leave => {
                    let bytes = self.reader.unread();
                    tracing::info!(source = %self.feed.name(), bytes, "left in the journal for the next start");
                }
            }
        });
    }

    async fn carry(&mut self) {
        loop {
            match self.reader.next_stretch() {
                Ok(Some(stretch)) => {
                    self.recover();
                    if self.hand_on(stretch).await.is_err() {
                        return;
                    }
                }
                Ok(None) => {
                    self.lag_bytes.set(0);
                    self.lag_seconds.set(0);
                    if !self.reader.grown().await && self.reader.unread() == 0 {
                        return;
                    }
                }
                Err(error) => {
                    self.has_failed = true;
                    tracing::error!(source = %self.feed.name(), %error, "cannot read the journal, trying on");
                    self.part
                        .not_ready(&format!("cannot read the journal: {error}"));
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    fn recover(&mut self) {
        if std::mem::take(&mut self.has_failed) {
            tracing::info!(source = %self.feed.name(), "the journal can be read again");
            self.part.ready();
        }
    }

    async fn hand_on(&mut self, stretch: Stretch) -> Result<(), Closed> {
        let unread = self.reader.unread() + stretch.bytes.len() as u64;
        let waits = stretch
            .received
            .map_or(0, |at| now().since(at).micros() / 1_000_000);
        self.lag_bytes.set(unread as i64);
        self.lag_seconds.set(waits);
        let cluster = if stretch.is_damaged {
            &self.cluster
        } else {
            &stretch.cluster
        };
        let bookmark = Bookmark {
            source: Arc::clone(self.feed.name()),
            part: Box::default(),
            value: Some(stretch.end.to_json()),
        };
        let block = Block::of_lines(stretch.bytes, stretch.start.offset);
        self.feed.send(cluster, block, Some(bookmark)).await
    }
}

impl Drop for Forwarder {
    /// Whatever ends it, a panic too: people are told.
    fn drop(&mut self) {
        self.part.not_ready("has stopped");
    }
}
