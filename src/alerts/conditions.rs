//! What is worth an alert. Pure: what was seen goes in, conditions come out.

use super::settings::Thresholds;
use super::silence;
use crate::domain::rejection::{Diagnosis, Kept, diagnose};
use crate::store::{Backlog, Condition, FailuresOfLate, HeldInstance};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// Rejections that are older say nothing of today.
const REJECTIONS_OF_LATE: TimeDelta = TimeDelta::hours(24);

/// What was seen in one round.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) now: DateTime<Utc>,
    pub(super) held: Vec<HeldInstance>,
    pub(super) backlog: Vec<Backlog>,
    pub(super) failures: Vec<FailuresOfLate>,
    pub(super) rejections: Vec<Kept>,
    pub(super) last_accepted_at: Option<DateTime<Utc>>,
    /// The names of the webhook secrets.
    pub(super) secrets: Vec<String>,
    /// The minutes of the last two days in which something came in.
    pub(super) minutes: Vec<DateTime<Utc>>,
    /// The hours of the last two weeks in which something came in.
    pub(super) hours: Vec<DateTime<Utc>>,
}

/// The conditions that last.
pub(super) fn conditions(seen: &Seen, thresholds: &Thresholds) -> Vec<Condition> {
    let mut found = held(seen, thresholds.held);
    found.extend(old_backlogs(seen, thresholds.pending));
    if thresholds.failures {
        found.extend(failures(seen));
    }
    found.extend(rejected(seen, thresholds.rejected_in_a_row));
    found.extend(silent(seen, thresholds.silence_factor));
    found
}

fn held(seen: &Seen, after: Option<Duration>) -> Vec<Condition> {
    let Some(after) = after else { return Vec::new() };
    let late = seen.held.iter().filter(|held| age(seen, held.since) >= after);
    late.map(|held| Condition {
        key: format!("held {}", held.name),
        summary: format!("Deliveries to {} are held ({}).", held.name, held.hold.class),
        remedy: held.hold.remedy.clone(),
        since: held.since,
    })
    .collect()
}

/// What waits for an instance that is held is told by the hold.
fn old_backlogs(seen: &Seen, after: Option<Duration>) -> Vec<Condition> {
    let Some(after) = after else { return Vec::new() };
    let waiting = seen.backlog.iter().filter(|backlog| backlog.held_since.is_none());
    waiting
        .filter_map(|backlog| {
            let oldest = backlog.oldest.filter(|oldest| *oldest >= after)?;
            Some(Condition {
                key: format!("backlog {}", backlog.destination),
                summary: format!(
                    "Events wait for {} for longer than {}.",
                    backlog.destination,
                    in_words(after)
                ),
                remedy: "See /api/v1/executions?status=pending for the reasons. Where each waits for a retry, its last failure says why; where many wait for their turn, more comes in than the rate allows.".to_owned(),
                since: before(seen, oldest),
            })
        })
        .collect()
}

fn failures(seen: &Seen) -> Vec<Condition> {
    let class = |failures: &FailuresOfLate| match failures.class.as_str() {
        "" => "unknown".to_owned(),
        class => class.to_owned(),
    };
    seen.failures
        .iter()
        .map(|failures| Condition {
            key: format!("failures {} {}", failures.destination, class(failures)),
            summary: format!(
                "Deliveries to {} were given up: {} ({} so far).",
                failures.destination,
                class(failures),
                failures.count
            ),
            remedy:
                "See /api/v1/executions?status=failed for what happened, mend the cause, then retry them."
                    .to_owned(),
            since: failures.first_at,
        })
        .collect()
}

fn rejected(seen: &Seen, in_a_row: u64) -> Option<Condition> {
    let after = |at: DateTime<Utc>| seen.last_accepted_at.is_none_or(|accepted| at > accepted);
    let of_late: Vec<_> = seen
        .rejections
        .iter()
        .filter(|kept| after(kept.at) && seen.now.signed_duration_since(kept.at) < REJECTIONS_OF_LATE)
        .cloned()
        .collect();
    let causes = diagnose(&of_late, seen.last_accepted_at, &seen.secrets);
    let to_be_mended: Vec<&Diagnosis> = causes.iter().filter(|found| found.cause.is_to_be_mended()).collect();
    let count: u64 = to_be_mended.iter().map(|found| found.count).sum();
    let newest = to_be_mended.first()?;
    (in_a_row > 0 && count >= in_a_row).then(|| Condition {
        key: "rejected webhooks".to_owned(),
        summary: format!("The last {count} webhooks were rejected. {}", newest.says),
        remedy: newest.remedy.clone(),
        since: newest.first_at,
    })
}

fn silent(seen: &Seen, factor: u32) -> Option<Condition> {
    let last = seen.last_accepted_at?;
    let limit = silence::limit(&seen.minutes, &seen.hours, factor)?;
    (age(seen, last) > limit).then(|| Condition {
        key: "silence".to_owned(),
        summary: format!(
            "No webhook has come for longer than {}, far beyond what is usual.",
            in_words(limit)
        ),
        remedy: "See in the Stripe dashboard whether the endpoint is enabled and its deliveries succeed, and whether its address leads here.".to_owned(),
        since: last,
    })
}

fn age(seen: &Seen, at: DateTime<Utc>) -> Duration {
    seen.now.signed_duration_since(at).to_std().unwrap_or_default()
}

fn before(seen: &Seen, age: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(age).ok().and_then(|age| seen.now.checked_sub_signed(age)).unwrap_or(seen.now)
}

/// A duration to the minute.
pub(super) fn in_words(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}
