//! The alert log: alerts appended to a file, one line each, in a form of the reader's choice.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{Failure, Preview, Reason, siem::Format};
use crate::{
    alert::{dispatch::Notification, to_json},
    units::ByteSize,
};

/// A file of alerts. It is opened for every line, so that whoever rotates it need not tell us;
/// alerts are rare enough for that.
#[derive(Clone, Debug)]
pub struct AlertLog {
    path: PathBuf,
    format: Format,
    rotation: Option<Rotation>,
}

/// When a file is put aside for a new one. The newest of those put aside is called `….1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A file that would get longer than this is put aside.
    pub bytes_max: ByteSize,
    /// How many are kept; at least 1.
    pub keep: u32,
}

impl AlertLog {
    /// A file of our JSON that need not be there yet; its directory must be by the first alert.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: Format::Json,
            rotation: None,
        }
    }

    /// In another form.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Put aside when it is long; by nobody, or by somebody else, unless this is said.
    #[must_use]
    pub fn rotated(self, rotation: Option<Rotation>) -> Self {
        Self { rotation, ..self }
    }

    pub(super) fn preview(&self, told: &Notification) -> Preview {
        Preview {
            to: format!("append to {}", self.path.display()),
            body: self.lines(told),
        }
    }

    fn lines(&self, told: &Notification) -> String {
        let mut lines = String::new();
        for alert in &told.alerts {
            match self.format {
                Format::Json => lines.push_str(&to_json(alert, told.missed)),
                Format::Cef | Format::Ocsf => lines.push_str(&self.format.line(alert)),
            }
            lines.push('\n');
        }
        lines
    }

    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        let lines = self.lines(told);
        let (path, rotation) = (self.path.clone(), self.rotation);
        let write = move || {
            if let Some(rotation) = rotation {
                rotate(&path, rotation, lines.len() as u64)?;
            }
            append(&path, lines)
        };
        let written = tokio::task::spawn_blocking(write).await;
        written
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map(|()| String::new())
            .map_err(|error| {
                Failure::passing(
                    Reason::WriteError,
                    format!("cannot append to {}: {error}", self.path.display()),
                    "is its directory there, may we write to it, is the disk full?",
                )
            })
    }
}

/// Puts the file aside when `more` bytes would make it too long. Each step renames, from the
/// oldest on, so that whatever interrupts it loses none but the oldest.
fn rotate(path: &Path, rotation: Rotation, more: u64) -> io::Result<()> {
    let length = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => return Ok(()),
    };
    if length == 0 || length + more <= rotation.bytes_max.0 {
        return Ok(());
    }
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..rotation.keep.max(1)).rev() {
        if aside(number).exists() {
            fs::rename(aside(number), aside(number + 1))?;
        }
    }
    fs::rename(path, aside(1))
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

    fn fired(requests: i64) -> Notification {
        Notification::single(&"r".into(), &Change::Fired(samples::burst(requests)), 0)
    }

    #[tokio::test]
    async fn appends_and_survives_rotation_and_torn_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let log = AlertLog::new(&path);
        let message = fired(3);
        let line = to_json(message.first().unwrap(), 0);
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
        let message = fired(3);
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

    /// Every line is in exactly one file, files stay short, and no more are kept than wanted.
    #[tokio::test]
    async fn puts_long_files_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let bytes_max = ByteSize(2 * to_json(&samples::burst(1), 0).len() as u64 + 100);
        let rotation = Rotation { bytes_max, keep: 2 };
        let log = AlertLog::new(&path).rotated(Some(rotation));
        for _ in 0..7 {
            log.deliver(&fired(1)).await.unwrap();
        }
        let lines = |name: &str| {
            fs::read_to_string(dir.path().join(name))
                .unwrap()
                .lines()
                .count()
        };
        assert_eq!(lines("alerts.jsonl"), 1);
        assert_eq!((lines("alerts.jsonl.1"), lines("alerts.jsonl.2")), (2, 2));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        let cef = AlertLog::new(dir.path().join("cef")).format(Format::Cef);
        cef.deliver(&fired(1)).await.unwrap();
        assert!(
            fs::read_to_string(dir.path().join("cef"))
                .unwrap()
                .starts_with("CEF:0|")
        );
    }
}
