//! Opens the state of the last run, so that judge and dispatcher go on where that one ended.

use std::{collections::BTreeSet, sync::Arc};

use tokio::task::spawn_blocking;

use super::{Judge, StartError, worker::clock};
use crate::{
    alert::dispatch::{Dispatcher, Plan},
    notify::Receiver,
    store::{self, Keeper, Keeping, Loaded, Store},
    telemetry::{Health, Metrics},
    window::{Rows, Unreadable},
};

/// Opens the state, if there is to be any, and lets a judge and a dispatcher take it up; `new` makes a
/// judge that has seen nothing.
pub(super) async fn open(
    settings: Option<store::Settings>,
    receivers: &[Receiver],
    plan: &Plan,
    new: impl Fn() -> Judge,
    metrics: &Metrics,
    health: &Arc<Health>,
) -> Result<(Judge, Dispatcher, Option<(Keeper, Keeping)>), StartError> {
    let Some(settings) = settings else {
        return Ok((new(), Dispatcher::new(plan.clone()), None));
    };
    let part = health.part("state");
    let failed = |error| StartError::Thread(std::io::Error::other(error));
    let opened = spawn_blocking(move || Store::open(settings)).await;
    let (mut store, mut loaded, lost) = opened.map_err(failed)??;
    if let Some(lost) = lost {
        tracing::error!("{lost}");
    }
    let taken = take_up(&loaded.rows, plan, new());
    let (judge, dispatcher) = match taken {
        Ok(taken) => taken,
        Err(error) => {
            let begun = spawn_blocking(move || store.begin_anew(&error.to_string())).await;
            let (anew, lost) = begun.map_err(failed)??;
            tracing::error!("{lost}");
            (store, loaded) = (anew, Loaded::default());
            (new(), Dispatcher::new(plan.clone()))
        }
    };
    let names: BTreeSet<Arc<str>> = receivers
        .iter()
        .map(|receiver| Arc::clone(&receiver.name))
        .collect();
    let metrics = store::Metrics::new(metrics)?;
    let keeper = store.keeper(loaded.bookmarks, names, metrics, part);
    Ok((judge, dispatcher, Some(keeper)))
}

fn take_up(rows: &Rows, plan: &Plan, mut judge: Judge) -> Result<(Judge, Dispatcher), Unreadable> {
    judge.restore(rows)?;
    let mut dispatcher = Dispatcher::new(plan.clone());
    dispatcher.take_up(rows, judge.alerts().firing(), clock())?;
    Ok((judge, dispatcher))
}
