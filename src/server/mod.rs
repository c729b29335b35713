//! The admin endpoint: metrics, health, and the open alerts, for whoever runs auditwatch.
//!
//! It shows who did what in the cluster and asks for no password, so it listens on this machine
//! alone unless somebody says otherwise, and then still answers no web page of strangers. It only
//! reads: nothing can be changed through it.

mod admin;
mod answers;

#[cfg(test)]
mod tests;

pub use admin::{Admin, Shown};
