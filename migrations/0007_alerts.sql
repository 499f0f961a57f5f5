-- What one process does for all, and what people are told of.

-- A duty is one process's until its time is over, and as long as that renews it.
create table eventbridge.duties (
    name    text primary key,
    holder  uuid not null,
    until   timestamptz not null
);

-- One row for each condition that lasts, or whose end is not told yet.
create table eventbridge.alerts (
    -- What it is about, such as "held notion".
    key          text primary key,
    summary      text not null,
    remedy       text not null,
    -- Since when the condition lasts.
    since        timestamptz not null,
    raised_at    timestamptz not null default now(),
    -- When a receiver took it.
    told_at      timestamptz,
    -- When it was over; the row goes once that is told.
    resolved_at  timestamptz,
    -- Tries to tell it that failed.
    attempts     integer not null default 0,
    -- Whoever takes it on moves this ahead first, so that nobody else does.
    next_try_at  timestamptz not null default now()
);
