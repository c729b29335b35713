//! The engine's limits, and the numbers that it tells about itself.

use crate::units::Span;

/// Limits of the engine. Each table that callers of the API server can fill has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How far behind its source's watermark an event may be and still be counted exactly.
    pub lateness: Span,
    /// How far ahead of the clock a stamp may be before it is taken for the clock's time.
    pub ahead: Span,
    /// Requests that are remembered, so that each counts once.
    pub requests_max: usize,
    /// Unfinished long-running requests (watches, exec sessions) that are remembered.
    pub long_requests_max: usize,
    /// Keys of one rule's window or baseline.
    pub keys_max: usize,
    /// Occurrences, or known values, that one rule's keys hold together.
    pub occurrences_max: usize,
    /// Known values of one novelty key.
    pub values_max: usize,
    /// Sources whose progress is followed.
    pub sources_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lateness: Span::from_secs(300),
            ahead: Span::from_secs(60),
            requests_max: 256 * 1024,
            long_requests_max: 64 * 1024,
            keys_max: 100_000,
            occurrences_max: 500_000,
            values_max: 1_000,
            sources_max: 4_096,
        }
    }
}

/// What the engine holds, and what became of the observations that it took in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Observations in time.
    pub evaluated: u64,
    /// Observations of a stage of a request that was seen before.
    pub duplicate: u64,
    /// Observations further behind than the allowed lateness; rules without windows saw them.
    pub late: u64,
    /// Stamps from the future that were set back to the clock.
    pub clamped: u64,
    /// Hits that a condition could not count, because the event lacks a field of its key or the
    /// counted one.
    pub unkeyed: u64,
    /// Ends of long-running requests that were not looked at, because their start, which counted,
    /// is remembered no more.
    pub forgotten: u64,
    /// Requests remembered.
    pub requests: usize,
    /// Requests that were let go before their time, because there were too many.
    pub requests_evicted: u64,
    /// Unfinished long-running requests remembered.
    pub long_requests: usize,
    /// Unfinished long-running requests that were let go, because there were too many.
    pub long_requests_evicted: u64,
    /// Keys of all windows and baselines.
    pub keys: usize,
    /// Occurrences and known values that these keys hold.
    pub occurrences: usize,
    /// Keys that were let go before their time, because there were too many.
    pub keys_evicted: u64,
    /// Known values and sequence steps that were let go before their time.
    pub values_evicted: u64,
    /// Combinations of the values of fields with several that were not counted, because a hit had
    /// too many.
    pub combinations_dropped: u64,
    /// Requests that a chained correlation did not take as evidence, because one step of its
    /// member brought too many.
    pub evidence_dropped: u64,
    /// Tokens whose making is remembered no more, because there were too many.
    pub mintings_forgotten: u64,
    /// Sources followed.
    pub sources: usize,
    /// Memory of these tables, about, in bytes; without the evidence that occurrences hold.
    pub bytes: usize,
}

impl Stats {
    /// All observations: each is evaluated, duplicate or late, and only one of these.
    pub const fn received(&self) -> u64 {
        self.evaluated + self.duplicate + self.late
    }
}
