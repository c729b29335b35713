//! `auditwatch notify`: tries a receiver before somebody depends on it.

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use clap::{Args, Subcommand};

use super::Failure;
use crate::{
    alert::{self, Alert, Change, Status, dispatch::Notification},
    config::{Configured, Overrides, ReceiverSettings, configure},
    decode::{Decoded, Framer, Limits, each_event},
    detect::{self, Observer, SourceId},
    diagnostic::{SourceFile, nearest},
    event::{Context, Event},
    notify::{self, Receiver},
    pipeline::{Judge, clock},
    rule::{Layer, RuleSet},
};

/// Arguments of `notify`.
#[derive(Debug, Args)]
pub(super) struct NotifyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send a receiver an alert that says it is a test, then that it is over, and tell what the
    /// receiver answers. Exit code 1 when it does not take them.
    Test {
        /// The receivers, by their names in the configuration.
        #[arg(required = true)]
        names: Vec<String>,
        /// The configuration that `auditwatch run` uses.
        #[arg(long, value_name = "FILE", env = "AUDITWATCH_CONFIG")]
        config: PathBuf,
    },
}

/// What the test alert is made of: as real ones are, by a rule and an event.
const RULE: &str = "
title: Test of auditwatch, nothing happened
id: 5d1c1a56-3f3e-4a3e-9f0a-6f1b8a7c2e11
name: auditwatch-test
description: Somebody ran `auditwatch notify test`. There is nothing to do.
logsource: {product: kubernetes, service: audit}
detection: {selection: {objectRef.name: auditwatch-test}, condition: selection}
level: low
auditwatch:
  summary: This is a test of auditwatch. Nothing happened, and there is nothing to do.
";

fn event(stamp: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"auditwatch-test-{stamp}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/default/configmaps/auditwatch-test","verb":"get","user":{{"username":"auditwatch-test"}},"sourceIPs":["192.0.2.1"],"userAgent":"auditwatch/{}","objectRef":{{"resource":"configmaps","namespace":"default","name":"auditwatch-test","apiVersion":"v1"}},"responseStatus":{{"code":200}},"requestReceivedTimestamp":"{stamp}","stageTimestamp":"{stamp}"}}"#,
        env!("CARGO_PKG_VERSION")
    )
}

/// Does what was asked.
pub(super) fn run(args: NotifyArgs) -> Result<(), Failure> {
    let Action::Test { names, config } = args.action;
    let overrides = Overrides::default().environment(env::vars_os());
    let configured = configure(Some(&config), &overrides);
    let Configured { settings, .. } =
        configured.map_err(|error| Failure::Wrong(error.to_string()))?;
    let chosen = names.iter().map(|name| find(&settings.receivers, name));
    let chosen = chosen.collect::<Result<Vec<_>, _>>()?;
    let wrong = |error: notify::BuildError| Failure::Wrong(error.to_string());
    let client = notify::client().map_err(wrong)?;
    let alert = test_alert()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut refused = Vec::new();
    for settings_of in chosen {
        let receiver = settings_of.build(&client).map_err(wrong)?;
        let changes = changes(&alert, settings_of.send_resolved);
        let within = settings.notify.timeout.to_std();
        match runtime.block_on(tell(&receiver, &changes, within)) {
            Ok(()) => writeln!(
                io::stdout(),
                "{} ({}) took the test alert{}",
                receiver.name,
                receiver.integration.name(),
                if settings_of.send_resolved {
                    ", and that it is over"
                } else {
                    ""
                }
            )?,
            Err(failure) => refused.push(format!(
                "{} ({}) did not take the test alert: {failure}",
                receiver.name,
                receiver.integration.name()
            )),
        }
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::Failed(refused.join("\n")))
    }
}

fn find<'s>(
    receivers: &'s [ReceiverSettings],
    name: &str,
) -> Result<&'s ReceiverSettings, Failure> {
    let found = receivers.iter().find(|receiver| receiver.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = receivers.iter().map(|known| known.name.as_str()).collect();
        let known = match (nearest(name, names.iter().copied()), names.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, true) => "the configuration has none".to_owned(),
            (None, false) => format!("there are: {}", names.join(", ")),
        };
        Failure::Wrong(format!("there is no receiver `{name}`; {known}"))
    })
}

/// The alert, as the pipeline makes it.
fn test_alert() -> Result<Arc<Alert>, Failure> {
    let layer = Layer::new([SourceFile::new("auditwatch-test.yml", RULE)]);
    let loaded = RuleSet::load(&[layer]).map_err(|report| Failure::Wrong(report.to_string()))?;
    let rules = Arc::new(loaded.set);
    let mut observer = Observer::new(Arc::clone(&rules));
    let mut judge = Judge::new(
        rules,
        detect::Settings::default(),
        alert::Settings::default(),
    );
    let context = Context::default();
    let mut changes = Vec::new();
    let mut framer = Framer::new(Limits::default());
    framer.feed(&Bytes::from(event(&clock().to_string())));
    framer.finish();
    while let Some(block) = framer.next_block() {
        each_event(&block, &mut |decoded| {
            if let Decoded::Event(slots, line) = decoded {
                let observation = observer.observe(&Event::new(slots, line, &context));
                judge.take(SourceId(0), &observation, None, &mut |_| {}, &mut changes);
            }
        });
    }
    let made = changes.first().map(|change| Arc::clone(change.alert()));
    made.ok_or_else(|| Failure::Failed("the test rule does not see the test event".to_owned()))
}

/// That it fires and, where that is told, that it is over.
fn changes(alert: &Arc<Alert>, is_over_told: bool) -> Vec<Change> {
    let mut changes = vec![Change::Fired(Arc::clone(alert))];
    if is_over_told {
        let mut over = Alert::clone(alert);
        over.status = Status::Resolved;
        over.ends_at = Some(over.last_seen_at);
        changes.push(Change::Resolved(Arc::new(over)));
    }
    changes
}

async fn tell(
    receiver: &Receiver,
    changes: &[Change],
    within: std::time::Duration,
) -> Result<(), notify::Failure> {
    for change in changes {
        let told = Notification::single(&receiver.name, change, 0);
        receiver.tell_once(&told, within).await?;
    }
    Ok(())
}
