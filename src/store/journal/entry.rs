//! One entry of a segment: its head line, and how to tell a whole entry from a torn one.

use bytes::Bytes;
use memchr::{memchr, memmem};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::units::Time;

/// How every head line begins: as a list without events, which says nothing to who reads events.
const HEAD: &[u8] = br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[],"journal":"#;
const HEAD_END: &[u8] = b"}\n";

/// The longest head line. A cluster's name has at most 63 plain characters.
pub(super) const HEAD_BYTES_MAX: usize = 512;

/// Whole lines of one body, on their way into the journal.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) head: Vec<u8>,
    pub(super) lines: Vec<Bytes>,
    bytes: u64,
}

impl Entry {
    /// An entry of `lines`, which are one text in pieces that ends with a line feed. `cluster` is
    /// of plain characters, at most 63; `received` is when the body came.
    pub fn new(cluster: &str, received: Time, lines: Vec<Bytes>) -> Self {
        let mut hash = Xxh3Default::new();
        for piece in &lines {
            hash.update(piece);
        }
        let received = received.to_string();
        let about = About {
            received: &received,
            cluster,
            bytes: lines.iter().map(|piece| piece.len() as u64).sum(),
            hash: &seal(hash, &received, cluster),
        };
        let mut head = HEAD.to_vec();
        // Writing plain text to memory cannot fail.
        let _ = serde_json::to_writer(&mut head, &about);
        head.extend_from_slice(HEAD_END);
        Self {
            bytes: head.len() as u64 + about.bytes,
            head,
            lines,
        }
    }

    /// How many bytes it takes in a segment.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a head line says, in this order.
#[derive(Debug, Deserialize, Serialize)]
struct About<'a> {
    received: &'a str,
    cluster: &'a str,
    bytes: u64,
    hash: &'a str,
}

/// The hash covers what the head says too, so that no entry is read for another cluster.
fn seal(mut hash: Xxh3Default, received: &str, cluster: &str) -> String {
    hash.update(received.as_bytes());
    hash.update(b"\0");
    hash.update(cluster.as_bytes());
    format!("{:016x}", hash.digest())
}

/// A head line that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How long the head line is, with its line feed.
    pub(super) length: usize,
    /// How many bytes follow that belong to the entry.
    pub(super) bytes: u64,
    pub(super) cluster: String,
    pub(super) received: String,
    hash: String,
}

impl Head {
    /// Reads the head line that `bytes` begin with; `None` when they begin with none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        let rest = bytes.strip_prefix(HEAD)?;
        let end = memchr(b'\n', rest)?;
        let about = rest[..=end].strip_suffix(HEAD_END)?;
        let about: About<'_> = serde_json::from_slice(about).ok()?;
        Some(Self {
            length: HEAD.len() + end + 1,
            bytes: about.bytes,
            cluster: about.cluster.to_owned(),
            received: about.received.to_owned(),
            hash: about.hash.to_owned(),
        })
    }

    /// How long the entry is.
    pub(super) fn entry_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.length as u64)
    }

    /// Whether these are the lines that the head was written for.
    pub(super) fn fits(&self, lines: &[u8]) -> bool {
        let mut hash = Xxh3Default::new();
        hash.update(lines);
        lines.len() as u64 == self.bytes && seal(hash, &self.received, &self.cluster) == self.hash
    }
}

/// Whether the end of a segment is what a write leaves that a crash has interrupted: the beginning
/// of an entry, or bytes that the file system has promised and not filled. Anything else was once
/// whole.
pub(super) fn is_torn(tail: &[u8]) -> bool {
    let filled = tail.iter().rposition(|byte| *byte != 0);
    let tail = &tail[..filled.map_or(0, |last| last + 1)];
    if let Some(head) = Head::read(tail) {
        return head.entry_bytes() > tail.len() as u64;
    }
    let is_head = tail.starts_with(HEAD) || HEAD.starts_with(tail);
    is_head && tail.len() < HEAD_BYTES_MAX && memchr(b'\n', tail).is_none()
}

/// Where in `bytes`, behind their first one, a line begins that looks like a head.
pub(super) fn next_head(bytes: &[u8]) -> Option<usize> {
    let mut places = memmem::find_iter(bytes, HEAD);
    places.find(|&at| at > 0 && bytes[at - 1] == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cluster: &str, lines: &str) -> Vec<u8> {
        let pieces = lines
            .split_inclusive('}')
            .map(|piece| piece.to_owned().into());
        let entry = Entry::new(cluster, Time::from_micros(1), pieces.collect());
        let mut bytes = entry.head.clone();
        entry
            .lines
            .iter()
            .for_each(|piece| bytes.extend_from_slice(piece));
        assert_eq!(bytes.len() as u64, entry.bytes());
        bytes
    }

    #[test]
    fn reads_what_it_writes() {
        let bytes = entry("eu-1", "{\"a\":{}}\n");
        let head = Head::read(&bytes).unwrap();
        assert_eq!((head.cluster.as_str(), head.bytes), ("eu-1", 9));
        assert_eq!(head.received, "1970-01-01T00:00:00.000001Z");
        assert!(head.fits(&bytes[head.length..]));
        assert_eq!(head.entry_bytes(), bytes.len() as u64);
    }

    #[test]
    fn every_changed_byte_shows() {
        let bytes = entry("eu-1", "{\"a\":{}}\n");
        for at in 0..bytes.len() {
            for change in [1, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let fits = Head::read(&changed).is_some_and(|head| {
                    changed
                        .get(head.length..)
                        .is_some_and(|lines| head.fits(lines))
                });
                assert!(!fits, "byte {at} of {}", String::from_utf8_lossy(&changed));
            }
        }
    }

    #[test]
    fn a_torn_head_is_none() {
        let bytes = entry("", "{}\n");
        let length = Head::read(&bytes).unwrap().length;
        for end in 0..length {
            assert_eq!(Head::read(&bytes[..end]), None);
        }
    }

    #[test]
    fn tells_what_was_torn_from_what_was_damaged() {
        let bytes = entry("eu-1", "{\"a\":{}}\n");
        for end in 0..bytes.len() {
            let mut tail = bytes[..end].to_vec();
            assert!(is_torn(&tail), "{end}");
            tail.resize(bytes.len() + 100, 0);
            assert!(is_torn(&tail), "{end} and zeros");
        }
        let damaged = String::from_utf8(bytes).unwrap().replace("{}", "[]");
        assert!(!is_torn(damaged.as_bytes()));
        assert!(!is_torn(b"rubbish"));
        assert!(!is_torn(&[HEAD, b"rubbish\n"].concat()));
    }

    #[test]
    fn finds_the_next_head_at_the_beginning_of_a_line() {
        let one = entry("", "{}\n");
        let two = [one.clone(), one.clone()].concat();
        assert_eq!(next_head(&two), Some(one.len()));
        assert_eq!(next_head(&one), None);
        assert_eq!(next_head(&[b"{\"x\":".to_vec(), one].concat()), None);
    }
}
