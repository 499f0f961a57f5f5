//! Executions that end their worker.

use super::why;
use crate::domain::quantity::count;
use crate::health::finding::{Finding, FindingKind, Level, Part};
use crate::health::snapshot::Snapshot;
use crate::store::Crashing;

/// A worker can die for any reason, so one death while others ran is no finding. If it fails at last, that is
/// another finding, with an alert.
pub(super) fn crashing(snapshot: &Snapshot) -> Option<Finding> {
    let Crashing { count: number, execution } = snapshot.crashing?;
    let remedy = "the log of the process and that of the kernel show why it died; an execution fails after three such deaths";
    let which = match number {
        1 => "The worker of 1 execution died while it delivered only this one".to_owned(),
        number => format!(
            "The workers of {} executions died, each while it delivered only this one",
            count(number, false)
        ),
    };
    Some(Finding {
        key: FindingKind::Crashing.as_str().to_owned(),
        matter: FindingKind::Crashing,
        failure_group: None,
        level: Level::Warning,
        headline: "An event crashes its process".to_owned(),
        sentence: vec![
            Part::text(format!("{which}: ")),
            why(execution),
            Part::text(format!(
                " shows what happened. It is tried again by itself, and others are delivered. What to do: {remedy}."
            )),
        ],
        remedy: remedy.to_owned(),
        since: None,
        notice: None,
    })
}
