//! Owns: to be written.
pub mod archive;
