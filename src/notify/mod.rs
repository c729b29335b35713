//! Messages out: each receiver has one bounded queue, one task and one integration.
//!
//! [`Notifier::tell`] takes a notification and returns at once; with an outbox it is
//! [`Notifier::note`], what it gives is committed with the state that it follows from, and
//! [`Notifier::deliver`] takes it from there. A receiver that is slow or
//! dead delays nobody else: what it cannot be told is folded or dropped by severity, counted, and
//! the next message that it takes says how many it missed. Messages arrive in order. A
//! message may arrive twice and says so by its id.
//!
//! Not here: which receiver is told what and when (`alert::dispatch`), and how the outbox survives the
//! process (`store`).

mod alert_log;
pub mod alertmanager;
mod ca;
mod email;
mod failure;
mod http;
mod metrics;
pub mod opsgenie;
pub mod pagerduty;
mod queue;
mod siem;
mod slack;
pub mod slack_api;
mod syslog;
mod teams;
pub mod template;
mod webhook;
mod worker;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

pub use alert_log::{AlertLog, Rotation};
pub use alertmanager::Alertmanager;
pub use ca::Ca;
pub use email::{Email, EmailSettings, Encryption};
pub use failure::{DropReason, Failure, Reason};
pub use http::{BuildError, client, client_trusting};
pub use metrics::Metrics;
pub use opsgenie::Opsgenie;
pub use pagerduty::PagerDuty;
pub use siem::Format;
pub use slack::Slack;
pub use slack_api::SlackApi;
pub use syslog::{Syslog, Transport};
pub use teams::Teams;
pub use template::Templates;
pub use webhook::{SigningKey, Webhook};
pub use worker::read_payload;

use crate::{
    alert::dispatch::Notification,
    store::{self, Delivery, Keeper, Note},
    units::{Span, Time},
};
use worker::{Deliver, Lane};

/// How patient delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many messages wait for one receiver at most; at least 1.
    pub queue_max: usize,
    /// How long one attempt may take.
    pub timeout: Span,
    /// The longest pause after a first failure; the pause is drawn from zero to this.
    pub backoff_first: Span,
    /// Where the longest pause stops doubling.
    pub backoff_max: Span,
    /// How old a message may get before it is given up.
    pub age_max: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_max: 1_000,
            timeout: Span::from_secs(10),
            backoff_first: Span::from_secs(1),
            backoff_max: Span::from_secs(60),
            age_max: Span::from_secs(3600),
        }
    }
}

/// One place that is told, by its name in the configuration.
#[derive(Debug)]
pub struct Receiver {
    /// Unique; a metrics label, and what logs call it.
    pub name: Arc<str>,
    /// What it speaks.
    pub integration: Integration,
}

impl Receiver {
    /// Tells it once and waits for its answer, outside of any queue. Gives the answer, short and
    /// without secrets; empty where none is given.
    ///
    /// # Errors
    /// What the receiver, or the way to it, says.
    pub async fn tell_once(
        &self,
        told: &Notification,
        within: Duration,
    ) -> Result<String, Failure> {
        let answer = tokio::time::timeout(within, self.integration.send(told)).await;
        answer.unwrap_or_else(|_| Err(worker::too_slow()))
    }
}

/// What a receiver would be sent, its secrets masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// How and to whom: `POST https://hooks.slack.com/[secret]`, and headers line by line.
    pub to: String,
    /// The message as it goes over the wire or into the file.
    pub body: String,
}

/// The ways to tell somebody.
#[derive(Debug)]
pub enum Integration {
    /// A Slack incoming webhook.
    Slack(Slack),
    /// A Slack channel by the Web API.
    SlackApi(SlackApi),
    /// Our JSON by POST.
    Webhook(Webhook),
    /// Our JSON in a file, a line each.
    AlertLog(AlertLog),
    /// Alertmanager's API.
    Alertmanager(Alertmanager),
    /// PagerDuty's events.
    PagerDuty(PagerDuty),
    /// Microsoft Teams.
    Teams(Teams),
    /// Opsgenie or its successor.
    Opsgenie(Opsgenie),
    /// Email.
    Email(Box<Email>),
    /// Syslog for a SIEM.
    Syslog(Syslog),
}

impl Integration {
    /// A metrics label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::SlackApi(_) => "slack_api",
            Self::Webhook(_) => "webhook",
            Self::AlertLog(_) => "alert_log",
            Self::Alertmanager(_) => "alertmanager",
            Self::PagerDuty(_) => "pagerduty",
            Self::Teams(_) => "teams",
            Self::Opsgenie(_) => "opsgenie",
            Self::Email(_) => "email",
            Self::Syslog(_) => "syslog",
        }
    }

    /// The messages that it would send, without sending any.
    pub fn preview(&self, told: &Notification) -> Vec<Preview> {
        match self {
            Self::Slack(slack) => vec![slack.preview(told)],
            Self::SlackApi(slack) => vec![slack.preview(told)],
            Self::Webhook(webhook) => vec![webhook.preview(told)],
            Self::AlertLog(log) => vec![log.preview(told)],
            Self::Alertmanager(alertmanager) => alertmanager.preview(told),
            Self::PagerDuty(pager) => vec![pager.preview(told)],
            Self::Teams(teams) => vec![teams.preview(told)],
            Self::Opsgenie(opsgenie) => vec![opsgenie.preview(told)],
            Self::Email(email) => vec![email.preview(told)],
            Self::Syslog(syslog) => vec![syslog.preview(told)],
        }
    }

    /// One attempt; gives what was answered.
    async fn send(&self, told: &Notification) -> Result<String, Failure> {
        match self {
            Self::Slack(slack) => slack.deliver(told).await,
            Self::SlackApi(slack) => slack.deliver(told).await,
            Self::Webhook(webhook) => webhook.deliver(told).await,
            Self::AlertLog(log) => log.deliver(told).await,
            Self::Alertmanager(alertmanager) => alertmanager.deliver(told).await,
            Self::PagerDuty(pager) => pager.deliver(told).await,
            Self::Teams(teams) => teams.deliver(told).await,
            Self::Opsgenie(opsgenie) => opsgenie.deliver(told).await,
            Self::Email(email) => email.deliver(told).await,
            Self::Syslog(syslog) => syslog.deliver(told).await,
        }
    }
}

impl Deliver for Integration {
    async fn deliver(&self, told: &Notification) -> Result<(), Failure> {
        self.send(told).await.map(drop)
    }
}

/// What a receiver was not told because the process had to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// The receiver's name.
    pub receiver: Arc<str>,
    /// How many messages were left, the one being sent among them.
    pub messages: usize,
    /// Whether the outbox has them, so that they are sent after the next start.
    pub is_kept: bool,
}

/// The running receivers.
#[derive(Debug)]
pub struct Notifier {
    lanes: BTreeMap<Arc<str>, Told>,
}

/// One receiver at work.
#[derive(Debug)]
struct Told {
    lane: Arc<Lane>,
    task: JoinHandle<()>,
}

impl Notifier {
    /// Starts a task for each receiver; with a keeper, messages live in its outbox. Needs a
    /// running tokio.
    pub fn start(
        receivers: Vec<Receiver>,
        settings: Settings,
        metrics: &Metrics,
        keeper: Option<&Keeper>,
    ) -> Self {
        let start = |receiver: Receiver| {
            let kind = receiver.integration.name();
            let (lane, task) = spawn(
                receiver.name,
                kind,
                receiver.integration,
                settings,
                metrics,
                keeper.cloned(),
            );
            (Arc::clone(&lane.name), Told { lane, task })
        };
        Self {
            lanes: receivers.into_iter().map(start).collect(),
        }
    }

    /// Hands a notification to its receiver, if there is one of that name. Never waits for it.
    pub fn tell(&self, told: Notification) {
        if let Some(lane) = self.lane(&told.receiver) {
            lane.push(told);
        }
    }

    /// The same for the outbox.
    pub fn note(&self, told: &Notification, now: Time) -> Option<Note> {
        let lane = self.lane(&told.receiver)?;
        Some(Note {
            number: 0,
            id: told.id.clone(),
            receiver: Arc::clone(&lane.name),
            about: told.about().into(),
            level: told.severity() as u8,
            is_update: told.is_update(),
            made_at: now,
            payload: worker::payload(told),
        })
    }

    fn lane(&self, receiver: &str) -> Option<&Arc<Lane>> {
        Some(&self.lanes.get(receiver)?.lane)
    }

    /// What hands the outbox's messages to their receivers.
    pub fn deliver(&self) -> store::Deliver {
        let lanes: BTreeMap<Arc<str>, Arc<Lane>> = self
            .lanes
            .iter()
            .map(|(name, told)| (Arc::clone(name), Arc::clone(&told.lane)))
            .collect();
        Box::new(move |delivery| match delivery {
            Delivery::New(notes) => {
                for (name, lane) in &lanes {
                    let mine: Vec<Note> = notes
                        .iter()
                        .filter(|note| note.receiver == *name)
                        .cloned()
                        .collect();
                    if !mine.is_empty() {
                        lane.offer(&mine);
                    }
                }
            }
            Delivery::More {
                receiver,
                notes,
                is_all,
            } => {
                if let Some(lane) = lanes.get(&receiver) {
                    lane.refill(&notes, is_all);
                }
            }
            Delivery::Forget(numbers) => {
                for number in numbers {
                    for lane in lanes.values() {
                        lane.forget(number);
                    }
                }
            }
            Delivery::Dropped(dropped) => {
                for (receiver, number) in dropped {
                    if let Some(lane) = lanes.get(&receiver) {
                        lane.lost(number);
                    }
                }
            }
        })
    }

    /// Takes nothing more, goes on sending for `within`, then gives up; says what was left. A
    /// receiver that is being waited for is tried once more at the start.
    pub async fn shutdown(self, within: Duration) -> Vec<Undelivered> {
        let deadline = Instant::now() + within;
        for told in self.lanes.values() {
            told.lane.close();
        }
        let mut left = Vec::new();
        for Told { lane, mut task } in self.lanes.into_values() {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
            let messages = lane.give_up();
            if messages > 0 {
                left.push(Undelivered {
                    receiver: Arc::clone(&lane.name),
                    messages,
                    is_kept: lane.is_kept(),
                });
            }
        }
        left
    }
}

fn spawn<D: Deliver>(
    name: Arc<str>,
    integration: &'static str,
    deliver: D,
    settings: Settings,
    metrics: &Metrics,
    keeper: Option<Keeper>,
) -> (Arc<Lane>, JoinHandle<()>) {
    let lane = Arc::new(Lane::new(name, integration, settings, metrics, keeper));
    metrics.watch(&lane);
    let task = tokio::spawn(worker::run(Arc::clone(&lane), deliver));
    (lane, task)
}

#[cfg(test)]
mod tests;
