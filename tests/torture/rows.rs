//! The rows that the assessment reads from the store's tables and from the test's own record. No other
//! file of the torture test names their columns, except `audit.sql` and the holes of the sabotage.

use sqlx::{FromRow, PgPool, Result};
use std::time::Duration;

/// An event as it is stored.
#[derive(FromRow)]
pub struct StoredEvent {
    pub event_id: String,
    pub payload: Vec<u8>,
    pub signature: String,
    /// How many executions it has.
    pub executions: i64,
}

/// An execution, with the sender's id of its event.
#[derive(FromRow)]
pub struct Execution {
    pub event_id: String,
    pub status: String,
    pub attempts: i32,
    pub crashes: i32,
    pub remote_id: Option<String>,
    pub reason: Option<String>,
}

/// An attempt that began before the one before it in its lane had ended.
#[derive(FromRow)]
pub struct Overlap {
    pub event_id: String,
    pub lane: String,
    pub fence: i64,
    /// The length of the overlap.
    pub overlap: String,
}

/// All events that were received by the webhook.
pub async fn events(database: &PgPool) -> Result<Vec<StoredEvent>> {
    sqlx::query_as(
        "select event_id, payload, signature,
                (select count(*) from eventbridge.executions where event_key = events.id) as executions
           from eventbridge.events where source = 'stripe'",
    )
    .fetch_all(database)
    .await
}

/// All executions, in the order in which they were created.
pub async fn executions(database: &PgPool) -> Result<Vec<Execution>> {
    sqlx::query_as(
        "select events.event_id, executions.status, executions.attempts, crashes, remote_id, executions.reason
           from eventbridge.executions join eventbridge.events on events.id = event_key
          order by executions.id",
    )
    .fetch_all(database)
    .await
}

/// How many executions are pending or running.
pub async fn unfinished(database: &PgPool) -> Result<i64> {
    sqlx::query_scalar("select count(*) from eventbridge.executions where status = 'pending'")
        .fetch_one(database)
        .await
}

/// How many of these executions are delivered.
pub async fn delivered(database: &PgPool, executions: &[i64]) -> Result<i64> {
    sqlx::query_scalar(
        "select count(*) from eventbridge.executions where id = any ($1) and status = 'success'",
    )
    .bind(executions)
    .fetch_one(database)
    .await
}

/// How many workers and how many leases there are.
pub async fn workers_and_leases(database: &PgPool) -> Result<(i64, i64)> {
    sqlx::query_as(
        "select (select count(*) from eventbridge.workers), (select count(*) from eventbridge.leases)",
    )
    .fetch_one(database)
    .await
}

/// How many workers and how many leases of a process there are.
pub async fn workers_and_leases_of(database: &PgPool, process: &str) -> Result<(i64, i64)> {
    sqlx::query_as(
        "with dead as (select worker_id from torture.holders where process = $1)
         select (select count(*) from eventbridge.workers where id in (select worker_id from dead)),
                (select count(*) from eventbridge.leases where worker_id in (select worker_id from dead))",
    )
    .bind(process)
    .fetch_one(database)
    .await
}

/// The executions that a process has leased.
pub async fn leased_by(database: &PgPool, process: &str) -> Result<Vec<i64>> {
    sqlx::query_scalar(
        "select execution_id from eventbridge.leases
          where worker_id in (select worker_id from torture.holders where process = $1)",
    )
    .bind(process)
    .fetch_all(database)
    .await
}

/// The lanes, and the executions without a lane, with more than one lease.
pub async fn leased_twice(database: &PgPool) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "select coalesce(lane, execution_id::text) from eventbridge.leases group by 1 having count(*) > 1",
    )
    .fetch_all(database)
    .await
}

/// How many attempts ended with each outcome.
pub async fn outcomes(database: &PgPool) -> Result<Vec<(String, i64)>> {
    sqlx::query_as("select outcome, count(*) from eventbridge.attempts group by 1 order by 1")
        .fetch_all(database)
        .await
}

/// How many executions lost a worker.
pub async fn crashed(database: &PgPool) -> Result<i64> {
    sqlx::query_scalar(
        "select count(distinct execution_id) from eventbridge.attempts where outcome = 'crashed'",
    )
    .fetch_one(database)
    .await
}

/// The attempts of an event or of an object's events, one on each line.
pub async fn attempts_about(database: &PgPool, id: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "select format('attempt of %s under fence %s by %s: began %s, took %s ms: %s %s %s',
                       attempts.execution_id, attempts.fence, leases.process,
                       to_char(attempts.started_at, 'HH24:MI:SS.MS'), attempts.duration_ms, outcome,
                       attempts.response_code, attempts.error_class)
           from eventbridge.events
           join eventbridge.executions on event_key = events.id
           join eventbridge.attempts on attempts.execution_id = executions.id
           left join torture.leases on leases.execution_id = attempts.execution_id
                                   and leases.fence = attempts.fence
          where $1 in (events.event_id, events.object_id) order by attempts.fence",
    )
    .bind(id)
    .fetch_all(database)
    .await
}

/// Attempts under a lease that is not in the test's record: execution and fence.
pub async fn attempts_without_a_lease(database: &PgPool) -> Result<Vec<(i64, i64)>> {
    sqlx::query_as(
        "select execution_id, fence from eventbridge.attempts
         except select coalesce(sibling.id, leases.execution_id), fence
                  from torture.leases
                  join eventbridge.executions as leased on leased.id = leases.execution_id
                  left join eventbridge.executions as sibling on sibling.lane = leased.lane
         limit 10",
    )
    .fetch_all(database)
    .await
}

/// Attempts of one lane that overlap by more than `slack`.
pub async fn overlaps(database: &PgPool, slack: Duration) -> Result<Vec<Overlap>> {
    sqlx::query_as(
        "select event_id, lane, fence, overlap::text as overlap from (
             select events.event_id, coalesce(lane, executions.id::text) as lane, fence,
                    lag(attempts.started_at + attempts.duration_ms * interval '1 millisecond')
                        over (partition by destination, coalesce(lane, executions.id::text)
                              order by attempts.started_at, fence) - attempts.started_at as overlap
               from eventbridge.attempts
               join eventbridge.executions on executions.id = execution_id
               join eventbridge.events on events.id = event_key) as runs
          where overlap > $1 * interval '1 second' order by fence limit 100",
    )
    .bind(slack.as_secs_f64())
    .fetch_all(database)
    .await
}

/// The findings of the test's triggers: what, at which execution, and the details.
pub async fn breaches(database: &PgPool) -> Result<Vec<(String, i64, String)>> {
    sqlx::query_as("select what, execution_id, detail from torture.breaches order by id limit 1000")
        .fetch_all(database)
        .await
}
