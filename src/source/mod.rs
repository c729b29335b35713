//! Bytes in: each source reads whole records and hands them on as batches, in order, never
//! skipping: when the pipeline is full a source waits, and says so.

pub mod archive;
mod feed;
mod metrics;
pub mod tail;
pub mod webhook;

pub use feed::{Batch, Closed, Feed, Intake, Room};
pub use metrics::SourceMetrics;

use std::path::PathBuf;

use crate::store::journal::OpenError;

/// Why a source could not start.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file, directory or pattern cannot be watched.
    #[error("cannot watch `{path}`: {problem}")]
    Watch {
        /// As given.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A socket cannot be opened.
    #[error("cannot listen on `{listen}`: {problem}")]
    Listen {
        /// As given.
        listen: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A webhook's journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// A certificate, key or token file is of no use.
    #[error("cannot use {what} `{path}`: {problem}")]
    Credential {
        /// `the certificate`, `the private key`, …
        what: &'static str,
        /// As given.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}
