//! Integration tests: one binary, so that it links once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod harness;

mod alerts;
mod another_database;
mod api;
mod browser;
mod cli;
mod clients;
mod dashboard;
mod dashboard_acts;
mod delivery;
mod doctor;
mod duplicates;
mod failures;
mod fuzz;
mod health;
mod holds;
mod ingest;
mod interventions;
mod listings;
mod mapping;
mod metrics;
mod modes;
mod object;
mod operations;
mod operators;
mod outages;
mod pooler;
mod preview;
mod private_postgres;
mod queue;
mod rejections;
mod retention;
mod roles;
mod sandbox;
mod search;
mod server;
mod setup;
mod statistics;
mod structure;
mod tls;
mod upgrades;
mod valves;
mod version;
