//! The admin endpoint: metrics, health, and the open alerts, for whoever runs auditwatch.
//!
//! It shows who did what in the cluster and asks for no password, so it listens on this machine
//! alone unless somebody says otherwise, and then still answers no web page of strangers. Changes
//! (silences, acks) come through the local socket alone, which only our own user can open.

mod admin;
mod answers;
mod api;
mod socket;
mod wire;

#[cfg(test)]
mod tests;

pub use admin::{Admin, Ask, Shown};
pub use socket::{Socket, socket_in};
