-- Resolved means proven, for events as for groups.
update error_log set is_resolved = false where is_resolved;
alter table error_log add column evidence_id bigint references evidence (id)
    check (not is_resolved or evidence_id is not null);
