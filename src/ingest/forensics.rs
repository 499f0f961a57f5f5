//! Keeps a few of the rejected requests, so that their cause can be told. Never in anybody's way: at
//! most one a second is looked at, and what finds no room is only counted.

use crate::domain::rejection::{Diagnosis, Sighting, diagnose};
use crate::store::{Rejections, StoreError};
use crate::telemetry::{Metrics, Panicked, contained};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// A header that the service gives to every request that has none.
const OF_OURS: &str = "x-request-id";

/// The shortest time between two that are kept.
const GAP: Duration = Duration::from_secs(1);

/// How many may wait for the database.
const QUEUE_MAX: usize = 8;

/// How long the database may take for one.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// The shortest time between two lines of the log that tell the cause.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Takes rejections. Cheap to clone.
#[derive(Clone)]
pub struct Forensics(Arc<Gate>);

struct Gate {
    began: Instant,
    /// When the next one is kept, in milliseconds after `began`.
    next_ms: AtomicU64,
    unseen: AtomicU64,
    kept: mpsc::Sender<Sighting>,
}

impl Forensics {
    /// Starts the task that writes them down; `secrets` are the names of the configured ones.
    pub fn start(
        rejections: &Rejections,
        metrics: &Metrics,
        secrets: Vec<String>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (kept, waiting) = mpsc::channel(QUEUE_MAX);
        let scribe =
            Scribe { rejections: rejections.clone(), metrics: metrics.clone(), secrets, told_at: None };
        tasks.spawn(scribe.run(waiting, stop.clone()));
        Self(Arc::new(Gate {
            began: Instant::now(),
            next_ms: AtomicU64::new(0),
            unseen: AtomicU64::new(0),
            kept,
        }))
    }

    /// Notes a rejection; `sight` is called only where this one is kept.
    pub(super) fn note(&self, sight: impl FnOnce() -> Sighting) {
        let gate = &self.0;
        let unseen = || {
            gate.unseen.fetch_add(1, Ordering::Relaxed);
        };
        let now_ms = u64::try_from(gate.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due_ms = gate.next_ms.load(Ordering::Relaxed);
        let next_ms = now_ms.saturating_add(u64::try_from(GAP.as_millis()).unwrap_or(u64::MAX));
        let is_ours = now_ms >= due_ms
            && gate.next_ms.compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !is_ours {
            return unseen();
        }
        // With nowhere to put it, nothing is looked at.
        let Ok(place) = gate.kept.try_reserve() else { return unseen() };
        let mut sighting = sight();
        sighting.header_names.retain(|name| name != OF_OURS);
        sighting.unseen = gate.unseen.swap(0, Ordering::Relaxed);
        place.send(sighting);
    }
}

/// Writes rejections down and tells their cause in the log.
struct Scribe {
    rejections: Rejections,
    metrics: Metrics,
    secrets: Vec<String>,
    told_at: Option<Instant>,
}

impl Scribe {
    async fn run(mut self, mut waiting: mpsc::Receiver<Sighting>, stop: CancellationToken) {
        while let Some(Some(sighting)) = stop.run_until_cancelled(waiting.recv()).await {
            let metrics = self.metrics.clone();
            let keeping = tokio::time::timeout(WRITE_WITHIN, self.write(&sighting));
            let Some(written) = contained(&metrics, Panicked::Task, keeping).await else { continue };
            match written.unwrap_or(Err(StoreError::TimedOut)) {
                Ok(()) => {}
                Err(error) => debug!(%error, "a rejection could not be kept"),
            }
        }
    }

    async fn write(&mut self, sighting: &Sighting) -> Result<(), StoreError> {
        self.rejections.keep_rejection(sighting).await?;
        if self.told_at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return Ok(());
        }
        self.told_at = Some(Instant::now());
        let (kept, accepted_at) =
            (self.rejections.rejections().await?, self.rejections.last_accepted_at().await?);
        let found = diagnose(&kept, accepted_at, &self.secrets);
        for Diagnosis { cause, count, says, remedy, .. } in found.iter().filter(|one| one.is_current) {
            if cause.is_to_be_mended() {
                warn!(cause = cause.as_str(), count, remedy, "webhooks are rejected: {says}");
            }
        }
        Ok(())
    }
}
