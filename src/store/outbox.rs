//! The outbox in the file: what waits for its receiver, and what nobody could be told.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use rusqlite::{Connection, OpenFlags, Row, Transaction, params};

use super::{Note, database};
use crate::units::Time;

/// How a message ended. It stays what it is until that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Its receiver took it.
    Taken(u64),
    /// Nobody will be told; why, and when that was found.
    Dead(u64, &'static str, Time),
}

/// Messages that went because there were too many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Receiver and number of those that were waiting.
    pub dropped: Vec<(Arc<str>, u64)>,
    /// How many dead letters went.
    pub forgotten: usize,
    /// How many alerts that are over went from the history.
    pub purged: usize,
}

/// How many of one receiver there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Its name.
    pub receiver: String,
    /// Messages that wait for it.
    pub waiting: u64,
    /// Messages that were given up.
    pub dead: u64,
}

pub(super) fn insert(transaction: &Transaction<'_>, notes: &[Note]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO outbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'waiting', '', ?7, ?8)",
    )?;
    for note in notes {
        insert.execute(params![
            note.number as i64,
            note.id,
            note.receiver,
            note.about,
            note.level,
            note.is_update,
            note.made_at.micros(),
            &*note.payload,
        ])?;
    }
    Ok(())
}

pub(super) fn settle(transaction: &Transaction<'_>, settled: &[Settled]) -> rusqlite::Result<()> {
    for settled in settled {
        match settled {
            Settled::Taken(number) => transaction
                .prepare_cached("DELETE FROM outbox WHERE number = ?1")?
                .execute([*number as i64])?,
            Settled::Dead(number, reason, at) => transaction
                .prepare_cached(
                    "UPDATE outbox SET standing = 'dead', reason = ?2, since = ?3 WHERE number = ?1",
                )?
                .execute(params![*number as i64, reason, at.micros()])?,
        };
    }
    Ok(())
}

/// Beyond `at_most` messages go: dead letters first, the oldest of them; then updates that a newer
/// message made needless; then the least urgent, the oldest of them.
pub(super) fn make_room(
    transaction: &Transaction<'_>,
    at_most: usize,
    changed: &mut Changed,
) -> rusqlite::Result<()> {
    let count: i64 = transaction
        .prepare_cached("SELECT count(*) FROM outbox")?
        .query_row([], |row| row.get(0))?;
    let mut over = count - at_most as i64;
    if over <= 0 {
        return Ok(());
    }
    // A little more, so that this is not done for each message of a storm.
    over += at_most as i64 / 64;
    let dead = transaction.execute(
        "DELETE FROM outbox WHERE number IN
         (SELECT number FROM outbox WHERE standing = 'dead' ORDER BY since, number LIMIT ?1)",
        [over],
    )?;
    changed.forgotten += dead;
    let mut find = transaction.prepare_cached(
        "SELECT receiver, number, is_update AND EXISTS (
             SELECT 1 FROM outbox newer WHERE newer.receiver = outbox.receiver
             AND newer.about = outbox.about AND newer.number > outbox.number) AS needless
         FROM outbox WHERE standing = 'waiting' ORDER BY needless DESC, level, number LIMIT ?1",
    )?;
    let find = find.query_map([over - dead as i64], |row| {
        Ok((
            row.get::<_, String>(0)?.into(),
            row.get::<_, i64>(1)? as u64,
        ))
    })?;
    for dropped in find {
        let dropped: (Arc<str>, u64) = dropped?;
        transaction
            .prepare_cached("DELETE FROM outbox WHERE number = ?1")?
            .execute([dropped.1 as i64])?;
        changed.dropped.push(dropped);
    }
    Ok(())
}

fn note(row: &Row<'_>) -> rusqlite::Result<Note> {
    Ok(Note {
        number: row.get::<_, i64>(0)? as u64,
        id: row.get::<_, String>(1)?.into(),
        receiver: row.get::<_, String>(2)?.into(),
        about: row.get::<_, String>(3)?.into(),
        level: row.get(4)?,
        is_update: row.get(5)?,
        made_at: Time::from_micros(row.get(6)?),
        payload: row.get::<_, Vec<u8>>(7)?.into(),
    })
}

/// The next messages that wait for a receiver after the one with the number `after`.
pub(super) fn waiting(
    connection: &Connection,
    receiver: &str,
    after: u64,
    at_most: usize,
) -> rusqlite::Result<Vec<Note>> {
    let mut find = connection.prepare_cached(
        "SELECT number, id, receiver, about, level, is_update, made_at, payload FROM outbox
         WHERE receiver = ?1 AND standing = 'waiting' AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    let notes = find.query_map(params![receiver, after as i64, at_most as i64], note)?;
    notes.collect()
}

/// The greatest number there is.
pub(super) fn last_number(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT ifnull(max(number), 0) FROM outbox", [], |row| {
        Ok(row.get::<_, i64>(0)? as u64)
    })
}

pub(super) fn counts(connection: &Connection) -> rusqlite::Result<Vec<Count>> {
    let mut find = connection.prepare_cached(
        "SELECT receiver, sum(standing = 'waiting'), sum(standing = 'dead')
         FROM outbox GROUP BY receiver",
    )?;
    let counts = find.query_map([], |row| {
        Ok(Count {
            receiver: row.get(0)?,
            waiting: row.get::<_, i64>(1)? as u64,
            dead: row.get::<_, i64>(2)? as u64,
        })
    })?;
    counts.collect()
}

/// Makes dead letters of what waits for receivers that are not among `receivers`; how many of
/// each.
pub(super) fn orphan(
    connection: &Connection,
    receivers: &BTreeSet<Arc<str>>,
    now: Time,
) -> rusqlite::Result<Vec<(String, usize)>> {
    let mut gone = Vec::new();
    for Count { receiver, .. } in counts(connection)? {
        if receivers.contains(receiver.as_str()) {
            continue;
        }
        let dead = connection.execute(
            "UPDATE outbox SET standing = 'dead', reason = 'receiver removed', since = ?2
             WHERE receiver = ?1 AND standing IN ('waiting', 'retry')",
            params![receiver, now.micros()],
        )?;
        if dead > 0 {
            gone.push((receiver, dead));
        }
    }
    Ok(gone)
}

/// What the operator wished since the last time: numbers to forget, and messages to send again,
/// which get new numbers after `last`.
pub(super) fn take_wishes(
    connection: &mut Connection,
    last: &mut u64,
    now: Time,
) -> rusqlite::Result<(Vec<u64>, Vec<Note>)> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let numbers = |standing: &str| -> rusqlite::Result<Vec<u64>> {
        let mut find = transaction
            .prepare_cached("SELECT number FROM outbox WHERE standing = ?1 ORDER BY number")?;
        let numbers = find.query_map([standing], |row| Ok(row.get::<_, i64>(0)? as u64))?;
        numbers.collect()
    };
    let (dropped, again) = (numbers("drop")?, numbers("retry")?);
    transaction.execute("DELETE FROM outbox WHERE standing = 'drop'", [])?;
    let mut next = *last;
    let mut notes = Vec::new();
    for number in again {
        next += 1;
        transaction.execute(
            "UPDATE outbox SET number = ?2, standing = 'waiting', reason = '', made_at = ?3
             WHERE number = ?1",
            params![number as i64, next as i64, now.micros()],
        )?;
        notes.push(transaction.query_row(
            "SELECT number, id, receiver, about, level, is_update, made_at, payload
             FROM outbox WHERE number = ?1",
            [next as i64],
            note,
        )?);
    }
    transaction.commit()?;
    *last = next;
    Ok((dropped, notes))
}

/// One message as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The message.
    pub note: Note,
    /// `waiting`, `dead`, or what was asked for and not done yet: `retry`, `drop`.
    pub standing: String,
    /// Why it is dead; else empty.
    pub reason: String,
    /// When it came to stand so.
    pub since: Time,
}

/// The outbox of a directory for an operator; a daemon may use it at the same time.
pub struct Outbox(Connection);

/// Which messages an operator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of these numbers or ids.
    These(Vec<String>),
    /// All dead letters.
    AllDead,
}

impl Outbox {
    /// Opens it.
    ///
    /// # Errors
    /// When there is none, or it cannot be read; the text says what to do.
    pub fn open(dir: &Path) -> Result<Self, String> {
        let path = database::path_in(dir);
        if !path.is_file() {
            return Err(format!(
                "there is no {}; give the directory that `auditwatch run --state` uses",
                path.display()
            ));
        }
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            counts(&connection)?;
            Ok(Self(connection))
        };
        open().map_err(|error: rusqlite::Error| {
            let path = path.display();
            format!("cannot read {path}: {error}; may we, and is it ours?")
        })
    }

    /// What is in it, oldest first; with `dead` only dead letters.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self, dead: bool, at_most: usize) -> Result<Vec<Entry>, String> {
        let which = if dead { "standing = 'dead'" } else { "1" };
        self.entries(which, [at_most as i64]).map_err(text)
    }

    fn entries(
        &self,
        which: &str,
        parameters: impl rusqlite::Params,
    ) -> rusqlite::Result<Vec<Entry>> {
        let mut find = self.0.prepare(&format!(
            "SELECT number, id, receiver, about, level, is_update, made_at, payload,
             standing, reason, since FROM outbox WHERE {which} ORDER BY number LIMIT ?1"
        ))?;
        let entries = find.query_map(parameters, |row| {
            Ok(Entry {
                note: note(row)?,
                standing: row.get(8)?,
                reason: row.get(9)?,
                since: Time::from_micros(row.get(10)?),
            })
        })?;
        entries.collect()
    }

    /// One message by its number or id; the id may be of several receivers.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn find(&self, name: &str) -> Result<Vec<Entry>, String> {
        self.entries("number = ?2 OR id = ?2", params![100, name])
            .map_err(text)
    }

    /// Asks for messages to be sent again. A running daemon does it within seconds, another when
    /// it starts. Returns how many there are.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn retry(&mut self, which: &Which) -> Result<usize, String> {
        self.wish("retry", "standing = 'dead'", which)
    }

    /// Asks for messages to be forgotten. Returns how many there are.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn drop(&mut self, which: &Which) -> Result<usize, String> {
        self.wish("drop", "standing <> 'drop'", which)
    }

    fn wish(&mut self, wish: &str, of: &str, which: &Which) -> Result<usize, String> {
        let wish_for = |which: &str, name: &str| {
            self.0.execute(
                &format!("UPDATE outbox SET standing = ?1 WHERE {of} AND ({which})"),
                [wish, name],
            )
        };
        let counted: rusqlite::Result<usize> = match which {
            Which::AllDead => wish_for("standing = 'dead' AND ?2 = ''", ""),
            Which::These(names) => names
                .iter()
                .map(|name| wish_for("number = ?2 OR id = ?2", name))
                .sum(),
        };
        counted.map_err(text)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it maps an error")]
fn text(error: rusqlite::Error) -> String {
    format!("cannot use the outbox: {error}")
}
