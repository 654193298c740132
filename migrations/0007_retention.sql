-- What is old is found by its age, and what refers to it when it goes.
create index repair_run_ended on repair_run (finished_at, id) where status in ('done', 'failed');
create index repair_attempt_cause on repair_attempt (cause_id);
create index repair_attempt_evidence on repair_attempt (evidence_id) where evidence_id is not null;
create index watch_attempt on watch (attempt_id);
create index watch_ended on watch (ends_at) where status <> 'watching';
create index action_run_age on action_run (proposed_at, id);
create index action_run_cause on action_run (cause_id);
