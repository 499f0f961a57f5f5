//! Changes to rows for tests, each one statement or a few.

use super::{Change, Database, interval, text};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::time::Duration;
use uuid::Uuid;

const MINUTE: Duration = Duration::from_mins(1);

/// Gives each pending execution its row in the queue, unless it runs, and takes it from all others.
pub(super) const QUEUE_PENDING: &str =
    "delete from eventbridge.queue using eventbridge.executions where id = execution_id and status <> 'pending';
     insert into eventbridge.queue (execution_id, destination, lane, mode, since)
     select id, destination, lane, mode, greatest(created_at, retried_at)
       from eventbridge.executions
      where status = 'pending' and id not in (select execution_id from eventbridge.leases)
     on conflict do nothing";

/// A pause that a test gives a destination instance.
#[derive(Debug, Clone, Copy)]
pub struct Paused<'a> {
    pub destination: &'a str,
    /// How long it has been paused.
    pub lasts: Duration,
    pub class: &'a str,
    pub reason: &'a str,
    pub remedy: &'a str,
    /// The execution that failed.
    pub execution: Option<i64>,
    /// When it is probed, from now; never if `None`.
    pub probed_in: Option<Duration>,
}

impl<'a> Paused<'a> {
    /// One for a wrong token that has just begun, without probes.
    pub fn of(destination: &'a str) -> Self {
        Self {
            destination,
            lasts: Duration::ZERO,
            class: "unauthorized",
            reason: "the token is not valid",
            remedy: "set another token",
            execution: None,
            probed_in: None,
        }
    }
}

impl From<Paused<'_>> for Change {
    fn from(pause: Paused<'_>) -> Self {
        let execution = pause.execution.map_or_else(|| "null".to_owned(), |id| id.to_string());
        let probe_at =
            pause.probed_in.map_or_else(|| "null".to_owned(), |time| format!("now() + {}", interval(time)));
        Self(format!(
            "insert into eventbridge.destinations
                    (name, paused_since, paused_class, paused_reason, paused_remedy, paused_execution, probe_at)
             values ({}, now() - {}, {}, {}, {}, {execution}, {probe_at})
             on conflict (name) do update
                set paused_since = excluded.paused_since, paused_class = excluded.paused_class,
                    paused_reason = excluded.paused_reason, paused_remedy = excluded.paused_remedy,
                    paused_execution = excluded.paused_execution, probe_at = excluded.probe_at",
            text(pause.destination),
            interval(pause.lasts),
            text(pause.class),
            text(pause.reason),
            text(pause.remedy),
        ))
    }
}

/// Ends all pauses.
pub fn end_pauses() -> Change {
    Change("update eventbridge.destinations set paused_since = null".to_owned())
}

/// Records the execution that decides whether a pause ends.
pub fn set_paused_execution(id: i64) -> Change {
    Change(format!("update eventbridge.destinations set paused_execution = {id}"))
}

/// Makes the ends of all past pauses earlier, and their beginnings too.
pub fn age_past_pauses(by: Duration) -> Change {
    Change(format!(
        "update eventbridge.past_pauses set since = since - {0}, until = until - {0}",
        interval(by)
    ))
}

/// A pause of `notion` that ended: it began 55 minutes ago, and ended 2 minutes ago.
pub fn past_pause(reason: &str) -> Change {
    Change(format!(
        "insert into eventbridge.past_pauses (destination, since, until, class, reason)
         values ('notion', now() - interval '55 minutes', now() - interval '2 minutes', 'unauthorized', {})",
        text(reason)
    ))
}

/// Makes all events older.
pub fn age_events(by: Duration) -> Change {
    Change(format!("update eventbridge.events set received_at = received_at - {}", interval(by)))
}

/// Makes the creation of all executions older.
pub fn age_executions(by: Duration) -> Change {
    Change(format!("update eventbridge.executions set created_at = created_at - {}", interval(by)))
}

/// Makes the attempts that did not deliver begin earlier.
pub fn age_failed_attempts(by: Duration) -> Change {
    Change(format!(
        "update eventbridge.attempts set started_at = started_at - {} where outcome <> 'delivered'",
        interval(by)
    ))
}

/// Makes the last change of all tasks older.
pub fn age_tasks(by: Duration) -> Change {
    Change(format!("update eventbridge.tasks set updated_at = updated_at - {}", interval(by)))
}

/// Ends the holds on all tasks, as time does if their process died.
pub fn end_task_holds() -> Change {
    Change("update eventbridge.tasks set held_until = now() - interval '1 second'".to_owned())
}

/// Lets Postgres refuse each change of an execution with this SQLSTATE, except after so many refusals.
pub fn refuse_changes_of_executions(sqlstate: &str, times: u32) -> Change {
    Change(format!(
        "create sequence eventbridge.refusals;
         create function eventbridge.refuse_change() returns trigger language plpgsql as $$
         begin
             if nextval('eventbridge.refusals') <= {times} then
                 raise exception 'refused by a test' using errcode = {};
             end if;
             return null;
         end $$;
         create trigger refuse_change before update on eventbridge.executions
            for each statement execute function eventbridge.refuse_change()",
        text(sqlstate)
    ))
}

/// Takes the responses from all idempotency keys, as if their processes had died before they stored them, and ends
/// the locks.
pub fn forget_stored_responses() -> Change {
    Change(
        "update eventbridge.idempotency_keys
            set status = null, content_type = null, location = null, body = null, locked_until = now()"
            .to_owned(),
    )
}

/// Makes all idempotency keys, and the ends of their locks, older.
pub fn age_idempotency_keys(by: Duration) -> Change {
    Change(format!(
        "update eventbridge.idempotency_keys set created_at = created_at - {0}, locked_until = locked_until - {0}",
        interval(by)
    ))
}

/// Hides the table of bulk tasks, so that none can be created.
pub fn hide_tasks() -> Change {
    Change("alter table eventbridge.tasks rename to hidden_tasks".to_owned())
}

/// Shows it again.
pub fn show_tasks() -> Change {
    Change("alter table eventbridge.hidden_tasks rename to tasks".to_owned())
}

/// Makes all leases begin earlier.
pub fn age_leases(by: Duration) -> Change {
    Change(format!("update eventbridge.leases set leased_at = leased_at - {}", interval(by)))
}

/// Makes all runs of lanes begin earlier.
pub fn age_lane_runs(by: Duration) -> Change {
    Change(format!("update eventbridge.lane_runs set began_at = began_at - {}", interval(by)))
}

/// Makes all workers silent for this long.
pub fn silence_workers(time: Duration) -> Change {
    Change(format!("update eventbridge.workers set heartbeat_at = now() - {}", interval(time)))
}

/// Adds a worker that has been silent for this long, as one that was killed.
pub fn a_worker_silent_for(time: Duration) -> Change {
    Change(format!(
        "insert into eventbridge.workers (id, version, heartbeat_at)
         values (gen_random_uuid(), '0.1.0', now() - {})",
        interval(time)
    ))
}

/// Removes all workers.
pub fn remove_workers() -> Change {
    Change("delete from eventbridge.workers".to_owned())
}

/// Sets this message on every attempt.
pub fn set_messages(message: &str) -> Change {
    Change(format!("update eventbridge.attempts set message = {}", text(message)))
}

/// Makes the body of every event this large.
pub fn set_body_bytes(count: u32) -> Change {
    Change(format!("update eventbridge.events set payload = convert_to(repeat('x', {count}), 'UTF8')"))
}

/// Removes the body of an event, as retention does.
pub fn remove_body(event_id: &str) -> Change {
    Change(format!(
        "update eventbridge.events
            set payload = '', payload_removed_at = now(), payload_removed_by = 'retention'
          where event_id = {}",
        text(event_id)
    ))
}

/// Sets all rate limits to no remaining slot.
pub fn use_up_slots() -> Change {
    Change("update eventbridge.rate_limits set next_at = now()".to_owned())
}

/// Makes the minute of the call counts one older.
pub fn age_call_counts() -> Change {
    Change("update eventbridge.rate_limits set minute = minute - interval '1 minute'".to_owned())
}

/// Makes all alerts due to be sent again.
pub fn alerts_are_due() -> Change {
    Change("update eventbridge.alerts set next_try_at = now()".to_owned())
}

/// Gives all alerts this many failures, and makes them due.
pub fn alerts_failed(attempts: u32) -> Change {
    Change(format!("update eventbridge.alerts set attempts = {attempts}, next_try_at = now()"))
}

/// Acknowledges all failures up to this age.
pub fn acknowledge_until(ago: Duration) -> Change {
    Change(format!("update eventbridge.failure_groups set acknowledged_through = now() - {}", interval(ago)))
}

/// Gives all failure groups this remedy.
pub fn remedies(remedy: &str) -> Change {
    Change(format!("update eventbridge.failure_groups set remedy = {}", text(remedy)))
}

/// Removes all failures from their groups, and removes the groups.
pub fn ungroup() -> Change {
    Change(
        "update eventbridge.executions set failure_group = null; delete from eventbridge.failure_groups"
            .to_owned(),
    )
}

/// A failure group of `notion`.
pub fn failure_group(key: &str, class: &str, pattern: &str) -> Change {
    Change(format!(
        "insert into eventbridge.failure_groups (key, destination, error_class, pattern)
         values ({}, 'notion', {}, {}) on conflict do nothing",
        text(key),
        text(class),
        text(pattern)
    ))
}

/// Failure groups of `notion` without failures: `old` and `known` two months old, `known` acknowledged
/// today, `young` created today, and `used`, which is as old.
pub fn idle_groups() -> Change {
    Change(
        "insert into eventbridge.failure_groups
                (key, destination, error_class, pattern, created_at, acknowledged_at)
         values ('old', 'notion', 'x', 'x', now() - interval '60 days', null),
                ('known', 'notion', 'x', 'x', now() - interval '60 days', now()),
                ('young', 'notion', 'x', 'x', now(), null),
                ('used', 'notion', 'x', 'x', now() - interval '60 days', null)"
            .to_owned(),
    )
}

/// A finished execution for `notion`, without an event.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    pub status: &'a str,
    pub class: Option<&'a str>,
    pub group: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub ago: Duration,
}

impl Ended<'_> {
    /// One that failed this long ago.
    pub const fn failed(ago: Duration) -> Self {
        Self { status: "failed", class: Some("timeout"), group: None, reason: None, ago }
    }
}

impl From<Ended<'_>> for Change {
    fn from(ended: Ended<'_>) -> Self {
        let quoted = |words: Option<&str>| words.map_or_else(|| "null".to_owned(), text);
        Self(format!(
            "insert into eventbridge.executions
                    (event_key, destination, status, error_class, failure_group, reason, finished_at)
             select coalesce(max(event_key), 0) + 1, 'notion', {}, {}, {}, {}, now() - {}
               from eventbridge.executions",
            text(ended.status),
            quoted(ended.class),
            quoted(ended.group),
            quoted(ended.reason),
            interval(ended.ago)
        ))
    }
}

/// An execution for `notion` that has waited for this long and is due tomorrow, without an event.
pub fn waiting_since(time: Duration) -> Change {
    Change(format!(
        "with made as (
             insert into eventbridge.executions (event_key, destination, created_at)
             select coalesce(max(event_key), 0) + 1, 'notion', now() - {} from eventbridge.executions
             returning id, created_at)
         insert into eventbridge.queue (execution_id, destination, run_at, since)
         select id, 'notion', now() + interval '1 day', created_at from made",
        interval(time)
    ))
}

/// An execution of every event for this destination.
pub fn execute_all_for(destination: &str) -> Change {
    Change(format!(
        "insert into eventbridge.executions (event_key, destination) select id, {} from eventbridge.events;
         {QUEUE_PENDING}",
        text(destination)
    ))
}

/// Events with an execution each for this destination. The lane is an expression over the number `n`.
pub fn queued(count: i64, destination: &str, lane: &str) -> Change {
    Change(format!(
        "with added as (
             insert into eventbridge.events (source, event_id, type, signature, secret_name, payload)
             select 'test', gen_random_uuid()::text, 'invoice.paid', '', '', '{{}}'
               from generate_series(1, {count})
             returning id)
         insert into eventbridge.executions (event_key, destination, mode, lane)
         select id, {}, case when lane is null then 'event' else 'object' end, lane
           from (select id, ({lane})::text as lane
                   from (select id, row_number() over (order by id) as n from added) as numbered) as laned
          order by id;
         {QUEUE_PENDING}",
        text(destination)
    ))
}

/// This many events, whose executions for `notion` have failed in one group.
pub fn failed_events(count: u32) -> Change {
    Change(format!(
        "with made as (
             insert into eventbridge.events (source, event_id, type, signature, secret_name, payload)
             select 'stripe', 'evt_' || before + n, 'invoice.paid', '', 'x', '{{}}'
               from generate_series(1, {count}) as n
              cross join (select count(*) as before from eventbridge.events) as known
             returning id)
         -- In a group: those that have none get theirs in the background, and are passed over meanwhile.
         insert into eventbridge.executions (event_key, destination, status, error_class, finished_at, failure_group)
         select id, 'notion', 'failed', 'timeout', now(), 'made' from made"
    ))
}

/// Sixty events, one a minute, the last of them 20 hours ago; all others arrived an hour before.
pub fn silence_of_a_day() -> Change {
    Change(
        "update eventbridge.events set received_at = now() - interval '22 hours';
         insert into eventbridge.events (source, event_id, type, signature, secret_name, payload, received_at)
         select 'test', 'evt_before_' || n, '', '', '', '{}', now() - interval '21 hours' + n * interval '1 minute'
           from generate_series(1, 60) as n"
            .to_owned(),
    )
}

/// This many states of one object that arrived two months ago and were superseded.
pub fn superseded_states(count: i64) -> Change {
    Change(format!(
        "with added as (
             insert into eventbridge.events
                    (source, event_id, type, object_id, signature, secret_name, payload, created, received_at)
             select 'test', 'evt_' || n, 'invoice.updated', 'in_1', '', '', '{{}}',
                    now() - interval '60 days' + n * interval '1 second', now() - interval '60 days'
               from generate_series(1, {count}) as n
             returning id)
         insert into eventbridge.executions (event_key, destination, mode, lane, status)
         select id, 'notion', 'object', 'notion in_1', 'superseded' from added order by id"
    ))
}

/// An execution whose worker is gone, after two others died with it while it ran alone.
pub fn poisonous_execution() -> Change {
    Change(
        "with event as (
             insert into eventbridge.events (source, event_id, type, signature, secret_name, payload)
             values ('test', 'evt_poison', 'invoice.paid', '', '', '{}')
             returning id
         ), execution as (
             insert into eventbridge.executions
                    (event_key, destination, crashes, crashes_alone)
             select id, 'notion', 2, 2 from event
             returning id
         )
         insert into eventbridge.leases (execution_id, destination, worker_id, fence, alone)
         select id, 'notion', gen_random_uuid(), nextval('eventbridge.fences'), true from execution"
            .to_owned(),
    )
}

/// A request that was rejected so long ago because no secret matches its signature.
pub fn rejected_request(ago: Duration) -> Change {
    Change(format!(
        "insert into eventbridge.rejections (slot, number, source, reason, header_names, by_sender, body_bytes,
                body_sha256, body_form, unseen, at)
         select number % 100, number, 'stripe', 'signature_no_match', '{{}}', true, 1, '', 'as_sent', 0, now() - {}
           from nextval('eventbridge.rejection_numbers') as number",
        interval(ago)
    ))
}

/// Makes the events that were not accepted this much older, and their last request too unless it is a repeated one.
pub fn age_unanswered(by: Duration, is_repeated: bool) -> Change {
    let last = if is_repeated { "last_at".to_owned() } else { format!("last_at - {}", interval(by)) };
    Change(format!(
        "update eventbridge.unanswered_events set first_at = first_at - {}, last_at = {last}",
        interval(by)
    ))
}

/// A number of the current minute or hour.
pub fn statistic(per: &str, kind: &str, name: &str, n: i64) -> Change {
    Change(format!(
        "insert into eventbridge.statistics (per, at, kind, name, le_ms, n)
         values ({}, date_trunc({0}, now()), {}, {}, 0, {n})",
        text(per),
        text(kind),
        text(name)
    ))
}

/// A month of hours in which every chart has a number in every step.
pub fn busy_month() -> Change {
    Change(
        "insert into eventbridge.statistics (per, at, kind, name, le_ms, n)
         select 'hour', date_trunc('hour', now()) - hours * interval '1 hour', kind, 'notion', le_ms, 1000 + hours
           from generate_series(0, 720) as hours,
                (values ('received', 0), ('delivered', 0), ('failed', 0), ('pending', 0), ('latency', 500), ('latency', 5000))
                    as numbers (kind, le_ms)"
            .to_owned(),
    )
}

/// Puts the events a minute apart from the start of 2026 on, every fifth out of order, and removes every
/// seventh.
pub fn minute_apart_with_gaps() -> Change {
    Change(
        "update eventbridge.events set received_at = '2026-01-01'::timestamptz at time zone 'utc'
            + (id + case id % 5 when 0 then -0.4 else 0 end) * interval '1 minute';
         delete from eventbridge.events where id % 7 = 0"
            .to_owned(),
    )
}

/// Spaces the events four minutes apart in the order of arrival, with all their rows.
pub fn four_minutes_apart() -> Change {
    Change(format!(
        "create temporary table shift as
             select id as event_key, (max(id) over () - id + 1) * interval '4 minutes' as by from eventbridge.events;
         {SHIFT}"
    ))
}

/// Makes the pending events arrive one after the other during the last minutes, after everything else.
pub fn waited_for(minutes: u32) -> Change {
    let minutes = interval(MINUTE * minutes);
    Change(format!(
        "create temporary table shift as
             select event_key, status, {minutes} *
                    case status when 'pending' then row_number() over (partition by status order by event_key desc)
                                                    / count(*) over (partition by status)::float
                                else 1.05 end as by
               from eventbridge.executions;
         {SHIFT};
         update eventbridge.destinations set paused_since = paused_since - {minutes}, probe_at = now()
          where paused_since is not null"
    ))
}

/// Makes events and all their rows older, by the table `shift`.
const SHIFT: &str =
    "update eventbridge.events set received_at = received_at - by from shift where event_key = id;
     update eventbridge.executions
        set created_at = created_at - by, started_at = started_at - by, finished_at = finished_at - by
       from shift where shift.event_key = executions.event_key;
     update eventbridge.queue set run_at = run_at - by, since = since - by
       from shift join eventbridge.executions using (event_key) where executions.id = execution_id;
     update eventbridge.attempts set started_at = attempts.started_at - by
       from shift join eventbridge.executions using (event_key) where executions.id = execution_id";

/// Removes an event from the search index, whose mark is set after it.
pub fn forget_indexed(event: i64, settled: i64, mark: i64) -> Change {
    Change(format!(
        "delete from eventbridge.event_facts where event_key = {event};
         delete from eventbridge.search_terms where event_key = {event};
         update eventbridge.search_index_progress set mark_id = {mark}, settled_id = {settled}, mark_at = now()"
    ))
}

/// Makes the mark of the search index this old.
pub fn age_mark(time: Duration) -> Change {
    Change(format!("update eventbridge.search_index_progress set mark_at = now() - {}", interval(time)))
}

/// Makes the database refuse events of this type.
pub fn refuse_events_of(event_type: &str) -> Change {
    Change(format!("alter table eventbridge.events add check (type <> {})", text(event_type)))
}

/// Makes the database refuse what is written of an object's page.
pub fn refuse_written_properties() -> Change {
    Change("alter table eventbridge.remote_objects add check (jsonb_typeof(written) = 'null')".to_owned())
}

/// Makes the record of migrations show that none succeeded.
pub fn fail_migrations() -> Change {
    Change("update eventbridge.migrations set success = false".to_owned())
}

/// Hides the record of migrations.
pub fn hide_migrations() -> Change {
    Change("alter table eventbridge.migrations rename to gone".to_owned())
}

/// A transaction that has inserted an event and does not end.
pub struct OpenWrite(PgConnection);

impl OpenWrite {
    pub async fn of(database: &Database, event_id: &str) -> Self {
        let mut connection = PgConnection::connect_with(&database.options()).await.unwrap();
        let sql = format!(
            "begin; insert into eventbridge.events (source, event_id, type, signature, secret_name, payload)
             values ('stripe', {}, 'invoice.paid', '', '', '')",
            text(event_id)
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        Self(connection)
    }

    pub async fn roll_back(mut self) {
        sqlx::raw_sql("rollback").execute(&mut self.0).await.unwrap();
    }
}

/// A transaction that has locked a worker's row and does not end.
pub struct LockedWorker(PgConnection);

impl LockedWorker {
    pub async fn of(database: &Database, worker: Uuid) -> Self {
        let mut connection = PgConnection::connect_with(&database.options()).await.unwrap();
        let sql = format!("begin; select from eventbridge.workers where id = '{worker}' for key share");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        Self(connection)
    }

    pub async fn release(mut self) {
        sqlx::raw_sql("rollback").execute(&mut self.0).await.unwrap();
    }
}

/// Removes the records of the pages of objects.
pub fn forget_remote_objects() -> Change {
    Change("truncate eventbridge.remote_objects".to_owned())
}

/// Hides the whole schema, so that every statement fails.
pub fn hide_schema() -> Change {
    Change("alter schema eventbridge rename to elsewhere".to_owned())
}

/// Shows a hidden schema again.
pub fn show_schema() -> Change {
    Change("alter schema elsewhere rename to eventbridge".to_owned())
}

/// Writes these words into a row of each table whose texts belong to no event, and into what was recorded about
/// one execution: its reason, the message of its attempt, and the copy of what its page shows.
pub fn texts_about(words: &str, execution: i64) -> Change {
    let (words, json) = (text(words), text(serde_json::json!({"filter": {"search": words}, "note": words})));
    Change(format!(
        "insert into eventbridge.failure_groups (key, destination, error_class, pattern, remedy, note)
         values ({words}, 'notion', 'validation_error', {words}, {words}, {words});
         update eventbridge.failure_groups set key = md5(key) where key = {words};
         insert into eventbridge.audit (who, action, subject_kind, detail)
         values ('ops', 'events.replayed', 'events', {json}::jsonb);
         insert into eventbridge.alerts (key, kind, summary, remedy, since)
         values (md5({words}), 'failures', {words}, {words}, now());
         insert into eventbridge.tasks (kind, filter, who, note, status, finished_at, error)
         values ('replay_events', {json}::jsonb, 'ops', {words}, 'failed', now(), {words});
         insert into eventbridge.past_pauses (destination, since, class, reason)
         values ('notion', now(), 'manual', {words});
         insert into eventbridge.destinations (name, memory, paused_since, paused_class, paused_reason, paused_remedy)
         values (md5({words}), {json}::jsonb, now(), 'manual', {words}, {words});
         insert into eventbridge.remote_objects (lane, fence, remote_url, execution_id, written)
         values (md5({words}), 1, 'https://x.example/' || {words}, {execution}, {json}::jsonb);
         update eventbridge.executions set reason = {words}, remote_url = 'https://x.example/' || {words}
          where id = {execution};
         insert into eventbridge.attempts (execution_id, fence, started_at, duration_ms, outcome, message)
         select {execution}, coalesce(max(fence), 0) + 1, now(), 1, 'permanent', {words}
           from eventbridge.attempts where execution_id = {execution}"
    ))
}

/// Ends all leases of background work, as time does after their holder died.
pub fn end_named_leases() -> Change {
    Change("update eventbridge.named_leases set held_until = now() - interval '1 second'".to_owned())
}
