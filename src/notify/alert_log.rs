//! The alert log: the alert's JSON appended to a file, one line each.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{Failure, Message, Reason};
use crate::alert::to_json;

/// A file of alerts. It is opened for every line, so that whoever rotates it need not tell us;
/// alerts are rare enough for that.
#[derive(Clone, Debug)]
pub struct AlertLog {
    path: PathBuf,
}

impl AlertLog {
    /// A file that need not be there yet; its directory must be by the first alert.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(super) async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        let mut line = to_json(message.alert(), message.dropped);
        line.push('\n');
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || append(&path, line)).await;
        written
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| {
                Failure::passing(
                    Reason::WriteError,
                    format!("cannot append to {}: {error}", self.path.display()),
                    "is its directory there, may we write to it, is the disk full?",
                )
            })
    }
}

/// Appends a line with its newline by one write. A line that was torn off before it (the disk was
/// full, the power failed) is closed first, so that it does not spoil this one as well.
fn append(path: &Path, mut line: String) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.len() > 0 {
        let mut last = [0];
        file.read_exact_at(&mut last, metadata.len() - 1)?;
        if last != *b"\n" {
            line.insert(0, '\n');
        }
    }
    file.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::alert::{Change, samples};

    #[tokio::test]
    async fn appends_and_survives_rotation_and_torn_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let log = AlertLog::new(&path);
        let message = Message {
            change: Change::Fired(samples::burst(3)),
            dropped: 0,
        };
        let line = to_json(message.alert(), 0);
        log.deliver(&message).await.unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        fs::rename(&path, dir.path().join("alerts.jsonl.1")).unwrap();
        log.deliver(&message).await.unwrap();
        let torn = format!("{line}\n{{\"id\":");
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{line}\n"));
        fs::write(&path, &torn).unwrap();
        log.deliver(&message).await.unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{torn}\n{line}\n")
        );
    }

    #[tokio::test]
    async fn says_what_to_check() {
        let log = AlertLog::new("/nonexistent/alerts.jsonl");
        let message = Message {
            change: Change::Fired(samples::burst(3)),
            dropped: 0,
        };
        let failure = log.deliver(&message).await.unwrap_err();
        assert_eq!(
            (failure.reason, failure.permanent),
            (Reason::WriteError, false)
        );
        assert!(
            failure.to_string().starts_with(
                "cannot append to /nonexistent/alerts.jsonl: No such file or directory"
            )
        );
    }
}
