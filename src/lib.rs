//! Receives Stripe webhooks, commits them to Postgres and delivers each one to Notion.
//!
//! The modules stand in the order in which data flows through them; `ARCHITECTURE.md` has the map.

pub mod destinations;
pub mod devserver;
pub mod domain;

pub mod auth;
pub mod config;
pub mod problem;
pub mod telemetry;

pub mod sources;
