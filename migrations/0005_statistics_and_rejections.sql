-- What happened in each minute and hour, and the last requests that were rejected.

-- One row for each number that is not zero. Processes add to it every few seconds, so a page has
-- room for the new version of a row beside the old one.
create table eventbridge.statistics (
    per    text not null check (per in ('minute', 'hour')),
    at     timestamptz not null,
    kind   text not null,
    -- The reason or the destination; empty where there is neither.
    name   text not null,
    -- The upper bound of a latency's bucket in milliseconds; 0 for what is no latency, and the
    -- greatest number for the bucket without a bound.
    le_ms  bigint not null,
    n      bigint not null,
    primary key (per, at, kind, name, le_ms)
) with (fillfactor = 70);

create sequence eventbridge.rejection_numbers;

-- A ring: the newest rejection takes the place of the oldest. No body, no signature and no text of
-- a header is kept.
create table eventbridge.rejections (
    slot          smallint primary key,
    number        bigint not null,
    at            timestamptz not null default now(),
    source        text not null,
    reason        text not null,
    header_names  text[] not null,
    -- Whether it calls itself the sender's.
    by_sender     boolean not null,
    body_bytes    bigint not null,
    body_sha256   text not null,
    body_form     text not null,
    -- The time that its signature claims, in Unix seconds.
    claimed_at    bigint,
    livemode      boolean,
    -- Rejections before it of which nothing was kept.
    unseen        bigint not null
);
