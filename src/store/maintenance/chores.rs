//! Work in the background that one replica at a time does, and how far it has come.

use super::NamedLeases;
use crate::store::db::{StoreError, milliseconds};
use std::time::Duration;
use uuid::Uuid;

impl NamedLeases {
    /// Takes or keeps a duty for `time`; `false` while it is another's. It is a write either way, so
    /// it fails where the database takes none.
    pub async fn take_duty(&self, name: &str, holder: Uuid, time: Duration) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"
            insert into eventbridge.named_leases as known (name, holder, held_until)
            values ($1, $2, now() + $3::bigint * interval '1 millisecond')
            on conflict (name) do update set holder = excluded.holder, held_until = excluded.held_until
             where known.holder = excluded.holder or known.held_until < now()
            "#,
            name,
            holder,
            milliseconds(time)
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives a duty back, so that another process need not wait for its end.
    pub async fn leave_duty(&self, name: &str, holder: Uuid) -> Result<(), StoreError> {
        sqlx::query!("delete from eventbridge.named_leases where name = $1 and holder = $2", name, holder)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Takes a chore on where it is due and nobody is at it, and tells how far it has come. It is the
    /// caller's for `hold`; [`move_chore`](Self::move_chore) prolongs that.
    pub async fn take_chore(&self, name: &str, hold: Duration) -> Result<Option<i64>, StoreError> {
        let position = sqlx::query_scalar!(
            r#"
            insert into eventbridge.background_jobs as known (name, due_at)
            values ($1, now() + $2::bigint * interval '1 millisecond')
            on conflict (name) do update
               set due_at = excluded.due_at
             where known.due_at <= now()
            returning position
            "#,
            name,
            milliseconds(hold)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(position)
    }

    /// Says how far a chore has come, and when it is due for anybody.
    pub async fn move_chore(&self, name: &str, position: i64, due_in: Duration) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            update eventbridge.background_jobs
               set position = $2, due_at = now() + $3::bigint * interval '1 millisecond'
             where name = $1
            "#,
            name,
            position,
            milliseconds(due_in)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
