//! Which requests were seen: each counts once for each rule, however many stages and repeats of it
//! arrive in whatever order.

mod persist;

use std::collections::VecDeque;

use hashbrown::{HashMap, HashTable};
use smallvec::SmallVec;

pub(super) use persist::Ends;
use persist::Unwritten;

use super::Settings;
use crate::{
    event::Stage,
    units::{Span, Time},
};

/// How long beyond the lateness a finished request is remembered: longer than an API server
/// retries a webhook.
const KEPT: Span = Span::from_secs(600);

/// So many ended long-running requests may always stand in the order of arrival.
const ENDED_MAX: usize = 1024;

/// How a stage of a request relates to what was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// A stage that was not seen yet. Rules may look; [`Requests::claim`] says which still may.
    New(Handle),
    /// This stage was seen before.
    Repeat,
    /// The end of a long-running request whose start counted and is remembered no more.
    Forgotten,
}

/// Where a request is remembered, until the next call of [`Requests::see`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    /// Number in order of arrival.
    Short(u32),
    /// The request itself.
    Long(u128),
}

/// One stage of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub request: u128,
    pub stage: Stage,
    pub is_long_running: bool,
    /// Event time of the request.
    pub time: Time,
    /// When the stage was reached.
    pub stamped: Time,
    /// Whether the request's source would have shown ResponseStarted of it.
    pub start_was_shown: bool,
}

/// The requests that are remembered: ordinary and finished ones by order of arrival, unfinished
/// long-running ones apart, because they outlast thousands of others.
pub(super) struct Requests {
    lateness: Span,
    short: Short,
    long: Long,
    evicted: u64,
    long_evicted: u64,
    forgotten: u64,
}

/// Rules that a request was counted for; most were for none.
#[derive(Default)]
struct Claims(Option<Box<SmallVec<[u32; 5]>>>);

/// An ordinary or finished request. 32 bytes while no rule has counted it.
struct Short {
    requests_max: usize,
    index: HashTable<u32>,
    entries: VecDeque<Entry>,
    /// Number of the oldest entry; numbers wrap.
    first: u32,
    /// What of them is to be written.
    unwritten: Unwritten,
}

struct Entry {
    request: u128,
    claims: Claims,
    /// Seconds since 1970 of its newest stage.
    stamped: u32,
    stages: u8,
}

/// Unfinished long-running requests.
struct Long {
    requests_max: usize,
    entries: HashMap<u128, LongEntry>,
    /// Number and request, oldest arrival first. One that ended stays until it comes to the front
    /// or most are such.
    order: VecDeque<(u64, u128)>,
    next: u64,
    /// The latest start among those that were let go.
    forgotten_until: Time,
    /// Requests that went although there is a row of them.
    removed: Vec<u128>,
}

struct LongEntry {
    number: u64,
    /// Whether it changed since the rows were last taken.
    touched: bool,
    /// Whether there is a row of it.
    kept: bool,
    start: Time,
    stages: u8,
    claims: Claims,
}

impl Requests {
    pub(super) fn new(settings: &Settings) -> Self {
        let requests_max = settings.requests_max.clamp(1, u32::MAX as usize / 2);
        Self {
            lateness: settings.lateness,
            short: Short {
                requests_max,
                index: HashTable::new(),
                entries: VecDeque::new(),
                first: 0,
                unwritten: Unwritten::default(),
            },
            long: Long {
                requests_max: settings.long_requests_max.max(1),
                entries: HashMap::new(),
                order: VecDeque::new(),
                next: 0,
                forgotten_until: Time::MIN,
                removed: Vec::new(),
            },
            evicted: 0,
            long_evicted: 0,
            forgotten: 0,
        }
    }

    /// Notes one stage of a request. `watermark` ages what is remembered.
    pub(super) fn see(&mut self, seen: &Seen, watermark: Time) -> Sighting {
        let stage = 1 << seen.stage as u8;
        let expired = seconds(watermark.minus(self.lateness).minus(KEPT));
        self.short.expire(expired);
        if let Some(number) = self.short.find(seen.request) {
            let entry = self.short.entry(number);
            let is_repeat = entry.stages & stage != 0;
            entry.stages |= stage;
            entry.stamped = entry.stamped.max(seconds(seen.stamped));
            return if is_repeat {
                Sighting::Repeat
            } else {
                Sighting::New(Handle::Short(number))
            };
        }
        if seen.is_long_running {
            self.see_long(seen, stage, expired)
        } else {
            Sighting::New(self.remember(seen, stage, Claims::default(), expired))
        }
    }

    /// Whether `rule` may count this request: true once.
    pub(super) fn claim(&mut self, handle: Handle, rule: u32) -> bool {
        let claims = match handle {
            Handle::Short(number) => &mut self.short.entry(number).claims,
            Handle::Long(request) => match self.long.entries.get_mut(&request) {
                Some(entry) => {
                    entry.touched = true;
                    &mut entry.claims
                }
                None => return false,
            },
        };
        claims.add(rule)
    }

    pub(super) fn len(&self) -> usize {
        self.short.entries.len()
    }

    pub(super) fn long_len(&self) -> usize {
        self.long.entries.len()
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) const fn long_evicted(&self) -> u64 {
        self.long_evicted
    }

    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Memory, about, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.short.entries.capacity() * size_of::<Entry>()
            + self.short.index.capacity() * 5
            + self.long.entries.len() * (size_of::<LongEntry>() + 64)
    }

    fn see_long(&mut self, seen: &Seen, stage: u8, expired: u32) -> Sighting {
        let is_end = matches!(seen.stage, Stage::ResponseComplete | Stage::Panic);
        let known = self.long.entries.get_mut(&seen.request);
        let is_known = known.is_some();
        if let Some(entry) = known {
            if entry.stages & stage != 0 {
                return Sighting::Repeat;
            }
            entry.stages |= stage;
            entry.touched = true;
        }
        if !is_end {
            if !is_known {
                self.long_evicted += self.long.insert(seen, stage);
            }
            return Sighting::New(Handle::Long(seen.request));
        }
        let (stages, claims) = self
            .long
            .remove(seen.request)
            .unwrap_or((stage, Claims::default()));
        let was_shown = seen.start_was_shown && seen.time <= self.long.forgotten_until;
        let handle = self.remember(seen, stages, claims, expired);
        if !is_known && was_shown {
            self.forgotten += 1;
            return Sighting::Forgotten;
        }
        Sighting::New(handle)
    }

    fn remember(&mut self, seen: &Seen, stages: u8, claims: Claims, expired: u32) -> Handle {
        let stamped = seconds(seen.stamped);
        let entry = Entry {
            request: seen.request,
            claims,
            stamped,
            stages,
        };
        if self.short.entries.len() >= self.short.requests_max {
            let is_over = self
                .short
                .pop()
                .is_some_and(|oldest| oldest.stamped < expired);
            self.evicted += u64::from(!is_over);
        }
        Handle::Short(self.short.push(entry))
    }
}

impl Claims {
    fn from_vec(rules: Vec<u32>) -> Self {
        Self((!rules.is_empty()).then(|| Box::new(SmallVec::from_vec(rules))))
    }

    fn as_slice(&self) -> &[u32] {
        self.0.as_deref().map_or(&[], SmallVec::as_slice)
    }

    /// False when the rule is among them already.
    fn add(&mut self, rule: u32) -> bool {
        let is_new = !self.as_slice().contains(&rule);
        if is_new {
            self.0.get_or_insert_default().push(rule);
        }
        is_new
    }
}

impl Short {
    fn find(&self, request: u128) -> Option<u32> {
        let is_it = |&number: &u32| {
            self.entries[number.wrapping_sub(self.first) as usize].request == request
        };
        self.index.find(request as u64, is_it).copied()
    }

    fn entry(&mut self, number: u32) -> &mut Entry {
        self.unwritten.touch(self.first, number);
        &mut self.entries[number.wrapping_sub(self.first) as usize]
    }

    fn push(&mut self, entry: Entry) -> u32 {
        let number = self.first.wrapping_add(self.entries.len() as u32);
        let request = entry.request;
        self.unwritten.touch(self.first, number);
        self.entries.push_back(entry);
        let (entries, first) = (&self.entries, self.first);
        let hash = |&number: &u32| entries[number.wrapping_sub(first) as usize].request as u64;
        self.index.insert_unique(request as u64, number, hash);
        number
    }

    fn pop(&mut self) -> Option<Entry> {
        let oldest = self.entries.pop_front()?;
        let number = self.first;
        if let Ok(found) = self
            .index
            .find_entry(oldest.request as u64, |&n| n == number)
        {
            found.remove();
        }
        self.first = self.first.wrapping_add(1);
        self.unwritten.starts_at(self.first);
        Some(oldest)
    }

    /// Lets the oldest few go whose time is over; two, so that it keeps up with arrivals.
    fn expire(&mut self, expired: u32) {
        for _ in 0..2 {
            if self
                .entries
                .front()
                .is_none_or(|oldest| oldest.stamped >= expired)
            {
                return;
            }
            self.pop();
        }
    }
}

impl Long {
    /// Returns how many had to go for it.
    fn insert(&mut self, seen: &Seen, stages: u8) -> u64 {
        let mut gone = 0;
        while self.entries.len() >= self.requests_max
            && let Some((number, request)) = self.order.pop_front()
        {
            let is_it = |entry: &LongEntry| entry.number == number;
            if self.entries.get(&request).is_some_and(is_it)
                && let Some(entry) = self.entries.remove(&request)
            {
                self.forgotten_until = self.forgotten_until.max(entry.start);
                gone += 1;
                if entry.kept {
                    self.removed.push(request);
                }
            }
        }
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, seen.request));
        let entry = LongEntry {
            number,
            touched: true,
            kept: false,
            start: seen.time,
            stages,
            claims: Claims::default(),
        };
        self.entries.insert(seen.request, entry);
        gone
    }

    fn remove(&mut self, request: u128) -> Option<(u8, Claims)> {
        let entry = self.entries.remove(&request)?;
        if entry.kept {
            self.removed.push(request);
        }
        if self.order.len() > 2 * self.entries.len() + ENDED_MAX {
            let entries = &self.entries;
            let is_open = |(number, request): &(u64, u128)| {
                let entry = entries.get(request);
                entry.is_some_and(|entry| entry.number == *number)
            };
            self.order.retain(is_open);
        }
        Some((entry.stages, entry.claims))
    }
}

/// Whole seconds since 1970, as far as they fit.
fn seconds(time: Time) -> u32 {
    u32::try_from((time.micros() / 1_000_000).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn seen(request: u128, stage: Stage, is_long_running: bool, seconds: i64) -> Seen {
        Seen {
            request,
            stage,
            is_long_running,
            time: at(seconds),
            stamped: at(seconds),
            start_was_shown: true,
        }
    }

    fn requests(requests_max: usize, long_requests_max: usize) -> Requests {
        Requests::new(&Settings {
            requests_max,
            long_requests_max,
            ..Settings::default()
        })
    }

    fn handle(sighting: Sighting) -> Handle {
        match sighting {
            Sighting::New(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 32, "{}", size_of::<Entry>());
        let long = size_of::<(u128, LongEntry)>();
        assert!(long <= 48, "{long}");
    }

    #[test]
    fn each_rule_counts_a_request_once() {
        for is_long_running in [false, true] {
            let mut requests = requests(10, 10);
            let mut see = |stage| {
                let sighting = requests.see(&seen(7, stage, is_long_running, 100), at(100));
                match sighting {
                    Sighting::New(handle) => {
                        (0..2).map(|rule| requests.claim(handle, rule)).collect()
                    }
                    _ => vec![],
                }
            };
            assert_eq!(see(Stage::ResponseStarted), [true, true]);
            assert_eq!(see(Stage::ResponseStarted), [false; 0]);
            assert_eq!(see(Stage::ResponseComplete), [false, false]);
            assert_eq!(see(Stage::ResponseComplete), [false; 0]);
            assert_eq!(see(Stage::RequestReceived), [false, false], "in any order");
        }
    }

    #[test]
    fn watches_outlast_a_flood_of_ordinary_requests() {
        let mut requests = requests(100, 10);
        let start = handle(requests.see(&seen(1, Stage::ResponseStarted, true, 0), at(0)));
        assert!(requests.claim(start, 3));
        for request in 100..5_000 {
            requests.see(&seen(request, Stage::ResponseComplete, false, 1), at(1));
        }
        assert_eq!((requests.len(), requests.evicted()), (100, 4_800));
        let end = handle(requests.see(&seen(1, Stage::ResponseComplete, true, 0), at(7_000)));
        assert!(!requests.claim(end, 3), "it counted when it started");
        assert_eq!(requests.long_len(), 0);
    }

    #[test]
    fn the_end_of_a_forgotten_watch_does_not_count() {
        let mut requests = requests(100, 5);
        for request in 0..20 {
            let seconds = request as i64;
            requests.see(
                &seen(request, Stage::ResponseStarted, true, seconds),
                at(seconds),
            );
        }
        assert_eq!((requests.long_len(), requests.long_evicted()), (5, 15));
        let end = |request, seconds| seen(request, Stage::ResponseComplete, true, seconds);
        assert_eq!(requests.see(&end(3, 3), at(30)), Sighting::Forgotten);
        assert_eq!(requests.see(&end(3, 3), at(30)), Sighting::Repeat);
        handle(requests.see(&end(17, 17), at(30)));
        handle(requests.see(&end(99, 30), at(31)));
        let unshown = Seen {
            start_was_shown: false,
            ..end(4, 4)
        };
        handle(requests.see(&unshown, at(31)));
        assert_eq!(requests.forgotten(), 1);
    }

    #[test]
    fn finished_requests_expire_by_the_watermark() {
        let mut requests = requests(1_000, 10);
        for request in 0..100 {
            requests.see(&seen(request, Stage::ResponseComplete, false, 0), at(0));
        }
        for request in 1_000..1_100 {
            requests.see(&seen(request, Stage::ResponseComplete, false, 900), at(900));
        }
        assert_eq!(
            requests.len(),
            200,
            "lateness and ten minutes have just passed"
        );
        for request in 2_000..2_100 {
            requests.see(&seen(request, Stage::ResponseComplete, false, 902), at(902));
        }
        assert_eq!((requests.len(), requests.evicted()), (200, 0));
    }
}
