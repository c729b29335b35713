//! What a file is known by, and up to where it was read: the bookmark of one file.

use std::io;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use xxhash_rust::xxh3::xxh3_64;

use super::disk::{Identity, Looked};
use crate::units::Time;

/// How many of a file's first bytes tell it from others, unless its first line is longer.
const HEAD_BYTES: usize = 1024;

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

    /// The print of the last bytes before a position: of what was read, or of a file.
    pub(super) fn of_trail(read: &[u8]) -> Self {
        Self::of(&read[read.len().saturating_sub(TRAIL_BYTES)..])
    }

    /// Whether these are the bytes that it was taken of.
    pub(super) fn is_of(self, bytes: &[u8]) -> bool {
        bytes.len() == self.bytes as usize && xxh3_64(bytes) == self.hash
    }
}

/// A file's first bytes: 1 KiB, and the whole first line when that is longer. An audit event
/// ends with its stamps, so no two lines are the same, whatever a caller asks for; but a line's
/// first thousands of bytes are the caller's to choose.
#[derive(Debug)]
pub(super) struct Head(Vec<u8>);

impl Head {
    /// Reads as many of the first bytes as there are and as are needed.
    pub(super) fn read(
        mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<Self> {
        let mut head = Self(Vec::new());
        let mut room = HEAD_BYTES;
        while !head.is_whole() {
            let start = head.0.len();
            head.0.resize(room.min(HEAD_BYTES_MAX), 0);
            let read = read_at(&mut head.0[start..], start as u64);
            head.0.truncate(start + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                break;
            }
            if head.0.len() == room {
                room *= 4;
            }
        }
        if let Some(end) = memchr::memchr(b'\n', &head.0) {
            head.0.truncate((end + 1).max(HEAD_BYTES));
        }
        Ok(head)
    }

    /// Whether it stays the same when the file grows.
    pub(super) fn is_whole(&self) -> bool {
        let len = self.0.len();
        len >= HEAD_BYTES_MAX || (len >= HEAD_BYTES && memchr::memchr(b'\n', &self.0).is_some())
    }

    /// Its print. Less than a line tells nothing: all events begin alike, and holes do.
    pub(super) fn print(&self) -> Print {
        let has_line = memchr::memchr(b'\n', &self.0).is_some();
        let is_hole = self.0.iter().all(|byte| *byte == 0);
        if has_line || (self.is_whole() && !is_hole) {
            Print::of(&self.0)
        } else {
            Print::default()
        }
    }

    /// Whether a file that begins like this had this print, perhaps when it was shorter.
    pub(super) fn had(&self, print: Print) -> bool {
        print.bytes > 0
            && self
                .0
                .get(..print.bytes as usize)
                .is_some_and(|first| print.is_of(first))
    }

    /// At most the first 1 KiB.
    pub(super) fn start(&self) -> &[u8] {
        &self.0[..self.0.len().min(HEAD_BYTES)]
    }
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
    /// When it was last written, as far as we saw.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub modified: Time,
    /// Whether it was rotated away and read to its end: nothing more is expected of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}

fn write_time<S: Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

fn read_time<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
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
    fn a_head_grows_with_its_file_until_its_first_line_is_whole() {
        let line = format!("{}\n", "a".repeat(3000));
        let content = line.repeat(3);
        let mut prints = Vec::new();
        for len in [0, 10, 1500, 3000, 3001, 5000, 9003] {
            prints.push(head(&content.as_bytes()[..len]).print());
        }
        let bytes: Vec<u32> = prints.iter().map(|print| print.bytes).collect();
        assert_eq!(bytes, [0, 0, 0, 0, 3001, 3001, 3001]);
        let now = head(content.as_bytes());
        assert!(now.had(prints[4]) && now.had(prints[6]));
        assert!(!now.had(prints[0]), "of an empty file nothing is known");
        assert!(!head(&content.as_bytes()[..2999]).had(prints[4]));
        let short = "ab\n".repeat(1000);
        let (young, old) = (head(&short.as_bytes()[..500]), head(short.as_bytes()));
        assert_eq!((young.print().bytes, old.print().bytes), (500, 1024));
        assert!(old.had(young.print()) && !young.had(old.print()));
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
