-- A million events on PostgreSQL, and how searches find their way among them.
--
--   psql "$URL" -f benches/search.sql
--
-- on an empty schema that Lux has migrated (start and stop it once). The index is filled here,
-- since the indexer would take its time.
\timing on
insert into error_group (organization_id, app, fingerprint, title, error_type, cause_key,
    severity, count, first_seen, last_seen, status_at)
select 1, 'app' || (i % 10), '1:' || i, 'Value' || i || 'Error: order is odd',
    'Value' || i || 'Error', 'c' || i, 'error', 100, now() - interval '30 days',
    now() - i * interval '1 minute', now()
from generate_series(1, 10000) as i;
insert into error_log (error_type, error_message, endpoint, method, user_id, severity, created_at,
    app, group_id, origin, release, environment, tags)
select 'Value' || (1 + i % 10000) || 'Error',
    'order ' || i || ' of customer ' || (i * 31 % 977)
        || ' could not be stored: connection refused by server',
    '/order/' || i, 'POST', 'u' || (i % 50000),
    case when i % 50 = 0 then 'critical' else 'error' end,
    now() - (1000000 - i) * interval '2 seconds', 'app' || ((1 + i % 10000) % 10),
    1 + i % 10000 + (select min(id) - 1 from error_group), 'json', 'shop@1.' || (i / 50000),
    case when i % 20 = 0 then 'staging' else 'production' end,
    '{"browser":"Firefox ' || (i % 30) || '"}'
from generate_series(1, 1000000) as i;
insert into error_term (event_id, terms)
select id, array_to_tsvector(array_remove(string_to_array(
    lower(error_type) || ' ' || regexp_replace(lower(error_message), '[^a-z0-9]+', ' ', 'g')
        || ' xrelease' || replace(release, '.', '') || 'x xenvironment' || environment
        || 'x xuser' || user_id || 'x xseverity' || severity || 'x xgroup' || group_id || 'x',
    ' '), ''))
from error_log;
update error_index_mark set last_id = (select max(id) from error_log);
analyze;

-- A rare word, a common word, both, a rare field, common fields, a beginning.
explain (analyze, costs off) select event_id from error_term
    where terms @@ cast($$'999123'$$ as tsquery) limit 2001;
explain (analyze, costs off) select event_id from error_term
    where terms @@ cast($$'customer'$$ as tsquery) limit 2001;
explain (analyze, costs off) select event_id from error_term
    where terms @@ cast($$'customer' & '977'$$ as tsquery) limit 2001;
explain (analyze, costs off) select event_id from error_term
    where terms @@ cast($$'xuseru77x' & 'customer'$$ as tsquery) limit 2001;
explain (analyze, costs off) select event_id from error_term
    where terms @@ cast($$'xenvironmentstagingx' & 'xseveritycriticalx'$$ as tsquery) limit 2001;
explain (analyze, costs off) select event_id from error_term
    where terms @@ cast($$'refus':*$$ as tsquery) limit 2001;
-- A chunk of the newest, which every search looks at first; a page of groups; retention.
explain (analyze, costs off) select id from error_log
    where organization_id = 1 and created_at >= now() - interval '24 hours'
      and group_id is not null
    order by created_at desc, id desc limit 500;
explain (analyze, costs off) select id from error_group
    where organization_id = 1 order by last_seen desc, id desc limit 21;
explain (analyze, costs off) select group_id, count(*) from error_log
    where group_id is not null group by group_id;
