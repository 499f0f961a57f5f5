//! Acts on many executions at once, and what has become of those.
//!
//! An execution that is retried or replayed bears the time of the statement that did it, which is
//! that of its line in the audit. So an act is known by its lines, and its executions by their times.

use super::{AuditRow, Reports};
use crate::domain::audit::Action;
use crate::store::db::StoreError;

/// The executions of an act are counted no further than this.
pub const ACT_COUNTED_MAX: u32 = 20_000;

/// The most lines of the audit that are taken for one act.
const LINES_MAX: i64 = 100;

/// What a person did to many executions, in one line of the audit or in several that follow.
#[derive(Debug, Clone)]
pub struct Act {
    /// The first line.
    pub first: AuditRow,
    /// How its executions stand now.
    pub states: Vec<ActState>,
    /// Whether there are more than were counted.
    pub is_more: bool,
}

/// How many executions of an act are at one destination in one state.
#[derive(Debug, Clone)]
pub struct ActState {
    /// The destination instance.
    pub destination: String,
    /// The word of the state.
    pub status: String,
    /// So many.
    pub count: u64,
}

impl Reports {
    /// The act that begins with one line of the audit and ends with another: what the same person did
    /// in the same way to the same things. `None` where the first line is no retry and no replay of many.
    /// An execution that was retried once more since belongs to that act and no longer to this.
    pub async fn act(&self, first: i64, last: i64) -> Result<Option<Act>, StoreError> {
        let actions =
            [Action::ExecutionsRetried, Action::EventsReplayed].map(|action| action.as_str().to_owned());
        let line = sqlx::query_as!(
            AuditRow,
            r#"
            select id, at, who, action, concat_ws(' ', subject_kind, subject_id) as "subject!", detail
              from eventbridge.audit
             where id = $1 and action = any ($2)
            "#,
            first,
            &actions
        )
        .fetch_optional(&self.reading)
        .await?;
        let Some(first) = line else { return Ok(None) };
        let states = sqlx::query!(
            r#"
            with lines as (
                select at
                  from eventbridge.audit
                 where id between $1 and $2 and who = $3 and action = $4
                   and detail -> 'filter' is not distinct from $5::jsonb -> 'filter'
                 order by id
                 limit $6
            ), concerned as (
                select destination, status
                  from lines
                  join eventbridge.executions on retried_at = lines.at
                 limit $7
            )
            select destination, status, count(*) as "count!"
              from concerned
             group by destination, status
             order by destination, status
            "#,
            first.id,
            last,
            first.who,
            first.action,
            first.detail,
            LINES_MAX,
            i64::from(ACT_COUNTED_MAX)
        )
        .fetch_all(&self.reading)
        .await?;
        let states = states.into_iter().map(|row| ActState {
            destination: row.destination,
            status: row.status,
            count: u64::try_from(row.count).unwrap_or_default(),
        });
        let states: Vec<_> = states.collect();
        let all: u64 = states.iter().map(|state| state.count).sum();
        Ok(Some(Act { first, states, is_more: all >= u64::from(ACT_COUNTED_MAX) }))
    }
}
