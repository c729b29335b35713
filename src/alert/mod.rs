//! Alerts: what detections become when they are told to people. Pure.
//!
//! [`Alerts`] folds detections with the same labels into one [`Alert`], which fires, is updated
//! while it goes on, and resolves after quiet, all in event time. Next to it stand the words that
//! every message uses ([`words`]) and the one JSON form ([`to_json`]). [`dispatch`] decides who is
//! told what and when.
//!
//! Not here: how people are told (`notify`, `report`).

mod alerts;
pub mod brief;
mod change;
pub mod contain;
pub mod dispatch;
mod json;
mod labels;
mod quotes;
mod shared;
mod standing;
mod text;
pub mod words;

pub use alerts::{Alerts, Counts, Settings, VERSION as SNAPSHOT_VERSION};
pub use change::{Alert, Change, Status};
pub use json::{to_json, to_visible};
pub use quotes::{QUOTES_MAX, telling};
pub use shared::{Several, Shared, SharedOrigin, SharedTarget};
pub use standing::with_standing;
pub use text::{cut_middle, cut_middle_by, is_hidden, visible};

#[cfg(test)]
pub(crate) mod samples;
