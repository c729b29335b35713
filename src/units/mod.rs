//! Plain values that everything above speaks: moments, durations, byte sizes, secrets.
//!
//! Pure: no clock. A moment is always given, never asked for.

pub mod bytesize;
pub mod secret;
pub mod span;
pub mod time;

pub use bytesize::ByteSize;
pub use secret::Secret;
pub use span::Span;
pub use time::Time;
