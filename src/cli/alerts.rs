//! `auditwatch alerts`: the open alerts of a running daemon, who takes care of them, and their end.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Failure,
    daemon::{Daemon, Place, author, moment, table},
    silence::{about, path},
    terminal,
};
use crate::alert::{dispatch::Matchers, visible};

/// How many alerts `list` shows unless told otherwise.
const SHOWN: usize = 100;

/// Arguments of `alerts`.
#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List open alerts, the most urgent first.
    List {
        #[command(flatten)]
        place: Place,
        /// Only those that all match, as with Alertmanager: severity=high namespace=~"kube-.*".
        #[arg(value_name = "MATCHER")]
        matchers: Vec<String>,
        /// Only those at least as severe: informational, low, medium, high or critical.
        #[arg(long, value_name = "LEVEL")]
        level: Option<String>,
        /// Only those that stand so: active, silenced, inhibited or acked.
        #[arg(long, value_name = "STATE", value_delimiter = ',')]
        standing: Vec<String>,
        /// Those that are over instead, and ended since this long ago: 24h, 7d.
        #[arg(long, value_name = "SPAN", conflicts_with_all = ["matchers", "standing"])]
        since: Option<String>,
        /// Show at most this many.
        #[arg(long, value_name = "N", default_value_t = SHOWN)]
        limit: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show all of an alert: what happened, who hides it, who takes care of it, who was told.
    Show {
        #[command(flatten)]
        place: Place,
        /// Its id, as `list` and messages have it.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say that you take care of alerts: they are not repeated while nothing is new.
    Ack {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        person: Person,
        /// What others should know.
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
    },
    /// Say that alerts are over; the next detection makes a new one.
    Resolve {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        person: Person,
    },
}

#[derive(Debug, Args)]
struct Person {
    /// Ids, as `list` and messages have them.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Who you are; USER unless given.
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

/// Does what was asked.
pub(super) fn run(args: AlertsArgs) -> Result<(), Failure> {
    match args.action {
        Action::List {
            place,
            matchers,
            level,
            standing,
            since,
            limit,
            json,
        } => {
            let mut query = vec![("limit", limit.to_string())];
            for text in matchers {
                let matchers = Matchers::parse(&text).map_err(Failure::Wrong)?;
                query.push(("filter", matchers.to_string()));
            }
            query.extend(level.map(|level| ("level", level)));
            query.extend(standing.into_iter().map(|state| ("state", state)));
            let path = if since.is_some() { "history" } else { "alerts" };
            query.extend(since.map(|since| ("since", since)));
            list(&place.daemon()?, path, &query, limit, json)
        }
        Action::Show { place, id, json } => {
            let found = place.daemon()?.get(&path("alerts", &id)?, &[]);
            let alert = found.map_err(|failure| about(failure, &id))?;
            let mut out = io::stdout().lock();
            if json {
                return Ok(writeln!(out, "{alert}")?);
            }
            Ok(write!(out, "{}", whole(&alert))?)
        }
        Action::Ack {
            place,
            person,
            comment,
        } => person.tell(&place.daemon()?, "ack", &comment, "is acknowledged"),
        Action::Resolve { place, person } => {
            person.tell(&place.daemon()?, "resolve", "", "is resolved")
        }
    }
}

impl Person {
    fn tell(self, daemon: &Daemon, what: &str, comment: &str, done: &str) -> Result<(), Failure> {
        let body = json!({"author": author(self.author)?, "comment": comment});
        for id in self.ids {
            let path = path("alerts", &id)? + "/" + what;
            let asked = daemon.ask(Method::POST, &path, &[], Some(&body));
            asked.map_err(|failure| about(failure, &id))?;
            writeln!(io::stdout().lock(), "{id} {done}")?;
        }
        Ok(())
    }
}

fn list(
    daemon: &Daemon,
    path: &str,
    query: &[(&str, String)],
    limit: usize,
    as_json: bool,
) -> Result<(), Failure> {
    let found = daemon.get(&format!("/api/v1/{path}"), query)?;
    let found = found.as_array().map_or(&[][..], Vec::as_slice);
    let mut out = io::stdout().lock();
    if as_json {
        for alert in found {
            writeln!(out, "{alert}")?;
        }
        return Ok(());
    }
    write!(out, "{}", rows(found))?;
    if found.len() == limit {
        terminal::say(&format!("there may be more than {limit}; see --limit"));
    }
    Ok(())
}

/// Alerts as a table.
pub(super) fn rows(alerts: &[Value]) -> String {
    let head = ["ID", "LEVEL", "STATE", "SINCE", "RULE", "WHO", "WHY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(alerts.iter().map(|alert| {
        vec![
            text(&alert["id"]),
            text(&alert["rule"]["level"]),
            text(&alert["state"]),
            moment(&alert["starts_at"]),
            text(&alert["rule"]["name"]),
            text(&alert["principal"]["name"]),
            text(&alert["why"]),
        ]
    }));
    table(&rows)
}

/// A text that cannot act on the terminal; `-` when it is not there.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => visible(text).into_owned(),
        Value::Null => "-".to_owned(),
        other => visible(&other.to_string()).into_owned(),
    }
}

/// All of an alert, for eyes.
fn whole(alert: &Value) -> String {
    let mut lines = vec![format!(
        "{} {}: {}",
        text(&alert["rule"]["level"]).to_uppercase(),
        text(&alert["rule"]["name"]),
        text(&alert["rule"]["title"])
    )];
    let mut add = |name: &str, told: String| {
        if !told.is_empty() && told != "-" {
            lines.push(format!("{name:>10}  {told}"));
        }
    };
    add("id", text(&alert["id"]));
    add(
        "state",
        format!("{}, {}", text(&alert["status"]), text(&alert["state"])),
    );
    for id in alert["silencedBy"].as_array().into_iter().flatten() {
        add(
            "",
            format!(
                "hidden by silence {}; see `auditwatch silence list`",
                text(id)
            ),
        );
    }
    for id in alert["inhibitedBy"].as_array().into_iter().flatten() {
        add("", format!("hidden because alert {} explains it", text(id)));
    }
    let acked = &alert["acked"];
    if !acked.is_null() {
        let comment = acked["comment"].as_str().filter(|said| !said.is_empty());
        let comment = comment.map_or_else(String::new, |said| format!(": {}", visible(said)));
        add(
            "acked by",
            format!(
                "{} at {}{comment}",
                text(&acked["by"]),
                moment(&acked["at"])
            ),
        );
    }
    for told in alert["receivers"].as_array().into_iter().flatten() {
        let name = text(&told["name"]);
        add(
            "told",
            match &told["told_at"] {
                Value::Null => format!("{name}: not yet"),
                at => format!("{name} at {}", moment(at)),
            },
        );
    }
    add("what", text(&alert["summary"]));
    add("why", text(&alert["why"]));
    add("who", several(&alert["principals"]));
    add("from", several(&alert["origins"]));
    add("on", several(&alert["resources"]));
    add("in", several(&alert["namespaces"]));
    add("cluster", text(&alert["cluster"]));
    add("how much", format!("{} requests", text(&alert["count"])));
    add(
        "when",
        format!(
            "{} to {}",
            moment(&alert["starts_at"]),
            moment(&alert["last_seen_at"])
        ),
    );
    for seen in alert["evidence"].as_array().into_iter().flatten() {
        let [time, verb, uri, code, id] =
            ["time", "verb", "uri", "code", "audit_id"].map(|key| text(&seen[key]));
        add("seen", format!("{time} {verb} {uri} {code} ({id})"));
    }
    for (name, key) in [("look", "respond"), ("contain", "contain")] {
        for command in alert[key].as_array().into_iter().flatten() {
            add(name, text(command));
        }
    }
    if let Some(runbook) = alert["runbook"].as_str() {
        add("runbook", runbook.to_owned());
    }
    for link in alert["links"].as_array().into_iter().flatten() {
        add("read", text(link));
    }
    lines.iter().fold(String::new(), |mut all, line| {
        // Writing to memory succeeds.
        let _ = writeln!(all, "{line}");
        all
    })
}

/// The first values, and how many more there are.
fn several(value: &Value) -> String {
    let first = value["first"].as_array().into_iter().flatten();
    let first: Vec<String> = first.map(text).collect();
    let distinct = value["distinct"].as_u64().unwrap_or_default();
    let more = distinct.saturating_sub(first.len() as u64);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", first.join(", "))
}
