//! `auditwatch notify preview`: the messages that a receiver would get, sent to nobody.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;

use super::{find, made, read};
use crate::{
    alert::{
        Alerts, Change,
        dispatch::{Dispatcher, Notification},
    },
    cli::{Failure, replay, terminal},
    config::{ReceiverSettings, Settings},
    detect::{Detection, Engine},
    event::Context,
    notify::{self, Receiver},
    pipeline::replay::{Listener, Options, replay as read_events},
    units::Time,
};

/// Arguments of `notify preview`.
#[derive(Debug, Args)]
pub(super) struct PreviewArgs {
    /// The receiver, by its name in the configuration.
    #[arg(long, value_name = "NAME")]
    receiver: String,
    /// The configuration that `auditwatch run` uses.
    #[arg(long, value_name = "FILE", env = "AUDITWATCH_CONFIG")]
    config: PathBuf,
    /// Audit logs to make the alerts of, by the configuration's rules, routes and groups; without
    /// them a made-up alert is shown. Can be given several times.
    #[arg(long, value_name = "FILE|DIR")]
    events: Vec<PathBuf>,
    /// Show at most this many messages.
    #[arg(long, value_name = "N", default_value_t = 5, requires = "events")]
    limit: usize,
}

/// Prints the messages on stdout, and how they would be sent on stderr.
pub(super) fn run(args: &PreviewArgs) -> Result<(), Failure> {
    let settings = read(&args.config)?;
    let chosen = find(&settings.receivers, &args.receiver)?;
    let wrong = |error: notify::BuildError| Failure::Wrong(error.to_string());
    let client = notify::client().map_err(wrong)?;
    let receiver = chosen.build(&client).map_err(wrong)?;
    if args.events.is_empty() {
        return made_up(&receiver, chosen);
    }
    let name = &receiver.name;
    let mut messages = Messages::new(&settings, Arc::clone(name), args.limit);
    read_logs(&settings, &args.events, &mut messages)?;
    messages.finish();
    for told in &messages.told {
        show(&receiver, told)?;
    }
    match (messages.told.len(), messages.more) {
        (0, 0) => terminal::say(&format!(
            "nothing would be sent to {name}: no alert comes of these events, or no route leads there; see `auditwatch replay`"
        )),
        (_, 0) => {}
        (_, more) => terminal::say(&format!("{more} more would follow; see --limit")),
    }
    Ok(())
}

/// One alert that nothing but this program made up, as it begins and ends.
fn made_up(receiver: &Receiver, settings: &ReceiverSettings) -> Result<(), Failure> {
    for change in made::life(&made::sample()?, settings.send_resolved) {
        show(receiver, &Notification::single(&receiver.name, &change, 0))?;
    }
    Ok(())
}

fn show(receiver: &Receiver, told: &Notification) -> Result<(), Failure> {
    for message in receiver.integration.preview(told) {
        terminal::say(&message.to);
        writeln!(io::stdout().lock(), "{}", message.body.trim_end())?;
    }
    Ok(())
}

fn read_logs(
    settings: &Settings,
    events: &[PathBuf],
    messages: &mut Messages,
) -> Result<(), Failure> {
    let loaded = settings.rules.load();
    let loaded = loaded.map_err(|error| Failure::Wrong(error.to_string()))?;
    let rules = Arc::new(loaded.set);
    let archives = replay::find(events)?;
    let mut engine = Engine::new(Arc::clone(&rules), settings.engine);
    let options = Options {
        threads: settings.threads,
        context: Arc::new(Context {
            trusted_proxies: settings.trusted_proxies.clone(),
            ..Context::default()
        }),
        ..Options::default()
    };
    let report = read_events(archives, &rules, &mut engine, &options, messages);
    replay::tell_problems(&report);
    if report.counts.received == 0 && !report.problems.is_empty() {
        return Err(Failure::Unreadable("nothing could be read".to_owned()));
    }
    Ok(())
}

/// The notifications of one receiver, decided as the daemon decides, by the events' own time.
struct Messages {
    receiver: Arc<str>,
    alerts: Alerts,
    dispatcher: Dispatcher,
    changes: Vec<Change>,
    made: Vec<Notification>,
    now: Time,
    limit: usize,
    told: Vec<Notification>,
    more: u64,
}

impl Messages {
    fn new(settings: &Settings, receiver: Arc<str>, limit: usize) -> Self {
        Self {
            receiver,
            alerts: Alerts::new(settings.alerts),
            dispatcher: Dispatcher::new(settings.plan.clone()),
            changes: Vec::new(),
            made: Vec::new(),
            now: Time::MIN,
            limit,
            told: Vec::new(),
            more: 0,
        }
    }

    fn dispatch(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            self.dispatcher.on_change(&change, self.now);
        }
        self.dispatcher.advance(self.now, &mut self.made);
        self.keep();
    }

    /// Lets time pass up to this moment, step by step as a clock does.
    fn pass(&mut self, until: Time) {
        while let Some(wake) = self.dispatcher.next_wake().filter(|wake| *wake <= until) {
            self.now = self.now.max(wake);
            self.dispatcher.advance(self.now, &mut self.made);
            self.keep();
        }
        self.now = self.now.max(until);
    }

    fn keep(&mut self) {
        for told in self.made.drain(..) {
            if told.receiver != self.receiver {
                continue;
            }
            if self.told.len() < self.limit {
                self.told.push(told);
            } else {
                self.more += 1;
            }
        }
    }

    /// What still waits when the events end.
    fn finish(&mut self) {
        self.alerts.flush(&mut self.changes);
        self.dispatch();
        self.dispatcher.close(self.now, &mut self.made);
        self.keep();
    }
}

impl Listener for Messages {
    fn advanced(&mut self, detections: &mut Vec<Detection>, watermark: Time) {
        self.pass(watermark);
        for detection in detections.drain(..) {
            self.alerts.fold(detection, &mut self.changes);
        }
        self.alerts.tick(watermark, &mut self.changes);
        if !self.changes.is_empty() {
            self.dispatch();
        }
    }
}
