-- Other values for an action that waited: the one that stands in its place.
alter table action_run add column replaced_by bigint;
