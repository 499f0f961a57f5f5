-- The schema, by topic: events, executions, the queue, destinations, failures, search, statistics,
-- operations. `comment on` describes each table and index, SQL comments describe the columns.
--
-- An event is identified by `event_key`, our own number, because `event_id` is the sender's text.
-- There are no foreign keys; ADR 0004 states the reasons.

comment on table eventbridge.migrations is
    'The migrations that were applied to this schema. Later ones are added in files of their own.';


-- Events ------------------------------------------------------------------------------------------

create table eventbridge.events (
    id                   bigint generated always as identity primary key,
    source               text not null,
    -- The sender's id of the event.
    event_id             text not null,
    type                 text not null,
    -- The object that the event is about, if it names one.
    object_id            text,
    object_type          text,
    -- The sender's account to which the event belongs, if it is a connected one.
    account              text,
    livemode             boolean,
    api_version          text,
    -- When the sender created the event, by its own clock.
    created              timestamptz,
    -- Whether the payload has the state of the object and not only a reference to it. The source decides
    -- when the event is received.
    carries_state        boolean not null default true,
    received_at          timestamptz not null default now(),
    -- Whether it was received, or fetched from its sender's API: then no signature proves it.
    origin               text not null default 'webhook' check (origin in ('webhook', 'api')),
    -- The signature header and the body, byte for byte: the event can be verified again. Of a fetched event
    -- the signature is empty, and the name is that of the API key.
    signature            text not null,
    secret_name          text not null,
    -- Empty once the payload was removed.
    payload              bytea not null,
    payload_removed_at   timestamptz,
    payload_removed_by   text check (payload_removed_by in ('retention', 'erasure')),
    unique (event_id, source)
);

create index events_by_type on eventbridge.events (type, id);

create index events_by_object on eventbridge.events (object_id, id) where object_id is not null;

-- lz4 takes a fraction of pglz's time. A server that was built without it keeps pglz.
do $$
begin
    alter table eventbridge.events alter column payload set compression lz4;
exception when feature_not_supported then
    raise notice 'this server has no lz4: payloads are compressed with pglz';
end
$$;

comment on table eventbridge.events is
    'Every event that was received. Only retention removes a row.';
comment on index eventbridge.events_event_id_source_key is
    'One event per sender and id. In this order it also finds an event by its id alone.';
comment on index eventbridge.events_by_type is
    'The events of a type, newest first, and the list of the types that were received.';
comment on index eventbridge.events_by_object is
    'All events of an object, newest first.';

create table eventbridge.pulls (
    -- The source instance, and which of its lists of events: the name of the API key.
    source        text not null,
    name          text not null,
    -- Changes with the key, so that another account's list is read from its beginning.
    identity      text not null,
    -- Every event that the sender created before is stored, by the sender's clock. Null before the first read.
    position      timestamptz,
    -- When the newest events were last read without a failure.
    read_at       timestamptz,
    -- Since when reading fails, how and what to do; null while it works.
    failing_since timestamptz,
    failure_class text,
    failure       text,
    remedy        text,
    primary key (source, name),
    check (num_nonnulls(failing_since, failure_class, failure, remedy) in (0, 4))
);

comment on table eventbridge.pulls is
    'How far the lists of events at senders were read, to fetch what no webhook brought.';


-- Executions --------------------------------------------------------------------------------------

create function eventbridge.with_retry(retries jsonb, status text, finished_at timestamptz) returns jsonb
    language sql stable parallel safe
    return (select case when jsonb_array_length(retries) >= 20 then retries - 0 else coalesce(retries, '[]') end
                   || jsonb_build_array(case
                          -- A retry of what waits for a retry repeats the same as that one.
                          when status = 'pending' and last is not null then last || jsonb_build_object('at', now())
                          else jsonb_build_object('at', now(), 'was', status, 'since', finished_at, 'ended',
                                   case when status is null or status = 'pending' or ended ? status then ended
                                        else ended || to_jsonb(status) end)
                          end)
              from (select retries -> -1 as last, coalesce(retries -> -1 -> 'ended', '[]') as ended) as known);

comment on function eventbridge.with_retry is
    'The retries of an execution with that of this transaction. Each entry has its time, the state that it repeats, '
    'since when the execution had it, and all states in which it ever ended. The last 20 are kept.';

create table eventbridge.executions (
    id              bigint generated always as identity primary key,
    -- Its subject: an event, or a row that many events change. A row has one execution per destination, which
    -- is queued again whenever a newer version of the row is to be written.
    event_key       bigint,
    row_key         text,
    -- The newest version of the row that is to be written.
    row_version     bigint,
    -- The destination instance.
    destination     text not null,
    -- What it delivers: the event, or the state of the event's object. Fixed on creation.
    mode            text not null default 'event' check (mode in ('event', 'object')),
    -- The executions of a lane run one at a time; null if this one stands alone. In mode `object` the newest
    -- state wins, in mode `event` all are delivered in order.
    lane            text,
    -- A pending one has a row in `queue`, or a lease while it runs.
    status          text not null default 'pending' check (status in
                    ('pending', 'success', 'failed', 'skipped', 'superseded', 'cancelled')),
    -- Why it has this status, for the operator; null if there is nothing to explain.
    reason          text,
    -- Failed attempts since it was created or since an operator last retried it.
    attempts        integer not null default 0,
    -- Workers that died while they ran it, since its last completion. After one it is quarantined: it
    -- runs alone in its process.
    crashes         integer not null default 0,
    -- Workers that died while they ran it alone, so that no other execution can be the cause.
    crashes_alone   integer not null default 0,
    -- A write whose outcome is unknown was sent then: look for its page before writing again.
    in_doubt_since  timestamptz,
    -- The last completed attempt.
    error_class     text,
    response_code   integer,
    duration_ms     integer,
    -- The row of failure_groups to which a failed execution belongs.
    failure_group   text,
    -- What it wrote: the destination's id, a link, and the part of the destination that holds it, such
    -- as a Notion data source. If the settings name another part, the page is not there.
    remote_id       text,
    remote_url      text,
    remote_place    text,
    -- The execution whose newer state was written instead.
    superseded_by   bigint,
    created_at      timestamptz not null default now(),
    -- When an operator last retried or replayed it: the object's state is then written in full.
    retried_at      timestamptz,
    -- Each retry and replay by an operator, oldest first, as `with_retry` writes them. Null if there was none.
    retries         jsonb,
    started_at      timestamptz,
    finished_at     timestamptz,
    unique (event_key, destination),
    check (num_nonnulls(event_key, row_key) = 1),
    check ((row_key is null) = (row_version is null)),
    -- Failures are grouped by class.
    check (status <> 'failed' or error_class is not null)
);

create unique index executions_by_row on eventbridge.executions (row_key, destination)
    where row_key is not null;

create index executions_by_lane on eventbridge.executions (lane, id) where lane is not null;

create index executions_in_doubt on eventbridge.executions (lane)
    where lane is not null and in_doubt_since is not null;

create index executions_failed on eventbridge.executions (id) where status = 'failed';

create index executions_by_failure_group on eventbridge.executions (failure_group, finished_at, id)
    where status = 'failed';

create index executions_by_retry on eventbridge.executions (retried_at) where retried_at is not null;

create index executions_by_remote on eventbridge.executions (remote_id) where remote_id is not null;

comment on table eventbridge.executions is
    'The way of an event, or of a row''s newest version, to one destination instance.';
comment on index eventbridge.executions_event_key_destination_key is
    'One execution per event and destination; also finds the executions of an event.';
comment on index eventbridge.executions_by_row is
    'One execution per row and destination.';
comment on index eventbridge.executions_by_lane is
    'The executions of a lane, whatever their status.';
comment on index eventbridge.executions_in_doubt is
    'The writes in doubt of a lane: few, however long the history of the lane is.';
comment on index eventbridge.executions_failed is
    'The list of all failed executions.';
comment on index eventbridge.executions_by_failure_group is
    'The failures of a group, by the time at which they failed, and those that have no group yet.';
comment on index eventbridge.executions_by_retry is
    'The executions that one bulk operation queued: they all have its time. New work never touches it.';
comment on index eventbridge.executions_by_remote is
    'The executions that wrote a page. New work never touches it.';

create table eventbridge.attempts (
    execution_id   bigint not null,
    -- The lease under which it ran; later attempts have greater fences.
    fence          bigint not null,
    started_at     timestamptz not null,
    duration_ms    integer not null,
    outcome        text not null,
    response_code  integer,
    error_class    text,
    message        text,
    -- The destination's id of the request.
    request_id     text,
    primary key (execution_id, fence)
);

comment on table eventbridge.attempts is
    'Every attempt that ended: a worker completed it, or died during it.';


-- The queue ---------------------------------------------------------------------------------------
--
-- An execution that waits has a row in `queue`, an execution that runs has one in `leases`. Both tables are
-- narrow and short, however long the history in `executions` is. No statement of the hot path searches among
-- rows that were deleted: a claim begins where the last one ended, and a lane is read from its newest run.
-- So a transaction that stays open for hours, and keeps Postgres from removing deleted rows, slows no claim.

create table eventbridge.queue (
    execution_id  bigint primary key,
    destination   text not null,
    -- Why it waits, which decides its turn: it is new, is tried again, was queued with many others, or may
    -- have crashed a worker and runs alone.
    class         text not null default 'fresh' check (class in ('fresh', 'retry', 'bulk', 'quarantined')),
    -- It is claimed no earlier than this.
    run_at        timestamptz not null default now(),
    lane          text,
    mode          text not null default 'event',
    -- When the execution was created, or when an operator last asked for it.
    since         timestamptz not null default now()
);

create index queue_due on eventbridge.queue (destination, class, run_at, execution_id);

create index queue_holding_lane on eventbridge.queue (lane, execution_id)
    where lane is not null and class in ('retry', 'quarantined');

create index queue_in_order on eventbridge.queue (lane, execution_id)
    where lane is not null and mode = 'event';

comment on table eventbridge.queue is
    'The executions that wait. A claim deletes the row and writes a lease in one statement.';
comment on index eventbridge.queue_due is
    'The claim reads what is due per destination and class, oldest first. A backlog of one class or '
    'destination delays no other.';
comment on index eventbridge.queue_holding_lane is
    'A failed or interrupted execution holds its lane until it is tried again.';
comment on index eventbridge.queue_in_order is
    'The claim checks that nothing in a lane precedes an execution that is to be delivered in order.';

create table eventbridge.workers (
    id            uuid primary key,
    version       text not null,
    started_at    timestamptz not null default now(),
    heartbeat_at  timestamptz not null default now(),
    -- How many executions ran in the process at its last heartbeat, and how many had ended since it registered.
    running       integer not null default 0,
    ended         bigint not null default 0,
    -- The destinations to which it delivered nothing at that time, after repeated failures; null if to none.
    resting       jsonb
);

comment on table eventbridge.workers is
    'The processes that claim executions. A process whose heartbeat stops loses its row, and its leases with it.';

create sequence eventbridge.fences;

comment on sequence eventbridge.fences is
    'Numbers the leases.';

create table eventbridge.leases (
    execution_id        bigint primary key,
    destination         text not null,
    -- The lane of the execution; null if it stands alone.
    lane                text,
    worker_id           uuid not null,
    -- Distinguishes this lease from an earlier one of the same execution.
    fence               bigint not null,
    leased_at           timestamptz not null default now(),
    -- Whether it runs alone in its process.
    alone               boolean not null default false,
    -- If the subject is a row: the version at the claim.
    row_version         bigint,
    -- A key that the lease locks at a destination: until it ends, no other lane may look for an entry of
    -- that key there, or write one. Most leases lock none.
    locked_destination  text,
    locked_key          text,
    check ((locked_destination is null) = (locked_key is null))
);

create unique index leases_by_locked_key on eventbridge.leases (locked_destination, locked_key)
    where locked_key is not null;

comment on table eventbridge.leases is
    'The executions that run. The primary key allows one lease per execution; only the holder of the fence can complete it.';
comment on index eventbridge.leases_by_locked_key is
    'At most one lane locks a key of a destination at a time.';

create table eventbridge.lane_runs (
    lane          text not null,
    -- 1 for the first run of the lane, 2 for the second, and so on.
    run           bigint not null,
    -- The lease of the run. The lane is free once its newest run has no lease any more.
    execution_id  bigint not null,
    fence         bigint not null,
    began_at      timestamptz not null default now(),
    primary key (lane, run)
);

create index lane_runs_by_time on eventbridge.lane_runs (began_at);

comment on table eventbridge.lane_runs is
    'The runs of each lane. The next number can be taken once and only while the lane is free, so at most one '
    'execution of a lane runs at a time. Old rows are removed, except for the newest run of each lane.';
comment on index eventbridge.lane_runs_by_time is
    'The runs that are old enough to be removed.';

create table eventbridge.rate_limits (
    -- A name for the credentials that share the rate.
    connection     text primary key,
    -- The next call may begin then.
    next_at        timestamptz not null default now(),
    -- The other side asked for no calls until then.
    blocked_until  timestamptz not null default now(),
    -- How many calls began in this minute, and how many in the minute before it.
    minute         timestamptz,
    calls          integer not null default 0,
    calls_before   integer not null default 0
);

comment on table eventbridge.rate_limits is
    'The rate of each connection, which all its destination instances and all replicas share.';


-- Destinations ------------------------------------------------------------------------------------

create table eventbridge.destinations (
    name              text primary key,
    -- What the instance remembers between runs; only its kind knows the content.
    memory            jsonb,
    -- Set while it is paused: nothing is claimed for it.
    paused_since      timestamptz,
    -- The class of the failure, or `manual` if an operator paused it.
    paused_class      text,
    paused_reason     text,
    paused_remedy     text,
    -- Who paused it, if an operator did. The reason is then their note.
    paused_by         text,
    -- The execution that failed. If a read cannot tell whether the cause is gone, this one is the canary.
    paused_execution  bigint,
    probe_at          timestamptz,
    -- A paused destination states why, and what to do.
    check (paused_since is null or num_nulls(paused_class, paused_reason, paused_remedy) = 0)
);

comment on table eventbridge.destinations is
    'The state of each destination instance; an instance without state has no row.';

create table eventbridge.past_pauses (
    id           bigint generated always as identity primary key,
    destination  text not null,
    since        timestamptz not null,
    until        timestamptz not null default now(),
    class        text not null,
    reason       text not null
);

create index past_pauses_by_destination on eventbridge.past_pauses (destination, until);

comment on table eventbridge.past_pauses is
    'The pauses that ended. They explain why an execution was late.';
comment on index eventbridge.past_pauses_by_destination is
    'The pauses of a destination during a period.';

create table eventbridge.remote_objects (
    lane          text not null,
    -- The lease under which it was written: each write replaces the row by one with a greater fence. A lane
    -- is read from its greatest fence, so its former rows cost nothing.
    fence         bigint not null,
    -- Null if the destination has no ids for entries.
    remote_id     text,
    remote_url    text,
    remote_place  text,
    -- The execution whose state is shown.
    execution_id  bigint not null,
    -- The properties as they were last written, with which the next state is compared. Null if they are
    -- unknown: the next state is then written in full.
    written       jsonb,
    primary key (lane, fence)
);

comment on table eventbridge.remote_objects is
    'What a destination shows of an object: its page, and the state that was last written to it.';


-- Failures ----------------------------------------------------------------------------------------

create function eventbridge.failure_group_key(destination text, error_class text, pattern text) returns text
    language sql immutable parallel safe
    return left(encode(sha256(convert_to(concat_ws(chr(10), destination, error_class, pattern), 'UTF8')), 'hex'), 16);

comment on function eventbridge.failure_group_key is
    'The key of a failure group. Each statement that puts an execution into a group computes it here.';

create table eventbridge.failure_groups (
    -- failure_group_key(destination, error_class, pattern).
    key                   text primary key,
    -- In the order in which the groups first appeared.
    id                    bigint generated always as identity,
    destination           text not null,
    error_class           text not null,
    -- The message without its ids, numbers, quoted texts and addresses.
    pattern               text not null,
    -- What to do, from the newest failure that has a remedy.
    remedy                text,
    created_at            timestamptz not null default now(),
    -- The failures up to this time are acknowledged, later ones are not.
    acknowledged_through  timestamptz,
    acknowledged_at       timestamptz,
    acknowledged_by       text,
    note                  text
);

comment on table eventbridge.failure_groups is
    'Failures with the same cause: one destination, one class, one message except for ids and numbers.';


-- Search ------------------------------------------------------------------------------------------

create table eventbridge.event_facts (
    event_key       bigint primary key,
    -- The object that the amount belongs to, or the event if it has no object.
    subject         text,
    -- In minor units; null if there is no amount, or no whole one.
    amount_minor    bigint,
    currency        text,
    customer        text,
    customer_email  text,
    invoice_number  text,
    -- The event's rows in search_terms, so that they can be removed with the event.
    terms           text[] not null
);

comment on table eventbridge.event_facts is
    'What an event''s payload contains. The search indexer writes it later; a row means that the event is indexed.';

create table eventbridge.search_terms (
    -- An id, an e-mail address or a number, in lower case.
    term       text collate "C" not null,
    event_key  bigint not null,
    primary key (term, event_key)
);

comment on table eventbridge.search_terms is
    'The words by which events are found.';

create table eventbridge.search_index_progress (
    only_row    boolean primary key default true check (only_row),
    -- Every event up to here that was visible is indexed; one that was committed late may be missing.
    seen_id     bigint not null default 0,
    -- Every event up to here is indexed.
    settled_id  bigint not null default 0,
    -- The newest event at a time. No statement that wrote an earlier event runs much longer than that.
    mark_id     bigint not null default 0,
    mark_at     timestamptz not null default now()
);

insert into eventbridge.search_index_progress default values;

comment on table eventbridge.search_index_progress is
    'How far the search indexer has come: one row.';


-- Statistics --------------------------------------------------------------------------------------

create table eventbridge.statistics (
    per    text not null check (per in ('minute', 'hour')),
    at     timestamptz not null,
    kind   text not null,
    -- The reason or the destination; empty if there is neither.
    name   text not null,
    -- The upper bound of a latency bucket in milliseconds: 0 if it is not a latency, the greatest number
    -- for the bucket without a bound.
    le_ms  bigint not null,
    n      bigint not null,
    primary key (per, at, kind, name, le_ms)
    -- Processes update rows every few seconds, so a page has room for the new version of a row.
) with (fillfactor = 70);

comment on table eventbridge.statistics is
    'What happened in each minute and hour. A number of zero has no row.';


-- Operations --------------------------------------------------------------------------------------

create sequence eventbridge.rejection_numbers;

comment on sequence eventbridge.rejection_numbers is
    'Numbers the rejected requests that are logged.';

create table eventbridge.rejections (
    slot          smallint primary key,
    number        bigint not null,
    at            timestamptz not null default now(),
    source        text not null,
    reason        text not null,
    header_names  text[] not null,
    -- Whether the request claims to come from the sender.
    by_sender     boolean not null,
    body_bytes    bigint not null,
    body_sha256   text not null,
    body_form     text not null,
    -- The time in its signature, in Unix seconds.
    claimed_at    bigint,
    livemode      boolean,
    -- How many rejections before this one were not logged.
    unseen        bigint not null
);

comment on table eventbridge.rejections is
    'The last rejected requests. It is a ring: the newest replaces the oldest. No body, no signature and no header value is kept.';

create table eventbridge.unanswered_events (
    event_id  text not null,
    source    text not null,
    type      text not null,
    livemode  boolean,
    -- Whether a request with it was signed with a configured secret. Otherwise anyone can have sent it.
    signed    boolean not null,
    -- When it was first not accepted, and last.
    first_at  timestamptz not null,
    last_at   timestamptz not null,
    primary key (event_id, source)
);

comment on table eventbridge.unanswered_events is
    'Events that were rejected or shed and whose sender waits for an answer. Their number is limited, and they are removed after some days.';

create table eventbridge.audit (
    id            bigint generated always as identity primary key,
    at            timestamptz not null default now(),
    -- The name of the API key, or cli:<user>.
    who           text not null,
    -- Such as execution.retried.
    action        text not null,
    -- What was changed: `execution`, `task`, `destination`, `failure` or `customer` with an id, or `events`
    -- without one. What a bulk task did to many executions is about the task.
    subject_kind  text not null,
    subject_id    text,
    -- The filter, the counts, the note.
    detail        jsonb not null default '{}'
);

create index audit_by_subject on eventbridge.audit (subject_kind, subject_id, id);

comment on table eventbridge.audit is
    'What operators did, and when. It is written by the statement that makes the change.';
comment on index eventbridge.audit_by_subject is
    'What was done to an execution, a destination or a failure group.';

create function eventbridge.sum_of_counts(one jsonb, other jsonb) returns jsonb
    language sql immutable parallel safe
    return (select coalesce(jsonb_object_agg(name, count), '{}')
              from (select key as name, sum(value::bigint) as count
                      from (select * from jsonb_each_text(one) union all select * from jsonb_each_text(other)) as counts
                     group by key) as sums);

comment on function eventbridge.sum_of_counts is
    'Two counts by name, added.';

create table eventbridge.tasks (
    -- The API writes it as `task_42`.
    id           bigint generated always as identity primary key,
    kind         text not null check (kind in ('retry_executions', 'replay_events')),
    -- The parameters of the request: only the given ones.
    filter       jsonb not null,
    -- The name of the API key, or cli:<user>.
    who          text not null,
    note         text,
    status       text not null default 'queued' check (status in
                 ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    -- The next page begins below this id; null before the first page.
    position     bigint,
    -- Executions or events that were read.
    examined     bigint not null default 0,
    -- Executions by destination instance: those that were created, and those that were queued again.
    created      jsonb not null default '{}',
    again        jsonb not null default '{}',
    -- It covers only what was there then.
    created_at   timestamptz not null default now(),
    started_at   timestamptz,
    updated_at   timestamptz not null default now(),
    finished_at  timestamptz,
    -- Why it failed.
    error        text,
    -- A replay distributes among these instances, so only a process that has them all does it.
    destinations text[] not null default '{}',
    -- The process that does its pages, until it stops renewing this.
    holder       uuid,
    held_until   timestamptz,
    -- That of the request that created it, if it had an Idempotency-Key.
    first_attempt uuid,
    check ((status = 'failed') = (error is not null)),
    check ((status in ('queued', 'running')) = (finished_at is null))
);

create index tasks_unfinished on eventbridge.tasks (updated_at) where status in ('queued', 'running');

create index tasks_by_update on eventbridge.tasks (updated_at);

create unique index tasks_by_first_attempt on eventbridge.tasks (first_attempt) where first_attempt is not null;

comment on table eventbridge.tasks is
    'Bulk retries and replays. One statement does a page, writes its audit entry and moves the position, so no '
    'page is done twice or left out.';
comment on index eventbridge.tasks_unfinished is
    'The task whose turn is next: the one that waited longest.';
comment on index eventbridge.tasks_by_update is
    'The finished tasks that are old enough to be removed, and the last change for open pages.';
comment on index eventbridge.tasks_by_first_attempt is
    'One task per request with an Idempotency-Key, also if the process died before it stored the response.';

create table eventbridge.idempotency_keys (
    -- The name of the API key that sent the request.
    caller        text not null,
    key           text not null,
    -- SHA-256 of method, path, query and body.
    request       bytea not null,
    -- Distinguishes this attempt from an earlier one that never ended.
    attempt       uuid not null,
    -- The same for all attempts at one request, as long as the key is kept.
    first_attempt uuid not null,
    created_at    timestamptz not null default now(),
    -- If there is no response until then, another attempt may begin.
    locked_until  timestamptz not null,
    -- The response; null while the request is being processed.
    status        smallint,
    content_type  text,
    location      text,
    body          bytea,
    primary key (caller, key),
    check ((status is null) = (body is null))
);

create index idempotency_keys_by_age on eventbridge.idempotency_keys (created_at);

comment on table eventbridge.idempotency_keys is
    'The responses to requests with an Idempotency-Key, for a day.';
comment on index eventbridge.idempotency_keys_by_age is
    'The keys that are old enough to be removed.';

create table eventbridge.alerts (
    -- Identifies the condition.
    key            text primary key,
    -- The kind of condition, such as `failures`.
    kind           text not null,
    -- The failure group, if the condition is about one.
    failure_group  text,
    -- Whether it is sent during quiet hours.
    urgent         boolean not null default false,
    -- Whether it was due during quiet hours: it is sent with the digest after them.
    held           boolean not null default false,
    summary        text not null,
    remedy         text not null,
    -- Since when the condition lasts.
    since          timestamptz not null,
    raised_at      timestamptz not null default now(),
    -- When a receiver accepted the alert.
    notified_at    timestamptz,
    -- When the condition ended. The row is deleted once a receiver has accepted that. If the alert was held
    -- until then, notified_at is null, and the digest reports both.
    resolved_at    timestamptz,
    -- Failed attempts to send it.
    attempts       integer not null default 0,
    -- The process that sends it moves this ahead first, so that no other one does.
    next_try_at    timestamptz not null default now()
);

comment on table eventbridge.alerts is
    'The conditions that last, and those whose end was not sent yet.';

create table eventbridge.named_leases (
    name        text primary key,
    -- The process that holds it.
    holder      uuid not null,
    -- It ends then unless the holder renews it.
    held_until  timestamptz not null
);

comment on table eventbridge.named_leases is
    'Work that one process at a time does: the holder of the lease with that name.';

create table eventbridge.endpoint_checks (
    -- The source instance, and the name of the API key.
    source      text not null,
    key         text not null,
    livemode    boolean not null,
    -- When a check last succeeded, at least in part; null if none did.
    checked_at  timestamptz,
    -- The endpoints, what is wrong and what is unknown, each since when.
    state       jsonb not null,
    primary key (source, key)
);

comment on table eventbridge.endpoint_checks is
    'Whether the sender sends to this service, as the last check at the sender found it. One process checks, and '
    'all show the result.';

create table eventbridge.revoked_sessions (
    -- The random part of the session's cookie, without its signature.
    session     text primary key,
    -- When the session would have expired. The row is removed a day later.
    expires_at  timestamptz not null
);

create index revoked_sessions_by_expiry on eventbridge.revoked_sessions (expires_at);

comment on table eventbridge.revoked_sessions is
    'The sessions of the dashboard that ended by a logout, so that no replica accepts their cookies.';
comment on index eventbridge.revoked_sessions_by_expiry is
    'The rows that are old enough to be removed.';

create table eventbridge.background_jobs (
    name      text primary key,
    -- The next step may begin then.
    due_at    timestamptz not null default now(),
    -- How far the current round has come, as an event's id.
    position  bigint not null default 0
);

comment on table eventbridge.background_jobs is
    'The progress of periodic work, such as retention.';
