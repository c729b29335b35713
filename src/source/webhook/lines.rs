//! One request's body as the lines that the journal keeps.
//!
//! An API server writes a batch as one line of JSON, which is kept as it came, byte by byte,
//! without a look at what is in it. Any other body is taken apart into its records, and each
//! becomes a line.

use std::{collections::VecDeque, io};

use bytes::Bytes;
use memchr::memchr;

use crate::decode::{Block, Framer, Limits, Records};

/// A longer body is taken apart, so that no more than this is held of it.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// Lines are handed on once they are this many bytes.
const LINES_BYTES: usize = 4 << 20;

/// A body on its way to being lines.
#[derive(Default)]
pub(super) struct Lines {
    /// The body so far, while it is one line.
    line: Vec<Bytes>,
    line_bytes: u64,
    /// That line has ended.
    has_ended: bool,
    /// There is something else than white space in it.
    has_text: bool,
    /// Takes the body apart, once it is known to be something else.
    framer: Option<Box<Framer>>,
    /// Whole lines that were not handed on yet.
    whole: Vec<u8>,
    ready: VecDeque<Vec<Bytes>>,
}

impl Lines {
    /// How many bytes are held.
    pub(super) fn held(&self) -> u64 {
        let framed = self.framer.as_ref().map_or(0, |framer| framer.held());
        self.line_bytes + (framed + self.whole.len()) as u64
    }

    /// Takes some bytes of the body.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        if self.framer.is_none() && self.goes_on(&bytes) {
            self.line_bytes += bytes.len() as u64;
            self.line.push(bytes);
            return;
        }
        self.take_apart(&bytes);
    }

    /// The body has ended.
    pub(super) fn finish(&mut self) {
        if let Some(framer) = &mut self.framer {
            framer.finish();
            self.take_blocks();
            self.hand_out();
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        self.line_bytes = 0;
        if !self.has_ended {
            line.push(Bytes::from_static(b"\n"));
        }
        if self.has_text {
            self.ready.push_back(line);
        }
    }

    /// The body's compression is damaged from here on.
    pub(super) fn finish_corrupt(&mut self, error: &io::Error) {
        self.take_apart(&Bytes::new());
        if let Some(framer) = &mut self.framer {
            framer.finish_corrupt(error);
        }
        self.take_blocks();
        self.hand_out();
    }

    /// The next lines to hand on.
    pub(super) fn next(&mut self) -> Option<Vec<Bytes>> {
        self.ready.pop_front()
    }

    /// Whether with these bytes the body is still one line, not too long.
    fn goes_on(&mut self, bytes: &[u8]) -> bool {
        self.has_text = self.has_text || !is_blank(bytes);
        let behind = match memchr(b'\n', bytes) {
            _ if self.has_ended => bytes,
            None => b"",
            Some(end) => {
                self.has_ended = true;
                &bytes[end + 1..]
            }
        };
        is_blank(behind) && self.line_bytes + bytes.len() as u64 <= LINE_BYTES_MAX
    }

    fn take_apart(&mut self, bytes: &[u8]) {
        let framer = self
            .framer
            .get_or_insert_with(|| Box::new(Framer::of_documents(Limits::default())));
        for piece in self.line.drain(..) {
            framer.feed(&piece);
        }
        self.line_bytes = 0;
        framer.feed(bytes);
        self.take_blocks();
    }

    fn take_blocks(&mut self) {
        while let Some(block) = self.framer.as_mut().and_then(|framer| framer.next_block()) {
            add_lines(&block, &mut self.whole);
            if self.whole.len() >= LINES_BYTES {
                self.hand_out();
            }
        }
    }

    fn hand_out(&mut self) {
        if !self.whole.is_empty() {
            let lines = std::mem::take(&mut self.whole);
            self.ready.push_back(vec![lines.into()]);
        }
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

/// Each record as a line. Line ends in a record are white space between its parts; where they are
/// not, it is no JSON, and stays none.
fn add_lines(block: &Block, lines: &mut Vec<u8>) {
    for reject in &block.rejects {
        // What was lost is a line that is no event, so that it counts whenever it is read.
        let _ = serde_json::to_writer(&mut *lines, &reject.head);
        lines.push(b'\n');
    }
    let Records::Spans(spans) = &block.records else {
        return;
    };
    for &(start, end) in spans {
        let record = block.bytes.get(start as usize..end as usize);
        let record = record.unwrap_or_default();
        lines.extend(record.iter().map(|byte| match byte {
            b'\n' | b'\r' => b' ',
            byte => *byte,
        }));
        lines.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decoded, each_event};
    use proptest::prelude::*;

    /// The entries of a body that comes in pieces.
    fn entries(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        for piece in pieces {
            lines.feed(Bytes::copy_from_slice(piece));
        }
        lines.finish();
        assert_eq!(lines.held(), 0);
        std::iter::from_fn(|| lines.next())
            .map(|pieces| pieces.concat())
            .collect()
    }

    fn lines(body: &str) -> String {
        String::from_utf8(entries(&[body.as_bytes()]).concat()).unwrap()
    }

    /// How many events and rejects there are in a block.
    fn count(block: &Block) -> (usize, usize) {
        let (mut events, mut rejects) = (0, 0);
        each_event(block, &mut |decoded| match decoded {
            Decoded::Event(..) => events += 1,
            Decoded::Reject(_) => rejects += 1,
        });
        (events, rejects)
    }

    #[test]
    fn a_line_stays_as_it_is() {
        for (body, kept) in [
            ("{\"items\":[]}\n", "{\"items\":[]}\n"),
            ("{\"items\": [ ]}", "{\"items\": [ ]}\n"),
            ("{}\n\r\n ", "{}\n\r\n "),
            ("no JSON", "no JSON\n"),
            (" ", ""),
            ("\n\n", ""),
            ("", ""),
        ] {
            assert_eq!(lines(body), kept, "{body:?}");
        }
    }

    #[test]
    fn many_lines_become_one_a_record() {
        let pretty =
            "{\n  \"kind\": \"EventList\",\n  \"items\": [\n {\"a\":\n1},\r\n {\"b\": 2}\n]\n}\n";
        assert_eq!(lines(pretty), "{\"a\": 1}\n{\"b\": 2}\n");
        assert_eq!(lines("{\"a\":1}\n{\"b\":2}"), "{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(lines("\n{\"a\":1}"), "{\"a\":1}\n");
    }

    #[test]
    fn what_is_lost_is_still_counted() {
        let kept = lines("{\"items\":[\n{\"a\":]},\n{\"b\":2}\n]}");
        let block = Block::of_lines(kept.clone().into(), 0);
        // One that is no JSON, and one that is no event.
        assert_eq!(count(&block), (0, 2), "{kept}");
    }

    #[test]
    fn a_long_body_is_handed_on_in_parts() {
        let item = format!(
            "{{\"auditID\":\"a\",\"stage\":\"Panic\",\"x\":\"{}\"}}",
            "x".repeat(4000)
        );
        let items = vec![item.as_str(); 4000];
        let body = format!("{{\"items\":[{}]}}", items.join(","));
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(100_000).collect();
        let entries = entries(&pieces);
        assert!(entries.len() > 2, "{}", entries.len());
        let counts = entries
            .into_iter()
            .map(|entry| count(&Block::of_lines(entry.into(), 0)).0);
        assert_eq!(counts.sum::<usize>(), 4000);
    }

    proptest! {
        /// However a good body is written and cut, its events are the same.
        #[test]
        fn no_event_depends_on_the_layout(
            names in prop::collection::vec("[a-z]{1,3}", 0..5),
            gap in prop::sample::select(vec!["", " ", "\n", "\r\n  "]),
            cut in 0usize..200,
        ) {
            let items: Vec<String> = names.iter().map(|name| {
                format!("{{\"auditID\":{gap}\"{name}\",\"stage\":\"Panic\"}}")
            }).collect();
            let body = format!("{{{gap}\"items\":[{}]{gap}}}{gap}", items.join(&format!(",{gap}")));
            let cut = cut.min(body.len());
            let kept = entries(&[&body.as_bytes()[..cut], &body.as_bytes()[cut..]]).concat();
            let block = Block::of_lines(kept.into(), 0);
            prop_assert_eq!(count(&block), (names.len(), 0));
        }
    }
}
