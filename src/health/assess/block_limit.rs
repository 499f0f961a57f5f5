//! The finding about a destination that can hold no more entries. Pure.
//!
//! That the limit is near cannot be found out: the destination states neither its limit nor what it holds.

use super::{before, why};
use crate::domain::failure::BLOCK_LIMIT_REMEDY;
use crate::domain::humanize::capitalised;
use crate::health::finding::{Finding, FindingKind, Level, Notice, Part};
use crate::health::snapshot::{Destination, Snapshot};
use crate::health::thresholds::Thresholds;
use crate::store::OldestPending;

/// Replaces the finding about the destination's backlog, whose cause it is.
pub(super) fn block_limit(snapshot: &Snapshot, of: &Destination, thresholds: &Thresholds) -> Option<Finding> {
    let OldestPending { execution, waited } = waiting_for_blocks(of)?;
    let name = &of.name;
    let what =
        format!("{} takes no new pages: its workspace has reached its limit of blocks", capitalised(name));
    Some(Finding {
        key: format!("block_limit {name}"),
        matter: FindingKind::BlockLimit,
        failure_group: None,
        level: Level::Critical,
        headline: format!("{} has reached its block limit", capitalised(name)),
        sentence: vec![
            Part::text(format!("{what}. To do: {BLOCK_LIMIT_REMEDY}. ")),
            why(execution),
            Part::text(" shows one that waits."),
        ],
        remedy: BLOCK_LIMIT_REMEDY.to_owned(),
        since: Some(before(snapshot, waited)),
        notice: thresholds.alerts.backlog.then(|| Notice {
            summary: format!("{what}."),
            remedy: format!(
                "{}. Pending events are kept and use no attempt; \"eventbridge why {execution}\" shows one that waits.",
                capitalised(BLOCK_LIMIT_REMEDY)
            ),
        }),
    })
}

/// The execution that has waited longest because the limit is reached, if any does. While the destination is
/// paused, nothing is known of the limit.
pub(super) fn waiting_for_blocks(of: &Destination) -> Option<OldestPending> {
    of.backlog.filter(|_| of.paused.is_none())?.at_block_limit
}
