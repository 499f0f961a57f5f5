//! Keeps samples of rejected requests, from which the sources find the cause. It delays no request: it
//! samples at most one a second, and only counts a request if the queue is full.

use super::unanswered_log::UnansweredLog;
use crate::domain::rejection::{Diagnose, Diagnosis, RejectionSample};
use crate::domain::unanswered::ClaimedEvent;
use crate::sources::Registry;
use crate::store::{Rejections, StoreError};
use crate::telemetry::{Metrics, Panicked, catch_panic};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// A header that the service adds to every request that lacks it.
const REQUEST_ID_HEADER: &str = "x-request-id";

/// The shortest time between two samples.
const GAP: Duration = Duration::from_secs(1);

/// The largest number of samples that wait for the database.
const QUEUE_MAX: usize = 8;

/// The timeout for storing a sample.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// The shortest time between two log messages about the cause.
const LOG_INTERVAL_MIN: Duration = Duration::from_mins(1);

/// Takes rejections. Cheap to clone.
#[derive(Clone)]
pub struct RejectionLog(Arc<Gate>, UnansweredLog);

struct Gate {
    began: Instant,
    /// The earliest time of the next sample, in milliseconds after `began`.
    next_ms: AtomicU64,
    /// Those without a sample.
    unseen: Arc<AtomicU64>,
    kept: mpsc::Sender<RejectionSample>,
}

impl RejectionLog {
    /// Starts the tasks that store the samples, log the cause, and record events whose sender waits.
    pub fn start(
        rejections: &Rejections,
        metrics: &Metrics,
        sources: Registry,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (kept, waiting) = mpsc::channel(QUEUE_MAX);
        let unseen = Arc::<AtomicU64>::default();
        let recorder = Recorder {
            rejections: rejections.clone(),
            metrics: metrics.clone(),
            sources,
            unseen: unseen.clone(),
            last: None,
            logged_at: None,
        };
        tasks.spawn(recorder.run(waiting, stop.clone()));
        let (unanswered, task) = UnansweredLog::new(rejections.clone(), metrics.clone(), stop.clone());
        tasks.spawn(task);
        Self(Arc::new(Gate { began: Instant::now(), next_ms: AtomicU64::new(0), unseen, kept }), unanswered)
    }

    /// Notes an event that was not accepted and whose sender waits for an answer.
    pub(super) fn note_unanswered(&self, event: ClaimedEvent) {
        self.1.note(event);
    }

    /// Counts a rejection, or keeps a sample of it. Only then `take` is called.
    pub(super) fn note(&self, take: impl FnOnce() -> RejectionSample) {
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
        // If the queue is full, no sample is taken.
        let Ok(place) = gate.kept.try_reserve() else { return unseen() };
        let mut sample = take();
        sample.header_names.retain(|name| name != REQUEST_ID_HEADER);
        sample.unseen = gate.unseen.swap(0, Ordering::Relaxed);
        place.send(sample);
    }
}

/// Stores samples and logs their cause.
struct Recorder {
    rejections: Rejections,
    metrics: Metrics,
    sources: Registry,
    unseen: Arc<AtomicU64>,
    /// The number of the last sample, while rejections without one may have followed it.
    last: Option<i64>,
    logged_at: Option<Instant>,
}

impl Recorder {
    async fn run(mut self, mut waiting: mpsc::Receiver<RejectionSample>, stop: CancellationToken) {
        loop {
            let next = async {
                match self.last {
                    Some(_) => tokio::time::timeout(GAP, waiting.recv()).await.ok(),
                    None => Some(waiting.recv().await),
                }
            };
            let Some(next) = stop.run_until_cancelled(next).await else { return };
            let metrics = self.metrics.clone();
            let kept = async {
                match next {
                    Some(Some(sample)) => self.write(&sample).await.map(|()| true),
                    Some(None) => Ok(false),
                    // The rest of a burst has no later sample that could count it.
                    None => self.write_unseen().await.map(|()| true),
                }
            };
            let written =
                catch_panic(&metrics, Panicked::Task, tokio::time::timeout(WRITE_WITHIN, kept)).await;
            match written.map(|written| written.unwrap_or(Err(StoreError::TimedOut))) {
                Some(Ok(false)) => return,
                Some(Ok(true)) | None => {}
                Some(Err(error)) => debug!(%error, "storing a rejection sample failed"),
            }
        }
    }

    async fn write_unseen(&mut self) -> Result<(), StoreError> {
        let count = self.unseen.swap(0, Ordering::Relaxed);
        match self.last.take() {
            Some(number) if count > 0 => self.rejections.add_unseen(number, count).await,
            _ => Ok(()),
        }
    }

    async fn write(&mut self, sample: &RejectionSample) -> Result<(), StoreError> {
        self.last = Some(self.rejections.record_rejection(sample).await?);
        if self.logged_at.is_some_and(|at| at.elapsed() < LOG_INTERVAL_MIN) {
            return Ok(());
        }
        self.logged_at = Some(Instant::now());
        let (kept, accepted) = (self.rejections.rejections().await?, self.rejections.accepted().await?);
        let found = self.sources.diagnose(&kept, &accepted);
        for Diagnosis { cause, count, message, remedy, .. } in found.iter().filter(|one| one.is_current) {
            if cause.is_fixable() {
                warn!(cause = cause.as_str(), count, remedy, "webhooks are being rejected: {message}");
            }
        }
        Ok(())
    }
}
