//! Named leases: work in the background that one process at a time does.
//!
//! A lease ends at its time unless its holder renews it, so another process continues the work if one dies.
//! How far the work has come is recorded separately.

use super::NamedLeases;
use crate::store::db::{StoreError, milliseconds};
use std::time::Duration;
use uuid::Uuid;

impl NamedLeases {
    /// Acquires a lease for `duration`, or renews the holder's own. Returns `false` while another process
    /// holds it. Even the attempt is a write, so it fails if the database accepts no writes.
    pub async fn acquire(&self, name: &str, holder: Uuid, duration: Duration) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"
            insert into eventbridge.named_leases as known (name, holder, held_until)
            values ($1, $2, now() + $3::bigint * interval '1 millisecond')
            on conflict (name) do update set holder = excluded.holder, held_until = excluded.held_until
             where known.holder = excluded.holder or known.held_until < now()
            "#,
            name,
            holder,
            milliseconds(duration)
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Releases a lease, so that another process need not wait until it expires.
    pub async fn release(&self, name: &str, holder: Uuid) -> Result<(), StoreError> {
        sqlx::query!("delete from eventbridge.named_leases where name = $1 and holder = $2", name, holder)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
