-- Merging, splitting, and resolutions that hold from a release on.

-- Who merged the group; null where a newer version of the fingerprint made the signpost.
alter table error_group add column merged_by text;
-- Instead of resolved_in: any release newer than this one mends it.
alter table error_group add column resolved_after text;
-- The signpost by which an event came to its group: what a merge can be undone by.
alter table error_log add column came_as bigint;
create index error_log_came_as on error_log (came_as, id) where came_as is not null;

create index error_release_seen on error_release (organization_id, app, first_seen desc);
