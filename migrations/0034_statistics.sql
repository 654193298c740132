-- What a dashboard counts by day is counted over indexes.
create index call_log_day on call_log (organization_id, started_at, duration_seconds);
create index conversation_created on conversation (organization_id, created_at);
create index repair_run_day on repair_run (organization_id, created_at, resolved);
