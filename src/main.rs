//! The `eventbridge` command.

fn main() {}
