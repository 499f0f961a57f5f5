//! The queue: executions are claimed under a lease, finished under its fence, rescued from the dead.
//!
//! A lease lives as long as its worker beats. Whoever finishes must still hold the lease that the
//! claim gave out: its row, told from later ones by the fence. So a worker that was taken for dead
//! changes nothing, however late it wakes up.

use super::{Store, StoreError, milliseconds, of_milliseconds};
use crate::domain::delivery::Remote;
use crate::domain::event::{EventFacts, EventKey, StoredEvent};
use crate::domain::execution::{ExecutionId, Mode, Status};
use bytes::Bytes;
use std::collections::HashSet;
use std::time::Duration;
use uuid::Uuid;

/// A process that works the queue. It gets a fresh id whenever it registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub Uuid);

/// Tells a lease from every other one that was ever given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence(pub(super) i64);

/// An execution under a lease, with all that is needed to deliver it.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The execution.
    pub id: ExecutionId,
    /// Its lease.
    pub fence: Fence,
    /// The destination instance.
    pub destination: String,
    /// What it delivers.
    pub mode: Mode,
    /// The lane that it heads, which is leased with it.
    pub lane: Option<String>,
    /// Failed tries so far.
    pub attempts: u32,
    /// What an earlier delivery wrote.
    pub remote: Option<Remote>,
    /// How long ago a write of unknown outcome began, where there was one.
    pub unsettled: Option<Duration>,
    /// How long ago the event was received.
    pub age: Duration,
    /// The event.
    pub event: StoredEvent,
}

/// How a try ended, as the queue records it.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The execution.
    pub id: ExecutionId,
    /// The lease under which it ran.
    pub fence: Fence,
    /// What becomes of the execution.
    pub conclusion: Conclusion,
    /// What is known of its writes now.
    pub settlement: Settlement,
    /// How long the try took.
    pub duration: Duration,
    /// The verdict in one word, for the list of attempts.
    pub outcome: &'static str,
    /// The HTTP status of the answer.
    pub response_code: Option<u16>,
    /// The class of the failure.
    pub error_class: Option<String>,
    /// What happened, for people.
    pub message: Option<String>,
    /// The destination's id of the request.
    pub request_id: Option<String>,
}

impl Finished {
    /// The verdict without the destination's words, which are all that a database can refuse.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        let message = self.message.as_ref().map(|_| "the destination's answer cannot be stored".to_owned());
        Self {
            error_class: self.error_class.as_ref().map(|_| "unstorable".to_owned()),
            message,
            request_id: None,
            ..self.clone()
        }
    }
}

/// What becomes of an execution after a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// Delivered.
    Success(Remote),
    /// Given up.
    Failed,
    /// Declined by the destination.
    Skipped,
    /// To be tried again.
    Postponed {
        /// When, from now.
        wait: Duration,
        /// Whether the try counts towards giving up.
        counts: bool,
    },
}

impl Conclusion {
    fn status(&self) -> Status {
        match self {
            Self::Success(_) => Status::Success,
            Self::Failed => Status::Failed,
            Self::Skipped => Status::Skipped,
            Self::Postponed { .. } => Status::Pending,
        }
    }
}

/// Whether a write of this execution may still land unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// What was known before the try still holds.
    AsBefore,
    /// A write that was sent this long ago may have happened or may still happen.
    Unsettled {
        /// How long ago.
        since: Duration,
    },
    /// No write is under way.
    Settled,
}

impl Settlement {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AsBefore => "as_before",
            Self::Unsettled { .. } => "unsettled",
            Self::Settled => "settled",
        }
    }
}

/// What a worker wants to claim.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// For these instances.
    pub destinations: &'a [String],
    /// At most so many.
    pub limit: u32,
    /// So many of them late retries, as far as there are any.
    pub late: u32,
    /// Suspects of having crashed a worker, and nothing else: they are to run alone.
    pub suspects: bool,
}

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

/// The crashes of a worker, with nothing beside it, after which an execution is given up.
const CRASHES_ALONE_MAX: i32 = 3;

/// A claim's answer is either there by then, or will never be: statements end sooner.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);

/// Longer than any worker lives; it keeps the interval within what Postgres can hold.
const SILENCE_MAX: Duration = Duration::from_hours(10 * 365 * 24);

impl Store {
    /// Registers this process under a fresh id.
    pub async fn register_worker(&self) -> Result<WorkerId, StoreError> {
        let id = Uuid::new_v4();
        sqlx::query!(
            "insert into eventbridge.workers (id, version) values ($1, $2)",
            id,
            env!("CARGO_PKG_VERSION")
        )
        .execute(&self.pool)
        .await?;
        Ok(WorkerId(id))
    }

    /// Says that a worker lives; `false` when it was taken for dead and must register anew.
    pub async fn beat(&self, worker: WorkerId) -> Result<bool, StoreError> {
        let done = sqlx::query!("update eventbridge.workers set beat_at = now() where id = $1", worker.0)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Claims up to `wanted.limit` executions that are due, and leases them.
    ///
    /// Fresh work goes first, but `wanted.late` of the slots are for late retries. Suspects of having
    /// crashed a worker are claimed by themselves. Nothing is claimed for an instance that is held,
    /// nor by a worker that is not registered (any more).
    pub async fn claim(&self, worker: WorkerId, wanted: Wanted<'_>) -> Result<Vec<Claimed>, StoreError> {
        let rows = sqlx::query!(
            r#"
            with alive as (
                -- Held until the claim is through, so that nobody buries the worker meanwhile.
                select id from eventbridge.workers where id = $1 for key share
            ), working as (
                select wanted.name
                  from unnest($2::text[]) as wanted (name)
                 where not exists (select from eventbridge.destinations
                                    where destinations.name = wanted.name and held_since is not null)
            ), suspect as (
                select id, lane, run_at
                  from eventbridge.executions
                 where status = 'pending' and crashes > 0 and run_at <= now()
                   and destination = any (array (select name from working))
                   and (lane is null
                        or not exists (select from eventbridge.leases where key = 'lane ' || lane)
                       and not exists (select from eventbridge.executions as earlier
                                        where earlier.lane = executions.lane and earlier.id < executions.id
                                          and earlier.status = 'pending'))
                 order by run_at, id
                 limit case when $5 then $3::bigint else 0 end
                   for update skip locked
            ), late as (
                select id, lane, run_at
                  from eventbridge.executions
                 where status = 'pending' and crashes = 0 and attempts > 0 and run_at <= now()
                   and destination = any (array (select name from working))
                   and (lane is null
                        or not exists (select from eventbridge.leases where key = 'lane ' || lane)
                       and not exists (select from eventbridge.executions as earlier
                                        where earlier.lane = executions.lane and earlier.id < executions.id
                                          and earlier.status = 'pending'))
                 order by run_at, id
                 limit case when $5 then 0 else $4::bigint end
                   for update skip locked
            ), fresh as (
                select id, lane, run_at
                  from eventbridge.executions
                 where status = 'pending' and crashes = 0 and attempts = 0 and run_at <= now()
                   and destination = any (array (select name from working))
                   and (lane is null
                        or not exists (select from eventbridge.leases where key = 'lane ' || lane)
                       and not exists (select from eventbridge.executions as earlier
                                        where earlier.lane = executions.lane and earlier.id < executions.id
                                          and earlier.status = 'pending'))
                 order by run_at, id
                 limit case when $5 then 0 else $3::bigint - (select count(*) from late) end
                   for update skip locked
            ), leased as (
                insert into eventbridge.leases (key, execution_id, worker_id)
                -- A lane's name cannot be taken for an execution's number.
                select coalesce('lane ' || due.lane, due.id::text), due.id, alive.id
                  from (select * from suspect union all select * from late union all select * from fresh) as due
                 cross join alive
                on conflict do nothing
                returning execution_id, fence
            ), claimed as (
                -- By an array, here and below: a join may read the whole of a large table instead.
                update eventbridge.executions
                   set status = 'running', started_at = now(), reason = null, alone = $5
                 where id = any (array (select execution_id from leased))
                returning id, event_key, destination, mode, lane, attempts, run_at,
                          remote_id, remote_url, unsettled_since
            )
            select claimed.id as "id!", fence as "fence!", destination as "destination!",
                   mode as "mode!", lane,
                   attempts as "attempts!", remote_id, remote_url,
                   -- In a lane a write in doubt concerns whoever is next, whichever execution made it.
                   (extract(epoch from now() - case
                       when lane is null then unsettled_since
                       else (select max(of_lane.unsettled_since) from eventbridge.executions as of_lane
                              where of_lane.lane = claimed.lane)
                    end) * 1000)::bigint as unsettled_ms,
                   (extract(epoch from now() - received_at) * 1000)::bigint as "age_ms!",
                   events.id as "event_key!", source, event_id, type as event_type, object_id,
                   object_type, account, livemode, api_version, created, received_at, payload
              from claimed
              join leased on leased.execution_id = claimed.id
              join eventbridge.events on events.id = claimed.event_key
             where events.id = any (array (select event_key from claimed))
             order by run_at, claimed.id
            "#,
            worker.0,
            wanted.destinations,
            i64::from(wanted.limit),
            i64::from(wanted.late.min(wanted.limit)),
            wanted.suspects
        )
        .fetch_all(&self.pool)
        .await?;
        let claimed = rows.into_iter().map(|row| Claimed {
            id: ExecutionId(row.id),
            fence: Fence(row.fence),
            destination: row.destination,
            lane: row.lane,
            mode: row.mode.parse().unwrap_or_default(),
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
            remote: row.remote_id.map(|id| Remote { id, url: row.remote_url }),
            unsettled: row.unsettled_ms.map(of_milliseconds),
            age: of_milliseconds(row.age_ms),
            event: StoredEvent {
                key: EventKey(row.event_key),
                source: row.source,
                event_id: row.event_id,
                facts: EventFacts {
                    event_type: row.event_type,
                    object_id: row.object_id,
                    object_type: row.object_type,
                    account: row.account,
                    livemode: row.livemode,
                    api_version: row.api_version,
                    created: row.created,
                },
                received_at: row.received_at,
                payload: Bytes::from(row.payload),
            },
        });
        Ok(claimed.collect())
    }

    /// Records how tries ended and gives their leases back, all in one statement.
    ///
    /// Returns the executions that were changed; those whose lease was lost are not among them, and
    /// nothing of them is recorded.
    pub async fn finish(&self, batch: &[Finished]) -> Result<HashSet<ExecutionId>, StoreError> {
        let text = |value: fn(&Finished) -> Option<&str>| -> Vec<Option<String>> {
            batch.iter().map(|finished| value(finished).map(without_nul)).collect()
        };
        let remote = |finished: &Finished| match &finished.conclusion {
            Conclusion::Success(Remote { id, url }) => {
                Some(Remote { id: without_nul(id), url: url.as_deref().map(without_nul) })
            }
            _ => None,
        };
        let unsettled = |finished: &Finished| match finished.settlement {
            Settlement::Unsettled { since } => milliseconds(since),
            _ => 0,
        };
        let wait = |finished: &Finished| match finished.conclusion {
            Conclusion::Postponed { wait, .. } => milliseconds(wait),
            _ => 0,
        };
        let counts = |finished: &Finished| match finished.conclusion {
            Conclusion::Postponed { counts, .. } => counts,
            Conclusion::Failed => true,
            _ => false,
        };
        let rows = sqlx::query_scalar!(
            r#"
            with ended as (
                select * from unnest(
                    $1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bool[], $6::text[],
                    $7::text[], $8::text[], $9::integer[], $10::text[], $11::integer[], $12::text[],
                    $13::text[], $14::text[], $15::bigint[]
                ) as ended (id, fence, status, wait_ms, counts, settlement,
                            remote_id, remote_url, duration_ms, outcome, response_code, error_class,
                            message, request_id, unsettled_ms)
            ), released as (
                delete from eventbridge.leases
                 using ended
                 where leases.execution_id = ended.id and leases.fence = ended.fence
                returning ended.*
            ), finished as (
                update eventbridge.executions
                   set status = released.status,
                       attempts = attempts + released.counts::int,
                       -- It came through, so it is under suspicion no longer.
                       crashes = 0, crashes_alone = 0,
                       run_at = case when released.status = 'pending'
                                     then now() + released.wait_ms * interval '1 millisecond'
                                     else run_at end,
                       finished_at = case when released.status = 'pending' then null else now() end,
                       reason = released.message,
                       error_class = released.error_class,
                       response_code = released.response_code,
                       duration_ms = released.duration_ms,
                       remote_id = coalesce(released.remote_id, executions.remote_id),
                       remote_url = coalesce(released.remote_url, executions.remote_url),
                       unsettled_since = case released.settlement
                                              when 'settled' then null
                                              when 'unsettled'
                                              then now() - released.unsettled_ms * interval '1 millisecond'
                                              else unsettled_since end
                  from released
                 where executions.id = released.id
                returning executions.id, released.fence, started_at, released.duration_ms, outcome,
                          released.response_code, released.error_class, message, request_id
            ), recorded as (
                insert into eventbridge.attempts
                       (execution_id, fence, started_at, duration_ms, outcome,
                        response_code, error_class, message, request_id)
                select id, fence, started_at, duration_ms, outcome,
                       response_code, error_class, message, request_id
                  from finished
            )
            select id as "id!" from finished
            "#,
            &batch.iter().map(|finished| finished.id.0).collect::<Vec<_>>(),
            &batch.iter().map(|finished| finished.fence.0).collect::<Vec<_>>(),
            &batch.iter().map(|finished| finished.conclusion.status().as_str()).collect::<Vec<_>>() as _,
            &batch.iter().map(wait).collect::<Vec<_>>(),
            &batch.iter().map(counts).collect::<Vec<_>>(),
            &batch.iter().map(|finished| finished.settlement.as_str()).collect::<Vec<_>>() as _,
            &batch.iter().map(|finished| remote(finished).map(|remote| remote.id)).collect::<Vec<_>>() as _,
            &batch.iter().map(|finished| remote(finished)?.url).collect::<Vec<_>>() as _,
            &batch.iter().map(|finished| whole_milliseconds(finished.duration)).collect::<Vec<_>>(),
            &batch.iter().map(|finished| finished.outcome).collect::<Vec<_>>() as _,
            &batch.iter().map(|finished| finished.response_code.map(i32::from)).collect::<Vec<_>>() as _,
            &text(|finished| finished.error_class.as_deref()) as _,
            &text(|finished| finished.message.as_deref()) as _,
            &text(|finished| finished.request_id.as_deref()) as _,
            &batch.iter().map(unsettled).collect::<Vec<_>>(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(ExecutionId).collect())
    }

    /// Buries workers that have not beaten for `watch.silence`, and frees what nobody works on: each
    /// such execution is pending again at once, marked as one whose write may have happened.
    pub async fn rescue(&self, watch: Watch<'_>) -> Result<Vec<ExecutionId>, StoreError> {
        let held: Vec<i64> = watch.held.iter().map(|fence| fence.0).collect();
        let rows = sqlx::query_scalar!(
            r#"
            with dead as (
                delete from eventbridge.workers
                 where beat_at < now() - $1::bigint * interval '1 millisecond'
                returning id
            ), orphans as (
                select key, execution_id, fence
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
                 where leases.key = orphans.key
                returning leases.execution_id, leases.fence
            ), rescued as (
                update eventbridge.executions
                   set status = case when given_up then 'failed' else 'pending' end,
                       run_at = now(),
                       finished_at = case when given_up then now() end,
                       crashes = crashes + 1,
                       crashes_alone = crashes_alone + alone::integer,
                       unsettled_since = now(),
                       error_class = 'worker_lost',
                       reason = case when given_up
                                     then 'its worker died with it for the third time while nothing ran beside it'
                                     else 'its worker died or stood still; it is tried again, alone' end
                  from released
                  cross join lateral (
                       select crashes_alone + alone::integer >= $5 as given_up
                         from eventbridge.executions as before
                        where before.id = released.execution_id) as verdict
                 where executions.id = released.execution_id
                   and executions.id = any (array (select execution_id from released))
                returning executions.id, released.fence, started_at
            ), recorded as (
                insert into eventbridge.attempts
                       (execution_id, fence, started_at, duration_ms, outcome, error_class, message)
                select id, fence, started_at,
                       least(extract(epoch from now() - started_at) * 1000, 2147483647)::integer,
                       'crashed', 'worker_lost', 'its worker died or stood still'
                  from rescued
            )
            select id as "id!" from rescued
            "#,
            milliseconds(watch.silence.map_or(SILENCE_MAX, |silence| silence.min(SILENCE_MAX))),
            watch.myself.map(|worker| worker.0),
            milliseconds(FORGOTTEN_AFTER),
            &held,
            CRASHES_ALONE_MAX
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(ExecutionId).collect())
    }

    /// Whether a suspect of having crashed a worker is due for one of these instances.
    pub async fn has_suspects(&self, destinations: &[String]) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar!(
            r#"
            select exists (
                select from eventbridge.executions
                 where status = 'pending' and crashes > 0 and run_at <= now() and destination = any($1)
                   and not exists (select from eventbridge.destinations
                                    where destinations.name = executions.destination and held_since is not null)
            ) as "found!"
            "#,
            destinations
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(found)
    }

    /// Signs a worker off at the end of an orderly stop: whatever it still leases is freed as in
    /// [`Store::rescue`], but without waiting.
    pub async fn retire(&self, worker: WorkerId) -> Result<(), StoreError> {
        sqlx::query!("delete from eventbridge.workers where id = $1", worker.0).execute(&self.pool).await?;
        self.rescue(Watch { silence: None, myself: None, held: &[] }).await?;
        Ok(())
    }
}

fn whole_milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Texts of a destination's answer can hold anything; Postgres takes all but NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}
