//! Key locks: if several lanes of an instance lock the same key, one at a time looks up its entry at the
//! destination and writes it.
//!
//! Ids that users choose, such as those of coupons and plans, can be the same in both modes and in several
//! accounts. The entries of such objects cannot be told apart at the destination, and ownership of an entry
//! is recorded only on completion. So a lane holds the lock of its object's id until its lease ends.

use super::{Lease, Queue};
use crate::domain::delivery::KeyLock;
use crate::store::db::{StoreError, of_milliseconds};

impl Queue {
    /// Locks a key of the instance for a lane until its lease ends, unless another lane holds the lock.
    /// `in_doubt` is about the lanes whose object has this id.
    pub async fn lock_key(
        &self,
        destination: &str,
        lane: &str,
        lease: Lease,
        key: &str,
    ) -> Result<KeyLock, StoreError> {
        let asked = sqlx::query!(
            r#"
            with begun as (
                update eventbridge.leases
                   set locked_destination = $1, locked_key = $4
                 where execution_id = $5 and fence = $3
                   and not exists (select from eventbridge.leases as other
                                    where other.locked_destination = $1 and other.locked_key = $4
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
            lease.fence.0,
            key,
            lease.execution.0
        )
        .fetch_one(&self.pool)
        .await;
        match asked {
            Ok(row) if row.is_begun => {
                Ok(KeyLock::Acquired { in_doubt: row.in_doubt_ms.map(of_milliseconds) })
            }
            Ok(_) => Ok(KeyLock::Busy),
            // Neither saw the other's lock, and the unique index accepted only the first.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(KeyLock::Busy),
            Err(error) => Err(error.into()),
        }
    }
}
