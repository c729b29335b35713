//! Damaged audit logs of every layout, in any pieces.

use auditwatch::decode::{Block, Decoded, Framer, Limits, each_event};

use crate::{chance::Chance, run};

/// What the words of audit logs are, to damage them with.
pub(crate) const WORDS: [&[u8]; 20] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\n",
    b"\0",
    b"\r\n",
    b"\"items\":[",
    b"null",
    b"\xef\xbb\xbf",
    b"\xff",
    b"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\"",
    b"\\ud800",
    b"-1e999",
    b"\"kind\":\"EventList\"",
    b"\x1f\x8b\x08\x00",
];

const SEEDS: &str = include_str!("events.jsonl");

/// The seeds: one real event a line.
pub(crate) fn seeds() -> Vec<&'static str> {
    SEEDS.lines().collect()
}

/// One of them.
pub(crate) fn seed(chance: &mut Chance) -> &'static str {
    let seeds = seeds();
    seeds[chance.below(seeds.len())]
}

/// A seed with an audit id of our own.
pub(crate) fn event(seed: &str, id: &str) -> String {
    let (before, rest) = seed.split_once("\"auditID\":\"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    format!("{before}\"auditID\":\"{id}\"{after}")
}

/// The audit ids and the number of rejects in a block.
pub(crate) fn read(block: &Block, ids: &mut Vec<String>) -> usize {
    let mut rejects = 0;
    each_event(block, &mut |decoded| match decoded {
        Decoded::Event(_, text) => {
            let rest = text
                .split_once("\"auditID\":\"")
                .map_or("", |(_, rest)| rest);
            ids.push(rest.split('"').next().unwrap_or_default().to_owned());
        }
        Decoded::Reject(_) => rejects += 1,
    });
    rejects
}

/// Feeds pieces; says what came out, and fails when the framer holds more than it may.
fn frame(
    mut framer: Framer,
    limits: Limits,
    pieces: &[&[u8]],
) -> Result<(Vec<String>, usize), String> {
    let (mut ids, mut rejects, mut seen) = (Vec::new(), 0, 0);
    let bound = limits.record_bytes_max + 2 * limits.block_bytes;
    for piece in pieces {
        framer.feed(piece);
        seen += piece.len();
        while let Some(block) = framer.next_block() {
            if block.end() > seen as u64 {
                return Err(format!("a block ends at {} of {seen}", block.end()));
            }
            rejects += read(&block, &mut ids);
        }
        if framer.held() > bound {
            return Err(format!("{} bytes are held, {bound} may be", framer.held()));
        }
    }
    framer.finish();
    while let Some(block) = framer.next_block() {
        rejects += read(&block, &mut ids);
    }
    Ok((ids, rejects))
}

fn limits(chance: &mut Chance) -> Limits {
    if chance.one_in(2) {
        Limits::default()
    } else {
        Limits {
            block_bytes: 2 + chance.below(4096),
            record_bytes_max: 1 + chance.below(8192),
        }
    }
}

/// A log in one of the layouts that there are.
fn layout(chance: &mut Chance, events: &[String]) -> String {
    let gap = *chance.pick(&["", " ", "\n", "\r\n  "]);
    match chance.below(5) {
        0 => events.join("\n") + "\n",
        1 => format!(
            "{{\"kind\":\"EventList\",{gap}\"items\":[{gap}{}]}}",
            events.join(&format!(",{gap}"))
        ),
        2 => format!("[{gap}{}]", events.join(&format!("{gap},"))),
        3 => events.join(gap),
        _ => events
            .iter()
            .map(|event| event.replace(",\"", ",\n  \""))
            .collect(),
    }
}

#[test]
fn decode_any_layout() {
    run("decode_any_layout", 400, |chance, input| {
        let events: Vec<String> = (0..chance.below(8))
            .map(|n| event(seed(chance), &format!("id-{n}")))
            .collect();
        *input = layout(chance, &events).into_bytes();
        chance.damage(input, &WORDS);
        let limits = limits(chance);
        let pieces = chance.cut(input);
        let framer = if chance.one_in(2) {
            Framer::new(limits)
        } else {
            Framer::of_documents(limits)
        };
        frame(framer, limits, &pieces).map(drop)
    });
}

/// A line that is damaged costs no other line anything.
#[test]
fn decode_neighbours_survive() {
    run("decode_neighbours_survive", 400, |chance, input| {
        let before = 1 + chance.below(4);
        let lines = |from: usize, to: usize, chance: &mut Chance| -> Vec<String> {
            (from..to)
                .map(|n| event(seed(chance), &format!("id-{n}")))
                .collect()
        };
        let (front, back) = (lines(0, before, chance), lines(before, before + 4, chance));
        let mut bad = event(seed(chance), "bad").into_bytes();
        chance.damage(&mut bad, &WORDS);
        *input = (front.join("\n") + "\n").into_bytes();
        input.extend_from_slice(&bad);
        input.extend_from_slice(format!("\n{}\n", back.join("\n")).as_bytes());
        let pieces = chance.cut(input);
        let limits = Limits::default();
        frame(Framer::new(limits), limits, &pieces).and_then(|(ids, rejects)| {
            let good: Vec<&String> = ids.iter().filter(|id| id.starts_with("id-")).collect();
            let expected: Vec<String> = (0..before + 4).map(|n| format!("id-{n}")).collect();
            let is_blank = is_blank(&bad);
            if good.iter().copied().ne(&expected) {
                return Err(format!("only {good:?} came out"));
            }
            // What is not blank is counted as something.
            if ids.len() == good.len() && rejects == 0 && !is_blank && !is_list(&bad) {
                return Err("the damaged line counts as nothing".to_owned());
            }
            Ok(())
        })
    });
}

/// White space, NULs, and a byte order mark among them.
fn is_blank(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .all(|c| c.is_whitespace() || matches!(c, '\0' | '\u{feff}'))
}

/// Lists may be empty, which is neither an event nor a reject.
fn is_list(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("items") || text.contains("EventList") || text.trim_start().starts_with('[')
}
