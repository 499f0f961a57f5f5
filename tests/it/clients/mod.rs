//! Real clients against this service and its sandbox: Stripe's CLI, its libraries for Node and Python,
//! Notion's client with its types, and a client of the API that is generated from its description.
//!
//! `scripts/install-clients` installs them. On a machine without them these tests are skipped and print
//! why, unless `EVENTBRIDGE_REQUIRE_CLIENTS` is 1.

mod libraries;
mod stripe_api;
mod stripe_cli;
mod tools;

mod forwarding;
mod generated;
mod headers;
mod notion;
mod signing;
mod stripe_sandbox;
mod types;

use std::time::{SystemTime, UNIX_EPOCH};

/// The time by this machine's clock, in Unix seconds.
fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
