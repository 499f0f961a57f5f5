//! Looks for an object's pages: of the lanes of one id, one at a time looks and makes a page.
//!
//! Ids that users choose, as of coupons and plans, may be the same in both modes and in several
//! accounts. Their pages bear one key, and whose a page is stands with the verdict alone.

use super::{Fence, Queue};
use crate::store::db::{StoreError, of_milliseconds};
use std::time::Duration;

/// Whose turn it is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookTurn {
    /// The one's who asks, as long as its lease lasts.
    Ours {
        /// How long ago the last write of unknown outcome in another lane of this id began.
        in_doubt: Option<Duration>,
    },
    /// Another lane's; or the lease of the one who asks is lost.
    Anothers,
}

impl Queue {
    /// Notes in the lease of a lane that it looks for the pages of an object's id, unless another lane
    /// of the instance does. It ends with the lease, so with the verdict that says whose page is whose.
    pub async fn begin_look(
        &self,
        destination: &str,
        lane: &str,
        fence: Fence,
        object_id: &str,
    ) -> Result<LookTurn, StoreError> {
        let asked = sqlx::query!(
            r#"
            with begun as (
                update eventbridge.leases
                   set lookup_destination = $1, lookup_key = $4
                 where lane = $2 and fence = $3
                   and not exists (select from eventbridge.leases as other
                                    where other.lookup_destination = $1 and other.lookup_key = $4
                                      and other.execution_id <> leases.execution_id)
                returning fence
            )
            select exists (select from begun) as "is_begun!",
                   (select (extract(epoch from now() - max(in_doubt_since)) * 1000)::bigint
                      from eventbridge.executions
                      join eventbridge.events on events.id = event_key
                     where lane is not null and in_doubt_since is not null
                       and destination = $1 and lane <> $2 and object_id = $4) as in_doubt_ms
            "#,
            destination,
            lane,
            fence.0,
            object_id
        )
        .fetch_one(&self.pool)
        .await;
        match asked {
            Ok(row) if row.is_begun => Ok(LookTurn::Ours { in_doubt: row.in_doubt_ms.map(of_milliseconds) }),
            Ok(_) => Ok(LookTurn::Anothers),
            // Both saw nobody: the unique index has let one of them be the first.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(LookTurn::Anothers),
            Err(error) => Err(error.into()),
        }
    }
}
