//! Where records begin and end in a stream of JSON values that keeps no lines: pretty-printed
//! events and lists, arrays, values written one behind the other.
//!
//! The elements of an outermost array, and of the `items` of an outermost object, are records of
//! their own, so a list of any length passes in constant memory.

use memchr::memchr;

use super::{
    lexer::{Lexer, Token},
    reject::{Reason, Reject},
};

/// What encloses the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Nothing: values stand one behind the other.
    Top,
    /// An outermost array.
    Array,
    /// The `items` array of an outermost object.
    Items,
}

/// What kind of record is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A value that is given out whole.
    Whole,
    /// An outermost object, of which it is not known yet whether it has `items`.
    Object,
    /// What follows the `items` of an outermost object; not given out.
    Rest,
    /// A number, string or literal between records.
    Scalar,
    /// Text outside of JSON, up to the end of its line.
    Line,
}

/// A record whose end has not been seen.
#[derive(Clone, Copy, Debug)]
struct Open {
    start: u64,
    kind: Kind,
    /// By how many bytes it is indented, when it is the first thing on its line.
    indent: Option<u64>,
    /// It is too long: already rejected, and its bytes are not kept.
    is_dropped: bool,
}

/// Looking for a place to go on after something was wrong.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// Only white space was seen on the current line.
    at_line_start: bool,
    /// A record that is indented more than this is a part of the one that was lost.
    indent_max: u64,
}

/// The state of the search for records between two chunks. Positions are those of the stream.
#[derive(Debug)]
pub(super) struct Values {
    lexer: Lexer,
    level: Level,
    open: Option<Open>,
    lost: Option<Lost>,
    line_start: u64,
    /// No token was seen yet on the current line.
    is_first_on_line: bool,
    /// The last token that is not a line's end.
    previous: Token,
    key_start: u64,
    after_items_key: bool,
    record_bytes_max: u64,
    /// Records found and not yet taken: start and end.
    pub(super) records: Vec<(u64, u64)>,
    /// Rejects found and not yet taken.
    pub(super) rejects: Vec<Reject>,
}

/// A chunk of the stream: its bytes and the position of the first.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) base: u64,
}

impl Chunk<'_> {
    fn from(&self, start: u64) -> &[u8] {
        let start = start.saturating_sub(self.base) as usize;
        self.bytes.get(start..).unwrap_or_default()
    }

    fn between(&self, start: u64, end: u64) -> &[u8] {
        let rest = self.from(start);
        &rest[..rest.len().min(end.saturating_sub(start) as usize)]
    }
}

impl Values {
    /// Begins at position `at`, inside of `level`.
    pub(super) fn new(level: Level, at: u64, record_bytes_max: usize) -> Self {
        let mut values = Self {
            lexer: Lexer::default(),
            level,
            open: None,
            lost: None,
            line_start: at,
            is_first_on_line: true,
            previous: Token::Comma,
            key_start: 0,
            after_items_key: false,
            record_bytes_max: record_bytes_max as u64,
            records: Vec::new(),
            rejects: Vec::new(),
        };
        values.enter(level);
        values
    }

    /// The first position whose byte is still needed, when everything before `end` was scanned.
    pub(super) fn keep_from(&self, end: u64) -> u64 {
        match self.open {
            Some(open) if !open.is_dropped => open.start,
            _ => end,
        }
    }

    /// Scans a chunk from the position `from` on.
    pub(super) fn scan(&mut self, chunk: Chunk<'_>, from: u64) {
        let mut at = (from - chunk.base) as usize;
        while at < chunk.bytes.len() {
            if self.lost.is_some() {
                self.search(chunk, &mut at);
            } else if self.open.is_some_and(|open| open.kind == Kind::Line) {
                self.line(chunk, &mut at);
            } else if let Some(token) = self.lexer.next(chunk.bytes, &mut at) {
                let position = chunk.base + at as u64 - 1;
                self.limit(chunk, position);
                self.token(chunk, token, position);
                self.is_first_on_line = token == Token::Newline;
                if self.is_first_on_line {
                    self.line_start = position + 1;
                } else {
                    self.previous = token;
                }
            }
        }
        // A record of `max` bytes ends before position `start + max`.
        self.limit(chunk, (chunk.base + at as u64).saturating_sub(1));
    }

    /// The end of the stream: what is open is a record without its end.
    pub(super) fn finish(&mut self, chunk: Chunk<'_>) {
        let end = chunk.base + chunk.bytes.len() as u64;
        match self.open.take() {
            Some(open) if open.is_dropped => {}
            Some(open) if open.kind != Kind::Rest => self.records.push((open.start, end)),
            Some(_) => self.rejects.push(Reject::new(Reason::Torn, end, b"")),
            None if self.level != Level::Top && self.lost.is_none() => {
                self.rejects.push(Reject::new(Reason::Torn, end, b""));
            }
            None => {}
        }
    }

    fn token(&mut self, chunk: Chunk<'_>, token: Token, at: u64) {
        if let Some(open) = self.open
            && open.kind == Kind::Scalar
        {
            // Any token ends a scalar; a string's closing quote belongs to it.
            let end = at + u64::from(token == Token::TextEnd);
            if token != Token::Wrong {
                self.close(end);
            }
            if token == Token::TextEnd {
                return;
            }
        }
        match self.open {
            None => self.between(chunk, token, at),
            Some(open) => self.inside(chunk, open, token, at),
        }
    }

    /// A token between records.
    fn between(&mut self, chunk: Chunk<'_>, token: Token, at: u64) {
        match token {
            Token::OpenArray if self.level == Level::Top => self.level = Level::Array,
            Token::OpenObject if self.level == Level::Top => self.begin(at, Kind::Object),
            Token::OpenObject | Token::OpenArray => self.begin(at, Kind::Whole),
            Token::Close if self.level == Level::Items => {
                self.level = Level::Top;
                self.begin(at + 1, Kind::Rest);
            }
            Token::Close => self.level = Level::Top,
            Token::Comma | Token::Gap | Token::Newline => {}
            Token::TextStart | Token::Scalar | Token::Colon if self.level == Level::Top => {
                self.begin(at, Kind::Line);
            }
            Token::TextStart | Token::Scalar => self.begin(at, Kind::Scalar),
            Token::Colon | Token::TextEnd | Token::Wrong => {
                self.lose(chunk, Reason::NotJson, at, at + 1);
            }
        }
    }

    /// A token inside of a record.
    fn inside(&mut self, chunk: Chunk<'_>, open: Open, token: Token, at: u64) {
        let depth = self.lexer.nesting.depth();
        let is_outermost = matches!(open.kind, Kind::Object | Kind::Rest) && !open.is_dropped;
        match token {
            Token::Close if depth == self.enclosing_depth() => self.close(at + 1),
            Token::TextStart if is_outermost && depth == 1 => self.key_start = at,
            Token::TextEnd if is_outermost && depth == 1 => {
                self.after_items_key = chunk.between(self.key_start, at + 1) == b"\"items\"";
            }
            Token::OpenArray
                if is_outermost
                    && depth == 2
                    && self.after_items_key
                    && self.previous == Token::Colon =>
            {
                self.level = Level::Items;
                self.open = None;
            }
            Token::OpenObject | Token::OpenArray if !self.may_open(token) => {
                self.torn(chunk, open, token, at);
            }
            Token::Wrong => {
                let is_in_text = chunk.between(at, at + 1) == b"\n";
                let reason = if is_in_text {
                    Reason::Torn
                } else {
                    Reason::NotJson
                };
                self.lose(chunk, reason, open.start, at + 1);
            }
            _ => {}
        }
    }

    /// Whether an opening bracket, which the lexer has just entered, may stand where it stands.
    fn may_open(&mut self, token: Token) -> bool {
        let is_object = token == Token::OpenObject;
        self.lexer.nesting.pop(is_object);
        let in_object = self.lexer.nesting.innermost_is_object();
        self.lexer.nesting.push(is_object);
        match in_object {
            Some(true) => self.previous == Token::Colon,
            Some(false) => matches!(self.previous, Token::OpenArray | Token::Comma),
            None => true,
        }
    }

    /// A bracket opens where none may: a writer died in the middle of a record, and the next one
    /// began its own on a new line.
    fn torn(&mut self, chunk: Chunk<'_>, open: Open, token: Token, at: u64) {
        if !self.is_first_on_line || token != Token::OpenObject {
            self.lose(chunk, Reason::NotJson, open.start, at + 1);
            return;
        }
        self.lose(chunk, Reason::Torn, open.start, at);
        self.resume(at);
    }

    /// Depth of the brackets around the open record.
    fn enclosing_depth(&self) -> usize {
        match self.level {
            Level::Top => 0,
            Level::Array => 1,
            Level::Items => 2,
        }
    }

    fn begin(&mut self, start: u64, kind: Kind) {
        let indent = self.is_first_on_line.then(|| start - self.line_start);
        self.after_items_key = false;
        self.open = Some(Open {
            start,
            kind,
            indent,
            is_dropped: false,
        });
    }

    fn close(&mut self, end: u64) {
        if let Some(open) = self.open.take()
            && !open.is_dropped
            && open.kind != Kind::Rest
        {
            self.records.push((open.start, end));
        }
    }

    /// Drops the open record when the byte at `at` makes it longer than a record may be.
    fn limit(&mut self, chunk: Chunk<'_>, at: u64) {
        let max = self.record_bytes_max;
        if let Some(open) = &mut self.open
            && !open.is_dropped
            && at.saturating_sub(open.start) >= max
        {
            open.is_dropped = true;
            let head = chunk.between(open.start, open.start + max);
            self.rejects
                .push(Reject::new(Reason::TooLong, open.start, head));
        }
    }

    /// Steps through a line of text up to its end.
    fn line(&mut self, chunk: Chunk<'_>, at: &mut usize) {
        let newline = memchr(b'\n', &chunk.bytes[*at..]);
        *at = newline.map_or(chunk.bytes.len(), |found| *at + found);
        let position = chunk.base + *at as u64;
        self.limit(chunk, position.saturating_sub(1));
        if newline.is_some() {
            self.close(position);
            self.lexer = Lexer::default();
            self.enter(Level::Top);
        }
    }

    /// Rejects what is open, or the bytes up to `end`, and begins to look for the next record.
    fn lose(&mut self, chunk: Chunk<'_>, reason: Reason, start: u64, end: u64) {
        let open = self.open.take();
        if !open.is_some_and(|open| open.is_dropped) {
            self.rejects
                .push(Reject::new(reason, start, chunk.between(start, end)));
        }
        let at_newline = chunk.between(end - 1, end) == b"\n";
        if at_newline {
            self.line_start = end;
        }
        self.lost = Some(Lost {
            at_line_start: at_newline,
            indent_max: open.and_then(|open| open.indent).unwrap_or(u64::MAX),
        });
    }

    /// Looks for a line that begins with an object no deeper than the lost one.
    fn search(&mut self, chunk: Chunk<'_>, at: &mut usize) {
        let Some(lost) = &mut self.lost else { return };
        if !lost.at_line_start {
            let Some(found) = memchr(b'\n', &chunk.bytes[*at..]) else {
                *at = chunk.bytes.len();
                return;
            };
            *at += found + 1;
            self.line_start = chunk.base + *at as u64;
            lost.at_line_start = true;
        }
        while let Some(&byte) = chunk.bytes.get(*at) {
            let position = chunk.base + *at as u64;
            *at += 1;
            match byte {
                b'\n' => self.line_start = position + 1,
                b' ' | b'\t' | b'\r' | 0 => {}
                b'{' if position - self.line_start <= lost.indent_max => {
                    self.resume(position);
                    return;
                }
                _ => {
                    lost.at_line_start = false;
                    return;
                }
            }
        }
    }

    /// Goes on with an object that begins at `at`, the first byte on its line. One at the margin,
    /// where the lost one was indented, begins something new.
    fn resume(&mut self, at: u64) {
        let indent = at - self.line_start;
        let was = self.lost.take().map_or(u64::MAX, |lost| lost.indent_max);
        let is_new = indent == 0 && was != 0 && was != u64::MAX;
        self.enter(if is_new { Level::Top } else { self.level });
        self.lexer.nesting.push(true);
        self.is_first_on_line = true;
        self.begin(
            at,
            if self.level == Level::Top {
                Kind::Object
            } else {
                Kind::Whole
            },
        );
        self.is_first_on_line = false;
        self.previous = Token::OpenObject;
    }

    /// Puts the lexer right behind the brackets that enclose records at this level.
    fn enter(&mut self, level: Level) {
        self.level = level;
        self.lexer = Lexer::default();
        match level {
            Level::Top => {}
            Level::Array => self.lexer.nesting.push(false),
            Level::Items => {
                self.lexer.nesting.push(true);
                self.lexer.nesting.push(false);
            }
        }
    }
}
