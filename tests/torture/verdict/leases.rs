//! What the leases tell: the test's own book of them, and the attempts that ran under them.

use super::Judge;

impl Judge<'_> {
    /// What the test's own book says of leases.
    pub(super) async fn audit(&self) -> anyhow::Result<()> {
        let rows: Vec<(String, i64, String)> =
            sqlx::query_as("select what, execution_id, detail from torture.breaches order by id limit 1000")
                .fetch_all(&self.world.database)
                .await?;
        for (what, execution, detail) in rows {
            self.watch.breach(&what, vec![format!("execution {execution}: {detail}")]);
        }
        let unknown: Vec<(i64, i64)> = sqlx::query_as(
            "select execution_id, fence from eventbridge.attempts
             except select coalesce(sibling.id, leases.execution_id), fence
                      from torture.leases
                      join eventbridge.executions as leased on leased.id = leases.execution_id
                      left join eventbridge.executions as sibling on sibling.lane = leased.lane
             limit 10",
        )
        .fetch_all(&self.world.database)
        .await?;
        for (execution, fence) in unknown {
            let evidence = vec![format!("execution {execution}, fence {fence}")];
            self.watch.breach("an attempt was recorded under a lease that nobody was given", evidence);
        }
        Ok(())
    }

    /// No two attempts of one lane ran at the same time.
    pub(super) async fn overlaps(&self) -> anyhow::Result<()> {
        const SLACK: &str = "interval '250 milliseconds'";
        let sql = format!(
            "select event_id, lane_key, fence, overlap::text from (
                 select events.event_id, coalesce(lane, executions.id::text) as lane_key, fence,
                        lag(attempts.started_at + attempts.duration_ms * interval '1 millisecond')
                            over (partition by destination, coalesce(lane, executions.id::text)
                                  order by attempts.started_at, fence) - attempts.started_at as overlap
                   from eventbridge.attempts
                   join eventbridge.executions on executions.id = execution_id
                   join eventbridge.events on events.id = event_key) as runs
              where overlap > {SLACK} order by fence limit 100"
        );
        let rows: Vec<(String, String, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.world.database).await?;
        for (event, lane, fence, overlap) in rows {
            let overlap = format!("lane {lane}, fence {fence}: overlaps the one before by {overlap}");
            self.breach("two ran at once in a lane", &event, &[overlap]).await;
        }
        Ok(())
    }
}
