//! What the leases tell: the test's own book of them, and the attempts that ran under them.

use super::Judge;
use crate::rows::{self, Overlap};
use std::time::Duration;

impl Judge<'_> {
    /// What the test's own book says of leases.
    pub(super) async fn audit(&self) -> anyhow::Result<()> {
        let breaches = rows::breaches(&self.world.database).await?;
        for (what, execution, detail) in breaches {
            self.watch.breach(&what, vec![format!("execution {execution}: {detail}")]);
        }
        let unknown = rows::attempts_without_a_lease(&self.world.database).await?;
        for (execution, fence) in unknown {
            let evidence = vec![format!("execution {execution}, fence {fence}")];
            self.watch.breach("an attempt was recorded under a lease that nobody was given", evidence);
        }
        Ok(())
    }

    /// No two attempts of one lane ran at the same time.
    pub(super) async fn overlaps(&self) -> anyhow::Result<()> {
        const SLACK: Duration = Duration::from_millis(250);
        for Overlap { event_id, lane, fence, overlap } in rows::overlaps(&self.world.database, SLACK).await? {
            let overlap = format!("lane {lane}, fence {fence}: overlaps the one before by {overlap}");
            self.breach("two ran at once in a lane", &event_id, &[overlap]).await;
        }
        Ok(())
    }
}
