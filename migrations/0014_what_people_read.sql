-- What people read: when instances were held, how a rate is used, and which object an event is about.

-- Who waits for a table longer than this lets the others go first; the start tries again.
set local lock_timeout = '5s';

-- Whoever asks why something was late wants to know of holds that are over, too.
create table eventbridge.past_holds (
    id           bigint generated always as identity primary key,
    destination  text not null,
    since        timestamptz not null,
    until        timestamptz not null default now(),
    class        text,
    reason       text
);

create index past_holds_by_destination on eventbridge.past_holds (destination, until);

-- How many slots began in a minute, and how many in the one before it.
alter table eventbridge.rate_limits
    add column minute        timestamptz,
    add column calls         integer not null default 0,
    add column calls_before  integer not null default 0;

-- The object that the amount is of, or the event where it is about none; null in rows from before.
alter table eventbridge.event_facts add column subject text;
