//! Opens the state of the last run, so that the judge goes on where that one ended.

use std::{collections::BTreeSet, sync::Arc};

use tokio::task::spawn_blocking;

use super::{Judge, StartError};
use crate::{
    notify::Receiver,
    store::{self, Keeper, Keeping, Loaded, Store},
    telemetry::{Health, Metrics},
};

/// Opens the state, if there is to be any, and lets a judge take it up; `new` makes one that has
/// seen nothing.
pub(super) async fn open(
    settings: Option<store::Settings>,
    receivers: &[Receiver],
    new: impl Fn() -> Judge,
    metrics: &Metrics,
    health: &Arc<Health>,
) -> Result<(Judge, Option<(Keeper, Keeping)>), StartError> {
    let Some(settings) = settings else {
        return Ok((new(), None));
    };
    let part = health.part("state");
    let failed = |error| StartError::Thread(std::io::Error::other(error));
    let opened = spawn_blocking(move || Store::open(settings)).await;
    let (mut store, mut loaded, lost) = opened.map_err(failed)??;
    if let Some(lost) = lost {
        tracing::error!("{lost}");
    }
    let mut judge = new();
    if let Err(error) = judge.restore(&loaded.rows) {
        let begun = spawn_blocking(move || store.begin_anew(&error.to_string())).await;
        let (anew, lost) = begun.map_err(failed)??;
        tracing::error!("{lost}");
        (store, judge, loaded) = (anew, new(), Loaded::default());
    }
    let names: BTreeSet<Arc<str>> = receivers
        .iter()
        .map(|receiver| Arc::clone(&receiver.name))
        .collect();
    let metrics = store::Metrics::new(metrics)?;
    let keeper = store.keeper(loaded.bookmarks, names, metrics, part);
    Ok((judge, Some(keeper)))
}
