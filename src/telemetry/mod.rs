//! What auditwatch tells about itself: structured logs, one catalogue of metrics, health.
//!
//! Components own their metrics structs and register them here; nothing uses the process-wide
//! default registry, so that tests can run several apps at once. No label value may be chosen by
//! a caller of the API server.

pub mod catalogue;
mod health;
mod logs;
mod metrics;

pub use health::{Health, Part};
pub use logs::{LogFormat, LogSettings, init_logs};
pub use metrics::Metrics;
