//! `auditwatch explain`: why a rule did or did not match an event, and how far the event has
//! brought the windows, chains and baselines that count it.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;

use super::{Failure, rule_set::RuleArgs};
use crate::{
    alert::visible,
    decode::{Decoded, Framer, Limits, each_event, open},
    detect::{Engine, Observer, Settings, SourceId},
    event::{Context, Event, Slot},
    rule::RuleSet,
    source::archive::Problem,
};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Name or id of the rule.
    rule: String,
    /// The log that holds the event; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The event's auditID; each of its stages is explained.
    #[arg(long, value_name = "ID")]
    audit_id: String,
    #[command(flatten)]
    rules: RuleArgs,
}

/// Prints the explanation of each event with the audit id.
pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let set = args.rules.load()?;
    let member = set.find(&args.rule).map_err(Failure::Wrong)?;
    let explained = set.detections_behind(member);
    // All before the event is counted too, so that the state is as it was then.
    let mut observer = Observer::new(Arc::clone(&set));
    let mut engine = Engine::new(Arc::clone(&set), Settings::default());
    let mut detections = Vec::new();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = 0usize;
    let mut written: io::Result<()> = Ok(());
    each_in_file(&args.file, &mut |event| {
        if written.is_err() {
            return;
        }
        let observation = observer.observe(event);
        detections.clear();
        engine.admit(SOURCE, &observation, None, &mut detections);
        if event.text(Slot::AuditId).as_deref() != Some(&args.audit_id) {
            return;
        }
        found += 1;
        let mut told = vec![heading(&args.audit_id, event)];
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
            "{file} holds no event with auditID `{}`; check the id, or look in another file",
            args.audit_id
        )));
    }
    Ok(())
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
fn each_in_file(file: &PathBuf, visit: &mut dyn FnMut(&Event<'_>)) -> Result<(), Failure> {
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
    let context = Context::default();
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
