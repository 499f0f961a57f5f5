//! `eventbridge migrate`: brings the database's schema up to date.

use super::environment;
use super::operator::connect;
use crate::config::{Reader, required_database};
use crate::store::MigrateError;
use crate::telemetry::LogFormat;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tracing::warn;

/// How long a service that works is let go first.
const PATIENCE: Duration = Duration::from_mins(2);

const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn run() -> anyhow::Result<ExitCode> {
    let vars = environment::vars()?;
    environment::start_log(&vars, LogFormat::Json);
    let mut reader = Reader::new(&vars);
    let database = required_database(&mut reader);
    let store = connect(&reader.finish(database)?, 2)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match store.db.migrate().await {
            Err(error @ MigrateError::Busy(_)) if Instant::now() < until => {
                warn!(%error, "trying again");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            done => break done?,
        }
    }
    println!("the database is up to date");
    store.db.close().await;
    Ok(ExitCode::SUCCESS)
}
