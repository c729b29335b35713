//! The engine: admits each request once, counts, and says what was detected.
//!
//! Two halves. An [`Observer`] looks at one event, knows nothing of others and may run on any
//! thread; what it saw is an [`Observation`]. The one [`Engine`] takes observations in order and
//! owns all state. Detections are a function of the rules, the settings and the ordered
//! observations, and of nothing else.
//!
//! Not here: reading bytes, folding detections into alerts, any clock.

mod combine;
mod conditions;
mod detection;
mod engine;
mod explain;
mod lineage;
mod memo;
mod observation;
mod observer;
mod once;
mod plan;
mod requests;
mod settings;
mod snapshot;
mod sources;
mod state;
mod told;
mod trace;
mod visibility;
mod why;

#[cfg(test)]
mod tests;

pub use conditions::BaselineView;
pub use detection::Detection;
pub use engine::{Admission, Engine};
pub use lineage::Minted;
pub use observation::{Combination, Hit, Observation, Reading, Readings, Recording};
pub use observer::Observer;
pub use settings::{Settings, Stats};
pub use snapshot::{VERSION as SNAPSHOT_VERSION, kind as row_kind};
pub use sources::SourceId;
pub use trace::Trace;
pub use visibility::{Blind, Recorded, Sightedness, Visibility, judge as judge_sight};
