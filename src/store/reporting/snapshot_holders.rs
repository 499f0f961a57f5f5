//! What holds snapshots in the database.

use super::Reports;
use crate::store::db::{SnapshotHolder, StoreError, snapshot_holders};

impl Reports {
    /// What holds snapshots beside this statement, the oldest first. A role without `pg_monitor` sees only the
    /// sessions of its own user.
    pub async fn snapshot_holders(&self) -> Result<Vec<SnapshotHolder>, StoreError> {
        Ok(snapshot_holders(&self.reading).await?)
    }
}
