-- The master keys that anything was ever sealed with, by name: the keys themselves stand
-- elsewhere. What is sealed here shows whether a key of that name is the right one.
create table seal_key (
    key_id     text        not null primary key,
    canary     text        not null,
    created_at timestamptz not null
);

-- What the texts of a request are sealed for: known before the row has its id.
alter table model_call add column texts_row text;

-- How an answer came about, sealed; `body` is then the JSON null.
alter table chat_transcript add column sealed text;
