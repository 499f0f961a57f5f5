//! The limits by which health is assessed: one set for the dashboard, the API, the `status` command and
//! alerts.
//!
//! The rule: a cause is assessed once. If the assessment has no finding, there is no alert; if there is an
//! alert, the assessment has the finding from which the alert was made.
//!
//! Whether an alert wakes somebody or waits for the morning follows from its kind:
//! [`FindingKind::urgency`](super::FindingKind::urgency).
//!
//! | finding | warning | critical | alert |
//! |---|---|---|---|
//! | database unavailable | | at once | after [`AlertRules::database_after`] |
//! | destination paused | | at once | after [`AlertRules::paused_after`] |
//! | no worker | | at once | none: the heartbeat stops instead |
//! | backlog | a third of [`Thresholds::backlog`] | [`Thresholds::backlog`] | when critical |
//! | block limit reached | | at once, in place of the backlog | at once, if a backlog raises one |
//! | destination backing off | after 10 s, while something is due | | none: the backlog raises one |
//! | webhooks rejected | from the first | [`Thresholds::rejection_streak`] | when critical and none was accepted for 10 min, or for the usual gap, at most an hour |
//! | `invoice.created` not accepted | in test mode, or unverified | in live mode | at once, see [`UnansweredEvent`](crate::domain::unanswered::UnansweredEvent) |
//! | webhooks do not arrive | | against the pattern of four weeks, see [`Thresholds::silence_factor`] | when critical |
//! | silence | [`Thresholds::silence_factor`], unless it is against the pattern | | at once |
//! | the sender sends nothing | in test mode | in live mode: its endpoint is disabled or gone; deliveries fail and nothing is accepted for 30 min | at once |
//! | the sender's endpoint is wrong | at once | | at once; failing deliveries after 30 min; none for an endpoint that never was |
//! | the sender's side is unknown | after an hour, unless only a permission is missing | | at once |
//! | token expires | a week before | | at once |
//! | events not fetched | 1 min | 15 min | 5 min |
//! | old snapshot | 15 min, see [`OldSnapshot`](super::OldSnapshot) | | none: new deliveries stay fast |
//! | failures | while a group is open | | if the last failure is at most an hour old; then until it is fixed or acknowledged |
//!
//! So an assessment may show a finding that raises no alert, but only in these documented cases: the early
//! warning of a backlog or of rejections, rejections that began just now, a rest after repeated failures, a pause or a database failure younger than its delay, an old
//! failure, an old snapshot, and findings whose alerts [`AlertRules`] switch off. Each setting moves the finding and the alert
//! together.

use crate::config::{self, Reader};
use chrono_tz::Tz;
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
    /// a warning. An alert also waits until they have been rejected for a while.
    pub rejection_streak: u64,
    /// No event has arrived for this many times the usual gap. 0 switches the check off.
    pub silence_factor: u32,
    /// The zone by whose clock the pattern of the last weeks is read.
    pub zone: Tz,
    /// Which findings become alerts.
    pub alerts: AlertRules,
}

/// Which findings become alerts. Nothing here changes the assessment itself, with one exception: if pauses
/// raise no alert, the backlog of a paused destination is a finding of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting that switches one kind of alert")]
pub struct AlertRules {
    /// How long a process must have been without its database before an alert; `None` for no alert.
    pub database_after: Option<Duration>,
    /// How long a destination may stay paused before an alert; `None` for no alert.
    pub paused_after: Option<Duration>,
    /// Whether a critical backlog raises an alert, and a block limit that is reached.
    pub backlog: bool,
    /// Whether a critical number of rejected webhooks raises an alert.
    pub rejected: bool,
    /// Whether events that were not accepted and whose sender waits for that raise alerts.
    pub unanswered: bool,
    /// Whether problems of the sender's endpoint raise alerts.
    pub endpoint: bool,
    /// Whether failures raise alerts.
    pub failures: bool,
}

/// Reads the thresholds. 0 switches an alert off; the assessment then uses the default, except that a
/// silence factor of 0 switches the check off.
pub fn thresholds(reader: &mut Reader<'_>) -> Thresholds {
    let default = Thresholds::default();
    let database_minutes = reader.number("ALERT_DATABASE_MINUTES", 15, 0, 10_080);
    let paused_minutes = reader.number("ALERT_PAUSED_MINUTES", 5, 0, 10_080);
    let backlog_minutes = reader.number("ALERT_PENDING_MINUTES", 15, 0, 10_080);
    let rejection_streak = reader.number("ALERT_REJECTED_IN_A_ROW", 5, 0, 1_000_000);
    let minutes = |minutes: u64| (minutes > 0).then(|| Duration::from_mins(minutes));
    Thresholds {
        backlog: minutes(backlog_minutes).unwrap_or(default.backlog),
        rejection_streak: if rejection_streak > 0 { rejection_streak } else { default.rejection_streak },
        silence_factor: reader.number("ALERT_SILENCE_FACTOR", 10, 0, 1_000),
        zone: config::report_timezone(reader),
        alerts: AlertRules {
            database_after: minutes(database_minutes),
            paused_after: minutes(paused_minutes),
            backlog: backlog_minutes > 0,
            rejected: rejection_streak > 0,
            unanswered: reader.switch("ALERT_INVOICE_CREATED", true),
            endpoint: reader.switch("ALERT_ENDPOINT", true),
            failures: reader.switch("ALERT_FAILURES", true),
        },
    }
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
            rejection_streak: 5,
            silence_factor: 10,
            zone: Tz::UTC,
            alerts: AlertRules::default(),
        }
    }
}

impl Default for AlertRules {
    fn default() -> Self {
        Self {
            database_after: Some(Duration::from_mins(15)),
            paused_after: Some(Duration::from_mins(5)),
            backlog: true,
            rejected: true,
            unanswered: true,
            endpoint: true,
            failures: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Vars;

    fn read(pairs: &[(&str, &str)]) -> Result<Thresholds, String> {
        let vars: Vars = pairs.iter().copied().collect();
        let mut reader = Reader::new(&vars);
        let thresholds = thresholds(&mut reader);
        reader.finish(thresholds).map_err(|error| error.to_string())
    }

    #[test]
    fn without_settings_the_thresholds_are_the_defaults() {
        assert_eq!(read(&[]).expect("valid"), Thresholds::default());
    }

    #[test]
    fn zero_switches_an_alert_off_and_leaves_the_assessment_at_its_default() {
        let read = |pairs: &[(&str, &str)]| read(pairs).expect("valid");
        let off = read(&[
            ("ALERT_DATABASE_MINUTES", "0"),
            ("ALERT_PAUSED_MINUTES", "0"),
            ("ALERT_PENDING_MINUTES", "0"),
            ("ALERT_REJECTED_IN_A_ROW", "0"),
            ("ALERT_INVOICE_CREATED", "off"),
            ("ALERT_ENDPOINT", "off"),
            ("ALERT_FAILURES", "off"),
        ]);
        let none = AlertRules {
            database_after: None,
            paused_after: None,
            backlog: false,
            rejected: false,
            unanswered: false,
            endpoint: false,
            failures: false,
        };
        assert_eq!(off, Thresholds { alerts: none, ..Thresholds::default() });
        assert_eq!(read(&[("ALERT_PENDING_MINUTES", "60")]).backlog, Duration::from_hours(1));
        assert_eq!(read(&[("ALERT_REJECTED_IN_A_ROW", "9")]).rejection_streak, 9);
    }

    #[test]
    fn a_negative_threshold_is_refused() {
        assert!(read(&[("ALERT_SILENCE_FACTOR", "-1")]).is_err());
    }
}
