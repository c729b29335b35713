//! auditwatch as people use it: the built program and the whole library, on real logs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod alertmanager;
mod baseline;
mod closed_pipe;
mod coverage;
mod ledger;
mod messages;
mod notify;
mod program;
mod promises;
mod receiver_secrets;
mod rule_cases;
mod sample_logs;
mod scoreboard;
mod secrets_stay;
mod silences;
mod slack_page;
mod wrong_input;
