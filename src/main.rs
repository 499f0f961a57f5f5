//! The `eventbridge` command.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Requests set aside and give back many small pieces of memory, on all threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    eventbridge::cli::main()
}
