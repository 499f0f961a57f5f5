-- The test's own record of which process holds which lease. Each process names itself by the setting
-- torture.process of its connections.

create schema torture;

create table torture.holders (worker_id uuid primary key, process text);

create table torture.leases (execution_id bigint, lane text, fence bigint, process text);

create table torture.breaches (
    id            bigint generated always as identity primary key,
    what          text not null,
    execution_id  bigint not null,
    detail        text not null
);

create function torture.on_worker() returns trigger language plpgsql as $$
begin
    insert into torture.holders values (new.id, current_setting('torture.process', true));
    return null;
end $$;

create trigger torture_on_worker after insert on eventbridge.workers
    for each row execute function torture.on_worker();

create function torture.on_lease() returns trigger language plpgsql as $$
begin
    insert into torture.leases
    values (new.execution_id, new.lane, new.fence, current_setting('torture.process', true));
    if (select count(*) from eventbridge.leases
         where coalesce(lane, execution_id::text) = coalesce(new.lane, new.execution_id::text)) > 1 then
        insert into torture.breaches (what, execution_id, detail)
        values ('two executions of a lane ran at once', new.execution_id, 'lane ' || coalesce(new.lane, 'of its own'));
    end if;
    return null;
end $$;

create trigger torture_on_lease after insert on eventbridge.leases
    for each row execute function torture.on_lease();

-- A lease is ended by its holder, or by another process once the holder is no longer registered. A trigger
-- sees all that its statement did, so this may happen in the same statement.
create function torture.on_lease_end() returns trigger language plpgsql as $$
declare
    holder text := (select process from torture.holders where worker_id = old.worker_id);
    ender text := current_setting('torture.process', true);
begin
    if ender is distinct from holder
       and exists (select from eventbridge.workers where id = old.worker_id) then
        insert into torture.breaches (what, execution_id, detail)
        values ('a lease was ended by a process that had lost it', old.execution_id,
                format('held by %s, ended by %s, fence %s', holder, ender, old.fence));
    end if;
    return null;
end $$;

create trigger torture_on_lease_end after delete on eventbridge.leases
    for each row execute function torture.on_lease_end();
