//! What nobody works on any more is freed: the leases of the dead, and those whose claim was lost.

use super::{Fence, Queue, WorkerId};
use crate::domain::execution::ExecutionId;
use crate::domain::failure::pattern;
use crate::store::db::{StoreError, milliseconds};
use std::time::Duration;

/// What a worker knows when it looks for executions that nobody works on.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// The silence after which a worker is taken for dead; none is where nothing is said.
    pub silence: Option<Duration>,
    /// The worker that looks, where it is one.
    pub myself: Option<WorkerId>,
    /// The leases that it knows to hold.
    pub held: &'a [Fence],
}

/// An execution that was freed from a worker that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// Which one.
    pub id: ExecutionId,
    /// Its destination instance.
    pub destination: String,
    /// Whether it was given up, having died alone too often; else it waits to be tried again.
    pub is_given_up: bool,
}

/// The crashes of a worker, with nothing beside it, after which an execution is given up.
const CRASHES_ALONE_MAX: i32 = 3;

/// A claim's answer is either there by then, or will never be: statements end sooner.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);

/// Longer than any worker lives; it keeps the interval within what Postgres can hold.
const SILENCE_MAX: Duration = Duration::from_hours(10 * 365 * 24);

/// What is said of an execution that is given up so.
const GIVEN_UP: &str = "its worker died with it for the third time while nothing ran beside it";

impl Queue {
    /// Buries workers that have not beaten for `watch.silence`, and frees what nobody works on: each
    /// such execution is pending again at once, marked as one whose write may have happened.
    pub async fn rescue(&self, watch: Watch<'_>) -> Result<Vec<Rescued>, StoreError> {
        let held: Vec<i64> = watch.held.iter().map(|fence| fence.0).collect();
        let rows = sqlx::query!(
            r#"
            with silent as (
                -- One whose row somebody holds is left to the next look: it must not keep the others waiting.
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
                 where worker_id in (select id from dead)
                    or not exists (select from eventbridge.workers where workers.id = leases.worker_id)
                    -- Leased by the one who asks and unknown to it: the answer to a claim was lost.
                    or (worker_id = $2 and leased_at < now() - $3::bigint * interval '1 millisecond'
                        and fence <> all ($4))
                   for update skip locked
            ), released as (
                delete from eventbridge.leases
                 using orphans
                 where leases.execution_id = orphans.execution_id
                returning leases.execution_id, leases.fence
            ), in_order as (
                -- As all who lock many of them, so that nobody waits in a circle.
                select id
                  from eventbridge.executions
                 where id = any (array (select execution_id from released))
                 order by id
                   for update
            ), rescued as (
                update eventbridge.executions
                   set status = case when given_up then 'failed' else 'pending' end,
                       run_at = now(),
                       finished_at = case when given_up then now() end,
                       crashes = crashes + 1,
                       crashes_alone = crashes_alone + ran_alone::integer,
                       in_doubt_since = now(),
                       error_class = 'worker_lost',
                       -- The same key as in `Store::group_failures`.
                       failure_group = case when given_up then
                           left(encode(sha256(convert_to(concat_ws(
                               chr(10), destination, 'worker_lost', $7::text), 'UTF8')), 'hex'), 16) end,
                       reason = case when given_up
                                     then $6
                                     else 'its worker died or stood still; it is tried again, alone' end
                  from released
                  cross join lateral (
                       select crashes_alone + ran_alone::integer >= $5 as given_up
                         from eventbridge.executions as before
                        where before.id = released.execution_id) as verdict
                 where executions.id = released.execution_id
                   and executions.id = any (array (select id from in_order))
                returning executions.id, released.fence, started_at, failure_group, destination
            ), grouped as (
                insert into eventbridge.failure_groups (key, destination, error_class, pattern)
                select distinct on (failure_group) failure_group, destination, 'worker_lost', $7
                  from rescued
                 where failure_group is not null
                 order by failure_group
                on conflict do nothing
            ), recorded as (
                insert into eventbridge.attempts
                       (execution_id, fence, started_at, duration_ms, outcome, error_class, message)
                select id, fence, started_at,
                       least(extract(epoch from now() - started_at) * 1000, 2147483647)::integer,
                       'crashed', 'worker_lost', 'its worker died or stood still'
                  from rescued
            )
            select id as "id!", destination as "destination!", failure_group is not null as "is_given_up!"
              from rescued
            "#,
            milliseconds(watch.silence.map_or(SILENCE_MAX, |silence| silence.min(SILENCE_MAX))),
            watch.myself.map(|worker| worker.0),
            milliseconds(FORGOTTEN_AFTER),
            &held,
            CRASHES_ALONE_MAX,
            GIVEN_UP,
            pattern(GIVEN_UP)
        )
        .fetch_all(&self.pool)
        .await?;
        let rescued = rows.into_iter().map(|row| Rescued {
            id: ExecutionId(row.id),
            destination: row.destination,
            is_given_up: row.is_given_up,
        });
        Ok(rescued.collect())
    }
}
