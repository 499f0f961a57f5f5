//! A destination to which nothing is delivered for a while, because deliveries to it failed repeatedly.

use chrono::{DateTime, Utc};

/// Until when and why. Each process decides for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingOff {
    /// Since when.
    pub since: DateTime<Utc>,
    /// When the next attempt is made, by any process. If it is past, one is being made.
    pub until: DateTime<Utc>,
    /// When new work is tried, which may be sooner.
    pub fresh_until: DateTime<Utc>,
    /// What it follows, such as `repeated 502`.
    pub after: String,
    /// How many processes do so.
    pub processes: usize,
    /// How many processes deliver at all.
    pub workers: usize,
}

impl BackingOff {
    /// Adds what another process reports.
    pub fn add(&mut self, other: &Self) {
        self.since = self.since.min(other.since);
        self.until = self.until.min(other.until);
        self.fresh_until = self.fresh_until.min(other.fresh_until);
        self.processes += other.processes;
    }

    /// Whether no process delivers.
    pub const fn is_everywhere(&self) -> bool {
        self.processes >= self.workers
    }

    /// What it follows, and how many of the processes do so, if not all.
    pub fn cause(&self) -> String {
        let Self { after, processes, workers, .. } = self;
        if self.is_everywhere() {
            format!("after {after}")
        } else {
            format!("after {after} (in {processes} of {workers} processes)")
        }
    }

    /// The same with the time in UTC: `backing off until 13:49:52 UTC after repeated 502`.
    pub fn in_utc(&self) -> String {
        format!("backing off until {} UTC {}", self.until.format("%H:%M:%S"), self.cause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn the_processes_are_named_only_if_others_deliver() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let one = |seconds, workers| BackingOff {
            since: at,
            until: at + TimeDelta::seconds(seconds),
            fresh_until: at + TimeDelta::seconds(seconds),
            after: "repeated 502".to_owned(),
            processes: 1,
            workers,
        };
        assert_eq!(one(52, 1).in_utc(), "backing off until 08:00:52 UTC after repeated 502");
        let mut both = one(52, 3);
        both.add(&one(8, 3));
        assert_eq!(both.in_utc(), "backing off until 08:00:08 UTC after repeated 502 (in 2 of 3 processes)");
    }
}
