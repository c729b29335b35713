//! Alerts for eyes and scripts: terminal text, JSON lines, and the closing summary of a replay.
//!
//! Makes text and nothing else: the caller decides on which stream it goes, whether that is
//! coloured and how wide it is.

mod blind;
mod layout;
mod quoted;
mod summary;
mod text;

use std::io;

pub use blind::blind_json;
pub use layout::Style;
pub use quoted::quoted;
pub use summary::{Reading, Summary};
pub use text::text;

use crate::alert::{Change, to_json};

/// Writes what happened to an alert for people, with an empty line after it.
///
/// # Errors
/// What the writer says.
pub fn write_text(out: &mut dyn io::Write, change: &Change, style: Style) -> io::Result<()> {
    out.write_all(text(change, style).as_bytes())
}

/// Writes the alert as it is now as one line of JSON.
///
/// # Errors
/// What the writer says.
pub fn write_json(out: &mut dyn io::Write, change: &Change) -> io::Result<()> {
    let mut line = to_json(change.alert(), 0);
    line.push('\n');
    out.write_all(line.as_bytes())
}
