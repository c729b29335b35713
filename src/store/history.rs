//! Alerts that are over, kept for a while in the same file: what they were and how they ended.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};

use super::database;
use crate::units::{Span, Time};

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS history (
    id TEXT PRIMARY KEY, ended_at INTEGER NOT NULL, level INTEGER NOT NULL, alert TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS history_ended ON history (ended_at);
";

/// An alert that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub id: Box<str>,
    /// When we knew, by the clock.
    pub ended_at: Time,
    /// How urgent it was, 0 the least.
    pub level: u8,
    /// The alert as JSON, one object without a newline.
    pub alert: String,
}

/// How long alerts that are over are kept, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Older ones go.
    pub age_max: Span,
    /// Beyond this many the oldest go.
    pub count_max: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age_max: Span::from_secs(30 * 24 * 3600),
            count_max: 100_000,
        }
    }
}

/// Writes alerts that are over, and lets go of those that are too old or too many; how many went.
pub(super) fn write(
    transaction: &Transaction<'_>,
    ended: &[Ended],
    retention: Retention,
) -> rusqlite::Result<usize> {
    let Some(latest) = ended.iter().map(|ended| ended.ended_at).max() else {
        return Ok(0);
    };
    let mut insert =
        transaction.prepare_cached("INSERT OR REPLACE INTO history VALUES (?1, ?2, ?3, ?4)")?;
    for ended in ended {
        insert.execute(params![
            ended.id,
            ended.ended_at.micros(),
            ended.level,
            ended.alert
        ])?;
    }
    let oldest = latest.minus(retention.age_max).micros();
    let aged = transaction
        .prepare_cached("DELETE FROM history WHERE ended_at < ?1")?
        .execute([oldest])?;
    let count: i64 = transaction
        .prepare_cached("SELECT count(*) FROM history")?
        .query_row([], |row| row.get(0))?;
    let over = (count - retention.count_max as i64).max(0);
    let surplus = transaction
        .prepare_cached(
            "DELETE FROM history WHERE id IN
             (SELECT id FROM history ORDER BY ended_at, id LIMIT ?1)",
        )?
        .execute([over])?;
    Ok(aged + surplus)
}

/// The history of a directory, to read; a daemon may write it at the same time.
pub struct History(Connection);

impl History {
    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, String> {
        let path = database::path_in(dir);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&path, flags)
            .map(Self)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
    }

    /// The alerts that ended at `since` or later, at least this urgent, the latest first, each as
    /// JSON; `at_most` so many.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self, since: Time, level: u8, at_most: usize) -> Result<Vec<String>, String> {
        let list = || {
            let mut find = self.0.prepare(
                "SELECT alert FROM history WHERE ended_at >= ?1 AND level >= ?2
                 ORDER BY ended_at DESC, id LIMIT ?3",
            )?;
            let rows = find.query_map(params![since.micros(), level, at_most as i64], |row| {
                row.get(0)
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        list().map_err(|error: rusqlite::Error| format!("cannot read the history: {error}"))
    }

    /// The alert of an id, as JSON.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn find(&self, id: &str) -> Result<Option<String>, String> {
        let found = self
            .0
            .query_row("SELECT alert FROM history WHERE id = ?1", [id], |row| {
                row.get(0)
            });
        found
            .optional()
            .map_err(|error| format!("cannot read the history: {error}"))
    }
}
