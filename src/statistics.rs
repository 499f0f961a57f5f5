//! Keeps the statistics: every few seconds what this process has counted since is added to the
//! minutes and hours in the database.
//!
//! While the database is away, numbers wait with their time. A kill loses those of the last seconds,
//! and never an event: statistics are counted beside the events, not from them. Where the answer to
//! an addition is lost, its numbers may be added twice. How much waits is looked at once a minute.

use crate::store::{Addition, Reports, Statistics, StoreError};
use crate::telemetry::{Count, Kind, Metrics, Panicked, catch_panic};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// The time between two additions.
const EVERY: Duration = Duration::from_secs(5);

/// How long one addition may take.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Numbers that wait are put together where they lie no further apart than this.
const TOGETHER: Duration = Duration::from_mins(1);

/// How many minutes may wait; what comes later is counted to the last of them.
const WAITING_MAX: usize = 120;

/// The time between two removals of what is too old.
const REMOVE_EVERY: Duration = Duration::from_mins(10);

/// The time between two looks at what waits.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Keeps the statistics until told to stop, and adds the last numbers then. What waits for these
/// instances is among them.
pub async fn keep(
    statistics: Statistics,
    reports: Reports,
    metrics: Metrics,
    instances: Arc<[String]>,
    stop: CancellationToken,
) {
    let mut ledger = Ledger::default();
    let mut look_at = Instant::now();
    let mut remove_at = Instant::now() + REMOVE_EVERY;
    let mut is_last = false;
    while !is_last {
        is_last = stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none();
        ledger.take(metrics.counts(), Instant::now());
        let added = catch_panic(&metrics, Panicked::Task, add(&statistics, &mut ledger)).await;
        if added.is_none() {
            error!("the statistics broke on a fault of ours; they go on");
        }
        if !is_last && look_at <= Instant::now() {
            look_at = Instant::now() + LOOK_EVERY;
            let noted =
                tokio::time::timeout(WRITE_WITHIN, record_backlog(&statistics, &reports, &instances)).await;
            if let Err(error) = noted.unwrap_or(Err(StoreError::TimedOut)) {
                debug!(%error, "how much waits is not noted this time");
            }
        }
        if !is_last && remove_at <= Instant::now() {
            remove_at = Instant::now() + REMOVE_EVERY;
            remove_old(&statistics).await;
        }
    }
}

async fn add(statistics: &Statistics, ledger: &mut Ledger) {
    let additions = ledger.additions(Instant::now());
    if additions.is_empty() {
        return;
    }
    let added = tokio::time::timeout(WRITE_WITHIN, statistics.add_statistics(&additions)).await;
    match added.unwrap_or(Err(StoreError::TimedOut)) {
        Ok(()) => ledger.clear(),
        Err(error @ StoreError::Refused(_)) => {
            error!(%error, numbers = additions.len(), "the database refuses statistics; they are lost");
            ledger.clear();
        }
        Err(error) => debug!(%error, "statistics wait for the database"),
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
                warn!(%error, "could not remove old statistics");
                return;
            }
        }
    }
}

/// What was counted and is not in the database yet.
#[derive(Default)]
struct Ledger {
    /// The counts at the last look.
    seen: Vec<Count>,
    waiting: Vec<Waiting>,
}

/// What was counted about one time.
struct Waiting {
    at: Instant,
    /// As the counts, in their order; how many more there were.
    more: Vec<Count>,
}

impl Ledger {
    /// Takes what has been counted since the last time.
    fn take(&mut self, counts: Vec<Count>, now: Instant) {
        let before = self.seen.iter().map(|count| count.n).chain(std::iter::repeat(0));
        let more: Vec<_> = counts
            .iter()
            .zip(before)
            .map(|(count, before)| Count { n: count.n.saturating_sub(before), ..count.clone() })
            .collect();
        self.seen = counts;
        if more.iter().all(|count| count.n == 0) {
            return;
        }
        let is_full = self.waiting.len() >= WAITING_MAX;
        match self.waiting.last_mut() {
            Some(last) if is_full || now.duration_since(last.at) < TOGETHER => {
                for (sum, count) in last.more.iter_mut().zip(&more) {
                    sum.n += count.n;
                }
            }
            _ => self.waiting.push(Waiting { at: now, more }),
        }
    }

    /// What is to be added to the database.
    fn additions(&self, now: Instant) -> Vec<Addition> {
        let counted = self.waiting.iter().flat_map(|waiting| {
            let age = now.duration_since(waiting.at);
            waiting.more.iter().filter(|count| count.n > 0).map(move |count| (age, count))
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
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Webhook;

    fn sums(ledger: &Ledger, now: Instant) -> Vec<(u64, i64)> {
        let additions = ledger.additions(now);
        additions.iter().map(|addition| (addition.age.as_secs(), addition.n)).collect()
    }

    #[test]
    fn what_was_counted_since_the_last_look_is_added_once() {
        let (metrics, mut ledger, now) = (Metrics::new(["notion"]), Ledger::default(), Instant::now());
        ledger.take(metrics.counts(), now);
        assert!(ledger.additions(now).is_empty());
        metrics.webhook(Webhook::New);
        metrics.webhook(Webhook::New);
        ledger.take(metrics.counts(), now);
        assert_eq!(sums(&ledger, now), [(0, 2)]);
        ledger.clear();
        ledger.take(metrics.counts(), now);
        assert!(ledger.additions(now).is_empty());
    }

    #[test]
    fn numbers_that_wait_keep_their_minute_and_are_bounded() {
        let (metrics, mut ledger, start) = (Metrics::new(["notion"]), Ledger::default(), Instant::now());
        for second in [0, 5, 70] {
            metrics.webhook(Webhook::Duplicate);
            ledger.take(metrics.counts(), start + Duration::from_secs(second));
        }
        assert_eq!(sums(&ledger, start + Duration::from_secs(100)), [(100, 2), (30, 1)]);
        for minute in 2..1_000 {
            metrics.webhook(Webhook::Duplicate);
            ledger.take(metrics.counts(), start + Duration::from_mins(2 * minute));
        }
        let waiting = sums(&ledger, start);
        assert_eq!(waiting.len(), WAITING_MAX);
        assert_eq!(waiting.iter().map(|(_, n)| n).sum::<i64>(), 3 + 998);
    }
}
