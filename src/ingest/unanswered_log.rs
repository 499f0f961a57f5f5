//! Records events that were not accepted and whose sender waits for an answer. It delays no request: what finds
//! the queue full is not recorded, and the sender repeats it. While the database is away, some are buffered.

use crate::domain::unanswered::ClaimedEvent;
use crate::store::{Rejections, StoreError};
use crate::telemetry::{Metrics, Panicked, catch_panic};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The shortest time between two writes.
const GAP: Duration = Duration::from_secs(1);

/// The most events that wait for the database.
const BUFFERED_MAX: usize = 100;

/// The timeout of a write.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Takes events. Cheap to clone.
#[derive(Clone)]
pub(super) struct UnansweredLog(mpsc::Sender<(ClaimedEvent, Instant)>);

impl UnansweredLog {
    /// Returns it with the task that writes what it takes.
    pub(super) fn new(
        rejections: Rejections,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, waiting) = mpsc::channel(BUFFERED_MAX);
        (Self(sender), write(rejections, metrics, waiting, stop))
    }

    /// Notes an event. If the queue is full, it does nothing.
    pub(super) fn note(&self, event: ClaimedEvent) {
        drop(self.0.try_send((event, Instant::now())));
    }
}

async fn write(
    rejections: Rejections,
    metrics: Metrics,
    mut waiting: mpsc::Receiver<(ClaimedEvent, Instant)>,
    stop: CancellationToken,
) {
    let mut buffered: Vec<(ClaimedEvent, Instant)> = Vec::new();
    loop {
        if buffered.is_empty() {
            let Some(Some(first)) = stop.run_until_cancelled(waiting.recv()).await else { return };
            buffered.push(first);
        }
        while buffered.len() < BUFFERED_MAX
            && let Ok(next) = waiting.try_recv()
        {
            buffered.push(next);
        }
        let events: Vec<_> = buffered.iter().map(|(event, at)| (event.clone(), at.elapsed())).collect();
        let recorded = tokio::time::timeout(WRITE_WITHIN, rejections.record_unanswered(&events));
        match catch_panic(&metrics, Panicked::Task, recorded).await {
            // Another try of what was refused would fail too.
            Some(Ok(Ok(()) | Err(StoreError::Refused(_)))) | None => buffered.clear(),
            Some(Ok(Err(error))) => debug!(%error, "unanswered events not recorded; buffered"),
            Some(Err(_)) => debug!("unanswered events not recorded in time; buffered"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(GAP)).await.is_none() {
            return;
        }
    }
}
