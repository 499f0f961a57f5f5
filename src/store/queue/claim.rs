//! Claiming: a worker leases as many due executions as it has free slots.
//!
//! The claim is one statement. The worker's schedule [asks](Ask) it for executions of certain instances and
//! classes, in a certain order and number. Of each it takes the first ones that are due, that no other claim
//! has locked, and whose lane is free.
//!
//! It stays fast whatever the tables contain:
//!
//! - Work that waits for a paused instance, or in a class that the worker does not ask for, is not read.
//! - The claim begins at a [`Position`], past the entries of executions that were claimed before. Postgres
//!   cannot remove these while any transaction in the database is older.
//! - A lane's state is its newest run, which the index has at its end.
//! - Rows of `queue` and `leases` are found by their place or one by one. A join would read a whole index if
//!   the statistics say that the table is empty: it has few rows, and perhaps a million dead ones.
//! - Of the executions of a class it examines at most [`EXAMINED_MAX`], in case all wait in busy lanes.

use super::{Fence, Queue, WorkerId};
use crate::domain::delivery::Remote;
use crate::domain::execution::{ExecutionId, Mode, RowVersion, Subject, UnknownMode};
use crate::store::db::StoreError;
use crate::store::events::stored_event;
use chrono::{DateTime, TimeDelta, Utc};
use std::str::FromStr;
use std::time::Duration;

/// Why an execution waits, which decides its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkClass {
    /// It is new, or an operator retried it.
    Fresh,
    /// An attempt failed, was postponed or was interrupted.
    Retry,
    /// An operator queued it with others. Everything else goes first.
    Bulk,
    /// It may have crashed a worker, and runs alone.
    Quarantined,
}

impl WorkClass {
    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Retry => "retry",
            Self::Bulk => "bulk",
            Self::Quarantined => "quarantined",
        }
    }
}

/// The text is not a class.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a waiting execution has an unknown class")]
pub struct UnknownClass;

impl FromStr for WorkClass {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Fresh, Self::Retry, Self::Bulk, Self::Quarantined];
        all.into_iter().find(|class| class.as_str() == text).ok_or(UnknownClass)
    }
}

/// A place in the order in which a class is worked: by the time from which an execution may run, then by id.
/// It is a bookmark by the database's clock and compared only there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    run_at: DateTime<Utc>,
    execution: i64,
}

impl Position {
    /// Before every execution.
    pub const START: Self = Self { run_at: DateTime::UNIX_EPOCH, execution: 0 };

    /// A place so much earlier.
    #[must_use]
    pub fn minus(self, time: Duration) -> Self {
        let time = TimeDelta::from_std(time).unwrap_or_default();
        Self { run_at: self.run_at.checked_sub_signed(time).unwrap_or(DateTime::UNIX_EPOCH), execution: 0 }
    }

    /// The time from an earlier place to this one.
    #[cfg(test)]
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        (self.run_at - earlier.run_at).to_std().unwrap_or_default()
    }

    /// A place so much later.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let time = TimeDelta::from_std(time).unwrap_or_default();
        Self { run_at: self.run_at.checked_add_signed(time).unwrap_or(self.run_at), execution: 0 }
    }

    pub(super) const fn of(run_at: DateTime<Utc>, execution: i64) -> Self {
        Self { run_at, execution }
    }
}

/// What a claim takes of one class of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The destination instance.
    pub destination: String,
    /// The class.
    pub class: WorkClass,
    /// Nothing before this is read.
    pub from: Position,
    /// Nothing that is due later than this is read.
    pub until: Option<Position>,
    /// The most executions.
    pub most: u32,
}

/// What a worker asks for in one claim.
#[derive(Debug, Clone, Copy)]
pub struct ClaimRequest<'a> {
    /// In the order of precedence.
    pub asks: &'a [Ask],
    /// The most executions of all asks together.
    pub limit: u32,
    /// The most bytes of bodies. The first execution is claimed whatever its size.
    pub bytes: u64,
    /// Whether the executions run alone in the process, since they may have crashed a worker.
    pub alone: bool,
    /// Only this execution, if one is named.
    pub only: Option<ExecutionId>,
    /// Whether it also claims for paused instances: a canary shows whether its instance works again.
    pub paused_too: bool,
}

impl<'a> ClaimRequest<'a> {
    /// A request for one execution of whatever size.
    pub const fn one(asks: &'a [Ask]) -> Self {
        Self { asks, limit: 1, bytes: u64::MAX, alone: false, only: None, paused_too: false }
    }
}

/// A leased execution, with everything that its delivery needs.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The execution.
    pub id: ExecutionId,
    /// The fence of its lease.
    pub fence: Fence,
    /// The destination instance.
    pub destination: String,
    /// The class in which it waited.
    pub class: WorkClass,
    /// Its place in that class.
    pub position: Position,
    /// The delivery mode.
    pub mode: Mode,
    /// Its lane, if any; the lease covers the lane too.
    pub lane: Option<String>,
    /// The number of failed attempts.
    pub attempts: u32,
    /// What an earlier delivery wrote, if any.
    pub remote: Option<Remote>,
    /// How long ago a write in doubt began, if there was one.
    pub in_doubt: Option<Duration>,
    /// How long ago the event was received, or the newest version of the row was requested.
    pub age: Duration,
    /// Whether an operator requested this attempt, alone or in a bulk operation.
    pub is_manual: bool,
    /// What it delivers.
    pub subject: Subject,
}

/// The most executions of a class that one claim examines for each instance.
pub(super) const EXAMINED_MAX: i64 = 1000;

/// How often a claim chooses again because other processes took the lanes of all that it chose.
const LOST_MAX: usize = 10;

impl Queue {
    /// Claims and leases the due executions that are asked for.
    ///
    /// Nothing is claimed for a paused instance, nor by a worker that is not registered (any more). An
    /// execution in a lane is claimed only while no other one of the lane runs, and none that failed or was
    /// interrupted waits for its next attempt. In mode `event` all earlier ones of the lane go first.
    ///
    /// Claims of several processes at the same time share the work. They wait for each other only if they choose
    /// executions of the same lanes; one that loses all of its lanes chooses again.
    pub async fn claim(
        &self,
        worker: WorkerId,
        request: ClaimRequest<'_>,
    ) -> Result<Vec<Claimed>, StoreError> {
        for _ in 0..LOST_MAX {
            let (claimed, has_lost) = self.claim_once(worker, request).await?;
            if !claimed.is_empty() || !has_lost {
                return Ok(claimed);
            }
        }
        Ok(Vec::new())
    }

    /// Claims, and returns also whether other processes leased lanes of what it chose.
    async fn claim_once(
        &self,
        worker: WorkerId,
        request: ClaimRequest<'_>,
    ) -> Result<(Vec<Claimed>, bool), StoreError> {
        let ClaimRequest { asks, limit, bytes, alone, only, paused_too } = request;
        let rows = sqlx::query!(
            r#"
            with asked as (
                select * from unnest($2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bigint[], $13::timestamptz[])
                         with ordinality as asked (destination, class, from_run_at, from_id, most, until, place)
                 where $12 or not exists (select from eventbridge.destinations
                                  where name = destination and paused_since is not null)
            ), due as (
                select place, due.* from asked cross join lateral (
                       select queue.*, queue.ctid as found_at, newest.run
                         from (select ctid as found_at, execution_id, run_at from eventbridge.queue
                                where destination = asked.destination and class = asked.class and run_at <= least(now(), until)
                                  and (run_at, execution_id) >= (from_run_at, from_id)
                                order by run_at, execution_id limit $8) as first
                         join eventbridge.queue on queue.ctid = first.found_at
                         left join lateral (select run, execution_id, fence from eventbridge.lane_runs
                                             where lane_runs.lane = queue.lane order by run desc limit 1) as newest on true
                        where first.execution_id = coalesce($7::bigint, first.execution_id)
                          and (queue.lane is null
                               or not exists (select from eventbridge.leases
                                               where leases.execution_id = newest.execution_id and leases.fence = newest.fence)
                              and not exists (select from eventbridge.queue as held
                                               where held.lane = queue.lane and held.class in ('retry', 'quarantined')
                                                 and (held.execution_id < queue.execution_id or queue.class in ('fresh', 'bulk')))
                              and not exists (select from eventbridge.queue as earlier
                                               where earlier.lane = queue.lane and earlier.mode = 'event' and queue.mode = 'event'
                                                 and earlier.execution_id < queue.execution_id
                                                 and earlier.execution_id > coalesce(newest.execution_id, 0)))
                        order by first.run_at, first.execution_id limit asked.most
                          for update of queue skip locked) as due
            ), chosen as (
                select *, nextval('eventbridge.fences') as fence
                  from (select *, row_number() over in_turn as number, sum(octet_length(payload)) over in_turn as bytes
                          from due
                         cross join lateral (select event_key, row_key, row_version, attempts, remote_id, remote_url, remote_place,
                              in_doubt_since, retried_at from eventbridge.executions where id = execution_id limit 1) as execution
                          left join lateral (select * from eventbridge.events where id = event_key limit 1) as event on true
                        window in_turn as (order by place, run_at, execution_id)) as found
                 where number <= $9 and coalesce(bytes - octet_length(payload), 0) < $10 and coalesce(row_key, source) is not null
                   and (select true from eventbridge.leases where leases.execution_id = found.execution_id limit 1) is null
            ), begun as (
                insert into eventbridge.lane_runs (lane, run, execution_id, fence)
                select lane, coalesce(run, 0) + 1, execution_id, fence from chosen where lane is not null order by lane, number
                on conflict do nothing returning execution_id
            ), leased as (
                insert into eventbridge.leases (execution_id, destination, lane, worker_id, fence, alone, row_version)
                select execution_id, destination, lane, $1::uuid, fence, $11, row_version from chosen
                 where (lane is null or execution_id in (select execution_id from begun)) and exists (select from eventbridge.workers where id = $1)
                returning execution_id
            ), taken as (
                delete from eventbridge.queue where ctid = any (array (
                    select found_at from chosen where execution_id = any (array (select execution_id from leased))))
            )
            select is_leased as "is_leased!", execution_id as "execution_id!", fence as "fence!", destination as "destination!", class as "class!",
                   run_at as "run_at!", mode as "mode!", lane, attempts as "attempts!", remote_id, remote_url, remote_place,
                   greatest(in_doubt_since, (select max(of_lane.in_doubt_since) from eventbridge.executions as of_lane
                                              where of_lane.lane = chosen.lane and chosen.mode = 'object' and of_lane.in_doubt_since is not null)) as in_doubt_since,
                   retried_at is not null as "is_manual!", row_key, row_version, since as "since!", now() as "now!",
                   event_key, source as "source?", event_id as "event_id?", type as "event_type?", object_id, object_type, account,
                   livemode, api_version, created, carries_state as "carries_state?", received_at as "received_at?", case when is_leased then payload end as "payload?"
              from chosen cross join lateral (select execution_id = any (array (select execution_id from leased)) as is_leased) as result
             order by number
            "#,
            worker.0,
            &column(asks, |ask| ask.destination.clone()) as _,
            &column(asks, |ask| ask.class.as_str().to_owned()) as _,
            &column(asks, |ask| ask.from.run_at),
            &column(asks, |ask| ask.from.execution),
            &column(asks, |ask| i64::from(ask.most)),
            only.map(|id| id.0),
            EXAMINED_MAX,
            i64::from(limit),
            i64::try_from(bytes).unwrap_or(i64::MAX),
            alone,
            paused_too,
            &column(asks, |ask| ask.until.map(|until| until.run_at)) as _
        )
        .fetch_all(&self.pool)
        .await?;
        let has_lost = rows.iter().any(|row| !row.is_leased);
        let claimed = rows.into_iter().filter(|row| row.is_leased).map(|row| {
            let unknown = |error: &dyn std::error::Error| StoreError::Unexpected(error.to_string());
            let (row_key, row_version) = (row.row_key, row.row_version);
            let as_row = || Some(Subject::Row(RowVersion { key: row_key?, version: row_version? }));
            let received_at = row.received_at.unwrap_or(row.since);
            Ok(Claimed {
                id: ExecutionId(row.execution_id),
                fence: Fence(row.fence),
                class: row.class.parse().map_err(|error: UnknownClass| unknown(&error))?,
                position: Position { run_at: row.run_at, execution: row.execution_id },
                destination: row.destination,
                lane: row.lane,
                mode: row.mode.parse().map_err(|error: UnknownMode| unknown(&error))?,
                attempts: u32::try_from(row.attempts).unwrap_or_default(),
                remote: row.remote_id.map(|id| Remote { id, url: row.remote_url, place: row.remote_place }),
                in_doubt: row.in_doubt_since.map(|since| elapsed(row.now, since)),
                age: elapsed(row.now, received_at),
                is_manual: row.is_manual,
                subject: (|| Some(Subject::Event(stored_event!(row, ?))))()
                    .or_else(as_row)
                    .ok_or_else(|| StoreError::Unexpected("an execution has no subject".to_owned()))?,
            })
        });
        Ok((claimed.collect::<Result<Vec<_>, StoreError>>()?, has_lost))
    }

    /// The first execution that a claim with this ask did not examine, if it did not find all that was asked
    /// for; `None` if it examined all.
    pub async fn first_unexamined(
        &self,
        Ask { destination, class, from, until, .. }: &Ask,
    ) -> Result<Option<Position>, StoreError> {
        let row = sqlx::query!(
            r#"
            select run_at, execution_id
              from eventbridge.queue
             where destination = $1 and class = $2 and run_at <= least(now(), $6) and (run_at, execution_id) >= ($3, $4)
             order by run_at, execution_id
            offset $5
             limit 1
            "#,
            destination,
            class.as_str(),
            from.run_at,
            from.execution,
            EXAMINED_MAX,
            until.map(|until| until.run_at)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Position::of(row.run_at, row.execution_id)))
    }

    /// A place behind all that is due now.
    pub async fn newest_place(&self) -> Result<Position, StoreError> {
        let now = sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&self.pool).await?;
        Ok(Position::of(now, 0))
    }

    /// Whether a quarantined execution of these instances can be claimed. This asks of the lane what the claim
    /// asks.
    pub async fn has_quarantined(&self, destinations: &[String]) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar!(
            r#"
            select exists (
                select from eventbridge.queue
                  left join lateral (select execution_id, fence from eventbridge.lane_runs
                                      where lane_runs.lane = queue.lane order by run desc limit 1) as newest on true
                 where queue.class = 'quarantined' and queue.destination = any ($1) and queue.run_at <= now()
                   and not exists (select from eventbridge.destinations
                                    where name = queue.destination and paused_since is not null)
                   and (queue.lane is null
                        or not exists (select from eventbridge.leases
                                        where leases.execution_id = newest.execution_id and leases.fence = newest.fence)
                       and not exists (select from eventbridge.queue as held
                                        where held.lane = queue.lane and held.class in ('retry', 'quarantined')
                                          and held.execution_id < queue.execution_id)
                       and not exists (select from eventbridge.queue as earlier
                                        where earlier.lane = queue.lane and earlier.mode = 'event' and queue.mode = 'event'
                                          and earlier.execution_id < queue.execution_id
                                          and earlier.execution_id > coalesce(newest.execution_id, 0)))) as "found!"
            "#,
            destinations
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(found)
    }
}

fn column<V>(asks: &[Ask], value: impl Fn(&Ask) -> V) -> Vec<V> {
    asks.iter().map(value).collect()
}

/// The time between two readings of the database's clock.
fn elapsed(now: DateTime<Utc>, since: DateTime<Utc>) -> Duration {
    (now - since).to_std().unwrap_or_default()
}
