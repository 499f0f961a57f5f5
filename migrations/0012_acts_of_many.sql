-- What became of what a person queued with many others: such executions bear the time of the act.
--
-- Runs on a service that works, so not in a transaction: these statements, which blank lines part, are
-- run one by one. Broken off anywhere, all of them are run again.

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

-- Only what was retried or replayed by hand is in it, so what comes in and is delivered never touches it.
create index concurrently if not exists executions_by_retry on eventbridge.executions (retried_at)
    where retried_at is not null;
