//! Bytes to events: decompression, finding records, filling an event's slots. Pure and streaming.
//!
//! [`open`] gives the plain bytes of an input, a [`Framer`] cuts them into [`Block`]s of whole
//! records on one thread, and [`each_event`] reads a block's events on any other. What cannot be
//! read is a [`Reject`] with reason and position, and the next record is read; memory is bounded
//! by [`Limits`], whatever the bytes are. Text in events stays as it stands, escapes and all.

mod compression;
mod event;
mod framer;
mod json;
mod lexer;
mod nesting;
mod reject;
mod sniff;
mod values;

pub use compression::{Plain, is_corruption, open};
pub use event::{Decoded, each_event, event};
pub use framer::{Block, Framer, Limits, Records};
pub use reject::{Reason, Reject};

#[cfg(test)]
mod tests;
