//! The destinations to which workers deliver nothing for a while, after repeated failures.
//!
//! Each process has circuit breakers of its own, and reports those that are not closed with its heartbeat. What
//! is read here is at most one heartbeat old.

use super::{ExecutionRow, Reports};
use crate::domain::backing_off::BackingOff;
use crate::domain::execution::Status;
use crate::store::db::{StoreError, milliseconds};
use crate::store::queue::{Resting, WORKER_DEAD_AFTER};
use chrono::TimeDelta;
use sqlx::types::Json;
use std::collections::BTreeMap;

/// More workers than any installation runs.
const WORKERS_MAX: i64 = 100;

impl Reports {
    /// The destinations that at least one live worker leaves alone now, by name.
    pub async fn backing_off(&self) -> Result<BTreeMap<String, BackingOff>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select heartbeat_at, resting as "resting: Json<Vec<Resting>>"
              from eventbridge.workers
             where heartbeat_at > now() - $1::bigint * interval '1 millisecond'
             order by started_at, id
             limit $2
            "#,
            milliseconds(WORKER_DEAD_AFTER),
            WORKERS_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        let workers = rows.len();
        let mut found: BTreeMap<String, BackingOff> = BTreeMap::new();
        for row in rows {
            for one in row.resting.map(|Json(resting)| resting).unwrap_or_default() {
                let Resting { destination, left_ms, fresh_left_ms, lasts_ms, after } = one;
                let until = row.heartbeat_at + TimeDelta::milliseconds(left_ms);
                let fresh_until = row.heartbeat_at + TimeDelta::milliseconds(fresh_left_ms);
                let since = row.heartbeat_at - TimeDelta::milliseconds(lasts_ms);
                let one = BackingOff { since, until, fresh_until, after, processes: 1, workers };
                found.entry(destination).and_modify(|known| known.add(&one)).or_insert(one);
            }
        }
        Ok(found)
    }

    /// Adds to pending executions until when all workers leave their destination alone, if they do.
    pub(super) async fn with_rests(
        &self,
        mut rows: Vec<ExecutionRow>,
    ) -> Result<Vec<ExecutionRow>, StoreError> {
        let is_pending = |row: &ExecutionRow| row.status == Status::Pending.as_str();
        if !rows.iter().any(is_pending) {
            return Ok(rows);
        }
        let rests = self.backing_off().await?;
        for row in rows.iter_mut().filter(|row| is_pending(row)) {
            let rest = rests.get(&row.destination).filter(|rest| rest.is_everywhere());
            let is_new = row.attempts == 0 && row.retried_at.is_none();
            row.rest_until = rest.map(|rest| if is_new { rest.fresh_until } else { rest.until });
            row.rest_cause = rest.map(BackingOff::cause);
        }
        Ok(rows)
    }
}
