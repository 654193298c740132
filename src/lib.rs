//! Lux reads a web application's captured errors and live logs, names the cause
//! with the lines that prove it, and says what to do about it.
//!
//! The folders are the architecture; `ARCHITECTURE.md` draws them and
//! `tests/it/layers.rs` holds who may use whom.

use tikv_jemallocator::Jemalloc;

pub mod app;
pub mod apps;
pub mod auth;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod customers;
pub mod dashboard;
pub mod db;
pub mod deploys;
pub mod diagnose;
pub mod error;
pub mod errors;
pub mod health;
pub mod hooks;
pub mod http;
pub mod integrations;
pub mod jobs;
pub mod llm;
pub mod logs;
pub mod mail;
pub mod marketing;
pub mod notify;
pub mod outbound;
pub mod probe;
pub mod redact;
pub mod repair;
pub mod seal;
pub mod serve;
pub mod statistics;
pub mod web;

/// Of the program, and of the tests and measurements that run parts of it. Its settings are in
/// `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;
