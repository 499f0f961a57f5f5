//! Checks of the leases: the test's own record of them, and the attempts that ran under them.

use super::Assessment;
use crate::rows::{self, Overlap};
use std::time::Duration;

impl Assessment<'_> {
    /// The test's own record of leases shows no breach.
    pub(super) async fn check_lease_record(&self) -> anyhow::Result<()> {
        let breaches = rows::breaches(&self.world.database).await?;
        for (what, execution, detail) in breaches {
            self.observer.breach(&what, vec![format!("execution {execution}: {detail}")]);
        }
        let unknown = rows::attempts_without_a_lease(&self.world.database).await?;
        for (execution, fence) in unknown {
            let evidence = vec![format!("execution {execution}, fence {fence}")];
            self.observer.breach("an attempt was recorded under a lease that was never granted", evidence);
        }
        Ok(())
    }

    /// No two attempts of one lane ran at the same time.
    pub(super) async fn check_overlaps(&self) -> anyhow::Result<()> {
        const SLACK: Duration = Duration::from_millis(250);
        for Overlap { event_id, lane, fence, overlap } in rows::overlaps(&self.world.database, SLACK).await? {
            let overlap = format!("lane {lane}, fence {fence}: overlaps the one before by {overlap}");
            self.breach("two executions of a lane ran at once", &event_id, &[overlap]).await;
        }
        Ok(())
    }
}
