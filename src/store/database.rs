//! The one file: opened, checked, written in whole transactions, put aside when it is of no use.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};

use super::{
    Bookmark, Checkpoint, Retention, history,
    outbox::{self, Settled},
    trouble::{Faults, Reason},
};
use crate::{
    alert, detect,
    window::{Owner, Rows},
};

/// The version of the tables.
const SCHEMA: &str = "1";
/// The file's name within its directory.
const FILE: &str = "state.db";
/// How many files that were put aside are kept.
const ASIDE_MAX: u32 = 3;
/// How long to wait for another process, which is our own `outbox` command.
const BUSY: Duration = Duration::from_millis(500);
/// How far the write-ahead log may grow before it is taken into the file, in pages of 4 KiB.
const LOG_PAGES: u32 = 4_096;

/// `state.key` is what its owner makes of it; `outbox.standing` is waiting, dead, or a wish of the
/// operator's: retry, drop. Times are microseconds since 1970.
const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('created', strftime('%Y-%m-%dT%H:%M:%SZ'));
CREATE TABLE bookmark (
    source TEXT, part TEXT, value TEXT NOT NULL, PRIMARY KEY (source, part)
) WITHOUT ROWID;
CREATE TABLE state (
    kind INTEGER, owner INTEGER, key BLOB, value BLOB NOT NULL, PRIMARY KEY (kind, owner, key)
) WITHOUT ROWID;
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, receiver TEXT NOT NULL, about TEXT NOT NULL,
    level INTEGER NOT NULL, is_update INTEGER NOT NULL, made_at INTEGER NOT NULL,
    standing TEXT NOT NULL, reason TEXT NOT NULL, since INTEGER NOT NULL, payload BLOB NOT NULL,
    UNIQUE (receiver, id)
);
CREATE INDEX outbox_standing ON outbox (receiver, standing, number);
CREATE INDEX outbox_about ON outbox (receiver, about, number);
";

/// Ending of the name of an empty file beside a state that was found damaged while in use.
const DAMAGED: &str = ".damaged";

/// Why the state cannot be kept in a directory.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process keeps its state there.
    #[error(
        "another auditwatch keeps its state in {}; stop it, or give each its own directory",
        .0.display()
    )]
    Taken(PathBuf),
    /// There is nothing to read, or it cannot be read.
    #[error("cannot read the state in {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, String),
    /// The directory or the file cannot be used.
    #[error("cannot keep state in {}: {problem}", dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// The open file.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    path: PathBuf,
    faults: Faults,
}

/// What was kept.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Where the sources read on.
    pub bookmarks: Vec<Bookmark>,
    /// All state.
    pub rows: Rows,
}

/// Makes the directory, for us alone, and locks it for as long as the file that is returned is
/// open.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    let unusable = |error: io::Error| OpenError::Unusable {
        dir: dir.to_owned(),
        problem: format!("{error}; it must be a directory that we may write to"),
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(unusable)?;
    let lock = private().open(dir.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Taken(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    options
}

/// The file's path within its directory.
pub(super) fn path_in(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Moves a file of SQLite's with its log, over one that is there.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    for ending in ["", "-wal"] {
        let (from, to) = (with_ending(from, ending), with_ending(to, ending));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A log of a file that made way must not meet this one.
                if to.exists() {
                    fs::remove_file(&to)?;
                }
            }
            moved => moved?,
        }
    }
    match fs::remove_file(with_ending(from, "-shm")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the file says about itself.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// It is new, or ours.
    Good,
    /// Its tables are those of another version.
    Foreign(String),
    /// Its tables are ours, but the state in them is of another version.
    OldState(String),
}

/// Whether the engine's rows, and those of alerts and silences, are of versions that we read.
fn what_is_read(found: &str) -> (bool, bool) {
    let (engine, alerts) = found.split_once('.').unwrap_or_default();
    (
        engine == detect::SNAPSHOT_VERSION.to_string(),
        alerts == alert::SNAPSHOT_VERSION.to_string(),
    )
}

fn what_begins_anew(found: &str) -> &'static str {
    match what_is_read(found) {
        (true, false) => "open alerts and silences",
        (false, true) => "windows and baselines",
        _ => "windows, baselines, open alerts and silences",
    }
}

fn state_version() -> String {
    format!("{}.{}", detect::SNAPSHOT_VERSION, alert::SNAPSHOT_VERSION)
}

impl Database {
    /// Opens the file, or puts it aside and begins a new one; then the text says what was lost.
    /// The directory must be locked.
    pub(super) fn open(
        dir: &Path,
        faults: &Faults,
    ) -> Result<(Self, Loaded, Option<String>), OpenError> {
        let path = path_in(dir);
        let unusable = |error: String| OpenError::Unusable {
            dir: dir.to_owned(),
            problem: error,
        };
        let marker = with_ending(&path, DAMAGED);
        if marker.exists() {
            // What is damaged may lie where opening does not look.
            let told = Self::put_aside(&path, "it was found damaged while it was in use")
                .and_then(|told| fs::remove_file(&marker).map(|()| told))
                .map_err(|error| unusable(error.to_string()))?;
            let (database, _) =
                Self::try_open(&path, faults).map_err(|error| unusable(explain_open(&error)))?;
            return Ok((database, Loaded::default(), Some(told)));
        }
        let opened = Self::try_open(&path, faults).and_then(|(database, standing)| {
            let kept = match standing {
                Standing::Foreign(_) => Loaded::default(),
                Standing::Good | Standing::OldState(_) => database.load()?,
            };
            Ok((database, standing, kept))
        });
        let why = match opened {
            Ok((database, Standing::Good, kept)) => return Ok((database, kept, None)),
            Ok((database, Standing::OldState(found), kept)) => {
                let rows = database.clear_unreadable(&found);
                let rows = rows.map_err(|error| unusable(explain_open(&error)))?;
                let lost = format!(
                    "the state in {} is of another version of auditwatch ({found}): {} begin \
                     anew; all else was kept",
                    path.display(),
                    what_begins_anew(&found),
                );
                return Ok((database, Loaded { rows, ..kept }, Some(lost)));
            }
            Ok((_, Standing::Foreign(found), _)) => format!("its version ({found}) is unknown"),
            Err(error) if is_beyond_use(&error) => format!("it is damaged ({error})"),
            Err(error) => return Err(unusable(explain_open(&error))),
        };
        let told = Self::put_aside(&path, &why).map_err(|error| unusable(error.to_string()))?;
        let (database, _) =
            Self::try_open(&path, faults).map_err(|error| unusable(explain_open(&error)))?;
        Ok((database, Loaded::default(), Some(told)))
    }

    /// When the file itself is what an error is about: sees to it that the next start puts it
    /// aside.
    pub(super) fn suspect(&self, error: &rusqlite::Error) {
        if is_beyond_use(error)
            && let Err(error) = fs::write(with_ending(&self.path, DAMAGED), "")
        {
            tracing::error!(
                "cannot note that {} is damaged: {error}",
                self.path.display()
            );
        }
    }

    /// Reads the state of a directory that another process may have, and changes nothing.
    pub(super) fn look(dir: &Path) -> Result<Rows, OpenError> {
        let path = path_in(dir);
        let unusable = |problem: String| OpenError::Unusable {
            dir: dir.to_owned(),
            problem,
        };
        if !path.is_file() {
            let problem = "there is none; give the directory that `auditwatch run --state` uses";
            return Err(OpenError::Unreadable(dir.to_owned(), problem.to_owned()));
        }
        let read = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(BUSY)?;
            // One moment of it, whatever is written meanwhile.
            let moment = connection.transaction()?;
            let version = meta(&moment, "state")?.unwrap_or_default();
            let rows = load_rows(&moment)?;
            Ok((version, rows))
        };
        let (version, rows) = read().map_err(|error: rusqlite::Error| {
            OpenError::Unreadable(dir.to_owned(), explain_open(&error))
        })?;
        if version != state_version() {
            return Err(unusable(format!(
                "it is of another version of auditwatch ({version}); use the one that wrote it"
            )));
        }
        Ok(rows)
    }

    fn try_open(path: &Path, faults: &Faults) -> rusqlite::Result<(Self, Standing)> {
        let of_file = |error: io::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
        // SQLite gives its other files the mode of this one.
        let file = private().open(path).map_err(of_file)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))
            .map_err(of_file)?;
        drop(file);
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        connection.pragma_update(None, "cache_size", -32_768)?;
        let database = Self {
            connection,
            path: path.to_owned(),
            faults: faults.clone(),
        };
        let standing = database.standing()?;
        if !matches!(standing, Standing::Foreign(_)) {
            // Files of earlier versions have none.
            database.connection.execute_batch(history::TABLE)?;
        }
        Ok((database, standing))
    }

    /// What versions the file has; one without tables gets them.
    fn standing(&self) -> rusqlite::Result<Standing> {
        let tables: u32 =
            self.connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            self.connection
                .execute_batch(&format!("BEGIN; {TABLES} COMMIT;"))?;
            self.set_versions()?;
            return Ok(Standing::Good);
        }
        let find = "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'";
        let has_meta: bool = self.connection.query_row(find, [], |row| row.get(0))?;
        if !has_meta {
            return Ok(Standing::Foreign("none".to_owned()));
        }
        let schema = self.meta("schema")?.unwrap_or_default();
        if schema != SCHEMA {
            return Ok(Standing::Foreign(schema));
        }
        let state = self.meta("state")?.unwrap_or_default();
        if state != state_version() {
            return Ok(Standing::OldState(state));
        }
        self.set_versions()?;
        Ok(Standing::Good)
    }

    /// Deletes the rows that are of another version and gives back those that are left.
    fn clear_unreadable(&self, found: &str) -> rusqlite::Result<Rows> {
        let (is_engine_read, are_alerts_read) = what_is_read(found);
        self.connection.execute(
            "DELETE FROM state WHERE CASE WHEN kind < ?1 THEN NOT ?2 ELSE NOT ?3 END",
            (detect::row_kind::OTHERS, is_engine_read, are_alerts_read),
        )?;
        self.set_versions()?;
        load_rows(&self.connection)
    }

    fn meta(&self, key: &str) -> rusqlite::Result<Option<String>> {
        meta(&self.connection, key)
    }

    fn set_versions(&self) -> rusqlite::Result<()> {
        for (key, value) in [
            ("schema", SCHEMA),
            ("state", &state_version()),
            ("auditwatch", env!("CARGO_PKG_VERSION")),
        ] {
            self.connection.execute(
                "INSERT INTO meta (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
                [key, value],
            )?;
        }
        Ok(())
    }

    /// Gives the file another name, so that a new one can begin; says so. Only the newest few
    /// that were put aside stay.
    pub(super) fn put_aside(path: &Path, why: &str) -> io::Result<String> {
        let aside = |number: u32| with_ending(path, &format!(".set-aside-{number}"));
        let mut number = 1;
        while aside(number).exists() {
            number += 1;
        }
        if number > ASIDE_MAX {
            for older in 2..number {
                rename(&aside(older), &aside(older - 1))?;
            }
            number -= 1;
        }
        rename(path, &aside(number))?;
        Ok(format!(
            "the state in {} cannot be used, {why}; it was put aside as {} and all begins anew: \
             sources start as if for the first time, windows, baselines and open alerts are \
             empty, and what was still to be told is lost",
            path.display(),
            aside(number).display()
        ))
    }

    fn load(&self) -> rusqlite::Result<Loaded> {
        let mut kept = Loaded::default();
        let mut find = self
            .connection
            .prepare("SELECT source, part, value FROM bookmark")?;
        let bookmarks = find.query_map([], |row| {
            Ok(Bookmark {
                source: row.get::<_, String>(0)?.into(),
                part: row.get::<_, String>(1)?.into(),
                value: Some(row.get(2)?),
            })
        })?;
        kept.bookmarks = bookmarks.collect::<rusqlite::Result<_>>()?;
        drop(find);
        kept.rows = load_rows(&self.connection)?;
        Ok(kept)
    }

    /// Writes all of it, or nothing; how many rows of state that were.
    pub(super) fn commit(
        &mut self,
        checkpoint: Option<&Checkpoint>,
        settled: &[Settled],
        at_most: usize,
        retention: Retention,
    ) -> rusqlite::Result<(usize, outbox::Changed)> {
        let faults = self.faults.clone();
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        faults.writing()?;
        let mut changed = outbox::Changed::default();
        let mut written = 0;
        if let Some(checkpoint) = checkpoint {
            write_bookmarks(&transaction, &checkpoint.bookmarks)?;
            written = write_rows(&transaction, &checkpoint.rows)?;
            outbox::insert(&transaction, &checkpoint.notes)?;
            changed.purged = history::write(&transaction, &checkpoint.ended, retention)?;
        }
        outbox::settle(&transaction, settled)?;
        outbox::make_room(&transaction, at_most, &mut changed)?;
        faults.committing()?;
        transaction.commit()?;
        Ok((written, changed))
    }

    /// A number that changes when another process has written.
    pub(super) fn others_wrote(&self) -> rusqlite::Result<i64> {
        self.connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
    }

    /// Bytes of the file and its log.
    pub(super) fn bytes(&self) -> u64 {
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        size(&self.path) + size(&with_ending(&self.path, "-wal"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let mut find = connection.prepare("SELECT value FROM meta WHERE key = ?1")?;
    find.query_row([key], |row| row.get(0)).optional()
}

fn load_rows(connection: &Connection) -> rusqlite::Result<Rows> {
    let mut loaded = Rows::default();
    let mut find = connection.prepare("SELECT kind, owner, key, value FROM state")?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let owner = Owner {
            kind: row.get(0)?,
            of: row.get::<_, i64>(1)? as u64,
        };
        let (key, value) = (row.get_ref(2)?.as_blob()?, row.get_ref(3)?.as_blob()?);
        loaded.put_raw(owner, key, value);
    }
    Ok(loaded)
}

fn write_bookmarks(transaction: &Transaction<'_>, bookmarks: &[Bookmark]) -> rusqlite::Result<()> {
    for Bookmark {
        source,
        part,
        value,
    } in bookmarks
    {
        match value {
            Some(value) => transaction
                .prepare_cached("INSERT OR REPLACE INTO bookmark VALUES (?1, ?2, ?3)")?
                .execute(params![source, part, value])?,
            None => transaction
                .prepare_cached("DELETE FROM bookmark WHERE source = ?1 AND part = ?2")?
                .execute(params![source, part])?,
        };
    }
    Ok(())
}

fn write_rows(transaction: &Transaction<'_>, rows: &Rows) -> rusqlite::Result<usize> {
    for owner in rows.forgotten() {
        transaction
            .prepare_cached("DELETE FROM state WHERE kind = ?1 AND owner = ?2")?
            .execute(params![owner.kind, owner.of as i64])?;
    }
    let mut put =
        transaction.prepare_cached("INSERT OR REPLACE INTO state VALUES (?1, ?2, ?3, ?4)")?;
    let mut remove = transaction
        .prepare_cached("DELETE FROM state WHERE kind = ?1 AND owner = ?2 AND key = ?3")?;
    let mut written = 0;
    for row in rows.iter() {
        let (kind, of) = (row.owner.kind, row.owner.of as i64);
        match row.value {
            Some(value) => put.execute(params![kind, of, row.key, value])?,
            None => remove.execute(params![kind, of, row.key])?,
        };
        written += 1;
    }
    Ok(written)
}

/// Whether the file itself is what is wrong, so that another one helps.
fn is_beyond_use(error: &rusqlite::Error) -> bool {
    // A page that the file is too short for is an input error to SQLite, and no disk's fault.
    let is_cut_off = error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ);
    is_cut_off
        || Reason::of(error) == Reason::Corrupt
        || matches!(
            error,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        )
        || error.to_string().contains("no such")
}

fn explain_open(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::ToSqlConversionFailure(error) => {
            format!("{error}; it must be a directory that we may write to")
        }
        error => format!("{error}; {}", Reason::of(error).advice()),
    }
}
