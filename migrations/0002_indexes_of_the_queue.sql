-- The queue's indexes by destination, so that a backlog of one keeps nobody waiting who works for another.
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

-- What is due, oldest first: fresh work, late retries and suspects of having crashed a worker apart.
create index concurrently if not exists executions_waiting on eventbridge.executions
    (destination, (case when crashes > 0 then 'suspect' when attempts > 0 then 'late' else 'fresh' end), run_at, id)
    where status = 'pending';

-- What waits in a lane: its head comes first. By their hashes lanes can be gone through from anywhere.
create index concurrently if not exists executions_waiting_in_lane on eventbridge.executions
    (destination, hashtextextended(lane, 0), lane, id)
    where status = 'pending' and lane is not null;

-- The writes in doubt of a lane, of which there are few, however long its history.
create index concurrently if not exists executions_in_doubt on eventbridge.executions (lane)
    where lane is not null and unsettled_since is not null;

drop index concurrently if exists eventbridge.executions_fresh;

drop index concurrently if exists eventbridge.executions_late;

drop index concurrently if exists eventbridge.executions_suspect;
