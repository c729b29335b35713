//! Counting over event time: count, distinct, sequence, absence. Knows keys and times, not events.
//!
//! A window slides and both its ends are inclusive, as Sigma's `timespan` wants. An occurrence
//! *counts* when it lies in some stretch of `timespan` that meets the bound. Each insert hands
//! back the occurrences that count for the first time because of it, so a detection is made the
//! moment its evidence is complete and, whatever the order of arrival, the same occurrences count
//! in the end. An occurrence's payload is held until it counts and not a moment longer.
//!
//! Invariants: what a key holds is limited by the [`Spec`] and never by the traffic; a
//! [`Table`] holds a fixed number of keys; only time given by the caller moves anything; the
//! order of a hash map never shows.
//!
//! Not here: which rule feeds a window, what a key is made of, what a payload is.

mod absence;
mod count;
mod distinct;
mod persist;
mod ring;
mod sequence;
mod table;
#[cfg(test)]
mod tests;

pub use absence::{Absence, Heartbeat, Missing, Run};
pub use count::Count;
pub use distinct::Distinct;
pub use persist::{Owner, Row, Rows, Unreadable, read};
pub use ring::{Look, Spec, Step, THRESHOLD_MAX};
pub use sequence::Sequence;
pub use table::{Held, Key, Limits, Revised, Table, TableStats};
