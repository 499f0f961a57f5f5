//! Completing lanes: one statement records the results of attempts in many lanes and releases their leases.

use super::{EndedAttempt, Queue, Recorded, RemoteObject};
use crate::domain::delivery::Remote;
use crate::domain::execution::{Change, ExecutionId};
use crate::domain::failure::pattern;
use crate::store::db::{StoreError, value_without_nul, whole_milliseconds, without_nul};

/// The result of an attempt for a lane: for its head and the states behind it.
#[derive(Debug, Clone)]
pub struct CompletedLane {
    /// How the attempt of the head ended.
    pub head: EndedAttempt,
    /// The lane.
    pub lane: String,
    /// The execution whose state is the newest.
    pub newest: ExecutionId,
    /// The open executions whose states are older: the newest supersedes them.
    pub superseded: Vec<ExecutionId>,
    /// What the object's page shows now; none if the newest state had been written before.
    pub shown: Option<RemoteObject>,
}

impl CompletedLane {
    /// The same result without the destination's texts, in case the database refuses these. What was written
    /// is then unknown, so the next state is written whole.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        let mut bare = Self { head: self.head.without_texts(), ..self.clone() };
        if let Some(shown) = &mut bare.shown {
            if let Some(remote) = &mut shown.remote {
                remote.url = None;
            }
            shown.written = None;
        }
        bare
    }

    fn remote(&self) -> Option<&Remote> {
        self.shown.as_ref()?.remote.as_ref()
    }
}

/// The result of an attempt for a lane whose newest state the destination refuses permanently. The states
/// behind it are tried again without it.
#[derive(Debug, Clone)]
pub struct RefusedState {
    /// How the attempt of the head ended.
    pub head: EndedAttempt,
    /// The execution whose state is the newest.
    pub newest: ExecutionId,
}

impl RefusedState {
    /// The same result without the destination's texts, in case the database refuses these.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        Self { head: self.head.without_texts(), newest: self.newest }
    }
}

impl Queue {
    /// Completes the heads of lanes, the executions that their newest states supersede, and what is shown of
    /// the objects, in one statement under the leases of the heads.
    ///
    /// Returns the heads that changed, each with whether its newest state had been delivered before. One whose lease
    /// was lost is not among them, and nothing of its lane changes.
    ///
    /// If a person cancelled a newest state or erased its event while it was written, it keeps its status;
    /// its reason says that it is shown.
    pub async fn complete_lanes(&self, batch: &[CompletedLane]) -> Result<Recorded, StoreError> {
        let text = |value: fn(&CompletedLane) -> Option<&str>| -> Vec<Option<String>> {
            batch.iter().map(|lane| value(lane).map(without_nul)).collect()
        };
        let written = |lane: &CompletedLane| lane.shown.as_ref()?.written.as_ref().map(value_without_nul);
        let (heads, superseded): (Vec<i64>, Vec<i64>) = batch
            .iter()
            .flat_map(|lane| lane.superseded.iter().map(|id| (lane.head.execution.0, id.0)))
            .unzip();
        let rows = sqlx::query!(
            r#"
            with ended as (
                select * from unnest(
                    $1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bool[], $6::text[], $7::text[],
                    $8::text[], $9::jsonb[], $10::integer[], $11::integer[], $12::text[], $13::text[]
                ) as ended (head, fence, lane, newest, is_shown, remote_id, remote_url,
                            remote_place, written, duration_ms, response_code, request_id, message)
            ), released as (
                -- One by one, and deleted by their places, as in the completion of single executions.
                select ended.*, found_at, leased_at
                  from ended
                 cross join lateral (
                       select ctid as found_at, leased_at
                         from eventbridge.leases
                        where leases.execution_id = ended.head and leases.fence = ended.fence
                        limit 1
                          for update) as lease
            ), deleted as (
                delete from eventbridge.leases where ctid = any (array (select found_at from released))
            ), states as (
                select newest as id, newest from released
                union
                select older.id, newest
                  from released
                  join unnest($14::bigint[], $15::bigint[]) as older (head, id) using (head)
            ), doubtful as (
                -- Whatever was in doubt was waited for, and then all was written.
                select id from eventbridge.executions
                 where lane = any (array (select lane from released where is_shown)) and in_doubt_since is not null
            ), locked as (
                -- In the order of all statements that lock many rows, so that there is no deadlock. What a person
                -- did to them meanwhile is seen.
                select executions.id,
                       status = any ($16) and exists (select from eventbridge.events
                                                       where events.id = event_key
                                                         and payload_removed_at is null) as may_succeed,
                       status = 'success' or coalesce(retries -> -1 -> 'ended' ? 'success', false) as was_delivered
                  from eventbridge.executions
                 where executions.id = any (array (select id from states union all select id from doubtful))
                 order by executions.id
                   for update
            ), newest as (
                select released.*, may_succeed, was_delivered from released join locked on locked.id = newest where is_shown
            ), delivered as (
                update eventbridge.executions
                   set status = case when may_succeed then 'success' else status end,
                       reason = case when may_succeed then message
                                     else concat_ws('; ', reason, 'its state was on its way already, and is shown') end,
                       error_class = null,
                       response_code = newest.response_code, duration_ms = newest.duration_ms,
                       remote_id = newest.remote_id, remote_url = newest.remote_url,
                       remote_place = newest.remote_place,
                       in_doubt_since = null, crashes = 0, crashes_alone = 0, superseded_by = null,
                       started_at = leased_at, finished_at = now()
                  from newest
                 where executions.id = newest.newest
                returning executions.id
            ), superseded as (
                update eventbridge.executions
                   set status = 'superseded', superseded_by = newest, error_class = null,
                       reason = 'a newer state of its object was written: execution ' || newest,
                       in_doubt_since = null, crashes = 0, crashes_alone = 0, finished_at = now()
                  from states
                 where executions.id = states.id and states.id <> newest and status = 'pending'
                   and executions.id = any (array (select id from locked))
                returning executions.id
            ), dequeued as (
                delete from eventbridge.queue
                 where ctid = any (array (
                       select found_at
                         from (select id from superseded union all select id from delivered) as ended
                        cross join lateral (select ctid as found_at from eventbridge.queue
                                             where execution_id = ended.id limit 1) as waiting))
            ), settled as (
                update eventbridge.executions
                   set in_doubt_since = null
                 where id = any (array (select doubtful.id from doubtful join locked using (id)))
                   and id <> all (array (select id from states))
            ), replaced as (
                delete from eventbridge.remote_objects
                 where ctid = any (array (
                       select former.found_at
                         from released
                        cross join lateral (select ctid as found_at from eventbridge.remote_objects
                                             where remote_objects.lane = released.lane
                                             order by remote_objects.fence desc limit 1) as former
                        where is_shown))
            ), shown as (
                insert into eventbridge.remote_objects
                       (lane, fence, remote_id, remote_url, remote_place, execution_id, written)
                -- If it was cancelled or erased meanwhile, nothing of it is kept; the next state is written in full.
                select lane, fence, remote_id, remote_url, remote_place, newest, case when may_succeed then written end
                  from newest
            ), recorded as (
                insert into eventbridge.attempts
                       (execution_id, fence, started_at, duration_ms, outcome, response_code, message, request_id)
                select newest, fence, leased_at, duration_ms, 'delivered', response_code, message, request_id
                  from newest
            )
            select head as "head!", coalesce(was_delivered, false) as "is_repeated!"
              from released
              left join newest using (head)
            "#,
            &batch.iter().map(|lane| lane.head.execution.0).collect::<Vec<_>>(),
            &batch.iter().map(|lane| lane.head.fence.0).collect::<Vec<_>>(),
            &batch.iter().map(|lane| lane.lane.clone()).collect::<Vec<_>>(),
            &batch.iter().map(|lane| lane.newest.0).collect::<Vec<_>>(),
            &batch.iter().map(|lane| lane.shown.is_some()).collect::<Vec<_>>(),
            &text(|lane| Some(&lane.remote()?.id)) as _,
            &text(|lane| lane.remote()?.url.as_deref()) as _,
            &text(|lane| lane.remote()?.place.as_deref()) as _,
            &batch.iter().map(written).collect::<Vec<_>>() as _,
            &batch.iter().map(|lane| whole_milliseconds(lane.head.duration)).collect::<Vec<_>>(),
            &batch.iter().map(|lane| lane.head.response_code.map(i32::from)).collect::<Vec<_>>() as _,
            &text(|lane| lane.head.request_id.as_deref()) as _,
            &text(|lane| lane.head.message.as_deref()) as _,
            &heads,
            &superseded,
            &Change::Deliver.allowed_from_words()
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (ExecutionId(row.head), row.is_repeated)).collect())
    }

    /// Fails the newest state, which is not the head's own, and makes the head due at once.
    ///
    /// If the newest state was delivered earlier or superseded, it stays as it is and would be the newest
    /// again in every attempt. Then the head fails.
    ///
    /// Returns whether what failed had failed before; `None` if the lease was lost, and nothing is changed then.
    pub async fn refuse_state(&self, refused: &RefusedState) -> Result<Option<bool>, StoreError> {
        let RefusedState { head, newest } = refused;
        let row = sqlx::query!(
            r#"
            with released as (
                delete from eventbridge.leases
                 where execution_id = $1 and fence = $2
                returning leased_at
            ), given_up as (
                select case when status in ('success', 'superseded') then $1 else id end as id
                  from eventbridge.executions
                 where id = $3 and exists (select from released)
            ), refused as (
                update eventbridge.executions
                   set status = 'failed', attempts = attempts + 1, reason = $4, error_class = $5,
                       response_code = $6, duration_ms = $7, crashes = 0, crashes_alone = 0,
                       failure_group = eventbridge.failure_group_key(destination, $5, $9),
                       started_at = (select leased_at from released), finished_at = now()
                 where id = (select id from given_up) and status = 'pending'
                returning id, failure_group, destination, retries
            ), dequeued as (
                delete from eventbridge.queue where execution_id = (select id from refused)
            ), grouped as (
                insert into eventbridge.failure_groups as known (key, destination, error_class, pattern, remedy)
                select failure_group, destination, $5::text, $9, $10 from refused
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
                select id, $2, leased_at, $7, 'permanent', $6, $5, $4, $8
                  from refused, released
            )
            select exists (select from released) as "is_released!",
                   coalesce((select retries -> -1 -> 'ended' ? 'failed' from refused), false) as "is_repeated!"
            "#,
            head.execution.0,
            head.fence.0,
            newest.0,
            head.message.as_deref().map(without_nul),
            head.error_class.as_deref().map(without_nul),
            head.response_code.map(i32::from),
            whole_milliseconds(head.duration),
            head.request_id.as_deref().map(without_nul),
            pattern(head.message.as_deref().unwrap_or_default()),
            head.remedy.as_deref().map(without_nul)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(row.is_released.then_some(row.is_repeated))
    }
}
