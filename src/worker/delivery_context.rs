//! The delivery context of the worker: what a destination may ask of the service, answered by the store.

use super::lease_registry::LeaseRegistry;
use super::rate_limit_backoff::RateLimitBackoff;
use super::store_parts::WorkerStore;
use crate::destinations::{DeliveryContext, Rate};
use crate::domain::delivery::{Failure, KeyLock};
use crate::store::{Lease, Slot};
use async_trait::async_trait;
use serde_json::Value;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tracing::warn;

/// The longest wait for a slot while an execution runs; after that the execution is postponed.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(5);

/// The wait for a slot if the database does not answer.
const DATABASE_RETRY_DELAY: Duration = Duration::from_secs(2);

/// The delivery context of one instance.
#[derive(Clone, Copy)]
pub(super) struct WorkerDeliveryContext<'a> {
    pub(super) store: &'a WorkerStore,
    pub(super) leases: &'a LeaseRegistry,
    pub(super) backoff: &'a RateLimitBackoff,
    /// The lease of the delivery. A probe has none, and writes nothing.
    pub(super) lease: Option<Lease>,
    pub(super) instance: &'a str,
    /// The lane of the execution, if it has one.
    pub(super) lane: Option<&'a str>,
}

#[async_trait]
impl DeliveryContext for WorkerDeliveryContext<'_> {
    async fn recall(&self) -> Option<Value> {
        self.store.destinations.recall(self.instance).await.unwrap_or_else(|error| {
            warn!(%error, instance = self.instance, "reading a destination's memory failed");
            None
        })
    }

    async fn remember(&self, memory: &Value) {
        if let Err(error) = self.store.destinations.remember(self.instance, memory).await {
            warn!(%error, instance = self.instance, "storing a destination's memory failed");
        }
    }

    async fn lock_key(&self, key: &str) -> Result<KeyLock, Failure> {
        let (Some(lane), Some(lease)) = (self.lane, self.lease) else { return Ok(KeyLock::Busy) };
        self.store.queue.lock_key(self.instance, lane, lease, key).await.map_err(|error| {
            warn!(%error, instance = self.instance, "locking a key failed");
            database_unavailable()
        })
    }

    async fn owned_by_others(&self, remote_ids: &[String]) -> Result<HashSet<String>, Failure> {
        let Some(lane) = self.lane else { return Ok(HashSet::new()) };
        self.store.queue.owned_by_other_lanes(self.instance, lane, remote_ids).await.map_err(|error| {
            warn!(%error, instance = self.instance, "reading the owners of remote ids failed");
            database_unavailable()
        })
    }

    fn lease_holds(&self) -> bool {
        self.lease.is_some_and(|lease| self.leases.is_valid(lease.fence))
    }

    async fn slot(&self, rate: &Rate) -> Result<(), Duration> {
        let Some(per_minute) = rate.per_minute else { return self.wait_for_backoff(rate).await };
        let gap = Duration::from_mins(1) / per_minute.get();
        let give_up_at = Instant::now() + SLOT_WAIT_MAX;
        loop {
            let wait_max = give_up_at.saturating_duration_since(Instant::now());
            match self.store.rate_limits.take_slot(&rate.connection, gap, wait_max).await {
                Ok(Slot::In(wait)) => tokio::time::sleep(wait).await,
                Ok(Slot::NotBefore(wait)) => return Err(wait),
                // Without the database no replica knows what the others do.
                Err(error) => {
                    warn!(%error, instance = self.instance, "taking a rate limit slot failed");
                    return Err(DATABASE_RETRY_DELAY);
                }
            }
            // The other side may have asked for a backoff since the slot was given out. Then this slot
            // is abandoned, and the next one comes after the backoff.
            match self.backoff.remaining(&self.store.rate_limits, &rate.connection).await {
                Ok(Duration::ZERO) => return Ok(()),
                Ok(wait) if Instant::now() + wait > give_up_at => return Err(wait),
                Ok(_) => {}
                Err(error) => {
                    warn!(%error, instance = self.instance, "reading the rate limit backoff failed");
                    return Err(DATABASE_RETRY_DELAY);
                }
            }
        }
    }

    async fn block(&self, rate: &Rate, wait: Duration) {
        self.backoff.extend(&rate.connection, Instant::now() + wait);
        if let Err(error) = self.store.rate_limits.block(&rate.connection, wait).await {
            warn!(%error, instance = self.instance, "storing the rate limit backoff failed");
        }
    }
}

impl WorkerDeliveryContext<'_> {
    /// Without a rate, only the backoff that the other side asked for delays a call.
    async fn wait_for_backoff(&self, rate: &Rate) -> Result<(), Duration> {
        match self.backoff.remaining(&self.store.rate_limits, &rate.connection).await {
            Ok(wait) if wait > SLOT_WAIT_MAX => Err(wait),
            Ok(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Err(error) => {
                warn!(%error, instance = self.instance, "reading the rate limit backoff failed");
                Err(DATABASE_RETRY_DELAY)
            }
        }
    }
}

fn database_unavailable() -> Failure {
    Failure::local("database_unavailable", "the database did not answer")
}
