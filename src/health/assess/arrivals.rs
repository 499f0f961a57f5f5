//! The findings about webhooks that are rejected or do not arrive. Pure.

use super::{age, delta};
use crate::domain::humanize::humanize_age;
use crate::domain::quantity::count;
use crate::domain::rejection::RejectionStreak;
use crate::health::finding::{Finding, FindingKind, Level, Notice, Part};
use crate::health::pattern::EVENTS_MIN;
use crate::health::resends::RESENDS;
use crate::health::snapshot::Snapshot;
use crate::health::thresholds::Thresholds;
use std::time::Duration;

/// How long webhooks must have been rejected before an alert. On a service with few events it is the usual gap, at
/// most the longer time: before that the next event may be accepted, and end what has just begun.
const REJECTED_FOR: Duration = Duration::from_mins(10);
const REJECTED_FOR_MAX: Duration = Duration::from_hours(1);

pub(super) fn rejected(snapshot: &Snapshot, thresholds: &Thresholds) -> Option<Finding> {
    let RejectionStreak { count: number, began_at, newest } = snapshot.rejected.as_ref()?;
    let is_critical = *number >= thresholds.rejection_streak;
    let gap = snapshot.arrivals.usual_gap().unwrap_or_default();
    let lasts = age(snapshot, *began_at) >= gap.clamp(REJECTED_FOR, REJECTED_FOR_MAX);
    let which = match number {
        1 => "The last webhook was rejected, ".to_owned(),
        number => format!("The last {} webhooks were rejected, the newest ", count(*number, false)),
    };
    Some(Finding {
        key: "rejected webhooks".to_owned(),
        matter: FindingKind::Rejected,
        failure_group: None,
        level: if is_critical { Level::Critical } else { Level::Warning },
        headline: "Webhooks are rejected".to_owned(),
        sentence: vec![
            Part::text(which),
            Part::Ago(newest.last_at),
            Part::text(format!(". {} {}", newest.message, newest.remedy)),
        ],
        remedy: newest.remedy.clone(),
        since: Some(newest.first_at),
        notice: (is_critical && lasts && thresholds.alerts.rejected).then(|| Notice {
            summary: format!("The last {} webhooks were rejected. {}", count(*number, false), newest.message),
            remedy: format!("{} {RESENDS}", newest.remedy),
        }),
    })
}

/// Webhooks that are rejected do arrive, so their finding is not doubled.
pub(super) fn not_arriving(snapshot: &Snapshot, thresholds: &Thresholds) -> Option<Finding> {
    let Thresholds { silence_factor, zone, .. } = *thresholds;
    let last_at = snapshot.arrivals.last_at?;
    let are_rejected =
        snapshot.rejected.as_ref().is_some_and(|streak| streak.count >= thresholds.rejection_streak);
    if are_rejected || !snapshot.arrivals.contradict_pattern(silence_factor, snapshot.now, zone) {
        return None;
    }
    let remedy = "check at the sender whether the endpoint is enabled and its deliveries succeed";
    Some(Finding {
        key: "not_arriving".to_owned(),
        matter: FindingKind::NotArriving,
        failure_group: None,
        level: Level::Critical,
        headline: format!("No event for {}", humanize_age(delta(age(snapshot, last_at)))),
        sentence: vec![
            Part::text("No event has arrived since "),
            Part::At(last_at),
            Part::text(format!(
                ", and in the same hours of the last weeks at least {EVENTS_MIN} did: {remedy}."
            )),
        ],
        remedy: remedy.to_owned(),
        since: Some(last_at),
        notice: Some(Notice {
            summary: format!(
                "No webhook arrives, and in the same hours of the last weeks at least {EVENTS_MIN} did."
            ),
            remedy: format!(
                "Check whether the endpoint's deliveries succeed and its URL leads to this service. {RESENDS}"
            ),
        }),
    })
}

pub(super) fn silence(snapshot: &Snapshot, thresholds: &Thresholds) -> Option<Finding> {
    let last_at = snapshot.arrivals.last_at?;
    let limit = snapshot.arrivals.silence_limit(thresholds.silence_factor)?;
    let silent_for = age(snapshot, last_at);
    let limit_in_words = humanize_age(delta(limit));
    let remedy = "check at the sender whether the endpoint is enabled";
    (silent_for > limit).then(|| Finding {
        key: FindingKind::Silence.as_str().to_owned(),
        matter: FindingKind::Silence,
        failure_group: None,
        level: Level::Warning,
        headline: format!("No event for {}", humanize_age(delta(silent_for))),
        sentence: vec![Part::text(format!(
            "No event has arrived for longer than {limit_in_words}, far beyond the usual gap: {remedy}."
        ))],
        remedy: remedy.to_owned(),
        since: Some(last_at),
        notice: Some(Notice {
            summary: format!(
                "No webhook has arrived for longer than {limit_in_words}, far beyond the usual gap."
            ),
            remedy: format!(
                "Check whether the endpoint's deliveries succeed and its URL leads to this service. {RESENDS}"
            ),
        }),
    })
}
