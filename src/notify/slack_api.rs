//! Slack's Web API: a message for each group that is kept up to date, with what happens to the
//! group as replies in its thread.
//!
//! Which message belongs to which group is kept in memory; after a restart a group that goes on
//! gets a new message.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::{BuildError, Failure, Preview, Reason as Why, Templates, http::Endpoint, slack};
use crate::{
    alert::{
        Status,
        dispatch::{Notification, Reason},
    },
    units::Secret,
};

/// Where the API is.
pub const URL: &str = "https://slack.com/api";
/// An answer holds the message that was sent.
const ANSWER_MAX: usize = 256 << 10;
/// How many groups' messages are kept in mind; the oldest goes first.
const THREADS_MAX: usize = 2_000;

/// A Slack channel, by an app's bot token (`chat:write`).
pub struct SlackApi {
    post: Endpoint,
    update: Endpoint,
    token: Secret,
    channel: String,
    threads: Mutex<Threads>,
    templates: Templates,
}

/// The message of each group.
#[derive(Debug, Default)]
struct Threads {
    by_group: HashMap<String, Place>,
    next: u64,
}

/// Where a message is.
#[derive(Clone, Debug)]
struct Place {
    channel: String,
    ts: String,
    number: u64,
}

impl std::fmt::Debug for SlackApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slack channel {:?}", self.channel)
    }
}

impl SlackApi {
    /// `url` is [`URL`] but in tests.
    ///
    /// # Errors
    /// When the URL or the token cannot be used.
    pub fn new(
        client: &reqwest::Client,
        url: &str,
        token: Secret,
        channel: String,
    ) -> Result<Self, BuildError> {
        let endpoint = |method: &str| {
            let endpoint = Endpoint::new(client, Secret::new(&format!("{url}/{method}")))?;
            Ok::<_, BuildError>(endpoint.hiding(&token))
        };
        if HeaderValue::from_str(token.expose()).is_err() {
            return Err(BuildError::Url(
                "the token has characters that no token has".into(),
            ));
        }
        Ok(Self {
            post: endpoint("chat.postMessage")?,
            update: endpoint("chat.update")?,
            token,
            channel,
            threads: Mutex::default(),
            templates: Templates::default(),
        })
    }

    /// In these words where there are some.
    #[must_use]
    pub fn worded(mut self, templates: Templates) -> Self {
        self.templates = templates;
        self
    }

    pub(super) fn preview(&self, told: &Notification) -> Preview {
        let mut post = slack::payload(told, &self.templates);
        post["channel"] = self.channel.as_str().into();
        Preview {
            to: "POST https://slack.com/api/chat.postMessage\nauthorization: Bearer [secret]"
                .to_owned(),
            body: post.to_string(),
        }
    }

    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        let message = slack::payload(told, &self.templates);
        // A digest is about no group, so each is a message of its own.
        let is_digest = told.reason == Reason::Digest;
        if let Some(place) = self.place(&told.group_key).filter(|_| !is_digest) {
            let mut update = message.clone();
            update["channel"] = place.channel.as_str().into();
            update["ts"] = place.ts.as_str().into();
            match self.call(&self.update, &update).await {
                Ok((_, shown)) => {
                    self.reply(told, &message, &place).await?;
                    // What begins after all was over begins with a message of its own.
                    if told.status() == Status::Resolved {
                        self.forget(&told.group_key);
                    }
                    return Ok(shown);
                }
                // Somebody deleted it, or it is too old: a new one then.
                Err(failure) if failure.permanent && is_gone(&failure) => {}
                Err(failure) => return Err(failure),
            }
        }
        let mut post = message;
        post["channel"] = self.channel.as_str().into();
        let (answer, shown) = self.call(&self.post, &post).await?;
        if is_digest || told.status() == Status::Resolved {
            return Ok(shown);
        }
        if let (Some(channel), Some(ts)) = (answer["channel"].as_str(), answer["ts"].as_str()) {
            self.keep(&told.group_key, channel, ts);
        }
        Ok(shown)
    }

    /// Says in the thread what is new. Changes of an alert are seen in the message itself.
    async fn reply(
        &self,
        told: &Notification,
        message: &Value,
        place: &Place,
    ) -> Result<(), Failure> {
        if told.reason == Reason::Updated {
            return Ok(());
        }
        let reply = json!({
            "channel": place.channel,
            "thread_ts": place.ts,
            // What is bad again, or new, is shown in the channel too.
            "reply_broadcast": told.status() == Status::Firing && matches!(told.reason, Reason::First | Reason::New),
            "text": message["text"],
            "mrkdwn": false,
            "unfurl_links": false,
        });
        self.call(&self.post, &reply).await.map(|_| ())
    }

    /// Slack's answer, and the same for people.
    async fn call(&self, endpoint: &Endpoint, body: &Value) -> Result<(Value, String), Failure> {
        let mut headers = HeaderMap::new();
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", self.token.expose())) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let answer = endpoint.ask(body.to_string(), headers, ANSWER_MAX).await?;
        answer.verdict()?;
        let value: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match (value["ok"].as_bool(), value["error"].as_str()) {
            (Some(true), _) => Ok((value, format!("{} ok", answer.status.as_u16()))),
            (_, Some(error)) => Err(refused(error).answered(answer.shown)),
            (_, None) => Err(Failure::permanent(
                Why::ClientError,
                "it answered with something else than Slack does",
                "is a proxy's own page in between?",
            )),
        }
    }

    fn place(&self, group: &str) -> Option<Place> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.by_group.get(group).cloned()
    }

    fn forget(&self, group: &str) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.by_group.remove(group);
    }

    fn keep(&self, group: &str, channel: &str, ts: &str) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let number = threads.next;
        threads.next += 1;
        let place = Place {
            channel: channel.into(),
            ts: ts.into(),
            number,
        };
        threads.by_group.insert(group.into(), place);
        if threads.by_group.len() > THREADS_MAX {
            // The smallest number is one alone, so the order of the map does not matter.
            let oldest = threads
                .by_group
                .iter()
                .min_by_key(|(_, place)| place.number);
            if let Some(oldest) = oldest.map(|(group, _)| group.clone()) {
                threads.by_group.remove(&oldest);
            }
        }
    }
}

/// What Slack's word for a failure means. Words of other shapes are not repeated.
fn refused(error: &str) -> Failure {
    let known = error.len() <= 40 && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let what = format!(
        "Slack refused it ({})",
        if known { error } else { "no known reason" }
    );
    match error {
        "ratelimited" | "rate_limited" => Failure::passing(
            Why::RateLimited,
            what,
            "it wants fewer messages; who else writes there?",
        ),
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
            Failure::passing(Why::ServerError, what, "see https://slack-status.com")
        }
        "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired"
        | "missing_scope" => Failure::permanent(
            Why::AuthError,
            what,
            "is the bot token right, and has its app the scope `chat:write`?",
        ),
        "channel_not_found" | "not_in_channel" | "is_archived" => Failure::permanent(
            Why::ClientError,
            what,
            "is the channel's name or id right, and was the app invited to it?",
        ),
        _ => Failure::permanent(
            Why::ClientError,
            what,
            "look the word up at https://docs.slack.dev",
        ),
    }
}

fn is_gone(failure: &Failure) -> bool {
    [
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
    ]
    .iter()
    .any(|word| failure.what.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::{Change, samples},
        notify::tests::{Answer, Server, answer, test_client},
    };

    const POSTED: &str =
        r#"{"ok":true,"channel":"C123","ts":"1795431900.000100","message":{"text":"…"}}"#;

    async fn api(answers: Vec<Answer>) -> (Server, SlackApi) {
        let server = Server::start(answers).await;
        let url = server.url().expose().to_owned();
        let api = SlackApi::new(
            &test_client(),
            &url,
            Secret::new("xoxb-very-secret"),
            "#soc".into(),
        )
        .unwrap();
        (server, api)
    }

    fn told(change: &Change) -> Notification {
        Notification::single(&"r".into(), change, 0)
    }

    fn calls(server: &Server) -> Vec<String> {
        let bodies = server.requests();
        let call = |(path, (_, body)): (String, (_, String))| {
            let body: Value = serde_json::from_str(&body).unwrap();
            let method = path.rsplit('/').next().unwrap_or_default().to_owned();
            let thread = if body["thread_ts"].is_string() {
                " in thread"
            } else {
                ""
            };
            format!("{method} {}{thread}", body["channel"].as_str().unwrap())
        };
        server.paths().into_iter().zip(bodies).map(call).collect()
    }

    #[tokio::test]
    async fn one_message_is_kept_up_to_date_and_its_thread_tells_the_rest() {
        let (server, api) = api(vec![answer(200, POSTED)]).await;
        for change in samples::burst_changes() {
            api.deliver(&told(&change)).await.unwrap();
        }
        assert_eq!(
            calls(&server),
            [
                "chat.postMessage #soc",
                "chat.update C123",
                "chat.update C123",
                "chat.postMessage C123 in thread"
            ]
        );
        let left = api.threads.lock().unwrap().by_group.len();
        assert_eq!(left, 0, "what begins anew gets a message of its own");
        assert_eq!(
            server.requests()[0].0["authorization"],
            "Bearer xoxb-very-secret"
        );
        let last: Value = serde_json::from_str(&server.requests()[3].1).unwrap();
        assert!(
            last["text"]
                .as_str()
                .unwrap()
                .starts_with("✅ HIGH, over: Many requests refused")
        );
        assert!(!format!("{api:?}").contains("very-secret"));
    }

    #[tokio::test]
    async fn a_message_that_is_gone_is_made_anew() {
        let gone = r#"{"ok":false,"error":"message_not_found"}"#;
        let (server, api) = api(vec![
            answer(200, POSTED),
            answer(200, gone),
            answer(200, POSTED),
        ])
        .await;
        for change in &samples::burst_changes()[..2] {
            api.deliver(&told(change)).await.unwrap();
        }
        assert_eq!(
            calls(&server),
            [
                "chat.postMessage #soc",
                "chat.update C123",
                "chat.postMessage #soc"
            ]
        );
    }

    #[tokio::test]
    async fn ok_is_not_what_the_status_says() {
        for (body, reason, permanent) in [
            (
                r#"{"ok":false,"error":"ratelimited"}"#,
                Why::RateLimited,
                false,
            ),
            (
                r#"{"ok":false,"error":"invalid_auth"}"#,
                Why::AuthError,
                true,
            ),
            (
                r#"{"ok":false,"error":"not_in_channel"}"#,
                Why::ClientError,
                true,
            ),
            (
                r#"{"ok":false,"error":"<xoxb-very-secret>"}"#,
                Why::ClientError,
                true,
            ),
            ("<html>xoxb-very-secret", Why::ClientError, true),
        ] {
            let (_server, api) = api(vec![answer(200, body)]).await;
            let failure = api
                .deliver(&told(&Change::Fired(samples::burst(3))))
                .await
                .unwrap_err();
            assert_eq!(
                (failure.reason, failure.permanent),
                (reason, permanent),
                "{body}"
            );
            assert!(!failure.to_string().contains("very-secret"), "{failure}");
        }
    }

    #[test]
    fn threads_are_bounded() {
        let api = SlackApi::new(&test_client(), URL, Secret::new("t"), "#soc".into()).unwrap();
        for n in 0..=THREADS_MAX {
            api.keep(&n.to_string(), "C1", "1.1");
        }
        assert!(api.place("0").is_none() && api.place("1").is_some());
    }
}
