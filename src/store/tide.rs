//! A mark that changes whenever something happens, for those who show it live.

use super::{Store, StoreError};

impl Store {
    /// A text that is another one after events came in, work was claimed or finished, a destination
    /// was held or resumed, or a person did anything by hand, at any replica. It costs the same however
    /// large the tables: it reads three sequences, the leases that run, and the destinations.
    pub async fn tide(&self) -> Result<String, StoreError> {
        let mark = sqlx::query_scalar!(
            r#"
            select concat_ws(' ',
                       -- Before its first value a sequence has the same last one as after it.
                       (select concat_ws('/', last_value, is_called) from eventbridge.events_id_seq),
                       (select concat_ws('/', last_value, is_called) from eventbridge.fences),
                       (select concat_ws('/', last_value, is_called) from eventbridge.audit_id_seq),
                       (select concat_ws('/', count(*), sum(fence)) from eventbridge.leases),
                       (select string_agg(concat_ws('/', name, held_since, held_reason), ' ' order by name)
                          from eventbridge.destinations)) as "mark!"
            "#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(mark)
    }
}
