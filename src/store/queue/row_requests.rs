//! Row subjects: executions that write the newest version of a row, which many events change.
//!
//! A row has one execution per destination. While it waits or runs, requests only raise the version that it
//! is to write. So however fast a row changes, at most one execution of it is pending.

use super::Queue;
use crate::domain::execution::RowVersion;
use crate::store::db::StoreError;
use std::collections::BTreeMap;

impl Queue {
    /// Requests that these versions of rows be written to a destination instance.
    ///
    /// A row whose execution waits or runs is not queued twice. One that waits writes the newest version; if it
    /// waits for another attempt at an older one, it is due at once and its attempts are counted from zero. One that
    /// runs is queued again when it completes. A version that is not newer than one that was requested before
    /// changes nothing. Returns how many executions were queued.
    pub async fn request_rows(&self, destination: &str, rows: &[RowVersion]) -> Result<usize, StoreError> {
        let mut newest = BTreeMap::new();
        for RowVersion { key, version } in rows {
            let known = newest.entry(key.as_str()).or_insert(*version);
            *known = (*known).max(*version);
        }
        let (keys, versions): (Vec<_>, Vec<_>) = newest.into_iter().unzip();
        // Two statements: the second also sees what others inserted while the first one waited for them. Each
        // can be repeated.
        let new = sqlx::query!(
            r#"
            with inserted as (
                insert into eventbridge.executions (row_key, row_version, destination)
                select key, version, $3 from unnest($1::text[], $2::bigint[]) as asked (key, version)
                on conflict (row_key, destination) where row_key is not null do nothing
                returning id
            )
            insert into eventbridge.queue (execution_id, destination)
            select id, $3 from inserted
            "#,
            &keys as _,
            &versions,
            destination
        )
        .execute(&self.pool)
        .await?
        .rows_affected();
        let again = sqlx::query!(
            r#"
            with changed as (
                select id, version, status <> 'pending' as has_ended, crashes
                  from unnest($1::text[], $2::bigint[]) as asked (key, version)
                  join eventbridge.executions on row_key = key and destination = $3
                 where version > row_version
                 order by id
                   for update of executions
            ), requested as (
                update eventbridge.executions
                   set row_version = version,
                       status = 'pending',
                       attempts = 0,
                       reason = case when not has_ended then reason end,
                       error_class = case when not has_ended then error_class end,
                       failure_group = null,
                       finished_at = null
                  from changed
                 where executions.id = changed.id
            ), due as (
                update eventbridge.queue
                   set class = 'fresh', run_at = now()
                  from changed
                 where execution_id = id and class = 'retry'
            )
            insert into eventbridge.queue (execution_id, destination, class)
            select id, $3, case when crashes > 0 then 'quarantined' else 'fresh' end
              from changed
             where has_ended
            "#,
            &keys as _,
            &versions,
            destination
        )
        .execute(&self.pool)
        .await?
        .rows_affected();
        Ok(usize::try_from(new + again).unwrap_or(usize::MAX))
    }
}
