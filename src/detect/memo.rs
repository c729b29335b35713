//! What conditions read from events that are alike: the same again, without reading it.

use hashbrown::HashMap;

use super::observation::Readings;
use crate::rule::Likeness;

/// How many readings are remembered; when there are more the memo starts anew.
const REMEMBERED_MAX: usize = 4_096;

/// What the readings of a rule depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// Fields of [`FieldGroup::Who`](crate::event::FieldGroup::Who) alone.
    Who,
    /// These, and fields of [`FieldGroup::What`](crate::event::FieldGroup::What).
    WhatAndWho,
    /// More than that, or nothing.
    #[default]
    Other,
}

/// Readings of late. What it gives is what would be read.
#[derive(Default)]
pub(super) struct Memo {
    /// By rule, and the numbers of "what" and "who".
    known: HashMap<(u32, u64, u64), Readings>,
    /// The cluster is part of each key that is read.
    cluster: String,
}

/// Where in the memo an event's readings for a rule belong.
#[derive(Clone, Copy)]
pub(super) struct Place((u32, u64, u64));

impl Place {
    /// `None` when other events may be like this one and give other readings.
    pub(super) fn of(rule: u32, reach: Reach, likeness: Likeness) -> Option<Self> {
        match reach {
            Reach::Who => Some(Self((rule, 0, likeness.who?))),
            Reach::WhatAndWho => Some(Self((rule, likeness.what?, likeness.who?))),
            Reach::Other => None,
        }
    }
}

impl Memo {
    /// The readings at a place, remembered or read now.
    pub(super) fn readings(
        &mut self,
        place: Place,
        cluster: &str,
        read: impl FnOnce() -> Readings,
    ) -> Readings {
        if self.cluster != cluster || self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
            cluster.clone_into(&mut self.cluster);
        }
        self.known.entry(place.0).or_insert_with(read).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detect::Reading, window::Key};

    fn reading(key: u128) -> Readings {
        Readings::from_elem(
            Reading {
                key: Some(Key(key)),
                value: Some(0),
            },
            1,
        )
    }

    #[test]
    fn remembers_by_place_and_cluster_and_is_bounded() {
        let likeness = |what, who| Likeness {
            what: Some(what),
            who: Some(who),
        };
        let mut memo = Memo::default();
        let mut read = |reach, likeness, cluster, key| {
            let place = Place::of(3, reach, likeness)?;
            Some(memo.readings(place, cluster, || reading(key)))
        };
        assert_eq!(read(Reach::Who, likeness(1, 1), "a", 7), Some(reading(7)));
        assert_eq!(read(Reach::Who, likeness(2, 1), "a", 8), Some(reading(7)));
        let both = Reach::WhatAndWho;
        assert_eq!(read(both, likeness(1, 1), "a", 9), Some(reading(9)));
        assert_eq!(read(both, likeness(2, 1), "a", 10), Some(reading(10)));
        assert_eq!(read(Reach::Who, likeness(1, 1), "b", 11), Some(reading(11)));
        assert_eq!(read(Reach::Other, likeness(1, 1), "b", 12), None);
        assert_eq!(read(Reach::Who, Likeness::default(), "b", 13), None);
        for who in 0..2 * REMEMBERED_MAX as u64 {
            read(Reach::Who, likeness(1, who), "b", 14);
        }
        assert!(memo.known.len() <= REMEMBERED_MAX);
    }
}
