-- Where a page lies, which states a person wants written anew, and on what a hold showed.

-- Who waits for a table longer than this lets the others go first; the start tries again.
set local lock_timeout = '5s';

-- The part of the destination in which the page lies, such as a Notion data source: when the settings
-- name another one, the page is not there. Null where it was written before this was recorded.
alter table eventbridge.executions add column remote_place text;
alter table eventbridge.remote_objects add column remote_place text;

-- When a person last asked for another try: what is shown is then written whole.
alter table eventbridge.executions add column retried_at timestamptz;

-- The execution on which the trouble showed: where reading cannot tell whether it is mended, this one
-- is tried by itself.
alter table eventbridge.destinations add column held_execution bigint;
