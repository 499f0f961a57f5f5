//! The limits by which health is assessed: one set for the dashboard, the API, the `status` command and
//! alerts.
//!
//! The rule: a cause is assessed once. If the assessment has no finding, there is no alert; if there is an
//! alert, the assessment has the finding from which the alert was made.
//!
//! | finding | warning | critical | alert |
//! |---|---|---|---|
//! | database unavailable | | at once | after [`AlertRules::database_after`] |
//! | destination paused | | at once | after [`AlertRules::paused_after`] |
//! | no worker | | at once | none: the heartbeat stops instead |
//! | backlog | a third of [`Thresholds::backlog`] | [`Thresholds::backlog`] | when critical |
//! | webhooks rejected | from the first | [`Thresholds::rejected_in_a_row`] | when critical |
//! | silence | [`Thresholds::silence_factor`] | | at once |
//! | failures | while a group is open | | if the last failure is at most an hour old; then until it is fixed or acknowledged |
//!
//! So an assessment may show a finding that raises no alert, but only in these documented cases: the early
//! warning of a backlog or of rejections, a pause or a database failure younger than its delay, an old
//! failure, and findings whose alerts [`AlertRules`] switch off. Each setting moves the finding and the alert
//! together.

use std::time::Duration;

/// An early warning of a backlog comes after this part of the threshold.
const EARLY_WARNING_PART: u32 = 3;

/// The limits beyond which something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// The oldest pending execution of a destination has waited for this long: the backlog is critical.
    /// After a third of it the backlog is a warning.
    pub backlog: Duration,
    /// This many webhooks were rejected in a row, with none accepted between: that is critical. Fewer are
    /// a warning.
    pub rejected_in_a_row: u64,
    /// No event has arrived for this many times the usual gap. 0 switches the check off.
    pub silence_factor: u32,
    /// Which findings become alerts.
    pub alerts: AlertRules,
}

/// Which findings become alerts. Nothing here changes the assessment itself, with one exception: if pauses
/// raise no alert, the backlog of a paused destination is a finding of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertRules {
    /// How long a process must have been without its database before an alert. Not a setting.
    pub database_after: Duration,
    /// How long a destination may stay paused before an alert; `None` for no alert.
    pub paused_after: Option<Duration>,
    /// Whether a critical backlog raises an alert.
    pub backlog: bool,
    /// Whether a critical number of rejected webhooks raises an alert.
    pub rejected: bool,
    /// Whether failures raise alerts.
    pub failures: bool,
}

impl Thresholds {
    /// The age of the oldest pending execution from which on a backlog is a warning.
    pub fn backlog_warning(&self) -> Duration {
        self.backlog / EARLY_WARNING_PART
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            backlog: Duration::from_mins(15),
            rejected_in_a_row: 5,
            silence_factor: 10,
            alerts: AlertRules::default(),
        }
    }
}

impl Default for AlertRules {
    fn default() -> Self {
        Self {
            database_after: Duration::from_mins(1),
            paused_after: Some(Duration::from_mins(5)),
            backlog: true,
            rejected: true,
            failures: true,
        }
    }
}
