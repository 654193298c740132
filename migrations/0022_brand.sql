-- What an organization sounds and looks like; drafts are written by it.
create table brand (
    organization_id bigint      not null primary key references organization (id),
    -- A JSON object, as marketing::brand::Brand has it.
    content         text        not null,
    -- Goes up with each change.
    version         bigint      not null default 1,
    updated_by      text        not null,
    updated_at      timestamptz not null
);
-- What waits for a word.
create index campaign_status on campaign (organization_id, status, id);
