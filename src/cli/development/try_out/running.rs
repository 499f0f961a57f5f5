//! The service of a trial, on its private database: starts it, shows what it does, and stops it.

use super::month::{Month, line};
use crate::alerts;
use crate::app::{DEFAULT_KINDS, Parts, Role, Service};
use crate::cli::command_context;
use crate::cli::development::dev_environment::start_postgres;
use crate::cli::local_state::LocalState;
use crate::cli::output::{counted, delivery_time};
use crate::config::{Reader, Settings, Vars};
use crate::domain::destination_summary::{DestinationSummary, seconds_for};
use crate::domain::event::{EventKey, StoredEvent};
use crate::domain::execution::Status;
use crate::domain::source::SourceCatalog;
use crate::health;
use crate::sources::Registry;
use crate::store::{EventFilter, ExecutionFilter, Store, Window};
use crate::{destinations, endpoint_watch};
use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use private_postgres::DataLifetime;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

/// The destination.
const NOTION: &str = "notion";

/// How often the terminal shows new events, and how often it shows how many wait.
const CHECKED_EVERY: Duration = Duration::from_secs(1);
const REPORTED_EVERY: Duration = Duration::from_secs(10);

/// The most new events that are shown at once.
const SHOWN_AT_ONCE: u32 = 100;

/// A running trial.
pub(super) struct Running {
    /// The address of the dashboard.
    pub base_url: String,
    /// The folder with the events, which stays.
    pub data: PathBuf,
    store: Store,
    sources: Registry,
    destinations: Vec<DestinationSummary>,
    month: Month,
    finished: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

/// What the trial has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The list is being read.
    Reads,
    /// This many pages are to be written.
    Waits(u64),
    /// Everything was delivered, or failed for good.
    Done,
}

impl Running {
    /// Starts the private database and the service.
    pub(super) async fn start(vars: &Vars, month: Month) -> anyhow::Result<Self> {
        let mut vars = vars.clone();
        let postgres = start_postgres(DataLifetime::Persistent { checkout: folder_of_table(&vars)? }).await?;
        vars.set("DATABASE_URL", postgres.url());
        let data = postgres.data_dir().parent().unwrap_or(postgres.data_dir()).to_owned();
        vars.set("LISTEN_ADDR", "127.0.0.1:0");
        let mut reader = Reader::new(&vars);
        let mut settings = Settings::for_development(&mut reader, DEFAULT_KINDS);
        let sources = Registry::configure(&mut reader, &settings.sources);
        let instances = destinations::configure(&mut reader, &settings.instances, sources.types());
        let (alerts, thresholds) = (alerts::settings(&mut reader), health::thresholds(&mut reader));
        let (instances, alerts, thresholds) = reader.finish((instances, alerts, thresholds))?;
        settings.database.url = SecretString::from(postgres.url());
        let store = command_context::connect(&settings.database, settings.database_connections)?;
        store.db.migrate().await.context("the private database cannot be used")?;
        let listener = TcpListener::bind(settings.listen).await.context("no port is free")?;
        let base_url = format!("http://localhost:{}", listener.local_addr()?.port());
        let destinations = instances.iter().map(destinations::Instance::summary).collect();
        let service = Service::start(Parts {
            role: Role::All,
            store: store.clone(),
            settings,
            alerts,
            thresholds,
            sources: sources.clone(),
            instances,
            endpoint_pace: endpoint_watch::Pace::default(),
            clock: Arc::new(|| SystemTime::now().into()),
            more_routes: OpenApiRouter::new(),
            playground: None,
        });
        let finished = CancellationToken::new();
        let shutdown = finished.clone();
        let serving = tokio::spawn(async move {
            let served = service.serve(listener, async move { shutdown.cancelled().await }).await;
            tokio::task::spawn_blocking(|| postgres.stop()).await??;
            Ok(served?)
        });
        Ok(Self { base_url, data, store, sources, destinations, month, finished, serving })
    }

    /// Shows what waits and what is new: until everything is delivered if `once`, otherwise without end.
    pub(super) async fn show(&self, once: bool) -> anyhow::Result<()> {
        let (mut last_key, mut shown, mut shown_at) = (0, None, Instant::now());
        loop {
            last_key = self.show_new(last_key).await?;
            self.fail_if_broken().await?;
            let state = self.state().await?;
            let is_due = shown.is_none() || shown_at.elapsed() >= REPORTED_EVERY || state == State::Done;
            if is_due && shown != Some(state) {
                println!("{}", self.sentence(state).await?);
                (shown, shown_at) = (Some(state), Instant::now());
            }
            if once && state == State::Done {
                return Ok(());
            }
            tokio::time::sleep(CHECKED_EVERY).await;
        }
    }

    /// Lets running deliveries finish, and stops the service and the database.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.finished.cancel();
        self.serving.await?
    }

    /// Prints the events that were created since the month was listed. Returns the key of the newest event.
    async fn show_new(&self, last_key: i64) -> anyhow::Result<i64> {
        let page = self.store.events.events(&EventFilter::default(), None, SHOWN_AT_ONCE).await?;
        let newest = page.rows.first().map_or(last_key, |row| row.id);
        let is_new = |created: Option<DateTime<Utc>>| created.is_some_and(|at| at > self.month.asked_at);
        for row in page.rows.into_iter().rev().filter(|row| row.id > last_key && is_new(row.created)) {
            let key = EventKey(row.id);
            let Some(payload) = self.store.events.payload(key).await? else { continue };
            let event = StoredEvent {
                key,
                facts: row.facts(),
                source: row.source,
                event_id: row.event_id,
                carries_state: true,
                received_at: row.received_at,
                payload: payload.body,
            };
            println!("{}", line(&event, &self.sources, self.month.zone));
        }
        Ok(newest)
    }

    /// Fails with the cause if only a person can go on: a revoked key, a missing permission, a table without columns.
    async fn fail_if_broken(&self) -> anyhow::Result<()> {
        let pulls = self.store.pulls.states().await?;
        let mut failing = pulls.into_iter().filter_map(|pull| pull.failing);
        if let Some(failing) = failing.find(|one| !matches!(&*one.class, "unavailable" | "throttled")) {
            bail!("{}. What to do: {}", failing.message, failing.remedy);
        }
        if let Some(paused) = self.store.destinations.paused(&[NOTION.to_owned()]).await?.into_iter().next() {
            let reason = paused.pause.reason;
            bail!("{}. What to do: {}", reason.trim_end_matches('.'), paused.pause.remedy);
        }
        Ok(())
    }

    async fn state(&self) -> anyhow::Result<State> {
        let pulls = self.store.pulls.states().await?;
        if !pulls.iter().any(|pull| pull.position.is_some() && pull.read_at.is_some()) {
            return Ok(State::Reads);
        }
        let backlog = self.store.reports.backlog(&[NOTION.to_owned()]).await?;
        let pending: u64 = backlog.iter().map(|one| one.pending).sum();
        if pending > 0 || self.has_any(Status::Running).await? || self.has_any(Status::Pending).await? {
            return Ok(State::Waits(pending));
        }
        Ok(State::Done)
    }

    async fn has_any(&self, status: Status) -> anyhow::Result<bool> {
        let now = self.store.reports.now().await?;
        let created = Window { after: Some(now - TimeDelta::days(30)), before: None };
        let filter = ExecutionFilter { status: Some(status.as_str()), created, ..ExecutionFilter::default() };
        Ok(!self.store.reports.executions(&filter, None, 1).await?.rows.is_empty())
    }

    async fn sentence(&self, state: State) -> anyhow::Result<String> {
        Ok(match state {
            State::Reads => "Reading the list …".to_owned(),
            State::Waits(pending) => {
                let counts = BTreeMap::from([(NOTION.to_owned(), pending)]);
                let time = delivery_time(seconds_for(&self.destinations, &counts));
                format!("{} to be written.{time}", counted(pending, "page"))
            }
            State::Done if self.has_any(Status::Failed).await? => {
                format!("Everything was delivered but what failed: {}/failures shows why.", self.base_url)
            }
            State::Done => "Everything is in Notion. New events follow within seconds.".to_owned(),
        })
    }
}

/// The folder that the private database of this Notion table belongs to, created if it is missing.
fn folder_of_table(vars: &Vars) -> anyhow::Result<PathBuf> {
    const NAME_BYTES: usize = 6;
    let table = vars.get("NOTION_DATABASE_ID").unwrap_or_default();
    let digest = Sha256::digest(table.as_bytes());
    let name = hex::encode(digest.iter().take(NAME_BYTES).copied().collect::<Vec<_>>());
    let folder = LocalState::here()?.create_folder()?.join(format!("try-{name}"));
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    Ok(folder)
}
