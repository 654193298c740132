-- What an SDK tells besides the first version's columns, and what groups need for it.

-- Who told: 'json', 'sentry', 'log', 'lux' (Lux itself) or 'row' (another program's insert).
alter table error_log add column origin text not null default 'row';
-- The SDK's own id, 32 hexadecimal digits: what an application shows to its users.
alter table error_log add column event_id text;
alter table error_log add column release text;
alter table error_log add column environment text;
-- Names one request through proxy, application and logs.
alter table error_log add column request_id text;
-- A JSON object of texts.
alter table error_log add column tags text;
create index error_log_event_id on error_log (event_id) where event_id is not null;
create index error_log_request_id on error_log (request_id) where request_id is not null;

-- Frames with their surroundings, breadcrumbs, request, contexts: JSON, compressed (zstd).
create table error_detail (
    event_id bigint not null primary key references error_log (id) on delete cascade,
    body     bytea  not null
);

-- Releases of an application in the order in which they were first seen.
create table error_release (
    organization_id bigint      not null references organization (id),
    app             text        not null,
    version         text        not null,
    first_seen      timestamptz not null,
    primary key (organization_id, app, version)
);

-- A group that was merged stays as a signpost: events with its fingerprint count for the
-- group named here, and its own counts say what it brought along.
alter table error_group add column merged_into bigint references error_group (id);
create index error_group_merged on error_group (merged_into) where merged_into is not null;
-- By what a group was split: new events get a fingerprint of their own for each value.
alter table error_group add column split_by text;
alter table error_group add column first_release text;
alter table error_group add column last_release text;
-- The release that mends it: older ones may still fail without reopening the group.
alter table error_group add column resolved_in text;
-- Events that were counted and not kept, since there are enough like them.
alter table error_group add column sampled bigint not null default 0;

-- Signposts are on no list. Lists are ordered by these two and not by `last_seen` and `count`, which change with every
-- event: the second of the last event, and the class of the count (8 for each doubling).
alter table error_group add column seen_at timestamptz not null default '1970-01-01T00:00:00+00:00';
alter table error_group add column weight bigint not null default 0;
update error_group set seen_at = last_seen;
drop index error_group_last_seen;
drop index error_group_first_seen;
drop index error_group_count;
drop index error_group_status;
create index error_group_seen on error_group (organization_id, seen_at desc, id desc)
    where merged_into is null;
create index error_group_first_seen on error_group (organization_id, first_seen desc, id desc)
    where merged_into is null;
create index error_group_weight on error_group (organization_id, weight desc, id desc)
    where merged_into is null;
create index error_group_status_seen on error_group (organization_id, status, seen_at desc, id desc)
    where merged_into is null;
