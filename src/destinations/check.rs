//! What a check finds, in words that a stranger understands: for the command `doctor`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Instant;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It is as it should be.
    Good,
    /// Worth knowing; nothing is wrong.
    Note,
    /// It works, and something is lost or may break.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What is so; quotes no secret.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn good(what: impl Into<String>) -> Self {
        Self { level: Level::Good, what: what.into(), remedy: None }
    }

    /// Something worth knowing.
    pub fn note(what: impl Into<String>) -> Self {
        Self { level: Level::Note, what: what.into(), remedy: None }
    }

    /// Something that is lost or may break.
    pub fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, what: what.into(), remedy: Some(remedy.into()) }
    }

    /// Something that does not work.
    pub fn problem(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Problem, what: what.into(), remedy: Some(remedy.into()) }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

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
