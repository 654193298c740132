-- What a long session said before, in short, up to a message.
alter table chat_session add column summary text;
alter table chat_session add column summary_until bigint;

-- How an answer of a model came about: prompts, calls of tools, results (JSON, bounded),
-- as they were sent. `lux replay` reads it.
create table chat_transcript (
    message_id bigint      primary key references chat_message (id),
    created_at timestamptz not null,
    body       jsonb       not null
);
create index chat_transcript_age on chat_transcript (created_at, message_id);
