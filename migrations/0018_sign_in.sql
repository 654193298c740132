-- Sign-ins under way at a provider, by the SHA-256 of their state. Whoever comes back takes the
-- row away, so that each is used once; nonce and verifier are sealed for it.
create table sign_in (
    state_hash      text        not null primary key,
    provider        text        not null,
    nonce           text        not null,
    verifier        text        not null,
    next            text        not null,
    browser_hash    text        not null,
    linking_account bigint,
    link_token      text,
    created_at      timestamptz not null
);
create index sign_in_age on sign_in (created_at);
