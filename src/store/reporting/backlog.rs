//! The backlog of each destination.
//!
//! A count steps over the entries of executions that were claimed, as long as Postgres cannot remove them.
//! Beside an old snapshot it can take seconds. So a count that took long is kept, and counts take one part in
//! twenty of the time at most.

use super::Reports;
use crate::domain::failure::BLOCK_LIMIT;
use crate::store::db::{Connections, StoreError, of_milliseconds};
use chrono::{DateTime, Utc};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A count that takes longer is kept.
const QUICK: Duration = Duration::from_millis(50);

/// Counts that take long may take one part in so many of the time.
const SHARE: u32 = 20;

/// The longest that a caller waits for a count that takes long. The count goes on, for the next caller.
const WAITS_MAX: Duration = Duration::from_secs(2);

/// A count that is older than this is not reported, however long the next one takes.
const KEPT_MAX: Duration = Duration::from_mins(5);

/// The most executions of one kind (fresh, retry, quarantined, bulk) that are counted for each destination,
/// so that a large backlog is read at little cost.
pub const BACKLOG_COUNTED_MAX: u32 = 20_000;

/// The backlog of one destination instance, across all replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The instance.
    pub destination: String,
    /// Pending executions, due or not; counted up to [`BACKLOG_COUNTED_MAX`] of each kind.
    pub pending: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// How many of the counted ones wait for the time of their next attempt.
    pub later: u64,
    /// The earliest of these times, if any does.
    pub next_at: Option<DateTime<Utc>>,
    /// The counted execution that has waited longest; `None` if none waits. Executions of bulk operations
    /// wait for all others, and are left out.
    pub oldest: Option<OldestPending>,
    /// The counted execution that has waited longest for another attempt, if its last one failed with the class
    /// [`BLOCK_LIMIT`].
    pub at_block_limit: Option<OldestPending>,
    /// Since when the instance is paused, if it is.
    pub paused_since: Option<DateTime<Utc>>,
}

/// The pending execution that has waited longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestPending {
    /// The execution.
    pub execution: i64,
    /// The time since it was created or retried by an operator.
    pub waited: Duration,
}

/// The last count, if it took long. Cheap to clone: clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct LastCount {
    last: Arc<Mutex<Option<SlowCount>>>,
    /// Locked while a slow count runs.
    counting: Arc<tokio::sync::Mutex<()>>,
}

/// A count that took long.
#[derive(Debug, Clone)]
struct SlowCount {
    instances: Vec<String>,
    ended_at: Instant,
    took: Duration,
    /// None if it did not end in time.
    backlogs: Option<Vec<Backlog>>,
}

impl LastCount {
    fn of(&self, instances: &[String]) -> Option<SlowCount> {
        self.last().clone().filter(|last| last.instances == instances)
    }

    fn record(&self, instances: &[String], began: Instant, backlogs: Option<Vec<Backlog>>) {
        let took = began.elapsed();
        let slow = SlowCount { instances: instances.to_vec(), ended_at: Instant::now(), took, backlogs };
        *self.last() = Some(slow).filter(|slow| slow.took > QUICK);
    }

    fn last(&self) -> MutexGuard<'_, Option<SlowCount>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlowCount {
    /// What was counted, unless it is older than this.
    fn within(self, age_max: Duration) -> Option<Vec<Backlog>> {
        self.backlogs.filter(|_| self.ended_at.elapsed() <= age_max)
    }
}

impl Reports {
    /// The backlog of each of these instances, as of now, or of twenty times ago that the last count took.
    pub async fn backlog(&self, instances: &[String]) -> Result<Vec<Backlog>, StoreError> {
        let Some(last) = self.last_count.of(instances) else {
            return self.count(&self.reading, instances).await;
        };
        let age_max = (last.took * (SHARE - 1)).min(KEPT_MAX);
        if let Some(backlogs) = last.clone().within(age_max) {
            return Ok(backlogs);
        }
        let Ok(turn) = self.last_count.counting.clone().try_lock_owned() else {
            // Another caller counts.
            return last.within(KEPT_MAX).ok_or(StoreError::TimedOut);
        };
        let (reports, wanted) = (self.clone(), instances.to_vec());
        // A task of its own: it ends even if its caller does not wait so long.
        let counting = tokio::spawn(async move {
            let counted = reports.count(&reports.unhurried, &wanted).await;
            drop(turn);
            counted
        });
        match tokio::time::timeout(WAITS_MAX, counting).await {
            Ok(Ok(counted)) => counted,
            Ok(Err(error)) => Err(StoreError::Unexpected(error.to_string())),
            Err(_elapsed) => Err(StoreError::TimedOut),
        }
    }

    /// Counts over these connections, and keeps the count if it took long.
    async fn count(&self, pool: &Connections, instances: &[String]) -> Result<Vec<Backlog>, StoreError> {
        let began = Instant::now();
        let counted = count(pool, instances).await;
        if !matches!(counted, Err(StoreError::Unavailable(_))) {
            self.last_count.record(instances, began, counted.as_ref().ok().cloned());
        }
        counted
    }
}

/// Counts each kind along the index by which it is claimed. Executions that have been due longest come first,
/// so the oldest is always counted.
async fn count(pool: &Connections, instances: &[String]) -> Result<Vec<Backlog>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select wanted.name as "destination!", paused_since, pending as "pending!", is_more as "is_more!",
               later as "later!", next_at,
               (extract(epoch from now()) * 1000)::bigint - oldest[1] as oldest_ms,
               oldest[2] as oldest_execution,
               (extract(epoch from now()) * 1000)::bigint - oldest_retry[1] as retry_ms,
               at_block_limit.id as "at_block_limit?"
          from unnest($1::text[]) as wanted (name)
          left join eventbridge.destinations on destinations.name = wanted.name
         cross join lateral (
               select sum(of_class.pending)::bigint as pending,
                      min(of_class.oldest) filter (where class.name <> 'bulk') as oldest,
                      min(of_class.oldest) filter (where class.name = 'retry') as oldest_retry,
                      bool_or(of_class.pending = $2) as is_more,
                      sum(of_class.later)::bigint as later, min(of_class.next_at) as next_at
                 from (values ('fresh'), ('retry'), ('quarantined'), ('bulk')) as class (name)
                cross join lateral (
                      select count(*) as pending, count(*) filter (where run_at > now()) as later,
                             min(run_at) filter (where run_at > now()) as next_at,
                             min(array[(extract(epoch from since) * 1000)::bigint, execution_id]) as oldest
                        from (select execution_id, since, run_at
                                from eventbridge.queue
                               where destination = wanted.name and queue.class = class.name
                               order by run_at, execution_id
                               limit $2) as waiting) as of_class) as counted
          left join lateral (
               select id from eventbridge.executions where id = oldest_retry[2] and error_class = $3
                limit 1) as at_block_limit on true
         order by wanted.name
        "#,
        instances,
        i64::from(BACKLOG_COUNTED_MAX),
        BLOCK_LIMIT
    )
    .fetch_all(pool)
    .await?;
    let backlog = rows.into_iter().map(|row| Backlog {
        destination: row.destination,
        pending: u64::try_from(row.pending).unwrap_or_default(),
        is_more: row.is_more,
        later: u64::try_from(row.later).unwrap_or_default(),
        next_at: row.next_at,
        oldest: row
            .oldest_ms
            .zip(row.oldest_execution)
            .map(|(waited, execution)| OldestPending { execution, waited: of_milliseconds(waited) }),
        at_block_limit: row
            .retry_ms
            .zip(row.at_block_limit)
            .map(|(waited, execution)| OldestPending { execution, waited: of_milliseconds(waited) }),
        paused_since: row.paused_since,
    });
    Ok(backlog.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances() -> Vec<String> {
        vec!["notion".to_owned()]
    }

    fn counted_in(took: Duration) -> LastCount {
        let last = LastCount::default();
        last.record(
            &instances(),
            Instant::now().checked_sub(took).expect("a machine that runs"),
            Some(Vec::new()),
        );
        last
    }

    #[test]
    fn only_a_count_that_took_long_is_kept_and_only_for_its_instances() {
        assert!(counted_in(QUICK / 2).of(&instances()).is_none());
        let slow = counted_in(QUICK * 2);
        assert!(slow.of(&instances()).is_some());
        assert!(slow.of(&["other".to_owned()]).is_none());
        slow.record(&instances(), Instant::now(), Some(Vec::new()));
        assert!(slow.of(&instances()).is_none(), "a quick one follows");
    }

    #[test]
    fn a_count_is_reported_until_it_is_too_old() {
        let last = counted_in(Duration::from_secs(2)).of(&instances()).expect("kept");
        assert_eq!(last.clone().within(Duration::from_secs(1)), Some(Vec::new()));
        let earlier = Instant::now().checked_sub(KEPT_MAX).expect("a machine that runs");
        assert_eq!(SlowCount { ended_at: earlier, ..last }.within(Duration::from_mins(1)), None);
    }
}
