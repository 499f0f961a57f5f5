//! The counts that the statistics keep.

use super::series::Series;
use std::borrow::Cow;

/// What a count of the statistics means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Events that were new, received or fetched.
    Received,
    /// Webhooks whose event was already stored.
    Duplicate,
    /// Webhooks that were rejected, by reason.
    Rejected,
    /// Webhooks that were shed, by reason.
    Shed,
    /// Executions delivered for the first time, by destination.
    Delivered,
    /// Executions that failed for the first time, by destination.
    Failed,
    /// Executions declined for the first time, by destination.
    Skipped,
    /// Executions superseded by a newer state, by destination.
    Superseded,
    /// Executions that ended after a retry or replay as they had ended before, by destination.
    Repeated,
    /// Executions by destination and by the time from receipt to delivery.
    Latency,
}

impl Kind {
    /// The word for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Shed => "shed",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
            Self::Repeated => "repeated",
            Self::Latency => "latency",
        }
    }
}

/// One count of the statistics, since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// What is counted.
    pub kind: Kind,
    /// The reason or the destination; empty if there is neither.
    pub name: Cow<'static, str>,
    /// The upper bound in milliseconds, for [`Kind::Latency`]; none above the last one.
    pub le_ms: Option<u64>,
    /// The count.
    pub n: u64,
}

impl Series {
    /// The counts for the statistics since the start of the process, in a fixed order.
    pub(super) fn counts(&self) -> Vec<Count> {
        let mut counts = Vec::new();
        let mut push = |kind, name: &Cow<'static, str>, le_ms, n| {
            counts.push(Count { kind, name: name.clone(), le_ms, n });
        };
        let none = Cow::Borrowed("");
        push(Kind::Received, &none, None, self.new.get() + self.fetched.get());
        push(Kind::Duplicate, &none, None, self.duplicate.get());
        for (kind, words) in [(Kind::Rejected, &self.rejected), (Kind::Shed, &self.shed)] {
            for (word, counter) in &words.0 {
                push(kind, &Cow::Borrowed(*word), None, counter.get());
            }
        }
        for (name, destination) in &self.destinations {
            let name = Cow::Owned(name.clone());
            push(Kind::Delivered, &name, None, destination.success.first.get());
            push(Kind::Failed, &name, None, destination.failed.first.get());
            push(Kind::Skipped, &name, None, destination.skipped.first.get());
            push(Kind::Superseded, &name, None, destination.superseded.first.get());
            push(Kind::Repeated, &name, None, destination.repeated());
            for (le_ms, n) in destination.latency.buckets() {
                push(Kind::Latency, &name, le_ms, n);
            }
        }
        counts
    }
}
