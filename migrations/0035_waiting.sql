-- A customer who waits for a person is told of, while an enabled channel wants it.
-- only postgres
create function note_notify_waiting() returns trigger language plpgsql as $$
begin
    perform note_notify(new.organization_id, 'conversation.waiting',
        'conversation ' || new.id || ' waits ' || new.version, new.id, '', 'warning');
    return null;
end
$$;
create trigger conversation_notify after update of status on conversation for each row
    when (old.status <> new.status and new.status = 'waiting')
    execute function note_notify_waiting();
-- only sqlite
create trigger conversation_notify after update of status on conversation
    when old.status <> new.status and new.status = 'waiting'
begin
    insert into notify_event (organization_id, kind, occasion, subject_id, severity, at)
    select new.organization_id, 'conversation.waiting',
        'conversation ' || new.id || ' waits ' || new.version, new.id, 'warning',
        strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')
    where exists (select 1 from notify_channel c where c.organization_id = new.organization_id
        and c.enabled and c.events like '%"conversation.waiting"%')
    on conflict (organization_id, occasion) do nothing;
end;
-- both
