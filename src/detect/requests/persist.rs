//! The requests that are remembered as rows: ordinary ones by the thousand, since each is small
//! and seldom touched after the next few thousand came; long-running ones one by one.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Claims, Entry, LongEntry, Requests};
use crate::{
    detect::snapshot::{KeptRows, kind},
    units::Time,
    window::{Owner, Rows, Unreadable, read},
};

/// How many bits of a request's number are its place within a row.
const ROW_BITS: u32 = 10;
/// Rows are numbered from 0 to this and then from 0 again, as requests are.
const ROW_MAX: u32 = u32::MAX >> ROW_BITS;

const SHORT: Owner = Owner {
    kind: kind::SHORT_REQUESTS,
    of: 0,
};
const LONG: Owner = Owner {
    kind: kind::LONG_REQUESTS,
    of: 0,
};

/// Which rows of ordinary requests are to be written.
#[derive(Default)]
pub(super) struct Unwritten {
    /// For each row from that of the oldest request on whether it changed.
    touched: VecDeque<bool>,
    /// Number of the first row that was written and not removed.
    kept_from: Option<u32>,
}

/// What else is remembered.
#[derive(Serialize, Deserialize)]
pub(in crate::detect) struct Ends {
    first: u32,
    len: u32,
    long_next: u64,
    forgotten_until: Time,
}

/// A row of ordinary requests as it is written: the number of the first, then each.
type Written<'a> = (u32, Vec<(u128, u32, u8, &'a [u32])>);
/// The same as it is read.
type Read = (u32, Vec<(u128, u32, u8, Vec<u32>)>);

const fn row_of(number: u32) -> u32 {
    number >> ROW_BITS
}

impl Unwritten {
    /// Notes that the request `number` changed; the oldest is `first`.
    pub(super) fn touch(&mut self, first: u32, number: u32) {
        let place = (row_of(number).wrapping_sub(row_of(first)) & ROW_MAX) as usize;
        while self.touched.len() <= place {
            self.touched.push_back(false);
        }
        if let Some(touched) = self.touched.get_mut(place) {
            *touched = true;
        }
    }

    /// Notes that the oldest request is `first` now, one more than before.
    pub(super) fn starts_at(&mut self, first: u32) {
        if first & ((1 << ROW_BITS) - 1) == 0 {
            self.touched.pop_front();
        }
    }
}

impl Requests {
    pub(in crate::detect) fn ends(&self) -> Ends {
        Ends {
            first: self.short.first,
            len: self.short.entries.len() as u32,
            long_next: self.long.next,
            forgotten_until: self.long.forgotten_until,
        }
    }

    /// Adds the rows that changed since this was last called.
    pub(in crate::detect) fn changes(&mut self, rows: &mut Rows) {
        self.short_changes(rows);
        for request in self.long.removed.drain(..) {
            rows.remove(LONG, &request.to_be_bytes());
        }
        for (number, request) in &self.long.order {
            let Some(entry) = self.long.entries.get_mut(request) else {
                continue;
            };
            if entry.number == *number && std::mem::take(&mut entry.touched) {
                entry.kept = true;
                let row = (number, entry.start, entry.stages, entry.claims.as_slice());
                rows.put(LONG, &request.to_be_bytes(), &row);
            }
        }
    }

    fn short_changes(&mut self, rows: &mut Rows) {
        let short = &mut self.short;
        let oldest = row_of(short.first);
        let mut gone = short.unwritten.kept_from.unwrap_or(oldest);
        while gone != oldest {
            rows.remove(SHORT, &gone.to_be_bytes());
            gone = (gone + 1) & ROW_MAX;
        }
        short.unwritten.kept_from = Some(oldest);
        for (place, touched) in (0u32..).zip(&mut short.unwritten.touched) {
            if !std::mem::take(touched) {
                continue;
            }
            let row = oldest.wrapping_add(place) & ROW_MAX;
            let start = if place == 0 {
                short.first
            } else {
                row << ROW_BITS
            };
            let from = start.wrapping_sub(short.first) as usize;
            let left = (1 << ROW_BITS) - (start & ((1 << ROW_BITS) - 1)) as usize;
            let to = (from + left).min(short.entries.len());
            let entries = short.entries.range(from..to).map(|entry| {
                let claims = entry.claims.as_slice();
                (entry.request, entry.stamped, entry.stages, claims)
            });
            let value: Written<'_> = (start, entries.collect());
            rows.put(SHORT, &row.to_be_bytes(), &value);
        }
    }

    /// Takes up what its rows hold.
    pub(in crate::detect) fn restore(
        &mut self,
        ends: &Ends,
        rows: &mut KeptRows<'_>,
    ) -> Result<(), Unreadable> {
        self.restore_short(ends, rows)?;
        let mut by_number = BTreeMap::new();
        for (key, value) in rows.take(LONG) {
            let key = key.try_into().map_err(|_| Unreadable { owner: LONG })?;
            let request = u128::from_be_bytes(key);
            let (number, start, stages, claims): (u64, Time, u8, Vec<u32>) = read(LONG, value)?;
            let entry = LongEntry {
                number,
                touched: false,
                kept: true,
                start,
                stages,
                claims: Claims::from_vec(claims),
            };
            by_number.insert(number, request);
            self.long.entries.insert(request, entry);
        }
        if by_number.len() != self.long.entries.len() {
            return Err(Unreadable { owner: LONG });
        }
        self.long.order = by_number.into_iter().collect();
        self.long.next = ends.long_next;
        self.long.forgotten_until = ends.forgotten_until;
        Ok(())
    }

    fn restore_short(&mut self, ends: &Ends, rows: &mut KeptRows<'_>) -> Result<(), Unreadable> {
        let unreadable = Unreadable { owner: SHORT };
        let first_row = row_of(ends.first);
        let mut by_row = BTreeMap::new();
        for (key, value) in rows.take(SHORT) {
            let row = u32::from_be_bytes(key.try_into().map_err(|_| unreadable)?);
            by_row.insert(row.wrapping_sub(first_row) & ROW_MAX, value);
        }
        self.short.first = ends.first;
        for value in by_row.into_values() {
            let (start, entries): Read = read(SHORT, value)?;
            for (at, (request, stamped, stages, claims)) in (0..).zip(entries) {
                // The first row may still hold some that went since it was written.
                let place = start.wrapping_add(at).wrapping_sub(ends.first);
                if place as usize != self.short.entries.len() {
                    continue;
                }
                let claims = Claims::from_vec(claims);
                self.short.push(Entry {
                    request,
                    claims,
                    stamped,
                    stages,
                });
            }
        }
        if self.short.entries.len() as u32 != ends.len {
            return Err(unreadable);
        }
        self.short
            .unwritten
            .touched
            .iter_mut()
            .for_each(|touched| *touched = false);
        self.short.unwritten.kept_from = Some(first_row);
        while self.short.entries.len() > self.short.requests_max {
            self.short.pop();
        }
        Ok(())
    }
}
