//! Tests that need software that is not on every machine.

use std::io::Write;
use std::thread;

/// Reports that a test was skipped and why, past the capture of its output. If the environment variable
/// is 1, the test fails.
pub fn skip(unless: &str, why: &str) {
    let is_required = std::env::var_os(unless).is_some_and(|value| value == "1");
    assert!(!is_required, "{unless} is 1, and {why}");
    let test = thread::current().name().unwrap_or_default().to_owned();
    drop(writeln!(std::io::stderr(), "skipped {test}: {why}"));
}
