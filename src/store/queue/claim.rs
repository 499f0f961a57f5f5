//! Claiming: a worker leases as many due executions as it has free slots.

use super::{Fence, Queue, WorkerId};
use crate::domain::delivery::Remote;
use crate::domain::event::StoredEvent;
use crate::domain::execution::{ExecutionId, Mode, UnknownMode};
use crate::store::db::{StoreError, of_milliseconds};
use crate::store::events::stored_event;
use std::time::Duration;

/// A leased execution, with everything that its delivery needs.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The execution.
    pub id: ExecutionId,
    /// The fence of its lease.
    pub fence: Fence,
    /// The destination instance.
    pub destination: String,
    /// The delivery mode.
    pub mode: Mode,
    /// The lane that it heads, if any; the lease covers the lane too.
    pub lane: Option<String>,
    /// The number of failed attempts.
    pub attempts: u32,
    /// What an earlier delivery wrote, if any.
    pub remote: Option<Remote>,
    /// How long ago a write in doubt began, if there was one.
    pub in_doubt: Option<Duration>,
    /// How long ago the event was received.
    pub age: Duration,
    /// Whether an operator requested this attempt, alone or in a bulk operation.
    pub is_manual: bool,
    /// The event.
    pub event: StoredEvent,
}

/// What a worker asks for in one claim.
#[derive(Debug, Clone, Copy)]
pub struct ClaimRequest<'a> {
    /// The destination instances.
    pub destinations: &'a [String],
    /// The most executions.
    pub limit: u32,
    /// Slots of each instance, in the order of `destinations`. An instance without a number may use all.
    pub own: &'a [i64],
    /// Slots beyond these, for any instance that has more due executions.
    pub shared: i64,
    /// Slots for late retries, if there are any.
    pub late: u32,
    /// Whether free slots go to executions of bulk operations.
    pub bulk: bool,
    /// Claims only quarantined executions, which may have crashed a worker and run alone.
    pub quarantined: bool,
    /// Also claims this canary, though its instance is paused: it shows whether the instance works again.
    pub canary: Option<ExecutionId>,
}

impl<'a> ClaimRequest<'a> {
    /// An empty request for these instances.
    pub fn nothing(destinations: &'a [String]) -> Self {
        Self {
            destinations,
            limit: 0,
            own: &[],
            shared: 0,
            late: 0,
            bulk: false,
            quarantined: false,
            canary: None,
        }
    }
}

/// The most executions, and the most lanes, of an instance that one claim examines.
pub(super) const LOOKED_THROUGH_MAX: i64 = 1000;

impl Queue {
    /// Claims and leases up to `request.limit` due executions.
    ///
    /// Instances take turns, however large the backlog of one of them is. Fresh work goes first, but
    /// `request.late` slots are for late retries. Executions of bulk operations follow if `request.bulk` is
    /// set. Quarantined executions are claimed alone. Nothing is claimed for a paused instance, nor by a
    /// worker that is not registered (any more).
    ///
    /// Within a lane too, executions of bulk operations come after all others. So a replay delays no new
    /// event of its object, and an older state that it brings back is superseded.
    ///
    /// The claim examines the oldest executions of each instance. If so many of them wait behind the heads
    /// of their lanes that slots stay free, it also examines lanes, from a random one on. So the cost of a
    /// claim is bounded, and every lane gets its turn, however large the backlog is.
    pub async fn claim(
        &self,
        worker: WorkerId,
        request: ClaimRequest<'_>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let limit = i64::from(request.limit);
        let classes = if request.quarantined {
            vec![("quarantined", limit)]
        } else {
            let bulk = if request.bulk { limit } else { 0 };
            vec![("retry", i64::from(request.late).min(limit)), ("fresh", limit), ("bulk", bulk)]
        };
        let (names, most): (Vec<_>, Vec<_>) = classes.into_iter().unzip();
        let rows = sqlx::query!(
            r#"
            with recursive alive as (
                -- Locked until the claim ends, so that no process declares the worker dead meanwhile. Read only
                -- once there is something to lease, because to lock a row is to write.
                select id from eventbridge.workers where id = $1 for key share
            ), working as (
                select wanted.name as destination, coalesce(wanted.own, $3) as own
                  from unnest($2::text[], $10::bigint[]) as wanted (name, own)
                 where not exists (select from eventbridge.destinations
                                    where destinations.name = wanted.name and paused_since is not null)
            ), class as (
                select * from unnest($4::text[], $5::bigint[]) with ordinality as class (name, most, place)
            ), by_age as (
                select working.destination, due.id, due.lane, due.run_at, place
                  from working
                 cross join class
                 cross join lateral (
                       select executions.id, executions.lane, executions.run_at
                         from (select id, lane, run_at, in_bulk
                                 from eventbridge.executions
                                where status = 'pending' and destination = working.destination
                                  and case when crashes > 0 then 'quarantined' when attempts > 0 then 'retry'
                                           when in_bulk then 'bulk' else 'fresh' end = class.name
                                  and run_at <= now()
                                order by run_at, id
                                limit $7) as oldest
                         join eventbridge.executions using (id)
                        where executions.status = 'pending'
                          and (oldest.lane is null
                               or not exists (select from eventbridge.leases where leases.lane = oldest.lane)
                              and not exists (select from eventbridge.executions as earlier
                                               where earlier.status = 'pending'
                                                 and earlier.destination = working.destination
                                                 and hashtextextended(earlier.lane, 0) = hashtextextended(oldest.lane, 0)
                                                 and earlier.lane = oldest.lane
                                                 -- What a replay brings back holds up nothing of today.
                                                 and (earlier.in_bulk, earlier.id) < (oldest.in_bulk, oldest.id)))
                        order by oldest.run_at, oldest.id
                        limit class.most
                          for update of executions skip locked) as due
            ), crowded as (
                select destination
                  from working
                 where (select count(*) from by_age where by_age.destination = working.destination) < $3
                   and (select count(*)
                          from (select from eventbridge.executions
                                 where status = 'pending' and executions.destination = working.destination
                                   and lane is not null
                                 limit $7) as in_lanes) = $7
            ), lanes as (
                -- By their hashes, from one of them upwards and from the lowest up to it: all the way round.
                select crowded.destination, span.upper, first.hash, first.lane
                  from crowded
                 cross join (values ($6, 9223372036854775807), (-9223372036854775808, $6)) as span (lower, upper)
                 cross join lateral (
                       select hashtextextended(lane, 0) as hash, lane
                         from eventbridge.executions
                        where status = 'pending' and destination = crowded.destination and lane is not null
                          and hashtextextended(lane, 0) between span.lower and span.upper
                        order by hashtextextended(lane, 0), lane
                        limit 1) as first
                union all
                select lanes.destination, lanes.upper, next.hash, next.lane
                  from lanes
                 cross join lateral (
                       select hashtextextended(lane, 0) as hash, lane
                         from eventbridge.executions
                        where status = 'pending' and destination = lanes.destination and lane is not null
                          and (hashtextextended(lane, 0), lane) > (lanes.hash, lanes.lane)
                          and hashtextextended(lane, 0) <= lanes.upper
                        order by hashtextextended(lane, 0), lane
                        limit 1) as next
            ), by_lane as (
                select lanes.destination, executions.id, executions.lane, executions.run_at, class.place
                  from (select * from lanes limit $7) as lanes
                 cross join lateral (
                       select id, run_at, case when crashes > 0 then 'quarantined' when attempts > 0 then 'retry'
                                               when in_bulk then 'bulk' else 'fresh' end as class
                         from eventbridge.executions
                        where status = 'pending' and destination = lanes.destination
                          and hashtextextended(lane, 0) = lanes.hash and executions.lane = lanes.lane
                        order by in_bulk, id
                        limit 1) as head
                  join class on class.name = head.class and class.most > 0
                  join eventbridge.executions on executions.id = head.id and executions.status = 'pending'
                 where head.run_at <= now()
                   and not exists (select from eventbridge.leases where leases.lane = lanes.lane)
                 limit $3
                   for update of executions skip locked
            ), found as (
                -- Of its class and instance the first, second, and so on, and how many may come before it.
                select all_found.*, own,
                       row_number() over (partition by destination, place order by run_at, id) as in_own
                  from (select * from by_age union select * from by_lane) as all_found
                  join working using (destination)
            ), fitting as (
                -- Late retries take no more room than is meant for them, and first where there is any of their own.
                select found.*,
                       row_number() over (partition by place order by in_own > own, in_own, run_at, id) as in_class
                  from found
            ), in_turn as (
                -- Its instance's first, second, and so on: the firsts of all instances come before any second.
                select destination, id, lane, run_at, place, own,
                       row_number() over (partition by destination order by place, run_at, id) as turn
                  from fitting
                  join class using (place)
                 where name <> 'retry' or in_class <= most
            ), shared_out as (
                select in_turn.*,
                       row_number() over (partition by turn > own order by place, turn, run_at, id) as in_part
                  from in_turn
            ), seated as (
                select shared_out.*,
                       row_number() over (partition by place order by turn, run_at, id) as in_class
                  from shared_out
                 where turn <= own or in_part <= $11
            ), chosen as (
                select seated.id, seated.lane
                  from seated
                  join class using (place)
                 where in_class <= most
                 order by place, turn, run_at, id
                 limit $3
            ), canary as (
                select id, lane
                  from eventbridge.executions
                 where id = $9 and status = 'pending' and crashes = 0 and run_at <= now()
                   and destination = any ($2)
                   and not exists (select from eventbridge.destinations
                                    where name = destination and paused_class = 'manual')
                   and (lane is null
                        or not exists (select from eventbridge.leases where leases.lane = executions.lane)
                       and not exists (select from eventbridge.executions as earlier
                                        where earlier.status = 'pending'
                                          and earlier.destination = executions.destination
                                          and hashtextextended(earlier.lane, 0) = hashtextextended(executions.lane, 0)
                                          and earlier.lane = executions.lane
                                          and (earlier.in_bulk, earlier.id) < (executions.in_bulk, executions.id)))
                   for update skip locked
            ), leased as (
                insert into eventbridge.leases (execution_id, lane, worker_id)
                select id, lane, worker_id
                  from (select id, lane, (select id from alive) as worker_id
                          from (select * from chosen union select * from canary) as due
                        -- Else the worker would be looked at beforehand.
                        offset 0) as due
                 where worker_id is not null
                on conflict do nothing
                returning execution_id, fence
            ), claimed as (
                -- By an array, here and below: a join may read the whole of a large table instead.
                update eventbridge.executions
                   set status = 'running', started_at = now(), reason = null, ran_alone = $8
                 where id = any (array (select execution_id from leased))
                returning id, event_key, destination, mode, lane, attempts, run_at,
                          remote_id, remote_url, remote_place, in_doubt_since, retried_at
            )
            select claimed.id as "id!", fence as "fence!", destination as "destination!",
                   mode as "mode!", lane,
                   attempts as "attempts!", remote_id, remote_url, remote_place,
                   retried_at is not null as "is_manual!",
                   -- In a lane a write in doubt concerns whoever is next, whichever execution made it.
                   (extract(epoch from now() - case
                       when lane is null then in_doubt_since
                       else (select max(of_lane.in_doubt_since) from eventbridge.executions as of_lane
                              where of_lane.lane = claimed.lane and of_lane.in_doubt_since is not null)
                    end) * 1000)::bigint as in_doubt_ms,
                   (extract(epoch from now() - received_at) * 1000)::bigint as "age_ms!",
                   events.id as "event_key!", source, event_id, type as event_type, object_id,
                   object_type, account, livemode, api_version, created, carries_state, received_at, payload
              from claimed
              join leased on leased.execution_id = claimed.id
             -- One look by key for each: as a plain join it compares every claimed one with every event.
             cross join lateral (
                   select * from eventbridge.events where events.id = claimed.event_key limit 1) as events
             order by run_at, claimed.id
            "#,
            worker.0,
            request.destinations,
            limit,
            &names as _,
            &most,
            // Any value will do, as long as it differs each time.
            rand::random::<i64>(),
            LOOKED_THROUGH_MAX,
            request.quarantined,
            request.canary.map(|id| id.0),
            request.own,
            request.shared
        )
        .fetch_all(&self.pool)
        .await?;
        let claimed = rows.into_iter().map(|row| {
            let unknown = |error: UnknownMode| StoreError::Unexpected(error.to_string());
            Ok(Claimed {
                id: ExecutionId(row.id),
                fence: Fence(row.fence),
                destination: row.destination,
                lane: row.lane,
                mode: row.mode.parse().map_err(unknown)?,
                attempts: u32::try_from(row.attempts).unwrap_or_default(),
                remote: row.remote_id.map(|id| Remote { id, url: row.remote_url, place: row.remote_place }),
                in_doubt: row.in_doubt_ms.map(of_milliseconds),
                age: of_milliseconds(row.age_ms),
                is_manual: row.is_manual,
                event: stored_event!(row),
            })
        });
        claimed.collect()
    }

    /// Whether a quarantined execution can be claimed for one of these instances. An execution behind the
    /// head of its lane cannot, nor one whose lane is leased.
    pub async fn has_quarantined(&self, destinations: &[String]) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar!(
            r#"
            select exists (
                select from eventbridge.executions
                 where status = 'pending' and destination = any($1)
                   and case when crashes > 0 then 'quarantined' when attempts > 0 then 'retry'
                            when in_bulk then 'bulk' else 'fresh' end = 'quarantined'
                   and run_at <= now()
                   and not exists (select from eventbridge.destinations
                                    where destinations.name = executions.destination and paused_since is not null)
                   and (lane is null
                        or not exists (select from eventbridge.leases where leases.lane = executions.lane)
                       and not exists (select from eventbridge.executions as earlier
                                        where earlier.status = 'pending'
                                          and earlier.destination = executions.destination
                                          and hashtextextended(earlier.lane, 0) = hashtextextended(executions.lane, 0)
                                          and earlier.lane = executions.lane
                                          and (earlier.in_bulk, earlier.id) < (executions.in_bulk, executions.id)))
            ) as "found!"
            "#,
            destinations
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(found)
    }
}
