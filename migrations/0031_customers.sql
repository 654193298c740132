-- Customers: what is known of people's accounts besides who they are, how they sign themselves up,
-- what is noted about them and which files belong to them.

-- An account without a row is a customer of whom nothing is known yet.
create table customer_profile (
    account_id      bigint      not null primary key references account (id) on delete cascade,
    organization_id bigint      not null references organization (id),
    -- E.164.
    phone           text        not null default '',
    company         text        not null default '',
    website         text        not null default '',
    industry        text        not null default '',
    -- "1", "2-10", … "1001+", or nothing.
    company_size    text        not null default '',
    -- ISO 3166, two letters.
    country         text        not null default '',
    -- Of the time zone database: "Europe/Berlin".
    timezone        text        not null default '',
    -- BCP 47: "de", "pt-BR".
    language        text        not null default '',
    -- Whom they want to reach, and what for.
    audience        text        not null default '',
    goals           text        not null default '',
    -- When the address was proven by a letter's link.
    verified_at     timestamptz,
    -- Goes up with each change.
    version         bigint      not null default 1,
    updated_at      timestamptz not null
);
create index customer_profile_organization on customer_profile (organization_id, account_id);

-- The orders in which people are listed, each with a range for each role and status, with a
-- verified address and without.
-- "-id": PostgreSQL would walk the primary key instead, past all who do not fit.
create index account_newest on account (organization_id, role, status, (email_key is not null), (-id));
create index account_name on account
    (organization_id, role, status, (email_key is not null), lower(name), id);
create index account_seen on account (organization_id, role, status, (email_key is not null),
    coalesce(signed_in_at, '1970-01-01T00:00:00+00:00'), id);

-- Accounts as customers: all of them, whatever else there is about them.
create view customer as
select a.id, a.organization_id, a.name, a.email, a.email_key, a.picture, a.role, a.status,
    a.created_at, a.signed_in_at, a.email_key is not null as verified, p.verified_at,
    coalesce(p.phone, '') as phone, coalesce(p.company, '') as company,
    coalesce(p.website, '') as website, coalesce(p.industry, '') as industry,
    coalesce(p.company_size, '') as company_size, coalesce(p.country, '') as country,
    coalesce(p.timezone, '') as timezone, coalesce(p.language, '') as language,
    coalesce(p.audience, '') as audience, coalesce(p.goals, '') as goals,
    -- One for both: it goes up with each change of either.
    a.version + coalesce(p.version, 0) as version, p.updated_at
from account a left join customer_profile p on p.account_id = a.id;

-- Words of name, address and company, in lower case. Whose words have changed is noted in the
-- transaction that changes them, whoever does it, and is looked at one by one until the words
-- are here.
-- only postgres
create table customer_word (
    organization_id bigint not null references organization (id),
    word            text   collate "C" not null,
    account_id      bigint not null references account (id) on delete cascade,
    primary key (organization_id, word, account_id)
);
-- only sqlite
create table customer_word (
    organization_id bigint not null references organization (id),
    word            text   not null,
    account_id      bigint not null references account (id) on delete cascade,
    primary key (organization_id, word, account_id)
);
-- both
create index customer_word_account on customer_word (account_id);
create table customer_unindexed (
    account_id bigint not null primary key references account (id) on delete cascade
);
insert into customer_unindexed (account_id) select id from account;
-- only postgres
-- A row that is there is locked by this: who is about to index the words of before, and to remove
-- it, is waited for.
create function note_customer_words() returns trigger language plpgsql as $$
begin
    insert into customer_unindexed (account_id) values (new.id)
    on conflict (account_id) do update set account_id = excluded.account_id;
    return null;
end
$$;
create function note_profile_words() returns trigger language plpgsql as $$
begin
    insert into customer_unindexed (account_id) values (new.account_id)
    on conflict (account_id) do update set account_id = excluded.account_id;
    return null;
end
$$;
create trigger account_words after insert or update of name, email on account for each row
    execute function note_customer_words();
create trigger customer_profile_words after insert or update of company on customer_profile
    for each row execute function note_profile_words();
-- only sqlite
-- Not "or ignore": what made the trigger fire may have a policy for conflicts, which is used
-- instead.
create trigger account_words after insert on account
begin
    insert into customer_unindexed (account_id) select new.id
    where not exists (select 1 from customer_unindexed where account_id = new.id);
end;
create trigger account_words_changed after update of name, email on account
begin
    insert into customer_unindexed (account_id) select new.id
    where not exists (select 1 from customer_unindexed where account_id = new.id);
end;
create trigger customer_profile_words after insert on customer_profile
begin
    insert into customer_unindexed (account_id) select new.account_id
    where not exists (select 1 from customer_unindexed where account_id = new.account_id);
end;
create trigger customer_profile_words_changed after update of company on customer_profile
begin
    insert into customer_unindexed (account_id) select new.account_id
    where not exists (select 1 from customer_unindexed where account_id = new.account_id);
end;
-- both

-- What operators note about a customer; customers do not see it.
create table customer_note (
    id              bigint generated by default as identity primary key,
    organization_id bigint      not null references organization (id),
    account_id      bigint      not null references account (id) on delete cascade,
    text            text        not null,
    made_by         text        not null,
    created_at      timestamptz not null
);
create index customer_note_of on customer_note (account_id, id desc);

-- Who asked for an account and has not followed the letter's link yet.
create table customer_signup (
    id              bigint generated by default as identity primary key,
    organization_id bigint      not null references organization (id),
    email           text        not null,
    email_key       text        not null,
    name            text        not null,
    company         text        not null default '',
    -- SHA-256 of the token of the last letter; null before there is one, and where it holds none.
    hash            text        unique,
    address         text        not null default '',
    created_at      timestamptz not null,
    expires_at      timestamptz not null,
    used_at         timestamptz,
    -- Letters that were tried to be sent.
    tries           bigint      not null default 0,
    -- When the letter is to be sent, or tried again; null: no more.
    next_at         timestamptz
);
create index customer_signup_next on customer_signup (next_at, id) where next_at is not null;
create index customer_signup_email on customer_signup (organization_id, email_key, created_at);
create index customer_signup_recent on customer_signup (organization_id, created_at);
create index customer_signup_expires on customer_signup (expires_at);

-- Files of a customer.
create table customer_attachment (
    id              bigint generated by default as identity primary key,
    organization_id bigint      not null references organization (id),
    account_id      bigint      not null references account (id) on delete cascade,
    name            text        not null,
    -- As its bytes were found to be.
    media_type      text        not null,
    size            bigint      not null,
    made_by         text        not null,
    created_at      timestamptz not null
);
create index customer_attachment_of on customer_attachment (account_id, id desc);

-- Their bytes, apart from what lists read. They go where their file goes: with it, with its
-- customer, and into backups.
create table customer_attachment_bytes (
    attachment_id bigint not null primary key references customer_attachment (id) on delete cascade,
    bytes         bytea  not null
);

-- Which errors somebody met.
create index error_group_user_groups on error_group_user (user_id, group_id);
