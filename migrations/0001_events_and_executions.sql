-- Events as they came in, and one execution for each destination instance that wants one.

create table eventbridge.events (
    id           bigint generated always as identity primary key,
    source       text not null,
    event_id     text not null,
    type         text not null,
    object_id    text,
    object_type  text,
    account      text,
    livemode     boolean,
    api_version  text,
    created      timestamptz,
    received_at  timestamptz not null default now(),
    -- The signature header and the body, byte for byte: the event can be verified again.
    signature    text not null,
    secret_name  text not null,
    payload      bytea not null,
    -- In this order the index also finds an event by its id alone.
    unique (event_id, source)
);

create index events_by_type on eventbridge.events (type, id);

-- lz4 costs a fraction of pglz's time; a server built without it keeps pglz.
do $$
begin
    alter table eventbridge.events alter column payload set compression lz4;
exception when feature_not_supported then
    raise notice 'this server has no lz4: payloads are compressed with pglz';
end
$$;

-- No foreign key to events: both rows are written by one statement and removed together by
-- retention, and the check would lock each event's row once more on the ingest path.
create table eventbridge.executions (
    id              bigint generated always as identity primary key,
    event_key       bigint not null,
    destination     text not null,
    -- What it delivers: the event, or the state of the event's object. Fixed when it is created.
    mode            text not null default 'event' check (mode in ('event', 'object')),
    -- What must stay in order, an object of an instance; null where the execution stands alone.
    lane            text,
    status          text not null default 'pending' check (status in
                    ('pending', 'running', 'success', 'failed', 'skipped', 'superseded', 'cancelled')),
    -- Failed tries since it was created or last retried by a person.
    attempts        integer not null default 0,
    -- Workers that died with it since its last verdict; after one it runs alone.
    crashes         integer not null default 0,
    -- Whether it runs, or last ran, with nothing beside it in its process.
    alone           boolean not null default false,
    -- Workers that died with it while it ran alone: that cannot have been another's fault.
    crashes_alone   integer not null default 0,
    run_at          timestamptz not null default now(),
    -- Why it is where it is, for people; null while there is nothing to say.
    reason          text,
    error_class     text,
    response_code   integer,
    duration_ms     integer,
    remote_id       text,
    remote_url      text,
    -- A write of unknown outcome began then: look for its page before writing again.
    unsettled_since timestamptz,
    created_at      timestamptz not null default now(),
    started_at      timestamptz,
    finished_at     timestamptz,
    -- The execution whose newer state was written instead.
    superseded_by   bigint,
    unique (event_key, destination)
);

-- Fresh work and late retries are claimed apart; suspects of having crashed a worker too.
create index executions_fresh on eventbridge.executions (run_at, id)
    where status = 'pending' and crashes = 0 and attempts = 0;
create index executions_late on eventbridge.executions (run_at, id)
    where status = 'pending' and crashes = 0 and attempts > 0;
create index executions_suspect on eventbridge.executions (run_at, id)
    where status = 'pending' and crashes > 0;
create index executions_by_lane on eventbridge.executions (lane, id) where lane is not null;
create index executions_failed on eventbridge.executions (id) where status = 'failed';

-- What is known of a destination instance; one that nothing is known of has no row.
create table eventbridge.destinations (
    name         text primary key,
    -- What it remembers between runs; its kind alone knows what is in it.
    memory       jsonb,
    -- Set while it waits for the operator: nothing is claimed for it.
    held_since   timestamptz,
    held_class   text,
    held_reason  text,
    held_remedy  text,
    probe_at     timestamptz
);

-- What an instance shows of an object: its page, and the state that was written to it last.
create table eventbridge.remote_objects (
    lane        text primary key,
    remote_id   text not null,
    remote_url  text,
    -- The execution whose state it shows.
    execution_id  bigint not null,
    -- The properties as they were written last, by which the next change is found.
    written     jsonb not null,
    updated_at  timestamptz not null default now()
);

-- The rate of a connection (a token), which instances and replicas share.
create table eventbridge.rate_limits (
    connection     text primary key,
    -- When the next call may begin.
    next_at        timestamptz not null default now(),
    -- Until when the other side wants to be left alone.
    blocked_until  timestamptz not null default now()
);

-- One row for each process that works the queue; its leases live as long as it beats.
create table eventbridge.workers (
    id          uuid primary key,
    version     text not null,
    started_at  timestamptz not null default now(),
    beat_at     timestamptz not null default now()
);

create sequence eventbridge.fences;

-- One row for each execution (or lane) that runs. The primary key is what holds "one at a time";
-- the fence is what tells a lease from an earlier one of the same execution.
create table eventbridge.leases (
    key           text primary key,
    execution_id  bigint not null unique,
    worker_id     uuid not null,
    fence         bigint not null default nextval('eventbridge.fences'),
    leased_at     timestamptz not null default now()
);

create index leases_by_worker on eventbridge.leases (worker_id);

-- One row for each try that ended, be it by a verdict or by its worker's death.
create table eventbridge.attempts (
    execution_id   bigint not null,
    -- The lease under which it ran: later tries have greater fences.
    fence          bigint not null,
    started_at     timestamptz not null,
    duration_ms    integer not null,
    outcome        text not null,
    response_code  integer,
    error_class    text,
    message        text,
    request_id     text,
    primary key (execution_id, fence)
);
