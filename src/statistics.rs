//! Writes the statistics: every few seconds the counts of this process are added to the minutes and hours
//! in the database.
//!
//! While the database is unavailable, counts are buffered with their time. A kill loses the counts of the
//! last seconds, but never an event: statistics are counted separately from events. If the answer to a write
//! is lost, its counts may be added twice. The backlog is recorded once a minute.

use crate::store::{Addition, Reports, Statistics, StoreError};
use crate::telemetry::{Count, Kind, Metrics, Panicked, catch_panic};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// The interval between two writes.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// The timeout of one write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Buffered counts within this time are merged.
const MERGE_WITHIN: Duration = Duration::from_mins(1);

/// The largest number of buffered minutes; later counts are added to the last of them.
const BUFFERED_MAX: usize = 120;

/// The interval between two removals of old statistics.
const REMOVE_INTERVAL: Duration = Duration::from_mins(10);

/// The interval between two records of the backlog.
const BACKLOG_INTERVAL: Duration = Duration::from_mins(1);

/// Writes statistics until `stop` is cancelled, and then the last counts. They include the backlog of these
/// instances.
pub async fn keep(
    statistics: Statistics,
    reports: Reports,
    metrics: Metrics,
    instances: Arc<[String]>,
    stop: CancellationToken,
) {
    let mut buffer = CountBuffer::default();
    let mut record_backlog_at = Instant::now();
    let mut remove_at = Instant::now() + REMOVE_INTERVAL;
    let mut is_last = false;
    while !is_last {
        is_last = stop.run_until_cancelled(tokio::time::sleep(WRITE_INTERVAL)).await.is_none();
        buffer.take(metrics.counts(), Instant::now());
        let added = catch_panic(&metrics, Panicked::Task, add(&statistics, &mut buffer)).await;
        if added.is_none() {
            error!("statistics panicked; they continue");
        }
        if !is_last && record_backlog_at <= Instant::now() {
            record_backlog_at = Instant::now() + BACKLOG_INTERVAL;
            let recorded =
                tokio::time::timeout(WRITE_TIMEOUT, record_backlog(&statistics, &reports, &instances)).await;
            if let Err(error) = recorded.unwrap_or(Err(StoreError::TimedOut)) {
                debug!(%error, "backlog not recorded");
            }
        }
        if !is_last && remove_at <= Instant::now() {
            remove_at = Instant::now() + REMOVE_INTERVAL;
            remove_old(&statistics).await;
        }
    }
}

async fn add(statistics: &Statistics, buffer: &mut CountBuffer) {
    let additions = buffer.additions(Instant::now());
    if additions.is_empty() {
        return;
    }
    let added = tokio::time::timeout(WRITE_TIMEOUT, statistics.add_statistics(&additions)).await;
    match added.unwrap_or(Err(StoreError::TimedOut)) {
        Ok(()) => buffer.clear(),
        Err(error @ StoreError::Refused(_)) => {
            error!(%error, counts = additions.len(), "statistics rejected by the database; dropped");
            buffer.clear();
        }
        Err(error) => debug!(%error, "statistics not written; buffered"),
    }
}

async fn record_backlog(
    statistics: &Statistics,
    reports: &Reports,
    instances: &[String],
) -> Result<(), StoreError> {
    statistics.record_backlog(&reports.backlog(instances).await?).await
}

async fn remove_old(statistics: &Statistics) {
    loop {
        match statistics.remove_old_statistics().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                warn!(%error, "old statistics not removed");
                return;
            }
        }
    }
}

/// Counts that are not in the database yet.
#[derive(Default)]
struct CountBuffer {
    /// The counts at the last call of `take`.
    last: Vec<Count>,
    buffered: Vec<Buffered>,
}

/// The counts of one time.
struct Buffered {
    at: Instant,
    /// The increments, in the order of the counts.
    increments: Vec<Count>,
}

impl CountBuffer {
    /// Buffers the increments since the last call.
    fn take(&mut self, counts: Vec<Count>, now: Instant) {
        let before = self.last.iter().map(|count| count.n).chain(std::iter::repeat(0));
        let increments: Vec<_> = counts
            .iter()
            .zip(before)
            .map(|(count, before)| Count { n: count.n.saturating_sub(before), ..count.clone() })
            .collect();
        self.last = counts;
        if increments.iter().all(|count| count.n == 0) {
            return;
        }
        let is_full = self.buffered.len() >= BUFFERED_MAX;
        match self.buffered.last_mut() {
            Some(last) if is_full || now.duration_since(last.at) < MERGE_WITHIN => {
                for (sum, count) in last.increments.iter_mut().zip(&increments) {
                    sum.n += count.n;
                }
            }
            _ => self.buffered.push(Buffered { at: now, increments }),
        }
    }

    /// The increments to add to the database.
    fn additions(&self, now: Instant) -> Vec<Addition> {
        let counted = self.buffered.iter().flat_map(|buffered| {
            let age = now.duration_since(buffered.at);
            buffered.increments.iter().filter(|count| count.n > 0).map(move |count| (age, count))
        });
        counted
            .map(|(age, count)| Addition {
                age,
                kind: count.kind.as_str(),
                name: count.name.clone().into_owned(),
                le_ms: match (count.kind, count.le_ms) {
                    (Kind::Latency, bound) => {
                        bound.and_then(|bound| i64::try_from(bound).ok()).unwrap_or(i64::MAX)
                    }
                    _ => 0,
                },
                n: i64::try_from(count.n).unwrap_or(i64::MAX),
            })
            .collect()
    }

    fn clear(&mut self) {
        self.buffered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Webhook;

    fn sums(buffer: &CountBuffer, now: Instant) -> Vec<(u64, i64)> {
        let additions = buffer.additions(now);
        additions.iter().map(|addition| (addition.age.as_secs(), addition.n)).collect()
    }

    #[test]
    fn increments_are_added_once() {
        let (metrics, mut buffer, now) = (Metrics::new(["notion"]), CountBuffer::default(), Instant::now());
        buffer.take(metrics.counts(), now);
        assert!(buffer.additions(now).is_empty());
        metrics.webhook(Webhook::New);
        metrics.webhook(Webhook::New);
        buffer.take(metrics.counts(), now);
        assert_eq!(sums(&buffer, now), [(0, 2)]);
        buffer.clear();
        buffer.take(metrics.counts(), now);
        assert!(buffer.additions(now).is_empty());
    }

    #[test]
    fn buffered_counts_keep_their_minute_and_are_limited() {
        let (metrics, mut buffer, start) = (Metrics::new(["notion"]), CountBuffer::default(), Instant::now());
        for second in [0, 5, 70] {
            metrics.webhook(Webhook::Duplicate);
            buffer.take(metrics.counts(), start + Duration::from_secs(second));
        }
        assert_eq!(sums(&buffer, start + Duration::from_secs(100)), [(100, 2), (30, 1)]);
        for minute in 2..1_000 {
            metrics.webhook(Webhook::Duplicate);
            buffer.take(metrics.counts(), start + Duration::from_mins(2 * minute));
        }
        let buffered = sums(&buffer, start);
        assert_eq!(buffered.len(), BUFFERED_MAX);
        assert_eq!(buffered.iter().map(|(_, n)| n).sum::<i64>(), 3 + 998);
    }
}
