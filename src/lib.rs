//! Receives Stripe webhooks, commits them to Postgres and delivers each one to Notion.

pub mod domain;
