//! The binary: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

/// Events that match leave many small pieces, often freed on another thread than made them:
/// this allocator takes an eighth off a replay.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    auditwatch::cli::main()
}
