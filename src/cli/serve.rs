//! `eventbridge serve`: production. It refuses to start with anything missing, and says all of it.

use super::waiting::Waiting;
use super::{environment, signals};
use crate::alerts;
use crate::app::{Parts, Service};
use crate::config::{Reader, Settings};
use crate::destinations;
use crate::store::Store;
use crate::telemetry::LogFormat;
use anyhow::Context;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tracing::info;
use utoipa_axum::router::OpenApiRouter;

pub(super) async fn run() -> anyhow::Result<ExitCode> {
    let vars = environment::vars()?;
    environment::start_log(&vars, LogFormat::Json);
    let mut reader = Reader::new(&vars);
    let settings = Settings::for_production(&mut reader);
    let instances = destinations::configure(&mut reader, &settings.instances);
    let alerts = alerts::settings(&mut reader);
    let (settings, instances, alerts) = reader.finish((settings, instances, alerts))?;

    let stop = signals::stop_requested()?;
    let listen = settings.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen} (LISTEN_ADDR)"))?;
    let store = Store::connect_lazily(&settings.database_url, settings.database_connections)
        .context("DATABASE_URL cannot be used")?;
    info!(address = %listener.local_addr()?, "listening; nothing is taken before the database is there");
    let (waiting, listener) = Waiting::start(listener)?;
    store.migrate_when_there(&stop).await?;
    waiting.end().await;
    if stop.is_cancelled() {
        info!("stopped before the database was there");
        return Ok(ExitCode::SUCCESS);
    }
    info!(
        address = %listener.local_addr()?,
        destinations = instances.len(),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    let service = Service::start(Parts {
        store,
        settings,
        alerts,
        instances,
        clock: Arc::new(|| SystemTime::now().into()),
        more_routes: OpenApiRouter::new(),
        playground: None,
    });
    service.serve(listener, async move { stop.cancelled().await }).await;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}
