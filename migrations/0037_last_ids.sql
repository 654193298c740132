-- Contacts and accounts are known by their ids for good: in links, in the audit log, in what
-- another one was merged into. SQLite gives the id of a removed newest row again; what was given
-- last is kept, and new rows come after it.
-- only sqlite
create table last_id (
    of_table text   not null primary key,
    id       bigint not null
);
create trigger contact_last_id after delete on contact
begin
    insert into last_id (of_table, id) values ('contact', old.id)
    on conflict (of_table) do update set id = max(last_id.id, excluded.id);
end;
create trigger account_last_id after delete on account
begin
    insert into last_id (of_table, id) values ('account', old.id)
    on conflict (of_table) do update set id = max(last_id.id, excluded.id);
end;
-- both

-- What was told of a customer's conversations is found when the customer is forgotten.
create index notify_event_conversation on notify_event (subject_id)
    where kind = 'conversation.waiting';
create index notify_inbox_event on notify_inbox (event_id) where event_id is not null;
