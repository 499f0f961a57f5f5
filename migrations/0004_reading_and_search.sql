-- What people look for: events by object, executions by page, search terms, and failures in groups.
--
-- Runs on a service that works, so not in a transaction: these statements, which blank lines part, are
-- run one by one. Broken off anywhere, all of them are run again.

-- What an earlier run left half built is of no use.
do $$
declare broken regclass;
begin
    for broken in
        select indexrelid::regclass from pg_index
         where not indisvalid
           and indrelid in ('eventbridge.events'::regclass, 'eventbridge.executions'::regclass)
    loop
        execute format('drop index %s', broken);
    end loop;
end
$$;

-- All events of an object, newest first. It is the one index of this file on the ingest path: an
-- object is what people ask for most, and they want it as it is now.
create index concurrently if not exists events_by_object on eventbridge.events (object_id, id)
    where object_id is not null;

-- The executions behind a page. A row enters it when it is delivered, not when it is created.
create index concurrently if not exists executions_by_remote on eventbridge.executions (remote_id)
    where remote_id is not null;

-- Why it failed, as the key of its row in failure_groups; null unless it is failed. Those that had
-- failed before there were groups get theirs in the background.
alter table eventbridge.executions add column if not exists failure_group text;

-- The failures of a group by the time of their end. Only what failed is in it.
create index concurrently if not exists executions_failed_by_group on eventbridge.executions
    (failure_group, finished_at, id)
    where status = 'failed';

-- Failures that are alike: one destination, one class, one message but for its ids and numbers.
create table if not exists eventbridge.failure_groups (
    key                   text primary key,
    -- In the order in which they first came.
    id                    bigint generated always as identity unique,
    destination           text not null,
    error_class           text not null,
    -- The message with its ids, numbers, quoted texts and addresses taken out.
    pattern               text not null,
    created_at            timestamptz not null default now(),
    -- A person knows of the failures up to this time, and of none after it.
    acknowledged_through  timestamptz,
    acknowledged_at       timestamptz,
    acknowledged_by       text,
    note                  text
);

-- What an event's body tells, read in the background. A row says that the event was indexed.
create table if not exists eventbridge.event_facts (
    event_key       bigint primary key,
    -- In whole minor units; null where there is no amount, or none that is whole.
    amount_minor    bigint,
    currency        text,
    customer        text,
    customer_email  text,
    invoice_number  text,
    -- Its rows in search_terms, so that they can be found again when the event goes.
    terms           text[] not null
);

-- Where an event is found: an id, an e-mail address or a number, in lower case.
create table if not exists eventbridge.search_terms (
    term       text collate "C" not null,
    event_key  bigint not null,
    primary key (term, event_key)
);

-- How far events are indexed, and by which process: one row.
create table if not exists eventbridge.indexing (
    only_row    boolean primary key default true check (only_row),
    -- Every event up to here that could be seen was indexed; one that was committed late may be missing.
    seen_id     bigint not null default 0,
    -- Every event up to here is indexed.
    settled_id  bigint not null default 0,
    -- The newest event at a time: no statement that wrote an earlier one runs much longer than that.
    mark_id     bigint not null default 0,
    mark_at     timestamptz not null default now(),
    -- Who is at it, and until when it counts as alive.
    holder      uuid,
    held_until  timestamptz not null default now()
);

insert into eventbridge.indexing default values on conflict do nothing;
