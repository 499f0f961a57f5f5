//! The `eventbridge` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    eventbridge::cli::main()
}
