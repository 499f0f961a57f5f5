//! When a snapshot that something holds in the database is too old, and what to do. Pure.

use crate::domain::humanize::humanize_age;
use crate::store::{SnapshotHolder, SnapshotHolderKind};
use chrono::TimeDelta;
use std::time::Duration;

/// A transaction that has held a snapshot for this long is noted. The backup of a small database takes less.
const NOTED_AFTER: Duration = Duration::from_mins(15);

/// A replication slot that holds a snapshot of so many transactions ago is noted.
const SLOT_NOTED_AFTER: i32 = 100_000;

/// A snapshot that is too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSnapshot {
    /// What holds it, and for how long, as a sentence without a full stop. It names sessions and slots.
    pub what: String,
    /// How to end it, with the same names.
    pub remedy: String,
    /// How long it has been held, if that is known.
    pub held_for: Option<Duration>,
}

impl OldSnapshot {
    /// The first of these holders whose snapshot is too old.
    pub fn among(holders: &[SnapshotHolder]) -> Option<Self> {
        holders.iter().find_map(Self::of)
    }

    /// Judges what holds a snapshot; `None` if that is not too old.
    fn of(holder: &SnapshotHolder) -> Option<Self> {
        let SnapshotHolder { kind, name, detail, held_for, transactions } = holder;
        let is_old = held_for.map_or(*transactions >= SLOT_NOTED_AFTER, |held_for| held_for >= NOTED_AFTER);
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        let time = held_for.and_then(|held_for| TimeDelta::from_std(held_for).ok()).map(humanize_age);
        let since = time.unwrap_or_else(|| format!("{transactions} transactions"));
        let (who, remedy) = match kind {
            SnapshotHolderKind::Session => (
                format!("the session {name}{detail}"),
                format!("end it, or: select pg_terminate_backend({name})"),
            ),
            SnapshotHolderKind::PreparedTransaction => {
                (format!("the prepared transaction {name:?}"), "commit it or roll it back".to_owned())
            }
            SnapshotHolderKind::ReplicationSlot => {
                (format!("the replication slot {name:?}{detail}"), "drop it if nothing uses it".to_owned())
            }
        };
        let what = format!(
            "{who} has held a snapshot for {since}, so Postgres keeps every row that was deleted or changed since"
        );
        is_old.then_some(Self { what, remedy, held_for: *held_for })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(kind: SnapshotHolderKind, held_for: Option<Duration>, transactions: i32) -> SnapshotHolder {
        let detail = "psql, idle in transaction".to_owned();
        SnapshotHolder { kind, name: "17".to_owned(), detail, held_for, transactions }
    }

    #[test]
    fn an_old_snapshot_is_named_with_the_way_to_end_it() {
        let session = |minutes| holder(SnapshotHolderKind::Session, Some(Duration::from_mins(minutes)), 9);
        let old = OldSnapshot::of(&session(42)).expect("it is old");
        assert!(
            old.what.starts_with("the session 17 (psql, idle in transaction) has held a snapshot for 42 min"),
            "{}",
            old.what
        );
        assert_eq!(old.remedy, "end it, or: select pg_terminate_backend(17)");
        assert_eq!(OldSnapshot::of(&session(4)), None);
        let young_slot = holder(SnapshotHolderKind::ReplicationSlot, None, 50_000);
        assert_eq!(
            OldSnapshot::among(&[young_slot, session(42)]),
            Some(old),
            "a young slot does not hide it"
        );
    }

    #[test]
    fn a_replication_slot_is_judged_by_its_transactions() {
        let slot = |transactions| holder(SnapshotHolderKind::ReplicationSlot, None, transactions);
        let old = OldSnapshot::of(&slot(100_000)).expect("it is old");
        assert!(old.what.contains("100000 transactions"), "{}", old.what);
        assert_eq!(OldSnapshot::of(&slot(99_999)), None);
    }
}
