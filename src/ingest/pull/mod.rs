//! Fetches events that no webhook brought, from the lists of the sources, with `…_PULL=on`.
//!
//! A fetched event takes the way of a webhook from the writer on: the same statement, the same executions, and one
//! event per source and id. It only has another origin. Each list is read by one process at a time, the holder of
//! its lease, which ends with the process.
//!
//! - `reader`: how far a list is read, so that nothing is left out
//!
//! A list that cannot be read stops nothing else: it is logged and recorded for health, and tried again.

mod reader;

use super::writer::Writer;
use crate::domain::event::NewEvent;
use crate::domain::execution::NewExecution;
use crate::domain::subscription::Subscription;
use crate::ingest::WriteError;
use crate::sources::{EventList, ListError};
use crate::store::{NamedLeases, PullKey, Pulls, StoreError};
use futures_util::future::join_all;
use reader::{ListReader, Progress};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

/// The lease of a list ends this long after the next turn of its holder was due. It is renewed with every page.
/// With the longest interval, another process continues within a minute after the death of the holder.
const LEASE_BEYOND_INTERVAL: Duration = Duration::from_secs(15);

/// The wait after a failure that does not pass by itself, and the longest wait.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// What fetching needs.
#[derive(Clone)]
pub struct Puller {
    /// How far each list was read, and which events are stored.
    pub pulls: Pulls,
    /// One process at a time reads a list.
    pub leases: NamedLeases,
    /// Commits events.
    pub writer: Writer,
    /// The events that each instance subscribes to.
    pub subscriptions: Arc<[Subscription]>,
}

/// The lists of events, each with the name of its source.
pub type EventLists = Vec<(String, Arc<dyn EventList>)>;

/// Reads the lists until stopped.
pub async fn pull(puller: Puller, lists: EventLists, stop: CancellationToken) {
    let process = Uuid::new_v4();
    let readings = lists.iter().map(|(source, list)| {
        let (key, lease) = (
            PullKey { source, name: list.name(), identity: list.identity() },
            format!("fetch events of {source} with the key {}", list.name()),
        );
        let task = Task { puller: &puller, list: list.as_ref(), key, lease, process, failing: None };
        task.run(&stop)
    });
    join_all(readings).await;
}

/// Why a list was not read to its end.
#[derive(Debug, thiserror::Error)]
enum PullError {
    /// The sender does not answer, or refuses.
    #[error("the list of events cannot be read: {0}")]
    List(#[from] ListError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Events were not confirmed as stored.
    #[error("events are not stored: {0}")]
    Write(#[from] WriteError),
    /// Another process reads the list.
    #[error("another process reads the list")]
    LeaseLost,
}

/// The reading of one list.
struct Task<'a> {
    puller: &'a Puller,
    list: &'a dyn EventList,
    key: PullKey<'a>,
    lease: String,
    process: Uuid,
    /// The class of the failure that lasts, which was logged.
    failing: Option<&'static str>,
}

impl Task<'_> {
    async fn run(mut self, stop: &CancellationToken) {
        let interval = self.list.settings().interval;
        let (puller, list, key, process) = (self.puller, self.list, self.key, self.process);
        let lease = self.lease.clone();
        let mut reader = ListReader::new(puller, list, key, &lease, process);
        let mut wait = Duration::ZERO;
        while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
            let Some(result) = stop.run_until_cancelled(reader.turn()).await else { break };
            wait = match result {
                Ok(Progress::NotHolder) | Err(PullError::LeaseLost) => interval,
                Ok(progress) => {
                    self.succeeded().await;
                    if progress == Progress::Behind { Duration::ZERO } else { interval }
                }
                Err(error) => self.failed(&error, interval).await,
            };
        }
        if let Err(error) = puller.leases.release(&self.lease, process).await {
            warn!(%error, lease = self.lease, "lease not released; it ends by itself");
        }
    }

    async fn succeeded(&mut self) {
        if self.failing.take().is_some() {
            info!(source = self.key.source, key = self.key.name, "events are fetched again");
        }
        if let Err(error) = self.puller.pulls.succeeded(self.key).await {
            warn!(%error, "the state of fetching was not recorded");
        }
    }

    /// Logs a failure once and records it. Returns the time until the next try.
    async fn failed(&mut self, error: &PullError, interval: Duration) -> Duration {
        let (class, wait) = match error {
            PullError::List(error) => {
                let recorded =
                    self.puller.pulls.failed(self.key, error.class, &error.message, &error.remedy).await;
                if let Err(error) = recorded {
                    warn!(%error, "the state of fetching was not recorded");
                }
                let asked = error.retry_after.unwrap_or_default();
                (error.class, if error.is_temporary { interval.max(asked) } else { RETRY_AFTER_MAX })
            }
            PullError::Store(_) => ("database", interval),
            PullError::Write(_) => ("not_stored", interval),
            PullError::LeaseLost => ("lease_lost", interval),
        };
        if self.failing != Some(class) {
            warn!(source = self.key.source, key = self.key.name, class, %error, "events are not fetched");
            self.failing = Some(class);
        }
        wait.min(RETRY_AFTER_MAX)
    }
}

impl Puller {
    /// Commits an event with its executions, as that of a webhook. Returns whether it is new.
    async fn submit(&self, event: NewEvent) -> Result<bool, WriteError> {
        let executions: Vec<NewExecution> = self
            .subscriptions
            .iter()
            .filter_map(|subscription| subscription.execution_for(&event.source, &event.facts))
            .collect();
        let mut reservation = self.writer.reserve().await?;
        reservation.extend_to(event.payload.len()).await?;
        reservation.complete()?;
        Ok(reservation.submit(event, executions).await? == super::Stored::New)
    }
}
