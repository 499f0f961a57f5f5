//! The result of the check of a destination, for the command `doctor`.

use chrono::{DateTime, Utc};
use std::time::Instant;

pub use crate::domain::finding::{Finding, Level};

/// The result of a check.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Everything that was checked, in order.
    pub findings: Vec<Finding>,
    /// What could be added at the destination, such as missing columns, as an operator reads it.
    pub additions: Vec<String>,
    /// The place that the instance writes to. Two instances with the same place write every event twice.
    pub target: Option<String>,
    /// The time at the other side, and when its answer arrived.
    pub clock: Option<(DateTime<Utc>, Instant)>,
}
