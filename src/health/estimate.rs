//! How long a backlog takes. Pure.
//!
//! It takes at least as long as the rate limit says, and as the last minutes show: a destination may be slower
//! than its rate. What waits for the time of its next attempt is left out, since it is unknown whether that
//! succeeds; it has its own time. A rest after repeated failures comes first.

use crate::store::{PENDING, Statistic};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;

/// The time that is looked at.
pub const OF_LATE: TimeDelta = TimeDelta::minutes(5);

/// What ends an execution, as the statistics name it.
const ENDINGS: [&str; 5] = ["delivered", "failed", "skipped", "superseded", "repeated"];

/// A shorter estimate says nothing: the work is as good as done.
pub(super) const SHORTEST: TimeDelta = TimeDelta::seconds(10);

/// The most executions of each destination that ended within a minute, of those minutes in which so many were
/// pending: the others show only how little there was to do.
pub fn throughput(minutes: &[Statistic]) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<(&str, DateTime<Utc>), (u64, u64)> = BTreeMap::new();
    for one in minutes {
        let is_end = ENDINGS.contains(&one.kind.as_str());
        if is_end || one.kind == PENDING {
            let (ended, pending) = counts.entry((&one.name, one.at)).or_default();
            *(if is_end { ended } else { pending }) += one.n.unsigned_abs();
        }
    }
    let mut most: BTreeMap<String, u64> = BTreeMap::new();
    for ((name, _), (ended, pending)) in counts {
        if ended > 0 && pending >= ended {
            let known = most.entry(name.to_owned()).or_default();
            *known = ended.max(*known);
        }
    }
    most
}

/// How long it takes until so many due executions are delivered; `None` if neither the rate nor the last minutes
/// show it.
pub fn clears_in(
    due: u64,
    by_rate_seconds: Option<u64>,
    per_minute: Option<u64>,
    rest: TimeDelta,
) -> Option<TimeDelta> {
    let measured = per_minute.filter(|n| *n > 0).map(|n| due.saturating_mul(60).div_ceil(n));
    let seconds = by_rate_seconds.into_iter().chain(measured).max().filter(|_| due > 0)?;
    TimeDelta::try_seconds(i64::try_from(seconds).ok()?)?.checked_add(&rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64, kind: &str, n: i64) -> Statistic {
        let at = DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).expect("a time");
        Statistic { at, kind: kind.to_owned(), name: "notion".to_owned(), le_ms: 0, n }
    }

    #[test]
    fn only_minutes_with_enough_to_do_show_how_fast_a_destination_is() {
        let minutes = [
            minute(0, "delivered", 3),
            minute(0, PENDING, 1),
            minute(1, "delivered", 10),
            minute(1, "repeated", 30),
            minute(1, "failed", 5),
            minute(1, PENDING, 9_000),
            minute(2, "delivered", 20),
            minute(2, PENDING, 8_000),
            minute(2, "received", 500),
        ];
        assert_eq!(throughput(&minutes), BTreeMap::from([("notion".to_owned(), 45)]));
        assert_eq!(throughput(minutes.get(..2).expect("two")), BTreeMap::new());
    }

    #[test]
    fn the_slower_of_rate_and_measurement_counts_and_a_rest_comes_first() {
        let clears = |due, rate, measured, rest| {
            clears_in(due, rate, measured, TimeDelta::seconds(rest)).map(|time| time.num_seconds())
        };
        assert_eq!(clears(0, Some(0), None, 40), None);
        assert_eq!(clears(90, Some(30), None, 0), Some(30));
        assert_eq!(clears(90, Some(30), Some(45), 0), Some(120));
        assert_eq!(clears(90, Some(300), Some(45), 40), Some(340));
        assert_eq!(clears(90, None, Some(45), 0), Some(120));
        assert_eq!(clears(90, None, None, 0), None);
    }
}
