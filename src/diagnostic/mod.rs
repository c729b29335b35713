//! What we tell people about their rule and config files: code, place, the line itself, help.
//!
//! Reading never stops at the first problem: whatever reads a file is handed [`Problems`], puts
//! into it what it finds and goes on with a sane substitute. [`yaml`] turns text into a tree whose
//! every node knows its place; [`Table`] reads a mapping of it and reports wrong types and unknown
//! keys. Pure: files come as text, and nothing is printed here.

mod nearest;
mod problem;
mod render;
mod source_file;
mod table;
pub mod yaml;

pub use nearest::nearest;
pub use problem::{Diagnostic, Level, Problems, Report};
pub use source_file::{SourceFile, Spot};
pub use table::{Spotted, Table};
