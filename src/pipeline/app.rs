//! The running pipeline as one object: start it, reload it, stop it.
//!
//! Sources hand batches to a dispatcher, workers decode and match them, one thread judges, the
//! notifier tells. Everything between is bounded, and a full queue is felt by the source.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Console, Judge, LiveAlerts, LiveSight, RuleFiles, Settings,
    bench::{Bench, Parts},
    checkpoints::Checkpoints,
    console::ConsoleSender,
    counts::Counts,
    keeping,
    opening::Opening,
    orders::Orders,
    reload::{Reloader, look},
    routing::{self, Routing},
    sight::Sight,
    threads::{Threads, spawn},
};
use crate::{
    notify::{self, Notifier, Undelivered},
    rule::{Loaded, RuleSet},
    source::{
        Intake, SourceError, SourceMetrics,
        tail::Tailer,
        webhook::{Journals, Webhook},
    },
    store::{Keeper, OpenError, journal::JournalMetrics},
    telemetry::{Health, Metrics, catalogue},
};

/// How long it may take, when the time to stop is over, to put down what cannot be judged any more
/// and to close the state.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(1);

/// Why the pipeline could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The rules cannot be loaded; all problems.
    #[error("{0}")]
    Rules(String),
    /// Sources cannot be opened; all of them that cannot.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Sources(Vec<SourceError>),
    /// The state cannot be kept where it should be.
    #[error(transparent)]
    State(#[from] OpenError),
    /// A metric is there twice, which a test rules out.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The system has no thread for us.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// How a stop went.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Whether everything that was taken in was judged in time.
    pub drained: bool,
    /// What receivers were not told in time.
    pub undelivered: Vec<Undelivered>,
}

/// A running pipeline.
pub struct App {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    live: Arc<LiveAlerts>,
    sight: Arc<LiveSight>,
    orders: Orders,
    webhooks: Vec<SocketAddr>,
    reloader: Arc<Reloader>,
    stop: CancellationToken,
    failed: CancellationToken,
    console_closed: CancellationToken,
    sources: TaskTracker,
    shows: TaskTracker,
    notifier: oneshot::Receiver<Notifier>,
    keeper: Option<Keeper>,
    give_up: CancellationToken,
}

impl App {
    /// Loads rules, opens sources and starts everything. Needs a tokio runtime of several threads.
    ///
    /// # Errors
    /// [`StartError`], with what to do; nothing runs then.
    #[expect(
        clippy::too_many_lines,
        reason = "one part after the other, as the life of an event goes"
    )]
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let health = Arc::new(Health::default());
        let rules = Arc::new(settings.rules);
        let first_look = look(&rules.paths);
        let set = load_first(&rules)?;
        let stop = CancellationToken::new();
        let (intake, batches) = Intake::new(settings.queue_max.0 as usize);
        show_queue(&intake, settings.queue_max.0, &metrics)?;
        show_readiness(&health, &metrics)?;
        let journal_metrics = JournalMetrics::new(&metrics)?;
        let folder = settings.state.as_ref().map(|state| state.dir.clone());
        let (engine, alerts) = (settings.engine, settings.alerts);
        let new = || Judge::new(Arc::clone(&set), engine, alerts);
        let (state, receivers) = (settings.state, &settings.receivers);
        let plan = &settings.plan;
        let opened = keeping::open(state, receivers, plan, new, &metrics, &health).await?;
        let (judge, dispatcher, kept) = opened;
        let (keeper, keeping) = kept.unzip();
        let commits = keeper.as_ref().map(Keeper::commits).cloned();
        let journals = folder
            .zip(commits.clone())
            .map(|(folder, commits)| Journals::new(&folder, commits, journal_metrics));
        let opening = Opening {
            intake,
            metrics: SourceMetrics::new(&metrics)?,
            journals,
            commits,
            health: Arc::clone(&health),
            stop: stop.clone(),
        };
        let (tailers, hooks) = opening.open(settings.files, settings.webhooks).await?;
        let (to_dispatcher, new_rules) = mpsc::channel(1);
        let reloader = Arc::new(Reloader::new(rules, first_look, to_dispatcher, &metrics)?);
        let counts = Counts::new(&metrics)?;
        let unlisted = counts.alerts_unlisted.clone();
        let routing_counts = routing::Counts::new(plan, &metrics, unlisted)?;
        let notify_metrics = notify::Metrics::new(metrics.registry())?;
        let (shows, console_closed) = (TaskTracker::new(), CancellationToken::new());
        let console = match settings.console {
            None => None,
            Some(console) => Some(show(console, &counts, &console_closed, &shows)?),
        };
        let notifier = Notifier::start(
            settings.receivers,
            settings.delivery,
            &notify_metrics,
            keeper.as_ref(),
        );
        if let Some(keeping) = keeping {
            keeping.start(notifier.deliver())?;
        }
        let checkpoints = |keeper: &Keeper| Checkpoints::new(keeper.clone(), stop.clone());
        let (give_up, live) = (CancellationToken::new(), Arc::default());
        let bench = Bench::new(Parts {
            judge,
            rules: Arc::clone(&set),
            counts,
            live: Arc::clone(&live),
            routing: Routing::new(dispatcher, routing_counts),
            notifier,
            console,
            checkpoints: keeper.as_ref().map(checkpoints),
            give_up: give_up.clone(),
        });
        let failed = CancellationToken::new();
        let sight = Arc::default();
        let (orders, inbox) = Orders::new();
        let threads = Threads {
            workers: settings.threads.get(),
            sight: Sight::new(Arc::clone(&set), Arc::clone(&sight), &metrics)?,
            rules: set,
            trusted_proxies: settings.trusted_proxies,
            shows: shows.clone(),
            health: Arc::clone(&health),
            stop: stop.clone(),
            failed: failed.clone(),
        };
        let notifier = threads.spawn(bench, batches, new_rules, inbox)?;
        let webhooks = hooks.iter().map(Webhook::address).collect();
        let sources = read(tailers, hooks)?;
        shows.close();
        watch(Arc::clone(&reloader), stop.clone());
        Ok(Self {
            metrics,
            health,
            live,
            sight,
            orders,
            webhooks,
            reloader,
            stop,
            failed,
            console_closed,
            sources,
            shows,
            notifier,
            keeper,
            give_up,
        })
    }

    /// The metrics to serve.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The health to serve.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The alerts that are open.
    pub fn live(&self) -> &Arc<LiveAlerts> {
        &self.live
    }

    /// Which rules are blind.
    pub fn sight(&self) -> &Arc<LiveSight> {
        &self.sight
    }

    /// Where people can ask the engine for something.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Where the webhooks listen, in the order of the settings.
    pub fn webhooks(&self) -> &[SocketAddr] {
        &self.webhooks
    }

    /// Reads the rules again and says how many there are. State of unchanged rules is kept.
    ///
    /// # Errors
    /// All that is wrong; the old rules stay.
    pub async fn reload(&self) -> Result<usize, String> {
        self.reloader.reload().await
    }

    /// Waits until the pipeline has broken down, which only a mistake of ours can cause.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Waits until nobody reads the console any more.
    pub async fn console_closed(&self) {
        self.console_closed.cancelled().await;
    }

    /// Takes nothing more in, judges what was taken in, tells the receivers, ends. After `within`
    /// it ends in any case and says what is left.
    pub async fn stop(self, within: Duration) -> Stopped {
        let deadline = Instant::now() + within;
        self.stop.cancel();
        // Time over shows below: the notifier comes only when everything before it has ended.
        let _ = timeout_at(deadline, self.sources.wait()).await;
        let mut judged = self.notifier;
        let is_in_time = timeout_at(deadline, &mut judged).await;
        let drained = is_in_time.is_ok();
        let judged = if let Ok(judged) = is_in_time {
            judged.ok()
        } else {
            self.give_up.cancel();
            let judged = timeout(GIVE_UP_WITHIN, judged).await;
            judged.ok().and_then(Result::ok)
        };
        let Some(notifier) = judged else {
            return Stopped {
                drained: false,
                undelivered: Vec::new(),
            };
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let undelivered = notifier.shutdown(left).await;
        if let Some(keeper) = self.keeper {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.max(GIVE_UP_WITHIN);
            // What it could not write in time is done again after the next start.
            let _ = tokio::task::spawn_blocking(move || keeper.stop(left)).await;
        }
        let shown = timeout_at(deadline, self.shows.wait()).await;
        if shown.is_err() {
            tracing::warn!("stdout did not take all alerts in time");
        }
        Stopped {
            drained,
            undelivered,
        }
    }
}

/// Starts showing alerts.
fn show(
    console: Console,
    counts: &Counts,
    closed: &CancellationToken,
    shows: &TaskTracker,
) -> io::Result<ConsoleSender> {
    let unseen = counts.alerts_unseen.clone();
    let (sender, show) = ConsoleSender::new(console, unseen, closed.clone());
    spawn("console", shows.token(), show)?;
    Ok(sender)
}

/// Reloads the rules whenever their files change, until the stop.
fn watch(reloader: Arc<Reloader>, stop: CancellationToken) {
    tokio::spawn(async move { stop.run_until_cancelled(reloader.watch()).await });
}

/// Starts reading.
fn read(tailers: Vec<Tailer>, hooks: Vec<Webhook>) -> io::Result<TaskTracker> {
    let sources = TaskTracker::new();
    for tailer in tailers {
        spawn("tail", sources.token(), move || tailer.run())?;
    }
    for hook in hooks {
        sources.spawn(hook.run());
    }
    sources.close();
    Ok(sources)
}

fn load_first(rules: &RuleFiles) -> Result<Arc<RuleSet>, StartError> {
    let Loaded { set, warnings } = (rules.read)().map_err(StartError::Rules)?;
    if !warnings.is_empty() {
        tracing::warn!("the rules have warnings:\n{warnings}");
    }
    Ok(Arc::new(set))
}

fn show_queue(intake: &Intake, capacity: u64, metrics: &Metrics) -> prometheus::Result<()> {
    let queue = ["intake"];
    let bytes = metrics
        .gauges(&catalogue::QUEUE_BYTES)?
        .with_label_values(&queue);
    let most = metrics.gauges(&catalogue::QUEUE_CAPACITY_BYTES)?;
    most.with_label_values(&queue).set(capacity as i64);
    let in_flight = intake.bytes_in_flight();
    metrics.on_scrape(move || bytes.set(in_flight() as i64));
    Ok(())
}

fn show_readiness(health: &Arc<Health>, metrics: &Metrics) -> prometheus::Result<()> {
    let gauge = metrics.gauge(&catalogue::READY)?;
    let health = Arc::clone(health);
    metrics.on_scrape(move || gauge.set(i64::from(health.readiness().0)));
    Ok(())
}
