//! How far each source has come in event time, and how far all of them have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Observation, Settings};
use crate::{
    event::Stage,
    units::{Span, Time},
};

/// One stream of events whose order means something: a file, one API server's webhook. The same
/// stream has the same number in every run, because state that survives refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceId(pub u64);

/// How often the sources that fell silent are looked for, in event time.
const SILENCE_CHECK: Span = Span::from_secs(1);

/// The progress of all sources.
pub(super) struct Sources {
    lateness: Span,
    ahead: Span,
    count_max: usize,
    progress: BTreeMap<SourceId, Progress>,
    /// The greatest watermark of any source.
    top: Time,
    /// The least watermark of the sources that are not silent.
    watermark: Time,
    /// `top` when the silent ones were last looked for.
    checked: Time,
    clamped: u64,
}

/// The progress of one source.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Progress {
    /// The greatest stamp so far.
    watermark: Time,
    /// The stamp of its first event.
    first: Time,
    /// `top` when it last delivered something.
    top_then: Time,
    /// Whether it shows the stage ResponseStarted at all; audit policies may omit it.
    shows_started: bool,
}

/// The progress of all sources, as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Standing {
    progress: BTreeMap<SourceId, Progress>,
    top: Time,
    watermark: Time,
    checked: Time,
}

/// Where an observation stands in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Event time of its request.
    pub time: Time,
    /// When its stage was reached.
    pub stamped: Time,
    /// Whether it is further behind its source than allowed.
    pub is_late: bool,
    /// Whether its source would have shown the start of its long-running request.
    pub start_was_shown: bool,
}

impl Sources {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self {
            lateness: settings.lateness,
            ahead: settings.ahead,
            count_max: settings.sources_max,
            progress: BTreeMap::new(),
            top: Time::MIN,
            watermark: Time::MIN,
            checked: Time::MIN,
            clamped: 0,
        }
    }

    /// The time up to which all active sources have delivered; `Time::MIN` before the first event.
    pub(super) const fn watermark(&self) -> Time {
        self.watermark
    }

    pub(super) fn len(&self) -> usize {
        self.progress.len()
    }

    pub(super) const fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Moves a source on by one observation. A stamp that is absent stands where its source does.
    pub(super) fn place(
        &mut self,
        source: SourceId,
        observation: &Observation,
        now: Option<Time>,
    ) -> Placed {
        let known = self.progress.get(&source).copied();
        let stand_in = known
            .map(|progress| progress.watermark)
            .or(now)
            .unwrap_or_default();
        let stamped = observation.stamped.or(observation.time).unwrap_or(stand_in);
        let time = observation.time.unwrap_or(stamped);
        let (stamped, time) = match now {
            Some(now) if stamped.max(time) > now.plus(self.ahead) => {
                self.clamped += 1;
                (stamped.min(now), time.min(now))
            }
            _ => (stamped, time),
        };
        let before = known.unwrap_or(Progress {
            watermark: stamped,
            first: stamped,
            top_then: Time::MIN,
            shows_started: false,
        });
        let after = Progress {
            watermark: before.watermark.max(stamped),
            shows_started: before.shows_started || observation.stage == Stage::ResponseStarted,
            top_then: self.top.max(stamped),
            ..before
        };
        if known.is_none() && self.progress.len() >= self.count_max {
            self.forget_one();
        }
        self.progress.insert(source, after);
        self.top = self.top.max(after.watermark);
        let held_the_rest_back =
            before.watermark <= self.watermark && after.watermark > self.watermark;
        let was_silent = self.is_silent(&before);
        if known.is_none() || was_silent || held_the_rest_back || self.is_check_due() {
            self.recompute();
        }
        Placed {
            time,
            stamped,
            is_late: stamped < before.watermark.minus(self.lateness),
            start_was_shown: before.shows_started && time >= before.first,
        }
    }

    /// Lifts every source to `floor`: nothing before it is expected any more.
    pub(super) fn lift(&mut self, floor: Time) {
        for progress in self.progress.values_mut() {
            progress.watermark = progress.watermark.max(floor);
            progress.top_then = progress.top_then.max(floor);
        }
        self.top = self.top.max(floor);
        self.recompute();
    }

    /// What is to be kept.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            progress: self.progress.clone(),
            top: self.top,
            watermark: self.watermark,
            checked: self.checked,
        }
    }

    /// Takes up what was kept.
    pub(super) fn restore(&mut self, standing: Standing) {
        self.progress = standing.progress;
        self.top = standing.top;
        self.watermark = standing.watermark;
        self.checked = standing.checked;
    }

    fn is_check_due(&self) -> bool {
        self.progress.len() > 1 && self.top > self.checked.plus(SILENCE_CHECK)
    }

    /// A source that delivered nothing while another moved on by more than the lateness is over,
    /// or stuck; it does not hold the others back.
    fn is_silent(&self, progress: &Progress) -> bool {
        progress.top_then < self.top.minus(self.lateness)
    }

    fn recompute(&mut self) {
        let active = self
            .progress
            .values()
            .filter(|progress| !self.is_silent(progress));
        let least = active.map(|progress| progress.watermark).min();
        self.watermark = least.unwrap_or(self.top);
        self.checked = self.top;
    }

    /// The one that was silent longest goes; the lowest number among several.
    fn forget_one(&mut self) {
        let longest = self
            .progress
            .iter()
            .min_by_key(|(_, progress)| progress.top_then);
        if let Some(source) = longest.map(|(source, _)| *source) {
            self.progress.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn place(sources: &mut Sources, source: u32, seconds: i64, now: Option<i64>) -> Placed {
        let observation = Observation {
            time: None,
            stamped: Some(at(seconds)),
            stage: Stage::ResponseComplete,
            request: 0,
            is_long_running: false,
            minted: None,
            recording: None,
            hits: Vec::new(),
        };
        sources.place(SourceId(source.into()), &observation, now.map(at))
    }

    #[test]
    fn the_slowest_active_source_holds_the_watermark() {
        let mut sources = Sources::new(&Settings::default());
        place(&mut sources, 1, 1_000, None);
        place(&mut sources, 2, 1_200, None);
        assert_eq!(sources.watermark(), at(1_000));
        place(&mut sources, 2, 1_250, None);
        place(&mut sources, 1, 1_240, None);
        assert_eq!(sources.watermark(), at(1_240));
        place(&mut sources, 2, 1_700, None);
        assert_eq!(sources.watermark(), at(1_700), "source 1 fell silent");
        place(&mut sources, 1, 1_260, None);
        assert_eq!(
            sources.watermark(),
            at(1_260),
            "it came back with what it had kept"
        );
    }

    #[test]
    fn late_is_behind_the_own_source() {
        let mut sources = Sources::new(&Settings::default());
        place(&mut sources, 1, 1_000, None);
        assert!(!place(&mut sources, 1, 700, None).is_late);
        assert!(place(&mut sources, 1, 699, None).is_late);
        assert!(
            !place(&mut sources, 2, 10, None).is_late,
            "an older file is not late"
        );
        assert_eq!(sources.watermark(), at(10));
    }

    #[test]
    fn the_future_is_set_back_to_the_clock() {
        let mut sources = Sources::new(&Settings::default());
        assert_eq!(place(&mut sources, 1, 1_060, Some(1_000)).time, at(1_060));
        assert_eq!(place(&mut sources, 1, 90_000, Some(1_000)).time, at(1_000));
        assert_eq!((sources.clamped(), sources.watermark()), (1, at(1_060)));
        assert_eq!(
            place(&mut sources, 2, 90_000, None).time,
            at(90_000),
            "a replay has no clock"
        );
    }

    #[test]
    fn sources_have_a_cap() {
        let mut sources = Sources::new(&Settings {
            sources_max: 2,
            ..Settings::default()
        });
        for source in 0..10 {
            place(&mut sources, source, i64::from(source), None);
        }
        assert_eq!(sources.len(), 2);
        sources.lift(at(50));
        assert_eq!(sources.watermark(), at(50));
    }
}
