//! `auditwatch explain`: why a rule did or did not match an event, and how far the event has
//! brought the windows, chains and baselines that count it.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;

use super::{Failure, rule_set::RuleArgs, terminal};
use crate::{
    alert::{self, Change, visible},
    decode::{Decoded, Framer, Limits, each_event, open},
    detect::{Engine, Observer, Settings, SourceId},
    event::{Context, Event, Slot},
    pipeline::Judge,
    report::{Style, write_text},
    rule::RuleSet,
    source::archive::Problem,
};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Name or id of the rule; or the id of an alert, which is shown then.
    rule: String,
    /// The log that holds the event; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The event's auditID; each of its stages is explained.
    #[arg(long, value_name = "ID")]
    audit_id: Option<String>,
    /// The name of the cluster that the log comes from.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    cluster: String,
    #[command(flatten)]
    rules: RuleArgs,
}

/// Prints the explanation of each event with the audit id.
pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let set = args.rules.load()?;
    if args.audit_id.is_none() && is_alert_id(&args.rule) {
        return alert(args, &set);
    }
    let member = set.find(&args.rule).map_err(Failure::Wrong)?;
    let Some(audit_id) = &args.audit_id else {
        let told = "say which event: --audit-id ID, as alerts show it under their evidence";
        return Err(Failure::Wrong(told.to_owned()));
    };
    let explained = set.detections_behind(member);
    // All before the event is counted too, so that the state is as it was then.
    let mut observer = Observer::new(Arc::clone(&set));
    let mut engine = Engine::new(Arc::clone(&set), Settings::default());
    let mut detections = Vec::new();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = 0usize;
    let mut written: io::Result<()> = Ok(());
    each_in_file(args, &mut |event| {
        if written.is_err() {
            return;
        }
        let observation = observer.observe(event);
        detections.clear();
        engine.admit(SOURCE, &observation, None, &mut detections);
        if event.text(Slot::AuditId).as_deref() != Some(audit_id) {
            return;
        }
        found += 1;
        let mut told = vec![heading(audit_id, event)];
        let rules = explained.iter().map(|place| &set.rules[*place]);
        told.extend(rules.map(|rule| RuleSet::explain(rule, event).to_string()));
        told.extend(engine.explain(member, &observation));
        let meta = set.member(member);
        let ours = detections.iter().filter(|one| one.rule.id == meta.id);
        told.extend(ours.map(|one| format!("{} alerts: {}", meta.name, one.why)));
        written = told
            .iter()
            .try_for_each(|text| writeln!(out, "{}", visible_lines(text)));
    })?;
    written?;
    out.flush()?;
    if found == 0 {
        let file = args.file.display();
        return Err(Failure::Failed(format!(
            "{file} holds no event with auditID `{audit_id}`; check the id, or look in another file"
        )));
    }
    Ok(())
}

fn is_alert_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Shows the alert of an id as the log makes it, and how to ask on.
fn alert(args: &ExplainArgs, set: &Arc<RuleSet>) -> Result<(), Failure> {
    let mut observer = Observer::new(Arc::clone(set));
    let engine = Settings::default();
    let mut judge = Judge::new(Arc::clone(set), engine, alert::Settings::default());
    let mut changes = Vec::new();
    let mut found: Option<Change> = None;
    let mut keep = |changes: &mut Vec<Change>| {
        let ours = |change: &Change| *change.alert().id == *args.rule;
        found = changes.drain(..).rfind(ours).or(found.take());
    };
    each_in_file(args, &mut |event| {
        let observation = observer.observe(event);
        judge.take(SOURCE, &observation, None, &mut |_| {}, &mut changes);
        keep(&mut changes);
    })?;
    judge.flush(&mut changes);
    keep(&mut changes);
    let file = args.file.display();
    let Some(change) = found else {
        return Err(Failure::Failed(format!(
            "{file} makes no alert with the id {}; is it the whole log, and is --cluster the name \
             that the alert shows?",
            args.rule
        )));
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let style = Style {
        colour: terminal::colour_on_stdout(),
        width: terminal::width(),
    };
    write_text(&mut out, &change, style)?;
    let alert = change.alert();
    let ids = alert.evidence.iter().rev();
    let mut ids = ids.map(|facts| &*facts.evidence.audit_id);
    // The caller chose the id, and this is a command that people copy.
    let is_plain = |id: &&str| {
        id.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if let Some(id) = ids.find(is_plain) {
        let rule = &alert.rule.name;
        writeln!(
            out,
            "How it came to that: auditwatch explain {rule} --file {file} --audit-id {id}"
        )?;
    }
    Ok(out.flush()?)
}

/// The file is the one source.
const SOURCE: SourceId = SourceId(0);

fn heading(audit_id: &str, event: &Event<'_>) -> String {
    let stage = event.text(Slot::Stage).unwrap_or_default();
    let time = event.received().unwrap_or_default();
    format!("{audit_id} at {stage}, received {time}")
}

/// What callers chose must not move the cursor; the lines are ours.
fn visible_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(visible).collect();
    lines.join("\n")
}

/// Shows each event of a log file to `visit`.
fn each_in_file(args: &ExplainArgs, visit: &mut dyn FnMut(&Event<'_>)) -> Result<(), Failure> {
    let file = &args.file;
    let unreadable = |error: io::Error| {
        Failure::Unreadable(Problem::unreadable(&file.display(), &error).to_string())
    };
    let input: Box<dyn io::Read> = if file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(unreadable)?)
    };
    let mut input = open(input).map_err(unreadable)?;
    let mut framer = Framer::new(Limits::default());
    let context = Context {
        cluster: args.cluster.clone(),
        ..Context::default()
    };
    let mut is_over = false;
    while !is_over {
        is_over = framer.read_from(&mut input).map_err(unreadable)? == 0;
        if is_over {
            framer.finish();
        }
        while let Some(block) = framer.next_block() {
            each_event(&block, &mut |decoded| {
                if let Decoded::Event(slots, line) = decoded {
                    visit(&Event::new(slots, line, &context));
                }
            });
        }
    }
    Ok(())
}
