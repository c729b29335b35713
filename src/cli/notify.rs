//! `auditwatch notify`: shows what a receiver would be sent, and tries it before somebody depends
//! on it.

mod made;
mod preview;

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

use super::Failure;
use crate::{
    alert::{Change, dispatch::Notification},
    config::{Overrides, ReceiverSettings, Settings, configure},
    diagnostic::nearest,
    notify::{self, Receiver},
};

/// Arguments of `notify`.
#[derive(Debug, Args)]
pub(super) struct NotifyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print what a receiver would be sent, byte by byte, and send nothing. Secrets are masked.
    Preview(preview::PreviewArgs),
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

/// Does what was asked.
pub(super) fn run(args: NotifyArgs) -> Result<(), Failure> {
    match args.action {
        Action::Preview(args) => preview::run(&args),
        Action::Test { names, config } => test(&names, &config),
    }
}

fn test(names: &[String], config: &Path) -> Result<(), Failure> {
    let settings = read(config)?;
    let chosen = names.iter().map(|name| find(&settings.receivers, name));
    let chosen = chosen.collect::<Result<Vec<_>, _>>()?;
    let wrong = |error: notify::BuildError| Failure::Wrong(error.to_string());
    let client = notify::client().map_err(wrong)?;
    let alert = made::test_alert()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut refused = Vec::new();
    for settings_of in chosen {
        let receiver = settings_of.build(&client).map_err(wrong)?;
        let changes = made::life(&alert, settings_of.send_resolved);
        let within = settings.notify.timeout.to_std();
        let kind = receiver.integration.name();
        match runtime.block_on(tell(&receiver, &changes, within)) {
            Ok(answers) => writeln!(
                io::stdout(),
                "{} ({kind}) took the test alert{}{}",
                receiver.name,
                if settings_of.send_resolved {
                    ", and that it is over"
                } else {
                    ""
                },
                said(&answers),
            )?,
            Err(failure) => refused.push(format!(
                "{} ({kind}) did not take the test alert: {failure}{}",
                receiver.name,
                said(std::slice::from_ref(&failure.answer)),
            )),
        }
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::Failed(refused.join("\n")))
    }
}

/// `; it answered: 200 ok`, with answers that are the same told once.
fn said(answers: &[String]) -> String {
    let mut answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    answers.retain(|answer| !answer.is_empty());
    answers.dedup();
    if answers.is_empty() {
        String::new()
    } else {
        format!("; it answered: {}", answers.join(", then "))
    }
}

fn read(config: &Path) -> Result<Settings, Failure> {
    let overrides = Overrides::default().environment(env::vars_os());
    let configured = configure(Some(config), &overrides);
    let configured = configured.map_err(|error| Failure::Wrong(error.to_string()))?;
    Ok(configured.settings)
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

/// Tells it all, and gives what it answered each time.
async fn tell(
    receiver: &Receiver,
    changes: &[Change],
    within: std::time::Duration,
) -> Result<Vec<String>, notify::Failure> {
    let mut answers = Vec::new();
    for change in changes {
        let told = Notification::single(&receiver.name, change, 0);
        answers.push(receiver.tell_once(&told, within).await?);
    }
    Ok(answers)
}
