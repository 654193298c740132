-- Each entry carries the hash of the one before it: what is changed or taken out shows. Entries
-- of before have no number and are outside the chain.
alter table audit add column number bigint;
alter table audit add column hash text;
-- Where the request came from, if it was one.
alter table audit add column address text;
create unique index audit_number on audit (organization_id, number);

-- The last entry of an organization's chain. Its row is what writers wait for.
create table audit_head (
    organization_id bigint not null primary key references organization (id),
    entries         bigint not null,
    hash            text   not null
);

-- only postgres
create function audit_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is only ever added to';
end
$$;
create trigger audit_no_change before update or delete on audit
    for each row execute function audit_is_append_only();
create trigger audit_no_truncate before truncate on audit
    for each statement execute function audit_is_append_only();
-- only sqlite
create trigger audit_no_update before update on audit begin
    select raise(abort, 'the audit log is only ever added to');
end;
create trigger audit_no_delete before delete on audit begin
    select raise(abort, 'the audit log is only ever added to');
end;
