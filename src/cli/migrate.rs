//! `eventbridge migrate`: updates the schema of the database.

use super::command_context::connect;
use super::{environment, signals};
use crate::config::{Reader, required_database};
use crate::store::MigrateError;
use crate::telemetry::LogFormat;
use anyhow::bail;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tracing::warn;

/// How long it waits for a busy database.
const PATIENCE: Duration = Duration::from_mins(2);

/// The time between two attempts.
const RETRY_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run() -> anyhow::Result<ExitCode> {
    let vars = environment::vars()?;
    environment::start_log(&vars, LogFormat::Json);
    let mut reader = Reader::new(&vars);
    let database = required_database(&mut reader);
    let store = connect(&reader.finish(database)?, 2)?;
    let until = Instant::now() + PATIENCE;
    let stop = signals::stop_requested()?;
    let migrating = async {
        loop {
            match store.db.migrate().await {
                Err(error @ MigrateError::Busy(_)) if Instant::now() < until => {
                    warn!(%error, "the database is busy; migration will be retried");
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                done => break done,
            }
        }
    };
    match stop.run_until_cancelled(migrating).await {
        Some(done) => done?,
        None => bail!("stopped before the schema was up to date; run it again"),
    }
    println!("The schema is up to date.");
    store.db.close().await;
    Ok(ExitCode::SUCCESS)
}
