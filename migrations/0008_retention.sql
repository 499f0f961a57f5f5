-- Retention: which bodies were removed and why, and how far work in the background has come.

-- Set where the body was removed; it is empty then. Neither column rewrites a row.
alter table eventbridge.events add column payload_removed_at timestamptz;
alter table eventbridge.events add column payload_removed_why text;

-- Work that one replica at a time does in the background.
create table eventbridge.chores (
    name      text primary key,
    -- When it is due. Whoever does it moves this on as it goes: where that process dies, another one
    -- takes over a little later.
    due_at    timestamptz not null default now(),
    -- How far the present round has come, as an event's id.
    position  bigint not null default 0
);
