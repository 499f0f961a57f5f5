-- What is put into the queue with many others by hand goes behind all else.
--
-- Runs on a service that works, so not in a transaction: these statements, which blank lines part, are
-- run one by one. Broken off anywhere, all of them are run again.

-- Who waits for the table longer than this lets the others go first; the start tries again.
set lock_timeout = '5s';

-- Whether it was retried or replayed with many others: what comes in meanwhile must not wait for them.
alter table eventbridge.executions add column if not exists in_bulk boolean not null default false;

reset lock_timeout;

-- What an earlier run left half built is of no use.
do $$
declare broken regclass;
begin
    for broken in
        select indexrelid::regclass from pg_index
         where not indisvalid and indrelid = 'eventbridge.executions'::regclass
    loop
        execute format('drop index %s', broken);
    end loop;
end
$$;

-- What is due, oldest first, each kind apart. In the place of executions_waiting, which knew three.
create index concurrently if not exists executions_due on eventbridge.executions
    (destination, (case when crashes > 0 then 'suspect' when attempts > 0 then 'late' when in_bulk then 'bulk' else 'fresh' end), run_at, id)
    where status = 'pending';

drop index concurrently if exists eventbridge.executions_waiting;
