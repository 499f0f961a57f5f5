//! What holds the oldest snapshot in the database.

use super::Reports;
use crate::store::db::{SnapshotHolder, StoreError, oldest_snapshot};

impl Reports {
    /// What holds the oldest snapshot, if anything beside this statement holds one. A role without
    /// `pg_monitor` sees only the sessions of its own user.
    pub async fn oldest_snapshot(&self) -> Result<Option<SnapshotHolder>, StoreError> {
        Ok(oldest_snapshot(&self.reading).await?)
    }
}
