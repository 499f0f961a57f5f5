//! The end of a run: the queue drains, dead processes are removed, and the replicas stop in order.

use super::Assessment;
use crate::rows;
use crate::world::END_MAX;
use std::time::{Duration, Instant};

/// How long the queue may take to drain: the longest wait after an error that the operator must fix, a
/// rescue, the settle time and some retries.
const DRAIN_MAX: Duration = Duration::from_mins(3);

/// What a call to a rate-limited Notion may take in a drain.
const LIMITED_CALL: Duration = Duration::from_millis(700);

/// How long the removal of the last dead processes may take.
const RESCUE_MAX: Duration = Duration::from_secs(25);

const POLL: Duration = Duration::from_millis(200);

impl Assessment<'_> {
    /// Waits until nothing is pending or running; returns how long that took.
    pub(super) async fn wait_for_drain(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut bound = None;
        loop {
            // A Postgres that was killed last may still be starting.
            let count = rows::unfinished(&self.world.database).await;
            if let Ok(count) = count {
                let calls = u32::try_from(count).unwrap_or(u32::MAX);
                let backlog = if self.options().limited { LIMITED_CALL * calls } else { Duration::ZERO };
                let bound = *bound.get_or_insert(self.options().bound(DRAIN_MAX) + backlog);
                if count == 0 || began.elapsed() > bound {
                    return Ok(began.elapsed());
                }
            } else if began.elapsed() > self.options().bound(DRAIN_MAX) {
                self.observer.breach("Postgres did not come back", vec![format!("{:?}", count.err())]);
                return Ok(began.elapsed());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until two workers and no lease are left.
    pub(super) async fn wait_for_rescues(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let (workers, leases) = rows::workers_and_leases(&self.world.database).await?;
            if workers == 2 && leases == 0 {
                return Ok(());
            }
            if began.elapsed() > self.options().bound(RESCUE_MAX) {
                let evidence = vec![format!("{workers} workers, {leases} leases; there should be 2 and 0")];
                self.observer.breach("dead processes were not removed", evidence);
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stops both replicas: each exits cleanly after SIGTERM, and nothing is left.
    pub(super) async fn check_shutdown(&self) -> anyhow::Result<()> {
        for replica in &self.world.replicas {
            let mut process = replica.process.lock().await;
            match process.terminate(self.options().bound(END_MAX)).await? {
                Some(status) if status.success() => {}
                ended => {
                    let evidence = vec![format!("{}: {ended:?}", process.label)];
                    self.observer.breach("a replica did not exit cleanly after SIGTERM", evidence);
                }
            }
        }
        let (workers, leases) = rows::workers_and_leases(&self.world.database).await?;
        if workers + leases > 0 {
            let evidence = vec![format!("{workers} workers and {leases} leases are left")];
            self.observer.breach("the replicas left workers or leases behind", evidence);
        }
        Ok(())
    }
}
