//! What people ask of the running engine: silences, acks, ends of alerts, and how alerts stand.
//!
//! An order takes its turn among the batches, so the engine's thread stays the only one that
//! changes anything. What changes something is answered once it is safe in the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Judge, LiveAlerts, routing::Routing, worker::clock};
use crate::{
    alert::{
        Alert, Change,
        dispatch::{Ack, Matchers, Phase, Silence, Standing},
    },
    rule::Severity,
};

/// How many orders may wait for the engine.
const ORDERS_MAX: usize = 64;
/// How long an order may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The open alerts that meet this, the most urgent first.
    Alerts(Asked),
    /// One alert by its id.
    Alert(Box<str>),
    /// All silences.
    Silences,
    /// A new silence, or another version of the one of its id.
    Silence(Silence),
    /// A silence is to end now.
    Expire(Box<str>),
    /// Somebody takes care of an alert: its id, and who.
    Ack(Box<str>, Ack),
    /// An alert is over: its id.
    Resolve(Box<str>),
}

impl Wish {
    const fn changes(&self) -> bool {
        !matches!(self, Self::Alerts(_) | Self::Alert(_) | Self::Silences)
    }
}

/// Which open alerts are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Those whose labels meet these.
    pub matchers: Matchers,
    /// Those at least as severe.
    pub level_min: Severity,
    /// Only those with one of these standings: active, silenced, inhibited, acked; all when empty.
    pub states: Vec<&'static str>,
    /// How many at most.
    pub limit: usize,
}

/// What came of a wish.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The alerts, and how they stand.
    Alerts(Vec<(Arc<Alert>, Standing)>),
    /// The silences, the active ones first, and in which phase they are.
    Silences(Vec<(Silence, Phase)>),
    /// It was done and is safe.
    Done,
}

/// Why nothing came of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What it is about is not there.
    #[error("there is none of this id")]
    Unknown,
    /// There are as many silences as there may be.
    #[error(
        "there are {} silences, which is the most; those that expired go after 5 days",
        Silence::SILENCES_MAX
    )]
    Full,
    /// Its time is over already.
    #[error("it has expired already; make a new one")]
    Expired,
    /// The engine did not come to it in time, and may still.
    #[error(
        "the engine did not answer in time, most likely because the state cannot be written; see /readyz, and look whether it was done before trying again"
    )]
    Busy,
    /// The engine has ended.
    #[error("auditwatch is stopping")]
    Stopping,
}

type Answer = Result<Reply, Refusal>;

/// A wish, and who waits for the answer.
pub(super) struct Order {
    wish: Wish,
    answer: oneshot::Sender<Answer>,
}

/// Where people order.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Order>);

impl Orders {
    pub(super) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(ORDERS_MAX);
        (Self(sender), receiver)
    }

    /// Asks the engine and waits for its answer.
    ///
    /// # Errors
    /// When it is not to be had.
    pub async fn ask(&self, wish: Wish) -> Result<Reply, Refusal> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let order = Order { wish, answer };
            self.0.send(order).await.map_err(|_| Refusal::Stopping)?;
            answered.await.map_err(|_| Refusal::Stopping)?
        };
        timeout(ANSWER_WITHIN, asked)
            .await
            .unwrap_or(Err(Refusal::Busy))
    }
}

/// An answer on its way.
pub(super) struct Answered {
    /// Given once what it says is safe.
    pub(super) give: Box<dyn FnOnce() + Send>,
    /// Whether something was changed, so that it has to be safe first.
    pub(super) is_change: bool,
}

/// Does what was ordered; changes of alerts are appended to `out`. Nothing is done when nobody
/// waits for the answer any more.
pub(super) fn obey(
    order: Order,
    judge: &mut Judge,
    routing: &mut Routing,
    live: &LiveAlerts,
    out: &mut Vec<Change>,
) -> Option<Answered> {
    let Order { wish, answer } = order;
    if answer.is_closed() {
        return None;
    }
    let is_change = wish.changes();
    routing.set_clock(clock());
    let done = done(wish, judge, routing, live, out);
    let is_change = is_change && done.is_ok();
    // Whoever asked may have gone; what was changed stays.
    let give = Box::new(move || drop(answer.send(done)));
    Some(Answered { give, is_change })
}

fn done(
    wish: Wish,
    judge: &mut Judge,
    routing: &mut Routing,
    live: &LiveAlerts,
    out: &mut Vec<Change>,
) -> Answer {
    let dispatcher = &mut routing.dispatcher;
    let now = dispatcher.now();
    match wish {
        Wish::Alerts(asked) => {
            let mut found = Vec::new();
            for alert in live.list(asked.level_min, usize::MAX) {
                if found.len() >= asked.limit {
                    break;
                }
                if !asked.matchers.is_empty() && !dispatcher.meets(&alert.id, &asked.matchers) {
                    continue;
                }
                let standing = dispatcher.standing(&alert);
                if asked.states.is_empty() || asked.states.contains(&standing.state()) {
                    found.push((alert, standing));
                }
            }
            Ok(Reply::Alerts(found))
        }
        Wish::Alert(id) => {
            let alert = live.find(&id).ok_or(Refusal::Unknown)?;
            let standing = dispatcher.standing(&alert);
            Ok(Reply::Alerts(vec![(alert, standing)]))
        }
        Wish::Silences => {
            let by_phase: BTreeMap<_, _> = dispatcher
                .silences()
                .map(|silence| {
                    let phase = silence.phase(now);
                    (
                        (phase, silence.ends_at, silence.id.clone()),
                        (silence.clone(), phase),
                    )
                })
                .collect();
            Ok(Reply::Silences(by_phase.into_values().collect()))
        }
        Wish::Silence(silence) => {
            let is_new = dispatcher.find_silence(&silence.id).is_none();
            if is_new && dispatcher.silences().count() >= Silence::SILENCES_MAX {
                return Err(Refusal::Full);
            }
            dispatcher.silence(silence);
            Ok(Reply::Done)
        }
        Wish::Expire(id) => {
            let mut silence = dispatcher
                .find_silence(&id)
                .cloned()
                .ok_or(Refusal::Unknown)?;
            if silence.phase(now) == Phase::Expired {
                return Err(Refusal::Expired);
            }
            silence.starts_at = silence.starts_at.min(now);
            silence.ends_at = now;
            dispatcher.silence(silence);
            Ok(Reply::Done)
        }
        Wish::Ack(id, mut ack) => {
            ack.at = now;
            let alert = live.find(&id).ok_or(Refusal::Unknown)?;
            if !dispatcher.ack(&id, ack) {
                return Err(Refusal::Unknown);
            }
            judge.acknowledge(&alert);
            Ok(Reply::Done)
        }
        Wish::Resolve(id) => {
            let is_known = judge.close(&id, out);
            is_known.then_some(Reply::Done).ok_or(Refusal::Unknown)
        }
    }
}
