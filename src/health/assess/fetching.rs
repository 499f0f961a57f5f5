//! The finding that events cannot be fetched from their sender's API. Pure.

use super::age;
use crate::health::finding::{Finding, FindingKind, Level, Notice, Part};
use crate::health::snapshot::Snapshot;
use crate::store::{PullFailing, PullState};
use std::time::Duration;

/// How long it must last before it is shown: a single failed read is made up for by the next one.
const SHOWN_AFTER: Duration = Duration::from_mins(1);

/// How long until its alert, and until it is critical.
const ALERT_AFTER: Duration = Duration::from_mins(5);
const CRITICAL_AFTER: Duration = Duration::from_mins(15);

pub(super) fn not_fetching(snapshot: &Snapshot, state: &PullState) -> Option<Finding> {
    let PullFailing { since, message, remedy, .. } = state.failing.as_ref()?;
    let lasts = age(snapshot, *since);
    if lasts < SHOWN_AFTER {
        return None;
    }
    let (source, remedy) = (&state.source, remedy.trim_end_matches('.'));
    let message = message.trim_end_matches('.');
    Some(Finding {
        key: format!("{} {source} {}", FindingKind::NotFetching.as_str(), state.name),
        matter: FindingKind::NotFetching,
        failure_group: None,
        level: if lasts >= CRITICAL_AFTER { Level::Critical } else { Level::Warning },
        headline: format!("Events of {source} are not fetched"),
        sentence: vec![
            Part::text(format!("Events of {source} have not been fetched since ")),
            Part::At(*since),
            Part::text(format!(": {message}. What to do: {remedy}.")),
        ],
        remedy: remedy.to_owned(),
        since: Some(*since),
        notice: (lasts >= ALERT_AFTER).then(|| Notice {
            summary: format!("Events of {source} are not fetched: {message}."),
            remedy: format!("{remedy}. Nothing is lost for 30 days: what is missing is fetched then."),
        }),
    })
}
