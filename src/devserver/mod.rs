//! What a developer needs at hand without an account or a server anywhere: a private Postgres, a
//! stand-in for Notion, and sample events.
//!
//! Nothing here knows how we talk to those services: a stand-in that shared code with our clients
//! would share their mistakes.

pub mod postgres;
pub mod samples;
pub mod sandbox;
