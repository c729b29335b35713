//! What a file is known by, and up to where it was read: the bookmark of one file.

use std::io;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use xxhash_rust::xxh3::xxh3_64;

use super::disk::{Identity, Looked};
use crate::units::Time;

/// A file's first line tells it from others, unless it is shorter than this: then as many lines
/// as it takes. No audit event is as short.
const HEAD_BYTES: usize = 128;

/// How many bytes are read at first to find the first line's end, and how many of the last ones
/// before it are looked at again each time.
const PIECE_BYTES: usize = 1024;

/// The most first bytes that are taken, however long the first line is.
const HEAD_BYTES_MAX: usize = 8 << 20;

/// How many bytes before a position show that what was read is still there.
const TRAIL_BYTES: usize = 1024;

/// How many bytes, and what their hash is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// How many bytes were taken; with none, nothing is known.
    pub bytes: u32,
    /// Their hash, in hexadecimal: JSON readers would round it as a number.
    #[serde(serialize_with = "write_hash", deserialize_with = "read_hash")]
    pub hash: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn write_hash<S: Serializer>(hash: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{hash:016x}"))
}

fn read_hash<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    u64::from_str_radix(&text, 16).map_err(D::Error::custom)
}

impl Print {
    fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.len() as u32,
            hash: xxh3_64(bytes),
        }
    }

    /// The print of the last bytes before a position: of what was read, or of a file. Less than a
    /// line tells nothing.
    pub(super) fn of_trail(read: &[u8]) -> Self {
        let trail = &read[read.len().saturating_sub(TRAIL_BYTES)..];
        if trail.len() >= HEAD_BYTES && trail.ends_with(b"\n") {
            Self::of(trail)
        } else {
            Self::default()
        }
    }

    /// Whether these are the bytes that it was taken of.
    pub(super) fn is_of(self, bytes: &[u8]) -> bool {
        bytes.len() == self.bytes as usize && xxh3_64(bytes) == self.hash
    }
}

/// A file's first line. An audit event ends with its stamps, so no two lines are the same,
/// whatever a caller asks for; but a line's first thousands of bytes are the caller's to choose,
/// so less than a line tells nothing.
#[derive(Debug)]
pub(super) struct Head(Vec<u8>);

impl Head {
    /// Reads as many of the first bytes as there are and as are needed.
    pub(super) fn read(
        mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<Self> {
        let mut head = Vec::new();
        let mut room = PIECE_BYTES;
        loop {
            let start = head.len();
            head.resize(room, 0);
            let read = read_at(&mut head[start..], start as u64);
            head.truncate(start + *read.as_ref().unwrap_or(&0));
            if let Some(end) = end(&head) {
                head.truncate(end);
                break;
            }
            if read? == 0 || head.len() >= HEAD_BYTES_MAX {
                break;
            }
            if head.len() == room {
                room = (room * 4).min(HEAD_BYTES_MAX);
            }
        }
        Ok(Self(head))
    }

    /// Whether it stays the same when the file grows.
    pub(super) fn is_whole(&self) -> bool {
        self.0.len() >= HEAD_BYTES_MAX || end(&self.0).is_some()
    }

    /// Its print, once it is whole. A hole of NULs tells nothing.
    pub(super) fn print(&self) -> Print {
        if self.is_whole() && self.0.iter().any(|byte| *byte != 0) {
            Print::of(&self.0)
        } else {
            Print::default()
        }
    }

    /// The print of its first `bytes`, or of all of it if it is shorter.
    pub(super) fn begin(&self, bytes: usize) -> Print {
        Print::of(&self.0[..self.0.len().min(bytes)])
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Its first bytes, at most 128.
    pub(super) fn first(&self) -> &[u8] {
        &self.0[..self.0.len().min(HEAD_BYTES)]
    }

    /// Its last bytes, at most 1 KiB. A caller cannot choose these, nor is a hole there.
    pub(super) fn last(&self) -> &[u8] {
        &self.0[self.0.len().saturating_sub(PIECE_BYTES)..]
    }
}

/// Where the first line ends that does not end too early.
fn end(bytes: &[u8]) -> Option<usize> {
    let least = HEAD_BYTES - 1;
    let found = memchr::memchr(b'\n', bytes.get(least..)?)?;
    Some(least + found + 1)
}

/// Up to where one file was read, and how to know it again. Written as JSON into the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The path at which the file was met.
    pub path: String,
    /// Which file it was then.
    #[serde(flatten)]
    pub file: Identity,
    /// Its first bytes.
    pub fingerprint: Print,
    /// Up to where its records were handed on, in (decompressed) bytes.
    pub offset: u64,
    /// The last bytes before `offset`; of none when reading began there.
    pub trail: Print,
    /// How long it was when it was last looked at, in bytes.
    pub len: u64,
    /// When it was last written, as far as we saw; as long as no whole line was seen, when it had
    /// been written when it was met.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub modified: Time,
    /// Whether it was rotated away and read to its end: nothing more is expected of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn write_time<S: Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

pub(super) fn read_time<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
    let text = String::deserialize(from)?;
    Time::parse(&text).ok_or_else(|| D::Error::custom("not a time"))
}

impl Mark {
    /// The mark of a file that is read from `offset` on.
    pub(super) fn new(path: &str, looked: Looked, fingerprint: Print, offset: u64) -> Self {
        Self {
            path: path.to_owned(),
            file: looked.identity,
            fingerprint,
            offset,
            trail: Print::default(),
            len: looked.len,
            modified: looked.modified,
            done: false,
        }
    }

    /// Whether nothing is known of the content: it had no whole line yet.
    pub(super) fn is_blank(&self) -> bool {
        self.fingerprint.bytes == 0 && self.trail.bytes == 0
    }

    /// The JSON that is kept.
    pub(super) fn json(&self) -> Option<String> {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(content: &[u8]) -> Head {
        // A system may give less than is asked for.
        Head::read(|into, offset| {
            let rest = &content[offset as usize..];
            let len = into.len().min(rest.len()).min(700);
            into[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        })
        .unwrap()
    }

    #[test]
    fn a_head_is_the_first_line_as_soon_as_it_is_whole() {
        let content = format!("{}\n", "a".repeat(3000)).repeat(3);
        let bytes = |len: usize| head(&content.as_bytes()[..len]).print().bytes;
        let prints = [0, 10, 1500, 3000, 3001, 5000, 9003].map(bytes);
        assert_eq!(prints, [0, 0, 0, 0, 3001, 3001, 3001]);
        let short = "ab\n".repeat(1000);
        let bytes = |len: usize| head(&short.as_bytes()[..len]).print().bytes;
        assert_eq!([126, 128, 129, 3000].map(bytes), [0, 0, 129, 129]);
    }

    #[test]
    fn the_callers_part_of_a_first_line_does_not_make_two_files_one() {
        let line = |stamp: &str| format!("{}{stamp}\n", "x".repeat(200_000)).into_bytes();
        assert_ne!(head(&line("1")).print(), head(&line("2")).print());
    }

    #[test]
    fn nuls_tell_nothing() {
        assert_eq!(head(&[0; 5000]).print(), Print::default());
        let mut hole = vec![0; 5000];
        hole.extend(b"line\n");
        assert_eq!(head(&hole).print().bytes, 5005);
    }

    #[test]
    fn a_mark_is_json_that_people_can_read() {
        let mark = Mark {
            path: "/var/log/audit.log".to_owned(),
            file: Identity {
                device: 1,
                inode: 2,
            },
            fingerprint: Print {
                bytes: 1024,
                hash: 0xff,
            },
            offset: 77,
            trail: Print::default(),
            len: 80,
            modified: Time::from_micros(1_000_000),
            done: false,
        };
        let json = mark.json().unwrap();
        assert_eq!(
            json,
            r#"{"path":"/var/log/audit.log","device":1,"inode":2,"fingerprint":{"bytes":1024,"hash":"00000000000000ff"},"offset":77,"trail":{"bytes":0,"hash":"0000000000000000"},"len":80,"modified":"1970-01-01T00:00:01.000000Z"}"#
        );
        assert_eq!(serde_json::from_str::<Mark>(&json).unwrap(), mark);
    }
}
