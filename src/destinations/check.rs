//! What a check finds, in words that a stranger understands: for the command `doctor`.

use chrono::{DateTime, Utc};
use std::time::Instant;

pub use crate::domain::finding::{Finding, Level};

/// What a destination's check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Everything that was looked at, in order.
    pub findings: Vec<Finding>,
    /// What could be added at the destination so that more is filled, as a person reads it.
    pub additions: Vec<String>,
    /// What the instance fills: two that fill the same one write everything twice.
    pub target: Option<String>,
    /// The time at the other side, and when it was told.
    pub clock: Option<(DateTime<Utc>, Instant)>,
}
