//! The progress of periodic work in the background. The process that holds the work's named lease reads and
//! records it.

use super::BackgroundJobs;
use crate::store::db::{StoreError, milliseconds};
use std::time::Duration;

impl BackgroundJobs {
    /// The position of a job whose next step is due, 0 if it never ran; `None` if it is not due yet.
    pub async fn due(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let job = sqlx::query!(
            r#"select position, due_at <= now() as "is_due!" from eventbridge.background_jobs where name = $1"#,
            name
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(job.map_or(Some(0), |job| job.is_due.then_some(job.position)))
    }

    /// Records how far a job has come, and when its next step is due.
    pub async fn record(&self, name: &str, position: i64, due_in: Duration) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.background_jobs (name, position, due_at)
            values ($1, $2, now() + $3::bigint * interval '1 millisecond')
            on conflict (name) do update set position = excluded.position, due_at = excluded.due_at
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
