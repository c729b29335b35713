//! `auditwatch run`: the daemon, from its flags to its orderly end.

use std::{
    env, io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, terminal};
use crate::{
    config::{Configured, Overrides, ReceiverTarget, Settings, configure},
    notify,
    pipeline::{self, App, Console, Form, RuleFiles, StartError, Stopped},
    report::Style,
    server::{Admin, Shown, Socket, socket_in},
    source::SourceError,
    telemetry::{LogFormat, init_logs},
};

/// How long the end may take: within the 30 seconds that Kubernetes gives.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Signals within this time are one wish.
const SAME_WISH: Duration = Duration::from_secs(1);

const NOTHING_TO_WATCH: &str = "\
nothing to watch: name an audit log, or where the API server sends to

  auditwatch run --file /var/log/kubernetes/audit.log
  auditwatch run --webhook 0.0.0.0:9443 --tls-cert server.crt --tls-key server.key

or write `sources` into a file and give it with --config FILE";

/// Arguments of `run`. Values are checked together with the file and the environment.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Each flag with a value can be given as an environment variable: --slack-url-file as \
AUDITWATCH_SLACK_URL_FILE. Flags win over variables, both over the file.")]
pub(super) struct RunArgs {
    /// All settings, in YAML.
    #[arg(long, value_name = "FILE", env = "AUDITWATCH_CONFIG")]
    config: Option<PathBuf>,
    /// Audit logs to follow; patterns may have `*`, `?`, `[…]` and `**`.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    file: Vec<String>,
    /// Where to begin in files that are there at the first start: `start` (default), `end`, or how
    /// far back, like `24h`. Later starts go on where the last one ended, with --state.
    #[arg(long, value_name = "WHERE")]
    from: Option<String>,
    /// Address and port where the API server sends audit events.
    #[arg(long, value_name = "ADDR")]
    webhook: Option<String>,
    /// The webhook's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Clients of the webhook must show a certificate that one of these signed, PEM.
    #[arg(long, value_name = "FILE")]
    client_ca: Option<String>,
    /// Bearer tokens that the webhook accepts, one a line.
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The name of the cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Proxies in front of the API server, whose word about the caller's address counts.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    trusted_proxy: Vec<String>,
    /// Folders or files of rules, added to the shipped ones; a rule with the id of a shipped one
    /// replaces it.
    #[arg(long, value_name = "DIR|FILE")]
    rules: Vec<String>,
    /// Leave the shipped rules out.
    #[arg(long)]
    no_shipped_rules: bool,
    /// Rules that are off by themselves and shall alert; `all` for every one.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    enable: Vec<String>,
    /// The least level that is told: informational (default), low, medium, high or critical.
    #[arg(long, value_name = "LEVEL")]
    min_level: Option<String>,
    /// How alerts are shown on stdout.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Tell Slack: a file with the URL of an incoming webhook.
    #[arg(long, value_name = "FILE")]
    slack_url_file: Option<String>,
    /// Tell a URL: alerts as JSON by POST.
    #[arg(long, value_name = "URL")]
    alert_webhook: Option<String>,
    /// Append alerts to a file, one JSON object a line.
    #[arg(long, value_name = "PATH")]
    alert_log: Option<String>,
    /// Keep what must survive a restart in this folder: where to read on, what is counted, open
    /// alerts, what is still to be told. Without it all is forgotten.
    #[arg(long, value_name = "DIR")]
    state: Option<String>,
    /// Address and port of metrics, health and API (default 127.0.0.1:9646); `off` for none.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Threads that decode and match; one for each processor unless set.
    #[arg(long, value_name = "N")]
    threads: Option<String>,
    /// `text` (default) or `json`.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// `error`, `warn`, `info` (default), `debug` or `trace`.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the process was started with; read again at each reload.
#[derive(Clone)]
struct Wishes {
    config: Option<PathBuf>,
    overrides: Overrides,
}

impl RunArgs {
    fn wishes(self) -> Wishes {
        let overrides = Overrides::default()
            .flag("sources.files", "--file", self.file)
            .flag("sources.from", "--from", self.from)
            .flag("sources.webhook.listen", "--webhook", self.webhook)
            .flag("sources.webhook.tls.cert_file", "--tls-cert", self.tls_cert)
            .flag("sources.webhook.tls.key_file", "--tls-key", self.tls_key)
            .flag(
                "sources.webhook.tls.client_ca_file",
                "--client-ca",
                self.client_ca,
            )
            .flag(
                "sources.webhook.token_file",
                "--token-file",
                self.token_file,
            )
            .flag("cluster", "--cluster", self.cluster)
            .flag("trusted_proxies", "--trusted-proxy", self.trusted_proxy)
            .flag("rules.paths", "--rules", self.rules)
            .flag(
                "rules.shipped",
                "--no-shipped-rules",
                self.no_shipped_rules.then(|| "false".to_owned()),
            )
            .flag("rules.enable", "--enable", self.enable)
            .flag("alerts.min_level", "--min-level", self.min_level)
            .flag(
                "receivers[].slack.url_file",
                "--slack-url-file",
                self.slack_url_file,
            )
            .flag(
                "receivers[].webhook.url",
                "--alert-webhook",
                self.alert_webhook,
            )
            .flag("receivers[].alert_log.path", "--alert-log", self.alert_log)
            .flag("state.dir", "--state", self.state)
            .flag("admin.listen", "--admin", self.admin)
            .flag("threads", "--threads", self.threads)
            .flag("log.format", "--log-format", self.log_format)
            .flag("log.level", "--log-level", self.log_level)
            .environment(env::vars_os());
        Wishes {
            config: self.config,
            overrides,
        }
    }
}

impl Wishes {
    fn configure(&self) -> Result<Configured, String> {
        configure(self.config.as_deref(), &self.overrides).map_err(|error| error.to_string())
    }
}

/// Runs until SIGTERM or SIGINT. SIGHUP reads rules and configuration again.
pub(super) fn run(args: RunArgs) -> Result<(), Failure> {
    let output = args.output;
    let wishes = args.wishes();
    let Configured { settings, warnings } = wishes.configure().map_err(Failure::Wrong)?;
    if !settings.has_source() {
        return Err(Failure::Wrong(NOTHING_TO_WATCH.to_owned()));
    }
    if !warnings.is_empty() {
        terminal::say(&warnings.to_string());
    }
    init_logs(&settings.logs);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
    let ended = runtime.block_on(daemon(settings, wishes, output));
    // What still runs by now was given up. It must not hold the process, and waits on timers that
    // would panic in a runtime that is no more.
    std::mem::forget(runtime);
    ended
}

async fn daemon(settings: Settings, wishes: Wishes, output: Output) -> Result<(), Failure> {
    let (mut signals, mut hang_up) = (Signals::new()?, listen_to(SignalKind::hangup())?);
    let admin = match &settings.admin {
        None => None,
        Some(listen) => Some(Admin::bind(listen).await.map_err(|error| {
            let help = "choose another by --admin ADDR, or `--admin off` for none";
            Failure::Wrong(format!("admin endpoint: {error}\n{help}"))
        })?),
    };
    let app = App::start(pipeline_settings(&settings, &wishes, output)?)
        .await
        .map_err(|error| not_started(&error))?;
    tell_what_runs(&settings, &app, admin.as_ref());
    let admin_stop = CancellationToken::new();
    let shown = shown(&app, &settings);
    let mut served = tokio::task::JoinSet::new();
    if let Some(socket) = socket(&settings) {
        served.spawn(socket.run(shown.clone(), admin_stop.clone()));
    }
    if let Some(admin) = admin {
        served.spawn(admin.run(shown, admin_stop.clone()));
    }
    let has_broken = tokio::select! {
        has_broken = wait(&app, &mut signals, &settings) => has_broken,
        () = reloads(&app, &mut hang_up, &settings, &wishes) => true,
    };
    let ended = stop(app).await;
    admin_stop.cancel();
    // Nobody is waited for who still reads metrics of something that has ended.
    let _ = tokio::time::timeout(Duration::from_secs(1), served.join_all()).await;
    if has_broken {
        let told = "the pipeline has broken down; the log says more";
        return Err(Failure::Failed(told.to_owned()));
    }
    ended
}

fn shown(app: &App, settings: &Settings) -> Shown {
    let orders = app.orders().clone();
    let sight = Arc::clone(app.sight());
    Shown {
        metrics: Arc::clone(app.metrics()),
        health: Arc::clone(app.health()),
        ask: Arc::new(move |wish| {
            let orders = orders.clone();
            Box::pin(async move { orders.ask(wish).await })
        }),
        sight: Arc::new(move || {
            let sight = sight.read().unwrap_or_else(PoisonError::into_inner);
            sight.clone()
        }),
        history: settings.state.as_ref().map(|state| state.dir.clone()),
        clock: pipeline::clock,
    }
}

/// The local socket, where there is a directory for it. Watching goes on without it.
fn socket(settings: &Settings) -> Option<Socket> {
    let state = settings.state.as_ref()?;
    match Socket::bind(socket_in(&state.dir)) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::error!("{error}; silences and acks cannot be changed until then");
            None
        }
    }
}

/// Waits for whatever ends the daemon; says whether that is a failure of ours.
async fn wait(app: &App, signals: &mut Signals, settings: &Settings) -> bool {
    // Somebody who only pipes the alerts into `head` wants the end; a daemon with receivers
    // does not stop because its terminal went away.
    let is_only_shown = settings.receivers.is_empty();
    tokio::select! {
        () = signals.end() => false,
        () = app.failed() => true,
        () = app.console_closed(), if is_only_shown => false,
    }
}

/// Reads rules and configuration again at each SIGHUP. Does not end.
async fn reloads(app: &App, hang_up: &mut Signal, settings: &Settings, wishes: &Wishes) {
    while hang_up.recv().await.is_some() {
        reload(app, settings, wishes).await;
    }
}

async fn reload(app: &App, settings: &Settings, wishes: &Wishes) {
    // What is wrong was told and counted there, a wrong configuration too.
    if app.reload().await.is_err() {
        return;
    }
    let Ok(Configured { settings: new, .. }) = wishes.configure() else {
        return;
    };
    let with_new_rules = Settings {
        rules: new.rules.clone(),
        ..settings.clone()
    };
    if new != with_new_rules {
        tracing::warn!("the configuration has changed beyond the rules; restart to take that on");
    }
}

/// Stops the app. Whoever asks a second time is not made to wait.
async fn stop(app: App) -> Result<(), Failure> {
    tracing::info!("stopping: judging what was taken in, telling the receivers");
    let stopped = tokio::select! {
        stopped = app.stop(STOP_WITHIN) => stopped,
        () = asked_again() => {
            let told = "stopped at once; what was taken in may not have been judged or told";
            return Err(Failure::Failed(told.to_owned()));
        }
    };
    let Stopped {
        drained,
        undelivered,
    } = stopped;
    for left in undelivered {
        let (receiver, messages) = (&left.receiver, left.messages);
        if left.is_kept {
            tracing::warn!(%receiver, messages, "not told in time; told after the next start");
        } else {
            tracing::error!(%receiver, messages, "not told in time");
        }
    }
    if drained {
        return Ok(());
    }
    let told = "stopped before everything that was taken in was judged";
    Err(Failure::Failed(told.to_owned()))
}

/// Waits for another signal. Some who stop a process send the same signal twice, to it and to its
/// group; that is not impatience.
async fn asked_again() {
    tokio::time::sleep(SAME_WISH).await;
    match Signals::new() {
        Ok(mut signals) => signals.end().await,
        Err(_) => std::future::pending().await,
    }
}

fn pipeline_settings(
    settings: &Settings,
    wishes: &Wishes,
    output: Output,
) -> Result<pipeline::Settings, Failure> {
    let wrong = |error: notify::BuildError| Failure::Wrong(error.to_string());
    let receivers = if settings.receivers.is_empty() {
        Vec::new()
    } else {
        let client = notify::client().map_err(wrong)?;
        let built = settings
            .receivers
            .iter()
            .map(|receiver| receiver.build(&client));
        built.collect::<Result<_, _>>().map_err(wrong)?
    };
    let form = match output {
        Output::Json => Form::Json,
        Output::Text => Form::Text(Style {
            colour: terminal::colour_on_stdout(),
            width: terminal::width(),
        }),
    };
    let wishes = wishes.clone();
    Ok(pipeline::Settings {
        files: settings.files.clone(),
        webhooks: settings.webhook.iter().cloned().collect(),
        trusted_proxies: settings.trusted_proxies.clone(),
        rules: RuleFiles {
            read: Box::new(move || {
                let rules = wishes.configure()?.settings.rules;
                rules.load().map_err(|error| error.to_string())
            }),
            paths: settings.rules.paths.clone(),
        },
        engine: settings.engine,
        alerts: settings.alerts,
        receivers,
        plan: settings.plan.clone(),
        delivery: settings.notify,
        console: Some(Console {
            out: Box::new(io::stdout()),
            form,
            level_min: settings.min_level,
        }),
        threads: NonZeroUsize::new(settings.threads).unwrap_or(NonZeroUsize::MIN),
        queue_max: settings.queue_max,
        state: settings.state.clone(),
    })
}

/// A log that cannot be read is input; everything else is what somebody has set.
fn not_started(error: &StartError) -> Failure {
    let is_input = matches!(error, StartError::Sources(errors)
        if errors.iter().all(|error| matches!(error, SourceError::Watch { .. })));
    let is_system = matches!(error, StartError::Metrics(_) | StartError::Thread(_));
    let told = error.to_string();
    match (is_input, is_system) {
        (true, _) => Failure::Unreadable(told),
        (_, true) => Failure::Failed(told),
        _ => Failure::Wrong(told),
    }
}

/// Says once what is watched and where alerts go: to people on stderr, to machines in the log.
fn tell_what_runs(settings: &Settings, app: &App, admin: Option<&Admin>) {
    let told = what_runs(settings, app, admin);
    match settings.logs.format {
        LogFormat::Text => terminal::say(&told),
        LogFormat::Json => tracing::info!("{told}"),
    }
}

fn what_runs(settings: &Settings, app: &App, admin: Option<&Admin>) -> String {
    let mut sources: Vec<String> = settings
        .files
        .iter()
        .map(|file| file.path.clone())
        .collect();
    for (webhook, address) in settings.webhook.iter().zip(app.webhooks()) {
        let scheme = if webhook.tls.is_some() {
            "https"
        } else {
            "http"
        };
        sources.push(format!("{scheme}://{address}"));
    }
    let mut told = vec!["stdout".to_owned()];
    for receiver in &settings.receivers {
        told.push(match &receiver.target {
            ReceiverTarget::AlertLog { path, .. } => path.display().to_string(),
            target if receiver.name == target.kind() => target.words().to_owned(),
            target => format!("{} ({})", target.words(), receiver.name),
        });
    }
    let metrics = admin.map_or_else(
        || "no metrics".to_owned(),
        |admin| format!("metrics on http://{}/metrics", admin.address()),
    );
    let (sources, told) = (sources.join(", "), told.join(", "));
    let state = settings.state.as_ref().map_or_else(
        || "a restart forgets all that was seen, because there is no --state DIR".to_owned(),
        |state| format!("state in {}", state.dir.display()),
    );
    format!("watching {sources}; alerts on {told}; {metrics}; {state}")
}

/// The signals that end a daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

fn listen_to(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::Failed(format!("cannot listen to signals: {error}")))
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            terminate: listen_to(SignalKind::terminate())?,
            interrupt: listen_to(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::super::Arguments;
    use crate::config::settings_table;

    /// The documented flags are the flags; those of the command line's own concern are not in
    /// the table.
    #[test]
    fn flags_are_the_documented_ones() {
        let command = Arguments::command();
        let run = command.find_subcommand("run").unwrap();
        let flags: BTreeSet<String> = run
            .get_arguments()
            .filter_map(|argument| argument.get_long())
            .filter(|flag| !["config", "output", "help", "version"].contains(flag))
            .map(|flag| format!("`--{flag}`"))
            .collect();
        let table = settings_table();
        let documented: BTreeSet<String> = table
            .split(['|', ' ', ')', '\n'])
            .filter(|word| word.starts_with("`--"))
            .map(str::to_owned)
            .collect();
        assert_eq!(flags, documented);
    }
}
