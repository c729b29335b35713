//! Where the events of a file begin that are not older than a moment.

use std::io;

use super::{disk::DiskFile, held::HeldFile};
use crate::{
    decode::{Block, Decoded, Framer, Limits, each_event, is_corruption},
    event::{Context, Event},
    units::Time,
};

/// A stretch this short is read through rather than halved again.
const STRETCH: u64 = 64 << 10;

/// How much is read to find an event's stamp. Where there is none in that, the place is taken to
/// be new enough.
const PROBE: usize = 1 << 20;

/// Where the first line begins that has an event from `cutoff` on or later; the end of the whole
/// lines when there is none. Logs are written nearly in the order of their stamps: plain files
/// are searched by halves, compressed ones from their beginning.
pub(super) fn place<F: DiskFile>(
    file: &mut HeldFile<F>,
    cutoff: Time,
    limits: Limits,
) -> io::Result<u64> {
    if file.is_packed() {
        return walk(file, 0, u64::MAX, cutoff, limits);
    }
    let end = file.end_of_whole_lines()?;
    let (mut older, mut newer) = (0, end);
    while newer - older > STRETCH {
        let middle = older + (newer - older) / 2;
        match probe(file, middle, newer, limits)? {
            Some((line, stamp)) if stamp < cutoff => older = line,
            _ => newer = middle,
        }
    }
    walk(file, older, end, cutoff, limits)
}

/// The first line from `from` on that has a stamped event, when it begins before `to`.
fn probe<F: DiskFile>(
    file: &mut HeldFile<F>,
    from: u64,
    to: u64,
    limits: Limits,
) -> io::Result<Option<(u64, Time)>> {
    let mut bytes = vec![0; PROBE.min((to - from) as usize)];
    let mut len = 0;
    while len < bytes.len() {
        match file.read(from + len as u64, &mut bytes[len..])? {
            0 => break,
            read => len += read,
        }
    }
    // The line that `from` is in began before it.
    let mut start = match memchr::memchr(b'\n', &bytes[..len]) {
        Some(end) => end + 1,
        None => return Ok(None),
    };
    while let Some(end) = memchr::memchr(b'\n', &bytes[start..len]) {
        let line = &bytes[start..=start + end];
        if let Some(stamp) = stamp(line, limits) {
            return Ok(Some((from + start as u64, stamp)));
        }
        start += end + 1;
    }
    Ok(None)
}

/// Reads on from the beginning of a line until there is one that is new enough.
fn walk<F: DiskFile>(
    file: &mut HeldFile<F>,
    from: u64,
    end: u64,
    cutoff: Time,
    limits: Limits,
) -> io::Result<u64> {
    let mut framer = Framer::of_lines(limits, from);
    let mut buffer = vec![0; STRETCH as usize];
    let mut at = from;
    while at < end {
        let most = buffer.len().min((end - at) as usize);
        let read = match file.read(at, &mut buffer[..most]) {
            // A damaged end is counted by whoever reads it.
            Err(error) if is_corruption(&error) => 0,
            read => read?,
        };
        if read == 0 {
            break;
        }
        at += read as u64;
        framer.feed(&buffer[..read]);
        framer.flush();
        while let Some(block) = framer.next_block() {
            if let Some(line) = first_from(&block, cutoff, limits) {
                return Ok(block.offset + line as u64);
            }
        }
    }
    Ok(framer.consumed())
}

/// Where in a block the first line begins that is new enough.
fn first_from(block: &Block, cutoff: Time, limits: Limits) -> Option<usize> {
    if newest(block)? < cutoff {
        return None;
    }
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &block.bytes) {
        if stamp(&block.bytes[start..=end], limits).is_some_and(|stamp| stamp >= cutoff) {
            break;
        }
        start = end + 1;
    }
    Some(start)
}

/// The latest stamp of the events in a line.
fn stamp(line: &[u8], limits: Limits) -> Option<Time> {
    let mut framer = Framer::new(limits);
    framer.feed(line);
    framer.finish();
    let mut latest = None;
    while let Some(block) = framer.next_block() {
        latest = latest.max(newest(&block));
    }
    latest
}

fn newest(block: &Block) -> Option<Time> {
    let context = Context::default();
    let mut latest = None;
    each_event(block, &mut |decoded| {
        if let Decoded::Event(slots, raw) = decoded {
            latest = latest.max(Event::new(slots, raw, &context).stamped());
        }
    });
    latest
}
