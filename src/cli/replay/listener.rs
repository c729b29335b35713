//! What listens to a replay: folds detections into alerts and prints them, shows progress.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    alert::{self, Alert, Alerts, Change},
    detect::Detection,
    pipeline::replay::{Listener, Progress},
    report::{self, Style, Summary},
    rule::Severity,
    units::Time,
};

/// Listens to a replay that only fills baselines.
pub(in crate::cli) struct Learning;

impl Listener for Learning {
    fn advanced(&mut self, detections: &mut Vec<Detection>, _watermark: Time) {
        detections.clear();
    }
}

/// What was shown, for the end.
pub(super) struct Shown {
    /// Alerts at or above the least level.
    pub(super) summary: Summary,
    /// Detections by rule, all levels.
    pub(super) detections: BTreeMap<String, u64>,
}

/// Folds and prints. Text shows each alert once, when it is over or at the end; JSON each change.
pub(super) struct Showing<W> {
    out: W,
    is_json: bool,
    min_level: Severity,
    style: Style,
    alerts: Alerts,
    changes: Vec<Change>,
    shown: Shown,
    bar: Option<ProgressBar>,
    error: Option<io::Error>,
    cancel: Arc<AtomicBool>,
}

impl<W: Write> Showing<W> {
    pub(super) fn new(out: W, is_json: bool, min_level: Severity, style: Style) -> Self {
        Self {
            out,
            is_json,
            min_level,
            style,
            alerts: Alerts::new(alert::Settings::default()),
            changes: Vec::new(),
            shown: Shown {
                summary: Summary::default(),
                detections: BTreeMap::new(),
            },
            bar: None,
            error: None,
            cancel: Arc::default(),
        }
    }

    /// Ends the replay when the output is gone.
    pub(super) fn cancel_on_error(&mut self, cancel: Arc<AtomicBool>) {
        self.cancel = cancel;
    }

    /// Prints what is still open and gives the numbers.
    pub(super) fn finish(mut self) -> io::Result<Shown> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.alerts.flush(&mut self.changes);
        self.print_changes();
        if !self.is_json {
            let mut open = self.alerts.firing();
            open.retain(|alert| alert.severity() >= self.min_level);
            for alert in open {
                self.print(alert);
            }
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        self.out.flush()?;
        Ok(self.shown)
    }

    fn print_changes(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            if change.alert().severity() < self.min_level {
                continue;
            }
            self.shown.summary.add(&change);
            if self.is_json {
                self.write(|out, _| report::write_json(out, &change));
            } else if let Change::Resolved(alert) = change {
                self.print(alert);
            }
        }
    }

    /// Prints an alert for people, whole: whoever reads an archive sees it for the first time.
    fn print(&mut self, alert: Arc<Alert>) {
        self.write(|out, style| report::write_text(out, &Change::Fired(alert), style));
    }

    fn write(&mut self, write: impl FnOnce(&mut W, Style) -> io::Result<()>) {
        if self.error.is_some() {
            return;
        }
        let written = match &self.bar {
            Some(bar) => bar.suspend(|| write(&mut self.out, self.style)),
            None => write(&mut self.out, self.style),
        };
        if let Err(error) = written {
            self.error = Some(error);
            self.cancel.store(true, Ordering::Relaxed);
        }
    }
}

impl<W: Write> Listener for Showing<W> {
    fn advanced(&mut self, detections: &mut Vec<Detection>, watermark: Time) {
        for detection in detections.drain(..) {
            let detections = &mut self.shown.detections;
            match detections.get_mut(&detection.rule.name) {
                Some(count) => *count += 1,
                None => _ = detections.insert(detection.rule.name.clone(), 1),
            }
            self.alerts.fold(detection, &mut self.changes);
        }
        self.alerts.tick(watermark, &mut self.changes);
        if !self.changes.is_empty() {
            self.print_changes();
        }
    }

    fn progressed(&mut self, progress: &Progress) {
        /// Below this nobody waits long enough to look at a bar.
        const WORTH_A_BAR: u64 = 64 << 20;
        if self.bar.is_none() {
            if !io::stderr().is_terminal() || progress.bytes < WORTH_A_BAR {
                return;
            }
            self.bar = Some(bar(progress.total));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(progress.bytes);
            bar.set_message(format!("{} events", progress.received));
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => {
            "{bar:30} {percent:>3}%  {bytes}/{total_bytes}  {bytes_per_sec}  {msg}  {eta} left"
        }
        None => "{spinner} {bytes}  {bytes_per_sec}  {msg}  {elapsed}",
    };
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::no_length(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
