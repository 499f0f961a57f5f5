//! `eventbridge serve`: production. If settings are missing, it reports all of them and does not start; with
//! `SETUP=1` it shows them on a page instead.

use super::command_context::connect;
use super::startup_responder::StartupResponder;
use super::{environment, setup, signals};
use crate::alerts;
use crate::app::{DEFAULT_KINDS, Parts, Role, Service};
use crate::config::{Reader, Settings};
use crate::destinations;
use crate::domain::source::SourceCatalog;
use crate::endpoint_watch;
use crate::health;
use crate::sources::Registry;
use crate::telemetry::LogFormat;
use anyhow::Context;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tracing::info;
use utoipa_axum::router::OpenApiRouter;

#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Which part of the work this process does, so that the parts scale separately
    #[arg(long, value_enum, default_value_t)]
    role: Role,
}

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let vars = environment::vars()?;
    environment::start_log(&vars, LogFormat::Json);
    let mut reader = Reader::new(&vars);
    let settings = Settings::for_production(&mut reader, DEFAULT_KINDS);
    let sources = Registry::configure(&mut reader, &settings.sources);
    let instances = destinations::configure(&mut reader, &settings.instances, sources.types());
    let alerts = alerts::settings(&mut reader);
    let thresholds = health::thresholds(&mut reader);
    let sets_up = setup::is_wanted(&mut reader);
    environment::log_warnings(&mut reader);
    // Without an address to listen on there is no page either.
    let can_show_a_page = !["LISTEN_ADDR", "PORT"].iter().any(|name| reader.has_problem(name));
    let listen = settings.listen;
    let named = (settings.sources.clone(), settings.instances.clone());
    let (settings, instances, alerts, thresholds) =
        match reader.finish((settings, instances, alerts, thresholds)) {
            Ok(read) => read,
            Err(wrong) if sets_up && can_show_a_page => {
                let stop = signals::stop_requested()?;
                return setup::run(bind(listen).await?, stop, &wrong, &named.0, &named.1).await;
            }
            Err(wrong) => return Err(wrong.into()),
        };

    let stop = signals::stop_requested()?;
    let listener = bind(listen).await?;
    let store =
        connect(&settings.database, settings.database_connections).context("DATABASE_URL cannot be used")?;
    info!(address = %listener.local_addr()?, "listening; waiting for the database");
    let (responder, listener) = StartupResponder::start(listener)?;
    store.db.migrate_when_there(&stop, |error| responder.waits_because(error.public_reason())).await?;
    responder.end().await;
    if stop.is_cancelled() {
        info!("stopped while waiting for the database");
        return Ok(ExitCode::SUCCESS);
    }
    info!(
        address = %listener.local_addr()?,
        destinations = instances.len(),
        version = env!("CARGO_PKG_VERSION"),
        role = ?args.role,
        "serving"
    );
    let service = Service::start(Parts {
        role: args.role,
        store,
        settings,
        alerts,
        thresholds,
        sources,
        instances,
        endpoint_pace: endpoint_watch::Pace::default(),
        clock: Arc::new(|| SystemTime::now().into()),
        more_routes: OpenApiRouter::new(),
        playground: None,
    });
    service.serve(listener, async move { stop.cancelled().await }).await?;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Listens on the address from the settings.
async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (LISTEN_ADDR)"))
}
