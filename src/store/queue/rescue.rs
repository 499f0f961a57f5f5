//! Rescue: releases the leases of dead workers, and leases whose claim was never answered.

use super::{Fence, Queue, WorkerId};
use crate::domain::execution::ExecutionId;
use crate::domain::failure::{own_remedy, pattern};
use crate::store::db::{StoreError, milliseconds};
use std::time::Duration;

/// What the caller of a rescue knows.
#[derive(Debug, Clone, Copy)]
pub struct RescueScope<'a> {
    /// The time without a heartbeat after which a worker counts as dead. With `None`, no worker does.
    pub silence: Option<Duration>,
    /// The calling worker, if the caller is one.
    pub myself: Option<WorkerId>,
    /// The leases that the caller holds.
    pub held: &'a [Fence],
    /// Whether to look for orphans also if no worker has just died: leases whose worker is gone, and leases of
    /// the caller that it does not hold. This reads the whole table of leases.
    pub thorough: bool,
}

/// An execution whose lease was released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// The execution.
    pub id: ExecutionId,
    /// Its destination instance.
    pub destination: String,
    /// Whether it failed, since it crashed its worker too often while running alone. Otherwise it is
    /// pending.
    pub is_given_up: bool,
    /// Whether it had failed before, and was retried or replayed since.
    pub is_repeated: bool,
}

/// An execution fails after this number of crashes while it ran alone.
const CRASHES_ALONE_MAX: i32 = 3;

/// A lease of this age that its own worker does not know will never be known to it: the answer to the claim
/// was lost, because statements end sooner.
const UNKNOWN_LEASE_AFTER: Duration = Duration::from_mins(1);

/// Longer than any worker lives; keeps the interval within the range of Postgres.
const SILENCE_MAX: Duration = Duration::from_hours(10 * 365 * 24);

/// The reason of such a failure.
const GIVEN_UP: &str = "its worker crashed for the third time while delivering only this execution";

impl Queue {
    /// Removes workers without a heartbeat for `scope.silence`, and releases the leases that no worker
    /// holds. Each such execution is pending and due at once, and its last write is in doubt.
    pub async fn rescue(&self, scope: RescueScope<'_>) -> Result<Vec<Rescued>, StoreError> {
        let held: Vec<i64> = scope.held.iter().map(|fence| fence.0).collect();
        let rows = sqlx::query!(
            r#"
            with silent as (
                -- A locked row is left to the next round: it must not keep the others waiting.
                select id from eventbridge.workers
                 where heartbeat_at < now() - $1::bigint * interval '1 millisecond'
                   for update skip locked
            ), dead as (
                delete from eventbridge.workers
                 where id = any (array (select id from silent))
                returning id
            ), orphans as (
                select execution_id, fence
                  from eventbridge.leases
                 where ($9 or exists (select from dead))
                   and (worker_id in (select id from dead)
                        or not exists (select from eventbridge.workers where workers.id = leases.worker_id)
                        -- Leased by the one who asks and unknown to it: the answer to a claim was lost.
                        or (worker_id = $2 and leased_at < now() - $3::bigint * interval '1 millisecond'
                            and fence <> all ($4)))
                   for update skip locked
            ), released as (
                delete from eventbridge.leases
                 using orphans
                 where leases.execution_id = orphans.execution_id
                returning leases.execution_id, leases.fence, leases.leased_at, leases.alone, leases.row_version as attempted_version
            ), in_order as (
                -- In the order of all statements that lock many rows, so that there is no deadlock.
                select id, crashes_alone, row_version
                  from eventbridge.executions
                 where id = any (array (select execution_id from released))
                 order by id
                   for update
            ), rescued as (
                update eventbridge.executions
                   set status = case when given_up then 'failed' else 'pending' end,
                       started_at = leased_at,
                       finished_at = case when given_up then now() end,
                       crashes = crashes + 1,
                       crashes_alone = crashes_alone + alone::integer,
                       in_doubt_since = now(),
                       error_class = 'worker_lost',
                       failure_group = case when given_up then
                           eventbridge.failure_group_key(destination, 'worker_lost', $7) end,
                       reason = case when given_up
                                     then $6
                                     else 'its worker died or stalled; it is tried again, alone' end
                  from released
                  cross join lateral (
                       select in_order.crashes_alone + alone::integer >= $5
                              -- A newer version of its row may not crash.
                              and coalesce(in_order.row_version <= attempted_version, true) as given_up
                         from in_order
                        where in_order.id = released.execution_id) as decision
                 where executions.id = released.execution_id
                returning executions.*, released.fence
            ), queued as (
                insert into eventbridge.queue (execution_id, destination, class, lane, mode, since)
                select id, destination, 'quarantined', lane, mode, greatest(created_at, retried_at)
                  from rescued
                 where status = 'pending'
            ), grouped as (
                insert into eventbridge.failure_groups as known (key, destination, error_class, pattern, remedy)
                select distinct on (failure_group) failure_group, destination, 'worker_lost', $7, $8
                  from rescued
                 where failure_group is not null
                 order by failure_group
                on conflict (key) do update
                   set remedy = excluded.remedy
                 where known.remedy is distinct from excluded.remedy and excluded.remedy is not null
            ), recorded as (
                insert into eventbridge.attempts
                       (execution_id, fence, started_at, duration_ms, outcome, error_class, message)
                select id, fence, started_at,
                       least(extract(epoch from now() - started_at) * 1000, 2147483647)::integer,
                       'crashed', 'worker_lost', 'its worker died or stalled'
                  from rescued
            )
            select id as "id!", destination as "destination!", failure_group is not null as "is_given_up!",
                   coalesce(retries -> -1 -> 'ended' ? 'failed', false) as "is_repeated!"
              from rescued
            "#,
            milliseconds(scope.silence.map_or(SILENCE_MAX, |silence| silence.min(SILENCE_MAX))),
            scope.myself.map(|worker| worker.0),
            milliseconds(UNKNOWN_LEASE_AFTER),
            &held,
            CRASHES_ALONE_MAX,
            GIVEN_UP,
            pattern(GIVEN_UP),
            own_remedy("worker_lost"),
            scope.thorough
        )
        .fetch_all(&self.pool)
        .await?;
        let rescued = rows.into_iter().map(|row| Rescued {
            id: ExecutionId(row.id),
            destination: row.destination,
            is_given_up: row.is_given_up,
            is_repeated: row.is_repeated,
        });
        Ok(rescued.collect())
    }
}
