//! Shared by all tests: one Postgres for the run, a database for each test, the service with its router
//! called in-process, and a Notion sandbox to deliver to.

mod command;
mod database;
mod dev;
mod link;
mod pooler;
pub mod rows;
mod serve;
mod service;
mod skip;
mod stripe_api;

pub use command::{eventbridge, output, text};
pub use database::{Database, end_sessions_of_the_service};
pub use dev::Dev;
pub use link::Link;
pub use pooler::PgBouncer;
pub use serve::Serve;
pub use service::{Answer, Listening, NOW, SECRET, Service, ServiceBuilder, signed};
pub use skip::skip;
pub use stripe_api::{STRIPE_KEY, STRIPE_NOW, StripeApi, stripe_event};

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

/// Fails a test if the future does not finish in time.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(30);
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}

/// Recorded Stripe data next to the checkout, if present.
pub fn recorded(folder: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("EVENTBRIDGE_CHECKOUT")).join("../shared/data").join(folder);
    path.is_dir().then_some(path)
}
