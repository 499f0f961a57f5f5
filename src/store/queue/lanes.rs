//! Lanes in object mode: of the executions of one object at one instance, only the newest state is written.

use super::Queue;
use crate::domain::delivery::Remote;
use crate::domain::event::StoredEvent;
use crate::domain::execution::ExecutionId;
use crate::store::db::StoreError;
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
                select id, event_key, status, retried_at from eventbridge.executions where id = $2
                union
                select id, event_key, status, retried_at from eventbridge.executions
                 where id = (select execution_id from eventbridge.remote_objects where lane = $1 order by fence desc limit 1)
                union
                (select id, event_key, status, retried_at from eventbridge.executions
                  where lane = $1 order by id desc limit $3)
                union
                -- The oldest that waits is claimed first; these wait with it.
                (select id, event_key, status, retried_at from eventbridge.executions
                  where lane = $1 and id > $2 order by id limit $5)
            ), known as (
                select candidates.id, event_key, status = 'pending' as is_open, retried_at,
                       -- An impossible time, as in StoredEvent::happened_at.
                       case when created > received_at + case when livemode then interval '1 day' else interval '3650 days' end
                            then received_at else created end as created,
                       candidates.id = (select execution_id from eventbridge.remote_objects
                                         where remote_objects.lane = $1 order by fence desc limit 1) as is_shown,
                       carries_state,
                       octet_length(payload) as bytes
                  from candidates
                  join eventbridge.events on events.id = event_key
                 -- Its own in whatever state: what is asked for may have come to its end.
                 where (status in ('pending', 'success', 'superseded') or candidates.id = $2)
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
}
