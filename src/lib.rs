//! Receives Stripe webhooks, commits them to Postgres and delivers each one to Notion.
//!
//! The modules are listed by layer; `ARCHITECTURE.md` describes each of them.

pub mod domain;

pub mod auth;
pub mod config;
pub mod http_client;
pub mod problem;
pub mod single_flight;
pub mod telemetry;

pub mod ingest;
pub mod sources;
pub mod store;

pub mod destinations;
pub mod worker;

pub mod alerts;
pub mod bulk;
pub mod endpoint_watch;
pub mod health;
pub mod retention;
pub mod statistics;

pub mod api;
pub mod operator_store;
pub mod ui;

pub mod server;

pub mod app;
pub mod cli;
