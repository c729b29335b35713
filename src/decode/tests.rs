//! The whole way from bytes to events: every layout, every cut, everything that can be wrong.

use std::io::{Read, Write};

use proptest::prelude::*;

use super::{Block, Decoded, Framer, Limits, Reason, Reject, each_event, open};
use crate::event::Slot;

/// A small event; its audit ID is `id`.
fn event(id: &str) -> String {
    format!(
        "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Request\",\"auditID\":\"{id}\",\
         \"stage\":\"ResponseComplete\",\"requestURI\":\"/api/v1/pods?a=1\\u0026b\",\"verb\":\"list\",\
         \"user\":{{\"username\":\"alice\",\"groups\":[\"a\",\"b\"],\"extra\":{{\"k\":[\"v\"]}}}},\
         \"sourceIPs\":[\"10.0.0.1\"],\"objectRef\":{{\"resource\":\"pods\"}},\
         \"responseStatus\":{{\"metadata\":{{}},\"code\":403}},\
         \"requestObject\":{{\"items\":[{{\"a\":\"}} ]\"}}]}},\
         \"stageTimestamp\":\"2026-11-23T11:05:12.061588Z\"}}"
    )
}

/// Blocks so small that every boundary is met.
const SMALL: Limits = Limits {
    block_bytes: 64,
    record_bytes_max: 2000,
};

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Audit ID and whole text of each event.
    events: Vec<(String, String)>,
    rejects: Vec<Reject>,
}

impl Outcome {
    fn take(&mut self, block: &Block) {
        each_event(block, &mut |decoded| match decoded {
            Decoded::Event(slots, raw) => {
                self.events
                    .push((slots.raw(Slot::AuditId).to_owned(), raw.to_owned()));
            }
            Decoded::Reject(reject) => self.rejects.push(reject),
        });
    }

    fn ids(&self) -> String {
        self.events
            .iter()
            .map(|(id, _)| id.trim_matches('"'))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn reasons(&self) -> String {
        self.rejects
            .iter()
            .map(|reject| reject.reason.name())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Reads a stream that comes in chunks of the given sizes, over and over.
fn read_in(limits: Limits, bytes: &[u8], sizes: &[usize]) -> Outcome {
    let mut framer = Framer::new(limits);
    let mut outcome = Outcome::default();
    let mut rest = bytes;
    let mut end = 0;
    for size in sizes.iter().cycle() {
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        framer.feed(chunk);
        rest = after;
        if rest.is_empty() {
            framer.finish();
        }
        while let Some(block) = framer.next_block() {
            assert!(block.offset >= end, "blocks are in order");
            end = block.end();
            assert_eq!(framer.consumed(), end);
            outcome.take(&block);
        }
        if rest.is_empty() {
            break;
        }
    }
    // Which block carries a reject depends on the chunks; where it begins does not.
    outcome
        .rejects
        .sort_by_key(|reject| (reject.offset, reject.reason));
    outcome
}

fn read(bytes: impl AsRef<[u8]>) -> Outcome {
    read_in(SMALL, bytes.as_ref(), &[1000])
}

#[test]
fn reads_every_layout() {
    let [a, b, c] = ["a", "b", "c"].map(event);
    let list =
        |items: &str| format!("{{\"kind\":\"EventList\",\"metadata\":{{}},\"items\":{items}}}");
    let pretty = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    };
    let bare = a.replace("\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",", "");
    for text in [
        format!("{a}\n{b}\n{c}\n"),
        format!("{a}\r\n\r\n{b}\r\n{c}"),
        format!("\u{feff}{a}\n{b}\n{c}\n"),
        format!("\0\0\0\n  \n{a}\n\0\0{b}\0\n\0\0\n{c}\n\0\0"),
        format!("{a} {b}\n{c}\n"),
        format!("{a}{b}{c}"),
        format!("[{a},{b},{c}]"),
        format!("[{a},{b}]\n{c}\n"),
        format!("[\n{a},\n{b},\n{c}\n]\n"),
        format!("[{}]", list(&format!("[{a},{b},{c}]"))),
        format!("{}\n{c}\n", list(&format!("[{a},{b}]"))),
        format!("{}{}", list(&format!("[{a},{b}]")), list(&format!("[{c}]"))),
        format!("{}\n{}\n", list("null"), list(&format!("[{a},{b},{c}]"))),
        format!("{{\"kind\":\"EventList\"}}\n{{\"items\":[]}}\n{a}\n{b}\n{c}\n"),
        format!("{{\"kind\":\"EventList\",\"items\":[\n{a},\n{b},\n{c}]}}\n"),
        format!("{}\n{}\n{}\n", pretty(&a), pretty(&b), pretty(&c)),
        pretty(&list(&format!("[{a},{b},{c}]"))),
        pretty(&list(&format!("[{a},{b},{c}]"))).replace('\n', "\r\n"),
        pretty(&format!("[{a},{b},{c}]")),
        format!("{}{c}\n", pretty(&list(&format!("[{a},{b}]")))),
        format!(
            "{bare}\n{}\n{c}",
            b.replace("audit.k8s.io/v1", "audit.k8s.io/v1beta1")
        ),
    ] {
        let outcome = read(&text);
        assert_eq!(
            (outcome.ids().as_str(), outcome.reasons().as_str()),
            ("a b c", ""),
            "{text}"
        );
    }
}

/// Checks the audit IDs of the events and the reasons of the rejects in `text`.
#[track_caller]
fn expect(text: impl AsRef<str>, ids: &str, reasons: &str) {
    let text = text.as_ref();
    let outcome = read(text);
    assert_eq!(
        (outcome.ids().as_str(), outcome.reasons().as_str()),
        (ids, reasons),
        "{text}"
    );
}

#[test]
fn a_bad_line_is_one_reject() {
    let [a, b, c] = ["a", "b", "c"].map(event);
    let long = "x".repeat(3000);
    expect(
        format!("{a}\nI1123 11:05:17 klog] text\n{c}\n"),
        "a c",
        "not_json",
    );
    expect(
        format!("{a}\n{{\"kind\":\"Pod\"}}\n{c}\n"),
        "a c",
        "not_an_event",
    );
    expect(
        format!("{a}\n\"text\"\n12\n{c}\n"),
        "a c",
        "not_an_event not_an_event",
    );
    expect(format!("{a}\n{long}\n{c}\n"), "a c", "too_long");
    expect(format!("{a}\n{c}\n{long}"), "a c", "too_long");
    expect(format!("{a}]{c}\n{b}\n"), "a c b", "not_json");
    expect(format!("{{\"items\":{{}}}}\n{a}\n"), "a", "shape");
}

#[test]
fn a_torn_record_loses_no_neighbour() {
    let [a, b, c] = ["a", "b", "c"].map(event);
    let half = &b[..b.len() / 2];
    let in_text = &b[..b.find("alice").unwrap() + 2];
    expect(format!("{a}\n{c}\n{half}"), "a c", "torn");
    expect(format!("{a}\n{half}\n{c}\n"), "a c", "torn");
    expect(format!("{half}\n{c}\n{a}\n"), "c a", "torn");
    // A writer that died, and the next one's line behind it.
    expect(format!("{a}\n{half}{c}\n"), "a c", "torn");
    expect(format!("{in_text}{c}\n{a}\n"), "c a", "torn");
    expect(format!("[\n  {a},\n  {half}\n  {c}\n]"), "a c", "torn");
    expect(format!("[\n{a},\n{c},\n"), "a c", "torn");
    // What a caller put into a request body is no next record.
    let body = a.replace("{\"items\"", &format!("{{\"x\":{c},\"items\""));
    expect(format!("{}\n{b}\n", &body[..body.len() - 9]), "b", "torn");
    expect(format!("{half}{body}\n"), "a", "torn");
}

#[test]
fn a_bad_item_is_one_reject() {
    let [a, c] = ["a", "c"].map(event);
    let long = "x".repeat(3000);
    expect(format!("[{a},tru,{c}]\n"), "a c", "not_json");
    expect(format!("[{a},null,{c}]\n"), "a c", "not_an_event");
    expect(format!("[{a},\n\"{long}\",{c}]"), "a c", "too_long");
    expect(
        format!("{{\"items\":[{a},{{\"b\":01}},{c}]}}\n"),
        "a c",
        "not_json",
    );
    expect(
        format!("{{\"items\":[{a},{{}},12,{c}]}}\n"),
        "a c",
        "not_an_event not_an_event",
    );
    expect(
        format!("[\n{a},\n{{\"b\":01}},\n\"x\", true ,{c}]\n"),
        "a c",
        "not_json not_an_event not_an_event",
    );
}

#[test]
fn a_bad_pretty_printed_record_is_one_reject() {
    let [b, c] = ["b", "c"].map(event);
    let value: serde_json::Value = serde_json::from_str(&b).unwrap();
    let b = serde_json::to_string_pretty(&value).unwrap();
    let broken = b.replace("\"a\",", "\"a,");
    expect(format!("{b}\n{broken}\n{b}\n"), "b b", "torn");
    expect(format!("{b}\nsome text {{\n{b}\n"), "b b", "not_json");
    expect(format!("{b}\n]\n{c}\n"), "b c", "not_json");
    expect(
        format!("{}\n{c}\n", b.replace("\"code\": 403", "]")),
        "c",
        "not_json",
    );
}

#[test]
fn wrong_types_cost_what_cannot_be_read() {
    let [a, c] = ["a", "c"].map(event);
    // Parts without which an event cannot be judged.
    for (right, wrong) in [
        ("\"alice\"", "7"),
        ("{\"resource\":\"pods\"}", "\"pods\""),
        ("\"a\",\"stage\"", "5,\"stage\""),
    ] {
        expect(format!("{}\n{c}\n", a.replace(right, wrong)), "c", "shape");
    }
    // Parts that are absent when they cannot be read, or when they are null.
    for (right, other) in [
        ("[\"a\",\"b\"]", "\"a\""),
        ("403", "\"403\""),
        ("{\"resource\":\"pods\"}", "null"),
        ("[\"a\",\"b\"]", "null"),
        ("[\"10.0.0.1\"]", "null"),
    ] {
        expect(a.replace(right, other), "a", "");
    }
}

#[test]
fn not_utf8_loses_no_neighbour() {
    let [a, c] = ["a", "c"].map(event);
    let outcome = read([a.as_bytes(), b"\n{\"\xff\":1}\n", c.as_bytes(), b"\n"].concat());
    assert_eq!(
        (outcome.ids().as_str(), outcome.reasons().as_str()),
        ("a c", "not_utf8")
    );
    assert_eq!(outcome.rejects[0].offset, a.len() as u64 + 1);
}

#[test]
fn fills_slots_with_what_stands_there() {
    let text = event("a")
        .replace(
            "\"verb\":\"list\"",
            "\"verb\":\"get\", \"v\\u0065rb\" :  \"li\\u0073t\"",
        )
        .replace("alice", "\\ud800 \\\"");
    let mut framer = Framer::new(Limits::default());
    framer.feed(text.as_bytes());
    framer.finish();
    let block = framer.next_block().unwrap();
    let mut seen = 0;
    each_event(&block, &mut |decoded| {
        let Decoded::Event(slots, raw) = decoded else {
            panic!("{decoded:?}")
        };
        seen += 1;
        assert_eq!(raw, text);
        for (slot, expected) in [
            (Slot::Verb, "\"li\\u0073t\""),
            (Slot::UserName, "\"\\ud800 \\\"\""),
            (Slot::UserGroups, "[\"a\",\"b\"]"),
            (Slot::UserExtra, "{\"k\":[\"v\"]}"),
            (Slot::StatusCode, "403"),
            (Slot::Resource, "\"pods\""),
            (Slot::RequestObject, "{\"items\":[{\"a\":\"} ]\"}]}"),
            (Slot::ImpersonatedName, ""),
        ] {
            assert_eq!(slots.raw(slot), expected, "{slot:?}");
        }
    });
    assert_eq!(seen, 1);
}

#[test]
fn depth_and_length_are_no_danger() {
    let depth = 100_000;
    let body = format!("{}1{}", "{\"a\":[".repeat(depth), "]}".repeat(depth));
    let deep = event("deep").replace("{\"items\":[{\"a\":\"} ]\"}]}", &body);
    let lists = format!("{}{}", "{\"items\":[".repeat(depth), "]}".repeat(depth));
    let arrays = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let long = event("long").replace("alice", &"x".repeat(16 << 20));
    let text = format!("{deep}\n{lists}\n{arrays}\n{long}\n{deep}");
    let outcome = read_in(Limits::default(), text.as_bytes(), &[256 << 10]);
    assert_eq!(outcome.ids(), "deep long deep");
    assert_eq!(outcome.reasons(), "not_an_event not_an_event");
}

#[test]
fn memory_stays_at_the_cap() {
    let item = event("a");
    for text in [
        format!("{{\"items\":[{}{item}]}}", format!("{item},").repeat(500)),
        format!("[{}{item}]", format!("{item},").repeat(500)),
        "x".repeat(300_000),
        format!("{{\"a\":\"{}", "x".repeat(300_000)),
        "\0".repeat(300_000),
        format!("{item}\n{}", "\0".repeat(300_000)),
        " \n".repeat(150_000),
    ] {
        let mut framer = Framer::new(SMALL);
        for chunk in text.as_bytes().chunks(64) {
            framer.feed(chunk);
            while framer.next_block().is_some() {}
            let held = framer.held();
            assert!(
                held <= SMALL.record_bytes_max + 2 * SMALL.block_bytes,
                "{held}: {}",
                &text[..20]
            );
        }
    }
}

#[test]
fn a_live_stream_keeps_its_partial_line() {
    let [a, b] = ["a", "b"].map(event);
    let (half, rest) = b.split_at(100);
    let mut framer = Framer::starting_at(Limits::default(), 1000);
    framer.feed(format!("{a}\n{half}").as_bytes());
    assert!(framer.next_block().is_none());
    framer.flush();
    let mut outcome = Outcome::default();
    outcome.take(&framer.next_block().unwrap());
    let first_end = 1000 + a.len() as u64 + 1;
    assert_eq!(
        (outcome.ids().as_str(), framer.consumed()),
        ("a", first_end)
    );
    framer.flush();
    assert!(framer.next_block().is_none());
    framer.feed(format!("{rest}\n").as_bytes());
    framer.flush();
    outcome.take(&framer.next_block().unwrap());
    assert_eq!(
        (outcome.ids().as_str(), outcome.reasons().as_str()),
        ("a b", "")
    );
    assert_eq!(framer.consumed(), first_end + b.len() as u64 + 1);
}

#[test]
fn damaged_compression_is_one_reject() {
    let lines: String = (0..2000)
        .map(|n| event(&format!("{}", n * 7919 % 104_729)) + "\n")
        .collect();
    let mut packed = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    packed.truncate(packed.len() * 2 / 3);
    let mut reader = open(&packed[..]).unwrap();
    let mut framer = Framer::new(Limits::default());
    loop {
        match framer.read_from(&mut reader) {
            Ok(0) => panic!("the end must not be reached"),
            Ok(_) => {}
            Err(error) => break framer.finish_corrupt(&error),
        }
    }
    let mut outcome = Outcome::default();
    while let Some(block) = framer.next_block() {
        outcome.take(&block);
    }
    assert!(outcome.events.len() > 100);
    assert_eq!(outcome.reasons(), "corrupt_compression");
}

/// Streams of the pieces that matter, right and wrong.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(event("a").into_bytes()),
        1 => Just(b"{\"kind\":\"EventList\",\"items\":[".to_vec()),
        1 => Just(event("torn").into_bytes()[..120].to_vec()),
        1 => Just(serde_json::to_vec_pretty(
            &serde_json::from_str::<serde_json::Value>(&event("p")).unwrap()).unwrap()),
        6 => prop::sample::select(vec!["\n", "\r\n", "{", "}", "[", "]", ",", ":", "\"", "\\", "\0",
            " ", "  ", "\n  {", "null", "12", "klog text", "\"items\"", "\"items\":[", "é"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (1usize..300).prop_map(|count| vec![b'x'; count]),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn chunks_do_not_matter(
        stream in streams(),
        sizes in prop::collection::vec(1usize..200, 1..8),
        block_bytes in 2usize..300,
        record_bytes_max in 200usize..1500,
    ) {
        let limits = Limits { block_bytes, record_bytes_max };
        let whole = read_in(limits, &stream, &[usize::MAX]);
        prop_assert_eq!(&whole, &read_in(limits, &stream, &sizes));
        prop_assert_eq!(&whole, &read_in(limits, &stream, &[1]));
    }

    #[test]
    fn each_line_is_an_event_or_a_reject(lines in prop::collection::vec("[a-z\"0-9]\\PC{0,60}", 1..20)) {
        // A first line that is whole makes this a stream of lines.
        let stream = format!("{}\n{}\n", event("a"), lines.join("\n"));
        let outcome = read(&stream);
        let is_blank = |line: &&str| line.trim_ascii().trim_matches('\u{feff}').is_empty();
        let records = stream.split('\n').filter(|line| !is_blank(line)).count();
        prop_assert_eq!(outcome.events.len() + outcome.rejects.len(), records);
    }
}

#[test]
fn packed_is_the_same_as_plain() {
    let lines = format!("{}\n{}\n", event("a"), event("b"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    for packed in [
        gzip.finish().unwrap(),
        zstd::encode_all(lines.as_bytes(), 1).unwrap(),
    ] {
        let mut plain = Vec::new();
        open(&packed[..]).unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(read(&plain), read(&lines));
    }
}

#[test]
fn reasons_have_distinct_names() {
    let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}
