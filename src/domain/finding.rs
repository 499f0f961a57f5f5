//! What a check of the set-up finds, in words that a stranger understands: for the command `doctor`.

use serde::Serialize;

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
