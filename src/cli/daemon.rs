//! How a command finds the running daemon and asks it over HTTP.

use std::{env, io::IsTerminal as _, path::PathBuf, time::Duration};

use clap::Args;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use super::Failure;
use crate::{config::ADMIN_DEFAULT, server::socket_in};

/// The engine answers within 15 seconds or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Where the daemon is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The directory that `auditwatch run --state` uses; AUDITWATCH_STATE unless given. Changes
    /// need it: they go through the socket that is in it.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Host and port of `auditwatch run --admin`, to look only; AUDITWATCH_ADMIN unless given.
    #[arg(long, value_name = "ADDR", conflicts_with = "state")]
    address: Option<String>,
}

/// The daemon, as a command speaks to it.
pub(super) struct Daemon {
    client: Client,
    base: String,
    /// What people call the place.
    place: String,
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

impl Place {
    /// Makes ready to ask. Proxies of the environment are not for this.
    pub(super) fn daemon(&self) -> Result<Daemon, Failure> {
        let is_addressed = self.address.is_some();
        let state = self.state.clone();
        let state = state.or_else(|| variable("AUDITWATCH_STATE").map(PathBuf::from));
        let builder = Client::builder().no_proxy().timeout(ANSWER_WITHIN);
        let (builder, base, place) = if let Some(dir) = state.filter(|_| !is_addressed) {
            let path = socket_in(&dir);
            let place = path.display().to_string();
            (
                builder.unix_socket(path),
                "http://localhost".to_owned(),
                place,
            )
        } else {
            let address = self.address.clone();
            let address = address.or_else(|| variable("AUDITWATCH_ADMIN"));
            let address = address.unwrap_or_else(|| ADMIN_DEFAULT.to_owned());
            let bare = address.trim_start_matches("http://").trim_end_matches('/');
            (builder, format!("http://{bare}"), bare.to_owned())
        };
        let client = builder
            .build()
            .map_err(|error| Failure::Failed(format!("cannot make a client: {error}")))?;
        Ok(Daemon {
            client,
            base,
            place,
        })
    }
}

impl Daemon {
    /// Asks and waits for the answer.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
        runtime.block_on(self.asked(method, path, query, body))
    }

    /// Looks something up.
    pub(super) fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        self.ask(Method::GET, path, query, None)
    }

    async fn asked(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.base), query)
            .map_err(|error| Failure::Wrong(format!("`{}` is no address: {error}", self.place)))?;
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.silent(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| self.silent(&error))?;
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(answer);
        }
        let told = answer["error"].as_str().unwrap_or(text.trim()).to_owned();
        Err(match status {
            StatusCode::BAD_REQUEST
            | StatusCode::FORBIDDEN
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::PAYLOAD_TOO_LARGE => Failure::Wrong(told),
            _ => Failure::Failed(told),
        })
    }

    fn silent(&self, error: &reqwest::Error) -> Failure {
        let place = &self.place;
        if error.is_timeout() {
            return Failure::Failed(format!("auditwatch at {place} did not answer in time"));
        }
        Failure::Failed(format!(
            "no auditwatch answers at {place}; is it running? Say --state DIR as for `auditwatch run`{}",
            if error.is_connect() {
                ""
            } else {
                ", and see its log"
            }
        ))
    }
}

/// Who gives the command, unless they say.
pub(super) fn author(given: Option<String>) -> Result<String, Failure> {
    let user = || variable("USER").or_else(|| variable("LOGNAME"));
    given.or_else(user).ok_or_else(|| {
        Failure::Wrong("say who you are: --author NAME (USER is not set)".to_owned())
    })
}

/// Prints a table: every column as wide as its widest cell, the last one as it comes.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).filter_map(wide).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let room = width - cell.chars().count() + 2;
            line.extend(std::iter::repeat_n(' ', room));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Whether times are told the way people read them: without fractions of a second.
pub(super) fn moment(value: &Value) -> String {
    let text = value.as_str().unwrap_or("-");
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text.to_owned(),
    }
}

/// Reads a file, or stdin for `-`.
pub(super) fn read(path: &str) -> Result<String, Failure> {
    let unreadable = |error| Failure::Unreadable(format!("cannot read {path}: {error}"));
    if path != "-" {
        return std::fs::read_to_string(path).map_err(unreadable);
    }
    if std::io::stdin().is_terminal() {
        super::terminal::say("reading silences from stdin");
    }
    std::io::read_to_string(std::io::stdin()).map_err(unreadable)
}
