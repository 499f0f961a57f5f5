-- Lanes by type of object, their heads with what is in bulk last, and turns of those that share a page's key.
--
-- Runs on a service that works, so not in a transaction: these statements, which blank lines part, are
-- run one by one. Broken off anywhere, all of them are run again.

-- Under which key it looks for pages and makes one: whoever else would do so waits, since until its
-- verdict is recorded nobody can tell whose such a page is. Set while it does, so most leases have none.
alter table eventbridge.leases add column if not exists looks_for text;

create unique index if not exists leases_that_look on eventbridge.leases (looks_for)
    where looks_for is not null;

-- Objects of one id and of different types were one lane, such as a plan, a product and a coupon. A
-- lane that bears its type is left as it is; what has no type, or an odd one, has none in its lane.
-- The page goes to the object whose state it shows; the others of its id get one of their own. A lease
-- goes along with its execution. The oldest come first, so that a lane's head is never behind others.
do $$
declare
    through bigint := 0;
    newest  bigint := (select coalesce(max(id), 0) from eventbridge.executions);
begin
    while through < newest loop
        with moved as (
            update eventbridge.executions
               set lane = destination || ' ' || object_type || substr(lane, length(destination) + 1)
              from eventbridge.events
             where events.id = event_key
               and executions.id > through and executions.id <= through + 1000
               and starts_with(lane, destination || ' ')
               and object_type ~ '^[A-Za-z0-9_.]+$'
               and substr(lane, length(destination) + 2) !~ '^[A-Za-z0-9_.]+ '
            returning executions.id, lane
        ), shown as (
            update eventbridge.remote_objects set lane = moved.lane
              from moved
             where remote_objects.execution_id = moved.id
        )
        update eventbridge.leases set key = 'lane ' || moved.lane
          from moved
         where leases.execution_id = moved.id;
        through := through + 1000;
        -- Whoever waits for these rows goes on.
        commit;
    end loop;
end
$$;

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

-- What waits in a lane: its head comes first, and what was put into the queue with many others last.
-- In the place of executions_waiting_in_lane, which did not tell the two apart.
create index concurrently if not exists executions_in_lane on eventbridge.executions
    (destination, hashtextextended(lane, 0), lane, in_bulk, id)
    where status = 'pending' and lane is not null;

drop index concurrently if exists eventbridge.executions_waiting_in_lane;
