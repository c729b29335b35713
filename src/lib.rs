//! auditwatch watches Kubernetes audit logs and tells people who abuses the API.
//!
//! The life of an event, which is also the order of the modules: a [`source`] reads bytes,
//! [`decode`] turns them into audit [`event`]s or counted rejects, [`rule`]s say which of them
//! match, [`detect`] admits each request once and advances [`window`]s and [`baseline`]s in event
//! time, [`alert`] folds detections into alerts with a life, [`notify`] tells people.
//! Imports point up the list below only; `tests/tidy.rs` holds the table.

pub mod units;

pub mod diagnostic;

pub mod event;

pub mod decode;

pub mod window;

pub mod baseline;

pub mod rule;

pub mod detect;

pub mod alert;

pub mod telemetry;

pub mod store;

pub mod source;

pub mod notify;

pub mod report;

pub mod config;

pub mod pipeline;

pub mod server;

pub mod cli;
