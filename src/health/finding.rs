//! What an assessment finds: how bad it is, what it is about, and the words for it.

use crate::domain::humanize::humanize_age;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::str::FromStr;
use utoipa::ToSchema;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Identifies the cause; the same cause has the same key every time.
    pub key: String,
    /// What it is about.
    pub matter: FindingKind,
    /// The key of the failure group, if it is about one.
    pub failure_group: Option<String>,
    /// How bad it is.
    pub level: Level,
    /// A few words without a full stop, without numbers of events, amounts and ids: they are public.
    pub headline: String,
    /// The details, for operators.
    pub sentence: Sentence,
    /// What to do. It is public, like the headline.
    pub remedy: String,
    /// Since when, if that is known.
    pub since: Option<DateTime<Utc>>,
    /// The text of its alert; `None` if this finding raises none, or none yet.
    pub notice: Option<Notice>,
}

/// The words of an alert. They must make sense without the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What is wrong, in one line.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FindingLevel)]
pub enum Level {
    /// Nothing needs to be done.
    #[default]
    Ok,
    /// Something needs attention.
    Warning,
    /// Events are not received, or not delivered.
    Critical,
}

/// When an operator should hear of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// At once, also at night: each hour counts, because events may never arrive or customers are not charged.
    Wake,
    /// In the morning: what has arrived is stored, and is delivered late at worst.
    Morning,
}

impl Urgency {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Morning => "morning",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The database cannot be used.
    Database,
    /// A destination is paused.
    Paused,
    /// No worker is running.
    NoWorker,
    /// Executions are pending for too long.
    Backlog,
    /// A destination has reached its limit of blocks, so new pages wait.
    BlockLimit,
    /// Nothing is delivered to a destination for a while, after repeated failures.
    BackingOff,
    /// Webhooks are rejected.
    Rejected,
    /// A destination's token expires soon.
    ExpiringToken,
    /// Events of live mode were not accepted, and their sender waits for that before it charges customers.
    UnansweredInvoice,
    /// The same in test mode, where it charges nobody.
    UnansweredTestInvoice,
    /// The same of either mode, by requests without a valid signature: anyone can have sent them.
    UnansweredUnverified,
    /// No events arrive, although they did in the same hours of the last weeks.
    NotArriving,
    /// No events arrive for unusually long.
    Silence,
    /// Events cannot be fetched from their sender's API.
    NotFetching,
    /// The sender sends no events of live mode: its endpoint is disabled or gone, or cannot be reached.
    EndpointStopped,
    /// The sender's endpoint is wrong, or deliveries to it fail.
    Endpoint,
    /// It has been unknown for long whether the sender sends events.
    EndpointUnknown,
    /// Executions have failed.
    Failures,
    /// An execution ends the worker that delivers it.
    Crashing,
    /// Something holds an old snapshot in the database.
    OldSnapshot,
}

/// A sentence; each reader formats its times and links.
pub type Sentence = Vec<Part>;

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Words.
    Text(String),
    /// A time by the clock.
    At(DateTime<Utc>),
    /// The same with its seconds, for a time that is near.
    AtSecond(DateTime<Utc>),
    /// A time by how long ago it was.
    Ago(DateTime<Utc>),
    /// The next step: a command, or a link to a page of the dashboard.
    Link {
        /// The command.
        command: String,
        /// The path of the page.
        page: String,
        /// The text of the link.
        text: String,
    },
}

impl Level {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl FindingKind {
    const ALL: [Self; 20] = [
        Self::Database,
        Self::Paused,
        Self::NoWorker,
        Self::Backlog,
        Self::BlockLimit,
        Self::BackingOff,
        Self::Rejected,
        Self::ExpiringToken,
        Self::UnansweredInvoice,
        Self::UnansweredTestInvoice,
        Self::UnansweredUnverified,
        Self::NotArriving,
        Self::Silence,
        Self::NotFetching,
        Self::EndpointStopped,
        Self::Endpoint,
        Self::EndpointUnknown,
        Self::Failures,
        Self::Crashing,
        Self::OldSnapshot,
    ];

    /// Whether a stranger can cause it by requests that are rejected, so that it must not degrade public health.
    pub const fn can_be_forged(self) -> bool {
        matches!(
            self,
            Self::Rejected
                | Self::UnansweredInvoice
                | Self::UnansweredTestInvoice
                | Self::UnansweredUnverified
        )
    }

    /// When an operator should hear of it.
    pub const fn urgency(self) -> Urgency {
        match self {
            // Without a worker the heartbeat stops, which wakes whoever watches it.
            Self::Database
            | Self::NoWorker
            | Self::Rejected
            | Self::UnansweredInvoice
            | Self::NotArriving
            | Self::EndpointStopped => Urgency::Wake,
            Self::Paused
            | Self::Backlog
            | Self::BlockLimit
            | Self::BackingOff
            | Self::ExpiringToken
            | Self::UnansweredTestInvoice
            | Self::UnansweredUnverified
            | Self::Silence
            // The sender lists them for weeks.
            | Self::NotFetching
            | Self::Endpoint
            | Self::EndpointUnknown
            | Self::Failures
            | Self::Crashing
            | Self::OldSnapshot => Urgency::Morning,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Paused => "paused",
            Self::NoWorker => "no_worker",
            Self::Backlog => "backlog",
            Self::BlockLimit => "block_limit",
            Self::BackingOff => "backing_off",
            Self::Rejected => "rejected",
            Self::ExpiringToken => "expiring_token",
            Self::UnansweredInvoice => "unanswered_invoice",
            Self::UnansweredTestInvoice => "unanswered_test_invoice",
            Self::UnansweredUnverified => "unanswered_unverified",
            Self::NotArriving => "not_arriving",
            Self::Silence => "silence",
            Self::NotFetching => "not_fetching",
            Self::EndpointStopped => "endpoint_stopped",
            Self::Endpoint => "endpoint",
            Self::EndpointUnknown => "endpoint_unknown",
            Self::Failures => "failures",
            Self::Crashing => "crashing",
            Self::OldSnapshot => "old_snapshot",
        }
    }
}

/// No matter has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no finding is about a matter of this name")]
pub struct UnknownMatter;

impl FromStr for FindingKind {
    type Err = UnknownMatter;

    fn from_str(word: &str) -> Result<Self, UnknownMatter> {
        Self::ALL.into_iter().find(|matter| matter.as_str() == word).ok_or(UnknownMatter)
    }
}

impl Part {
    /// A part of words.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Plain text: times in UTC, and commands instead of links.
    pub(super) fn in_utc(&self, now: DateTime<Utc>) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::At(at) if at.date_naive() == now.date_naive() => at.format("%H:%M UTC").to_string(),
            Self::At(at) => at.format("%Y-%m-%d %H:%M UTC").to_string(),
            Self::AtSecond(at) => at.format("%H:%M:%S UTC").to_string(),
            Self::Ago(at) => format!("{} ago", humanize_age(now - *at)),
            Self::Link { command, .. } => command.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_loses_events_or_delays_money_wakes_somebody() {
        let wakes: Vec<_> =
            FindingKind::ALL.into_iter().filter(|kind| kind.urgency() == Urgency::Wake).collect();
        assert_eq!(
            wakes,
            [
                FindingKind::Database,
                FindingKind::NoWorker,
                FindingKind::Rejected,
                FindingKind::UnansweredInvoice,
                FindingKind::NotArriving,
                FindingKind::EndpointStopped,
            ]
        );
    }
}
