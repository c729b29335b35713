//! `auditwatch baseline`: what rules have learnt to be normal, in the state folder of a daemon
//! that does not run (to look, it may run), or on its way to another.

mod file;
mod show;

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
};

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::{
    Failure,
    replay::{Learning, find, parse_net, tell_problems},
    rule_set::RuleArgs,
    terminal,
};
use crate::{
    detect::{self, Engine, row_kind},
    event::Context,
    pipeline::replay::{Options, replay},
    rule::RuleSet,
    source::archive::Problem,
    store::{Settings, Store},
    units::Time,
    window::Rows,
};

/// Arguments of `baseline`.
#[derive(Debug, Args)]
pub(super) struct BaselineArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what is known: of all rules, of one rule, or of one key of a rule.
    Show {
        /// Name or id of a rule.
        rule: Option<String>,
        /// Only this key: the principal, or what else the rule learns by.
        #[arg(long, value_name = "NAME", requires = "rule")]
        principal: Option<String>,
        /// Show at most this many keys or values.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        place: Place,
    },
    /// Learn from old logs what is normal. What comes with a request that a rule of level high or
    /// above reports is not learnt.
    Learn {
        /// Files, directories or patterns of audit logs, plain or compressed; `-` is stdin.
        #[arg(required = true, value_name = "FILE|DIR")]
        inputs: Vec<PathBuf>,
        /// The name of the cluster that the logs come from, as in the daemon's configuration.
        #[arg(
            long,
            value_name = "NAME",
            default_value = "",
            hide_default_value = true
        )]
        cluster: String,
        /// Address or network of a proxy before the API server, as in the daemon's configuration.
        #[arg(long, value_name = "CIDR", value_parser = parse_net)]
        trusted_proxy: Vec<IpNet>,
        #[command(flatten)]
        place: Place,
    },
    /// Write all that is known to stdout, as JSON that `import` takes.
    Export {
        #[command(flatten)]
        place: Place,
    },
    /// Add what was exported elsewhere. Nothing is taken from a file that is of another version,
    /// cluster or meaning of a rule.
    Import {
        /// The file; `-` is stdin.
        file: PathBuf,
        /// The name of the cluster whose baselines these must be.
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Forget what a rule has learnt; it is learnt anew.
    Forget {
        /// Name or id of the rule.
        #[arg(long, value_name = "RULE")]
        rule: String,
        /// Only of this key: the principal, or what else the rule learns by.
        #[arg(long, value_name = "NAME")]
        principal: Option<String>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The directory that `auditwatch run --state` uses; AUDITWATCH_STATE unless given.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    rules: RuleArgs,
}

/// How much a command can hold: more than a daemon, so that nothing is let go by looking at it.
const SETTINGS: detect::Settings = detect::Settings {
    keys_max: 4_000_000,
    occurrences_max: 40_000_000,
    values_max: 1_000,
    lateness: crate::units::Span::from_secs(300),
    ahead: crate::units::Span::from_secs(60),
    requests_max: 256 * 1024,
    long_requests_max: 64 * 1024,
    sources_max: 4_096,
};

/// The state of a directory that is ours, and the engine that has taken up its baselines.
struct Opened {
    store: Store,
    engine: Engine,
    rules: Arc<RuleSet>,
}

/// Does what was asked.
pub(super) fn run(args: &BaselineArgs) -> Result<(), Failure> {
    match &args.action {
        Action::Show {
            rule,
            principal,
            limit,
            place,
        } => {
            let (engine, rules) = place.look()?;
            let asked = show::Asked {
                rule: rule.as_deref(),
                name: principal.as_deref(),
                limit: *limit,
            };
            show::show(&engine, &rules, &asked)
        }
        Action::Learn {
            inputs,
            cluster,
            trusted_proxy,
            place,
        } => {
            let context = Context {
                cluster: cluster.clone(),
                trusted_proxies: trusted_proxy.clone(),
            };
            learn(inputs, context, place)
        }
        Action::Export { place } => {
            let (engine, _) = place.look()?;
            let mut out = io::BufWriter::new(io::stdout().lock());
            file::write(&engine, &mut out)?;
            Ok(out.flush()?)
        }
        Action::Import {
            file,
            cluster,
            place,
        } => import(file, cluster.as_deref(), place),
        Action::Forget {
            rule,
            principal,
            place,
        } => forget(rule, principal.as_deref(), place),
    }
}

fn learn(inputs: &[PathBuf], context: Context, place: &Place) -> Result<(), Failure> {
    let archives = find(inputs)?;
    let mut opened = place.open()?;
    let options = Options {
        context: Arc::new(context),
        ..Options::default()
    };
    opened.engine.learn(true);
    let (rules, engine) = (Arc::clone(&opened.rules), &mut opened.engine);
    let report = replay(archives, &rules, engine, &options, &mut Learning);
    tell_problems(&report);
    if report.counts.received == 0 {
        return Err(Failure::Unreadable("nothing could be read".to_owned()));
    }
    let events = report.counts.received;
    let (keys, held) = sums(&opened.engine);
    opened.write()?;
    let held = match held {
        0 => String::new(),
        held => format!("; {held} values are held, since a rule reports what they came with"),
    };
    say(&format!(
        "learnt from {events} events; the baselines know {keys} keys{held}"
    ))
}

fn import(path: &PathBuf, cluster: Option<&str>, place: &Place) -> Result<(), Failure> {
    let name = path.display().to_string();
    let text = if path.as_os_str() == "-" {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(path)
    };
    let text =
        text.map_err(|error| Failure::Unreadable(Problem::unreadable(&name, &error).to_string()))?;
    let mut opened = place.open()?;
    let refused =
        |why: String| Failure::Wrong(format!("{name}: {why}; nothing was taken from the file"));
    let taken = file::take(&text, cluster, &mut opened.engine).map_err(refused)?;
    opened.write()?;
    say(&format!("took up {taken} keys"))
}

fn forget(rule: &str, principal: Option<&str>, place: &Place) -> Result<(), Failure> {
    // A directory that is not there is not made.
    place.look()?;
    let mut opened = place.open()?;
    let places = show::rules_with_baselines(&opened.rules, rule)?;
    let mut count = 0;
    for place in places {
        let fingerprint = opened.rules.rules[place].fingerprint;
        count += opened.engine.forget(fingerprint, principal);
    }
    if count == 0 {
        let whose = principal.map_or_else(String::new, |name| format!(" of `{name}`"));
        return Err(Failure::Failed(format!(
            "`{rule}` knows nothing{whose}; see `auditwatch baseline show {rule}`"
        )));
    }
    opened.write()?;
    let s = if count == 1 { "" } else { "s" };
    say(&format!("forgot {count} key{s}"))
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Keys that all baselines know, and values that they hold.
fn sums(engine: &Engine) -> (usize, usize) {
    let progress = engine
        .baselines()
        .map(|view| view.novelty.progress(Time::MIN));
    progress.fold((0, 0), |(keys, held), one| {
        (keys + one.learning + one.learnt, held + one.held)
    })
}

impl Place {
    fn dir(&self) -> Result<PathBuf, Failure> {
        let variable = || env::var_os("AUDITWATCH_STATE").filter(|dir| !dir.is_empty());
        let dir = self.state.clone().or_else(|| variable().map(PathBuf::from));
        dir.ok_or_else(|| {
            let told = "say where the state is: --state DIR, as for `auditwatch run`";
            Failure::Wrong(told.to_owned())
        })
    }

    /// Reads the baselines, beside a running daemon too.
    fn look(&self) -> Result<(Engine, Arc<RuleSet>), Failure> {
        let dir = self.dir()?;
        let rules = self.rules.load()?;
        let rows = Store::look(&dir).map_err(|error| Failure::Unreadable(error.to_string()))?;
        Ok((take_up(&rules, &rows)?, rules))
    }

    /// Opens the state for us alone.
    fn open(&self) -> Result<Opened, Failure> {
        let dir = self.dir()?;
        let rules = self.rules.load()?;
        let (store, loaded, lost) =
            Store::open(Settings::new(dir)).map_err(|error| Failure::Failed(error.to_string()))?;
        if let Some(lost) = lost {
            terminal::say(&lost);
        }
        Ok(Opened {
            engine: take_up(&rules, &loaded.rows)?,
            store,
            rules,
        })
    }
}

/// An engine that knows the baselines and nothing else, so that old logs are not late for it.
fn take_up(rules: &Arc<RuleSet>, rows: &Rows) -> Result<Engine, Failure> {
    let mut engine = Engine::new(Arc::clone(rules), SETTINGS);
    let restored = engine.restore(&baselines(rows));
    restored.map_err(|error| Failure::Unreadable(error.to_string()))?;
    Ok(engine)
}

/// Rules that this command was not given keep their rows, and so does all other state.
fn baselines(rows: &Rows) -> Rows {
    rows.only(|owner| row_kind::BASELINES.contains(&owner.kind))
}

impl Opened {
    /// Writes what changed in the baselines.
    fn write(mut self) -> Result<(), Failure> {
        let mut rows = Rows::default();
        self.engine.changes(&mut rows);
        let written = self.store.write(baselines(&rows));
        written.map_err(|error| Failure::Failed(error.to_string()))
    }
}
