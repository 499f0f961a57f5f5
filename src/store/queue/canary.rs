//! Canaries: the execution that shows whether a paused instance works again.

use super::Queue;
use super::claim::LOOKED_THROUGH_MAX;
use crate::domain::execution::ExecutionId;
use crate::store::db::StoreError;

/// The canary of a paused instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// Try this execution.
    With(ExecutionId),
    /// No execution of the instance is due.
    NothingWaits,
    /// Try none now: the last canary still runs, or the instance is no longer paused.
    NotNow,
}

impl Queue {
    /// Chooses the canary that shows whether a paused instance works again: the execution that failed when
    /// the instance was paused, otherwise a due one. The choice is recorded with the pause. An execution
    /// behind the head of its lane is not chosen, and none is chosen while an operator paused the instance.
    pub async fn choose_canary(&self, instance: &str) -> Result<Canary, StoreError> {
        let row = sqlx::query!(
            r#"
            with paused as (
                select paused_execution as id,
                       exists (select from eventbridge.executions
                                where id = paused_execution and status = 'running') as is_running
                  from eventbridge.destinations
                 where name = $1 and paused_since is not null and paused_class is distinct from 'manual'
            ), due as (
                select id, lane, in_bulk, run_at, 0 as place
                  from eventbridge.executions
                 where id = (select id from paused) and destination = $1
                   and status = 'pending' and crashes = 0 and run_at <= now()
                union all
                select oldest.id, oldest.lane, oldest.in_bulk, oldest.run_at, class.place
                  from (values ('fresh', 1), ('retry', 2), ('bulk', 3)) as class (name, place)
                 cross join lateral (
                       select id, lane, in_bulk, run_at
                         from eventbridge.executions
                        where status = 'pending' and destination = $1 and run_at <= now()
                          and case when crashes > 0 then 'quarantined' when attempts > 0 then 'retry'
                                   when in_bulk then 'bulk' else 'fresh' end = class.name
                        order by run_at, id
                        limit $2) as oldest
            ), chosen as (
                select is_running,
                       case when not is_running then (
                            select due.id
                              from due
                             where due.lane is null
                                or not exists (select from eventbridge.leases where leases.lane = due.lane)
                               and not exists (select from eventbridge.executions as earlier
                                                where earlier.status = 'pending' and earlier.destination = $1
                                                  and hashtextextended(earlier.lane, 0) = hashtextextended(due.lane, 0)
                                                  and earlier.lane = due.lane
                                                  and (earlier.in_bulk, earlier.id) < (due.in_bulk, due.id))
                             order by place, run_at, id
                             limit 1) end as id
                  from paused
            ), noted as (
                update eventbridge.destinations set paused_execution = chosen.id
                  from chosen
                 where name = $1 and chosen.id is not null
            )
            select id, is_running as "is_running!" from chosen
            "#,
            instance,
            LOOKED_THROUGH_MAX
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(match row {
            Some(row) if !row.is_running => {
                row.id.map_or(Canary::NothingWaits, |id| Canary::With(ExecutionId(id)))
            }
            _ => Canary::NotNow,
        })
    }
}
