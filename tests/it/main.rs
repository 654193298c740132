//! One integration binary: it drives the real server over HTTP, on both databases.
#![expect(clippy::cast_possible_wrap, reason = "counts of a test are small")]
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod action;
mod apps;
mod apps_store;
mod both;
mod capture;
mod chat_model;
mod clear;
mod cli;
mod config;
mod contract;
mod crash;
mod database_away;
mod deploy;
mod deploys;
mod diagnose;
mod errors_http;
mod errors_intake;
mod errors_store;
mod find;
mod from_logs;
mod front;
mod grouping;
mod injection;
mod jobs;
mod layers;
mod llm;
mod matrix;
mod opinion;
mod probe;
mod probe_safety;
mod probe_traffic;
mod real_host;
mod repair_faults;
mod repair_loop;
mod retention;
mod schedule;
mod sdk;
mod sentry;
mod statements;
mod storms;
mod support;
mod tail;
mod tail_journal;
mod tail_model;
