//! Lanes in object mode: of the executions of one object at one instance, only the newest state is written.

use super::{EndedAttempt, Fence, Queue};
use crate::domain::delivery::Remote;
use crate::domain::event::StoredEvent;
use crate::domain::execution::{Change, ExecutionId};
use crate::domain::failure::pattern;
use crate::store::db::{StoreError, milliseconds, value_without_nul, whole_milliseconds, without_nul};
use crate::store::events::stored_event;
use serde_json::Value;
use std::collections::HashSet;

/// The most executions that are considered of those that follow the claimed one in its lane.
const FOLLOWING_MAX: i64 = 200;

/// The most of the newest executions of a lane that are considered. Among them are those with which the order
/// of states of the same second is decided; a busy lane reads as many each time.
const NEWEST_MAX: i64 = 50;

/// The most bytes of bodies that are compared at once: hundreds of usual ones. The worker reserves as many for
/// each object.
const BYTES_MAX: i64 = 512 * 1024;

/// One state of a lane's object.
#[derive(Debug, Clone)]
pub struct LaneState {
    /// Its execution.
    pub execution: ExecutionId,
    /// Whether it is still open: to be written or superseded.
    pub is_open: bool,
    /// Whether it is pending because an operator requested a retry.
    pub is_asked_for: bool,
    /// The event.
    pub event: StoredEvent,
}

/// What an instance shows of an object: the last written state.
#[derive(Debug, Clone)]
pub struct RemoteObject {
    /// The execution that wrote it.
    pub execution: ExecutionId,
    /// The object's entry, if the destination has ids for entries.
    pub remote: Option<Remote>,
    /// What was last written to it.
    pub written: Option<Value>,
}

/// The result of an attempt for a lane: for its head and the states behind it.
#[derive(Debug, Clone)]
pub struct CompletedLane {
    /// How the attempt of the head ended.
    pub head: EndedAttempt,
    /// The lane.
    pub lane: String,
    /// The execution whose state is the newest.
    pub newest: ExecutionId,
    /// What happened to that state.
    pub fate: Fate,
}

/// What happened to the newest state.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It was written, and supersedes these.
    Shown {
        /// What the object's page shows now.
        object: RemoteObject,
        /// The open executions whose states are older.
        superseded: Vec<ExecutionId>,
    },
    /// It had been written before, and supersedes these.
    ShownBefore {
        /// The open executions whose states are older.
        superseded: Vec<ExecutionId>,
    },
    /// The destination refuses it permanently; the others are tried again without it.
    Refused,
}

impl CompletedLane {
    /// The same result without the destination's texts, in case the database refuses these. What was written
    /// is then unknown, so the next state is written whole.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        let mut bare = Self { head: self.head.without_texts(), ..self.clone() };
        if let Fate::Shown { object, .. } = &mut bare.fate {
            if let Some(remote) = &mut object.remote {
                remote.url = None;
            }
            object.written = None;
        }
        bare
    }
}

impl Queue {
    /// The states of a claimed execution's object to compare: its own, those that wait with it, the one that
    /// is shown, and those of the last second that were delivered or superseded.
    ///
    /// Of the lane's executions it considers the 50 newest and the 200 after the claimed one. It returns
    /// its own, the one that is shown, and others as long as they have 512 KiB together. Further open ones follow
    /// in the next attempts.
    pub async fn lane_states(&self, lane: &str, claimed: ExecutionId) -> Result<Vec<LaneState>, StoreError> {
        let rows = sqlx::query!(
            r#"
            with candidates as (
                select $2::bigint as id
                union
                (select execution_id from eventbridge.remote_objects where lane = $1 order by fence desc limit 1)
                union
                (select id from eventbridge.executions where lane = $1 order by id desc limit $3)
                union
                -- The oldest that waits is claimed first; these wait with it.
                (select id from eventbridge.executions where lane = $1 and id > $2 order by id limit $5)
            ), known as (
                select executions.id, event_key, status = 'pending' as is_open, retried_at,
                       -- An impossible time, as in StoredEvent::happened_at.
                       case when created > received_at + interval '3650 days' then received_at else created end
                           as created,
                       executions.id = (select execution_id from eventbridge.remote_objects
                                         where remote_objects.lane = $1 order by fence desc limit 1) as is_shown,
                       carries_state,
                       octet_length(payload) as bytes
                  from eventbridge.executions
                  join eventbridge.events on events.id = executions.event_key
                 where executions.id = any (array (select id from candidates))
                   -- Its own in whatever state: what is asked for may have come to its end.
                   and (status in ('pending', 'success', 'superseded') or executions.id = $2)
                   and payload_removed_at is null
            ), compared as (
                select id, event_key, is_open, is_shown, is_open and retried_at is not null as is_asked_for,
                       sum(bytes) over by_weight - bytes as bytes_before
                  from known
                 where is_open or is_shown or created is null
                    -- The time of an event without a state does not order states.
                    or created >= (select date_trunc('second', max(created)) from known where carries_state)
                window by_weight as (order by (id = $2) desc, is_shown desc nulls last, is_open desc, id desc)
            )
            select compared.id as "execution!", is_open as "is_open!",
                   is_asked_for as "is_asked_for!", events.id as "event_key!", source,
                   event_id, type as event_type, object_id, object_type, account, livemode, api_version,
                   created, carries_state, received_at, payload
              from compared
              join eventbridge.events on events.id = compared.event_key
             where bytes_before < $4 or is_shown
             order by compared.id
            "#,
            lane,
            claimed.0,
            NEWEST_MAX,
            BYTES_MAX,
            FOLLOWING_MAX
        )
        .fetch_all(&self.pool)
        .await?;
        let states = rows.into_iter().map(|row| LaneState {
            execution: ExecutionId(row.execution),
            is_open: row.is_open,
            is_asked_for: row.is_asked_for,
            event: stored_event!(row),
        });
        Ok(states.collect())
    }

    /// What the instance shows of a lane's object, if anything.
    pub async fn remote_object(&self, lane: &str) -> Result<Option<RemoteObject>, StoreError> {
        let row = sqlx::query!(
            r#"
            select execution_id, remote_id, remote_url, remote_place, written
              from eventbridge.remote_objects
             where lane = $1
             order by fence desc
             limit 1
            "#,
            lane
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| RemoteObject {
            execution: ExecutionId(row.execution_id),
            remote: row.remote_id.map(|id| Remote { id, url: row.remote_url, place: row.remote_place }),
            written: row.written,
        }))
    }

    /// Those of these remote ids that the instance wrote for another lane.
    pub async fn owned_by_other_lanes(
        &self,
        destination: &str,
        lane: &str,
        remote_ids: &[String],
    ) -> Result<HashSet<String>, StoreError> {
        let ids = sqlx::query_scalar!(
            r#"
            select distinct remote_id as "remote_id!"
              from eventbridge.executions
             where remote_id = any ($1) and destination = $2 and lane <> $3
            "#,
            remote_ids,
            destination,
            lane
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().collect())
    }

    /// Completes a lane's head, the executions that its newest state supersedes, and what is shown of the
    /// object, in one statement under the head's lease. Returns `false` if the lease was lost; nothing is
    /// changed then.
    ///
    /// If a person cancelled the newest state or erased its event while it was written, it keeps its status;
    /// its reason says that it is shown.
    pub async fn complete_lane(&self, completed: &CompletedLane) -> Result<bool, StoreError> {
        let CompletedLane { head, lane, newest, fate } = completed;
        let (shown, superseded) = match fate {
            Fate::Shown { object, superseded } => (Some(object), superseded.as_slice()),
            Fate::ShownBefore { superseded } => (None, superseded.as_slice()),
            Fate::Refused => return self.refuse_in_lane(head, *newest).await,
        };
        let remote = shown.and_then(|shown| shown.remote.as_ref());
        let Fence(fence) = head.fence;
        let superseded: Vec<i64> = superseded.iter().map(|id| id.0).collect();
        let released = sqlx::query_scalar!(
            r#"
            with released as (
                delete from eventbridge.leases
                 where execution_id = $1 and fence = $2
                returning execution_id
            ), locked as (
                -- In the order of all statements that lock many rows, so that there is no deadlock. What a person
                -- did to them meanwhile is seen.
                select executions.id,
                       status = any ($15) and exists (select from eventbridge.events
                                                       where events.id = event_key
                                                         and payload_removed_at is null) as may_succeed
                  from eventbridge.executions
                 where executions.id = any (array_append($4::bigint[], $3::bigint)) and exists (select from released)
                 order by executions.id
                   for update
            ), newest as (
                select * from locked where id = $3 and $5
            ), delivered as (
                update eventbridge.executions
                   set status = case when may_succeed then 'success' else status end,
                       reason = case when may_succeed then $16
                                     else concat_ws('; ', reason, 'its state was on its way already, and is shown') end,
                       error_class = null,
                       response_code = $6, duration_ms = $7, remote_id = $8, remote_url = $9, remote_place = $14,
                       in_doubt_since = null, crashes = 0, crashes_alone = 0, superseded_by = null,
                       started_at = coalesce(started_at, now()), finished_at = now()
                  from newest
                 where executions.id = newest.id
                returning executions.id, started_at
            ), superseded as (
                update eventbridge.executions
                   set status = 'superseded', superseded_by = $3, error_class = null,
                       reason = 'a newer state of its object was written: execution ' || $3::bigint,
                       in_doubt_since = null, crashes = 0, crashes_alone = 0, finished_at = now()
                 where id = any (array (select id from locked)) and id <> $3 and status = 'pending'
                returning id
            ), dequeued as (
                delete from eventbridge.queue
                 where ctid = any (array (
                       select found_at
                         from (select id from superseded union all select id from delivered) as ended
                        cross join lateral (select ctid as found_at from eventbridge.queue
                                             where execution_id = ended.id limit 1) as waiting))
            ), settled as (
                -- Whatever was in doubt was waited for, and then all was written.
                update eventbridge.executions
                   set in_doubt_since = null
                 where lane = $10 and in_doubt_since is not null and $5
                   and id <> $3 and id <> all ($4) and exists (select from released)
            ), replaced as (
                delete from eventbridge.remote_objects
                 where $5 and exists (select from released)
                   and (lane, fence) = (select lane, fence from eventbridge.remote_objects
                                         where lane = $10 order by fence desc limit 1)
            ), shown as (
                insert into eventbridge.remote_objects
                       (lane, fence, remote_id, remote_url, remote_place, execution_id, written)
                -- If it was cancelled or erased meanwhile, nothing of it is kept; the next state is written in full.
                select $10, $2, $8, $9, $14, $3,
                       case when exists (select from newest where may_succeed) then $11::jsonb end
                 where $5 and exists (select from released)
            ), recorded as (
                insert into eventbridge.attempts
                       (execution_id, fence, started_at, duration_ms, outcome, response_code, message, request_id)
                select id, $2, now() - $12::bigint * interval '1 millisecond', $7, 'delivered', $6, $16, $13
                  from delivered
            )
            select exists (select from released) as "released!"
            "#,
            head.execution.0,
            fence,
            newest.0,
            &superseded,
            shown.is_some(),
            head.response_code.map(i32::from),
            whole_milliseconds(head.duration),
            remote.map(|remote| without_nul(&remote.id)),
            remote.and_then(|remote| remote.url.as_deref()).map(without_nul),
            lane,
            shown.and_then(|shown| shown.written.as_ref()).map(value_without_nul),
            milliseconds(head.duration),
            head.request_id.as_deref().map(without_nul),
            remote.and_then(|remote| remote.place.as_deref()).map(without_nul),
            &Change::Deliver.allowed_from_words(),
            head.message.as_deref().map(without_nul)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(released)
    }

    /// Fails the newest state, which is not the head's own, and makes the head due at once.
    ///
    /// If the newest state was delivered earlier or superseded, it stays as it is and would be the newest
    /// again in every attempt. Then the head fails.
    async fn refuse_in_lane(&self, head: &EndedAttempt, newest: ExecutionId) -> Result<bool, StoreError> {
        let Fence(fence) = head.fence;
        let released = sqlx::query_scalar!(
            r#"
            with released as (
                delete from eventbridge.leases
                 where execution_id = $1 and fence = $2
                returning execution_id
            ), given_up as (
                select case when status in ('success', 'superseded') then $1 else id end as id
                  from eventbridge.executions
                 where id = $3 and exists (select from released)
            ), refused as (
                update eventbridge.executions
                   set status = 'failed', attempts = attempts + 1, reason = $4, error_class = $5,
                       response_code = $6, duration_ms = $7, crashes = 0, crashes_alone = 0,
                       failure_group = eventbridge.failure_group_key(destination, $5, $10),
                       started_at = coalesce(started_at, now()), finished_at = now()
                 where id = (select id from given_up) and status = 'pending'
                returning id, failure_group, destination
            ), dequeued as (
                delete from eventbridge.queue where execution_id = (select id from refused)
            ), grouped as (
                insert into eventbridge.failure_groups as known (key, destination, error_class, pattern, remedy)
                select failure_group, destination, $5::text, $10, $11 from refused
                on conflict (key) do update
                   set remedy = excluded.remedy
                 where known.remedy is distinct from excluded.remedy and excluded.remedy is not null
            ), again as (
                update eventbridge.executions
                   set crashes = 0, crashes_alone = 0
                 where id = $1 and exists (select from released)
                   and not exists (select from given_up where given_up.id = $1)
                returning *
            ), queued as (
                insert into eventbridge.queue (execution_id, destination, lane, mode, since)
                select id, destination, lane, mode, greatest(created_at, retried_at) from again
            ), recorded as (
                insert into eventbridge.attempts
                       (execution_id, fence, started_at, duration_ms, outcome, response_code, error_class,
                        message, request_id)
                select id, $2, now() - $8::bigint * interval '1 millisecond', $7, 'permanent', $6, $5, $4, $9
                  from refused
            )
            select exists (select from released) as "released!"
            "#,
            head.execution.0,
            fence,
            newest.0,
            head.message.as_deref().map(without_nul),
            head.error_class.as_deref().map(without_nul),
            head.response_code.map(i32::from),
            whole_milliseconds(head.duration),
            milliseconds(head.duration),
            head.request_id.as_deref().map(without_nul),
            pattern(head.message.as_deref().unwrap_or_default()),
            head.remedy.as_deref().map(without_nul)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(released)
    }
}
