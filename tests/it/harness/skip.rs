//! Tests that need more than every machine has.

use std::io::Write;
use std::thread;

/// Says that a test was skipped and why, past the capture of its output. Where the variable is 1 in
/// the environment it is a failure.
pub fn skip(unless: &str, why: &str) {
    let is_wanted = std::env::var_os(unless).is_some_and(|wanted| wanted == "1");
    assert!(!is_wanted, "{unless} is 1, and {why}");
    let test = thread::current().name().unwrap_or_default().to_owned();
    drop(writeln!(std::io::stderr(), "skipped {test}: {why}"));
}
