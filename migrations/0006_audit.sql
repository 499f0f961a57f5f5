-- What people did: who changed what by hand, and when. Written with the change itself.

create table eventbridge.audit (
    id       bigint generated always as identity primary key,
    at       timestamptz not null default now(),
    -- The name of the key, or cli:<user>.
    who      text not null,
    -- What was done, in a word such as execution.retried.
    action   text not null,
    -- To what, such as execution 42 or destination notion.
    subject  text not null,
    -- What else is to be known of it: the filter, the count, the note.
    detail   jsonb not null default '{}'
);

-- What was done to one thing.
create index audit_by_subject on eventbridge.audit (subject, id);
