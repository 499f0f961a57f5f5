//! Checks what an instance may do at its sender's API, for the command `doctor`.

use crate::domain::finding::Finding;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::time::Instant;

/// Checks the access to a sender's API with requests that change nothing.
#[async_trait]
pub trait AccessCheck: Send + Sync {
    /// Asks the sender.
    async fn check(&self) -> AccessReport;
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct AccessReport {
    /// What the keys may do, what they may not, and what is unknown.
    pub findings: Vec<Finding>,
    /// The time at the sender, and when the answer with it arrived.
    pub clock: Option<(DateTime<Utc>, Instant)>,
}
