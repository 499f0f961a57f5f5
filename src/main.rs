//! The `eventbridge` command.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Requests allocate and free many small blocks of memory on all threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    eventbridge::cli::main()
}
