//! Segments by number: their names, their place, which there are.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

/// A place in a journal, between two entries: the value of the webhook's bookmark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Position {
    /// The segment's number, from 1.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

impl Position {
    /// As a bookmark keeps it: `{"segment":3,"offset":4711}`.
    pub fn to_json(self) -> String {
        format!(
            "{{\"segment\":{},\"offset\":{}}}",
            self.segment, self.offset
        )
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// A segment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// How many of its bytes count: those that are durable.
    pub(super) bytes: u64,
    /// When it was last written to.
    pub(super) written: SystemTime,
}

/// The segments of a journal by number.
pub(super) type Segments = BTreeMap<u64, Segment>;

/// The path of a segment.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.jsonl"))
}

/// The segments in a folder. Files with other names are not ours.
pub(super) fn list(folder: &Path) -> io::Result<Segments> {
    let mut segments = Segments::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
            continue;
        };
        let metadata = entry.metadata()?;
        if metadata.is_file() && path(folder, number) == entry.path() {
            let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let bytes = metadata.len();
            segments.insert(number, Segment { bytes, written });
        }
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_readable_json() {
        let position = Position {
            segment: 3,
            offset: 4711,
        };
        assert_eq!(position.to_json(), r#"{"segment":3,"offset":4711}"#);
        assert_eq!(Position::from_json(&position.to_json()), Some(position));
        assert_eq!(Position::from_json("{}"), None);
        assert!(
            Position {
                segment: 2,
                offset: 9
            } < Position {
                segment: 3,
                offset: 0
            }
        );
    }

    #[test]
    fn lists_only_its_own_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "000000000002.jsonl",
            "000000000010.jsonl",
            "7.jsonl",
            "a.jsonl",
            ".probe",
        ] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join("000000000003.jsonl")).unwrap();
        let numbers: Vec<u64> = list(folder.path()).unwrap().into_keys().collect();
        assert_eq!(numbers, [2, 10]);
    }
}
