//! Who is told what and when: Alertmanager's routing, as a pure function of alerts and time.
//!
//! A [`Dispatcher`] takes the changes of alerts in and gives [`Notification`]s out. Each alert goes
//! down the [`Route`] tree by its [`Labels`]; where it ends it joins a group, and a group is told
//! to the route's receivers as a whole: first after `group_wait`, then at most once in
//! `group_interval` when something is new, and once in `repeat_interval` when nothing is.
//! [`Silence`]s, [`InhibitRule`]s and [`TimeInterval`]s keep things quiet.
//!
//! On top of Alertmanager: what is severe goes at once; a receiver has a rate, and what is beyond
//! it is told in one digest; what comes and goes is told ever more rarely; an alert that came and
//! went before anybody was told is told all the same; and that an alert is over is told even if it
//! was silenced meanwhile, to whoever was told that it goes on.

mod desk;
mod dispatcher;
mod flush;
mod group;
mod inhibit;
mod interval;
mod join;
mod labels;
mod limit;
mod matcher;
mod notification;
mod persist;
mod rows;
mod silence;
mod standing;
mod tree;

pub use desk::{Repeats, Style, Telling};
pub use dispatcher::{Ack, Bounds, Dispatcher, Hidden, Plan};
pub use inhibit::InhibitRule;
pub use interval::{DayTime, Interval, Range, TimeInterval, location};
pub use labels::Labels;
pub use limit::Rate;
pub use matcher::{Matcher, Matchers};
pub use notification::{Notification, Principals, Reason, Tally};
pub use rows::{GroupRow, ReceiverRow, Rows};
pub use silence::{Phase, Silence};
pub use standing::{Standing, Told as ReceiverTold};
pub use tree::{GroupBy, Route, Tree};

#[cfg(test)]
mod tests;
