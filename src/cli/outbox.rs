//! `auditwatch outbox`: what waits for a receiver, what nobody could be told, and what to do
//! about it. Works beside a running daemon too, which notices within seconds.

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};

use super::{Failure, terminal};
use crate::{
    alert::{to_json, visible},
    notify,
    store::{Entry, Outbox, Which},
};

/// How many messages `list` shows unless told otherwise.
const SHOWN: usize = 100;

/// Arguments of `outbox`.
#[derive(Debug, Args)]
pub(super) struct OutboxArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what waits and what was given up, oldest first.
    List {
        #[command(flatten)]
        place: Place,
        /// Only dead letters: messages that were given up.
        #[arg(long)]
        dead: bool,
        /// Show at most this many.
        #[arg(long, value_name = "N", default_value_t = SHOWN)]
        limit: usize,
    },
    /// Show the alerts of one message, one JSON object a line.
    Show {
        #[command(flatten)]
        place: Place,
        /// Number or id, as `list` has it.
        message: String,
    },
    /// Send dead letters again.
    Retry {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        which: Named,
    },
    /// Forget messages: they are not sent any more.
    Drop {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        which: Named,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The directory that `auditwatch run --state` uses; AUDITWATCH_STATE unless given.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = true)]
struct Named {
    /// Numbers or ids, as `list` has them. An id may be of several receivers.
    messages: Vec<String>,
    /// All dead letters.
    #[arg(long, conflicts_with = "messages")]
    all_dead: bool,
}

impl Place {
    fn open(&self) -> Result<Outbox, Failure> {
        let variable = || env::var_os("AUDITWATCH_STATE").filter(|dir| !dir.is_empty());
        let dir = self.state.clone().or_else(|| variable().map(PathBuf::from));
        let Some(dir) = dir else {
            let told = "say where the state is: --state DIR, as for `auditwatch run`";
            return Err(Failure::Wrong(told.to_owned()));
        };
        Outbox::open(&dir).map_err(Failure::Unreadable)
    }
}

impl Named {
    fn which(self) -> Which {
        if self.all_dead {
            Which::AllDead
        } else {
            Which::These(self.messages)
        }
    }
}

/// Does what was asked.
pub(super) fn run(args: OutboxArgs) -> Result<(), Failure> {
    match args.action {
        Action::List { place, dead, limit } => list(&place.open()?, dead, limit),
        Action::Show { place, message } => show(&place.open()?, &message),
        Action::Retry { place, which } => {
            let found = place.open()?.retry(&which.which());
            tell(found, "to be sent again", "dead letter")
        }
        Action::Drop { place, which } => {
            let found = place.open()?.drop(&which.which());
            tell(found, "dropped", "message")
        }
    }
}

fn tell(found: Result<usize, String>, done: &str, what: &str) -> Result<(), Failure> {
    match found.map_err(Failure::Failed)? {
        0 => Err(Failure::Failed(format!(
            "there is no such {what}; see `auditwatch outbox list`"
        ))),
        found => {
            let s = if found == 1 { "" } else { "s" };
            Ok(writeln!(io::stdout().lock(), "{found} {what}{s} {done}")?)
        }
    }
}

fn list(outbox: &Outbox, dead: bool, limit: usize) -> Result<(), Failure> {
    let entries = outbox
        .list(dead, limit.saturating_add(1))
        .map_err(Failure::Unreadable)?;
    let mut out = io::stdout().lock();
    let mut rows = vec![["NUMBER", "STANDING", "RECEIVER", "SINCE", "MESSAGE"].map(str::to_owned)];
    rows.extend(entries.iter().take(limit).map(row));
    let widths: Vec<usize> = (0..rows[0].len() - 1)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            write!(out, "{cell:width$}  ")?;
        }
        writeln!(out, "{}", row[row.len() - 1])?;
    }
    if entries.len() > limit {
        terminal::say(&format!("there are more than {limit}; see --limit"));
    }
    Ok(())
}

fn row(entry: &Entry) -> [String; 5] {
    let standing = if entry.reason.is_empty() {
        entry.standing.clone()
    } else {
        format!("{} ({})", entry.standing, entry.reason)
    };
    let told = match notify::read_payload(&entry.note.payload) {
        None => "of another version".to_owned(),
        Some(told) => {
            let reason = told.reason.name();
            let first = told.first().map(|alert| {
                let rule = &alert.rule;
                format!(" {} {}: {}", rule.severity, rule.name, alert.why)
            });
            let more = match told.total() {
                0 | 1 => String::new(),
                alerts => format!(" {alerts} alerts,"),
            };
            format!("{reason}{more}{}", first.unwrap_or_default())
        }
    };
    [
        entry.note.number.to_string(),
        standing,
        entry.note.receiver.to_string(),
        entry.since.to_string(),
        visible(&told).into_owned(),
    ]
}

fn show(outbox: &Outbox, message: &str) -> Result<(), Failure> {
    let entries = outbox.find(message).map_err(Failure::Unreadable)?;
    let Some(entry) = entries.first() else {
        return Err(Failure::Failed(format!(
            "there is no message `{message}`; see `auditwatch outbox list`"
        )));
    };
    let Some(told) = notify::read_payload(&entry.note.payload) else {
        let told = "the message was written by another version of auditwatch";
        return Err(Failure::Failed(told.to_owned()));
    };
    let mut out = io::stdout().lock();
    for alert in &told.alerts {
        writeln!(out, "{}", to_json(alert, 0))?;
    }
    Ok(())
}
