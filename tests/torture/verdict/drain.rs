//! The end of a run: the queue drains, the last dead are buried, and the replicas end in order.

use super::Judge;
use crate::rows;
use crate::world::END_MAX;
use std::time::{Duration, Instant};

/// How long the queue may take to drain: the longest wait of a refusal that the user must mend, a
/// burial, the settle time and some retries.
const DRAIN_MAX: Duration = Duration::from_mins(3);

/// What a call to a Notion with a rate limit may take in a drain.
const LIMITED_CALL: Duration = Duration::from_millis(700);

/// How long the last dead may take to be buried.
const BURIAL_MAX: Duration = Duration::from_secs(25);

const LOOK: Duration = Duration::from_millis(200);

impl Judge<'_> {
    /// Waits until nothing is pending or running; how long that took.
    pub(super) async fn drain(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut bound = None;
        loop {
            // A Postgres that was killed last may still be coming up.
            let count = rows::unfinished(&self.world.database).await;
            if let Ok(count) = count {
                let calls = u32::try_from(count).unwrap_or(u32::MAX);
                let backlog = if self.options().limited { LIMITED_CALL * calls } else { Duration::ZERO };
                let bound = *bound.get_or_insert(self.options().bound(DRAIN_MAX) + backlog);
                if count == 0 || began.elapsed() > bound {
                    return Ok(began.elapsed());
                }
            } else if began.elapsed() > self.options().bound(DRAIN_MAX) {
                self.watch.breach("Postgres did not come back", vec![format!("{:?}", count.err())]);
                return Ok(began.elapsed());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// At the end two workers live, and nobody leases anything.
    pub(super) async fn burials(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let (workers, leases) = rows::workers_and_leases(&self.world.database).await?;
            if workers == 2 && leases == 0 {
                return Ok(());
            }
            if began.elapsed() > self.options().bound(BURIAL_MAX) {
                let evidence = vec![format!("{workers} workers, {leases} leases; there should be 2 and 0")];
                self.watch.breach("the dead were not buried", evidence);
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asked to end, both replicas do so well and leave nothing behind.
    pub(super) async fn endings(&self) -> anyhow::Result<()> {
        for replica in &self.world.replicas {
            let mut process = replica.process.lock().await;
            match process.terminate(self.options().bound(END_MAX)).await? {
                Some(status) if status.success() => {}
                ended => {
                    let evidence = vec![format!("{}: {ended:?}", process.label)];
                    self.watch.breach("a replica did not end well after SIGTERM", evidence);
                }
            }
        }
        let (workers, leases) = rows::workers_and_leases(&self.world.database).await?;
        if workers + leases > 0 {
            let evidence = vec![format!("{workers} workers and {leases} leases are left")];
            self.watch.breach("the replicas left something behind", evidence);
        }
        Ok(())
    }
}
