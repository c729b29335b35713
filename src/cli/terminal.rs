//! What the commands share about streams: colour, width, and messages on stderr.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

/// Whether results on stdout may be coloured: a terminal, and `NO_COLOR` unset or empty.
pub(super) fn colour_on_stdout() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The width to print for: `COLUMNS`, else the terminal's, else 100 characters.
pub(super) fn width() -> usize {
    let asked = env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    asked
        .or_else(terminal)
        .filter(|width| (40..=400).contains(width))
        .unwrap_or(100)
}

/// Tells people something on stderr. When even that is closed there is nobody left to tell.
pub(super) fn say(message: &str) {
    drop(writeln!(io::stderr().lock(), "{}", message.trim_end()));
}
