//! Marks that change whenever something happens, for those who show it live.

use super::Reports;
use crate::store::db::StoreError;

/// How far things have come, at all replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tide {
    /// Is another text after events came in, were indexed or were rejected, work was claimed or finished,
    /// a destination was held or resumed, or a person did anything by hand.
    pub work: String,
    /// Is another text after numbers were added to the statistics, or a minute has gone by since.
    pub numbers: String,
}

impl Reports {
    /// Reads the marks. It costs the same however large the tables: four sequences, the leases that
    /// run, the destinations, and the last two minutes of the statistics.
    pub async fn tide(&self) -> Result<Tide, StoreError> {
        let tide = sqlx::query_as!(
            Tide,
            r#"
            select concat_ws(' ',
                       -- Before its first value a sequence has the same last one as after it.
                       (select concat_ws('/', last_value, is_called) from eventbridge.events_id_seq),
                       (select concat_ws('/', last_value, is_called) from eventbridge.fences),
                       (select concat_ws('/', last_value, is_called) from eventbridge.audit_id_seq),
                       (select concat_ws('/', last_value, is_called) from eventbridge.rejection_numbers),
                       (select seen_id from eventbridge.search_index_progress),
                       (select concat_ws('/', count(*), sum(fence)) from eventbridge.leases),
                       (select string_agg(concat_ws('/', name, paused_since, paused_reason), ' ' order by name)
                          from eventbridge.destinations)) as "work!",
                   (select concat_ws('/', max(at), sum(n))
                      from eventbridge.statistics
                     where per = 'minute'
                       and at >= date_trunc('minute', now()) - interval '1 minute') as "numbers!"
            "#
        )
        .fetch_one(&self.reading)
        .await?;
        Ok(tide)
    }
}
