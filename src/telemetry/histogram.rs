//! A lock-free histogram with fixed buckets, and quantiles of buckets.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the latency from receipt to delivery, in milliseconds. The last bucket has no upper bound.
pub const LATENCY_BOUNDS_MS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000, 21_600_000,
    86_400_000,
];

/// Counts values in buckets. Cheap to clone: clones share the counts.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The upper bounds (inclusive), ascending.
    bounds: &'static [u64],
    /// One count for each bound, and one for larger values.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// The factor from the unit of the bounds to the exported unit.
    scale: f64,
}

impl Histogram {
    /// A histogram of plain numbers.
    pub fn of_numbers(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1.0)
    }

    /// A histogram of durations with bounds in milliseconds, exported in seconds.
    pub fn of_durations(bounds_ms: &'static [u64]) -> Self {
        Self::new(bounds_ms, 1e-3)
    }

    fn new(bounds: &'static [u64], scale: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, counts, sum: AtomicU64::new(0), scale }))
    }

    /// Counts a number.
    pub fn count(&self, value: u64) {
        let place = self.0.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.0.counts.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a duration in milliseconds, rounded up.
    pub fn time(&self, duration: Duration) {
        self.count(u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX));
    }

    /// The upper bound and count of each bucket; the last one has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.0.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let shown = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| float(bound) * self.0.scale);
        let buckets: Vec<_> = self.buckets().map(|(bound, count)| (shown(bound), count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = float(self.0.sum.load(Ordering::Relaxed)) * self.0.scale;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

/// The quantile of counts by ascending upper bound, interpolated linearly within a bucket. `None` if nothing
/// was counted. Values above the last bound count as that bound.
pub fn quantile_ms(buckets: &[(Option<u64>, u64)], share: f64) -> Option<u64> {
    let total: u64 = buckets.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return None;
    }
    let wanted = float(total) * share.clamp(0.0, 1.0);
    let (mut below, mut lower) = (0.0, 0.0);
    for (bound, count) in buckets {
        let Some(upper) = bound.map(float) else { break };
        let within = float(*count);
        if within > 0.0 && below + within >= wanted {
            return Some(whole(lower + (upper - lower) * (wanted - below) / within));
        }
        (below, lower) = (below + within, upper);
    }
    Some(whole(lower))
}

#[expect(clippy::cast_precision_loss, reason = "a measured value needs no more than 52 bits")]
const fn float(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bounds")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: &[u64]) -> Vec<(Option<u64>, u64)> {
        let histogram = Histogram::of_durations(LATENCY_BOUNDS_MS);
        for value in values {
            histogram.time(Duration::from_millis(*value));
        }
        histogram.buckets().collect()
    }

    #[test]
    fn a_value_lies_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let buckets = counted(&[0, 100, 101, 86_400_000, 86_400_001]);
        let of = |bound| buckets.iter().find(|(upper, _)| *upper == bound).map(|(_, count)| *count);
        assert_eq!(of(Some(100)), Some(2));
        assert_eq!(of(Some(250)), Some(1));
        assert_eq!(of(Some(86_400_000)), Some(1));
        assert_eq!(of(None), Some(1));
    }

    #[test]
    fn a_begun_millisecond_counts() {
        let histogram = Histogram::of_durations(LATENCY_BOUNDS_MS);
        histogram.time(Duration::from_micros(100_001));
        assert_eq!(histogram.buckets().nth(1), Some((Some(250), 1)));
    }

    #[test]
    fn quantiles_lie_where_the_share_is_reached() {
        assert_eq!(quantile_ms(&counted(&[]), 0.5), None);
        let even = counted(&[50, 50, 200, 200]);
        assert_eq!(quantile_ms(&even, 0.5), Some(100));
        assert_eq!(quantile_ms(&even, 0.75), Some(175));
        assert_eq!(quantile_ms(&even, 1.0), Some(250));
        assert_eq!(quantile_ms(&counted(&[100_000_000]), 0.95), Some(86_400_000));
    }
}
