//! The moving parts joined: what reads, decodes, counts and tells, from archives or live.

pub mod replay;
