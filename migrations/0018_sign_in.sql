-- Sign-ins under way at a provider, by the SHA-256 of their state. Whoever comes back takes the
-- row away, so that each is used once; nonce and verifier are sealed for it.
create table sign_in (
    state_hash      text        not null primary key,
    provider        text        not null,
    nonce           text        not null,
    verifier        text        not null,
    next            text        not null,
    browser_hash    text        not null,
    linking_account bigint      references account (id) on delete cascade,
    link_token      text,
    created_at      timestamptz not null
);
create index sign_in_age on sign_in (created_at);
create index sign_in_linking on sign_in (linking_account) where linking_account is not null;

-- Attempts in a row to refresh a session at its provider that came to nothing.
alter table session add column refresh_failures bigint not null default 0;
