//! `eventbridge migrate`: brings the database's schema up to date.

use super::environment;
use crate::config::{Reader, required_database_url};
use crate::store::Store;
use crate::telemetry::LogFormat;
use std::process::ExitCode;

pub(super) async fn run() -> anyhow::Result<ExitCode> {
    let vars = environment::vars()?;
    environment::start_log(&vars, LogFormat::Json);
    let mut reader = Reader::new(&vars);
    let url = required_database_url(&mut reader);
    let url = reader.finish(url)?;
    let store = Store::connect_lazily(&url, 2)?;
    store.migrate().await?;
    println!("the database is up to date");
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
