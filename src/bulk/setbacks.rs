//! The pages of a task that failed, and what follows from them.

use super::PAGE_ROWS;
use crate::store::StoreError;

/// A task fails after this number of errors in a row that are no outage.
const FAILURES_MAX: u32 = 8;

/// The failures of one task in a row, and the size of its next page.
#[derive(Debug, Clone, Copy)]
pub struct Setbacks {
    rows: u32,
    rows_max: u32,
    failures: u32,
}

impl Default for Setbacks {
    fn default() -> Self {
        Self::none(PAGE_ROWS)
    }
}

impl Setbacks {
    /// Those of a task whose pages have at most so many rows, before any of them failed.
    pub const fn none(rows_max: u32) -> Self {
        Self { rows: rows_max, rows_max, failures: 0 }
    }

    /// The rows of the next page: fewer after one that failed.
    pub const fn rows(&self) -> u32 {
        self.rows
    }

    /// Notes that a page was done. Returns whether no setback is left.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.rows = self.rows.saturating_mul(2).min(self.rows_max);
        self.rows == self.rows_max
    }

    /// Notes that a page failed. Returns how often in a row that is.
    pub fn failed(&mut self) -> u32 {
        // The same page would take too long again and again; a smaller one makes progress.
        self.rows = (self.rows / 4).max(1);
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// Whether the task is given up.
    pub const fn are_too_many(&self) -> bool {
        self.failures >= FAILURES_MAX
    }
}

/// Why a task that had too many is given up.
pub(super) const fn reason(last: &StoreError) -> &'static str {
    match last {
        StoreError::TimedOut | StoreError::TookTooLong => {
            "the database took too long; narrow the filter, for example to a shorter time range"
        }
        StoreError::Unavailable(_) | StoreError::Refused(_) | StoreError::Unexpected(_) => {
            "the database refused a page; the log has the cause"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_shrink_with_each_failure_and_grow_again() {
        let mut setbacks = Setbacks::none(100);
        assert_eq!((setbacks.failed(), setbacks.rows()), (1, 25));
        for failures in 2..FAILURES_MAX {
            assert!(setbacks.failed() == failures && !setbacks.are_too_many());
        }
        assert_eq!(setbacks.rows(), 1);
        assert!(!setbacks.succeeded());
        assert_eq!((setbacks.failed(), setbacks.rows()), (1, 1), "no longer in a row");
        while !setbacks.succeeded() {}
        assert_eq!(setbacks.rows(), 100);
        for _ in 0..FAILURES_MAX {
            setbacks.failed();
        }
        assert!(setbacks.are_too_many());
    }

    #[test]
    fn a_limit_of_the_server_and_of_the_client_are_the_same_reason() {
        assert_eq!(reason(&StoreError::TookTooLong), reason(&StoreError::TimedOut));
        assert_ne!(reason(&StoreError::Unexpected(String::new())), reason(&StoreError::TimedOut));
    }
}
