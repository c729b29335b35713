//! Reads the `auditwatch:` block: enabled, novelty, rate, silence, summary, respond, contain, runbook.

use super::{Extension, Novelty, Rate, Silence, Template, codes, field};
use crate::{
    diagnostic::{Table, yaml::Node, yaml::Value},
    units::Span,
};

const DAY: i64 = 86_400;

/// Reads the block of a detection rule, or of a correlation, which counts by itself and so takes
/// neither novelty nor rate nor silence.
pub(super) fn read(table: &mut Table<'_>, correlation: bool) -> Extension {
    let Some(mut block) = table.table("auditwatch", "`auditwatch`") else {
        return Extension::default();
    };
    let enabled = block.boolean("enabled");
    if let (true, Some(enabled)) = (correlation, &enabled) {
        block.problems.add(
            block
                .error(
                    codes::UNSUPPORTED,
                    enabled.spot,
                    "a correlation cannot be switched off here",
                )
                .help("name it in `rules.disable` of the configuration"),
        );
    }
    let novelty = block.table("novelty", "`novelty`");
    let rate = block.table("rate", "`rate`");
    let silence = block.table("silence", "`silence`");
    for (name, spot) in [
        ("novelty", &novelty),
        ("rate", &rate),
        ("silence", &silence),
    ] {
        if let (true, Some(inner)) = (correlation, spot) {
            block.problems.add(
                block
                    .error(
                        codes::UNSUPPORTED,
                        inner.spot,
                        format!("a correlation cannot have `{name}`"),
                    )
                    .help("put it on the detection rule that the correlation counts"),
            );
        }
    }
    if let (Some(silence), true) = (&silence, novelty.is_some() || rate.is_some()) {
        let message = "a rule with `silence` tells of what is not there, and of nothing else";
        let problem = block.error(codes::UNSUPPORTED, silence.spot, message);
        block
            .problems
            .add(problem.help("put `novelty` or `rate` on a rule of its own"));
    }
    let extension = Extension {
        off: enabled.is_some_and(|enabled| !enabled.value),
        novelty: novelty.and_then(read_novelty),
        rate: rate.and_then(read_rate),
        silence: silence.and_then(read_silence),
        summary: block
            .take("summary")
            .and_then(|node| template(&block, "summary", node)),
        respond: commands(&mut block, "respond"),
        contain: commands(&mut block, "contain"),
        runbook: runbook(&mut block),
    };
    block.finish();
    extension
}

fn read_novelty(mut table: Table<'_>) -> Option<Novelty> {
    let by = field::list(&mut table, "by");
    let of = field::list(&mut table, "of");
    let learn = table.span("learn");
    let forget = table.span("forget");
    let days = |days: i64| Span::from_secs(days * DAY);
    let novelty = Novelty {
        learn: learn.as_ref().map_or(days(7), |span| span.value),
        forget: forget.as_ref().map_or(days(30), |span| span.value),
        by,
        of,
    };
    if novelty.by.is_empty() {
        table.missing(
            "by",
            "name the fields that say whose habits are learnt: `by: [principal]`",
        );
    }
    if novelty.of.is_empty() {
        table.missing(
            "of",
            "name the fields whose values can be new: `of: [verb, objectRef.resource]`",
        );
    }
    if novelty.forget <= novelty.learn {
        let spot = forget.or(learn).map_or(table.spot, |span| span.spot);
        table.problems.add(
            table
                .error(
                    "wrong-value",
                    spot,
                    "what is learnt must be remembered for longer than it takes to learn",
                )
                .help("make `forget` longer than `learn`"),
        );
    }
    let sound = !novelty.by.is_empty() && !novelty.of.is_empty();
    table.finish();
    sound.then_some(novelty)
}

fn read_rate(mut table: Table<'_>) -> Option<Rate> {
    let by = field::list(&mut table, "by");
    let has_every = table.has("every");
    let every = table.span("every");
    let factor = table.number("factor");
    let min = table.integer("min", 1, i64::from(u32::MAX));
    if by.is_empty() {
        table.missing(
            "by",
            "name the fields that say whose rate is learnt: `by: [principal]`",
        );
    }
    if !has_every {
        table.missing("every", "say how long one step of the past is: `every: 5m`");
    }
    if let Some(factor) = factor.as_ref().filter(|factor| factor.value <= 1.0) {
        table.problems.add(
            table
                .error(
                    "wrong-value",
                    factor.spot,
                    "`factor` must be greater than 1",
                )
                .help("write how many times the usual is far above it: `factor: 8`"),
        );
    }
    if let Some(every) = every
        .as_ref()
        .filter(|every| every.value < Span::from_secs(1))
    {
        table
            .problems
            .add(table.error("wrong-value", every.spot, "`every` must be at least 1s"));
    }
    let rate = every.map(|every| Rate {
        by,
        every: every.value,
        factor: factor.map_or(8.0, |factor| factor.value),
        min: min.map_or(100, |min| min.value as u64),
    });
    table.finish();
    rate
}

fn read_silence(mut table: Table<'_>) -> Option<Silence> {
    let by = field::list(&mut table, "by");
    let has_after = table.has("after");
    let after = table.span("after");
    if by.is_empty() {
        table.missing(
            "by",
            "name the fields that say who is heard: `by: [objectRef.name]`",
        );
    }
    if !has_after {
        table.missing("after", "say how long a pause may be: `after: 2m`");
    }
    let silence = after.map(|after| Silence {
        by,
        after: after.value,
    });
    table.finish();
    silence
}

/// A web address that can stand in any message as it is.
fn runbook(block: &mut Table<'_>) -> Option<String> {
    let text = block.text("runbook")?;
    if is_plain_link(&text.value) {
        return Some(text.value);
    }
    let message = "`runbook` is no web address that can stand in a message";
    let problem = block.error("wrong-value", text.spot, message);
    let help = format!(
        "write it like https://wiki.example/runbooks/secrets, at most {LINK_MAX} characters, without spaces, quotes and brackets"
    );
    block.problems.add(problem.help(help));
    None
}

/// The longest address that messages show.
const LINK_MAX: usize = 300;

/// Whether an address cannot be read as anything but an address, whatever shows it.
pub fn is_plain_link(link: &str) -> bool {
    let web = link.starts_with("https://") || link.starts_with("http://");
    let is_plain = |b: u8| b.is_ascii_graphic() && !b"<>|`\"'()[]\\{}".contains(&b);
    web && link.len() <= LINK_MAX && link.bytes().all(is_plain)
}

fn commands(block: &mut Table<'_>, key: &'static str) -> Vec<Template> {
    let Some(node) = block.take(key) else {
        return Vec::new();
    };
    let nodes = match &node.value {
        Value::Sequence(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    nodes
        .iter()
        .filter_map(|node| template(block, key, node))
        .collect()
}

fn template(block: &Table<'_>, key: &str, node: &Node) -> Option<Template> {
    let Some(scalar) = node.scalar() else {
        block.wrong(key, node, "text");
        return None;
    };
    match Template::parse(&scalar.text) {
        Ok(template) => Some(template),
        Err(mistake) => {
            let spot = node.spot_of(block.file, mistake.start, mistake.end);
            let near = mistake.unknown.as_deref().map(nearest);
            let code = if near.is_some() {
                codes::UNKNOWN_FIELD
            } else {
                codes::BAD_TEMPLATE
            };
            let otherwise = "`auditwatch fields` lists the fields; there are also count, timespan and threshold";
            let problem = block.error(code, spot, mistake.message);
            block
                .problems
                .add(problem.did_you_mean(near.flatten(), otherwise));
            None
        }
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let extras = ["count", "timespan", "threshold"];
    crate::diagnostic::nearest(name, extras).or_else(|| field::nearest_field(name))
}
