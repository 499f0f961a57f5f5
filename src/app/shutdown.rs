//! Serving until the signal to stop, and stopping in order:
//!
//! 1. The listener accepts no new requests; running requests and deliveries may finish within the grace.
//! 2. The writers commit and answer pending requests; the worker releases unfinished executions.
//! 3. The statistics are written, and the connections to the database are closed.

use super::Service;
use super::tasks::Tasks;
use crate::server;
use std::future::Future;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tracing::{info, warn};

/// How long recording completions and signing off may take after the grace.
const AFTER_GRACE: Duration = Duration::from_secs(5);

/// A task that the service cannot do without panicked.
#[derive(Debug, thiserror::Error)]
#[error("the task {task:?} panicked, so the service stopped; the log has the cause. Start it again")]
pub struct Broken {
    task: &'static str,
}

impl Service {
    /// Serves until `shutdown` resolves or a critical task panics, then stops in order.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Broken> {
        let (stop, supervisor) = (self.tasks.stop.clone(), self.supervisor());
        let stopping = {
            let (stop, supervisor) = (stop.clone(), supervisor.clone());
            async move {
                tokio::select! {
                    () = shutdown => {}
                    _task = supervisor.failed() => {}
                }
                info!("stopping: no new requests; running work finishes");
                stop.cancel();
            }
        };
        let grace = self.tasks.grace;
        let (router, limiter) = (self.router.clone(), self.limiter.clone());
        let serving = server::serve(listener, router, self.limits, limiter, self.metrics.clone(), stopping);
        let mut deadline = None;
        let time_is_up = async {
            stop.cancelled().await;
            let at = *deadline.insert(Instant::now() + grace);
            tokio::time::sleep_until(at).await;
        };
        tokio::select! {
            // First, so that the deadline is known if serving ends at once.
            biased;
            () = time_is_up => {
                warn!("some clients kept their connections open; closing them");
            }
            () = serving => {}
        }
        let deadline = deadline.unwrap_or_else(|| Instant::now() + grace);
        self.stop_by(deadline + AFTER_GRACE).await;
        supervisor.failed_task().map_or(Ok(()), |task| Err(Broken { task }))
    }

    /// Stops in order: commits and answers pending requests, lets deliveries finish within the grace, and
    /// releases the rest.
    pub async fn stop(self) {
        let deadline = Instant::now() + self.tasks.grace + AFTER_GRACE;
        self.stop_by(deadline).await;
    }

    async fn stop_by(self, deadline: Instant) {
        let Self { router, store, tasks, .. } = self;
        let Tasks { tracker, stop, stop_writers, last, stop_last, .. } = tasks;
        stop.cancel();
        stop_writers.cancel();
        drop(router);
        tracker.close();
        let ended = async {
            tracker.wait().await;
            stop_last.cancel();
            last.close();
            last.wait().await;
            store.db.close().await;
        };
        if tokio::time::timeout_at(deadline, ended).await.is_err() {
            warn!("some tasks did not end in time; another process takes over what this one leased");
        }
    }
}
