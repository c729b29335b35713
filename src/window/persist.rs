//! State as rows that survive the process: each key of each table is one, and only those that
//! changed are written again.

use serde::{Serialize, de::DeserializeOwned};
use smallvec::SmallVec;

/// Whose row it is: what kind of state, and of which rule. Rows of a rule whose meaning changed
/// have another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The kind of state, in numbers that never change their meaning.
    pub kind: u8,
    /// The fingerprint of the rule; 0 for state that no rule owns.
    pub of: u64,
}

/// Rows: those that changed, on their way to the store, or all, on their way back.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    entries: Vec<Entry>,
    /// All values, one after the other.
    bytes: Vec<u8>,
    scratch: Vec<u8>,
    gone: Vec<Owner>,
}

#[derive(Clone, Debug)]
struct Entry {
    owner: Owner,
    key: SmallVec<[u8; 16]>,
    /// Where the value lies in `bytes`; `None` for a row that is to go.
    value: Option<(usize, usize)>,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Whose it is.
    pub owner: Owner,
    /// Its key, unique for the owner; may be empty.
    pub key: &'a [u8],
    /// Its value; `None` for a row that is to go.
    pub value: Option<&'a [u8]>,
}

/// A row that does not hold what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("state of kind {} cannot be read", owner.kind)]
pub struct Unreadable {
    /// Whose row it is.
    pub owner: Owner,
}

impl Rows {
    /// Adds a row.
    pub fn put<T: Serialize + ?Sized>(&mut self, owner: Owner, key: &[u8], value: &T) {
        self.scratch.clear();
        // Into a vector only a value that does not know its own length cannot be written; there
        // is none.
        let Ok(written) = postcard::to_extend(value, std::mem::take(&mut self.scratch)) else {
            return;
        };
        self.put_raw(owner, key, &written);
        self.scratch = written;
    }

    /// Adds a row whose value is written already.
    pub fn put_raw(&mut self, owner: Owner, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry {
            owner,
            key: key.into(),
            value: Some((start, self.bytes.len())),
        });
    }

    /// Says that a row is to go.
    pub fn remove(&mut self, owner: Owner, key: &[u8]) {
        self.entries.push(Entry {
            owner,
            key: key.into(),
            value: None,
        });
    }

    /// Says that all rows of an owner are to go, before those here are written.
    pub fn forget(&mut self, owner: Owner) {
        self.gone.push(owner);
    }

    /// The owners whose rows are to go.
    pub fn forgotten(&self) -> &[Owner] {
        &self.gone
    }

    /// The rows, in the order of owner and key once they are [sorted](Self::sort).
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.entries.iter().map(|entry| Row {
            owner: entry.owner,
            key: &entry.key,
            value: entry.value.map(|(start, end)| &self.bytes[start..end]),
        })
    }

    /// Brings rows into the order in which they are stored; of those with the same owner and key
    /// the last one put stays last.
    pub fn sort(&mut self) {
        self.entries
            .sort_by(|one, other| (one.owner, &one.key).cmp(&(other.owner, &other.key)));
    }

    /// The rows of some owners, in their order; owners whose rows are to go are not among them.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(Owner) -> bool) -> Self {
        let mut rows = Self::default();
        for row in self.iter().filter(|row| is_wanted(row.owner)) {
            match row.value {
                Some(value) => rows.put_raw(row.owner, row.key, value),
                None => rows.remove(row.owner, row.key),
            }
        }
        rows
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.gone.is_empty()
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Reads a value back.
///
/// # Errors
/// When the bytes are not one whole value.
pub fn read<T: DeserializeOwned>(owner: Owner, bytes: &[u8]) -> Result<T, Unreadable> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(Unreadable { owner }),
    }
}
