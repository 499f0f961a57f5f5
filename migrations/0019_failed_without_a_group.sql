-- Failures that have no group yet, such as those of an older program: looked for all the time, and hardly
-- ever there.
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

-- Whatever fails gets its group in the same statement, so this is mostly empty, and nothing is written to it.
create index concurrently if not exists executions_without_group on eventbridge.executions (id)
    where status = 'failed' and failure_group is null;
