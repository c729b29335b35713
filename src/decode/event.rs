//! One record to the slots of its events: the place where a faster scanner can be put.
//!
//! A record is an event, a list of events (`EventList`, or any object with `items`), an array of
//! them, or several of these behind one another. An object's parts are stepped over, not parsed:
//! a slot is a slice of the block, and an item of a list is read where it stands. A later key
//! replaces an earlier one of the same name, `null` is absence, unknown keys are stepped over.
//!
//! What has the wrong type counts as absent, but for what says who did what: an event in which
//! that cannot be read is one reject (`shape`) rather than one judged half blind.

use std::borrow::Cow;

use memchr::memmem;

use super::{
    framer::{Block, End, Records},
    json::{Cursor, Fault},
    reject::{Reason, Reject},
    values::{Chunk, Level, Values},
};
use crate::event::{Slot, Slots};

/// What a record turned out to be.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is the usual one, and is never stored"
)]
pub enum Decoded<'b> {
    /// An audit event: its slots, and its whole JSON text.
    Event(Slots<'b>, &'b str),
    /// Bytes that are none.
    Reject(Reject),
}

/// Reads the records of a block in their order and shows each event and reject to `visit`.
pub fn each_event<'b>(block: &'b Block, visit: &mut dyn FnMut(Decoded<'b>)) {
    for reject in &block.rejects {
        visit(Decoded::Reject(reject.clone()));
    }
    let mut reader = Reader {
        bytes: &block.bytes,
        base: block.offset,
        item: None,
        visit,
    };
    let length = block.bytes.len();
    let mut read = |start: usize, end: usize, is_last: bool| {
        let whole = if is_last { block.end } else { End::Whole };
        reader.record(start, end, whole);
    };
    match &block.records {
        Records::Lines => {
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', &block.bytes) {
                read(start, end, false);
                start = end + 1;
            }
            read(start, length, true);
        }
        Records::Spans(spans) => {
            for (index, &(start, end)) in spans.iter().enumerate() {
                read(start as usize, end as usize, index + 1 == spans.len());
            }
        }
    }
}

/// Reads the text of a single event again, as [`Decoded::Event`] gave it; `None` when it is none.
pub fn event(text: &str) -> Option<Slots<'_>> {
    let mut found = None;
    let mut reader = Reader {
        bytes: text.as_bytes(),
        base: 0,
        item: None,
        visit: &mut |decoded| {
            if let Decoded::Event(slots, _) = decoded {
                found = Some(slots);
            }
        },
    };
    reader.record(0, text.len(), End::Whole);
    found
}

/// How the text of a record that was cut off by a crash goes on: with the next record of the
/// process that came after.
const NEXT_RECORD: &[u8] = b"{\"kind\":\"Event";
const NEXT_RECORD_REST: [&[u8]; 2] = [
    b"\",\"apiVersion\":\"audit.k8s.io/",
    b"List\",\"apiVersion\":\"audit.k8s.io/",
];
/// How many places in a bad record are tried as the beginning of the next one. A caller of the
/// API server can put such text into a request body.
const RESCUES_MAX: usize = 8;
/// Lists are entered this deep: an array of lists of events.
const LISTS_MAX: u8 = 2;

struct Reader<'b, 'v> {
    bytes: &'b [u8],
    /// Where `bytes` begins in the stream.
    base: u64,
    /// Where the innermost list item begins that was not read to its end, and what encloses it.
    item: Option<(usize, Level)>,
    visit: &'v mut dyn FnMut(Decoded<'b>),
}

impl Reader<'_, '_> {
    /// Reads the record in `start..end` of the bytes.
    fn record(&mut self, start: usize, end: usize, whole: End) {
        let mut start = start;
        while start < end {
            let trimmed = trim(&self.bytes[start..end]);
            start += trimmed.start;
            let end = start + trimmed.len();
            let Err(failure) = self.values(start, end) else {
                return;
            };
            let reason = match whole {
                End::Whole => failure.reason,
                End::Torn | End::Rejected => Reason::Torn,
            };
            if let Some(next) = self.next_record(failure.start + 1, end) {
                let is_json = matches!(self.bytes[failure.start], b'{' | b'[');
                let reason = if is_json {
                    Reason::Torn
                } else {
                    Reason::NotJson
                };
                self.reject(reason, failure.start, next);
                start = next;
            } else if let Some((item, level)) = self.item {
                return self.salvage(item, end, level, whole);
            } else {
                if whole != End::Rejected {
                    self.reject(reason, failure.start, end);
                }
                return;
            }
        }
    }

    /// Reads the values in `start..end` up to the first that is none.
    fn values(&mut self, start: usize, end: usize) -> Result<(), Failure> {
        self.item = None;
        let Ok(text) = simdutf8::basic::from_utf8(&self.bytes[start..end]) else {
            return Err(Failure {
                reason: Reason::NotUtf8,
                start,
            });
        };
        let mut cursor = Cursor::new(text, 0);
        while let Some(first) = cursor.peek() {
            let value = start + cursor.at();
            let mut event = EventReader {
                start,
                cursor: &mut cursor,
                reader: self,
            };
            let read = match first {
                b'{' => event.object(0),
                b'[' => event.elements(Level::Array, 1),
                // Lists that were taken apart by lines leave the commas.
                b',' if value > start => {
                    cursor.eat(b',');
                    Ok(())
                }
                _ => event.scalar(),
            };
            read.map_err(|Fault| {
                // A text that is right as far as it goes has lost its end.
                let is_torn = matches!(first, b'{' | b'[') && cursor.peek().is_none();
                let reason = if is_torn {
                    Reason::Torn
                } else {
                    Reason::NotJson
                };
                Failure {
                    reason,
                    start: value,
                }
            })?;
        }
        Ok(())
    }

    /// Where in `from..end` a whole record begins that reaches to the end.
    fn next_record(&self, from: usize, end: usize) -> Option<usize> {
        let bytes = self.bytes.get(from..end)?;
        let is_next = |found: &usize| {
            let rest = &bytes[found + NEXT_RECORD.len()..];
            NEXT_RECORD_REST.iter().any(|next| rest.starts_with(next))
        };
        let mut places = memmem::find_iter(bytes, NEXT_RECORD)
            .filter(is_next)
            .take(RESCUES_MAX);
        places
            .find(|found| is_json(&bytes[*found..]))
            .map(|found| from + found)
    }

    /// Reads what is left of a list in which an item is no JSON: finds the items by their
    /// brackets alone and reads each for itself.
    fn salvage(&mut self, start: usize, end: usize, level: Level, whole: End) {
        let chunk = Chunk {
            bytes: &self.bytes[start..end],
            base: start as u64,
        };
        let mut items = Values::new(level, chunk.base, usize::MAX);
        items.scan(chunk, chunk.base);
        items.finish(chunk);
        let mut is_counted = whole == End::Rejected;
        for (start, end) in std::mem::take(&mut items.records) {
            if let Err(failure) = self.values(start as usize, end as usize) {
                self.reject(failure.reason, failure.start, end as usize);
                is_counted = true;
            }
        }
        for mut reject in items.rejects {
            reject.offset += self.base;
            // That the list has no end is worth a reject only where nothing else is said.
            if reject.reason != Reason::Torn || !std::mem::replace(&mut is_counted, true) {
                (self.visit)(Decoded::Reject(reject));
            }
        }
    }

    fn reject(&mut self, reason: Reason, start: usize, end: usize) {
        let offset = self.base + start as u64;
        (self.visit)(Decoded::Reject(Reject::new(
            reason,
            offset,
            &self.bytes[start..end],
        )));
    }
}

/// A record that could not be read to its end.
struct Failure {
    reason: Reason,
    /// Where the value begins that could not be read.
    start: usize,
}

/// The part of a record that is neither white space nor NUL nor a byte order mark.
fn trim(record: &[u8]) -> std::ops::Range<usize> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    let front = |bytes: &[u8]| bytes.iter().take_while(|byte| is_blank(byte)).count();
    let mut start = front(record);
    if record[start..].starts_with(b"\xef\xbb\xbf") {
        start += 3;
        start += front(&record[start..]);
    }
    let back = record[start..]
        .iter()
        .rev()
        .take_while(|byte| is_blank(byte))
        .count();
    start..record.len() - back
}

fn is_json(bytes: &[u8]) -> bool {
    let Ok(text) = simdutf8::basic::from_utf8(bytes) else {
        return false;
    };
    let mut cursor = Cursor::new(text, 0);
    while cursor.peek().is_some() {
        if cursor.value().is_err() {
            return false;
        }
    }
    true
}

/// Reads one object of a record. Positions are those of the record, which begins at `start`.
struct EventReader<'a, 'b, 'v, 'c> {
    start: usize,
    cursor: &'c mut Cursor<'b>,
    reader: &'a mut Reader<'b, 'v>,
}

impl EventReader<'_, '_, '_, '_> {
    /// Reads an event or a list of events; `lists` is how many lists are around it.
    fn object(&mut self, lists: u8) -> Result<(), Fault> {
        let start = self.cursor.at();
        let (mut slots, mut found) = (Slots::default(), Found::default());
        members(self.cursor, |cursor, key| match event_field(key) {
            Some(Field::Slot(slot, shape)) => fill(cursor, slot, shape, &mut slots, &mut found),
            Some(Field::Part(fields)) => part(cursor, fields, &mut slots, &mut found),
            Some(Field::Items) if lists < LISTS_MAX => {
                found.is_list = true;
                if cursor.peek() == Some(b'[') {
                    let mut items = EventReader {
                        start: self.start,
                        cursor,
                        reader: self.reader,
                    };
                    return items.elements(Level::Items, lists + 1);
                }
                found.is_misshapen |= cursor.value()? != "null";
                Ok(())
            }
            Some(Field::Items) | None => cursor.value().map(|_| ()),
        })?;
        let is_event = !slots.raw(Slot::AuditId).is_empty() && !slots.raw(Slot::Stage).is_empty();
        let is_list = found.is_list || slots.raw(Slot::Kind) == "\"EventList\"";
        if found.is_misshapen {
            self.reject(Reason::Shape, start);
        } else if is_event {
            (self.reader.visit)(Decoded::Event(slots, self.cursor.since(start)));
        } else if !is_list {
            self.reject(Reason::NotAnEvent, start);
        }
        Ok(())
    }

    /// Steps over a number, string or literal, which is no event. Text that begins like one, as
    /// a log line with a date does, is no JSON.
    fn scalar(&mut self) -> Result<(), Fault> {
        let start = self.cursor.at();
        self.cursor.value()?;
        if start > 0 || self.cursor.peek().is_some() {
            return Err(Fault);
        }
        self.reject(Reason::NotAnEvent, start);
        Ok(())
    }

    /// Reads the elements of an array, each an event or, in an outermost array, a list of them.
    fn elements(&mut self, level: Level, lists: u8) -> Result<(), Fault> {
        let outer = self.reader.item;
        self.cursor.eat(b'[');
        if self.cursor.eat(b']') {
            return Ok(());
        }
        loop {
            let first = self.cursor.peek();
            let start = self.cursor.at();
            self.reader.item = Some((self.start + start, level));
            if first == Some(b'{') {
                self.object(lists)?;
            } else {
                self.cursor.value()?;
                self.reject(Reason::NotAnEvent, start);
            }
            if self.cursor.eat(b']') {
                self.reader.item = outer;
                return Ok(());
            }
            if !self.cursor.eat(b',') {
                return Err(Fault);
            }
        }
    }

    fn reject(&mut self, reason: Reason, start: usize) {
        self.reader
            .reject(reason, self.start + start, self.start + self.cursor.at());
    }
}

/// What was noticed about an object while its members were read.
#[derive(Default)]
struct Found {
    is_list: bool,
    /// What says who did what has the wrong type.
    is_misshapen: bool,
}

/// Steps through an object's members; `member` steps over each value.
fn members<'b>(
    cursor: &mut Cursor<'b>,
    mut member: impl FnMut(&mut Cursor<'b>, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    cursor.eat(b'{');
    if cursor.eat(b'}') {
        return Ok(());
    }
    loop {
        match cursor.key()? {
            (key, false) => member(cursor, key)?,
            (key, true) => member(cursor, &unescaped(key))?,
        }
        if cursor.eat(b'}') {
            return Ok(());
        }
        if !cursor.eat(b',') {
            return Err(Fault);
        }
    }
}

/// A key as it is meant. No API server writes a known key with escapes, but it would be one.
fn unescaped(key: &str) -> Cow<'_, str> {
    serde_json::from_str(&format!("\"{key}\"")).map_or(Cow::Borrowed(key), Cow::Owned)
}

fn part<'b>(
    cursor: &mut Cursor<'b>,
    fields: Fields,
    slots: &mut Slots<'b>,
    found: &mut Found,
) -> Result<(), Fault> {
    if cursor.peek() != Some(b'{') {
        found.is_misshapen |= cursor.value()? != "null";
        return Ok(());
    }
    members(cursor, |cursor, key| match fields(key) {
        Some(Field::Slot(slot, shape)) => fill(cursor, slot, shape, slots, found),
        _ => cursor.value().map(|_| ()),
    })
}

fn fill<'b>(
    cursor: &mut Cursor<'b>,
    slot: Slot,
    shape: Shape,
    slots: &mut Slots<'b>,
    found: &mut Found,
) -> Result<(), Fault> {
    let raw = cursor.value()?;
    let first = raw.as_bytes().first().copied().unwrap_or_default();
    let fits = match shape {
        Shape::Text | Shape::NeededText => first == b'"',
        Shape::List => first == b'[',
        Shape::Map => first == b'{',
        Shape::Number => first == b'-' || first.is_ascii_digit(),
        Shape::Any => true,
    };
    if fits || raw == "null" {
        slots.set(slot, raw);
    } else {
        slots.set(slot, "null");
        found.is_misshapen |= shape == Shape::NeededText;
    }
    Ok(())
}

/// Which JSON type a field has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    /// Text without which an event cannot be judged.
    NeededText,
    List,
    Map,
    Number,
    Any,
}

type Fields = fn(&str) -> Option<Field>;

/// What a key of an event leads to.
enum Field {
    Slot(Slot, Shape),
    /// An object whose own keys lead to slots.
    Part(Fields),
    Items,
}

fn event_field(key: &str) -> Option<Field> {
    use Shape::{Any, List, Map, NeededText, Text};
    Some(match key.as_bytes() {
        b"kind" => Field::Slot(Slot::Kind, Text),
        b"apiVersion" => Field::Slot(Slot::ApiVersion, Text),
        b"level" => Field::Slot(Slot::Level, Text),
        b"auditID" => Field::Slot(Slot::AuditId, NeededText),
        b"stage" => Field::Slot(Slot::Stage, NeededText),
        b"requestURI" => Field::Slot(Slot::RequestUri, NeededText),
        b"verb" => Field::Slot(Slot::Verb, NeededText),
        b"user" => Field::Part(user_field),
        b"impersonatedUser" => Field::Part(impersonated_field),
        b"sourceIPs" => Field::Slot(Slot::SourceIps, List),
        b"userAgent" => Field::Slot(Slot::UserAgent, Text),
        b"objectRef" => Field::Part(object_field),
        b"responseStatus" => Field::Part(status_field),
        b"requestObject" => Field::Slot(Slot::RequestObject, Any),
        b"responseObject" => Field::Slot(Slot::ResponseObject, Any),
        b"requestReceivedTimestamp" => Field::Slot(Slot::RequestReceived, NeededText),
        b"stageTimestamp" => Field::Slot(Slot::StageTimestamp, NeededText),
        b"annotations" => Field::Slot(Slot::Annotations, Map),
        b"authenticationMetadata" => Field::Slot(Slot::AuthenticationMetadata, Map),
        b"items" => Field::Items,
        _ => return None,
    })
}

fn user_field(key: &str) -> Option<Field> {
    Some(match key.as_bytes() {
        b"username" => Field::Slot(Slot::UserName, Shape::NeededText),
        b"uid" => Field::Slot(Slot::UserUid, Shape::Text),
        b"groups" => Field::Slot(Slot::UserGroups, Shape::List),
        b"extra" => Field::Slot(Slot::UserExtra, Shape::Map),
        _ => return None,
    })
}

fn impersonated_field(key: &str) -> Option<Field> {
    Some(match key.as_bytes() {
        b"username" => Field::Slot(Slot::ImpersonatedName, Shape::NeededText),
        b"uid" => Field::Slot(Slot::ImpersonatedUid, Shape::Text),
        b"groups" => Field::Slot(Slot::ImpersonatedGroups, Shape::List),
        b"extra" => Field::Slot(Slot::ImpersonatedExtra, Shape::Map),
        _ => return None,
    })
}

fn object_field(key: &str) -> Option<Field> {
    let slot = match key.as_bytes() {
        b"resource" => Slot::Resource,
        b"namespace" => Slot::Namespace,
        b"name" => Slot::Name,
        b"uid" => Slot::Uid,
        b"apiGroup" => Slot::ApiGroup,
        b"apiVersion" => Slot::ObjectApiVersion,
        b"resourceVersion" => Slot::ResourceVersion,
        b"subresource" => Slot::Subresource,
        _ => return None,
    };
    Some(Field::Slot(slot, Shape::Text))
}

fn status_field(key: &str) -> Option<Field> {
    Some(match key.as_bytes() {
        b"code" => Field::Slot(Slot::StatusCode, Shape::Number),
        b"status" => Field::Slot(Slot::StatusStatus, Shape::Text),
        b"reason" => Field::Slot(Slot::StatusReason, Shape::Text),
        b"message" => Field::Slot(Slot::StatusMessage, Shape::Text),
        b"details" => Field::Slot(Slot::StatusDetails, Shape::Map),
        _ => return None,
    })
}
