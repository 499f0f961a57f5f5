//! Change tokens: texts that differ after something happened, for pages that update live.

use super::Reports;
use crate::store::db::StoreError;

/// The tokens, for all replicas together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeToken {
    /// Changes after events arrived, were indexed or were rejected, executions were claimed or completed, a
    /// destination was paused or resumed, or an operator changed anything.
    pub work: String,
    /// Changes after numbers were added to the statistics, and when a minute has passed since.
    pub numbers: String,
}

impl Reports {
    /// Reads the tokens. The cost does not depend on the size of tables: four sequences, the last task, the workers,
    /// the destinations, and the last two minutes of the statistics.
    pub async fn change_token(&self) -> Result<ChangeToken, StoreError> {
        let token = sqlx::query_as!(
            ChangeToken,
            r#"
            select concat_ws(' ',
                       -- Before its first value a sequence has the same last one as after it.
                       (select concat_ws('/', last_value, is_called) from eventbridge.events_id_seq),
                       (select concat_ws('/', last_value, is_called) from eventbridge.fences),
                       (select concat_ws('/', last_value, is_called) from eventbridge.audit_id_seq),
                       (select concat_ws('/', last_value, is_called) from eventbridge.rejection_numbers),
                       (select seen_id from eventbridge.search_index_progress),
                       (select max(updated_at) from eventbridge.tasks),
                       (select concat_ws('/', sum(ended), sum(running), count(resting)) from eventbridge.workers),
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
        Ok(token)
    }
}
