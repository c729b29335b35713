//! `auditwatch silence`: makes things quiet for a while, and says what is quiet, why and until when.

use std::{
    io::{self, Write as _},
    time::SystemTime,
};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Failure, alerts,
    daemon::{Daemon, Place, author, moment, read, table},
    terminal,
};
use crate::{
    alert::{dispatch::Matchers, visible},
    units::{Span, Time},
};

/// Arguments of `silence`.
#[derive(Debug, Args)]
pub(super) struct SilenceArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a silence: nobody is told of the alerts that all matchers match.
    Add(Add),
    /// List silences: active and pending ones.
    List {
        #[command(flatten)]
        place: Place,
        /// Also those that expired in the last five days.
        #[arg(long)]
        expired: bool,
        /// As JSON, in Alertmanager's form.
        #[arg(long)]
        json: bool,
    },
    /// End silences now.
    Expire {
        #[command(flatten)]
        place: Place,
        /// Ids, as `list` has them.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Take over the silences of an Alertmanager: what `amtool silence query -o json` prints.
    Import {
        #[command(flatten)]
        place: Place,
        /// A file, or `-` for stdin.
        file: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    #[command(flatten)]
    place: Place,
    /// What it hides, as with Alertmanager: alertname=forbidden-burst 'namespace=~"team-.*"'.
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<String>,
    /// For how long from its start: 30m, 2h, 7d.
    #[arg(
        long,
        value_name = "SPAN",
        required_unless_present = "until",
        conflicts_with = "until"
    )]
    duration: Option<String>,
    /// Until when: 2026-11-24T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// From when, if not from now on.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Who makes it; USER unless given.
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    comment: String,
    /// Only show which open alerts it would hide now.
    #[arg(long)]
    dry_run: bool,
}

/// Does what was asked.
pub(super) fn run(args: SilenceArgs) -> Result<(), Failure> {
    match args.action {
        Action::Add(add) => add.run(),
        Action::List {
            place,
            expired,
            json,
        } => list(&place.daemon()?, expired, json),
        Action::Expire { place, ids } => {
            let daemon = place.daemon()?;
            for id in ids {
                let ended = daemon.ask(Method::DELETE, &path("silence", &id)?, &[], None);
                ended.map_err(|failure| about(failure, &id))?;
                writeln!(io::stdout().lock(), "{id} has ended")?;
            }
            Ok(())
        }
        Action::Import { place, file } => import(&place.daemon()?, &file),
    }
}

/// The path of one thing; an id is plain, whatever somebody typed.
pub(super) fn path(what: &str, id: &str) -> Result<String, Failure> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if id.is_empty() || !id.chars().all(is_plain) {
        return Err(Failure::Wrong(format!(
            "`{}` is no id; `list` shows them",
            visible(id)
        )));
    }
    Ok(format!("/api/v1/{what}/{id}"))
}

/// The same failure, with what it is about.
pub(super) fn about(failure: Failure, what: &str) -> Failure {
    match failure {
        Failure::Failed(told) => Failure::Failed(format!("{what}: {told}")),
        Failure::Wrong(told) => Failure::Wrong(format!("{what}: {told}")),
        other => other,
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::from_micros(since.unwrap_or_default().as_micros() as i64)
}

fn time(flag: &str, text: &str) -> Result<Time, Failure> {
    Time::parse(text).ok_or_else(|| {
        let told = format!("{flag}: `{text}` is no time; write it like 2026-11-24T12:00:00Z");
        Failure::Wrong(told)
    })
}

impl Add {
    fn run(self) -> Result<(), Failure> {
        let mut matchers = Matchers::default();
        for text in &self.matchers {
            matchers.and(Matchers::parse(text).map_err(Failure::Wrong)?);
        }
        let start = self.start.as_deref().map(|text| time("--start", text));
        let start = start.transpose()?.unwrap_or_else(now);
        let until = match (&self.until, &self.duration) {
            (Some(text), _) => time("--until", text)?,
            (None, duration) => {
                let span = Span::parse(duration.as_deref().unwrap_or_default());
                start.plus(span.map_err(|told| Failure::Wrong(format!("--duration: {told}")))?)
            }
        };
        let daemon = self.place.daemon()?;
        if self.dry_run {
            let query = [("filter", matchers.to_string())];
            let open = daemon.get("/api/v1/alerts", &query)?;
            let open = open.as_array().map_or(&[][..], Vec::as_slice);
            terminal::say(&format!("it would hide {} of the open alerts", open.len()));
            return Ok(write!(io::stdout().lock(), "{}", alerts::rows(open))?);
        }
        let parts: Vec<Value> = matchers
            .iter()
            .map(|matcher| {
                let operator = matcher.operator();
                json!({
                    "name": matcher.name(), "value": matcher.value(),
                    "isRegex": operator.ends_with('~'), "isEqual": operator.starts_with('='),
                })
            })
            .collect();
        let body = json!({
            "matchers": parts, "startsAt": start.to_string(), "endsAt": until.to_string(),
            "createdBy": author(self.author)?, "comment": self.comment,
        });
        let made = daemon.ask(Method::POST, "/api/v1/silences", &[], Some(&body))?;
        let id = made["silenceID"].as_str().unwrap_or_default().to_owned();
        Ok(writeln!(io::stdout().lock(), "{id}")?)
    }
}

fn list(daemon: &Daemon, expired: bool, as_json: bool) -> Result<(), Failure> {
    let all = daemon.get("/api/v1/silences", &[])?;
    let wanted = all.as_array().into_iter().flatten();
    let wanted: Vec<&Value> = wanted
        .filter(|silence| expired || silence["status"]["state"] != "expired")
        .collect();
    let mut out = io::stdout().lock();
    if as_json {
        return Ok(writeln!(out, "{}", json!(wanted))?);
    }
    let head = ["ID", "STATE", "UNTIL", "BY", "MATCHERS", "COMMENT"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(wanted.into_iter().map(row));
    Ok(write!(out, "{}", table(&rows))?)
}

fn row(silence: &Value) -> Vec<String> {
    let text = |value: &Value| visible(value.as_str().unwrap_or("-")).into_owned();
    let matchers = silence["matchers"].as_array().into_iter().flatten();
    let matchers: Vec<String> = matchers
        .map(|matcher| {
            let operator = match (&matcher["isEqual"], &matcher["isRegex"]) {
                (Value::Bool(false), Value::Bool(true)) => "!~",
                (Value::Bool(false), _) => "!=",
                (_, Value::Bool(true)) => "=~",
                _ => "=",
            };
            let value = text(&matcher["value"]);
            format!("{}{operator}{value:?}", text(&matcher["name"]))
        })
        .collect();
    vec![
        text(&silence["id"]),
        text(&silence["status"]["state"]),
        moment(&silence["endsAt"]),
        text(&silence["createdBy"]),
        matchers.join(","),
        text(&silence["comment"]),
    ]
}

/// Those that have expired are left aside; one that is here already under its id becomes what the
/// file says.
fn import(daemon: &Daemon, file: &str) -> Result<(), Failure> {
    let text = read(file)?;
    let all: Vec<Value> = serde_json::from_str(&text).map_err(|error| {
        let told = format!("{file}: {error}; give it what `amtool silence query -o json` prints");
        Failure::Wrong(told)
    })?;
    let (mut taken, mut expired) = (0, 0);
    for (n, silence) in all.iter().enumerate() {
        let ends_at = silence["endsAt"].as_str().and_then(Time::parse);
        let is_over =
            silence["status"]["state"] == "expired" || ends_at.is_some_and(|at| at <= now());
        if is_over {
            expired += 1;
            continue;
        }
        let made = daemon.ask(Method::POST, "/api/v1/silences", &[], Some(silence));
        let place = format!(
            "{file}: silence {} of {}, {taken} taken over before it",
            n + 1,
            all.len()
        );
        made.map_err(|failure| about(failure, &place))?;
        taken += 1;
    }
    let mut out = io::stdout().lock();
    Ok(writeln!(out, "{taken} taken over, {expired} had expired")?)
}
