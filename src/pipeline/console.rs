//! Shows alerts on stdout, on a thread of its own: a terminal that stands still holds nobody up.

use std::{
    io::{self, Write as _},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use prometheus::IntCounter;
use tokio_util::sync::CancellationToken;

use super::settings::{Console, Form};
use crate::{
    alert::Change,
    report::{write_json, write_text},
    rule::Severity,
};

/// How many changes wait for a terminal that stands still.
const WAITING_MAX: usize = 1024;

/// The way to the console.
pub(super) struct ConsoleSender {
    sender: SyncSender<Change>,
    level_min: Severity,
    dropped: IntCounter,
}

impl ConsoleSender {
    /// The way, and the work to do on a thread. `closed` is cancelled when nobody reads any more.
    pub(super) fn new(
        console: Console,
        dropped: IntCounter,
        closed: CancellationToken,
    ) -> (Self, impl FnOnce() + Send + 'static) {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let level_min = console.level_min;
        let work = move || show(console, &receiver, &closed);
        let sender = Self {
            sender,
            level_min,
            dropped,
        };
        (sender, work)
    }

    pub(super) fn tell(&self, change: &Change) {
        if change.alert().severity() < self.level_min {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.sender.try_send(change.clone()) {
            self.dropped.inc();
        }
    }
}

fn show(mut console: Console, changes: &Receiver<Change>, closed: &CancellationToken) {
    for change in changes {
        let shown = match console.form {
            Form::Text(style) => write_text(&mut console.out, &change, style),
            Form::Json => write_json(&mut console.out, &change),
        };
        if let Err(error) = shown.and_then(|()| console.out.flush()) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::warn!(%error, "cannot write alerts to stdout any more");
            }
            closed.cancel();
            return;
        }
    }
}
