//! The time series of the charts: statistics of a time range in steps.

use crate::store::{Bucket, PENDING, Per};
use crate::telemetry::quantile_ms;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use std::collections::BTreeMap;
use std::time::Duration;

/// A range of time up to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    Hour,
    Day,
    Week,
    Month,
}

impl Range {
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// Its name in an address.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// Its name in a sentence, after "the last".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
        }
    }

    /// The range of an address; a day if the name is unknown.
    pub fn of(word: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|range| Some(range.word()) == word).unwrap_or(Self::Day)
    }

    /// The resolution of the statistics that are read.
    pub const fn per(self) -> Per {
        match self {
            Self::Hour | Self::Day => Per::Minute,
            Self::Week | Self::Month => Per::Hour,
        }
    }

    /// The duration of a step.
    pub const fn step(self) -> Duration {
        match self {
            Self::Hour => Duration::from_mins(1),
            Self::Day => Duration::from_mins(30),
            Self::Week => Duration::from_hours(3),
            Self::Month => Duration::from_hours(12),
        }
    }

    /// The duration of a step in words.
    pub const fn step_name(self) -> &'static str {
        match self {
            Self::Hour => "a minute",
            Self::Day => "half an hour",
            Self::Week => "3 hours",
            Self::Month => "12 hours",
        }
    }

    /// The number of steps.
    pub const fn steps(self) -> usize {
        match self {
            Self::Hour | Self::Month => 60,
            Self::Day => 48,
            Self::Week => 56,
        }
    }

    /// The start of the first step, and the end of the last one, which is the current step.
    pub fn bounds(self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let step = self.step_delta();
        let to = now.duration_trunc(step).unwrap_or(now) + step;
        (to - step * i32::try_from(self.steps()).unwrap_or_default(), to)
    }

    fn step_delta(self) -> TimeDelta {
        TimeDelta::from_std(self.step()).unwrap_or_default()
    }
}

/// The statistics of a time range.
#[derive(Debug, Clone)]
pub(super) struct TimeSeries {
    pub range: Range,
    from: DateTime<Utc>,
    pub steps: Vec<Step>,
    /// The median latency from receipt to delivery.
    pub p50_ms: Option<u64>,
    /// The 95th percentile of the latency.
    pub p95_ms: Option<u64>,
}

/// The statistics of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub received: i64,
    pub delivered: i64,
    pub failed: i64,
    pub rejected: i64,
    /// The largest backlog.
    pub pending: i64,
    pub p50_ms: Option<u64>,
    pub p95_ms: Option<u64>,
}

/// Latency counts by their upper bounds, from the statistics.
type LatencyCounts = BTreeMap<i64, u64>;

impl TimeSeries {
    /// Assigns the buckets to their steps; others are ignored.
    pub fn of(range: Range, from: DateTime<Utc>, buckets: &[Bucket]) -> Self {
        let mut steps = vec![Step::default(); range.steps()];
        let mut latencies: Vec<LatencyCounts> = vec![LatencyCounts::new(); range.steps()];
        let mut all = LatencyCounts::new();
        for bucket in buckets {
            let place = usize::try_from(bucket.step).ok();
            let place = place.and_then(|place| Some((steps.get_mut(place)?, latencies.get_mut(place)?)));
            let Some((step, latencies)) = place else { continue };
            match bucket.kind.as_str() {
                "received" => step.received += bucket.n,
                "delivered" => step.delivered += bucket.n,
                "failed" => step.failed += bucket.n,
                "rejected" => step.rejected += bucket.n,
                PENDING => step.pending = step.pending.max(bucket.n),
                "latency" => {
                    let count = u64::try_from(bucket.n).unwrap_or_default();
                    *latencies.entry(bucket.le_ms).or_default() += count;
                    *all.entry(bucket.le_ms).or_default() += count;
                }
                _ => {}
            }
        }
        for (step, latencies) in steps.iter_mut().zip(&latencies) {
            (step.p50_ms, step.p95_ms) = quantiles(latencies);
        }
        let (p50_ms, p95_ms) = quantiles(&all);
        Self { range, from, steps, p50_ms, p95_ms }
    }

    /// The start of a step.
    pub fn start_of(&self, step: usize) -> DateTime<Utc> {
        self.from + self.range.step_delta() * i32::try_from(step).unwrap_or_default()
    }

    /// Whether this is the current step, which is not over.
    pub fn is_last(&self, step: usize) -> bool {
        step + 1 == self.steps.len()
    }

    /// The sum of a value over all steps.
    pub fn sum(&self, of: impl Fn(&Step) -> i64) -> i64 {
        self.steps.iter().map(of).sum()
    }
}

fn quantiles(counted: &LatencyCounts) -> (Option<u64>, Option<u64>) {
    let bound = |le_ms: i64| u64::try_from(le_ms).ok().filter(|_| le_ms != i64::MAX);
    let buckets: Vec<_> = counted.iter().map(|(le_ms, count)| (bound(*le_ms), *count)).collect();
    (quantile_ms(&buckets, 0.5), quantile_ms(&buckets, 0.95))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(step: i64, kind: &str, le_ms: i64, n: i64) -> Bucket {
        Bucket { step, kind: kind.to_owned(), le_ms, n }
    }

    #[test]
    fn a_range_ends_with_the_current_step() {
        let now = DateTime::from_timestamp(1_800_000_100, 0).expect("a time");
        for range in Range::ALL {
            let (from, to) = range.bounds(now);
            assert!(from < now && now < to, "{range:?}");
            let steps = i32::try_from(range.steps()).expect("few");
            assert_eq!(to - from, range.step_delta() * steps, "{range:?}");
            assert_eq!(Range::of(Some(range.word())), range);
        }
        assert_eq!(Range::of(Some("x")), Range::Day);
    }

    #[test]
    fn buckets_are_assigned_to_their_steps_and_others_are_ignored() {
        let from = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let buckets = [
            bucket(0, "received", 0, 5),
            bucket(59, "received", 0, 1),
            bucket(60, "received", 0, 9),
            bucket(-1, "received", 0, 9),
            bucket(0, "failed", 0, 2),
            bucket(0, "pending", 0, 7),
            bucket(0, "latency", 250, 10),
            bucket(1, "latency", 1000, 10),
            bucket(1, "latency", i64::MAX, 1),
            bucket(0, "unheard_of", 0, 1),
        ];
        let series = TimeSeries::of(Range::Hour, from, &buckets);
        let [first, second, ..] = series.steps.as_slice() else { panic!("steps") };
        assert_eq!((first.received, first.failed, first.pending), (5, 2, 7));
        assert_eq!((first.p50_ms, second.p95_ms), (Some(125), Some(1000)));
        assert_eq!(series.sum(|step| step.received), 6);
        assert_eq!(series.start_of(2) - from, TimeDelta::minutes(2));
        assert!(series.p95_ms.is_some_and(|p95| p95 >= 900));
    }
}
