//! What a destination may ask of the service around it: memory, locks, its lease, and its rate.

use crate::domain::delivery::{Failure, KeyLock};
use async_trait::async_trait;
use serde_json::Value;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

/// The service, as one delivery of one instance sees it.
#[async_trait]
pub trait DeliveryContext: Send + Sync {
    /// What the instance remembered last, in this run or an earlier one, here or at another replica. It is
    /// a hint, not a proof. Nothing if it cannot be read.
    async fn recall(&self) -> Option<Value>;

    /// Remembers this instead. A failure has no effect.
    async fn remember(&self, memory: &Value);

    /// Whether the lease of this delivery is certainly valid. A process that was suspended may have lost
    /// it to another one, and must then write nothing.
    fn lease_holds(&self) -> bool;

    /// Locks a key of the instance until this lease ends, for a delivery in a lane. Lanes whose entries
    /// could be mistaken for each other, such as objects of one id, lock the same key; one of them at a
    /// time can then look for its entry and write one.
    async fn lock_key(&self, key: &str) -> Result<KeyLock, Failure>;

    /// Those of these remote ids that belong to another lane of the instance. An error means that it is
    /// unknown: then touch none of them.
    async fn owned_by_others(&self, remote_ids: &[String]) -> Result<HashSet<String>, Failure>;

    /// Waits for the next slot of the connection or, without a rate, for the end of a pause that the other
    /// side asked for. If that takes too long, it takes no slot and the error is the time until one is free.
    async fn slot(&self, rate: &Rate) -> Result<(), Duration>;

    /// Makes all replicas leave the connection alone for this long.
    async fn block(&self, rate: &Rate, wait: Duration);
}

/// How often a connection may be used. Instances that share the connection share the rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// Names the connection without its token.
    pub connection: String,
    /// Calls per minute, evenly spaced; none if there is no limit.
    pub per_minute: Option<NonZeroU32>,
}
