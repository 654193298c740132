-- Events from logs: what waits to be counted, and where else an event was seen.

-- Records of logs that may be events, for the few seconds until it is clear whether the
-- application reports them, too. They are put here before the position in their log moves.
create table error_held (
    -- The event's id, if it becomes one.
    id    text    not null primary key,
    -- Who read it: each host decides on its own.
    host  text    not null,
    -- When it is decided on, in microseconds since 1970.
    due   bigint  not null,
    -- An answer to a probe of Lux: no event, and tells what is none.
    probe boolean not null,
    -- JSON
    body  text    not null
);
create index error_held_due on error_held (host, due);
create index error_held_probe on error_held (host, due) where probe;

-- The records of logs in which an event was seen.
create table error_sighting (
    event_id  bigint      not null references error_log (id) on delete cascade,
    source    text        not null,
    -- Source with file, or with unit of the journal: each tells an occurrence once.
    place     text        not null,
    -- As the log API names it.
    record_id text        not null,
    line      bigint      not null,
    at        timestamptz not null,
    primary key (event_id, source, record_id)
);
create index error_sighting_record on error_sighting (record_id);

-- The first line of which nobody was told yet; a record that began before it was put away.
alter table log_checkpoint add column told bigint;
