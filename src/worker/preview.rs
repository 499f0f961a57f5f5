//! Previews: what the next attempt of an execution would send. The destination is called without a lease, so
//! it cannot write anything.

use super::delivery_context::WorkerDeliveryContext;
use super::destination_map::DestinationMap;
use super::lane_plan::{self, LaneHead, Plan};
use super::lease_registry::LeaseRegistry;
use super::rate_limit_backoff::RateLimitBackoff;
use super::store_parts::WorkerStore;
use crate::destinations::{Delivery, Instance, LazySummary, Object};
use crate::domain::delivery::{Outcome, Remote};
use crate::domain::event::StoredEvent;
use crate::domain::execution::{Change, ExecutionId, Mode};
use crate::domain::preview::{ExecutionPreview, NoPreview, Preview};
use crate::sources::Registry;
use crate::store::{ExecutionSnapshot, StoreError};
use std::time::{Duration, Instant};
use tracing::warn;

/// The longest a preview may take. If the columns are not known, the destination is called for them.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The wait before another request if there is no preview now.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Makes previews; cheap to clone.
#[derive(Clone)]
pub struct Previewer {
    store: WorkerStore,
    sources: Registry,
    destinations: DestinationMap,
    backoff: RateLimitBackoff,
    leases: LeaseRegistry,
}

impl Previewer {
    /// Previews of what these instances would write about events of these sources.
    pub fn new(store: WorkerStore, sources: Registry, instances: Vec<Instance>) -> Self {
        Self {
            store,
            sources,
            destinations: DestinationMap::new(instances),
            backoff: RateLimitBackoff::default(),
            leases: LeaseRegistry::default(),
        }
    }

    /// What the next attempt of an execution would send; if it is terminal, what a retry would send.
    pub async fn preview(&self, id: ExecutionId) -> Result<ExecutionPreview, NoPreview> {
        tokio::time::timeout(ANSWER_WITHIN, self.make(id)).await.unwrap_or_else(|_elapsed| {
            Err(NoPreview::Unavailable(
                "reading the destination's columns takes too long".to_owned(),
                ASK_AGAIN,
            ))
        })
    }

    async fn make(&self, id: ExecutionId) -> Result<ExecutionPreview, NoPreview> {
        let snapshot = self
            .store
            .queue
            .execution_snapshot(id)
            .await
            .map_err(|error| database(&error))?
            .ok_or(NoPreview::NotFound)?;
        if let Some(reason) = snapshot.event.why_empty() {
            return Ok(of(&snapshot, id, &snapshot.event, Preview::nothing(reason)));
        }
        match snapshot.mode {
            Mode::Event => {
                let event = &snapshot.event;
                let preview = self.ask(&snapshot, event, snapshot.remote.as_ref(), None).await?;
                Ok(of(&snapshot, id, &snapshot.event, preview))
            }
            Mode::Object => self.of_object(&snapshot).await,
        }
    }

    async fn of_object(&self, snapshot: &ExecutionSnapshot) -> Result<ExecutionPreview, NoPreview> {
        let is_retry = snapshot.status.is_terminal() && snapshot.status.after(Change::Retry).is_some();
        let head = LaneHead {
            execution: snapshot.id,
            lane: snapshot.lane.as_deref(),
            event: &snapshot.event,
            in_doubt: snapshot.in_doubt,
            is_asked_for: is_retry,
        };
        let nothing = |reason: String| of(snapshot, snapshot.id, &snapshot.event, Preview::nothing(reason));
        match lane_plan::plan(&self.store.queue, &self.sources, head)
            .await
            .map_err(|error| database(&error))?
        {
            Plan::Decline(reason) => Ok(nothing(format!("it would be skipped: {reason}"))),
            Plan::NothingNew { newest, .. } => Ok(nothing(format!(
                "the newest state of its object was written before, by execution {newest}"
            ))),
            Plan::Write(write) => {
                let shown = write.shown.as_ref();
                let others = || write.others.iter().map(|event| self.sources.summarize(event, &[])).collect();
                let object = Object {
                    written: shown.and_then(|shown| shown.written.as_ref()),
                    is_asked_for: write.is_asked_for,
                    others: &others,
                };
                let remote = shown.and_then(|shown| shown.remote.as_ref());
                let preview = self.ask(snapshot, &write.newest.event, remote, Some(object)).await?;
                Ok(of(snapshot, write.newest.execution, &write.newest.event, preview))
            }
        }
    }

    async fn ask(
        &self,
        snapshot: &ExecutionSnapshot,
        event: &StoredEvent,
        remote: Option<&Remote>,
        object: Option<Object<'_>>,
    ) -> Result<Preview, NoPreview> {
        let instance = snapshot.destination.as_str();
        let destination =
            self.destinations.get(instance).ok_or_else(|| NoPreview::NoDestination(instance.to_owned()))?;
        // Without a lease no destination writes anything.
        let context = WorkerDeliveryContext {
            store: &self.store,
            leases: &self.leases,
            backoff: &self.backoff,
            lease: None,
            instance,
            lane: snapshot.lane.as_deref(),
        };
        let related = match snapshot.mode {
            Mode::Event => match self.sources.related_object(event) {
                Some(object_id) => self
                    .store
                    .queue
                    .related_events(event, &object_id)
                    .await
                    .map_err(|error| database(&error))?,
                None => Vec::new(),
            },
            Mode::Object => Vec::new(),
        };
        let summarize = || self.sources.summarize(event, &related);
        let summary = LazySummary::new(&summarize);
        let delivery = Delivery {
            event_id: &event.event_id,
            summary: &summary,
            body: &event.payload,
            object,
            remote,
            in_doubt: snapshot.in_doubt,
            rewrite_after: Duration::ZERO,
            is_last: false,
            leased: Instant::now(),
            context: &context,
        };
        destination.preview(delivery).await.map_err(untold)
    }
}

fn of(
    snapshot: &ExecutionSnapshot,
    writes: ExecutionId,
    event: &StoredEvent,
    preview: Preview,
) -> ExecutionPreview {
    ExecutionPreview { status: snapshot.status, writes, event_id: event.event_id.clone(), preview }
}

fn untold(outcome: Outcome) -> NoPreview {
    match outcome {
        Outcome::NeedsOperator(failure) | Outcome::Blocked { failure, .. } => {
            NoPreview::NeedsOperator(failure.to_string())
        }
        Outcome::Throttled { failure, wait } | Outcome::Transient { failure, wait } => {
            NoPreview::Unavailable(failure.message, wait.unwrap_or(ASK_AGAIN))
        }
        Outcome::Permanent(failure) | Outcome::Gone(failure) | Outcome::Ambiguous { failure, .. } => {
            NoPreview::Unavailable(failure.message, ASK_AGAIN)
        }
        Outcome::Delivered { .. } | Outcome::Skipped { .. } | Outcome::InDoubt { .. } => {
            NoPreview::Unavailable("the destination returned no preview".to_owned(), ASK_AGAIN)
        }
    }
}

fn database(error: &StoreError) -> NoPreview {
    warn!(%error, "reading an execution for a preview failed");
    NoPreview::Unavailable("the database is not available".to_owned(), ASK_AGAIN)
}
