//! Owns: to be written.
